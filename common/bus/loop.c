#include "bus/loop.h"
#include "bus/record.h"

#include "clk/clk.h"

#include <assert.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELD_RETRY_US INT64_C(20000)
#define HELD_MS_MAX                                                                                \
    2000 /* bus_drain gives up on a group that is gone, since only bus_poll hears of it */
#define HELD_WAIT_MS 5
#define DELIVERIES_MAX (1u << 20)
#define LEVEL_WARNING 4

const char *bus_version(void)
{
    static char text[32];

    (void)snprintf(text, sizeof text, "librdkafka %s", rd_kafka_version_str());
    return text;
}

/* ---- outputs ---- */

size_t bus_room(const struct bus *bus)
{
    return bus->halves[bus->open].size - bus->halves[bus->open].used;
}

void bus_send(struct bus *bus, const struct bus_output *output)
{
    assert(output->topic < bus->output_topics_n);
    /* Taken away while the caller was still at work on it: what it makes of it is nobody's. */
    if (group_is_ours(bus, output->partition))
        buffer_add(&bus->halves[bus->open], output);
}

void loop_forget(struct bus *bus, int32_t partition)
{
    buffer_kill(&bus->halves[bus->open], partition);
    for (unsigned i = 0; bus->commit != COMMIT_NONE && i < bus->positions_n; i++)
        if (bus->positions[i].partition == partition) {
            bus->partitions[partition].forgotten = true;
            bus->tainted = true;
            worker_taint(bus->worker);
        }
}

/* Nothing of the commit under way was committed, and some of its partitions are not ours any more:
 * it goes on with those that are, which need not be computed again. */
static void trim(struct bus *bus)
{
    struct buffer *sent = &bus->halves[!bus->open];
    unsigned n = 0;

    for (unsigned i = 0; i < bus->positions_n; i++) {
        const int32_t number = bus->positions[i].partition;

        if (bus->partitions[number].forgotten) {
            buffer_kill(sent, number);
            continue;
        }
        bus->positions[n] = bus->positions[i];
        bus->previous[n++] = bus->previous[i];
    }
    bus->positions_n = n;
    bus->tainted = false;
    if (n == 0) {
        buffer_clear(sent);
        bus->commit = COMMIT_NONE;
        bus->tell_committed = true;
    }
}

/* ---- commits ---- */

enum err_class loop_fail(struct bus *bus, const struct err *failure, struct err *err)
{
    bus->failed = true;
    bus->failure = *failure;
    if (err != failure)
        *err = *failure;
    return failure->class;
}

/* Outcome unknown: what the outputs say decides, so their makers start anew. */
static void rebuild(struct bus *bus)
{
    client_log(&bus->client, LEVEL_WARNING,
               "kafka: group %s: an uncommitted batch of %u partitions is dropped and "
               "computed again",
               bus->group_id, bus->positions_n);
    buffer_clear(&bus->halves[!bus->open]);
    bus->commit = COMMIT_NONE;
    for (unsigned i = 0; i < bus->positions_n; i++) {
        struct partition *p = &bus->partitions[bus->positions[i].partition];

        if (p->state == P_OFFERED || p->state == P_STARTED)
            group_restart(bus, p, LOSS_NONE);
    }
}

static void tell_delivery(struct bus *bus, const struct buffer_record *record)
{
    struct deliveries *d = &bus->untold;

    if (record->tag == 0 || record->dead)
        return;
    if (d->n == d->max && d->max < DELIVERIES_MAX) {
        const size_t max = d->max == 0 ? 1024 : d->max * 2;
        struct bus_delivery *list = realloc(d->list, max * sizeof *list);

        if (list == NULL)
            return;
        d->list = list;
        d->max = max;
    }
    if (d->n < d->max)
        d->list[d->n++] = (struct bus_delivery){
            .partition = record->partition, .tag = record->tag, .offset = record->offset};
}

static void take_committed(struct bus *bus)
{
    struct buffer *sent = &bus->halves[!bus->open];

    for (struct buffer_record *r = buffer_first(sent); r != NULL; r = buffer_next(sent, r))
        tell_delivery(bus, r);
    for (unsigned i = 0; i < bus->positions_n; i++)
        bus->partitions[bus->positions[i].partition].committed = bus->positions[i];
    buffer_clear(sent);
    bus->commit = COMMIT_NONE;
    bus->tell_committed = true;
}

