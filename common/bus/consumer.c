/*
 * A consumer in a group, at least once. What was handed out is a number a partition (`handed`), a
 * mark is a copy of these numbers, a commit makes a mark's numbers `safe`, and one request at a
 * time brings to the broker what is safe and not there yet; it is repeated until it succeeds or the
 * partition is taken away. A partition that is taken away is wiped from every open mark, so that
 * its return cannot bring old numbers back.
 *
 * The committed offset is asked for when the group gives a partition to us, and librdkafka is told
 * where to start: so a first start and an offset that the log no longer has are seen and told,
 * which librdkafka's own auto.offset.reset passes over in silence.
 */
#include "bus/admin.h"
#include "bus/orphans.h"
#include "bus/record.h"
#include "bus/watch.h"

#include "clk/clk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MARKS_MAX 16
#define LOOKUP_MS_MAX 3000
#define REVOKE_WAIT_MS_MAX 3000
#define FREE_WAIT_MS_MAX 5000
#define COMMIT_RETRY_US INT64_C(200000)
#define WAIT_MS_MAX 100 /* while a commit is under way or due again */
#define LEVEL_ERROR 3
#define LEVEL_WARNING 4
#define LEVEL_NOTICE 5

#define NOTHING INT64_C(-1)

/* One partition of one topic. */
struct place {
    bool ours;
    bool paused; /* in librdkafka, which remembers it even when the partition goes and returns */
    int64_t next; /* the offset that must come next; NOTHING: whatever comes */
    int64_t handed; /* all below was handed out; NOTHING: no record since it became ours */
    int64_t safe; /* all below may be committed */
    int64_t committed; /* as far as we know */
};

struct mark {
    uint64_t number;
    int64_t *handed; /* [places_n] */
};

struct bus_consumer {
    struct client client;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue;
    rd_kafka_queue_t *answers; /* of commits */
    struct watch *watch;
    struct orphans *orphans;
    char *group_id;
    char *topics[BUS_CONSUMER_TOPICS_MAX];
    unsigned topics_n;
    unsigned first[BUS_CONSUMER_TOPICS_MAX + 1]; /* places of topic t: [first[t], first[t + 1]) */
    struct place *places;
    unsigned places_n;
    unsigned owned;
    bool paused;

    struct mark marks[MARKS_MAX]; /* open ones, oldest first */
    unsigned marks_n;
    uint64_t newest;
    bool committing;
    int64_t commit_next_us; /* not before */

    bool failed; /* fatal, told again by every call */
    struct err failure;
    rd_kafka_message_t *messages[BUS_BATCH_MAX];
    unsigned messages_n, batch_max;
    struct bus_consumer_record records[BUS_BATCH_MAX];
};

static enum err_class fail(struct bus_consumer *c, const struct err *failure, struct err *err)
{
    if (!c->failed)
        c->failure = *failure;
    c->failed = true;
    *err = c->failure;
    return ERR_FATAL;
}

/* ---- places ---- */

static unsigned topic_of(const struct bus_consumer *c, const char *name)
{
    unsigned t = 0;

    while (t < c->topics_n && strcmp(c->topics[t], name) != 0)
        t++;
    return t;
}

/* NULL: of no topic of ours, or of a partition that was added after the start. */
static struct place *find(struct bus_consumer *c, const char *topic, int32_t partition,
                          unsigned *ret_topic)
{
    const unsigned t = topic_of(c, topic);

    if (t == c->topics_n || partition < 0 || (unsigned)partition >= c->first[t + 1] - c->first[t])
        return NULL;
    *ret_topic = t;
    return &c->places[c->first[t] + (unsigned)partition];
}

static void wipe(struct bus_consumer *c, struct place *p)
{
    for (unsigned i = 0; i < c->marks_n; i++)
        c->marks[i].handed[p - c->places] = NOTHING;
    *p = (struct place){.paused = p->paused,
                        .next = NOTHING,
                        .handed = NOTHING,
                        .safe = NOTHING,
                        .committed = NOTHING};
}

static bool is_due(const struct place *p)
{
    return p->ours && p->safe != NOTHING && p->safe != p->committed;
}

/* ---- commits ---- */

