/* A partition that is assigned: its state, from what was committed and emitted. */
#include "fp_assign.h"

#include "fp_metrics.h"

#include "log/log.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>

#define RESTORE_WAIT_MS 1000
#define RESTORING_EVERY_US (10 * CLK_US_PER_S)
#define REGISTRY_WAIT_MS_MAX 30000
#define REGISTRY_WAIT_MS 500

/* A bar that cannot be read may be the newest one: passed over, it would be emitted again. */
static enum err_class refuse_bar(const struct fp_assign *a, const struct bus_reader_record *record,
                                 enum codec_status status, struct err *err)
{
    struct codec_head head = {.has_id = false};
    char which[64];

    (void)!codec_head_get(record->value, record->value_n, &head); /* else it had no such status */
    if (head.has_id)
        (void)snprintf(which, sizeof which, "schema id %" PRIu32, head.id);
    else
        (void)snprintf(which, sizeof which, "fingerprint %016" PRIx64, head.fingerprint);
    return err_set(err, ERR_REJECT, "%s, partition %" PRId32 ", offset %" PRId64 ": %s: %s",
                   a->bars_topic, record->partition, record->offset, which,
                   status == CODEC_FRAME_NO_REGISTRY
                       ? "there is no schema registry to ask: set schema_registry_url back"
                   : head.has_id ? "the schema registry has no such schema of a bar: set "
                                   "schema_registry_url back to the one that has"
                                 : "it is of no version that this release knows: start the newer "
                                   "release");
}

/* A bar of another schema version, and the registry out of reach: without it the state cannot be
 * rebuilt, so the process ends and is started again. What has no frame, or bytes that its schema
 * does not explain, is nothing that any release has written. */
static enum err_class past_bar(const struct fp_assign *a, const struct bus_reader_record *record,
                               struct fp_event *event, struct l2_past_bar *bar, bool *ret_is_ours,
                               struct err *err)
{
    enum codec_status status = CODEC_OK;

    for (int waited_ms = 0;; waited_ms += REGISTRY_WAIT_MS) {
        *ret_is_ours = fp_wire_past_bar(a->wire, record->value, record->value_n, record->offset,
                                        event, bar, &status);
        if (status == CODEC_SCHEMA_UNKNOWN || status == CODEC_FRAME_NO_REGISTRY)
            return refuse_bar(a, record, status, err);
        if (status != CODEC_SCHEMA_PENDING || svc_stopping(a->svc))
            return ERR_OK;
        if (waited_ms >= REGISTRY_WAIT_MS_MAX)
            return err_set(err, ERR_RETRY,
                           "%s, partition %" PRId32 ", offset %" PRId64
                           ": its schema is not known and the schema registry is out of reach",
                           a->bars_topic, record->partition, record->offset);
        svc_alive(a->svc);
        fp_schemas_wait(a->schemas, record->value, record->value_n, REGISTRY_WAIT_MS);
    }
}

/* Of the input's log: where its fold begins, and how far it is known to have reached. */
struct span {
    int64_t from, end;
};

/* What was committed says so; where it says nothing, the log that is there. */
static enum err_class find_span(const struct fp_assign *a, const struct bus_event *assigned,
                                int64_t snapshots_from, struct span *ret_span, struct err *err)
{
    struct bus_reader *reader;

    *ret_span = (struct span){snapshots_from, assigned->offset};
    if (snapshots_from >= 0 && assigned->offset >= 0)
        return ERR_OK;
    const enum err_class e = bus_reader_new(a->kafka, a->kafka_n, a->snapshots_topic,
                                            assigned->partition, BUS_FROM_END, true, &reader, err);
    if (e != ERR_OK)
        return e;
    bus_reader_bounds(reader, assigned->partition, &ret_span->from, &ret_span->end);
    bus_reader_free(reader);
    if (assigned->lost && assigned->offset < 0) /* the log that was read is not this one */
        ret_span->end = 0;
    else if (assigned->offset > ret_span->end)
        ret_span->end = assigned->offset;
    return ERR_OK;
}

static enum err_class take_bar(const struct fp_assign *a, struct fp_event *event,
                               const struct span *span, struct err *err)
{
    event->offset = span->from;
    event->log_end = span->end;
    fp_core_step(a->core, event, a->update);
    if (a->update->n == 0)
        return ERR_OK;
    assert(a->update->actions[0].kind == FP_NO_PLACE);
    return err_set(err, ERR_REJECT,
                   "%s, partition %" PRId32 ": it names more than max_symbols = %" PRIu32
                   " symbols: raise it",
                   a->bars_topic, event->partition, a->symbols_max);
}

/* What a restart is at, when it takes long: or waits for: another's transaction that is open, say.
 */
static void log_restoring(const char *topic, int32_t partition, int64_t offset, int64_t end)
{
    log_event(LOG_INFO, "restoring", "topic", LOG_STR, topic, "partition", LOG_INT,
              (int64_t)partition, "offset", LOG_INT, offset, "end", LOG_INT, end, NULL);
}

static void log_bars(const struct fp_assign *a, const struct bus_reader *reader, int32_t partition,
                     int64_t next)
{
    int64_t low, end;

    bus_reader_bounds(reader, partition, &low, &end);
    log_restoring(a->bars_topic, partition, next > low ? next : low, end);
}

