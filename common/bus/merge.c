/*
 * Many topics in one order. Each partition is a lane: a queue of its own of librdkafka's simple
 * consumer, which also says where a log ends; the heads of the lanes stand in a heap.
 */
#include "bus/admin.h"
#include "bus/record.h"

#include "clk/clk.h"

#include <assert.h>
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define LANE_BATCH_MAX 128
#define CONNECT_MS_MAX 10000
#define LOOK_EVERY 1024 /* records between looks at lanes that were at their end */

struct lane {
    unsigned topic;
    int32_t partition;
    rd_kafka_queue_t *queue;
    bool started;
    int64_t end; /* the log's when the merge began, of transactions open then, too */
    bool at_end; /* and nothing came since */
    rd_kafka_message_t *messages[LANE_BATCH_MAX];
    unsigned messages_n, next;
    int64_t order; /* of the head, messages[next] */
    bool has_head;
};

struct topic {
    rd_kafka_topic_t *rkt;
    unsigned partitions_n;
};

struct bus_merge {
    struct client client;
    rd_kafka_t *rk;
    int64_t (*order)(void *user, unsigned topic, const struct bus_reader_record *record);
    void *user;
    struct topic topics[BUS_MERGE_TOPICS_MAX];
    unsigned topics_n;
    struct lane *lanes;
    unsigned lanes_n;
    unsigned *heap; /* lanes with a head, least first */
    unsigned heap_n;
    unsigned waiting; /* lanes without a head that are not at their end */
    int taken; /* the lane whose head was handed out; −1: none */
    unsigned handed_out;
    int event_fd; /* librdkafka writes to it when an empty queue gets something */
    struct bus_merge_record record;
};

static const struct client_row defaults[] = {
    {"fetch.wait.max.ms", "50"},
    {"fetch.queue.backoff.ms", "20"},
    {"socket.timeout.ms", "10000"},
    {"queued.max.messages.kbytes", "4096"}, /* of each partition */
    {NULL, NULL},
};

static const struct client_row fixed[] = {
    {"isolation.level", "read_committed"},
    {"enable.partition.eof", "true"},
    {"enable.auto.commit", "false"},
    {"enable.auto.offset.store", "false"},
    {"auto.offset.reset", "earliest"}, /* what retention takes while we read */
    {"session.timeout.ms", CLIENT_SESSION_MS}, /* it has none, but librdkafka compares */
    {"group.id", NULL},
    {"group.instance.id", NULL},
    {"transactional.id", NULL},
    {NULL, NULL},
};

/* ---- the heap ---- */

static bool is_before(const struct bus_merge *m, unsigned a, unsigned b)
{
    const int64_t x = m->lanes[a].order, y = m->lanes[b].order;

    return x != y ? x < y : a < b; /* lanes are by topic, then partition */
}

static void swap(struct bus_merge *m, unsigned i, unsigned j)
{
    const unsigned lane = m->heap[i];

    m->heap[i] = m->heap[j];
    m->heap[j] = lane;
}

