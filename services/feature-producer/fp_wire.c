#include "fp_wire.h"

#include "topics/topics.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* The decoder's levels are read as the domain's without a second copy. */
static_assert(sizeof(struct codec_level) == sizeof(struct l2_level), "levels have one shape");
static_assert(offsetof(struct codec_level, price) == offsetof(struct l2_level, price),
              "price first");
static_assert(offsetof(struct codec_level, quantity) == offsetof(struct l2_level, quantity),
              "then quantity");
static_assert(sizeof((struct codec_l2_snapshot *)0)->bids ==
                  L2_LEVELS_MAX * sizeof(struct l2_level),
              "one bound");

#define METADATA_VERSION 2
#define FINGERPRINT_DIGITS 16

static struct fp_name name_of(struct codec_str s)
{
    return (struct fp_name){s.data, s.n};
}

static struct codec_str str_of(struct fp_name n)
{
    return (struct codec_str){n.data, n.n};
}

/* What was decoded, for the core. */
static void view(struct fp_wire *wire)
{
    const struct codec_l2_snapshot *d = wire->decoded;

    /* field by field: built as a whole and copied, its stores would stall the wider loads of the
     * copy */
    struct l2_snapshot *n = wire->snapshot;
    n->event_time_us = d->event_time_us;
    n->received_time_us = d->received_time_us;
    n->sequence = d->sequence;
    n->epoch = d->epoch;
    n->bids = (const struct l2_level *)d->bids;
    n->asks = (const struct l2_level *)d->asks;
    n->bids_n = d->bids_n;
    n->asks_n = d->asks_n;
    n->has_flow = d->has_flow;
    if (d->has_flow) {
        n->flow.buy_base = d->flow.buy_base;
        n->flow.sell_base = d->flow.sell_base;
        n->flow.buy_quote = d->flow.buy_quote;
        n->flow.sell_quote = d->flow.sell_quote;
        n->flow.trade_count = d->flow.trade_count;
    }
}

enum codec_status fp_wire_snapshot(struct fp_wire *wire, const uint8_t *body, size_t body_n)
{
    const enum codec_status status = codec_l2_snapshot_decode(body, body_n, wire->decoded);

    if (status == CODEC_OK)
        view(wire);
    return status;
}

static enum l2_reject reject_of(enum codec_status status)
{
    switch (status) {
    case CODEC_OK:
        return L2_ACCEPTED;
    case CODEC_FRAME_NO_REGISTRY:
    case CODEC_SCHEMA_UNKNOWN:
        return L2_REJECT_UNKNOWN_SCHEMA;
    default:
        return L2_REJECT_UNDECODABLE;
    }
}

bool fp_wire_event(struct fp_wire *wire, const struct bus_event *record, int64_t now_us,
                   struct fp_event *ret_event)
{
    enum l2_reject reject = L2_REJECT_TOO_LARGE;

    if (record->value_n <= TOPICS_PAYLOAD_BYTES_MAX) {
        const enum codec_status status =
            codec_reader_decode(wire->snapshots, record->value, record->value_n, wire->decoded);
        if (status == CODEC_SCHEMA_PENDING)
            return false;
        reject = reject_of(status);
    }

    ret_event->kind = reject == L2_ACCEPTED ? FP_SNAPSHOT : FP_DEAD_BYTES;
    ret_event->now_us = now_us;
    ret_event->partition = record->partition;
    ret_event->offset = record->offset;
    ret_event->key.data = (const char *)record->key;
    ret_event->key.n = record->key_n > UINT32_MAX ? UINT32_MAX : (uint32_t)record->key_n;
    ret_event->kafka_time_us =
        record->timestamp_us < 0 ? now_us : clk_to_virtual_us(wire->clk, record->timestamp_us);
    ret_event->reject = reject;
    ret_event->snapshot = NULL;
    if (reject != L2_ACCEPTED)
        return true;
    view(wire);
    ret_event->exchange.data = wire->decoded->exchange.data;
    ret_event->exchange.n = wire->decoded->exchange.n;
    ret_event->symbol.data = wire->decoded->symbol.data;
    ret_event->symbol.n = wire->decoded->symbol.n;
    ret_event->snapshot = wire->snapshot;
    return true;
}

bool fp_wire_past_bar(const struct fp_wire *wire, const uint8_t *value, size_t n,
                      int64_t bars_offset, struct fp_event *ret_event, struct l2_past_bar *ret_bar,
                      enum codec_status *ret_status)
{
    struct codec_l2_bar b;

