/* The loop: poll, decode, batch; the writer stores; what is stored is committed to Kafka. */
#include "ba_service.h"

#include "ba_metrics.h"
#include "ba_tell.h"
#include "ba_writer.h"

#include "codec/candle.h"
#include "codec/l2_bar.h"
#include "connect/connect.h"
#include "log/log.h"
#include "topics/topics.h"

#include <assert.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#define POLL_MS_MAX 20
#define DRAIN_US_MAX (8 * CLK_US_PER_S)
#define EXPORT_EVERY_US (CLK_US_PER_S / 4)
#define NAME_BYTES_MAX 300 /* a prefix of 64 and a name of 200 at most */
#define TOPICS_CHECK_MS 10000
#define BATCHES (BA_QUEUE + 1) /* the writer's, and the one that is being filled */

/* By ba_table: which topic gives its rows. */
static const enum topics_id topics_used[BA_TABLES] = {TOPICS_BARS, TOPICS_OHLCV};

struct service {
    struct svc *svc;
    const struct config *config;
    const struct clk *clk;
    struct metrics *metrics;
    struct connect_kafka kafka;
    struct codec_registry *registry; /* NULL: none is configured */
    struct ba_readers readers;
    struct pgc_options pg;
    struct bus_consumer *consumer;
    struct ba_writer *writer;
    struct ba_batch *batches[BATCHES], *spare[BATCHES];
    unsigned spare_n;
    struct ba_batch *open; /* NULL: all are the writer's, reading stands still */
    char topics[BA_TABLES][NAME_BYTES_MAX], group_id[NAME_BYTES_MAX];
    int64_t newest_us, exported_mono_us; /* newest_us: of what is stored; 0: nothing is */
    struct ba_teller teller;
    union {
        struct codec_l2_bar bar;
        struct codec_candle candle;
    } decoded;
};

/* ---- records ---- */

/*
 * True and the row's bytes: without frame, when it is of our schema and decodes. What is of another
 * one, or framed with a registry's id, is judged by the writer, which may wait for the registry.
 */
static bool decode(struct service *s, enum ba_table table, const struct bus_reader_record *r,
                   const uint8_t **ret_body, size_t *ret_n, bool *ret_framed, const char **ret_why)
{
    const struct codec_record *record = ba_table_record(table);
    uint64_t fingerprint;

    *ret_framed = false;
    *ret_why = "too_large";
    if (r->value_n > BA_RECORD_BYTES_MAX)
        return false;
    *ret_why = "no_value";
    if (r->value == NULL)
        return false;
    enum codec_status status = codec_frame_get(r->value, r->value_n, &fingerprint, ret_body, ret_n);
    if (status == CODEC_FRAME_NO_REGISTRY ||
        (status == CODEC_OK && fingerprint != record->fingerprint)) {
        *ret_framed = true;
        *ret_body = r->value;
        *ret_n = r->value_n;
        return true;
    }
    if (status == CODEC_OK)
        status = record->decode(*ret_body, *ret_n, &s->decoded);
    *ret_why = codec_status_name(status);
    return status == CODEC_OK;
}

static void on_record(struct service *s, const struct bus_consumer_record *record, int64_t now_us)
{
    const struct bus_reader_record *r = &record->r;
    const enum ba_table table = (enum ba_table)record->topic;
    const uint8_t *body;
    const char *why;
    bool is_framed;
    size_t n;

    ba_batch_seen(s->open, now_us, r->timestamp_us);
    if (!decode(s, table, r, &body, &n, &is_framed, &why)) {
        metrics_add(s->metrics, M_UNDECODABLE, (unsigned)table, 1);
        ba_tell_undecodable(&s->teller, table, r->partition, r->offset, why, now_us);
        return;
    }
    const struct ba_row row = {.table = table,
                               .is_framed = is_framed,
                               .partition = r->partition,
                               .offset = r->offset,
                               .n = (uint32_t)n};
    ba_batch_add(s->open, &row, body);
}

/* ---- batches ---- */

static enum err_class hand_over(struct service *s, struct err *err)
{
    if (bus_consumer_mark(s->consumer, &s->open->mark, err) != ERR_OK)
        return err->class;
    ba_writer_submit(s->writer, s->open);
    s->open = s->spare_n > 0 ? s->spare[--s->spare_n] : NULL;
    return ERR_OK;
}

static enum err_class on_written(struct service *s, const struct ba_written *w, struct err *err)
{
    const struct ba_result *r = &w->result;

