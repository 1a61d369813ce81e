#include "en_wire.h"

#include "codec/candle.h"
#include "codec/heartbeat.h"
#include "codec/l2_feature.h"
#include "codec/rollout_state.h"
#include "l2/book.h"

#include <assert.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define REGISTRY_WAIT_MS 30000
#define METADATA_VERSION "e1,"

const char *const en_reject_names[] = {
    [EN_ACCEPTED] = "accepted", [EN_UNDECODABLE] = "undecodable",
    [EN_OTHERS] = "others",     [EN_INVALID] = "invalid",
    [EN_AGAIN] = "again",       [EN_ELSEWHERE] = "elsewhere",
    [EN_NO_PLACE] = "no_place", [EN_REJECTS] = NULL,
};

/* One enum, two homes: the schemas' and the domain's. */
static_assert((int)CODEC_ARM_NONE == (int)L2_ARM_NONE &&
                  (int)CODEC_ARM_CANDIDATE_L2 == (int)L2_ARM_CANDIDATE_L2,
              "arms");
static_assert((int)CODEC_ROUTE_REASON_ROLLOUT == (int)L2_ROUTE_ROLLOUT &&
                  (int)CODEC_ROUTE_REASON_NO_MODEL == (int)L2_ROUTE_NO_MODEL,
              "reasons");
static_assert((int)CODEC_STAGE_IDLE == (int)L2_STAGE_IDLE &&
                  (int)CODEC_STAGE_ROLLED_BACK == (int)L2_STAGE_ROLLED_BACK,
              "stages");
static_assert((int)CODEC_DECISION_SELL == (int)L2_SELL && (int)CODEC_DECISION_BUY == (int)L2_BUY,
              "classes");

static const struct codec_record *const records[EN_INPUTS] = {
    [EN_IN_CANDLE] = &codec_candle_record,         [EN_IN_FEATURE] = &codec_l2_feature_record,
    [EN_IN_BEAT] = &codec_heartbeat_record,        [EN_IN_ROLLOUT] = &codec_rollout_state_record,
    [EN_IN_PREDICTION] = &codec_prediction_record,
};

static enum en_reject decode(struct en_wire *wire, enum en_input input, const uint8_t *value,
                             size_t n, void *into)
{
    struct codec_head head;
    const struct codec_plan *plan;
    enum codec_status status = codec_reader_decode(wire->readers[input], value, n, into);

    if (status == CODEC_SCHEMA_PENDING && codec_head_get(value, n, &head) == CODEC_OK &&
        head.has_id) {
        (void)!codec_registry_wait(wire->registry, head.id, records[input], REGISTRY_WAIT_MS,
                                   &plan);
        status = codec_reader_decode(wire->readers[input], value, n, into);
    }
    return status == CODEC_OK ? EN_ACCEPTED : EN_UNDECODABLE;
}

static bool is_ours(const struct en_wire *wire, struct codec_str exchange)
{
    return codec_str_equal(exchange, codec_str(wire->exchange));
}

/* The record's symbol, which must be its key. */
static bool name_of(struct codec_str symbol, const uint8_t *key, size_t key_n,
                    struct en_name *ret_name)
{
    if (symbol.n != key_n || !l2_symbol_ok(symbol.data, symbol.n) ||
        memcmp(symbol.data, key, key_n) != 0)
        return false;
    *ret_name = (struct en_name){symbol.data, symbol.n};
    return true;
}

enum en_reject en_wire_candle(struct en_wire *wire, const struct bus_event *record,
                              struct en_candle *ret_candle)
{
    struct codec_candle c;
    struct en_name symbol;

    if (decode(wire, EN_IN_CANDLE, record->value, record->value_n, &c) != EN_ACCEPTED)
        return EN_UNDECODABLE;
    if (!is_ours(wire, c.exchange) || c.bar_seconds != wire->bar_s)
        return EN_OTHERS;
    if (!name_of(c.symbol, record->key, record->key_n, &symbol) ||
        c.bar_time_us % wire->bar_us != 0 || !isfinite(c.close) || c.close <= 0 ||
        !isfinite(c.base_volume) || c.base_volume < 0)
        return EN_INVALID;
    *ret_candle = (struct en_candle){
        .symbol = symbol,
        .partition = record->partition,
        .offset = record->offset,
        .bar_time_us = c.bar_time_us,
        .close = c.close,
        .volume = c.base_volume,
    };
    return EN_ACCEPTED;
}

static void set(struct l2_row *row, enum l2_column column, bool has, double value)
{
    if (has)
        l2_row_set(row, column, value);
}

