/* What needs no broker: are settings good, and where does a key belong. */
#include "bus/client.h"
#include "bus/worker.h"

#include <assert.h>
#include <string.h>

/* All that some handle of ours fixes, for a check that is the same for every program. client_conf
 * asserts that none is missing. */
static const char *const fixed_keys[] = {
    "acks",
    "auto.commit.enable",
    "auto.offset.reset",
    "delivery.timeout.ms",
    "enable.auto.commit",
    "enable.auto.offset.store",
    "enable.gapless.guarantee",
    "enable.idempotence",
    "enable.partition.eof",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "isolation.level",
    "message.max.bytes",
    "message.timeout.ms",
    "partition.assignment.strategy",
    "queue.buffering.max.kbytes",
    "queue.buffering.max.messages",
    "request.required.acks",
    "session.timeout.ms",
    "transaction.timeout.ms",
    "transactional.id",
};

#define FIXED_N (sizeof fixed_keys / sizeof fixed_keys[0])

/* With its own time-outs, which what is set must not contradict (max.poll.interval.ms). */
static const struct client_row consumer_defaults[] = {
    {"group.id", "check"}, {"session.timeout.ms", CLIENT_SESSION_MS}, {NULL, NULL}};

bool settings_is_fixed(const char *key)
{
    for (size_t i = 0; i < FIXED_N; i++)
        if (strcmp(fixed_keys[i], key) == 0)
            return true;
    return false;
}

/* These make librdkafka run a program or fetch a token as soon as a handle is there. */
static bool is_active(const struct bus_setting *s)
{
    return (strcmp(s->key, "sasl.mechanism") == 0 || strcmp(s->key, "sasl.mechanisms") == 0) &&
           (strcmp(s->value, "GSSAPI") == 0 || strcmp(s->value, "OAUTHBEARER") == 0);
}

/* A handle without an address connects to nothing, but reads certificates and compares settings
 * with each other and with the rows of that kind of handle. */
static enum err_class make_handle(const struct bus_setting *settings, unsigned settings_n,
                                  rd_kafka_type_t type, const struct client_row *defaults,
                                  const struct client_row *fixed, struct err *err)
{
    struct client client;
    rd_kafka_conf_t *conf;
    rd_kafka_t *rk;
    enum err_class e;

    client_init(&client, NULL, NULL);
    e = client_conf(&client, settings, settings_n, defaults, fixed, &conf, err);
    if (e == ERR_OK) {
        (void)rd_kafka_conf_set(conf, "bootstrap.servers", "", NULL, 0);
        e = client_start(&client, type, conf, &rk, err);
    }
    if (e == ERR_OK)
        rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
    client_free(&client);
    return e;
}

/* The strictest of each kind: what a transactional producer takes, the others take. */
static enum err_class make_handles(const struct bus_setting *settings, unsigned n, struct err *err)
{
    struct client_row fixed[WORKER_FIXED_N];

    worker_fixed("check", "10000", fixed);
    enum err_class e = make_handle(settings, n, RD_KAFKA_PRODUCER, worker_defaults, fixed, err);
    if (e == ERR_OK)
        e = make_handle(settings, n, RD_KAFKA_CONSUMER, consumer_defaults, NULL, err);
    return e;
}

enum err_class bus_settings_check(const struct bus_setting *settings, unsigned settings_n,
                                  struct err *err)
{
    struct client_row fixed[FIXED_N + 1] = {{NULL, NULL}};
    struct client client;
    rd_kafka_conf_t *conf;
    bool active = false;
    enum err_class e;

    for (size_t i = 0; i < FIXED_N; i++)
        fixed[i].key = fixed_keys[i];
    for (unsigned i = 0; i < settings_n; i++)
        active |= is_active(&settings[i]);
    client_init(&client, NULL, NULL);
    e = client_conf(&client, settings, settings_n, NULL, fixed, &conf, err);
    if (e == ERR_OK)
        rd_kafka_conf_destroy(conf);
    client_free(&client);
    return e == ERR_OK && !active ? make_handles(settings, settings_n, err) : e;
}

int32_t bus_partition_of(enum bus_partitioner partitioner, const void *key, size_t key_n,
                         unsigned partitions_n)
{
    assert(key_n > 0 && partitions_n > 0 && partitions_n <= BUS_PARTITIONS_MAX);
    return partitioner == BUS_MURMUR2
               ? rd_kafka_msg_partitioner_murmur2(NULL, key, key_n, (int32_t)partitions_n, NULL,
                                                  NULL)
               : rd_kafka_msg_partitioner_consistent(NULL, key, key_n, (int32_t)partitions_n, NULL,
                                                     NULL);
}