    for (unsigned t = 0; t < BA_TABLES; t++) {
        metrics_add(s->metrics, M_ROWS, t, r->fresh[t]);
        metrics_add(s->metrics, M_SAME, t, r->same[t]);
        metrics_add(s->metrics, M_REFUSED, t, r->changed[t]);
        metrics_add(s->metrics, M_REJECTED, t, r->rejected[t]);
        metrics_add(s->metrics, M_UNDECODABLE, t, r->undecodable[t]);
    }
    metrics_add(s->metrics, M_BATCHES, 0, 1);
    metrics_observe(s->metrics, M_BATCH_SECONDS, (double)w->took_us / 1e6);
    ba_tell(&s->teller, r, clk_mono_us());
    if (w->batch->newest_us > s->newest_us)
        s->newest_us = w->batch->newest_us;
    const enum err_class e = bus_consumer_commit(s->consumer, w->batch->mark, err);
    ba_batch_clear(w->batch);
    s->spare[s->spare_n++] = w->batch;
    if (s->open == NULL)
        s->open = s->spare[--s->spare_n];
    return e;
}

static enum err_class take_written(struct service *s, struct err *err)
{
    struct ba_written written;

    while (ba_writer_take(s->writer, &written)) {
        if (on_written(s, &written, err) != ERR_OK)
            return err->class;
    }
    return ba_writer_check(s->writer, err);
}

/* ---- the loop ---- */

static void export_metrics(struct service *s)
{
    const int64_t mono_us = clk_mono_us();
    const unsigned owned = bus_consumer_owned(s->consumer);
    const bool up = ba_writer_is_up(s->writer);

    if (mono_us - s->exported_mono_us < EXPORT_EVERY_US)
        return;
    s->exported_mono_us = mono_us;
    metrics_add(s->metrics, M_RETRIES, 0,
                ba_writer_retries(s->writer) - metrics_count(s->metrics, M_RETRIES, 0));
    metrics_set(s->metrics, M_DATABASE_UP, 0, up);
    metrics_set(s->metrics, M_PARTITIONS, 0, owned);
    metrics_set(s->metrics, M_WAITING, 0, ba_writer_pending(s->writer));
    metrics_set(s->metrics, M_HELD_SECONDS, 0, (double)ba_writer_held_us(s->writer) / 1e6);
    connect_registry_export(s->registry, s->metrics, M_REGISTRY);
    if (s->newest_us > 0)
        metrics_set(s->metrics, M_LAG, 0, (double)(clk_real_us(s->clk) - s->newest_us) / 1e6);
    svc_ready(s->svc, up && owned > 0);
}

/* Polls go on while everything is full: that is what keeps the group's membership. */
static enum err_class read_records(struct service *s, bool more, struct err *err)
{
    const struct bus_consumer_record *records;
    unsigned n;

    bus_consumer_pause(s->consumer, !more);
    if (bus_consumer_poll(s->consumer, POLL_MS_MAX, &records, &n, err) != ERR_OK)
        return err->class;
    assert(n == 0 || more);
    const int64_t now_us = clk_mono_us();
    for (unsigned i = 0; i < n; i++)
        on_record(s, &records[i], now_us);
    return ERR_OK;
}

static enum err_class loop(struct service *s, struct err *err)
{
    while (!svc_stopping(s->svc)) {
        svc_alive(s->svc);
        if (take_written(s, err) != ERR_OK ||
            read_records(s, s->open != NULL && !ba_batch_is_full(s->open), err) != ERR_OK)
            return err->class;
        if (s->open != NULL && ba_batch_is_due(s->open, clk_mono_us()) &&
            ba_writer_has_room(s->writer) && hand_over(s, err) != ERR_OK)
            return err->class;
        export_metrics(s);
    }
    return ERR_OK;
}

/* What was read is stored and committed before the process ends, so that a planned restart reads
 * nothing twice. */
static enum err_class drain(struct service *s, struct err *err)
{
    const int64_t until_us = clk_mono_us() + DRAIN_US_MAX;

    for (;;) {
        svc_alive(s->svc);
        if (take_written(s, err) != ERR_OK)
            return err->class;
        const bool rest = s->open != NULL && !ba_batch_is_empty(s->open);
        if (rest && ba_writer_has_room(s->writer)) {
            if (hand_over(s, err) != ERR_OK)
                return err->class;
            continue;
        }
        if (!rest && ba_writer_pending(s->writer) == 0)
            return ERR_OK;
        if (clk_mono_us() >= until_us)
            return err_set(err, ERR_RETRY,
                           "stopped while PostgreSQL did not answer: what was read and not stored "
                           "is not committed: the next start reads it again");
        if (read_records(s, false, err) != ERR_OK)
            return err->class;
    }
}

