/*
 * A reader without a group: librdkafka's simple consumer, one queue for all partitions. The other
 * consumer API wants a group id even where it joins none, and asks for that group's coordinator.
 */
#include "bus/admin.h"
#include "bus/record.h"

#include "clk/clk.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define READER_BATCH_MAX 512
#define CONNECT_MS_MAX 10000

struct reading {
    int64_t low;
    int64_t end; /* the high watermark */
    bool started;
    bool done;
    bool at_end;
};

struct bus_reader {
    struct client client;
    rd_kafka_t *rk;
    rd_kafka_topic_t *topic;
    rd_kafka_queue_t *queue;
    bool until_end;
    int first; /* readings are those of partitions [first, first + n) */
    int n;
    int open; /* until_end: partitions not yet done */
    struct reading *readings;
    rd_kafka_message_t *messages[READER_BATCH_MAX];
    unsigned messages_n;
    unsigned next;
    struct bus_reader_record record;
};

static const struct client_row defaults[] = {
    {"fetch.wait.max.ms", "50"},
    {"fetch.queue.backoff.ms", "20"},
    {"socket.timeout.ms", "10000"},
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

static enum err_class start(struct bus_reader *r, int i, int64_t from, int64_t low, int64_t high,
                            struct err *err)
{
    const char *name = rd_kafka_topic_name(r->topic);

    if (from == BUS_FROM_END)
        from = high;
    else if (from == BUS_FROM_START || from < low)
        from = low;
    r->readings[i].low = low;
    r->readings[i].end = high;
    if (r->until_end && from >= high) {
        r->readings[i].done = true;
        r->open--;
        return ERR_OK;
    }
    if (from > high)
        return err_set(err, ERR_REJECT, "topic %s: partition %d: offset %lld: the log ends at %lld",
                       name, r->first + i, (long long)from, (long long)high);
    if (rd_kafka_consume_start_queue(r->topic, r->first + i, from, r->queue) != 0)
        return client_err(&r->client, err, name, rd_kafka_last_error(),
                          rd_kafka_err2str(rd_kafka_last_error()));
    r->readings[i].started = true;
    return ERR_OK;
}

static enum err_class start_all(struct bus_reader *r, int64_t from, struct err *err)
{
    int64_t *lows = calloc((size_t)r->n, sizeof *lows);
    int64_t *highs = calloc((size_t)r->n, sizeof *highs);
    const char *name = rd_kafka_topic_name(r->topic);
    enum err_class e;

    r->readings = calloc((size_t)r->n, sizeof *r->readings);
    if (r->readings == NULL || lows == NULL || highs == NULL) {
        free(lows);
        free(highs);
        return err_set(err, ERR_FATAL, "reader: out of memory");
    }
    e = admin_offsets(&r->client, r->rk, name, r->first, r->n, RD_KAFKA_OFFSET_SPEC_EARLIEST,
                      CONNECT_MS_MAX, lows, err);
    if (e == ERR_OK)
        e = admin_offsets(&r->client, r->rk, name, r->first, r->n, RD_KAFKA_OFFSET_SPEC_LATEST,
                          CONNECT_MS_MAX, highs, err);
    for (int i = 0; e == ERR_OK && i < r->n; i++)
        e = start(r, i, from, lows[i], highs[i], err);
    free(lows);
    free(highs);
    return e;
}

static enum err_class find_partitions(struct bus_reader *r, const char *name, int32_t partition,
                                      struct err *err)
{
    struct bus_topic topic = {.name = name};
    const enum err_class e = admin_find(&r->client, r->rk, &topic, 1, CONNECT_MS_MAX, err);

    if (e != ERR_OK)
        return e;
    if (partition >= topic.partitions)
        return err_set(err, ERR_REJECT, "topic %s: partition %d: it has %d", name, (int)partition,
                       topic.partitions);
    r->first = partition < 0 ? 0 : partition;
    r->n = partition < 0 ? topic.partitions : 1;
    r->open = r->n;
    return ERR_OK;
}

enum err_class bus_reader_new(const struct bus_setting *settings, unsigned settings_n,
                              const char *topic, int32_t partition, int64_t from, bool until_end,
                              struct bus_reader **ret_reader, struct err *err)
{
    struct bus_reader *r = calloc(1, sizeof *r);
    enum err_class e;

    assert(from >= 0 || from == BUS_FROM_START || from == BUS_FROM_END);
    if (r == NULL)
        return err_set(err, ERR_FATAL, "reader: out of memory");
    client_init(&r->client, NULL, NULL);
    r->until_end = until_end;
    e = client_new(&r->client, RD_KAFKA_CONSUMER, settings, settings_n, defaults, fixed, &r->rk,
                   err);
    if (e == ERR_OK) {
        r->queue = rd_kafka_queue_new(r->rk);
        r->topic = rd_kafka_topic_new(r->rk, topic, NULL);
        e = r->topic == NULL ? err_set(err, ERR_REJECT, "topic %s: %s", topic,
                                       rd_kafka_err2str(rd_kafka_last_error()))
                             : find_partitions(r, topic, partition, err);
    }
    if (e == ERR_OK)
        e = start_all(r, from, err);
    if (e != ERR_OK)
        bus_reader_free(r);
    else
        *ret_reader = r;
    return e;
}

static void refill(struct bus_reader *r, int timeout_ms)
{
    record_release(r->messages, &r->messages_n);
    r->next = 0;
    (void)rd_kafka_poll(r->rk, 0);
    r->messages_n = record_batch(r->queue, r->messages, READER_BATCH_MAX);
    if (r->messages_n == 0 && timeout_ms > 0)
        r->messages_n = record_wait(r->queue, r->messages, READER_BATCH_MAX, timeout_ms);
}

/* next: the offset after what was read. */
static void reached(struct bus_reader *r, struct reading *reading, int64_t next)
{
    if (r->until_end && !reading->done && next >= reading->end) {
        reading->done = true;
        r->open--;
    }
}

static enum err_class on_reader_error(struct bus_reader *r, const rd_kafka_message_t *m,
                                      struct err *err)
{
    if (client_class(m->err) == ERR_RETRY)
        return ERR_OK; /* librdkafka goes on by itself */
    return client_err(&r->client, err, rd_kafka_topic_name(r->topic), m->err,
                      rd_kafka_message_errstr(m));
}

enum err_class bus_reader_next(struct bus_reader *r, int timeout_ms,
                               const struct bus_reader_record **ret_record, bool *ret_end,
                               struct err *err)
{
    int64_t until_us = 0; /* the clock is asked only where there is something to wait for */

    for (;;) {
        if (r->until_end && r->open == 0) {
            *ret_record = NULL;
            *ret_end = true;
            return ERR_OK;
        }
        if (r->next == r->messages_n) {
            const int64_t now_us = clk_mono_us();
            if (until_us == 0)
                until_us = now_us + INT64_C(1000) * timeout_ms;
            const int64_t left_ms = (until_us - now_us + 999) / 1000;

            refill(r, left_ms > 0 ? (int)left_ms : 0);
        }
        if (r->messages_n == 0) {
            *ret_record = NULL;
            *ret_end = false;
            return ERR_OK;
        }
        const rd_kafka_message_t *m = r->messages[r->next++];
        struct reading *reading = m->partition >= r->first && m->partition < r->first + r->n
                                      ? &r->readings[m->partition - r->first]
                                      : NULL;

        if (m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF && reading != NULL) {
            reached(r, reading, m->offset);
            reading->at_end = true;
        } else if (m->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
            const enum err_class e = on_reader_error(r, m, err);

            if (e != ERR_OK)
                return e;
        } else if (reading != NULL && !reading->done &&
                   (!r->until_end || m->offset < reading->end)) {
            record_take(m, &r->record);
            *ret_record = &r->record;
            *ret_end = false;
            reached(r, reading, m->offset + 1);
            reading->at_end = false;
            return ERR_OK;
        }
    }
}

void bus_reader_headers(struct bus_reader *r)
{
    assert(r->next > 0 && r->record.headers_n == 0);
    record_take_headers(r->messages[r->next - 1], &r->record);
}

bool bus_reader_at_end(const struct bus_reader *r)
{
    for (int i = 0; i < r->n; i++)
        if (!r->readings[i].at_end)
            return false;
    return true;
}

void bus_reader_bounds(const struct bus_reader *r, int32_t partition, int64_t *ret_low,
                       int64_t *ret_end)
{
    const int i = partition - r->first;

    assert(i >= 0 && i < r->n);
    *ret_low = r->readings[i].low;
    *ret_end = r->readings[i].end;
}

void bus_reader_free(struct bus_reader *r)
{
    if (r == NULL)
        return;
    record_release(r->messages, &r->messages_n);
    for (int i = 0; r->readings != NULL && i < r->n; i++)
        if (r->readings[i].started)
            (void)rd_kafka_consume_stop(r->topic, r->first + i);
    if (r->topic != NULL)
        rd_kafka_topic_destroy(r->topic);
    if (r->queue != NULL)
        rd_kafka_queue_destroy(r->queue);
    if (r->rk != NULL)
        rd_kafka_destroy(r->rk);
    free(r->readings);
    client_free(&r->client);
    free(r);
}