static enum err_class read_bars(const struct fp_assign *a, const struct bus_event *assigned,
                                const struct fp_restart *from, int64_t *ret_next, struct err *err)
{
    struct bus_reader *reader = NULL;
    const struct bus_reader_record *record;
    struct l2_past_bar bar;
    struct fp_event event;
    struct span span;
    bool end = false, is_ours, has_span = false;
    int64_t logged_us = clk_mono_us();
    enum err_class e = bus_reader_new(a->kafka, a->kafka_n, a->bars_topic, assigned->partition,
                                      from->bars_from, true, &reader, err);

    while (e == ERR_OK && !end && !svc_stopping(a->svc)) {
        svc_alive(a->svc);
        e = bus_reader_next(reader, RESTORE_WAIT_MS, &record, &end, err);
        if (clk_mono_us() - logged_us >= RESTORING_EVERY_US) {
            logged_us = clk_mono_us();
            log_bars(a, reader, assigned->partition, *ret_next);
        }
        if (e != ERR_OK || record == NULL)
            continue;
        *ret_next = record->offset + 1;
        e = past_bar(a, record, &event, &bar, &is_ours, err);
        if (e != ERR_OK || !is_ours)
            continue;
        if (!has_span)
            e = find_span(a, assigned, from->snapshots_from, &span, err);
        has_span = true;
        event.partition = assigned->partition;
        if (e == ERR_OK)
            e = take_bar(a, &event, &span, err);
    }
    bus_reader_free(reader);
    return e;
}

/* Bars of two definitions on one topic would be taken for one series. */
static enum err_class check_deployment(const struct fp_assign *a, const struct bus_event *assigned,
                                       const struct fp_restart *restart, struct err *err)
{
    if (!restart->has_fingerprint || restart->fingerprint == a->fingerprint)
        return ERR_OK;
    return err_set(err, ERR_REJECT,
                   "group %s, partition %" PRId32 ": it was committed by a deployment of another "
                   "exchange, bar, window, purge or other parameter (%016" PRIx64 ", ours is "
                   "%016" PRIx64 "): set topic_prefix to one that is new, or the parameters back",
                   a->group_id, assigned->partition, restart->fingerprint, a->fingerprint);
}

/* What was committed with the partition; the whole log where that says nothing. */
static enum err_class begin(const struct fp_assign *a, const struct bus_event *assigned,
                            struct fp_restart *ret_restart, struct err *err)
{
    *ret_restart =
        (struct fp_restart){.snapshots_from = BUS_FROM_START, .bars_from = BUS_FROM_START};
    if (assigned->lost) {
        log_event(
            LOG_ERROR, "snapshots_lost", "partition", LOG_INT, (int64_t)assigned->partition,
            "committed", LOG_INT, assigned->offset, "text", LOG_STR,
            assigned->offset < 0
                ? "the log is not the one that was read: its topic was made anew: the open windows "
                  "begin anew at its start"
                : "retention has taken snapshots that the open windows need: they begin anew at "
                  "the log's start",
            NULL);
        return ERR_OK;
    }
    if (assigned->offset < 0)
        return ERR_OK;
    if (!fp_wire_metadata_parse(assigned->metadata, ret_restart))
        log_event(LOG_WARN, "no_restart_metadata", "partition", LOG_INT,
                  (int64_t)assigned->partition, "committed", LOG_INT, assigned->offset, "action",
                  LOG_STR, "folding the whole log", NULL);
    return check_deployment(a, assigned, ret_restart, err);
}

/* A position is committed with each bar, so it has been taken away since. */
static void warn_offset_missing(const struct bus_event *assigned, int64_t bars_next)
{
    if (assigned->offset >= 0 || assigned->lost || bars_next == 0)
        return;
    log_event(
        LOG_WARN, "committed_offset_missing", "partition", LOG_INT, (int64_t)assigned->partition,
        "committed", LOG_INT, assigned->offset, "text", LOG_STR,
        "bars were emitted, but the group has no offset any more: the topic was made anew, or "
        "the offset was deleted or has expired: the log is read from its start, and no bar "
        "is emitted again",
        NULL);
}

enum err_class fp_assign_restore(const struct fp_assign *a, const struct bus_event *assigned,
                                 struct err *err)
{
    struct fp_restart from;
    int64_t bars_next = 0;
    const int64_t started_us = clk_mono_us();

    if (begin(a, assigned, &from, err) != ERR_OK ||
        read_bars(a, assigned, &from, &bars_next, err) != ERR_OK)
        return err->class;
    if (svc_stopping(a->svc))
        return ERR_OK;
    warn_offset_missing(assigned, bars_next);
    const struct fp_event start = {
        .kind = FP_START,
        .partition = assigned->partition,
        .offset = from.snapshots_from < 0 ? 0 : from.snapshots_from,
        .committed = assigned->offset < 0 ? 0 : assigned->offset,
        .bars_next = bars_next > from.bars_from ? bars_next : from.bars_from,
    };
    fp_core_step(a->core, &start, a->update);
    const double seconds = (double)(clk_mono_us() - started_us) / 1e6;
    metrics_set(a->metrics, M_RESTORE_SECONDS, 0, seconds);
    log_event(LOG_INFO, "partition_assigned", "partition", LOG_INT, (int64_t)assigned->partition,
              "committed", LOG_INT, assigned->offset, "snapshots_from", LOG_INT,
              from.snapshots_from, "bars_from", LOG_INT, from.bars_from, "seconds", LOG_DOUBLE,
              seconds, NULL);
    return bus_start(a->bus, assigned->partition, from.snapshots_from, err);
}