    *ret_status = codec_reader_decode(wire->bars, value, n, &b);
    if (*ret_status != CODEC_OK ||
        !codec_str_equal(b.schema_version, codec_str(wire->schema_version)) ||
        !codec_str_equal(b.exchange, codec_str(wire->exchange)) ||
        b.bar_seconds != (int32_t)wire->params->l2.bar_s)
        return false;
    struct l2_past_bar bar = {
        .bar_time_us = b.bar_time_us,
        .closed_by_clock = b.closed_by == CODEC_CLOSED_BY_CLOCK,
        .resume = {b.resume.epoch, b.resume.sequence, b.resume.last_event_time_us,
                   clk_to_virtual_us(wire->clk, b.resume.last_kafka_time_us)},
        .source_offset = b.source_offset,
        .bars_offset = bars_offset,
        .anchor_offset = -1,
    };
    const bool has[L2_COLUMNS] = {
        b.has_mid_price,          b.has_spread_bps, b.has_depth_imbalance_l1,
        b.has_depth_imbalance_l5, b.has_ofi_15m,    b.has_kyle_lambda};
    const double value_of[L2_COLUMNS] = {b.mid_price,          b.spread_bps, b.depth_imbalance_l1,
                                         b.depth_imbalance_l5, b.ofi_15m,    b.kyle_lambda};

    for (int c = 0; c < L2_COLUMNS; c++) {
        if (has[c])
            l2_row_set(&bar.row, (enum l2_column)c, value_of[c]);
    }
    *ret_bar = bar;
    *ret_event =
        (struct fp_event){.kind = FP_PAST_BAR, .symbol = name_of(b.symbol), .past_bar = ret_bar};
    return true;
}

struct codec_l2_bar fp_wire_bar(const struct fp_wire *wire, const struct fp_action *a)
{
    const struct l2_row *row = &a->bar.row;

    return (struct codec_l2_bar){
        .exchange = codec_str(wire->exchange),
        .symbol = str_of(a->symbol),
        .bar_time_us = a->bar.bar_time_us,
        .bar_seconds = (int32_t)wire->params->l2.bar_s,
        .schema_version = codec_str(wire->schema_version),
        .has_mid_price = l2_row_has(row, L2_MID_PRICE),
        .mid_price = row->value[L2_MID_PRICE],
        .has_spread_bps = l2_row_has(row, L2_SPREAD_BPS),
        .spread_bps = row->value[L2_SPREAD_BPS],
        .has_depth_imbalance_l1 = l2_row_has(row, L2_DEPTH_IMBALANCE_L1),
        .depth_imbalance_l1 = row->value[L2_DEPTH_IMBALANCE_L1],
        .has_depth_imbalance_l5 = l2_row_has(row, L2_DEPTH_IMBALANCE_L5),
        .depth_imbalance_l5 = row->value[L2_DEPTH_IMBALANCE_L5],
        .has_ofi_15m = l2_row_has(row, L2_OFI),
        .ofi_15m = row->value[L2_OFI],
        .has_kyle_lambda = l2_row_has(row, L2_KYLE_LAMBDA),
        .kyle_lambda = row->value[L2_KYLE_LAMBDA],
        .snapshots = (int64_t)a->bar.snapshots,
        .gaps = (int64_t)a->bar.gaps,
        .coverage = a->bar.coverage,
        .spread_sketch = {a->sketch, (uint32_t)a->sketch_n},
        .has_last_event_time = true,
        .last_event_time_us = a->bar.resume.last_event_us,
        .closed_by = a->closed_by_clock ? CODEC_CLOSED_BY_CLOCK : CODEC_CLOSED_BY_EVENT,
        .source_partition = a->partition,
        .source_offset = a->source_offset,
        .resume = {a->bar.resume.epoch, a->bar.resume.sequence, a->bar.resume.last_event_us,
                   clk_to_real_us(wire->clk, a->bar.resume.last_kafka_us)},
    };
}

struct codec_l2_feature fp_wire_feature(const struct fp_wire *wire, const struct fp_action *a,
                                        int64_t produced_us)
{
    return (struct codec_l2_feature){
        .exchange = codec_str(wire->exchange),
        .symbol = str_of(a->symbol),
        .bar_time_us = a->bar_time_us,
        .bar_seconds = (int32_t)wire->params->l2.bar_s,
        .schema_version = codec_str(wire->schema_version),
        .feature_set = codec_str(l2_set_name(L2_SET_STANDARD)),
        .purge_bars = (int32_t)wire->params->l2.purge_bars,
        .source_bar_time_us = a->source_bar_time_us,
        .has_l2_mid_price = l2_row_has(&a->row, L2_MID_PRICE),
        .l2_mid_price = a->row.value[L2_MID_PRICE],
        .has_l2_spread_bps = l2_row_has(&a->row, L2_SPREAD_BPS),
        .l2_spread_bps = a->row.value[L2_SPREAD_BPS],
        .has_l2_depth_imbalance_l1 = l2_row_has(&a->row, L2_DEPTH_IMBALANCE_L1),
        .l2_depth_imbalance_l1 = a->row.value[L2_DEPTH_IMBALANCE_L1],
        .has_l2_depth_imbalance_l5 = l2_row_has(&a->row, L2_DEPTH_IMBALANCE_L5),
        .l2_depth_imbalance_l5 = a->row.value[L2_DEPTH_IMBALANCE_L5],
        .has_l2_ofi_15m = l2_row_has(&a->row, L2_OFI),
        .l2_ofi_15m = a->row.value[L2_OFI],
        .has_l2_kyle_lambda = l2_row_has(&a->row, L2_KYLE_LAMBDA),
        .l2_kyle_lambda = a->row.value[L2_KYLE_LAMBDA],
        .has_last_event_time = a->has_last_event,
        .last_event_time_us = a->last_event_us,
        .produced_time_us = produced_us,
        .source_partition = a->partition,
        .source_offset = a->source_offset,
    };
}