static rd_kafka_topic_partition_list_t *due_list(const struct bus_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

    for (unsigned t = 0; t < c->topics_n; t++)
        for (unsigned i = c->first[t]; i < c->first[t + 1]; i++)
            if (is_due(&c->places[i]))
                rd_kafka_topic_partition_list_add(list, c->topics[t], (int32_t)(i - c->first[t]))
                    ->offset = c->places[i].safe;
    return list;
}

static void send_commit(struct bus_consumer *c)
{
    if (c->committing || clk_mono_us() < c->commit_next_us)
        return;
    rd_kafka_topic_partition_list_t *list = due_list(c);

    if (list->cnt > 0) {
        const rd_kafka_resp_err_t code = rd_kafka_commit_queue(c->rk, list, c->answers, NULL, NULL);

        c->committing = code == RD_KAFKA_RESP_ERR_NO_ERROR;
        c->commit_next_us = c->committing ? 0 : clk_mono_us() + COMMIT_RETRY_US;
    }
    rd_kafka_topic_partition_list_destroy(list);
}

static rd_kafka_resp_err_t take_offsets(struct bus_consumer *c, rd_kafka_resp_err_t code,
                                        const rd_kafka_topic_partition_list_t *list)
{
    for (int i = 0; list != NULL && i < list->cnt; i++) {
        const rd_kafka_topic_partition_t *found = &list->elems[i];
        unsigned t;
        struct place *p = find(c, found->topic, found->partition, &t);

        if (found->err != RD_KAFKA_RESP_ERR_NO_ERROR)
            code = found->err;
        else if (code == RD_KAFKA_RESP_ERR_NO_ERROR && p != NULL && p->ours)
            p->committed = found->offset;
    }
    return code;
}

/* What failed is still due. */
static void take_commit(struct bus_consumer *c, rd_kafka_event_t *event)
{
    const rd_kafka_resp_err_t code =
        take_offsets(c, rd_kafka_event_error(event), rd_kafka_event_topic_partition_list(event));

    c->committing = false;
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    c->commit_next_us = clk_mono_us() + COMMIT_RETRY_US;
    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
        if (!c->failed)
            (void)err_set(&c->failure, ERR_FATAL, "group %s: commit: %s: restart", c->group_id,
                          rd_kafka_err2str(code));
        c->failed = true;
        break;
    default:
        client_log(&c->client, LEVEL_NOTICE, "kafka: group %s: commit: %s: again", c->group_id,
                   rd_kafka_err2str(code));
    }
}

static void take_commits(struct bus_consumer *c, int wait_ms)
{
    rd_kafka_event_t *event;

    while (c->committing && (event = rd_kafka_queue_poll(c->answers, wait_ms)) != NULL) {
        if (rd_kafka_event_type(event) == RD_KAFKA_EVENT_OFFSET_COMMIT)
            take_commit(c, event);
        rd_kafka_event_destroy(event);
    }
}

/* Until nothing is due, or the time is up. */
static void finish_commits(struct bus_consumer *c, int ms_max)
{
    const int64_t until_us = clk_mono_us() + INT64_C(1000) * ms_max;

    for (;;) {
        const int64_t left_ms = (until_us - clk_mono_us()) / 1000;

        send_commit(c);
        if (left_ms <= 0 || c->failed || (!c->committing && c->commit_next_us == 0))
            return;
        take_commits(c, left_ms < WAIT_MS_MAX ? (int)left_ms : WAIT_MS_MAX);
        if (!c->committing && c->commit_next_us > clk_mono_us()) {
            rd_kafka_event_t *none = rd_kafka_queue_poll(c->answers, (int)(COMMIT_RETRY_US / 4000));

            rd_kafka_event_destroy(none);
        } else if (!c->committing) {
            c->commit_next_us = 0;
        }
    }
}

bool bus_consumer_settle(struct bus_consumer *c, int timeout_ms)
{
    finish_commits(c, timeout_ms);
    for (unsigned i = 0; i < c->places_n; i++)
        if (is_due(&c->places[i]))
            return false;
    return true;
}

enum err_class bus_consumer_mark(struct bus_consumer *c, uint64_t *ret_mark, struct err *err)
{
    if (c->failed)
        return fail(c, &c->failure, err);
    if (c->marks_n == MARKS_MAX)
        return err_set(err, ERR_RETRY, "group %s: %d marks are open: commit one first", c->group_id,
                       MARKS_MAX);
    struct mark *m = &c->marks[c->marks_n++];