static void hold(struct bus *bus, int64_t wait_us)
{
    bus->commit = COMMIT_HELD;
    bus->held_since_us = clk_mono_us();
    bus->commit_next_us = bus->held_since_us + wait_us;
}

static enum err_class take_outcome(struct bus *bus, struct err *err)
{
    struct err failure;

    switch (worker_take(bus->worker, &failure)) {
    case WORKER_COMMITTED:
        take_committed(bus);
        break;
    case WORKER_REFUSED:
        hold(bus, HELD_RETRY_US);
        break;
    case WORKER_REBUILD:
        rebuild(bus);
        break;
    case WORKER_FATAL:
        bus->commit = COMMIT_NONE;
        return loop_fail(bus, &failure, err);
    case WORKER_STOPPED:
        bus->commit = COMMIT_NONE;
        break;
    }
    return ERR_OK;
}

/*
 * The generation is read when the outputs are handed over, in the thread that answers rebalances:
 * as long as a revocation is not answered, no later generation exists in which another member has
 * the partition. A member that is out of the group has no generation (and the broker takes
 * generation -1 for a client that wants no fence): wait.
 */
static void submit(struct bus *bus)
{
    rd_kafka_consumer_group_metadata_t *group = rd_kafka_consumer_group_metadata(bus->consumer);
    const char *member = group == NULL ? NULL : rd_kafka_consumer_group_metadata_member_id(group);

    if (member == NULL || member[0] == '\0' ||
        rd_kafka_consumer_group_metadata_generation_id(group) < 0) {
        if (group != NULL)
            rd_kafka_consumer_group_metadata_destroy(group);
        bus->commit_next_us = clk_mono_us() + HELD_RETRY_US;
        return;
    }
    const struct worker_job job = {.buffer = &bus->halves[!bus->open],
                                   .positions = bus->positions,
                                   .previous = bus->previous,
                                   .n = bus->positions_n,
                                   .group = group};

    bus->commit = COMMIT_SENT;
    worker_submit(bus->worker, &job);
}

enum err_class loop_serve_commit(struct bus *bus, struct err *err)
{
    if (bus->commit == COMMIT_SENT && worker_done(bus->worker)) {
        const enum err_class e = take_outcome(bus, err);

        if (e != ERR_OK)
            return e;
    }
    if (bus->commit == COMMIT_HELD && bus->tainted)
        trim(bus);
    if (bus->commit == COMMIT_HELD && clk_mono_us() >= bus->commit_next_us)
        submit(bus);
    return ERR_OK;
}

bool bus_committing(const struct bus *bus)
{
    return bus->commit != COMMIT_NONE;
}

void bus_commit(struct bus *bus, const struct bus_position *positions, unsigned n)
{
    struct buffer *sent = &bus->halves[bus->open];

    assert(bus->commit == COMMIT_NONE && n <= bus->partitions_n);
    bus->positions_n = 0;
    for (unsigned i = 0; i < n; i++) {
        if (positions[i].offset < 0 || !group_may_commit(bus, positions[i].partition))
            continue;
        bus->partitions[positions[i].partition].forgotten = false;
        bus->positions[bus->positions_n] = positions[i];
        bus->previous[bus->positions_n++] = bus->partitions[positions[i].partition].committed;
    }
    if (bus->positions_n == 0) { /* nothing of it is ours any more */
        for (struct buffer_record *r = buffer_first(sent); r != NULL; r = buffer_next(sent, r))
            assert(r->dead);
        buffer_clear(sent);
        bus->tell_committed = true;
        return;
    }
    bus->open = !bus->open;
    bus->tainted = false;
    hold(bus, 0);
    submit(bus);
}

enum err_class bus_drain(struct bus *bus, int timeout_ms, struct err *err)
{
    const int64_t begin_us = clk_mono_us();

