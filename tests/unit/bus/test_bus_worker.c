/* The worker's producer, on librdkafka's mock of a broker. Seen to fail without rd_kafka_purge in
 * drop_producer: three records were on their way. (In a program that did the same, the answers to
 * them coming within 3 ms, 7 of 91 runs died of a broken heap; with it none.) */
#include "bus/worker.h"

#include <librdkafka/rdkafka_mock.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#define PARTITIONS 4
#define TIMEOUT_MS 10000
#define LATE_MS 3000
#define API_KEY_PRODUCE 0

static int on_their_way; /* records, when the producer was destroyed */

void __real_rd_kafka_destroy(rd_kafka_t *rk);
void __wrap_rd_kafka_destroy(rd_kafka_t *rk);

void __wrap_rd_kafka_destroy(rd_kafka_t *rk)
{
    while (rd_kafka_poll(rk, 0) > 0) /* those whose end is known */
        continue;
    on_their_way = rd_kafka_outq_len(rk);
    __real_rd_kafka_destroy(rk);
}

static rd_kafka_t *new_owner(void)
{
    char text[200];
    rd_kafka_t *rk = rd_kafka_new(RD_KAFKA_PRODUCER, rd_kafka_conf_new(), text, sizeof text);

    assert_non_null(rk);
    return rk;
}

/* The first record's refusal comes at once, the others' later. */
static void fence_late(rd_kafka_mock_cluster_t *cluster)
{
    const rd_kafka_resp_err_t fenced = RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH;

    assert_int_equal(rd_kafka_mock_broker_push_request_error_rtts(
                         cluster, 1, API_KEY_PRODUCE, PARTITIONS, fenced, 0, fenced, LATE_MS,
                         fenced, LATE_MS, fenced, LATE_MS),
                     0);
}

static void submit(struct worker *w, struct buffer *buffer, const struct bus_position *positions)
{
    for (int32_t p = 0; p < PARTITIONS; p++) {
        const struct bus_output o = {.partition = p, .value = "v", .value_n = 1};

        buffer_add(buffer, &o);
    }
    const struct worker_job job = {.buffer = buffer,
                                   .positions = positions,
                                   .previous = positions,
                                   .n = 1,
                                   .group = rd_kafka_consumer_group_metadata_new("group")};

    worker_submit(w, &job);
}

static void nothing_is_on_its_way_when_a_fenced_producer_ends(void **state)
{
    rd_kafka_t *owner = new_owner();
    rd_kafka_mock_cluster_t *cluster = rd_kafka_mock_cluster_new(owner, 1);
    rd_kafka_queue_t *queue = rd_kafka_queue_new(owner);
    const struct bus_setting settings[] = {
        {"bootstrap.servers", rd_kafka_mock_cluster_bootstraps(cluster)}};
    const char *const topics[] = {"out"};
    struct worker_options o = {.settings = settings,
                               .settings_n = 1,
                               .transactional_id = "id",
                               .topics = topics,
                               .input_topic = "in",
                               .session_timeout_ms = TIMEOUT_MS,
                               .transaction_timeout_ms = TIMEOUT_MS};
    const struct bus_position position = {.partition = 0, .offset = 1};
    struct buffer buffer;
    struct worker *w;
    struct err err;

    (void)state;
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "out", PARTITIONS, 1), 0);
    assert_int_equal(rd_kafka_mock_topic_create(cluster, "in", PARTITIONS, 1), 0);
    assert_true(buffer_new(&buffer, 4096));
    assert_int_equal(watch_new(TIMEOUT_MS, &o.watch, &err), ERR_OK);
    assert_int_equal(worker_new(&o, &w, &err), ERR_OK);
    assert_int_equal(worker_start(w, owner, queue, &err), ERR_OK);
    fence_late(cluster);
    submit(w, &buffer, &position);
    assert_true(worker_wait(w, TIMEOUT_MS));
    assert_int_equal(worker_take(w, &err), WORKER_FATAL);
    assert_non_null(strstr(err.text, "fenced"));
    on_their_way = -1;
    worker_free(w);
    assert_int_equal(on_their_way, 0);
    watch_free(o.watch);
    buffer_free(&buffer);
    rd_kafka_queue_destroy(queue);
    rd_kafka_mock_cluster_destroy(cluster);
    __real_rd_kafka_destroy(owner);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nothing_is_on_its_way_when_a_fenced_producer_ends),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
