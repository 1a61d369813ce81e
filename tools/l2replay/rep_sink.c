#include "rep_sink.h"
#include "rep_draw.h"
#include "rep_grow.h"
#include "rep_stop.h"

#include "clk/clk.h"
#include "codec/candle.h"
#include "codec/container.h"
#include "topics/topics.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TOPICS_TIMEOUT_MS 10000
#define POLL_MS 50

struct rep_sink {
    struct rep_sink_options options;
    struct codec_str *symbols;
    struct codec_file_writer *snapshots, *candles;
    struct bus_producer *producer;
    struct topics_table topics;
    struct codec_l2_snapshot snapshot; /* 32 KiB: not for the stack */
    struct codec_l2_snapshot *spoilt;  /* has_invalid: room for one, and … */
    uint8_t *spoilt_bytes;             /* … for its bytes */
    uint64_t random, invalids_n;
    unsigned partitions_n; /* has_invalid: of the snapshots' topic */
    uint8_t bytes[CODEC_FRAME_BYTES + CODEC_L2_SNAPSHOT_BYTES_MAX];
};

static_assert(CODEC_CANDLE_BYTES_MAX <= CODEC_L2_SNAPSHOT_BYTES_MAX, "bytes holds a candle too");
static_assert(REP_DEPTH_MAX ==
                  sizeof((struct codec_l2_snapshot *)0)->bids / sizeof(struct codec_level),
              "the schema's bound");

static void on_kafka_log(void *user, int level, const char *text)
{
    (void)user;
    if (level <= 3) /* syslog's error; warnings mostly say that something is tried again */
        fprintf(stderr, "l2replay: %s\n", text);
}

static enum err_class open_files(struct rep_sink *s, struct err *err)
{
    const struct rep_sink_options *const o = &s->options;
    enum err_class e = ERR_OK;

    if (o->snapshots_path != NULL)
        e = codec_file_create(o->snapshots_path, &codec_l2_snapshot_record, CODEC_FILE_DEFLATE,
                              &s->snapshots, err);
    if (e == ERR_OK && o->candles_path != NULL)
        e = codec_file_create(o->candles_path, &codec_candle_record, CODEC_FILE_DEFLATE,
                              &s->candles, err);
    return e == ERR_OK ? ERR_OK : ERR_REJECT;
}

/* Where a record would be out of place is known by their number alone. */
static enum err_class count_partitions(struct rep_sink *s, struct err *err)
{
    struct bus_topic found = {.name = s->topics.names[TOPICS_SNAPSHOTS]};
    const enum err_class e = bus_topics_describe(s->options.settings, s->options.settings_n, &found,
                                                 1, TOPICS_TIMEOUT_MS, err);

    if (e == ERR_OK)
        s->partitions_n = (unsigned)found.partitions;
    return e;
}

static enum err_class open_topics(struct rep_sink *s, struct err *err)
{
    static const enum topics_id used[] = {TOPICS_SNAPSHOTS, TOPICS_OHLCV};
    const struct rep_sink_options *const o = &s->options;
    const struct topics_options topics = {
        .prefix = o->prefix, .partitions = 0, .replication_factor = -1};
    struct topics_options names = topics;

    names.partitions = TOPICS_PARTITIONS_DEFAULT;
    enum err_class e = topics_wanted(&names, &s->topics, err);
    if (e == ERR_OK)
        e = topics_check(o->settings, o->settings_n, &topics, used, 2, TOPICS_TIMEOUT_MS, err);
    if (e == ERR_OK && o->has_invalid)
        e = count_partitions(s, err);
    if (e == ERR_OK)
        e = bus_producer_new(o->settings, o->settings_n, on_kafka_log, NULL, &s->producer, err);
    return e;
}

enum err_class rep_sink_open(const struct rep_sink_options *options, struct rep_sink **ret_sink,
                             struct err *err)
{
    struct rep_sink *const s = rep_alloc(1, sizeof *s);

