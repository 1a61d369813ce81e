/*
 * poll.c: the hot path. One batch call to librdkafka, one pass over what it gave; events point into
 * librdkafka's own messages, which live until the next bus_poll. What is not a record is rare and
 * handled out of line.
 */
#include "bus/loop.h"
#include "bus/record.h"

#include "clk/clk.h"

#include <assert.h>
#include <string.h>

#define WAIT_MS_MAX 20 /* while something of ours has to be sent again */
#define LEVEL_ERROR 3
#define LEVEL_WARNING 4

#define UNLIKELY(condition) __builtin_expect((condition), 0)

static void release(struct bus *bus)
{
    if (!bus->stashed) {
        record_release(bus->messages, &bus->messages_n);
    }
    bus->told.n = 0;
}

/* ---- control events: told before any record, in batches of their own ---- */

static struct bus_event *next_event(struct bus *bus, unsigned *n, enum bus_event_kind kind,
                                    int32_t partition)
{
    struct bus_event *e = &bus->events[(*n)++];

    *e = (struct bus_event){
        .kind = kind, .partition = partition, .timestamp_us = -1, .metadata = ""};
    return e;
}

static void tell_partition(struct bus *bus, struct partition *p, unsigned *n)
{
    const int32_t number = (int32_t)(p - bus->partitions);

    if (p->tell_revoked) {
        group_untell(bus, &p->tell_revoked);
        (void)next_event(bus, n, BUS_REVOKED, number);
    }
    if (p->tell_assigned) {
        struct bus_event *e = next_event(bus, n, BUS_ASSIGNED, number);

        group_untell(bus, &p->tell_assigned);
        e->offset = p->loss == LOSS_LOG ? -1 : p->committed.offset;
        e->lost = p->loss != LOSS_NONE;
        if (e->offset >= 0 && !e->lost)
            e->metadata = p->committed.metadata;
    }
    if (p->tell_end) {
        struct bus_event *e = next_event(bus, n, BUS_END_OFFSET, number);

        group_untell(bus, &p->tell_end);
        e->offset = p->end_offset;
        e->asked_mono_us = p->end_asked_us;
    }
}

static unsigned tell(struct bus *bus)
{
    unsigned n = 0;

    if (bus->tell_committed) {
        struct bus_event *e = next_event(bus, &n, BUS_COMMITTED, -1);
        const struct deliveries told = bus->told;

        bus->told = bus->untold;
        bus->untold = told;
        bus->untold.n = 0;
        bus->tell_committed = false;
        e->deliveries = bus->told.list;
        e->deliveries_n = (unsigned)bus->told.n;
    }
    for (unsigned i = 0; i < bus->partitions_n && bus->due > 0 && n + 3 <= BUS_BATCH_MAX; i++)
        tell_partition(bus, &bus->partitions[i], &n);
    return n;
}

static bool is_due(const struct bus *bus)
{
    return bus->due > 0 || bus->tell_committed;
}

/* ---- what librdkafka tells besides records ---- */

static bool is_error(const rd_kafka_message_t *m)
{
    return m->err != RD_KAFKA_RESP_ERR_NO_ERROR && m->err != RD_KAFKA_RESP_ERR__PARTITION_EOF;
}

static enum err_class on_consumer_error(struct bus *bus, const rd_kafka_message_t *m,
                                        struct err *err)
{
    struct err failure;
    const char *text = rd_kafka_message_errstr(m);

    if (client_ends_consumer(m->err)) {
        (void)err_set(&failure, ERR_FATAL, "group %s: topic %s: %s: restart", bus->group_id,
                      bus->input_topic, text);
        return loop_fail(bus, &failure, err);
    }
    client_log(&bus->client, LEVEL_ERROR, "kafka: group %s: topic %s: %s", bus->group_id,
               bus->input_topic, text);
    return ERR_OK;
}

/*
 * Another offset than the one expected. Compaction, aborted records and transaction markers leave
 * such gaps; what is lost is told by the log's start lying beyond the expected offset, or by the
 * log having become shorter.
 */
static bool is_lost(struct bus *bus, struct partition *p, int64_t found)
{
    const int32_t number = (int32_t)(p - bus->partitions);
    int64_t low = -1;
    int64_t high = -1;

    if (p->next < 0 || found == p->next)
        return false;
    if (found > p->next) {
        (void)rd_kafka_get_watermark_offsets(bus->consumer, bus->input_topic, number, &low, &high);
        if (low <= p->next)
            return false;
    }
    client_log(&bus->client, LEVEL_ERROR,
               "kafka: topic %s: partition %d: offset %lld is out of range, the log goes on "
               "at %lld: the partition starts anew from the log's start",
               bus->input_topic, (int)number, (long long)p->next, (long long)found);
    group_restart(bus, p, found > p->next ? LOSS_START : LOSS_LOG);
    return true;
}

/* Drops messages of partitions that are not started. When they were mapped, `next` is set back to
 * the first of each. */
