/* No record is lost in a rebalance whose callback the caller's thread leaves late, when what comes
 * next of the partitions that stay has been fetched already: against a real broker, whose address
 * is in L2FLOW_BOOTSTRAP. Seen to fail, each, with a callback that yields inside librdkafka's batch
 * call too: a record was missing. */
#include "bus/bus.h"
#include "clk/clk.h"

#include <librdkafka/rdkafka.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TIMEOUT_MS 30000
#define PARTITIONS 2
#define SESSION_MS 20000
#define JOIN_MS                                                                                    \
    4000 /* heartbeats, one a second, tell the first member of the second; then a revocation       \
            waits for its next poll */
#define FETCH_MS 500 /* by then what was produced is in the queue */
#define FED 20

static struct bus_setting settings[1];
static char prefix[48];

static void ok(enum err_class e, const struct err *err)
{
    if (e != ERR_OK)
        fail_msg("class %d: %s", (int)e, err->text);
}

static void make_topics(const char *const *names, unsigned n)
{
    struct bus_topic topics[2];
    struct err err;

    memset(topics, 0, sizeof topics);
    for (unsigned i = 0; i < n; i++) {
        topics[i].name = names[i];
        topics[i].partitions = PARTITIONS;
        topics[i].replication_factor = -1;
    }
    ok(bus_topics_create(settings, 1, topics, n, TIMEOUT_MS, &err), &err);
}

static void produce(struct bus_producer *p, const char *topic)
{
    struct err err;

    for (int32_t i = 0; i < PARTITIONS; i++) {
        const struct bus_output o = {.partition = i, .value = "v", .value_n = 1};

        ok(bus_producer_send(p, topic, &o, &err), &err);
    }
    ok(bus_producer_flush(p, TIMEOUT_MS, &err), &err);
}

/* ---- the late callback: it answers an assignment or a revocation, and only then stands still ----
 */

static struct bus_producer *producer;
static const char *fed; /* a topic; NULL: nothing is held up */
static int64_t in_topic; /* records of each of its partitions */

static void stand_still(void)
{
    if (fed == NULL)
        return;
    for (int i = 0; i < FED; i++)
        produce(producer, fed);
    in_topic += FED;
    (void)usleep(1000 * FETCH_MS);
}

rd_kafka_error_t *__real_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list);
rd_kafka_error_t *__real_rd_kafka_incremental_unassign(rd_kafka_t *rk,
                                                       const rd_kafka_topic_partition_list_t *list);
rd_kafka_error_t *__wrap_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list);
rd_kafka_error_t *__wrap_rd_kafka_incremental_unassign(rd_kafka_t *rk,
                                                       const rd_kafka_topic_partition_list_t *list);

rd_kafka_error_t *__wrap_rd_kafka_incremental_assign(rd_kafka_t *rk,
                                                     const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_error_t *error = __real_rd_kafka_incremental_assign(rk, list);

    stand_still();
    return error;
}

rd_kafka_error_t *__wrap_rd_kafka_incremental_unassign(rd_kafka_t *rk,
                                                       const rd_kafka_topic_partition_list_t *list)
{
    rd_kafka_error_t *error = __real_rd_kafka_incremental_unassign(rk, list);

    stand_still();
    return error;
}

static void begin(const char *topic)
{
    struct err err;

    ok(bus_producer_new(settings, 1, NULL, NULL, &producer, &err), &err);
    produce(producer, topic);
    in_topic = 1;
    fed = NULL;
}

/* ---- the loop ---- */

struct loop {
    struct bus *bus;
    bool ours[PARTITIONS];
    int64_t next[PARTITIONS];
    int skipped; /* offsets that did not come */
};