    s->options = *options;
    s->symbols = rep_alloc(options->symbols_n, sizeof *s->symbols);
    for (uint32_t i = 0; i < options->symbols_n; i++)
        s->symbols[i] = codec_str(options->symbols[i]);
    if (options->has_invalid) {
        s->spoilt = rep_alloc(1, sizeof *s->spoilt);
        s->spoilt_bytes = rep_alloc(1, REP_INVALID_BYTES_MAX);
    }
    s->random = options->seed;
    enum err_class e = open_files(s, err);
    if (e == ERR_OK && options->has_topics)
        e = open_topics(s, err);
    if (e == ERR_OK)
        *ret_sink = s;
    else
        rep_sink_close(s);
    return e;
}

static enum err_class send(struct rep_sink *s, enum topics_id topic,
                           const struct bus_output *output, struct err *err)
{
    for (;;) {
        enum err_class e = bus_producer_send(s->producer, s->topics.names[topic], output, err);
        if (e != ERR_RETRY)
            return e;
        if (rep_stopping())
            return ERR_OK;
        e = bus_producer_poll(s->producer, POLL_MS, err);
        if (e != ERR_OK)
            return e;
    }
}

static enum err_class put(struct rep_sink *s, struct codec_file_writer *file, enum topics_id topic,
                          const struct codec_record *record, const void *v, struct codec_str symbol,
                          struct err *err)
{
    size_t n;

    if (file != NULL) {
        const enum err_class e = codec_file_put(file, v, err);
        if (e != ERR_OK)
            return e;
    }
    if (s->producer == NULL)
        return ERR_OK;
    const enum codec_status status = codec_frame(record, v, s->bytes, sizeof s->bytes, &n);
    if (status != CODEC_OK)
        return err_set(err, ERR_FATAL, "%s: cannot be encoded: %s", record->name,
                       codec_status_name(status));
    const struct bus_output output = {
        .partition = -1, .key = symbol.data, .key_n = symbol.n, .value = s->bytes, .value_n = n};
    return send(s, topic, &output, err);
}

enum err_class rep_sink_snapshot(struct rep_sink *s, const struct rep_item *item, struct err *err)
{
    struct codec_l2_snapshot *const v = &s->snapshot;

    if (s->snapshots == NULL && s->producer == NULL)
        return ERR_OK;
    v->exchange = codec_str(s->options.exchange);
    v->symbol = s->symbols[item->symbol];
    v->event_time_us = item->event_us;
    v->received_time_us = item->received_us;
    v->sequence = item->sequence;
    v->epoch = item->epoch;
    v->bids_n = item->bids_n;
    memcpy(v->bids, item->bids, item->bids_n * sizeof *item->bids);
    v->asks_n = item->asks_n;
    memcpy(v->asks, item->asks, item->asks_n * sizeof *item->asks);
    v->has_flow = item->has_flow;
    v->flow = item->flow;
    return put(s, s->snapshots, TOPICS_SNAPSHOTS, &codec_l2_snapshot_record, v, v->symbol, err);
}

/* Any partition but the key's. */
static int32_t elsewhere(struct rep_sink *s, struct codec_str key)
{
    const int32_t home = bus_partition_of(BUS_MURMUR2, key.data, key.n, s->partitions_n);
    const uint32_t step = 1 + rep_draw_below(&s->random, s->partitions_n - 1);

    return (int32_t)(((uint32_t)home + step) % s->partitions_n);
}