    if (bus->failed)
        return loop_fail(bus, &bus->failure, err);
    for (;;) {
        const enum err_class e = loop_serve_commit(bus, err);
        const int64_t spent_ms = (clk_mono_us() - begin_us) / 1000;

        if (e != ERR_OK || bus->commit == COMMIT_NONE)
            return e;
        if (spent_ms >= timeout_ms)
            return err_set(err, ERR_RETRY,
                           "commit: still under way after %d ms: is the broker there?", timeout_ms);
        if (bus->commit == COMMIT_SENT)
            (void)worker_wait(bus->worker, timeout_ms - (int)spent_ms);
        else if (clk_mono_us() - bus->held_since_us > INT64_C(1000) * HELD_MS_MAX)
            rebuild(bus);
        else
            (void)poll(NULL, 0, HELD_WAIT_MS);
    }
}

bool bus_connected(const struct bus *bus)
{
    return client_connected(&bus->client);
}

unsigned bus_partitions(const struct bus *bus)
{
    return bus->partitions_n;
}

/* ---- birth and death ---- */

static enum err_class check_topics(struct bus *bus, const struct bus_options *o, struct err *err)
{
    struct bus_topic *topics = calloc(o->output_topics_n + 1, sizeof *topics);
    enum err_class e;

    if (topics == NULL)
        return err_set(err, ERR_FATAL, "bus: out of memory");
    topics[0].name = o->input_topic;
    for (unsigned i = 0; i < o->output_topics_n; i++)
        topics[i + 1].name = o->output_topics[i];
    e = admin_find(&bus->client, bus->consumer, topics, o->output_topics_n + 1,
                   (int)o->session_timeout_ms, err);
    for (unsigned i = 0; e == ERR_OK && i <= o->output_topics_n; i++) {
        if (topics[i].partitions != topics[0].partitions)
            e = err_set(err, ERR_REJECT,
                        "topic %s: %d partitions, but %s has %d: l2ctl topics plan", topics[i].name,
                        topics[i].partitions, o->input_topic, topics[0].partitions);
        else if (topics[i].partitions > BUS_PARTITIONS_MAX)
            e = err_set(err, ERR_REJECT, "topic %s: %d partitions: at most %d", topics[i].name,
                        topics[i].partitions, BUS_PARTITIONS_MAX);
    }
    bus->partitions_n = (unsigned)topics[0].partitions;
    free(topics);
    return e;
}

static enum err_class new_state(struct bus *bus, const struct bus_options *o, struct err *err)
{
    bus->partitions = calloc(bus->partitions_n, sizeof *bus->partitions);
    bus->positions = calloc(bus->partitions_n, sizeof *bus->positions);
    bus->previous = calloc(bus->partitions_n, sizeof *bus->previous);
    if (bus->partitions == NULL || bus->positions == NULL || bus->previous == NULL ||
        !buffer_new(&bus->halves[0], o->buffer_bytes_max / 2) ||
        !buffer_new(&bus->halves[1], o->buffer_bytes_max / 2))
        return err_set(err, ERR_FATAL, "bus: no memory for a buffer of %zu bytes",
                       o->buffer_bytes_max);
    for (unsigned i = 0; i < bus->partitions_n; i++)
        bus->partitions[i].committed = (struct bus_position){.partition = (int32_t)i, .offset = -1};
    return ERR_OK;
}

static bool copy_names(struct bus *bus, const struct bus_options *o)
{
    bus->input_topic = strdup(o->input_topic);
    bus->group_id = strdup(o->group_id);
    bus->transactional_id = strdup(o->transactional_id);
    bus->output_topics = calloc(o->output_topics_n + 1, sizeof *bus->output_topics);
    bool ok = bus->input_topic != NULL && bus->group_id != NULL && bus->transactional_id != NULL &&
              bus->output_topics != NULL;

    for (unsigned i = 0; ok && i < o->output_topics_n; i++) {
        bus->output_topics[i] = strdup(o->output_topics[i]);
        bus->output_topics_n++;
        ok = bus->output_topics[i] != NULL;
    }
    return ok;
}

static enum err_class new_worker(struct bus *bus, const struct bus_options *o, struct err *err)
{
    const struct worker_options options = {
        .settings = o->settings,
        .settings_n = o->settings_n,
        .transactional_id = bus->transactional_id,
        .topics = (const char *const *)bus->output_topics,
        .input_topic = bus->input_topic,
        .watch = bus->watch,
        .session_timeout_ms = o->session_timeout_ms,
        .transaction_timeout_ms = o->transaction_timeout_ms,
        .log = o->log,
        .log_user = o->log_user,
    };

