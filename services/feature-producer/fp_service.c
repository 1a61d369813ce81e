/* The live loop: poll, decode, step, apply, commit. */
#include "fp_service.h"

#include "fp_assign.h"
#include "fp_metrics.h"
#include "fp_schemas.h"

#include "log/log.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS_MAX 20
#define COMMIT_EVERY_US CLK_US_PER_S
#define HEARTBEAT_EVERY_US CLK_US_PER_S
#define DRAIN_MS_MAX 5000
#define BEATS_FLUSH_MS_MAX 500
#define PREFETCH_AHEAD 3
#define PREFETCH_BYTES_MAX 1024 /* a book of 20 levels has some 730 */
#define NAME_BYTES_MAX 300 /* a prefix of 64 and a name of 200 at most */
#define TOPICS_CHECK_MS 10000

/*
 * One snapshot can close seven days of one-minute bars, whose transaction must not be split: 10,080
 * bars and features, of which all but the first bar have an empty sketch, each with its key and the
 * buffer's own bytes. Both halves of the buffer hold that and a batch's ordinary outputs beside it.
 */
#define STEP_BYTES_MAX ((size_t)9 << 20)
#define BUFFER_BYTES_MAX ((size_t)32 << 20)
#define STEP_BARS_MAX (L2_SYMBOL_TTL_S_MAX / 60 + 2)
#define SKETCH_FIELD_BYTES_MAX 8192 /* max_bytes of l2_bar.avsc's spread_sketch */
#define OUTPUT_OWN_BYTES_MAX (CODEC_FRAME_BYTES + L2_SYMBOL_BYTES_MAX + BUS_OUTPUT_OVERHEAD)
static_assert(STEP_BARS_MAX * (CODEC_L2_BAR_BYTES_MAX - SKETCH_FIELD_BYTES_MAX +
                               CODEC_L2_FEATURE_BYTES_MAX + 2 * OUTPUT_OWN_BYTES_MAX) +
                      SKETCH_FIELD_BYTES_MAX <=
                  STEP_BYTES_MAX,
              "one snapshot's outputs fit");
static_assert(2 * STEP_BYTES_MAX <= BUFFER_BYTES_MAX, "each half has room for a step");

/* The topics that it uses; outputs are the first of them, in the order of
 * bus_options.output_topics. */
enum output { OUTPUT_BARS, OUTPUT_FEATURES, OUTPUT_DLQ, OUTPUTS };
static const enum topics_id topics_used[] = {TOPICS_BARS, TOPICS_FEATURES, TOPICS_DLQ,
                                             TOPICS_SNAPSHOTS, TOPICS_HEARTBEAT};

struct service {
    struct svc *svc;
    const struct config *config;
    const struct clk *clk;
    struct metrics *metrics;
    struct fp_params params;
    struct fp_wire wire;
    struct fp_core *core;
    struct bus *bus;
    bool checks_partition;
    enum bus_partitioner partitioner; /* the feed's */
    struct bus_producer *beats;
    struct fp_settings settings;
    struct fp_schemas schemas;
    char schema_version[L2_SCHEMA_VERSION_BYTES_MAX];
    uint64_t fingerprint; /* of this deployment, in what it commits */
    char topics[TOPICS_N][TOPICS_NAME_BYTES_MAX + 1]; /* by topics_id */
    char group_id[NAME_BYTES_MAX], transactional_id[NAME_BYTES_MAX];
    bool dirty;      /* outputs were sent since the last commit was handed over */
    bool moved;      /* records were read since then */
    int64_t committed_mono_us, beaten_mono_us;
    int64_t newest_event_us;
    uint64_t read; /* records of this batch */
    struct bus_position positions[FP_PARTITIONS_MAX];
    struct fp_update update;
    struct fp_event event; /* the record at hand */
    struct codec_l2_snapshot decoded;
    struct l2_snapshot snapshot;
    uint8_t out[FP_OUTPUT_BYTES_MAX];
};

/* ---- actions ---- */