/* ---- start ---- */

static enum err_class connect_bus(struct service *s, struct err *err)
{
    const char *prefix = config_string(s->config, "topic_prefix");
    const struct topics_options topics = {.prefix = prefix, .replication_factor = -1};
    const char *names[BA_TABLES];

    for (unsigned t = 0; t < BA_TABLES; t++) {
        (void)snprintf(s->topics[t], NAME_BYTES_MAX, "%s%s", prefix, topics_name(topics_used[t]));
        names[t] = s->teller.topics[t] = s->topics[t];
    }
    (void)snprintf(s->group_id, NAME_BYTES_MAX, "%s%s", prefix,
                   config_string(s->config, "group_id"));
    const struct bus_consumer_options options = {
        .settings = s->kafka.v,
        .settings_n = s->kafka.n,
        .group_id = s->group_id,
        .group_instance_id = config_string(s->config, "replica"),
        .topics = names,
        .topics_n = BA_TABLES,
        .session_timeout_ms = 10000,
        .log = svc_log_kafka,
    };
    if (topics_check(s->kafka.v, s->kafka.n, &topics, topics_used, BA_TABLES, TOPICS_CHECK_MS,
                     err) != ERR_OK)
        return err->class;
    return bus_consumer_new(&options, &s->consumer, err);
}

static enum err_class make_batches(struct service *s, struct err *err)
{
    const struct ba_limits limits = ba_limits_load(s->config);

    for (unsigned i = 0; i < BATCHES; i++) {
        if (ba_batch_new(&limits, &s->batches[i], err) != ERR_OK)
            return err->class;
        s->spare[s->spare_n++] = s->batches[i];
    }
    s->open = s->spare[--s->spare_n];
    return ERR_OK;
}

static enum err_class open_readers(struct service *s, struct err *err)
{
    if (connect_registry_wanted(s->config) &&
        connect_registry_open(s->config, &s->registry, err) != ERR_OK)
        return err->class;
    const struct codec_ids ids = connect_registry_ids(s->registry);
    return ba_readers_open(&ids, &s->readers, err);
}

static enum err_class run_live(struct service *s, struct err *err)
{
    if (connect_kafka_load(s->config, NULL, NULL, &s->kafka, err) != ERR_OK ||
        make_batches(s, err) != ERR_OK || open_readers(s, err) != ERR_OK ||
        ba_writer_new(&s->pg, &s->readers, &s->writer, err) != ERR_OK ||
        connect_bus(s, err) != ERR_OK)
        return err->class;
    log_event(LOG_INFO, "serving", "bars", LOG_STR, s->topics[BA_BARS], "ohlcv", LOG_STR,
              s->topics[BA_CANDLES], "group", LOG_STR, s->group_id, NULL);
    if (loop(s, err) != ERR_OK)
        return err->class;
    return drain(s, err);
}

static enum err_class run(struct svc *svc, void *options, struct err *err)
{
    struct service *s = calloc(1, sizeof *s);

    if (s == NULL)
        return err_set(err, ERR_FATAL, "bar-archiver: no memory");
    s->svc = svc;
    s->config = svc_config(svc);
    s->clk = svc_clk(svc);
    s->metrics = svc_metrics(svc);
    enum err_class e = ba_pg_load(s->config, &s->pg, err);
    if (e == ERR_OK)
        e = ba_is_import(options) ? ba_import_run(svc, options, &s->pg, err) : run_live(s, err);
    ba_writer_free(s->writer);
    bus_consumer_free(s->consumer);
    ba_readers_close(&s->readers);
    codec_registry_free(s->registry);
    for (unsigned i = 0; i < BATCHES; i++)
        ba_batch_free(s->batches[i]);
    free(s);
    return e;
}

const struct svc_desc ba_service = {
    .name = "bar-archiver",
    .summary = "Keeps bars (l2.bars) and candles (l2.ohlcv) in the tables l2_snapshots and ohlcv "
               "of PostgreSQL: each once, none ever changed. With --import it takes them from "
               "files.",
    .footer = "Examples:\n"
              "  bar-archiver --config bar-archiver.conf\n"
              "  bar-archiver --config bar-archiver.conf --import l2_bars.avro ohlcv.avro\n",
    .rows = ba_config_rows,
    .metrics = ba_metric_rows,
    .options = ba_option_table,
    .parse = ba_option_parse,
    .options_state = &ba_options,
    .is_offline = ba_is_import,
    .check = ba_config_check,
    .run = run,
};