    m->number = ++c->newest;
    for (unsigned i = 0; i < c->places_n; i++)
        m->handed[i] = c->places[i].ours ? c->places[i].handed : NOTHING;
    *ret_mark = m->number;
    return ERR_OK;
}

static void make_safe(struct bus_consumer *c, const struct mark *m)
{
    for (unsigned i = 0; i < c->places_n; i++)
        if (m->handed[i] != NOTHING)
            c->places[i].safe = m->handed[i];
}

enum err_class bus_consumer_commit(struct bus_consumer *c, uint64_t mark, struct err *err)
{
    unsigned n = 0;

    if (c->failed)
        return fail(c, &c->failure, err);
    if (mark > c->newest)
        return err_set(err, ERR_REJECT, "group %s: mark %llu: the newest is %llu", c->group_id,
                       (unsigned long long)mark, (unsigned long long)c->newest);
    while (n < c->marks_n && c->marks[n].number <= mark)
        n++;
    if (n == 0)
        return ERR_OK; /* committed with a later one */
    make_safe(c, &c->marks[n - 1]);
    for (unsigned i = 0; i + n < c->marks_n; i++) { /* their arrays change places */
        const struct mark done = c->marks[i];

        c->marks[i] = c->marks[i + n];
        c->marks[i + n] = done;
    }
    c->marks_n -= n;
    send_commit(c);
    return ERR_OK;
}

/* ---- rebalances ---- */

static void begin_at(struct bus_consumer *c, struct place *p, rd_kafka_topic_partition_t *at)
{
    wipe(c, p);
    p->ours = true;
    if (at->offset >= 0) {
        p->next = at->offset;
        p->committed = at->offset;
    } else {
        client_log(&c->client, LEVEL_NOTICE,
                   "kafka: group %s: topic %s: partition %d: no committed offset: from the log's "
                   "start",
                   c->group_id, at->topic, (int)at->partition);
        at->offset = RD_KAFKA_OFFSET_BEGINNING;
    }
}

/* Queued records of a paused partition are dropped and fetched again, from the first that was not
 * handed out. */
static void settle_pauses(struct bus_consumer *c)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(8);

    for (unsigned t = 0; t < c->topics_n; t++)
        for (unsigned i = c->first[t]; i < c->first[t + 1]; i++) {
            if (!c->places[i].ours || c->places[i].paused == c->paused)
                continue;
            c->places[i].paused = c->paused;
            (void)rd_kafka_topic_partition_list_add(list, c->topics[t], (int32_t)(i - c->first[t]));
        }
    if (list->cnt > 0)
        (void)(c->paused ? rd_kafka_pause_partitions(c->rk, list)
                         : rd_kafka_resume_partitions(c->rk, list));
    rd_kafka_topic_partition_list_destroy(list);
}

static void assign(struct bus_consumer *c, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *ours = rd_kafka_topic_partition_list_new(list->cnt + 1);
    unsigned t;

    for (int i = 0; i < list->cnt; i++)
        if (find(c, list->elems[i].topic, list->elems[i].partition, &t) != NULL)
            (void)rd_kafka_topic_partition_list_add(ours, list->elems[i].topic,
                                                    list->elems[i].partition);
        else
            client_log(&c->client, LEVEL_ERROR,
                       "kafka: group %s: topic %s: partition %d was added after the start: it is "
                       "not read: restart",
                       c->group_id, list->elems[i].topic, (int)list->elems[i].partition);
    /* Heartbeats go on meanwhile. Unanswered, librdkafka asks again by itself, and a first start is
     * not told. */
    const rd_kafka_resp_err_t code = ours->cnt == 0
                                         ? RD_KAFKA_RESP_ERR_NO_ERROR
                                         : rd_kafka_committed(c->rk, ours, LOOKUP_MS_MAX);

    for (int i = 0; i < ours->cnt; i++) {
        rd_kafka_topic_partition_t *at = &ours->elems[i];
        struct place *p = find(c, at->topic, at->partition, &t);

        c->owned += !p->ours;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR && at->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            begin_at(c, p, at);
        } else {
            wipe(c, p);
            p->ours = true;
            at->offset = RD_KAFKA_OFFSET_INVALID;
            at->err = RD_KAFKA_RESP_ERR_NO_ERROR;
        }
    }
    rd_kafka_error_destroy(rd_kafka_incremental_assign(c->rk, ours));
    settle_pauses(c);
    rd_kafka_topic_partition_list_destroy(ours);
}