static void open_loop(struct loop *l, const char *in, const char *out, const char *instance)
{
    const char *const outputs[] = {out};
    char id[80];
    struct err err;

    *l = (struct loop){.bus = NULL};
    (void)snprintf(id, sizeof id, "%s-%s", in, instance);
    const struct bus_options o = {.settings = settings,
                                  .settings_n = 1,
                                  .group_id = in,
                                  .group_instance_id = instance,
                                  .transactional_id = id,
                                  .input_topic = in,
                                  .output_topics = outputs,
                                  .output_topics_n = 1,
                                  .buffer_bytes_max = 1 << 20,
                                  .session_timeout_ms = SESSION_MS,
                                  .transaction_timeout_ms = SESSION_MS};

    ok(bus_new(&o, &l->bus, &err), &err);
}

static void poll_loop(struct loop *l)
{
    struct bus_batch b;
    struct err err;

    ok(bus_poll(l->bus, 20, &b, &err), &err);
    for (unsigned i = 0; i < b.n; i++) {
        const struct bus_event *e = &b.events[i];

        if (e->kind == BUS_ASSIGNED) {
            l->ours[e->partition] = true;
            l->next[e->partition] = 0;
            ok(bus_start(l->bus, e->partition, BUS_FROM_START, &err), &err);
        } else if (e->kind == BUS_REVOKED) {
            l->ours[e->partition] = false;
        } else if (e->kind == BUS_RECORD) {
            assert_true(l->ours[e->partition]);
            l->skipped += (int)(e->offset - l->next[e->partition]);
            l->next[e->partition] = e->offset + 1;
        }
    }
}

/* Until all that is in the topic was handed out, to each its half. */
static void poll_loops(struct loop *first, struct loop *second)
{
    const int64_t end_us = clk_mono_us() + INT64_C(1000) * TIMEOUT_MS;

    for (;;) {
        int full = 0;

        poll_loop(first);
        if (second != NULL)
            poll_loop(second);
        for (int i = 0; i < PARTITIONS; i++)
            full += (first->ours[i] && first->next[i] >= in_topic) ||
                    (second != NULL && second->ours[i] && second->next[i] >= in_topic);
        const bool shared = second == NULL || (first->ours[0] + first->ours[1] == 1 &&
                                               second->ours[0] + second->ours[1] == 1);

        if (full == PARTITIONS && shared)
            return;
        if (clk_mono_us() > end_us)
            fail_msg("%d of %d partitions are read to their end", full, PARTITIONS);
    }
}

static void a_loop_misses_nothing_in_a_rebalance(void **state)
{
    struct loop first;
    struct loop second;
    char in[64];
    char out[64];

    (void)state;
    (void)snprintf(in, sizeof in, "%s.in", prefix);
    (void)snprintf(out, sizeof out, "%s.out", prefix);
    make_topics((const char *const[]){in, out}, 2);
    begin(in);
    open_loop(&first, in, out, "0");
    poll_loops(&first, NULL);
    open_loop(&second, in, out, "1");
    (void)usleep(1000 * JOIN_MS);
    fed = in;
    poll_loops(&first, &second);
    assert_int_equal(first.skipped, 0);
    assert_int_equal(second.skipped, 0);
    bus_free(second.bus);
    bus_free(first.bus);
    bus_producer_free(producer);
}

/* ---- the group consumer ---- */

struct member {
    struct bus_consumer *c;
    int64_t next[PARTITIONS];
    int skipped; /* offsets that did not come behind others */
};

static void join(struct member *m, const char *topic, const char *instance)
{
    const char *const topics[] = {topic};
    const struct bus_consumer_options o = {.settings = settings,
                                           .settings_n = 1,
                                           .group_id = topic,
                                           .group_instance_id = instance,
                                           .topics = topics,
                                           .topics_n = 1,
                                           .session_timeout_ms = SESSION_MS};
    struct err err;

    *m = (struct member){.c = NULL};
    ok(bus_consumer_new(&o, &m->c, &err), &err);
}