static void send(struct service *s, enum output topic, const struct fp_action *a, size_t n,
                 uint64_t tag)
{
    const struct bus_output output = {
        .topic = topic,
        .partition = a->partition,
        .key = a->symbol.data,
        .key_n = a->symbol.n,
        .value = s->out,
        .value_n = n,
        .tag = tag,
    };

    bus_send(s->bus, &output);
    s->dirty = true;
}

static size_t least(size_t a, size_t b)
{
    return a < b ? a : b;
}

/* Untouched but for what a letter cannot hold: docs/decisions/cut-dead-letters.md. */
static void send_dead(struct service *s, const struct fp_action *a, const struct bus_event *record)
{
    char partition[16], offset[24], key_bytes[24], value_bytes[24];
    const bool is_cut = record->key_n + record->value_n > TOPICS_MESSAGE_BYTES_MAX;
    const char *reason = l2_reject_names[a->reject];
    (void)snprintf(partition, sizeof partition, "%" PRId32, a->partition);
    (void)snprintf(offset, sizeof offset, "%" PRId64, a->source_offset);
    (void)snprintf(key_bytes, sizeof key_bytes, "%zu", record->key_n);
    (void)snprintf(value_bytes, sizeof value_bytes, "%zu", record->value_n);
    const struct bus_header headers[] = {
        {TOPICS_DLQ_REASON, reason, strlen(reason)},
        {TOPICS_DLQ_TOPIC, s->topics[TOPICS_SNAPSHOTS], strlen(s->topics[TOPICS_SNAPSHOTS])},
        {TOPICS_DLQ_PARTITION, partition, strlen(partition)},
        {TOPICS_DLQ_OFFSET, offset, strlen(offset)},
        {TOPICS_DLQ_KEY_BYTES, key_bytes, strlen(key_bytes)}, /* when cut */
        {TOPICS_DLQ_VALUE_BYTES, value_bytes, strlen(value_bytes)},
    };
    const unsigned headers_n = sizeof headers / sizeof headers[0];
    const struct bus_output output = {
        .topic = OUTPUT_DLQ,
        .partition = a->partition,
        .key = record->key,
        .key_n = is_cut ? least(record->key_n, TOPICS_DLQ_CUT_KEY_BYTES_MAX) : record->key_n,
        .value = record->value,
        .value_n =
            is_cut ? least(record->value_n, TOPICS_DLQ_CUT_VALUE_BYTES_MAX) : record->value_n,
        .timestamp_ms = record->timestamp_us > 0 ? record->timestamp_us / 1000 : 0,
        .headers = headers,
        .headers_n = is_cut ? headers_n : headers_n - 2,
    };

    metrics_add(s->metrics, M_DEAD_LETTERS, a->reject, 1);
    bus_send(s->bus, &output);
    s->dirty = true;
}

static void send_heartbeat(struct service *s, const struct fp_action *a, int64_t now_us)
{
    const struct codec_heartbeat beat = fp_wire_heartbeat(&s->wire, a, now_us);
    struct err err;
    size_t n;
    const enum codec_status status = codec_frame_as(
        &codec_heartbeat_record, s->schemas.heartbeat_id, &beat, s->out, sizeof s->out, &n);

    assert(status == CODEC_OK);
    const struct bus_output output = {
        .partition = a->partition,
        .key = a->symbol.data,
        .key_n = a->symbol.n,
        .value = s->out,
        .value_n = n,
    };
    if (bus_producer_send(s->beats, s->topics[TOPICS_HEARTBEAT], &output, &err) != ERR_OK)
        metrics_add(s->metrics, M_HEARTBEATS_LOST, 0, 1); /* the next one, in a second, says more */
}

