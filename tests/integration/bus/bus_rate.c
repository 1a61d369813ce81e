/*
 * How fast a topic is read: by bus_poll, or by librdkafka's batch call alone with the same settings
 * (the yardstick). Touches one byte of each value, so that both bring it into
 * the cache.
 *
 *   bus_rate fill BOOTSTRAP TOPIC RECORDS BYTES | bus_rate bus|bare BOOTSTRAP TOPIC OUT GROUP
 */
#include "bus/bus.h"
#include "clk/clk.h"

#include <inttypes.h>
#include <librdkafka/rdkafka.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define IDLE_MS_MAX 30000

static volatile uint64_t sum;

static int64_t cpu_us(void)
{
    struct rusage u;

    (void)getrusage(RUSAGE_SELF, &u);
    return (u.ru_utime.tv_sec + u.ru_stime.tv_sec) * CLK_US_PER_S + u.ru_utime.tv_usec +
           u.ru_stime.tv_usec;
}

static int report(const char *what, uint64_t n, int64_t us, int64_t cpu)
{
    printf("%s records=%" PRIu64 " rate=%.0f cpu_ns=%.1f\n", what, n, (double)n * 1e6 / (double)us,
           (double)cpu * 1e3 / (double)n);
    return 0;
}

static int fail(const struct err *err)
{
    fprintf(stderr, "bus_rate: %s\n", err->text);
    return 1;
}

static int fill(const char *bootstrap, const char *topic, long records, size_t bytes)
{
    const struct bus_setting settings[] = {{"bootstrap.servers", bootstrap}, {"linger.ms", "50"}};
    struct bus_producer *p;
    struct err err;
    char *value = malloc(bytes + 1);

    if (value == NULL || bus_producer_new(settings, 2, NULL, NULL, &p, &err) != ERR_OK)
        return 1;
    for (size_t i = 0; i < bytes; i++)
        value[i] = (char)(i * 7919 >> 3);
    for (long i = 0; i < records; i++) {
        char key[16];
        const int key_n = snprintf(key, sizeof key, "S%ld", i % 50);
        const struct bus_output o = {
            .partition = -1, .key = key, .key_n = (size_t)key_n, .value = value, .value_n = bytes};

        while (bus_producer_send(p, topic, &o, &err) == ERR_RETRY)
            if (bus_producer_poll(p, 10, &err) != ERR_OK)
                return fail(&err);
        if (i % 1000 == 0 && bus_producer_poll(p, 0, &err) != ERR_OK)
            return fail(&err);
    }
    if (bus_producer_flush(p, 60000, &err) != ERR_OK)
        return fail(&err);
    printf("filled %" PRIu64 "\n", bus_producer_delivered(p));
    bus_producer_free(p);
    free(value);
    return 0;
}

static int read_bus(const char *bootstrap, const char *topic, const char *out, const char *group)
{
    const struct bus_setting settings[] = {{"bootstrap.servers", bootstrap}};
    const struct bus_options o = {.settings = settings,
                                  .settings_n = 1,
                                  .group_id = group,
                                  .group_instance_id = "0",
                                  .transactional_id = group,
                                  .input_topic = topic,
                                  .output_topics = &out,
                                  .output_topics_n = 1,
                                  .buffer_bytes_max = 1 << 20,
                                  .session_timeout_ms = 10000,
                                  .transaction_timeout_ms = 10000};
    struct bus *bus;
    struct err err;
    uint64_t n = 0;
    unsigned ended = 0;
    int64_t begin_us = 0;
    int64_t cpu = 0;

    if (bus_new(&o, &bus, &err) != ERR_OK)
        return fail(&err);
    while (ended < bus_partitions(bus)) {
        struct bus_batch batch;

        if (bus_poll(bus, 100, &batch, &err) != ERR_OK)
            return fail(&err);
        for (unsigned i = 0; i < batch.n; i++) {
            const struct bus_event *e = &batch.events[i];

            if (e->kind == BUS_RECORD) {
                sum += e->value[0];
                if (n++ == 0) {
                    begin_us = clk_mono_us();
                    cpu = cpu_us();
                }
            } else if (e->kind == BUS_END) {
                ended++;
            } else if (e->kind == BUS_ASSIGNED &&
                       bus_start(bus, e->partition, BUS_FROM_START, &err) != ERR_OK) {
                return fail(&err);
            }
        }
    }
    (void)report("bus", n, clk_mono_us() - begin_us, cpu_us() - cpu);
    bus_free(bus);
    return 0;
}