static void revoke(struct bus_consumer *c, const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_topic_partition_list_t *ours = rd_kafka_topic_partition_list_new(list->cnt + 1);
    unsigned t;

    for (int i = 0; i < list->cnt; i++) {
        struct place *p = find(c, list->elems[i].topic, list->elems[i].partition, &t);

        if (p == NULL || !p->ours)
            continue;
        (void)rd_kafka_topic_partition_list_add(ours, list->elems[i].topic,
                                                list->elems[i].partition);
        wipe(c, p);
        c->owned--;
    }
    rd_kafka_error_destroy(rd_kafka_incremental_unassign(c->rk, ours));
    rd_kafka_topic_partition_list_destroy(ours);
}

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    struct client *client = opaque;
    struct bus_consumer *c = client->owner;
    const bool lost = rd_kafka_assignment_lost(rk);

    client_log(client, LEVEL_NOTICE, "kafka: group %s: %d partitions %s%s", c->group_id, list->cnt,
               code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS ? "assigned" : "revoked",
               lost ? " (lost)" : "");
    /* Answered, a revocation after such a stop would make this member join again and throw its
     * successor out. */
    if (watch_expired(c->watch)) {
        c->failed = client->unanswered = true;
        (void)watch_err(c->watch, &c->failure);
    } else if (code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS) {
        assign(c, list);
    } else {
        if (!lost) /* spares the successor what is safe already */
            finish_commits(c, REVOKE_WAIT_MS_MAX);
        revoke(c, list);
    }
    record_yield(rk);
}

void bus_consumer_pause(struct bus_consumer *c, bool paused)
{
    if (c->paused == paused)
        return;
    c->paused = paused;
    settle_pauses(c);
}

/* ---- records ---- */

static enum err_class on_consumer_error(struct bus_consumer *c, const rd_kafka_message_t *m,
                                        struct err *err)
{
    struct err failure;
    const char *text = rd_kafka_message_errstr(m);

    if (client_ends_consumer(m->err)) {
        (void)err_set(&failure, ERR_FATAL, "group %s: %s: restart", c->group_id, text);
        return fail(c, &failure, err);
    }
    client_log(&c->client, LEVEL_ERROR, "kafka: group %s: %s", c->group_id, text);
    return ERR_OK;
}

/* Compaction, aborted records and transaction markers leave harmless gaps; a loss is told by the
 * log's start lying beyond the expected offset, or by the log having become shorter. */
static void check_gap(struct bus_consumer *c, const char *topic, const struct place *p,
                      const rd_kafka_message_t *m)
{
    int64_t low = -1;
    int64_t high = -1;

    if (p->next == NOTHING || m->offset == p->next)
        return;
    if (m->offset > p->next) {
        (void)rd_kafka_get_watermark_offsets(c->rk, topic, m->partition, &low, &high);
        if (low <= p->next)
            return;
    }
    client_log(&c->client, LEVEL_ERROR,
               "kafka: group %s: topic %s: partition %d: offset %lld is out of range: goes on at "
               "the log's start, %lld",
               c->group_id, topic, (int)m->partition, (long long)p->next, (long long)m->offset);
}

static enum err_class map(struct bus_consumer *c, unsigned *ret_n, struct err *err)
{
    unsigned n = 0;

    for (unsigned i = 0; i < c->messages_n; i++) {
        const rd_kafka_message_t *m = c->messages[i];
        const bool end = m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        unsigned t = 0;

        if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR && !end) {
            const enum err_class e = on_consumer_error(c, m, err);

            if (e != ERR_OK)
                return e;
            continue;
        }
        struct place *p =
            m->rkt == NULL ? NULL : find(c, rd_kafka_topic_name(m->rkt), m->partition, &t);

        if (p == NULL || !p->ours)
            continue; /* taken away since it was fetched */
        check_gap(c, c->topics[t], p, m);
        /* An end lies behind the markers of transactions, where no record is: it was handed out
         * too. */
        p->next = end ? m->offset : m->offset + 1;
        p->handed = p->next;
        if (end)
            continue;
        c->records[n].topic = t;
        record_take(m, &c->records[n++].r);
    }
    *ret_n = n;
    return ERR_OK;
}