static enum err_class apply(struct service *s, const struct fp_action *a,
                            const struct bus_event *record, int64_t now_us, struct err *err)
{
    enum codec_status status = CODEC_OK;
    size_t n = 0;

    switch (a->kind) {
    case FP_EMIT_BAR: {
        const struct codec_l2_bar bar = fp_wire_bar(&s->wire, a);
        status = codec_frame_as(&codec_l2_bar_record, s->schemas.bar_id, &bar, s->out,
                                sizeof s->out, &n);
        assert(status == CODEC_OK); /* a bar of ours that does not fit its schema is our bug */
        send(s, OUTPUT_BARS, a, n, a->tag);
        metrics_add(s->metrics, M_BARS, a->closed_by_clock, 1);
        return ERR_OK;
    }
    case FP_EMIT_FEATURE: {
        const struct codec_l2_feature feature = fp_wire_feature(&s->wire, a, now_us);
        status = codec_frame_as(&codec_l2_feature_record, s->schemas.feature_id, &feature, s->out,
                                sizeof s->out, &n);
        assert(status == CODEC_OK);
        send(s, OUTPUT_FEATURES, a, n, 0);
        metrics_add(s->metrics, M_FEATURES, 0, 1);
        return ERR_OK;
    }
    case FP_DEAD_LETTER:
        assert(record != NULL);
        send_dead(s, a, record);
        return ERR_OK;
    case FP_HEARTBEAT:
        send_heartbeat(s, a, now_us);
        return ERR_OK;
    case FP_ASK_END:
        return bus_ask_end(s->bus, a->partition, err);
    case FP_RETIRED: {
        char symbol[L2_SYMBOL_BYTES_MAX + 1];
        (void)snprintf(symbol, sizeof symbol, "%.*s", (int)a->symbol.n, a->symbol.data);
        metrics_add(s->metrics, M_RETIRED, 0, 1);
        log_event(LOG_WARN, "symbol_retired", "symbol", LOG_STR, symbol, "last_event_time_us",
                  LOG_INT, a->last_event_us, NULL);
        return ERR_OK;
    }
    case FP_NO_PLACE: /* of bars that are read, which take_bar sees to */
        assert(false);
        return ERR_OK;
    case FP_ADOPTED: {
        char symbol[L2_SYMBOL_BYTES_MAX + 1];
        (void)snprintf(symbol, sizeof symbol, "%.*s", (int)a->symbol.n, a->symbol.data);
        metrics_add(s->metrics, M_ADOPTED, 0, 1);
        log_event(LOG_WARN, "stream_adopted", "symbol", LOG_STR, symbol, "event_time_us", LOG_INT,
                  a->last_event_us, "no_bars_until_us", LOG_INT, a->no_bars_until_us, NULL);
        return ERR_OK;
    }
    }
    return ERR_OK;
}

/* ---- commits ---- */

static void commit(struct service *s)
{
    unsigned n = 0;

    for (int32_t p = 0; (uint32_t)p < s->params.partitions_n; p++) {
        if (!fp_core_owns(s->core, p) || fp_core_is_restoring(s->core, p))
            continue;
        const struct fp_position position = fp_core_position(s->core, p);
        s->positions[n].partition = p;
        s->positions[n].offset = position.offset;
        fp_wire_metadata(&position, s->fingerprint, s->positions[n].metadata);
        n++;
    }
    if (n == 0) { /* what was sent went with its partition */
        s->dirty = s->moved = false;
        return;
    }
    bus_commit(s->bus, s->positions, n);
    s->dirty = s->moved = false;
    s->committed_mono_us = clk_mono_us();
}

/* At once when a bar closed (or a record was rejected), else once a second. */
static void maybe_commit(struct service *s)
{
    if (bus_committing(s->bus))
        return;
    if (s->dirty || (s->moved && clk_mono_us() - s->committed_mono_us >= COMMIT_EVERY_US))
        commit(s);
}

/* Waits until one event's worst case fits: the broker is slow or away, and the input waits
 * meanwhile. */