static void heap_push(struct bus_merge *m, unsigned lane)
{
    unsigned i = m->heap_n++;

    m->heap[i] = lane;
    while (i > 0 && is_before(m, m->heap[i], m->heap[(i - 1) / 2])) {
        swap(m, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

/* The first one changed. */
static void heap_settle(struct bus_merge *m)
{
    unsigned i = 0;

    for (;;) {
        unsigned least = i;
        for (unsigned child = 2 * i + 1; child <= 2 * i + 2 && child < m->heap_n; child++) {
            if (is_before(m, m->heap[child], m->heap[least]))
                least = child;
        }
        if (least == i)
            return;
        swap(m, i, least);
        i = least;
    }
}

/* ---- lanes ---- */

static enum err_class on_error(struct bus_merge *m, const rd_kafka_message_t *message,
                               const struct lane *lane, struct err *err)
{
    if (client_class(message->err) == ERR_RETRY)
        return ERR_OK; /* librdkafka goes on by itself */
    return client_err(&m->client, err, rd_kafka_topic_name(m->topics[lane->topic].rkt),
                      message->err, rd_kafka_message_errstr(message));
}

/* The next record of the batch as the lane's head, if there is one. */
static enum err_class find_head(struct bus_merge *m, struct lane *lane, struct err *err)
{
    struct bus_reader_record record;

    for (; lane->next < lane->messages_n; lane->next++) {
        const rd_kafka_message_t *message = lane->messages[lane->next];
        const bool is_end = message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
        lane->at_end = is_end && message->offset >= lane->end;
        if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            record_take(message, &record);
            lane->order = m->order(m->user, lane->topic, &record);
            lane->has_head = true;
            return ERR_OK;
        }
        if (!is_end && on_error(m, message, lane, err) != ERR_OK)
            return err->class;
    }
    record_release(lane->messages, &lane->messages_n);
    lane->next = 0;
    return ERR_OK;
}

/* A head for a lane that has none, out of what has arrived. */
static enum err_class refill(struct bus_merge *m, struct lane *lane, struct err *err)
{
    do {
        if (lane->next == lane->messages_n) {
            record_release(lane->messages, &lane->messages_n);
            lane->next = 0;
            lane->messages_n = record_batch(lane->queue, lane->messages, LANE_BATCH_MAX);
            if (lane->messages_n == 0)
                return ERR_OK;
        }
        if (find_head(m, lane, err) != ERR_OK)
            return err->class;
    } while (!lane->has_head);
    return ERR_OK;
}

static enum err_class refill_all(struct bus_merge *m, struct err *err)
{
    m->waiting = 0;
    for (unsigned i = 0; i < m->lanes_n; i++) {
        struct lane *lane = &m->lanes[i];
        if (lane->has_head)
            continue;
        if (refill(m, lane, err) != ERR_OK)
            return err->class;
        if (lane->has_head)
            heap_push(m, i);
        else if (!lane->at_end)
            m->waiting++;
    }
    return ERR_OK;
}

/* The record that was handed out makes room for its lane's next one. */
static enum err_class advance(struct bus_merge *m, struct err *err)
{
    if (m->taken < 0)
        return ERR_OK;
    struct lane *lane = &m->lanes[m->taken];

    assert(m->heap_n > 0 && m->heap[0] == (unsigned)m->taken);
    m->taken = -1;
    lane->has_head = false;
    lane->next++;
    if (refill(m, lane, err) != ERR_OK)
        return err->class;
    if (!lane->has_head) {
        m->waiting += !lane->at_end;
        m->heap[0] = m->heap[--m->heap_n];
    }
    heap_settle(m);
    return ERR_OK;
}

static void wait_for_news(struct bus_merge *m, int timeout_ms)
{
    struct pollfd fd = {.fd = m->event_fd, .events = POLLIN};
    uint64_t count;

    (void)rd_kafka_poll(m->rk, 0);
    if (poll(&fd, 1, timeout_ms) > 0)
        (void)!read(m->event_fd, &count, sizeof count);
}

enum err_class bus_merge_next(struct bus_merge *m, int timeout_ms,
                              const struct bus_merge_record **ret_record, struct err *err)
{
    int64_t until_us = 0; /* the clock is asked only where there is something to wait for */

    *ret_record = NULL;
    if (advance(m, err) != ERR_OK)
        return err->class;
    if (m->waiting > 0 || m->heap_n == 0 || m->handed_out++ % LOOK_EVERY == 0) {
        if (refill_all(m, err) != ERR_OK)
            return err->class;
    }
    while (m->heap_n == 0 || m->waiting > 0) {
        const int64_t now_us = clk_mono_us();
        if (until_us == 0)
            until_us = now_us + INT64_C(1000) * timeout_ms;
        const int64_t left_ms = (until_us - now_us + 999) / 1000;

        if (left_ms <= 0)
            return ERR_OK;
        wait_for_news(m, (int)left_ms);
        if (refill_all(m, err) != ERR_OK)
            return err->class;
    }
    m->taken = (int)m->heap[0];
    const struct lane *lane = &m->lanes[m->taken];

    m->record.topic = lane->topic;
    record_take(lane->messages[lane->next], &m->record.r);
    *ret_record = &m->record;
    return ERR_OK;
}

bool bus_merge_caught_up(const struct bus_merge *m)
{
    return m->waiting == 0 && m->heap_n == 0; /* the lane of the one in hand may have more */
}

unsigned bus_merge_partitions(const struct bus_merge *m, unsigned topic)
{
    assert(topic < m->topics_n);
    return m->topics[topic].partitions_n;
}

/* ---- birth and death ---- */

/* The offset of the first record not before from_ms; the log's end where there is none. */
static int64_t spec_of(int64_t from_ms)
{
    return from_ms == BUS_FROM_START ? RD_KAFKA_OFFSET_SPEC_EARLIEST
           : from_ms == BUS_FROM_END ? RD_KAFKA_OFFSET_SPEC_LATEST
                                     : from_ms;
}

static enum err_class find_offsets(struct bus_merge *m, const struct bus_merge_topic *t,
                                   unsigned topic, int64_t *ret_offsets, int64_t *ret_ends,
                                   struct err *err)
{
    const int n = (int)m->topics[topic].partitions_n;
    enum err_class e;

    /* the ends first: what comes between the two questions is not passed over */
    e = admin_offsets(&m->client, m->rk, t->name, 0, n, RD_KAFKA_OFFSET_SPEC_LATEST, CONNECT_MS_MAX,
                      ret_ends, err);
    if (e == ERR_OK)
        e = admin_offsets(&m->client, m->rk, t->name, 0, n, spec_of(t->from_ms), CONNECT_MS_MAX,
                          ret_offsets, err);
    for (int i = 0; e == ERR_OK && i < n; i++) {
        if (ret_offsets[i] < 0)
            ret_offsets[i] = ret_ends[i];
    }
    return e;
}

static enum err_class start_lane(struct bus_merge *m, unsigned topic, int32_t partition,
                                 int64_t offset, int64_t end, struct err *err)
{
    static const uint64_t one = 1;
    struct lane *lane = &m->lanes[m->lanes_n++];

    *lane = (struct lane){.topic = topic, .partition = partition, .end = end};
    lane->queue = rd_kafka_queue_new(m->rk);
    rd_kafka_queue_io_event_enable(lane->queue, m->event_fd, &one, sizeof one);
    if (rd_kafka_consume_start_queue(m->topics[topic].rkt, partition, offset, lane->queue) != 0)
        return client_err(&m->client, err, rd_kafka_topic_name(m->topics[topic].rkt),
                          rd_kafka_last_error(), rd_kafka_err2str(rd_kafka_last_error()));
    lane->started = true;
    return ERR_OK;
}

static enum err_class find_topics(struct bus_merge *m, const struct bus_merge_options *o,
                                  struct err *err)
{
    struct bus_topic found[BUS_MERGE_TOPICS_MAX] = {{.name = NULL}};
    unsigned lanes_n = 0;

    for (unsigned i = 0; i < o->topics_n; i++)
        found[i].name = o->topics[i].name;
    if (admin_find(&m->client, m->rk, found, o->topics_n, CONNECT_MS_MAX, err) != ERR_OK)
        return err->class;
    for (unsigned i = 0; i < o->topics_n; i++) {
        m->topics[i].rkt = rd_kafka_topic_new(m->rk, o->topics[i].name, NULL);
        if (m->topics[i].rkt == NULL)
            return err_set(err, ERR_REJECT, "topic %s: %s", o->topics[i].name,
                           rd_kafka_err2str(rd_kafka_last_error()));
        m->topics_n++;
        m->topics[i].partitions_n = (unsigned)found[i].partitions;
        lanes_n += m->topics[i].partitions_n;
    }
    if (lanes_n > BUS_MERGE_LANES_MAX)
        return err_set(err, ERR_REJECT, "topic %s and others: %u partitions in all: at most %d",
                       o->topics[0].name, lanes_n, BUS_MERGE_LANES_MAX);
    m->lanes = calloc(lanes_n, sizeof *m->lanes);
    m->heap = calloc(lanes_n, sizeof *m->heap);
    if (m->lanes == NULL || m->heap == NULL)
        return err_set(err, ERR_FATAL, "merge: out of memory");
    return ERR_OK;
}

static enum err_class start_all(struct bus_merge *m, const struct bus_merge_options *o,
                                struct err *err)
{
    int64_t *const offsets = calloc((size_t)2 * BUS_MERGE_LANES_MAX, sizeof *offsets);
    enum err_class e = ERR_OK;

    if (offsets == NULL)
        return err_set(err, ERR_FATAL, "merge: out of memory");
    int64_t *const ends = offsets + BUS_MERGE_LANES_MAX;

    for (unsigned topic = 0; e == ERR_OK && topic < o->topics_n; topic++) {
        e = find_offsets(m, &o->topics[topic], topic, offsets, ends, err);
        for (unsigned i = 0; e == ERR_OK && i < m->topics[topic].partitions_n; i++)
            e = start_lane(m, topic, (int32_t)i, offsets[i], ends[i], err);
    }
    free(offsets);
    m->waiting = m->lanes_n;
    return e;
}

enum err_class bus_merge_new(const struct bus_merge_options *options, struct bus_merge **ret_merge,
                             struct err *err)
{
    struct bus_merge *m = calloc(1, sizeof *m);
    enum err_class e;

    assert(options->topics_n >= 1 && options->topics_n <= BUS_MERGE_TOPICS_MAX);
    if (m == NULL)
        return err_set(err, ERR_FATAL, "merge: out of memory");
    client_init(&m->client, options->log, options->log_user);
    m->order = options->order;
    m->user = options->user;
    m->taken = -1;
    m->event_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (m->event_fd < 0)
        e = err_set(err, ERR_FATAL, "merge: no event descriptor: %s", strerror(errno));
    else
        e = client_new(&m->client, RD_KAFKA_CONSUMER, options->settings, options->settings_n,
                       defaults, fixed, &m->rk, err);
    if (e == ERR_OK)
        e = find_topics(m, options, err);
    if (e == ERR_OK)
        e = start_all(m, options, err);
    if (e != ERR_OK)
        bus_merge_free(m);
    else
        *ret_merge = m;
    return e;
}

void bus_merge_free(struct bus_merge *m)
{
    if (m == NULL)
        return;
    for (unsigned i = 0; i < m->lanes_n; i++) {
        struct lane *lane = &m->lanes[i];
        record_release(lane->messages, &lane->messages_n);
        if (lane->started)
            (void)rd_kafka_consume_stop(m->topics[lane->topic].rkt, lane->partition);
        rd_kafka_queue_destroy(lane->queue);
    }
    for (unsigned i = 0; i < m->topics_n; i++)
        rd_kafka_topic_destroy(m->topics[i].rkt);
    if (m->rk != NULL)
        rd_kafka_destroy(m->rk);
    if (m->event_fd >= 0)
        (void)close(m->event_fd);
    free(m->lanes);
    free(m->heap);
    client_free(&m->client);
    free(m);
}