struct codec_heartbeat fp_wire_heartbeat(const struct fp_wire *wire, const struct fp_action *a,
                                         int64_t now_us)
{
    static const enum codec_heartbeat_state states[] = {
        [FP_LIVE] = CODEC_HEARTBEAT_STATE_LIVE,
        [FP_CATCHING_UP] = CODEC_HEARTBEAT_STATE_CATCHING_UP,
        [FP_SILENT] = CODEC_HEARTBEAT_STATE_SILENT,
    };

    return (struct codec_heartbeat){
        .exchange = codec_str(wire->exchange),
        .symbol = str_of(a->symbol),
        .time_us = now_us,
        .newest_event_time_us = a->last_event_us,
        .lag_ms = (now_us - a->last_event_us) / 1000,
        .state = states[a->state],
    };
}

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t n)
{
    const uint8_t *b = bytes;

    for (size_t i = 0; i < n; i++) /* FNV-1a */
        h = (h ^ b[i]) * UINT64_C(0x100000001b3);
    return h;
}

uint64_t fp_wire_fingerprint(const struct fp_wire *wire)
{
    const struct l2_params *p = &wire->params->l2;
    const uint32_t numbers[] = {
        p->bar_s,        p->window_s,    p->sample_s,   p->max_gap_s,    p->max_book_age_s,
        p->coverage_pct, p->samples_min, p->purge_bars, p->symbol_ttl_s,
    };
    static_assert(sizeof numbers == sizeof *p, "each parameter, in its order");
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        const uint8_t bytes[] = {(uint8_t)numbers[i], (uint8_t)(numbers[i] >> 8),
                                 (uint8_t)(numbers[i] >> 16), (uint8_t)(numbers[i] >> 24)};
        h = hash_bytes(h, bytes, sizeof bytes); /* the same on machines of either byte order */
    }
    h = hash_bytes(h, wire->exchange, strlen(wire->exchange) + 1);
    return hash_bytes(h, wire->schema_version, strlen(wire->schema_version));
}

void fp_wire_metadata(const struct fp_position *p, uint64_t fingerprint,
                      char ret_metadata[BUS_METADATA_BYTES_MAX + 1])
{
    const int n =
        snprintf(ret_metadata, BUS_METADATA_BYTES_MAX + 1, "%d,%" PRId64 ",%" PRId64 ",%016" PRIx64,
                 METADATA_VERSION, p->snapshots_from, p->bars_from, fingerprint);

    assert(n > 0 && n <= BUS_METADATA_BYTES_MAX);
}

/* A decimal number ≥ 0 that ends at `end`; moves *p past it and `end`. */
static bool parse_offset(const char **p, char end, int64_t *ret)
{
    char *stop;

    errno = 0;
    const long long v = strtoll(*p, &stop, 10);
    if (errno != 0 || **p < '0' || **p > '9' || *stop != end)
        return false;
    *p = stop + 1;
    *ret = v;
    return true;
}

static bool parse_fingerprint(const char *text, uint64_t *ret)
{
    if (strlen(text) != FINGERPRINT_DIGITS ||
        strspn(text, "0123456789abcdef") != FINGERPRINT_DIGITS)
        return false;
    *ret = strtoull(text, NULL, 16);
    return true;
}

bool fp_wire_metadata_parse(const char *metadata, struct fp_restart *ret_restart)
{
    const char *p = metadata;
    struct fp_restart r = {.fingerprint = 0};
    int64_t version;

    if (!parse_offset(&p, ',', &version) || version < 1 || version > METADATA_VERSION)
        return false;
    r.has_fingerprint = version > 1;
    if (!parse_offset(&p, ',', &r.snapshots_from) ||
        !parse_offset(&p, r.has_fingerprint ? ',' : '\0', &r.bars_from) ||
        (r.has_fingerprint && !parse_fingerprint(p, &r.fingerprint)))
        return false;
    *ret_restart = r;
    return true;
}
