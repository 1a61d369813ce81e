#include "bus/admin.h"
#include "bus/loop.h"
#include "bus/record.h"

#include "clk/clk.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

#define REVOKE_WAIT_MS_MAX 3000 /* for the commit under way, of a session of 10 s */
#define LOOKUP_RETRY_US INT64_C(30000)
#define ENDS_RETRY_US INT64_C(100000)
#define SEEK_RETRY_US INT64_C(50000)
#define SEEK_MS_MAX 1000
#define REQUEST_MS 5000
/* To a coordinator: the longest there is, as orphans.c says. An outage is waited out; a request
 * that is lost on the way ends with its connection, or after socket.timeout.ms, and is asked again.
 */
#define LOOKUP_MS 3600000
/* Beyond the transaction's time-out: the broker looks for what timed out every 10 s. */
#define LOOKUP_PATIENCE_US INT64_C(20000000)
#define LOOKUP_STEP_US_MAX INT64_C(1000000) /* of it, from one look to the next */
#define LEVEL_ERROR 3
#define LEVEL_WARNING 4
#define LEVEL_NOTICE 5

static void set_state(struct bus *bus, struct partition *p, enum partition_state state)
{
    bus->lookups -= p->state == P_LOOKUP;
    bus->lookups += state == P_LOOKUP;
    p->state = state;
}

static int32_t number_of(const struct bus *bus, const struct partition *p)
{
    return (int32_t)(p - bus->partitions);
}

static struct partition *find(struct bus *bus, int32_t partition)
{
    return partition >= 0 && (unsigned)partition < bus->partitions_n ? &bus->partitions[partition]
                                                                     : NULL;
}

bool group_is_ours(const struct bus *bus, int32_t partition)
{
    return partition >= 0 && (unsigned)partition < bus->partitions_n &&
           bus->partitions[partition].state == P_STARTED;
}

bool group_may_commit(const struct bus *bus, int32_t partition)
{
    return group_is_ours(bus, partition) || bus->partitions[partition].held;
}

void group_tell(struct bus *bus, bool *event)
{
    bus->due += !*event;
    *event = true;
}

void group_untell(struct bus *bus, bool *event)
{
    bus->due -= *event;
    *event = false;
}

static void end_question(struct bus *bus, struct partition *p)
{
    bus->asks -= p->end_asked;
    p->end_asked = false;
    p->end_sent = false;
    p->end_wanted = false;
    p->doubted = false;
    group_untell(bus, &p->tell_end);
}

static void seek_later(struct bus *bus, struct partition *p, bool later)
{
    bus->seeks -= p->seek_due;
    bus->seeks += later;
    p->seek_due = later;
}

/* The caller loses p: it hears of it unless it has not heard of having it. */
static void take_away(struct bus *bus, struct partition *p)
{
    if (p->tell_assigned)
        group_untell(bus, &p->tell_assigned);
    else if (p->state == P_OFFERED || p->state == P_STARTED)
        group_tell(bus, &p->tell_revoked);
    end_question(bus, p);
    seek_later(bus, p, false);
    p->held = false;
    loop_forget(bus, number_of(bus, p));
}

static void look_up(struct bus *bus, struct partition *p)
{
    p->lookup_sent = false;
    p->loss = LOSS_NONE;
    set_state(bus, p, P_LOOKUP);
}

void group_restart(struct bus *bus, struct partition *p, enum loss loss)
{
    if (p->state == P_NONE)
        return;
    take_away(bus, p);
    look_up(bus, p);
    p->loss = loss;
}

static rd_kafka_topic_partition_list_t *list_of(const struct bus *bus, const struct partition *p,
                                                int64_t offset)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(1);

    rd_kafka_topic_partition_list_add(list, bus->input_topic, number_of(bus, p))->offset = offset;
    return list;
}

static void pause_or_resume(struct bus *bus, struct partition *p, bool pause)
{
    rd_kafka_topic_partition_list_t *list = list_of(bus, p, RD_KAFKA_OFFSET_INVALID);

    if (p->paused != pause) /* fails for no partition that it knows */
        (void)(pause ? rd_kafka_pause_partitions(bus->consumer, list)
                     : rd_kafka_resume_partitions(bus->consumer, list));
    p->paused = pause;
    rd_kafka_topic_partition_list_destroy(list);
}