/* What the model pins, against a record that it is about to use. */
static bool fits(const struct en_wire *wire, const struct codec_l2_feature *f,
                 struct en_misfit *ret_misfit)
{
    if (f->purge_bars != wire->purge_bars) {
        ret_misfit->field = "purge_bars";
        (void)snprintf(ret_misfit->there, sizeof ret_misfit->there, "%" PRId32, f->purge_bars);
        (void)snprintf(ret_misfit->here, sizeof ret_misfit->here, "%" PRId32, wire->purge_bars);
        return false;
    }
    if (!codec_str_equal(f->schema_version, codec_str(wire->schema_version))) {
        ret_misfit->field = "schema_version";
        (void)snprintf(ret_misfit->there, sizeof ret_misfit->there, "%.*s",
                       (int)f->schema_version.n, f->schema_version.data);
        (void)snprintf(ret_misfit->here, sizeof ret_misfit->here, "%s", wire->schema_version);
        return false;
    }
    ret_misfit->field = NULL;
    return true;
}

enum en_reject en_wire_feature(struct en_wire *wire, const struct bus_reader_record *record,
                               struct en_feature *ret_feature, struct en_misfit *ret_misfit)
{
    struct codec_l2_feature f;
    struct en_feature made = {.fits_contract = false};

    if (decode(wire, EN_IN_FEATURE, record->value, record->value_n, &f) != EN_ACCEPTED)
        return EN_UNDECODABLE;
    if (!is_ours(wire, f.exchange) || f.bar_seconds != wire->bar_s)
        return EN_OTHERS;
    if (!name_of(f.symbol, record->key, record->key_n, &made.symbol) ||
        f.bar_time_us % wire->bar_us != 0)
        return EN_INVALID;
    made.bar_time_us = f.bar_time_us;
    made.source_us = f.source_bar_time_us;
    set(&made.row, L2_MID_PRICE, f.has_l2_mid_price, f.l2_mid_price);
    set(&made.row, L2_SPREAD_BPS, f.has_l2_spread_bps, f.l2_spread_bps);
    set(&made.row, L2_DEPTH_IMBALANCE_L1, f.has_l2_depth_imbalance_l1, f.l2_depth_imbalance_l1);
    set(&made.row, L2_DEPTH_IMBALANCE_L5, f.has_l2_depth_imbalance_l5, f.l2_depth_imbalance_l5);
    set(&made.row, L2_OFI, f.has_l2_ofi_15m, f.l2_ofi_15m);
    set(&made.row, L2_KYLE_LAMBDA, f.has_l2_kyle_lambda, f.l2_kyle_lambda);
    made.fits_contract = fits(wire, &f, ret_misfit);
    *ret_feature = made;
    return EN_ACCEPTED;
}

enum en_reject en_wire_beat(struct en_wire *wire, const struct bus_reader_record *record,
                            struct en_name *ret_symbol, int64_t *ret_event_us)
{
    struct codec_heartbeat h;

    if (decode(wire, EN_IN_BEAT, record->value, record->value_n, &h) != EN_ACCEPTED)
        return EN_UNDECODABLE;
    if (!is_ours(wire, h.exchange))
        return EN_OTHERS;
    if (!name_of(h.symbol, record->key, record->key_n, ret_symbol))
        return EN_INVALID; /* a monitor's own, say */
    *ret_event_us = h.newest_event_time_us;
    return EN_ACCEPTED;
}

/* A model that the rollout pins must be the one that is here; an arm that it does not pin is served
 * by what there is. */
static bool is_our_model(const struct codec_pinned_model *m)
{
    return codec_str_equal(m->name, codec_str(EN_MODEL_NAME)) &&
           codec_str_equal(m->sha256, codec_str(EN_RULE_SHA256));
}

enum en_reject en_wire_rollout(struct en_wire *wire, const struct bus_reader_record *record,
                               struct en_rollout *ret_rollout)
{
    struct codec_rollout_state r;
    struct en_rollout made = {.cleared_through_us = INT64_MIN};

    if (decode(wire, EN_IN_ROLLOUT, record->value, record->value_n, &r) != EN_ACCEPTED)
        return EN_UNDECODABLE;
    if (!is_ours(wire, r.exchange))
        return EN_OTHERS;
    if (!name_of(r.symbol, record->key, record->key_n, &made.symbol))
        return EN_INVALID;
    made.version = r.version;
    made.rollout = (struct l2_rollout){
        .known = true,
        .kill_switch = r.kill_switch,
        .paused = r.paused,
        .incumbent = (enum l2_arm)r.incumbent,
        .challenger = (enum l2_arm)r.challenger,
        .effective = (enum l2_arm)r.effective_arm,
        .stage = (enum l2_stage)r.stage,
    };
    if (r.has_latch_cleared_through)
        made.cleared_through_us = r.latch_cleared_through_us;
    for (int i = 0; i < L2_ARMS; i++)
        made.serves[i] = true;
    for (uint32_t i = 0; i < r.models_n; i++)
        made.serves[r.models[i].arm] = is_our_model(&r.models[i]);
    *ret_rollout = made;
    return EN_ACCEPTED;
}