static void refill(struct bus_consumer *c, int timeout_ms)
{
    record_release(c->messages, &c->messages_n);
    c->messages_n = record_batch(c->queue, c->messages, c->batch_max);
    if (c->messages_n == 0 && timeout_ms > 0)
        c->messages_n = record_wait(c->queue, c->messages, c->batch_max, timeout_ms);
}

static enum err_class serve(struct bus_consumer *c, struct err *err)
{
    struct err failure;

    if (c->failed)
        return fail(c, &c->failure, err);
    if (atomic_load_explicit(&c->client.fatal, memory_order_relaxed)) {
        (void)client_fatal(&c->client, c->rk, c->group_id, &failure);
        return fail(c, &failure, err);
    }
    if (watch_expired(c->watch)) {
        (void)watch_err(c->watch, &failure);
        return fail(c, &failure, err);
    }
    take_commits(c, 0);
    if (c->failed)
        return fail(c, &c->failure, err);
    send_commit(c);
    return orphans_serve(c->orphans, &failure) == ERR_OK ? ERR_OK : fail(c, &failure, err);
}

enum err_class bus_consumer_poll(struct bus_consumer *c, int timeout_ms,
                                 const struct bus_consumer_record **ret_records, unsigned *ret_n,
                                 struct err *err)
{
    const int64_t until_us = clk_mono_us() + INT64_C(1000) * timeout_ms;

    for (;;) {
        unsigned n = 0;
        enum err_class e = serve(c, err);

        if (e != ERR_OK)
            return e;
        int64_t left_ms = (until_us - clk_mono_us() + 999) / 1000;

        if (left_ms > WAIT_MS_MAX)
            left_ms = WAIT_MS_MAX; /* then commits, and whether we stood still */
        refill(c, left_ms > 0 ? (int)left_ms : 0);
        if (c->failed)
            return fail(c, &c->failure, err);
        e = map(c, &n, err);
        if (e != ERR_OK)
            return e;
        if (n > 0 || clk_mono_us() >= until_us) {
            *ret_records = c->records;
            *ret_n = n;
            return ERR_OK;
        }
    }
}

unsigned bus_consumer_owned(const struct bus_consumer *c)
{
    return c->owned;
}

int64_t bus_consumer_position(const struct bus_consumer *c, unsigned topic, int32_t partition)
{
    assert(topic < c->topics_n);
    if (partition < 0 || (unsigned)partition >= c->first[topic + 1] - c->first[topic])
        return NOTHING;
    const struct place *p = &c->places[c->first[topic] + (unsigned)partition];

    return !p->ours ? NOTHING : p->safe != NOTHING ? p->safe : p->committed;
}

bool bus_consumer_connected(const struct bus_consumer *c)
{
    return client_connected(&c->client);
}

/* ---- birth and death ---- */

static enum err_class find_topics(struct bus_consumer *c, const struct bus_consumer_options *o,
                                  struct err *err)
{
    struct bus_topic *topics = calloc(c->topics_n, sizeof *topics);
    enum err_class e;

    if (topics == NULL)
        return err_set(err, ERR_FATAL, "bus: out of memory");
    for (unsigned t = 0; t < c->topics_n; t++)
        topics[t].name = c->topics[t];
    e = admin_find(&c->client, c->rk, topics, c->topics_n, (int)o->session_timeout_ms, err);
    for (unsigned t = 0; e == ERR_OK && t < c->topics_n; t++) {
        if (topics[t].partitions > BUS_PARTITIONS_MAX)
            e = err_set(err, ERR_REJECT, "topic %s: %d partitions: at most %d", c->topics[t],
                        topics[t].partitions, BUS_PARTITIONS_MAX);
        else
            c->first[t + 1] = c->first[t] + (unsigned)topics[t].partitions;
    }
    free(topics);
    return e;
}

static enum err_class new_places(struct bus_consumer *c, struct err *err)
{
    bool ok;

    c->places_n = c->first[c->topics_n];
    c->places = calloc(c->places_n, sizeof *c->places);
    ok = c->places != NULL;
    for (unsigned i = 0; ok && i < MARKS_MAX; i++) {
        c->marks[i].handed = calloc(c->places_n, sizeof *c->marks[i].handed);
        ok = c->marks[i].handed != NULL;
    }
    for (unsigned i = 0; ok && i < c->places_n; i++)
        wipe(c, &c->places[i]);
    return ok ? ERR_OK : err_set(err, ERR_FATAL, "bus: out of memory");
}

