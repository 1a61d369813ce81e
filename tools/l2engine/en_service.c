/* The loop: candles, what is read beside them, the bars that can be decided, commit. */
#include "en_service.h"

#include "en_config.h"
#include "en_metrics.h"
#include "en_sheet.h"
#include "en_side.h"

#include "codec/candle.h"
#include "codec/heartbeat.h"
#include "codec/l2_feature.h"
#include "codec/rollout_state.h"
#include "log/log.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS_MAX 20
#define POLL_WAITING_MS_MAX 2 /* while bars wait for their features */
#define COMMIT_EVERY_US CLK_US_PER_S
#define DRAIN_MS_MAX 5000
#define RESTORE_WAIT_MS 1000
#define NAME_BYTES_MAX 300 /* a prefix of 64 and a name of 200 at most */
#define TOPICS_CHECK_MS 10000
#define SENT_TAG 1 /* every output's offset is told */

/* One bar's outputs stay in one transaction. */
#define BAR_BYTES_MAX                                                                              \
    ((size_t)EN_PREDICTIONS_MAX *                                                                  \
     (EN_PREDICTION_BYTES_MAX + L2_SYMBOL_BYTES_MAX + BUS_OUTPUT_OVERHEAD))
#define BUFFER_BYTES_MAX ((size_t)4 << 20)
static_assert(2 * BAR_BYTES_MAX <= BUFFER_BYTES_MAX, "each half has room for a bar");

static const enum topics_id topics_used[] = {TOPICS_PREDICTIONS, TOPICS_OHLCV, TOPICS_FEATURES,
                                             TOPICS_HEARTBEAT, TOPICS_ROLLOUT};

struct engine {
    struct svc *svc;
    const struct config *config;
    const struct clk *clk;
    struct metrics *metrics;
    struct en_config settings;
    struct en_wire wire;
    struct en_side side;
    struct en_core *core;
    struct en_sheet *sheet;
    struct bus *bus;
    char topics[TOPICS_N][TOPICS_NAME_BYTES_MAX + 1]; /* by topics_id */
    char group_id[NAME_BYTES_MAX], transactional_id[NAME_BYTES_MAX];
    unsigned partitions_n;
    int64_t held_from[EN_PARTITIONS_MAX]; /* −1: the partition is not held */
    unsigned held_n;
    bool dirty, moved; /* since the last commit was handed over: outputs, records read */
    int64_t committed_mono_us;
    struct bus_position positions[EN_PARTITIONS_MAX];
    struct en_bar bar;
    uint8_t out[EN_PREDICTION_BYTES_MAX];
};

/* ---- commits ---- */

static void commit(struct engine *s)
{
    unsigned n = 0;

    for (int32_t p = 0; (uint32_t)p < s->partitions_n; p++) {
        if (!en_core_owns(s->core, p))
            continue;
        const struct en_position position = en_core_position(s->core, p);
        s->positions[n].partition = p;
        s->positions[n].offset = position.offset;
        en_wire_metadata(&position, s->positions[n].metadata);
        n++;
    }
    s->dirty = s->moved = false;
    if (n == 0)
        return; /* what was sent went with its partition */
    bus_commit(s->bus, s->positions, n);
    s->committed_mono_us = clk_mono_us();
}

/* At once when a bar was decided, else once a second. */
static void maybe_commit(struct engine *s)
{
    if (bus_committing(s->bus))
        return;
    if (s->dirty || (s->moved && clk_mono_us() - s->committed_mono_us >= COMMIT_EVERY_US))
        commit(s);
}

static enum err_class make_room(struct engine *s, struct err *err)
{
    while (bus_room(s->bus) < BAR_BYTES_MAX) {
        if (svc_stopping(s->svc))
            return err_set(err, ERR_RETRY,
                           "stopped while the output buffer was full: the broker is out of reach");
        svc_alive(s->svc);
        if (!bus_committing(s->bus))
            commit(s);
        const enum err_class e = bus_drain(s->bus, 100, err);
        if (e != ERR_OK && e != ERR_RETRY)
            return e;
    }
    return ERR_OK;
}