static rd_kafka_t *bare_consumer(const char *bootstrap, const char *group)
{
    static const char *const settings[][2] = {
        {"enable.partition.eof", "true"}, {"auto.offset.reset", "earliest"},
        {"enable.auto.commit", "false"},  {"fetch.wait.max.ms", "50"},
        {"fetch.queue.backoff.ms", "20"}, {"queued.min.messages", "100000"}};
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    char text[200];

    (void)rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, text, sizeof text);
    (void)rd_kafka_conf_set(conf, "group.id", group, text, sizeof text);
    for (size_t i = 0; i < sizeof settings / sizeof settings[0]; i++)
        (void)rd_kafka_conf_set(conf, settings[i][0], settings[i][1], text, sizeof text);
    return rd_kafka_new(RD_KAFKA_CONSUMER, conf, text, sizeof text);
}

static int read_bare(const char *bootstrap, const char *topic, const char *group)
{
    rd_kafka_t *rk = bare_consumer(bootstrap, group);
    const struct rd_kafka_metadata *metadata;
    rd_kafka_topic_t *handle = rd_kafka_topic_new(rk, topic, NULL);
    static rd_kafka_message_t *messages[BUS_BATCH_MAX];
    uint64_t n = 0;
    int ended = 0;
    int64_t begin_us = 0;
    int64_t cpu = 0;

    if (rd_kafka_metadata(rk, 0, handle, &metadata, 10000) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return 1;
    const int partitions = metadata->topics[0].partition_cnt;
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new(partitions);

    rd_kafka_metadata_destroy(metadata);
    for (int i = 0; i < partitions; i++)
        rd_kafka_topic_partition_list_add(list, topic, i)->offset = RD_KAFKA_OFFSET_BEGINNING;
    (void)rd_kafka_poll_set_consumer(rk);
    (void)rd_kafka_assign(rk, list);
    rd_kafka_queue_t *queue = rd_kafka_queue_get_consumer(rk);

    while (ended < partitions) {
        const ssize_t got = rd_kafka_consume_batch_queue(queue, 100, messages, BUS_BATCH_MAX);

        for (ssize_t i = 0; i < got; i++) {
            const rd_kafka_message_t *m = messages[i];

            if (m->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
                sum += ((const uint8_t *)m->payload)[0];
                if (n++ == 0) {
                    begin_us = clk_mono_us();
                    cpu = cpu_us();
                }
            } else {
                ended += m->err == RD_KAFKA_RESP_ERR__PARTITION_EOF;
            }
        }
        for (ssize_t i = 0; i < got; i++)
            rd_kafka_message_destroy(messages[i]);
    }
    (void)report("bare", n, clk_mono_us() - begin_us, cpu_us() - cpu);
    rd_kafka_topic_partition_list_destroy(list);
    rd_kafka_queue_destroy(queue);
    rd_kafka_topic_destroy(handle);
    (void)rd_kafka_consumer_close(rk);
    rd_kafka_destroy(rk);
    return 0;
}

int main(int argc, char **argv)
{
    if (argc != 6)
        return 64;
    if (strcmp(argv[1], "fill") == 0)
        return fill(argv[2], argv[3], strtol(argv[4], NULL, 10), strtoul(argv[5], NULL, 10));
    if (strcmp(argv[1], "bus") == 0)
        return read_bus(argv[2], argv[3], argv[4], argv[5]);
    return read_bare(argv[2], argv[3], argv[5]);
}