static void filter(struct bus *bus, bool mapped)
{
    unsigned n = 0;

    for (unsigned i = 0; i < bus->messages_n; i++) {
        rd_kafka_message_t *m = bus->messages[i];

        if (is_error(m) ? !mapped : group_is_ours(bus, m->partition))
            bus->messages[n++] = m;
        else
            rd_kafka_message_destroy(m);
    }
    bus->messages_n = n;
    for (unsigned i = n; mapped && i-- > 0;)
        bus->partitions[bus->messages[i]->partition].next = bus->messages[i]->offset;
}

/* ---- records ---- */

static enum err_class map(struct bus *bus, unsigned *ret_n, struct err *err)
{
    unsigned n = 0;

    for (unsigned i = 0; i < bus->messages_n; i++) {
        const rd_kafka_message_t *m = bus->messages[i];

        if (UNLIKELY(is_error(m))) {
            const enum err_class e = on_consumer_error(bus, m, err);

            if (e != ERR_OK)
                return e;
            continue;
        }
        if (UNLIKELY(!group_is_ours(bus, m->partition)))
            continue;
        struct partition *p = &bus->partitions[m->partition];

        if (UNLIKELY(m->offset != p->next && is_lost(bus, p, m->offset)))
            continue;
        if (UNLIKELY(m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF)) {
            p->next = m->offset;
            group_on_end(bus, p, m->offset);
            next_event(bus, &n, BUS_END, m->partition)->offset = m->offset;
            continue;
        }
        p->next = m->offset + 1;
        bus->events[n++] = (struct bus_event){
            .kind = BUS_RECORD,
            .partition = m->partition,
            .offset = m->offset,
            .timestamp_us = record_timestamp_us(m),
            .key = m->key,
            .key_n = m->key_len,
            .value = m->payload,
            .value_n = m->len,
            .metadata = "",
        };
    }
    *ret_n = n;
    return ERR_OK;
}

static enum err_class serve(struct bus *bus, struct err *err)
{
    struct err failure;
    enum err_class e;

    if (UNLIKELY(atomic_load_explicit(&bus->client.fatal, memory_order_relaxed))) {
        (void)client_fatal(&bus->client, bus->consumer, bus->group_id, &failure);
        return loop_fail(bus, &failure, err);
    }
    if (UNLIKELY(watch_expired(bus->watch))) {
        (void)watch_err(bus->watch, &failure);
        return loop_fail(bus, &failure, err);
    }
    e = loop_serve_commit(bus, err);
    if (e == ERR_OK)
        e = group_serve(bus, err);
    if (e == ERR_OK)
        e = orphans_serve(bus->orphans, err);
    if (e != ERR_OK && !bus->failed)
        (void)loop_fail(bus, err, err);
    return e;
}

static int wait_ms(const struct bus *bus, int64_t until_us)
{
    const int64_t left_ms = (until_us - clk_mono_us() + 999) / 1000;
    const bool restless =
        bus->lookups > 0 || bus->asks > 0 || bus->seeks > 0 || bus->commit == COMMIT_HELD;

    if (left_ms <= 0)
        return 0;
    return left_ms > WAIT_MS_MAX && restless ? WAIT_MS_MAX
           : left_ms > INT32_MAX             ? INT32_MAX
                                             : (int)left_ms;
}

/* The worker and the broker's answers wake the waiting call up. */
static enum err_class consume(struct bus *bus, int timeout_ms, struct err *err)
{
    const int64_t until_us = clk_mono_us() + INT64_C(1000) * timeout_ms;

    for (;;) {
        const enum err_class e = serve(bus, err);

        if (e != ERR_OK)
            return e;
        bus->messages_n = record_batch(bus->queue, bus->messages, BUS_BATCH_MAX);
        if (bus->messages_n > 0 || is_due(bus))
            return ERR_OK;
        /* A waker sets its news first, then wakes: either we see the news here, or the wait ends at
         * once. */
        if ((bus->commit == COMMIT_SENT && worker_done(bus->worker)) ||
            ((bus->lookup_open || bus->ends_open) && rd_kafka_queue_length(bus->answers) > 0))
            continue;
        const int ms = wait_ms(bus, until_us);

        if (ms == 0)
            return ERR_OK;
        bus->messages_n = record_wait(bus->queue, bus->messages, BUS_BATCH_MAX, ms);
        if (bus->messages_n > 0)
            return ERR_OK;
    }
}

enum err_class bus_poll(struct bus *bus, int timeout_ms, struct bus_batch *ret_batch,
                        struct err *err)
{
    unsigned n = 0;
    enum err_class e = ERR_OK;

    if (bus->failed)
        return loop_fail(bus, &bus->failure, err);
    release(bus);
    e = bus->stashed ? serve(bus, err) : consume(bus, timeout_ms, err);
    if (bus->failed) /* the rebalance callback has no other way to say so */
        e = loop_fail(bus, &bus->failure, err);
    const bool mapped = e == ERR_OK && !is_due(bus);

    if (mapped)
        e = map(bus, &n, err);
    if (e != ERR_OK)
        return e;
    bus->stashed = false;
    if (UNLIKELY(is_due(bus))) {
        filter(bus, mapped);
        bus->stashed = bus->messages_n > 0;
        n = tell(bus);
    }
    ret_batch->events = bus->events;
    ret_batch->n = n;
    return ERR_OK;
}