enum en_reject en_wire_past(struct en_wire *wire, const struct bus_reader_record *record,
                            struct en_past *ret_past)
{
    struct codec_prediction p;
    struct en_name symbol;

    if (decode(wire, EN_IN_PREDICTION, record->value, record->value_n, &p) != EN_ACCEPTED)
        return EN_UNDECODABLE;
    if (!is_ours(wire, p.exchange) || p.bar_seconds != wire->bar_s)
        return EN_OTHERS;
    if (!name_of(p.symbol, record->key, record->key_n, &symbol))
        return EN_INVALID;
    *ret_past = (struct en_past){
        .symbol = symbol,
        .partition = record->partition,
        .offset = record->offset,
        .record = {.bar_time_us = p.bar_time_us,
                   .reason = (enum l2_route_reason)p.route_reason,
                   .quality = {p.has_freshness_seconds, p.freshness_seconds, p.has_nan_rate,
                               p.nan_rate}},
    };
    return EN_ACCEPTED;
}

static void name_model(const struct en_wire *wire, struct codec_prediction *p)
{
    p->has_model_name = p->has_model_version = p->has_model_sha256 = true;
    p->model_name = codec_str(EN_MODEL_NAME);
    p->model_version = codec_str(wire->model_version);
    p->model_sha256 = codec_str(EN_RULE_SHA256);
    p->has_horizon_bars = p->has_barrier_width = p->has_volatility_span_bars = true;
    p->horizon_bars = (int32_t)wire->label.horizon_bars;
    p->barrier_width = wire->label.width;
    p->volatility_span_bars = (int32_t)wire->label.span_bars;
}

size_t en_wire_prediction(const struct en_wire *wire, const struct en_bar *bar, unsigned i,
                          int64_t now_us, uint8_t buf[EN_PREDICTION_BYTES_MAX])
{
    const struct en_prediction *made = &bar->predictions[i];
    const bool is_l2 = made->arm == L2_ARM_CHAMPION_L2 || made->arm == L2_ARM_CANDIDATE_L2;
    size_t n = 0;
    struct codec_prediction p = {
        .exchange = codec_str(wire->exchange),
        .symbol = {bar->symbol.data, bar->symbol.n},
        .bar_time_us = bar->bar_time_us,
        .bar_seconds = (int32_t)wire->bar_s,
        .arm = (enum codec_arm)made->arm,
        .has_p_sell = made->has_p,
        .p_sell = made->p[L2_SELL],
        .has_p_hold = made->has_p,
        .p_hold = made->p[L2_HOLD],
        .has_p_buy = made->has_p,
        .p_buy = made->p[L2_BUY],
        .decision = (enum codec_decision)made->decision,
        .executed = made->executed,
        .route_reason = (enum codec_route_reason)bar->route.reason,
        .has_freshness_seconds = bar->has_freshness,
        .freshness_seconds = bar->freshness_s,
        .has_nan_rate = made->has_nan_rate,
        .nan_rate = made->nan_rate,
        .has_schema_version = is_l2,
        .has_source_bar_time = is_l2,
        .source_bar_time_us = is_l2 ? bar->source_us : 0,
        .has_rollout_version = bar->has_rollout,
        .rollout_version = bar->rollout_version,
        .valid_until_us = bar->bar_time_us + 2 * wire->bar_us,
        .produced_time_us = now_us,
    };

    if (is_l2)
        p.schema_version = codec_str(wire->schema_version);
    if (made->has_p)
        name_model(wire, &p);
    const enum codec_status status = codec_frame_as(&codec_prediction_record, wire->prediction_id,
                                                    &p, buf, EN_PREDICTION_BYTES_MAX, &n);
    assert(status == CODEC_OK); /* one of ours that does not fit its schema is our bug */
    return n;
}

void en_wire_metadata(const struct en_position *p, char ret_metadata[BUS_METADATA_BYTES_MAX + 1])
{
    const int n = snprintf(ret_metadata, BUS_METADATA_BYTES_MAX + 1,
                           METADATA_VERSION "%" PRId64 ",%" PRId64, p->ohlcv_from, p->sent_from);

    assert(n > 0 && n <= BUS_METADATA_BYTES_MAX);
}

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

bool en_wire_metadata_parse(const char *metadata, int64_t *ret_ohlcv_from, int64_t *ret_sent_from)
{
    const size_t version_n = strlen(METADATA_VERSION);
    const char *p = metadata + version_n;
    int64_t ohlcv, sent;

    if (strncmp(metadata, METADATA_VERSION, version_n) != 0 || !parse_offset(&p, ',', &ohlcv) ||
        !parse_offset(&p, '\0', &sent))
        return false;
    *ret_ohlcv_from = ohlcv;
    *ret_sent_from = sent;
    return true;
}