static void started(struct bus *bus, struct partition *p)
{
    pause_or_resume(bus, p, false);
    p->held = false;
    set_state(bus, p, P_STARTED);
}

/* ERR_RETRY while librdkafka is not ready for it. */
static enum err_class seek(struct bus *bus, struct partition *p, struct err *err)
{
    rd_kafka_topic_partition_list_t *list =
        list_of(bus, p, p->next == BUS_FROM_START ? RD_KAFKA_OFFSET_BEGINNING : p->next);
    rd_kafka_error_t *error = rd_kafka_seek_partitions(bus->consumer, list, SEEK_MS_MAX);
    rd_kafka_resp_err_t code = error == NULL ? list->elems[0].err : rd_kafka_error_code(error);

    rd_kafka_error_destroy(error);
    rd_kafka_topic_partition_list_destroy(list);
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return ERR_OK;
    return err_set(err, ERR_RETRY, "partition %d: seek: %s", (int)number_of(bus, p),
                   rd_kafka_err2str(code));
}

enum err_class bus_start(struct bus *bus, int32_t partition, int64_t offset, struct err *err)
{
    struct partition *p = find(bus, partition);
    struct err ignored;

    assert(offset >= 0 || offset == BUS_FROM_START);
    assert(p != NULL);
    if (p->state != P_OFFERED ||
        p->tell_assigned) /* taken away meanwhile: the caller will hear of it */
        return ERR_OK;
    p->next = offset;
    if (p->consumed) {
        if (seek(bus, p, &ignored) == ERR_OK)
            started(bus, p);
        else
            seek_later(bus, p, true);
        return ERR_OK;
    }
    rd_kafka_topic_partition_list_t *list =
        list_of(bus, p, offset == BUS_FROM_START ? RD_KAFKA_OFFSET_BEGINNING : offset);
    rd_kafka_error_t *error = rd_kafka_incremental_assign(bus->consumer, list);

    rd_kafka_topic_partition_list_destroy(list);
    if (error != NULL) {
        (void)err_set(err, ERR_FATAL, "partition %d: assign: %s: restart", (int)partition,
                      rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
        return ERR_FATAL;
    }
    p->consumed = true;
    started(bus, p);
    return ERR_OK;
}

void bus_hold(struct bus *bus, int32_t partition)
{
    struct partition *p = find(bus, partition);

    assert(p != NULL);
    if (p->state != P_STARTED)
        return;
    pause_or_resume(bus, p, true); /* what is queued of it is dropped */
    p->held = true;
    set_state(bus, p, P_OFFERED);
}

static void serve_seeks(struct bus *bus)
{
    struct err ignored;

    for (unsigned i = 0; i < bus->partitions_n; i++) {
        struct partition *p = &bus->partitions[i];

        if (!p->seek_due)
            continue;
        if (seek(bus, p, &ignored) == ERR_OK) {
            seek_later(bus, p, false);
            started(bus, p);
        } else {
            client_log(&bus->client, LEVEL_WARNING, "kafka: %s", ignored.text);
        }
    }
    bus->seeks_next_us = clk_mono_us() + SEEK_RETRY_US;
}

static void revoke(struct bus *bus, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *consumed = rd_kafka_topic_partition_list_new(list->cnt + 1);

    for (int i = 0; i < list->cnt; i++) {
        struct partition *p = find(bus, list->elems[i].partition);

        if (p == NULL || p->state == P_NONE)
            continue;
        if (p->consumed)
            (void)rd_kafka_topic_partition_list_add(consumed, bus->input_topic, number_of(bus, p));
        take_away(bus, p);
        p->consumed = false;
        set_state(bus, p, P_NONE);
    }
    rd_kafka_error_destroy(rd_kafka_incremental_unassign(bus->consumer, consumed));
    rd_kafka_topic_partition_list_destroy(consumed);
}

static void assign(struct bus *bus, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *none = rd_kafka_topic_partition_list_new(1);

    for (int i = 0; i < list->cnt; i++) {
        struct partition *p = find(bus, list->elems[i].partition);

        /* A partition that was added after bus_new has no number here; its appearance needs new
         * topics anyway. */
        if (p != NULL && p->state == P_NONE)
            look_up(bus, p);
    }
    rd_kafka_error_destroy(rd_kafka_incremental_assign(bus->consumer, none));
    rd_kafka_topic_partition_list_destroy(none);
}

void group_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                        rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct client *client = opaque;
    struct bus *bus = client->owner;