/* ---- bars ---- */

static void send(struct engine *s, const struct en_bar *bar, int64_t now_us)
{
    for (unsigned i = 0; i < bar->n; i++) {
        const size_t n = en_wire_prediction(&s->wire, bar, i, now_us, s->out);
        const struct bus_output output = {
            .topic = 0,
            .partition = bar->partition,
            .key = bar->symbol.data,
            .key_n = bar->symbol.n,
            .value = s->out,
            .value_n = n,
            .tag = SENT_TAG,
        };
        bus_send(s->bus, &output);
        metrics_add(s->metrics, M_PREDICTIONS, bar->predictions[i].arm, 1);
    }
    metrics_add(s->metrics, M_EXECUTED, bar->route.arm, 1);
    metrics_add(s->metrics, M_REASONS, bar->route.reason, 1);
    metrics_add(s->metrics, M_WITHOUT_FEATURE, 0, bar->without_feature);
    s->dirty = true;
}

static enum err_class decide(struct engine *s, struct err *err)
{
    const int64_t now_us = clk_now_us(s->clk), mono_us = clk_mono_us();

    for (;;) {
        if (make_room(s, err) != ERR_OK)
            return err->class;
        if (!en_core_next(s->core, now_us, mono_us, &s->bar))
            return ERR_OK;
        send(s, &s->bar, now_us);
    }
}

/* ---- assignment ---- */

/* What was predicted, from where a restart has to know it. *ret_sent: the next record lies there or
 * behind. */
static enum err_class read_past(struct engine *s, int32_t partition, int64_t from,
                                int64_t *ret_sent, struct err *err)
{
    struct bus_reader *reader = NULL;
    const struct bus_reader_record *record;
    struct en_past past;
    bool end = false;
    int64_t low;
    enum err_class e =
        bus_reader_new(s->settings.kafka.v, s->settings.kafka.n, s->topics[TOPICS_PREDICTIONS],
                       partition, from, true, &reader, err);

    if (e == ERR_OK)
        bus_reader_bounds(reader, partition, &low, ret_sent);
    while (e == ERR_OK && !end && !svc_stopping(s->svc)) {
        svc_alive(s->svc);
        e = bus_reader_next(reader, RESTORE_WAIT_MS, &record, &end, err);
        if (e != ERR_OK || record == NULL)
            continue;
        const enum en_reject reject = en_wire_past(&s->wire, record, &past);
        if (reject == EN_ACCEPTED && en_core_past(s->core, &past))
            continue;
        if (reject == EN_ACCEPTED ||
            reject == EN_UNDECODABLE) /* passed over, it might be made again */
            e = err_set(err, ERR_REJECT, "%s, partition %" PRId32 ", offset %" PRId64 ": %s",
                        s->topics[TOPICS_PREDICTIONS], partition, record->offset,
                        reject == EN_ACCEPTED ? "more symbols than max_symbols: raise it"
                                              : "it cannot be decoded: start the newer release, or "
                                                "set schema_registry_url back");
    }
    bus_reader_free(reader);
    return e;
}

static enum err_class restore(struct engine *s, const struct bus_event *assigned, struct err *err)
{
    int64_t ohlcv_from = BUS_FROM_START, sent_from = BUS_FROM_START, sent = 0;
    const int32_t p = assigned->partition;
    const int64_t started_us = clk_mono_us();