    return worker_new(&options, &bus->worker, err);
}

static void on_answer(rd_kafka_t *rk, void *opaque)
{
    const struct bus *bus = opaque;

    (void)rk;
    rd_kafka_queue_yield(bus->queue);
}

static enum err_class new_orphans(struct bus *bus, struct err *err)
{
    const struct orphans_options options = {
        .client = &bus->client,
        .rk = bus->consumer,
        .group_id = bus->group_id,
        .topics = (const char *const *)&bus->input_topic,
        .partitions = &bus->partitions_n,
        .topics_n = 1,
    };

    return orphans_new(&options, &bus->orphans, err);
}

static enum err_class join_group(struct bus *bus, struct err *err)
{
    bus->client.rk = NULL;
    (void)rd_kafka_poll_set_consumer(bus->consumer);
    bus->queue = rd_kafka_queue_get_consumer(bus->consumer);
    bus->answers = rd_kafka_queue_new(bus->consumer);
    rd_kafka_queue_cb_event_enable(bus->answers, on_answer, bus);
    enum err_class e = worker_start(bus->worker, bus->consumer, bus->queue, err);

    if (e == ERR_OK)
        e = new_orphans(bus, err);
    if (e == ERR_OK) {
        const rd_kafka_resp_err_t code =
            client_subscribe(bus->consumer, (const char *const *)&bus->input_topic, 1);

        if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
            e = client_err(&bus->client, err, "subscribe", code, rd_kafka_err2str(code));
    }
    return e;
}

enum err_class bus_new(const struct bus_options *options, struct bus **ret_bus, struct err *err)
{
    struct bus *bus = calloc(1, sizeof *bus);
    enum err_class e;

    if (bus == NULL)
        return err_set(err, ERR_FATAL, "bus: out of memory");
    client_init(&bus->client, options->log, options->log_user);
    bus->client.owner = bus;
    bus->session_timeout_ms = options->session_timeout_ms;
    bus->transaction_timeout_ms = options->transaction_timeout_ms;
    e = copy_names(bus, options) ? ERR_OK : err_set(err, ERR_FATAL, "bus: out of memory");
    if (e == ERR_OK)
        e = client_new_member(&bus->client, options->settings, options->settings_n,
                              options->group_id, options->group_instance_id,
                              options->session_timeout_ms, group_on_rebalance, &bus->consumer, err);
    if (e == ERR_OK)
        e = check_topics(bus, options, err);
    if (e == ERR_OK)
        e = new_state(bus, options, err);
    if (e == ERR_OK)
        e = watch_new(options->session_timeout_ms, &bus->watch, err);
    if (e == ERR_OK)
        e = new_worker(bus, options, err);
    if (e == ERR_OK)
        e = join_group(bus, err);
    if (e != ERR_OK)
        bus_free(bus);
    else
        *ret_bus = bus;
    return e;
}

static void free_names(struct bus *bus)
{
    for (unsigned i = 0; i < bus->output_topics_n; i++)
        free(bus->output_topics[i]);
    free(bus->output_topics);
    free(bus->input_topic);
    free(bus->group_id);
    free(bus->transactional_id);
}

void bus_free(struct bus *bus)
{
    if (bus == NULL)
        return;
    worker_free(bus->worker); /* first: it asks the consumer */
    watch_free(bus->watch);
    orphans_free(bus->orphans);
    record_release(bus->messages, &bus->messages_n);
    if (bus->answers != NULL) {
        rd_kafka_queue_cb_event_enable(bus->answers, NULL, NULL);
        rd_kafka_queue_destroy(bus->answers);
    }
    if (bus->queue != NULL)
        rd_kafka_queue_destroy(bus->queue);
    client_end_member(&bus->client, bus->consumer);
    buffer_free(&bus->halves[0]);
    buffer_free(&bus->halves[1]);
    free(bus->told.list);
    free(bus->untold.list);
    free(bus->partitions);
    free(bus->positions);
    free(bus->previous);
    free_names(bus);
    client_free(&bus->client);
    free(bus);
}