static enum err_class make_room(struct service *s, struct err *err)
{
    while (bus_room(s->bus) < STEP_BYTES_MAX) {
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

static enum err_class step(struct service *s, const struct fp_event *event,
                           const struct bus_event *record, struct err *err)
{
    struct fp_update *u = &s->update;

    if (make_room(s, err) != ERR_OK)
        return err->class;
    for (fp_core_step(s->core, event, u);; fp_core_continue(s->core, u)) {
        for (unsigned i = 0; i < u->n; i++) {
            if (apply(s, &u->actions[i], record, event->now_us, err) != ERR_OK)
                return err->class;
        }
        if (!u->more)
            return ERR_OK;
        /* a record's outputs stay in one transaction; a sweep over symbols has no such bound, and
         * needs none */
        if ((record == NULL || u->splittable) && make_room(s, err) != ERR_OK)
            return err->class;
    }
}

/* ---- the loop ---- */

/* A symbol that is sent to two partitions would be two streams, with two bars for each time. Of
 * what is no snapshot, or has no key, another reason says more. */
static void check_partition(const struct service *s, struct fp_event *e)
{
    if (!s->checks_partition || e->kind != FP_SNAPSHOT || e->key.n == 0 ||
        bus_partition_of(s->partitioner, e->key.data, e->key.n, s->params.partitions_n) ==
            e->partition)
        return;
    e->kind = FP_DEAD_BYTES;
    e->reject = L2_REJECT_WRONG_PARTITION;
    e->snapshot = NULL;
}

static enum err_class on_record(struct service *s, const struct bus_event *record, int64_t now_us,
                                struct err *err)
{
    struct fp_event *event = &s->event;

    if (fp_schemas_holds(&s->schemas, record->partition))
        return ERR_OK; /* behind the one that waits: it comes again */
    if (!fp_wire_event(&s->wire, record, now_us, event)) {
        fp_schemas_hold(&s->schemas, record);
        bus_hold(s->bus, record->partition);
        log_event(LOG_WARN, "partition_held", "partition", LOG_INT, (int64_t)record->partition,
                  "offset", LOG_INT, record->offset, "text", LOG_STR,
                  "its schema is being asked for", NULL);
        return ERR_OK;
    }
    check_partition(s, event);
    if (event->snapshot != NULL)
        s->newest_event_us = event->snapshot->event_time_us;
    s->read++;
    const enum err_class e = step(s, event, record, err);
    /* behind the step: one that had to make room has committed the offset before this record */
    s->moved = true;
    return e;
}

static enum err_class on_committed(struct service *s, const struct bus_event *e, struct err *err)
{
    metrics_add(s->metrics, M_COMMITS, 0, 1);
    for (unsigned i = 0; i < e->deliveries_n; i++) {
        const struct fp_event delivered = {
            .kind = FP_DELIVERED,
            .partition = e->deliveries[i].partition,
            .offset = e->deliveries[i].offset,
            .tag = e->deliveries[i].tag,
        };
        if (step(s, &delivered, NULL, err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

static enum err_class assign(struct service *s, const struct bus_event *e, struct err *err)
{
    const struct fp_assign what = {
        .svc = s->svc,
        .metrics = s->metrics,
        .kafka = s->settings.kafka.v,
        .kafka_n = s->settings.kafka.n,
        .bars_topic = s->topics[TOPICS_BARS],
        .snapshots_topic = s->topics[TOPICS_SNAPSHOTS],
        .group_id = s->group_id,
        .fingerprint = s->fingerprint,
        .symbols_max = s->params.symbols_max,
        .wire = &s->wire,
        .schemas = &s->schemas,
        .core = s->core,
        .update = &s->update,
        .bus = s->bus,
    };

    return fp_assign_restore(&what, e, err);
}

static enum err_class on_event(struct service *s, const struct bus_event *e, int64_t now_us,
                               struct err *err)
{
    struct fp_event event = {.now_us = now_us, .partition = e->partition, .offset = e->offset};

    switch (e->kind) {
    case BUS_RECORD:
        return on_record(s, e, now_us, err);
    case BUS_ASSIGNED:
        return assign(s, e, err);
    case BUS_COMMITTED:
        return on_committed(s, e, err);
    case BUS_END:
        if (fp_schemas_holds(&s->schemas, e->partition))
            return ERR_OK;
        event.kind = FP_END;
        break;
    case BUS_END_OFFSET:
        event.kind = FP_END_OFFSET;
        break;
    case BUS_REVOKED:
        fp_schemas_release(&s->schemas, e->partition);
        event.kind = FP_STOP;
        log_event(LOG_WARN, "partition_revoked", "partition", LOG_INT, (int64_t)e->partition, NULL);
        break;
    }
    return step(s, &event, NULL, err);
}

static void export_metrics(struct service *s, int64_t now_us)
{
    static const struct {
        enum metric metric;
        size_t offset;
    } counters[] = {
        {M_TAKEN, offsetof(struct fp_stats, taken)},
        {M_DUPLICATES, offsetof(struct fp_stats, duplicates)},
        {M_LATE, offsetof(struct fp_stats, late)},
        {M_GAPS, offsetof(struct fp_stats, gaps)},
    };
    const struct fp_stats *stats = fp_core_stats(s->core);
    unsigned owned = 0;

    for (unsigned i = 0; i < sizeof counters / sizeof counters[0]; i++) {
        const uint64_t total = *(const uint64_t *)((const char *)stats + counters[i].offset);
        metrics_add(s->metrics, counters[i].metric, 0,
                    total - metrics_count(s->metrics, counters[i].metric, 0));
    }
    for (int32_t p = 0; (uint32_t)p < s->params.partitions_n; p++)
        owned += fp_core_owns(s->core, p);
    metrics_set(s->metrics, M_SYMBOLS, 0, fp_core_symbols(s->core));
    metrics_set(s->metrics, M_PARTITIONS, 0, owned);
    metrics_set(s->metrics, M_BUFFER_FREE, 0, (double)bus_room(s->bus));
    metrics_set(s->metrics, M_PARTITIONS_HELD, 0, s->schemas.held_n);
    metrics_set(s->metrics, M_HELD_SECONDS, 0, (double)fp_schemas_held_us(&s->schemas) / 1e6);
    connect_registry_export(s->schemas.registry, s->metrics, M_REGISTRY);
    if (s->newest_event_us > 0)
        metrics_set(s->metrics, M_EVENT_LAG, 0, (double)(now_us - s->newest_event_us) / 1e6);
    svc_ready(s->svc, owned > 0);
}

static enum err_class beat(struct service *s, int64_t now_us, struct err *err)
{
    const int64_t mono_us = clk_mono_us();
    const struct fp_event due = {.kind = FP_HEARTBEAT_DUE, .now_us = now_us};
    struct err ignored; /* a heartbeat that was lost is followed by the next */

    if (mono_us - s->beaten_mono_us < HEARTBEAT_EVERY_US)
        return ERR_OK;
    s->beaten_mono_us = mono_us;
    export_metrics(s, now_us);
    if (bus_producer_poll(s->beats, 0, &ignored) != ERR_OK)
        log_event(LOG_WARN, "heartbeat_failed", "error", LOG_STR, ignored.text, NULL);
    return step(s, &due, NULL, err);
}

/* Records were written by another thread: their bytes are asked for a few records before they are
 * read. */
static void prefetch(const struct bus_batch *batch, unsigned i)
{
    if (i >= batch->n || batch->events[i].kind != BUS_RECORD)
        return;
    const uint8_t *value = batch->events[i].value;
    const size_t n = batch->events[i].value_n < PREFETCH_BYTES_MAX ? batch->events[i].value_n
                                                                   : PREFETCH_BYTES_MAX;

    for (size_t at = 0; at < n; at += 64)
        __builtin_prefetch(value + at);
}

/* Partitions whose schema has been answered for go on where they stood. */
static enum err_class resume(struct service *s, struct err *err)
{
    int32_t partition;
    int64_t offset;
    struct err trouble;

    if (s->schemas.registry == NULL)
        return ERR_OK;
    if (codec_registry_trouble(s->schemas.registry, &trouble))
        log_event(LOG_WARN, "schema_registry", "error", LOG_STR, trouble.text, NULL);
    while (fp_schemas_ready(&s->schemas, &partition, &offset)) {
        log_event(LOG_INFO, "partition_resumed", "partition", LOG_INT, (int64_t)partition, "offset",
                  LOG_INT, offset, NULL);
        if (bus_start(s->bus, partition, offset, err) != ERR_OK)
            return err->class;
    }
    return ERR_OK;
}

static enum err_class loop(struct service *s, struct err *err)
{
    while (!svc_stopping(s->svc)) {
        struct bus_batch batch;
        svc_alive(s->svc);
        if (bus_poll(s->bus, POLL_MS_MAX, &batch, err) != ERR_OK)
            return err->class;
        const int64_t now_us = clk_now_us(s->clk);
        const struct fp_event tick = {.kind = FP_TICK, .now_us = now_us};
        for (unsigned i = 0; i < batch.n; i++) {
            prefetch(&batch, i + PREFETCH_AHEAD);
            if (on_event(s, &batch.events[i], now_us, err) != ERR_OK)
                return err->class;
        }
        metrics_add(s->metrics, M_READ, 0, s->read);
        s->read = 0;
        if (step(s, &tick, NULL, err) != ERR_OK || beat(s, now_us, err) != ERR_OK ||
            resume(s, err) != ERR_OK)
            return err->class;
        maybe_commit(s);
    }
    return ERR_OK;
}

/* What was computed is committed before the process ends, so that a planned restart repeats
 * nothing. */
static enum err_class drain(struct service *s, struct err *err)
{
    struct err ignored; /* heartbeats: a second old at most */

    if (bus_producer_flush(s->beats, BEATS_FLUSH_MS_MAX, &ignored) != ERR_OK)
        log_event(LOG_WARN, "heartbeats_not_flushed", "error", LOG_STR, ignored.text, NULL);
    if (bus_drain(s->bus, DRAIN_MS_MAX, err) != ERR_OK)
        return err->class;
    if (!s->dirty && !s->moved)
        return ERR_OK;
    commit(s);
    return bus_drain(s->bus, DRAIN_MS_MAX, err);
}

/* ---- start ---- */

static void name_topics(struct service *s)
{
    const char *prefix = config_string(s->config, "topic_prefix");

    topics_names(prefix, s->topics);
    (void)snprintf(s->group_id, NAME_BYTES_MAX, "%s%s", prefix,
                   config_string(s->config, "group_id"));
    (void)snprintf(s->transactional_id, NAME_BYTES_MAX, "%s%s", prefix,
                   config_string(s->config, "replica"));
}

static enum err_class check_topics(const struct service *s, struct err *err)
{
    const struct topics_options options = {.prefix = config_string(s->config, "topic_prefix"),
                                           .replication_factor = -1};

    return topics_check(s->settings.kafka.v, s->settings.kafka.n, &options, topics_used,
                        sizeof topics_used / sizeof topics_used[0], TOPICS_CHECK_MS, err);
}

static enum err_class connect(struct service *s, struct err *err)
{
    const char *outputs[OUTPUTS];
    for (int i = 0; i < OUTPUTS; i++)
        outputs[i] = s->topics[topics_used[i]];
    const struct bus_options options = {
        .settings = s->settings.kafka.v,
        .settings_n = s->settings.kafka.n,
        .group_id = s->group_id,
        .group_instance_id = config_string(s->config, "replica"),
        .transactional_id = s->transactional_id,
        .input_topic = s->topics[TOPICS_SNAPSHOTS],
        .output_topics = outputs,
        .output_topics_n = OUTPUTS,
        .buffer_bytes_max = BUFFER_BYTES_MAX,
        .session_timeout_ms = 10000,
        .transaction_timeout_ms = 10000,
        .log = svc_log_kafka,
    };

    if (check_topics(s, err) != ERR_OK || bus_new(&options, &s->bus, err) != ERR_OK)
        return err->class;
    s->params.partitions_n = bus_partitions(s->bus);
    if (bus_producer_new(s->settings.kafka.v, s->settings.kafka.n, svc_log_kafka, NULL, &s->beats,
                         err) != ERR_OK)
        return err->class;
    return fp_core_new(&s->params, &s->core, err);
}

static enum err_class run_live(struct service *s, struct err *err)
{
    const char *const partitioner = config_string(s->config, "feed_partitioner");

    name_topics(s);
    s->checks_partition = strcmp(partitioner, "none") != 0;
    s->partitioner = strcmp(partitioner, "crc32") == 0 ? BUS_CRC32 : BUS_MURMUR2;
    if (fp_settings_load(s->config, &s->settings, err) != ERR_OK ||
        fp_schemas_open(&s->schemas, s->config, s->topics[TOPICS_BARS], s->topics[TOPICS_FEATURES],
                        s->topics[TOPICS_HEARTBEAT], err) != ERR_OK ||
        connect(s, err) != ERR_OK)
        return err->class;
    l2_schema_version(&s->params.l2, s->schema_version);
    s->wire = (struct fp_wire){
        .params = &s->params,
        .clk = s->clk,
        .exchange = s->params.exchange,
        .schema_version = s->schema_version,
        .snapshots = s->schemas.snapshots,
        .bars = s->schemas.bars,
        .decoded = &s->decoded,
        .snapshot = &s->snapshot,
    };
    s->fingerprint = fp_wire_fingerprint(&s->wire);
    log_event(LOG_INFO, "serving", "input", LOG_STR, s->topics[TOPICS_SNAPSHOTS], "partitions",
              LOG_INT, (int64_t)s->params.partitions_n, "schema_version", LOG_STR,
              s->schema_version, "purge_bars", LOG_INT, (int64_t)s->params.l2.purge_bars,
              "bar_seconds", LOG_INT, (int64_t)s->params.l2.bar_s, NULL);
    if (loop(s, err) != ERR_OK)
        return err->class;
    return drain(s, err);
}

static void warn_purge(const struct fp_params *params)
{
    if (params->l2.purge_bars == 0)
        log_event(
            LOG_WARN, "purge_is_off", "text", LOG_STR,
            "CVN_L2_PURGE_BARS = 0: these records serve the leakage check alone, never a model",
            NULL);
}

static enum err_class run(struct svc *svc, void *options, struct err *err)
{
    struct service *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(err, ERR_FATAL, "feature-producer: no memory");
    s->svc = svc;
    s->config = svc_config(svc);
    s->clk = svc_clk(svc);
    s->metrics = svc_metrics(svc);
    const struct fp_options *o = options;
    enum err_class e = fp_params_load(s->config, s->clk, o, &s->params, err);
    if (e == ERR_OK) {
        warn_purge(&s->params);
        e = o->offline_path != NULL ? fp_offline_run(svc, o, &s->params, err) : run_live(s, err);
    }
    bus_producer_free(s->beats);
    bus_free(s->bus);
    fp_core_free(s->core);
    fp_schemas_close(&s->schemas);
    free(s);
    return e;
}

const struct svc_desc fp_service = {
    .name = "feature-producer",
    .summary = "Turns raw order-book snapshots (l2.snapshots) into one bar row (l2.bars) and one "
               "purged feature record "
               "(l2.features) per symbol and bar, exactly once. With --offline it computes the "
               "same from a file.",
    .footer = "Examples:\n"
              "  feature-producer --config feature-producer.conf\n"
              "  feature-producer --offline snapshots.avro --out-dir features\n"
              "  feature-producer --offline snapshots.avro --out-dir out --bar-seconds 60 "
              "--window-seconds 60\n",
    .rows = fp_config_rows,
    .metrics = fp_metric_rows,
    .options = fp_option_table,
    .parse = fp_option_parse,
    .options_state = &fp_options,
    .is_offline = fp_is_offline,
    .check = fp_config_check,
    .run = run,
};