    if (assigned->lost)
        log_event(LOG_ERROR, "candles_lost", "partition", LOG_INT, (int64_t)p, "committed", LOG_INT,
                  assigned->offset, "text", LOG_STR,
                  "the log does not hold what was to come next: going on from its start", NULL);
    else if (assigned->offset >= 0 &&
             !en_wire_metadata_parse(assigned->metadata, &ohlcv_from, &sent_from))
        log_event(LOG_WARN, "no_restart_metadata", "partition", LOG_INT, (int64_t)p, "action",
                  LOG_STR, "folding the whole log", NULL);
    if (read_past(s, p, sent_from, &sent, err) != ERR_OK)
        return err->class;
    if (svc_stopping(s->svc))
        return ERR_OK;
    if (en_side_start(&s->side, p, err) != ERR_OK)
        return err->class;
    en_core_start(s->core, p, assigned->lost ? -1 : assigned->offset, ohlcv_from, sent);
    const double seconds = (double)(clk_mono_us() - started_us) / 1e6;
    metrics_set(s->metrics, M_RESTORE_SECONDS, 0, seconds);
    log_event(LOG_INFO, "partition_assigned", "partition", LOG_INT, (int64_t)p, "committed",
              LOG_INT, assigned->offset, "ohlcv_from", LOG_INT, ohlcv_from, "predictions_from",
              LOG_INT, sent_from, "seconds", LOG_DOUBLE, seconds, NULL);
    return bus_start(s->bus, p, ohlcv_from, err);
}

static void revoke(struct engine *s, int32_t partition)
{
    s->held_n -= s->held_from[partition] >= 0;
    s->held_from[partition] = -1;
    en_core_stop(s->core, partition);
    en_side_stop(&s->side, partition);
    log_event(LOG_WARN, "partition_revoked", "partition", LOG_INT, (int64_t)partition, NULL);
}

/* ---- candles ---- */

static void pass_over(struct engine *s, const struct bus_event *record, enum en_reject reject)
{
    metrics_add(s->metrics, M_PASSED_OVER, reject, 1);
    en_core_skip(s->core, record->partition, record->offset);
}

static void on_candle(struct engine *s, const struct bus_event *record, int64_t now_us)
{
    struct en_candle c;
    const int32_t p = record->partition;

    if (s->held_from[p] >= 0)
        return; /* behind the one that waits: it comes again */
    metrics_add(s->metrics, M_CANDLES, 0, 1);
    s->moved = true;
    const enum en_reject reject = en_wire_candle(&s->wire, record, &c);
    if (reject != EN_ACCEPTED) {
        pass_over(s, record, reject);
        return;
    }
    c.now_us = now_us;
    c.mono_us = clk_mono_us();
    c.has_label = en_sheet_find(s->sheet, c.symbol, c.bar_time_us, &c.label);
    switch (en_core_candle(s->core, &c)) {
    case EN_DUE:
    case EN_KNOWN:
        return;
    case EN_STALE:
        metrics_add(s->metrics, M_PASSED_OVER, EN_AGAIN, 1);
        return;
    case EN_MISPLACED:
        metrics_add(s->metrics, M_PASSED_OVER, EN_ELSEWHERE, 1);
        return;
    case EN_NO_ROOM:
        pass_over(s, record, EN_NO_PLACE);
        return;
    case EN_FULL:
        s->held_from[p] = record->offset;
        s->held_n++;
        bus_hold(s->bus, p);
        return;
    }
}

/* Partitions that had to wait go on once half of the places are free. */
static enum err_class resume(struct engine *s, struct err *err)
{
    if (s->held_n == 0 || en_core_waiting(s->core) > EN_WAITING_MAX / 2)
        return ERR_OK;
    for (int32_t p = 0; (uint32_t)p < s->partitions_n; p++) {
        if (s->held_from[p] < 0)
            continue;
        const int64_t from = s->held_from[p];
        s->held_from[p] = -1;
        if (bus_start(s->bus, p, from, err) != ERR_OK)
            return err->class;
    }
    s->held_n = 0;
    return ERR_OK;
}

static enum err_class on_event(struct engine *s, const struct bus_event *e, int64_t now_us,
                               struct err *err)
{
    switch (e->kind) {
    case BUS_RECORD:
        on_candle(s, e, now_us);
        break;
    case BUS_ASSIGNED:
        return restore(s, e, err);
    case BUS_REVOKED:
        revoke(s, e->partition);
        break;
    case BUS_COMMITTED:
        metrics_add(s->metrics, M_COMMITS, 0, 1);
        for (unsigned i = 0; i < e->deliveries_n; i++)
            en_core_sent(s->core, e->deliveries[i].partition, e->deliveries[i].offset);
        break;
    case BUS_END:
    case BUS_END_OFFSET:
        break;
    }
    return ERR_OK;
}