static void poll_member(struct member *m)
{
    const struct bus_consumer_record *records;
    unsigned n;
    struct err err;

    ok(bus_consumer_poll(m->c, 20, &records, &n, &err), &err);
    for (unsigned i = 0; i < n; i++) {
        const struct bus_reader_record *r = &records[i].r;

        if (r->offset > m->next[r->partition])
            m->skipped += (int)(r->offset - m->next[r->partition]);
        m->next[r->partition] = r->offset + 1;
    }
}

static bool both_done(const struct member *first, const struct member *second)
{
    int full = 0;

    for (int i = 0; i < PARTITIONS; i++)
        full += first->next[i] >= in_topic || (second != NULL && second->next[i] >= in_topic);
    return full == PARTITIONS && (second == NULL || (bus_consumer_owned(first->c) == 1 &&
                                                     bus_consumer_owned(second->c) == 1));
}

static void poll_members(struct member *first, struct member *second)
{
    const int64_t end_us = clk_mono_us() + INT64_C(1000) * TIMEOUT_MS;

    while (!both_done(first, second)) {
        poll_member(first);
        if (second != NULL)
            poll_member(second);
        assert_true(clk_mono_us() < end_us);
    }
}

static void a_group_consumer_misses_nothing_in_a_rebalance(void **state)
{
    struct member first;
    struct member second;
    char topic[64];
    const char *name = topic;

    (void)state;
    (void)snprintf(topic, sizeof topic, "%s.group", prefix);
    make_topics(&name, 1);
    begin(topic);
    join(&first, topic, "0");
    poll_members(&first, NULL);
    join(&second, topic, "1");
    (void)usleep(1000 * JOIN_MS);
    fed = topic;
    poll_members(&first, &second);
    assert_int_equal(first.skipped, 0);
    assert_int_equal(second.skipped, 0);
    bus_consumer_free(second.c);
    bus_consumer_free(first.c);
    bus_producer_free(producer);
}

/* ---- the end of a member whose rebalance was not answered ---- */

#define FREE_S_MAX 15 /* alarm() ends a test that hangs */

static void a_loop_ends_in_a_rebalance(void **state)
{
    struct loop first;
    struct loop second;
    char in[64];
    char out[64];

    (void)state;
    (void)snprintf(in, sizeof in, "%s.end.in", prefix);
    (void)snprintf(out, sizeof out, "%s.end.out", prefix);
    make_topics((const char *const[]){in, out}, 2);
    begin(in);
    open_loop(&first, in, out, "0");
    poll_loops(&first, NULL);
    open_loop(&second, in, out, "1");
    (void)usleep(1000 * JOIN_MS);
    (void)alarm(FREE_S_MAX);
    bus_free(first.bus);
    bus_free(second.bus);
    (void)alarm(0);
    bus_producer_free(producer);
}

static void a_group_consumer_ends_in_a_rebalance(void **state)
{
    struct member first;
    struct member second;
    char topic[64];
    const char *name = topic;

    (void)state;
    (void)snprintf(topic, sizeof topic, "%s.end.group", prefix);
    make_topics(&name, 1);
    begin(topic);
    join(&first, topic, "0");
    poll_members(&first, NULL);
    join(&second, topic, "1");
    (void)usleep(1000 * JOIN_MS);
    (void)alarm(FREE_S_MAX);
    bus_consumer_free(first.c);
    bus_consumer_free(second.c);
    (void)alarm(0);
    bus_producer_free(producer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_loop_ends_in_a_rebalance),
        cmocka_unit_test(a_group_consumer_ends_in_a_rebalance),
        cmocka_unit_test(a_loop_misses_nothing_in_a_rebalance),
        cmocka_unit_test(a_group_consumer_misses_nothing_in_a_rebalance),
    };

    settings[0] = (struct bus_setting){"bootstrap.servers", getenv("L2FLOW_BOOTSTRAP")};
    (void)snprintf(prefix, sizeof prefix, "rebalance-%ld", (long)getpid());
    return settings[0].value == NULL ? 1 : cmocka_run_group_tests(tests, NULL, NULL);
}