    client_log(client, LEVEL_NOTICE, "kafka: group %s: %d partitions %s%s", bus->group_id,
               list->cnt, code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "assigned" : "revoked",
               rd_kafka_assignment_lost(rk) ? " (lost)" : "");
    /* Answered, a revocation after such a stop would make this member join again and throw its
     * successor out. */
    if (watch_expired(bus->watch)) {
        bus->failed = client->unanswered = true;
        (void)watch_err(bus->watch, &bus->failure);
    } else if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assign(bus, list);
    } else {
        /* Late or not, the broker lets nothing pass of an older generation than the one in which
         * the partition is given away: waiting only spares the successor the rework. */
        if (bus->commit == COMMIT_SENT && !worker_wait(bus->worker, REVOKE_WAIT_MS_MAX))
            client_log(client, LEVEL_WARNING, "kafka: group %s: partitions revoked under a commit",
                       bus->group_id);
        revoke(bus, list);
    }
    record_yield(rk);
}

/* ---- committed offsets ---- */

static rd_kafka_AdminOptions_t *options(struct bus *bus, rd_kafka_admin_op_t operation,
                                        int timeout_ms)
{
    char text[160];
    rd_kafka_AdminOptions_t *o = rd_kafka_AdminOptions_new(bus->consumer, operation);

    (void)rd_kafka_AdminOptions_set_request_timeout(o, timeout_ms, text, sizeof text);
    return o;
}

static void send_lookup(struct bus *bus)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)bus->lookups);

    for (unsigned i = 0; i < bus->partitions_n; i++) {
        struct partition *p = &bus->partitions[i];

        if (p->state != P_LOOKUP)
            continue;
        p->lookup_sent = true;
        (void)rd_kafka_topic_partition_list_add(list, bus->input_topic, (int32_t)i);
    }
    rd_kafka_ListConsumerGroupOffsets_t *question =
        rd_kafka_ListConsumerGroupOffsets_new(bus->group_id, list);
    rd_kafka_AdminOptions_t *o =
        options(bus, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, LOOKUP_MS);

    /* Stable: an offset under an open transaction (a predecessor's) is waited for. */
    rd_kafka_error_destroy(rd_kafka_AdminOptions_set_require_stable_offsets(o, 1));
    rd_kafka_ListConsumerGroupOffsets(bus->consumer, &question, 1, o, bus->answers);
    bus->lookup_open = true;
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_ListConsumerGroupOffsets_destroy(question);
    rd_kafka_topic_partition_list_destroy(list);
}

static void take_committed(struct bus *bus, struct partition *p,
                           const rd_kafka_topic_partition_t *found)
{
    size_t size = found->offset < 0 ? 0 : found->metadata_size;

    if (size > BUS_METADATA_BYTES_MAX) {
        client_log(&bus->client, LEVEL_WARNING,
                   "kafka: group %s: partition %d: metadata of %zu bytes is not ours: "
                   "ignored",
                   bus->group_id, (int)found->partition, size);
        size = 0;
    }
    p->committed.partition = found->partition;
    p->committed.offset = found->offset < 0 ? -1 : found->offset;
    memset(p->committed.metadata, 0, sizeof p->committed.metadata);
    if (size > 0)
        memcpy(p->committed.metadata, found->metadata, size);
    set_state(bus, p, P_OFFERED);
    group_tell(bus, &p->tell_assigned);
}

static rd_kafka_resp_err_t take_group(struct bus *bus, const rd_kafka_group_result_t *group)
{
    const rd_kafka_error_t *error = rd_kafka_group_result_error(group);
    const rd_kafka_topic_partition_list_t *list = rd_kafka_group_result_partitions(group);
    rd_kafka_resp_err_t worst =
        error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);

    for (int i = 0; error == NULL && list != NULL && i < list->cnt; i++) {
        struct partition *p = find(bus, list->elems[i].partition);

        if (p == NULL || p->state != P_LOOKUP || !p->lookup_sent)
            continue;
        if (list->elems[i].err == RD_KAFKA_RESP_ERR_NO_ERROR)
            take_committed(bus, p, &list->elems[i]);
        else
            worst = list->elems[i].err;
    }
    return worst;
}