static void export_metrics(struct engine *s)
{
    const unsigned owned = en_core_owned(s->core);

    metrics_set(s->metrics, M_WAITING, 0, en_core_waiting(s->core));
    metrics_set(s->metrics, M_PARTITIONS, 0, owned);
    connect_registry_export(s->wire.registry, s->metrics, M_REGISTRY);
    svc_ready(s->svc, owned > 0);
}

static enum err_class loop(struct engine *s, struct err *err)
{
    while (!svc_stopping(s->svc)) {
        struct bus_batch batch;
        svc_alive(s->svc);
        const bool waits = en_core_waiting(s->core) > 0;
        if (bus_poll(s->bus, waits ? POLL_WAITING_MS_MAX : POLL_MS_MAX, &batch, err) != ERR_OK)
            return err->class;
        const int64_t now_us = clk_now_us(s->clk);
        for (unsigned i = 0; i < batch.n; i++)
            if (on_event(s, &batch.events[i], now_us, err) != ERR_OK)
                return err->class;
        if (en_side_read(&s->side, s->core, err) != ERR_OK || decide(s, err) != ERR_OK ||
            resume(s, err) != ERR_OK)
            return err->class;
        maybe_commit(s);
        export_metrics(s);
    }
    return ERR_OK;
}

/* Bars that still wait are left to the next start: the position lies before them. */
static enum err_class drain(struct engine *s, struct err *err)
{
    if (bus_drain(s->bus, DRAIN_MS_MAX, err) != ERR_OK)
        return err->class;
    if (!s->dirty && !s->moved)
        return ERR_OK;
    commit(s);
    return bus_drain(s->bus, DRAIN_MS_MAX, err);
}

/* ---- start ---- */

static void name_topics(struct engine *s)
{
    const char *prefix = config_string(s->config, "topic_prefix");

    topics_names(prefix, s->topics);
    (void)snprintf(s->group_id, NAME_BYTES_MAX, "%s%s", prefix,
                   config_string(s->config, "group_id"));
    (void)snprintf(s->transactional_id, NAME_BYTES_MAX, "%s%s", prefix,
                   config_string(s->config, "replica"));
}

static enum err_class open_schemas(struct engine *s, struct err *err)
{
    static const struct codec_record *const records[EN_INPUTS] = {
        [EN_IN_CANDLE] = &codec_candle_record,
        [EN_IN_FEATURE] = &codec_l2_feature_record,
        [EN_IN_BEAT] = &codec_heartbeat_record,
        [EN_IN_ROLLOUT] = &codec_rollout_state_record,
        [EN_IN_PREDICTION] = &codec_prediction_record,
    };
    struct en_wire *w = &s->wire;

    if (connect_registry_wanted(s->config) &&
        connect_registry_open(s->config, &w->registry, err) != ERR_OK)
        return err->class;
    const struct codec_ids ids = connect_registry_ids(w->registry);
    for (int i = 0; i < EN_INPUTS; i++)
        if (codec_reader_new(records[i], &ids, &w->readers[i], err) != ERR_OK)
            return err->class;
    return connect_registry_id(s->config, w->registry, s->topics[TOPICS_PREDICTIONS],
                               &codec_prediction_record, &w->prediction_id, err);
}

static enum err_class connect(struct engine *s, struct err *err)
{
    const struct connect_kafka *kafka = &s->settings.kafka;
    const char *const outputs[] = {s->topics[TOPICS_PREDICTIONS]};
    const struct topics_options topics = {.prefix = config_string(s->config, "topic_prefix"),
                                          .replication_factor = -1};
    const struct bus_options options = {
        .settings = kafka->v,
        .settings_n = kafka->n,
        .group_id = s->group_id,
        .group_instance_id = config_string(s->config, "replica"),
        .transactional_id = s->transactional_id,
        .input_topic = s->topics[TOPICS_OHLCV],
        .output_topics = outputs,
        .output_topics_n = 1,
        .buffer_bytes_max = BUFFER_BYTES_MAX,
        .session_timeout_ms = 10000,
        .transaction_timeout_ms = 10000,
        .log = svc_log_kafka,
    };