static enum err_class send_invalid(struct rep_sink *s, enum rep_invalid kind,
                                   const struct rep_invalid_record *r, struct err *err)
{
    size_t n;
    const enum codec_status status =
        codec_l2_snapshot_frame(s->spoilt, s->spoilt_bytes, REP_INVALID_BYTES_MAX, &n);

    if (status != CODEC_OK)
        return err_set(err, ERR_FATAL, "an invalid record: cannot be encoded: %s",
                       codec_status_name(status));
    if (r->is_elsewhere && s->partitions_n < 2)
        return err_set(err, ERR_REJECT,
                       "--invalid wrong_partition: %s has one partition: leave it out (-%s)",
                       s->topics.names[TOPICS_SNAPSHOTS], rep_invalid_infos[kind].name);
    n = rep_invalid_bytes(kind, &s->random, s->spoilt_bytes, n);
    const struct bus_output output = {.partition = r->is_elsewhere ? elsewhere(s, r->key) : -1,
                                      .key = r->key.data,
                                      .key_n = r->key.n,
                                      .value = n == 0 ? NULL : s->spoilt_bytes,
                                      .value_n = n,
                                      .timestamp_ms = r->timestamp_ms};
    return send(s, TOPICS_SNAPSHOTS, &output, err);
}

enum err_class rep_sink_invalid(struct rep_sink *s, enum rep_invalid kind, struct err *err)
{
    struct rep_invalid_record r = {.snapshot = s->spoilt};

    if (s->snapshots == NULL && s->producer == NULL)
        return ERR_OK;
    *s->spoilt = s->snapshot;
    rep_invalid_values(kind, s->invalids_n++, &s->random, &r);
    if (s->snapshots != NULL)
        return codec_file_put(s->snapshots, s->spoilt, err);
    return send_invalid(s, kind, &r, err);
}

enum err_class rep_sink_candle(struct rep_sink *s, const struct rep_candle *c, struct err *err)
{
    const struct codec_candle v = {
        .exchange = codec_str(s->options.exchange),
        .symbol = s->symbols[c->symbol],
        .bar_time_us = c->bar_us,
        .bar_seconds = s->options.bar_seconds,
        .open = c->open,
        .high = c->high,
        .low = c->low,
        .close = c->close,
        .base_volume = c->base,
        .has_quote_volume = true,
        .quote_volume = c->quote,
        .has_taker_buy_base = true,
        .taker_buy_base = c->buy_base,
        .has_taker_buy_quote = true,
        .taker_buy_quote = c->buy_quote,
        .has_trade_count = true,
        .trade_count = c->trades_n,
    };

    return put(s, s->candles, TOPICS_OHLCV, &codec_candle_record, &v, v.symbol, err);
}

enum err_class rep_sink_serve(struct rep_sink *s, struct err *err)
{
    return s->producer == NULL ? ERR_OK : bus_producer_poll(s->producer, 0, err);
}

static enum err_class flush(struct rep_sink *s, struct err *err)
{
    const int64_t until_us = clk_mono_us() + REP_SINK_FLUSH_S * CLK_US_PER_S;
    enum err_class e;

    do
        e = bus_producer_flush(s->producer, 1000, err);
    while (e == ERR_RETRY && clk_mono_us() < until_us);
    return e;
}

enum err_class rep_sink_finish(struct rep_sink *s, struct err *err)
{
    enum err_class e = ERR_OK;

    if (s->producer != NULL)
        e = flush(s, err);
    if (e == ERR_OK && s->snapshots != NULL) {
        e = codec_file_commit(s->snapshots, err);
        s->snapshots = NULL;
    }
    if (e == ERR_OK && s->candles != NULL) {
        e = codec_file_commit(s->candles, err);
        s->candles = NULL;
    }
    return e;
}

uint64_t rep_sink_delivered(const struct rep_sink *s)
{
    return s->producer == NULL ? 0 : bus_producer_delivered(s->producer);
}

void rep_sink_close(struct rep_sink *s)
{
    if (s == NULL)
        return;
    codec_file_abandon(s->snapshots);
    codec_file_abandon(s->candles);
    bus_producer_free(s->producer);
    free(s->spoilt);
    free(s->spoilt_bytes);
    free(s->symbols);
    free(s);
}