static enum err_class take_lookup(struct bus *bus, rd_kafka_event_t *event, struct err *err)
{
    rd_kafka_resp_err_t code = rd_kafka_event_error(event);
    size_t n = 0;

    bus->lookup_open = false;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const rd_kafka_group_result_t **groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
            rd_kafka_event_ListConsumerGroupOffsets_result(event), &n);

        code = n == 1 ? take_group(bus, groups[0]) : RD_KAFKA_RESP_ERR__BAD_MSG;
    }
    if (bus->lookups > 0)
        bus->lookup_next_us = clk_mono_us() + LOOKUP_RETRY_US;
    if (code >= RD_KAFKA_RESP_ERR_NO_ERROR)
        bus->lookup_waited_us = 0; /* the broker said so, not librdkafka */
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR || client_class(code) == ERR_RETRY)
        return ERR_OK;
    return err_set(err, ERR_FATAL, "group %s: committed offsets: %s: check the group's rights",
                   bus->group_id, rd_kafka_err2str(code));
}

/* ---- end offsets ---- */

static void ask_end(struct bus *bus, struct partition *p)
{
    bus->asks += !p->end_asked;
    p->end_asked = true;
    p->end_sent = false;
    p->end_asked_us = clk_mono_us();
}

enum err_class bus_ask_end(struct bus *bus, int32_t partition, struct err *err)
{
    struct partition *p = find(bus, partition);

    (void)err; /* nothing fails today; the signature leaves room */
    assert(p != NULL);
    if (p->state == P_NONE || p->state == P_LOOKUP)
        return ERR_OK; /* taken away meanwhile: no answer */
    if (p->end_wanted || p->tell_end)
        return ERR_OK; /* the open question's time stands: the answer is newer than it, if not than
                          this call */
    p->end_wanted = true;
    ask_end(bus, p); /* anew where group_on_end asked: that answer may be older than this call */
    return ERR_OK;
}

/*
 * A log that ends below what is committed lost its end, or is another one: nobody can go on at the
 * committed offset, and where that comes round again, another record stands there. A leader that
 * was just elected may show less than it holds, but not to a question. What was committed stays so
 * until the next commit: a loss that was told is not told again.
 */
void group_on_end(struct bus *bus, struct partition *p, int64_t offset)
{
    if (offset >= p->committed.offset || p->loss == LOSS_LOG)
        return;
    p->doubted = true;
    if (!p->end_asked)
        ask_end(bus, p);
}

static bool is_shorter(const struct bus *bus, const struct partition *p, int64_t end)
{
    if (!p->doubted || p->state != P_STARTED || end >= p->committed.offset)
        return false;
    client_log(&bus->client, LEVEL_ERROR,
               "kafka: topic %s: partition %d: the log ends at %lld, before the committed offset "
               "%lld: the partition starts anew from the log's start",
               bus->input_topic, (int)number_of(bus, p), (long long)end,
               (long long)p->committed.offset);
    return true;
}

static void take_end(struct bus *bus, struct partition *p, int64_t end)
{
    const bool is_wanted = p->end_wanted;
    const bool is_loss = is_shorter(bus, p, end);

    end_question(bus, p);
    if (is_loss) {
        group_restart(bus, p, LOSS_LOG);
    } else if (is_wanted) {
        p->end_offset = end;
        group_tell(bus, &p->tell_end);
    }
}

static void send_ends(struct bus *bus)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)bus->asks);
    rd_kafka_AdminOptions_t *o = options(bus, RD_KAFKA_ADMIN_OP_LISTOFFSETS, REQUEST_MS);

    for (unsigned i = 0; i < bus->partitions_n; i++)
        if (bus->partitions[i].end_asked) {
            bus->partitions[i].end_sent = true;
            rd_kafka_topic_partition_list_add(list, bus->input_topic, (int32_t)i)->offset =
                RD_KAFKA_OFFSET_SPEC_LATEST;
        }
    rd_kafka_error_destroy(
        rd_kafka_AdminOptions_set_isolation_level(o, RD_KAFKA_ISOLATION_LEVEL_READ_COMMITTED));
    rd_kafka_ListOffsets(bus->consumer, list, o, bus->answers);
    bus->ends_open = true;
    rd_kafka_AdminOptions_destroy(o);
    rd_kafka_topic_partition_list_destroy(list);
}

