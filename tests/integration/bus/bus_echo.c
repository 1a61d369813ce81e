/*
 * The smallest loop on bus.h: each record of IN is copied to OUT, its value prefixed with its
 * partition and offset. What the tests of exactly once start, kill, freeze and watch. Prints a line
 * an event.
 * consumer=1: reads IN as a bus_consumer instead, and prints how many partitions it owns.
 * reader=1: reads IN to its end with a bus_reader instead, and prints how many records that were.
 *
 *   bus_echo BOOTSTRAP IN OUT GROUP INSTANCE [commit-ms=N] [session-ms=N] [buffer=N] [ends=1]
 * [ticks=1] [consumer=1] [reader=1] [KEY=VALUE …]
 */
#include "bus/bus.h"
#include "clk/clk.h"

#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SETTINGS_MAX 16

static volatile sig_atomic_t stopping;

struct echo {
    struct bus *bus;
    bool ours[BUS_PARTITIONS_MAX];
    bool moved;
    struct bus_position positions[BUS_PARTITIONS_MAX];
    int64_t next[BUS_PARTITIONS_MAX];
    int64_t committed_us;
    int64_t commit_us;
    uint64_t sent;
    bool ends;
    bool connected;
    bool consumer, reader;
    bool ticks; /* commits at their time even when nothing moved, with an output each: what a clock
                   close does */
};

static void on_signal(int number)
{
    (void)number;
    stopping = 1;
}

static void on_log(void *user, int level, const char *text)
{
    (void)user;
    fprintf(stderr, "%d %s\n", level, text);
}

static void commit(struct echo *e)
{
    unsigned n = 0;

    for (int32_t p = 0; p < (int32_t)bus_partitions(e->bus); p++) {
        if (!e->ours[p] || e->next[p] < 0)
            continue;
        e->positions[n].partition = p;
        e->positions[n].offset = e->next[p];
        (void)snprintf(e->positions[n].metadata, sizeof e->positions[n].metadata, "next=%" PRId64,
                       e->next[p]);
        n++;
    }
    if (n > 0)
        bus_commit(e->bus, e->positions, n);
    e->committed_us = clk_mono_us();
    e->moved = false;
}

static int echo(struct echo *e, const struct bus_event *r, struct err *err)
{
    static char value[1 << 20];
    const int n = snprintf(value, sizeof value, "%d:%" PRId64 ":%.*s", (int)r->partition, r->offset,
                           (int)r->value_n, (const char *)r->value);
    const struct bus_header header = {.name = "origin", .value = value, .value_n = 3};
    const struct bus_output output = {.partition = r->partition,
                                      .key = r->key,
                                      .key_n = r->key_n,
                                      .value = value,
                                      .value_n = (size_t)n,
                                      .timestamp_ms = r->timestamp_us / 1000,
                                      .tag = (uint64_t)r->offset + 1,
                                      .headers = &header,
                                      .headers_n = 1};
    const size_t needed =
        output.key_n + output.value_n + BUS_OUTPUT_OVERHEAD + BUS_HEADER_OVERHEAD + 10;

    while (bus_room(e->bus) < needed) {
        if (stopping)
            return 0;
        if (!bus_committing(e->bus))
            commit(e);
        if (bus_drain(e->bus, 100, err) == ERR_FATAL)
            return 1;
    }
    bus_send(e->bus, &output);
    e->sent++;
    e->next[r->partition] = r->offset + 1;
    e->moved = true;
    return 0;
}

static int on_event(struct echo *e, const struct bus_event *event, struct err *err)
{
    switch (event->kind) {
    case BUS_RECORD:
        return echo(e, event, err);
    case BUS_END:
        printf("end %d %" PRId64 "\n", (int)event->partition, event->offset);
        e->next[event->partition] = event->offset;
        return e->ends && bus_ask_end(e->bus, event->partition, err) != ERR_OK;
    case BUS_ASSIGNED:
        printf("assigned %d %" PRId64 " %s\n", (int)event->partition, event->offset,
               event->lost ? "lost" : event->metadata);
        e->ours[event->partition] = true;
        e->next[event->partition] = event->lost ? -1 : event->offset;
        return bus_start(e->bus, event->partition,
                         event->lost || event->offset < 0 ? BUS_FROM_START : event->offset,
                         err) != ERR_OK;
    case BUS_REVOKED:
        printf("revoked %d\n", (int)event->partition);
        e->ours[event->partition] = false;
        return 0;
    case BUS_END_OFFSET:
        printf("end_offset %d %" PRId64 " after %" PRId64 " us\n", (int)event->partition,
               event->offset, clk_mono_us() - event->asked_mono_us);
        return 0;
    case BUS_COMMITTED:
        printf("committed %u", event->deliveries_n);
        if (event->deliveries_n > 0)
            printf(" first tag=%" PRIu64 " offset=%" PRId64, event->deliveries[0].tag,
                   event->deliveries[0].offset);
        printf(" after %" PRId64 " us\n", clk_mono_us() - e->committed_us);
        return 0;
    }
    return 1;
}

static void tick(struct echo *e)
{
    for (int32_t p = 0; p < (int32_t)bus_partitions(e->bus); p++)
        if (e->ours[p] && e->next[p] >= 0) {
            const struct bus_output output = {.partition = p, .value = "tick", .value_n = 4};

            bus_send(e->bus, &output);
        }
    e->moved = true;
}