    if (topics_check(kafka->v, kafka->n, &topics, topics_used,
                     sizeof topics_used / sizeof topics_used[0], TOPICS_CHECK_MS, err) != ERR_OK ||
        bus_new(&options, &s->bus, err) != ERR_OK)
        return err->class;
    s->partitions_n = s->settings.params.partitions_n = bus_partitions(s->bus);
    for (unsigned p = 0; p < s->partitions_n; p++)
        s->held_from[p] = -1;
    return en_core_new(&s->settings.params, &s->core, err);
}

static void say_serving(const struct engine *s)
{
    const struct en_params *p = &s->settings.params;

    log_event(LOG_INFO, "serving", "text", LOG_STR, "an example engine, with plain rules as models",
              "input", LOG_STR, s->topics[TOPICS_OHLCV], "output", LOG_STR,
              s->topics[TOPICS_PREDICTIONS], "partitions", LOG_INT, (int64_t)s->partitions_n,
              "model_version", LOG_STR, s->settings.model_version, NULL);
    if (p->agreement >= 0 || p->skill > 0 || p->blind_skill > 0)
        log_event(LOG_WARN, "made_up_predictions", "text", LOG_STR,
                  "agreement or skill is set: a test's engine, whose predictions mean nothing",
                  NULL);
}

static enum err_class serve(struct engine *s, struct err *err)
{
    name_topics(s);
    s->wire = (struct en_wire){
        .exchange = s->settings.exchange,
        .bar_s = s->settings.bar_s,
        .bar_us = s->settings.params.bar_us,
        .purge_bars = s->settings.purge_bars,
        .schema_version = s->settings.schema_version,
        .model_version = s->settings.model_version,
        .label = s->settings.label,
    };
    s->side = (struct en_side){
        .wire = &s->wire,
        .metrics = s->metrics,
        .settings = s->settings.kafka.v,
        .settings_n = s->settings.kafka.n,
        .features = s->topics[TOPICS_FEATURES],
        .heartbeat = s->topics[TOPICS_HEARTBEAT],
        .rollout = s->topics[TOPICS_ROLLOUT],
    };
    if (en_sheet_read(s->settings.labels_file, &s->sheet, err) != ERR_OK ||
        open_schemas(s, err) != ERR_OK || connect(s, err) != ERR_OK ||
        en_side_open(&s->side, s->svc, s->core, err) != ERR_OK)
        return err->class;
    say_serving(s);
    if (loop(s, err) != ERR_OK)
        return err->class;
    return drain(s, err);
}

static enum err_class run(struct svc *svc, void *options, struct err *err)
{
    struct engine *s = calloc(1, sizeof *s);

    (void)options;
    if (s == NULL)
        return err_set(err, ERR_FATAL, "l2engine: no memory");
    s->svc = svc;
    s->config = svc_config(svc);
    s->clk = svc_clk(svc);
    s->metrics = svc_metrics(svc);
    enum err_class e = en_config_load(s->config, s->clk, &s->settings, err);
    if (e == ERR_OK)
        e = serve(s, err);
    en_side_close(&s->side);
    bus_free(s->bus);
    en_core_free(s->core);
    for (int i = 0; i < EN_INPUTS; i++)
        codec_reader_free(s->wire.readers[i]);
    codec_registry_free(s->wire.registry);
    en_sheet_free(s->sheet);
    free(s);
    return e;
}

const struct svc_desc en_service = {
    .name = "l2engine",
    .summary = "An example of a trading engine: predicts each closed candle (l2.ohlcv) with plain "
               "rules, with and without the order book's features (l2.features), routes by the "
               "rollout (l2.rollout) and by its own quality, and writes every arm's prediction "
               "(l2.predictions) exactly once.",
    .footer = "Examples:\n"
              "  l2engine --config l2engine.conf\n"
              "  L2_EFFECTIVE_ARM_WITHOUT_ROLLOUT=champion_l2 l2engine --config l2engine.conf\n",
    .rows = en_config_rows,
    .metrics = en_metric_rows,
    .check = en_config_check,
    .run = run,
};