static enum err_class copy_names(struct bus_consumer *c, const struct bus_consumer_options *o,
                                 struct err *err)
{
    bool ok;

    assert(o->topics_n > 0 && o->topics_n <= BUS_CONSUMER_TOPICS_MAX);
    c->group_id = strdup(o->group_id);
    ok = c->group_id != NULL;
    for (unsigned t = 0; ok && t < o->topics_n; t++) {
        c->topics[t] = strdup(o->topics[t]);
        c->topics_n++;
        ok = c->topics[t] != NULL;
    }
    return ok ? ERR_OK : err_set(err, ERR_FATAL, "bus: out of memory");
}

static enum err_class new_orphans(struct bus_consumer *c, struct err *err)
{
    unsigned partitions[BUS_CONSUMER_TOPICS_MAX];
    const struct orphans_options options = {
        .client = &c->client,
        .rk = c->rk,
        .group_id = c->group_id,
        .topics = (const char *const *)c->topics,
        .partitions = partitions,
        .topics_n = c->topics_n,
    };

    for (unsigned t = 0; t < c->topics_n; t++)
        partitions[t] = c->first[t + 1] - c->first[t];
    return orphans_new(&options, &c->orphans, err);
}

static enum err_class join_group(struct bus_consumer *c, struct err *err)
{
    c->client.rk = NULL;
    (void)rd_kafka_poll_set_consumer(c->rk);
    c->queue = rd_kafka_queue_get_consumer(c->rk);
    c->answers = rd_kafka_queue_new(c->rk);
    const rd_kafka_resp_err_t code =
        client_subscribe(c->rk, (const char *const *)c->topics, c->topics_n);

    return code == RD_KAFKA_RESP_ERR_NO_ERROR
               ? ERR_OK
               : client_err(&c->client, err, "subscribe", code, rd_kafka_err2str(code));
}

enum err_class bus_consumer_new(const struct bus_consumer_options *options,
                                struct bus_consumer **ret_consumer, struct err *err)
{
    struct bus_consumer *c = calloc(1, sizeof *c);
    enum err_class e;

    if (c == NULL)
        return err_set(err, ERR_FATAL, "bus: out of memory");
    client_init(&c->client, options->log, options->log_user);
    c->client.owner = c;
    assert(options->batch_max <= BUS_BATCH_MAX);
    c->batch_max = options->batch_max != 0 ? options->batch_max : BUS_BATCH_MAX;
    e = copy_names(c, options, err);
    if (e == ERR_OK)
        e = client_new_member(&c->client, options->settings, options->settings_n, options->group_id,
                              options->group_instance_id, options->session_timeout_ms, on_rebalance,
                              &c->rk, err);
    if (e == ERR_OK)
        e = find_topics(c, options, err);
    if (e == ERR_OK)
        e = new_places(c, err);
    if (e == ERR_OK)
        e = watch_new(options->session_timeout_ms, &c->watch, err);
    if (e == ERR_OK)
        e = new_orphans(c, err);
    if (e == ERR_OK)
        e = join_group(c, err);
    if (e != ERR_OK)
        bus_consumer_free(c);
    else
        *ret_consumer = c;
    return e;
}

void bus_consumer_free(struct bus_consumer *c)
{
    if (c == NULL)
        return;
    if (c->answers != NULL && !c->failed && !watch_expired(c->watch))
        finish_commits(c, FREE_WAIT_MS_MAX);
    record_release(c->messages, &c->messages_n);
    watch_free(c->watch);
    orphans_free(c->orphans);
    if (c->answers != NULL)
        rd_kafka_queue_destroy(c->answers);
    if (c->queue != NULL)
        rd_kafka_queue_destroy(c->queue);
    client_end_member(&c->client, c->rk);
    for (unsigned i = 0; i < MARKS_MAX; i++)
        free(c->marks[i].handed);
    free(c->places);
    for (unsigned t = 0; t < c->topics_n; t++)
        free(c->topics[t]);
    free(c->group_id);
    client_free(&c->client);
    free(c);
}