/* A question that failed stays open and is asked again. */
static void take_ends(struct bus *bus, rd_kafka_event_t *event)
{
    const rd_kafka_ListOffsetsResultInfo_t **infos;
    size_t n = 0;

    bus->ends_open = false;
    if (rd_kafka_event_error(event) == RD_KAFKA_RESP_ERR_NO_ERROR) {
        infos = rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(event), &n);
        for (size_t i = 0; infos != NULL && i < n; i++) {
            const rd_kafka_topic_partition_t *found =
                rd_kafka_ListOffsetsResultInfo_topic_partition(infos[i]);
            struct partition *p = find(bus, found->partition);

            if (!admin_is_answered(found) || p == NULL || !p->end_sent)
                continue;
            take_end(bus, p, found->offset);
        }
    }
    assert(bus->partitions != NULL);
    for (unsigned i = 0; i < bus->partitions_n; i++)
        if (bus->partitions[i].end_sent) {
            bus->partitions[i].end_sent = false;
            bus->ends_next_us = clk_mono_us() + ENDS_RETRY_US;
        }
}

static enum err_class take_answers(struct bus *bus, struct err *err)
{
    enum err_class e = ERR_OK;

    while (e == ERR_OK && (bus->lookup_open || bus->ends_open)) {
        rd_kafka_event_t *event = rd_kafka_queue_poll(bus->answers, 0);

        if (event == NULL)
            break;
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LISTCONSUMERGROUPOFFSETS_RESULT)
            e = take_lookup(bus, event, err);
        else if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_LISTOFFSETS_RESULT)
            take_ends(bus, event);
        rd_kafka_event_destroy(event);
    }
    return e;
}

/*
 * librdkafka 2.14.2 can leave a request to a coordinator lying for good: it waits for news of a
 * connection that has none to tell (its issue 5511, and a broker that was killed and came back).
 * The request cannot be taken back (see LOOKUP_MS): the process is to start anew. While no broker
 * is connected, it is the outage that is waited out. Nor does time count in which nobody looked,
 * while a partition was restored, say: the answer may lie there.
 */
static enum err_class check_lookup(struct bus *bus, struct err *err)
{
    const int64_t now_us = clk_mono_us();
    const int64_t patience_us = INT64_C(1000) * bus->transaction_timeout_ms + LOOKUP_PATIENCE_US;
    const int64_t step_us = now_us - bus->lookup_seen_us;

    if (bus->lookups == 0)
        bus->lookup_waited_us = 0;
    else if (bus->lookup_open && client_connected(&bus->client))
        bus->lookup_waited_us += step_us < LOOKUP_STEP_US_MAX ? step_us : LOOKUP_STEP_US_MAX;
    bus->lookup_seen_us = now_us;
    if (bus->lookup_waited_us < patience_us)
        return ERR_OK;
    return err_set(err, ERR_FATAL,
                   "group %s: committed offsets: no answer in %.0f s though a broker is connected: "
                   "restart",
                   bus->group_id, (double)patience_us / 1e6);
}

enum err_class group_serve(struct bus *bus, struct err *err)
{
    enum err_class e = ERR_OK;

    if (bus->lookup_open || bus->ends_open)
        e = take_answers(bus, err);
    if (e == ERR_OK)
        e = check_lookup(bus, err);
    /* While a commit is under way, the offset that it commits is not to be read yet. */
    if (e == ERR_OK && bus->lookups > 0 && !bus->lookup_open && bus->commit == COMMIT_NONE &&
        clk_mono_us() >= bus->lookup_next_us)
        send_lookup(bus);
    if (e == ERR_OK && bus->asks > 0 && !bus->ends_open && clk_mono_us() >= bus->ends_next_us)
        send_ends(bus);
    if (e == ERR_OK && bus->seeks > 0 && clk_mono_us() >= bus->seeks_next_us)
        serve_seeks(bus);
    return e;
}