static int loop(struct echo *e, struct err *err)
{
    while (!stopping) {
        struct bus_batch batch;

        if (bus_poll(e->bus, 100, &batch, err) != ERR_OK)
            return 1;
        if (bus_connected(e->bus) != e->connected) {
            e->connected = !e->connected;
            puts(e->connected ? "connected" : "disconnected");
        }
        for (unsigned i = 0; i < batch.n && !stopping; i++)
            if (on_event(e, &batch.events[i], err) != 0)
                return 1;
        if (!bus_committing(e->bus) && clk_mono_us() - e->committed_us >= e->commit_us) {
            if (e->ticks)
                tick(e);
            if (e->moved)
                commit(e);
        }
        fflush(stdout);
    }
    return 0;
}

static int read_all(const struct bus_options *o)
{
    const struct bus_reader_record *record;
    struct bus_reader *reader = NULL;
    struct err err;
    unsigned n = 0;
    bool end = false;
    enum err_class e = bus_reader_new(o->settings, o->settings_n, o->input_topic, -1,
                                      BUS_FROM_START, true, &reader, &err);

    while (e == ERR_OK && !end) {
        e = bus_reader_next(reader, 1000, &record, &end, &err);
        n += e == ERR_OK && record != NULL;
    }
    bus_reader_free(reader);
    printf(e == ERR_OK ? "read %u\n" : "failed after %u\n", n);
    return e == ERR_OK ? 0 : 70;
}

static int consume(const struct bus_options *o)
{
    const struct bus_consumer_options options = {.settings = o->settings,
                                                 .settings_n = o->settings_n,
                                                 .group_id = o->group_id,
                                                 .group_instance_id = o->group_instance_id,
                                                 .topics = &o->input_topic,
                                                 .topics_n = 1,
                                                 .session_timeout_ms = o->session_timeout_ms,
                                                 .log = o->log};
    struct bus_consumer *consumer = NULL;
    const struct bus_consumer_record *records;
    unsigned owned = 0;
    unsigned n;
    struct err err;
    enum err_class e = bus_consumer_new(&options, &consumer, &err);

    while (e == ERR_OK && !stopping) {
        e = bus_consumer_poll(consumer, 100, &records, &n, &err);
        if (bus_consumer_owned(consumer) != owned) {
            owned = bus_consumer_owned(consumer);
            printf("owned %u\n", owned);
            fflush(stdout);
        }
    }
    if (e != ERR_OK)
        printf("failed %d %s\n", (int)err.class, err.text);
    bus_consumer_free(consumer);
    return e == ERR_OK ? 0 : 70;
}

int main(int argc, char **argv)
{
    static struct echo e = {.commit_us = 20000};
    struct bus_setting settings[SETTINGS_MAX] = {{"bootstrap.servers", argc > 1 ? argv[1] : ""}};
    struct bus_options o = {
        .settings = settings, .settings_n = 1, .buffer_bytes_max = 4 << 20, .log = on_log};
    struct err err;
    char id[128];

    if (argc < 6)
        return 64;
    const char *outputs[] = {argv[3]};

    o.input_topic = argv[2];
    o.output_topics = outputs;
    o.output_topics_n = 1;
    o.group_id = argv[4];
    o.group_instance_id = argv[5];
    (void)snprintf(id, sizeof id, "%s-%s", argv[4], argv[5]);
    o.transactional_id = id;
    o.session_timeout_ms = o.transaction_timeout_ms = 10000;
    for (int i = 6; i < argc; i++) {
        char *value = strchr(argv[i], '=');

        if (value == NULL || o.settings_n == SETTINGS_MAX)
            return 64;
        *value++ = '\0';
        if (strcmp(argv[i], "commit-ms") == 0)
            e.commit_us = strtol(value, NULL, 10) * 1000;
        else if (strcmp(argv[i], "session-ms") == 0)
            o.session_timeout_ms = o.transaction_timeout_ms = (unsigned)strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "buffer") == 0)
            o.buffer_bytes_max = strtoul(value, NULL, 10);
        else if (strcmp(argv[i], "ends") == 0)
            e.ends = true;
        else if (strcmp(argv[i], "ticks") == 0)
            e.ticks = true;
        else if (strcmp(argv[i], "reader") == 0)
            e.reader = true;
        else if (strcmp(argv[i], "consumer") == 0)
            e.consumer = true;
        else
            settings[o.settings_n++] = (struct bus_setting){argv[i], value};
    }
    (void)signal(SIGTERM, on_signal);
    (void)signal(SIGINT, on_signal);
    if (e.consumer)
        return consume(&o);
    if (e.reader)
        return read_all(&o);
    if (bus_new(&o, &e.bus, &err) != ERR_OK) {
        printf("failed %d %s\n", (int)err.class, err.text);
        return err.class == ERR_REJECT ? 78 : 69;
    }
    e.committed_us = clk_mono_us();
    int code = loop(&e, &err);

    if (code == 0 && bus_drain(e.bus, 5000, &err) == ERR_OK && e.moved) {
        commit(&e);
        code = bus_drain(e.bus, 5000, &err) != ERR_OK;
    }
    if (code != 0)
        printf("failed %d %s\n", (int)err.class, err.text);
    bus_free(e.bus);
    printf("done %" PRIu64 "\n", e.sent);
    return code == 0 ? 0 : 70;
}
