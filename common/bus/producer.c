/* A plain idempotent producer: at least once across restarts, in order, nothing waits but flush. */
#include "bus/client.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

struct bus_producer {
    struct client client;
    rd_kafka_t *rk;
    uint64_t delivered;
    uint64_t failed;
    uint64_t failed_told;
    rd_kafka_resp_err_t failure; /* the newest */
    char failure_topic[128];
};

static const struct client_row defaults[] = {
    {"partitioner", "murmur2_random"}, /* Java's: murmur2 of the key, any for none */
    {"compression.type", "lz4"},
    {"linger.ms", "5"},
    {NULL, NULL},
};

static const struct client_row fixed[] = {
    {"enable.idempotence", "true"},     {"acks", "all"},
    {"request.required.acks", NULL},    {"transactional.id", NULL},
    {"enable.gapless.guarantee", NULL}, {NULL, NULL},
};

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    const struct client *client = opaque;
    struct bus_producer *p = client->owner;

    (void)rk;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        p->delivered++;
        return;
    }
    p->failed++;
    p->failure = message->err;
    const char *topic = message->rkt == NULL ? "" : rd_kafka_topic_name(message->rkt);
    const size_t n = strnlen(topic, sizeof p->failure_topic - 1);

    memcpy(p->failure_topic, topic, n);
    p->failure_topic[n] = '\0';
}

enum err_class bus_producer_new(const struct bus_setting *settings, unsigned settings_n,
                                bus_log_fn log, void *log_user, struct bus_producer **ret_producer,
                                struct err *err)
{
    struct bus_producer *p = calloc(1, sizeof *p);
    rd_kafka_conf_t *conf;
    enum err_class e;

    if (p == NULL)
        return err_set(err, ERR_FATAL, "producer: out of memory");
    client_init(&p->client, log, log_user);
    p->client.owner = p;
    e = client_conf(&p->client, settings, settings_n, defaults, fixed, &conf, err);
    if (e == ERR_OK) {
        rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
        e = client_start(&p->client, RD_KAFKA_PRODUCER, conf, &p->rk, err);
    }
    if (e != ERR_OK)
        bus_producer_free(p);
    else
        *ret_producer = p;
    return e;
}

static rd_kafka_headers_t *headers_of(const struct bus_output *output)
{
    rd_kafka_headers_t *headers = rd_kafka_headers_new(output->headers_n);

    assert(output->headers_n <= BUS_HEADERS_MAX);
    for (unsigned i = 0; i < output->headers_n; i++)
        (void)rd_kafka_header_add(headers, output->headers[i].name, -1, output->headers[i].value,
                                  (ssize_t)output->headers[i].value_n);
    return headers;
}

enum err_class bus_producer_send(struct bus_producer *p, const char *topic,
                                 const struct bus_output *output, struct err *err)
{
    rd_kafka_vu_t vus[7];
    size_t n = 0;
    rd_kafka_headers_t *headers = output->headers_n > 0 ? headers_of(output) : NULL;

    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = topic};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = output->partition};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = RD_KAFKA_MSG_F_COPY};
    vus[n++] =
        (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_KEY,
                        .u.mem = {.ptr = (void *)(uintptr_t)output->key, .size = output->key_n}};
    vus[n++] = (rd_kafka_vu_t){
        .vtype = RD_KAFKA_VTYPE_VALUE,
        .u.mem = {.ptr = (void *)(uintptr_t)output->value, .size = output->value_n}};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = output->timestamp_ms};
    if (headers != NULL)
        vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};

    rd_kafka_error_t *error = rd_kafka_produceva(p->rk, vus, n);
    enum err_class e = ERR_OK;

    if (error == NULL)
        return e;
    if (headers != NULL)
        rd_kafka_headers_destroy(headers); /* taken over by a success only */
    if (rd_kafka_error_code(error) == RD_KAFKA_RESP_ERR__FATAL)
        e = client_fatal(&p->client, p->rk, "producer", err);
    else
        e = err_set(err, client_class(rd_kafka_error_code(error)),
                    "topic %s: a record of %zu bytes: %s", topic, output->key_n + output->value_n,
                    rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return e;
}

static enum err_class news(struct bus_producer *p, struct err *err)
{
    if (atomic_load(&p->client.fatal))
        return client_fatal(&p->client, p->rk, "producer", err);
    if (p->failed == p->failed_told)
        return ERR_OK;
    const unsigned long long n = p->failed - p->failed_told;

    p->failed_told = p->failed;
    return err_set(err, ERR_REJECT,
                   "topic %s: %llu records were not delivered: %s: they are lost to the topic",
                   p->failure_topic, n, rd_kafka_err2str(p->failure));
}

enum err_class bus_producer_poll(struct bus_producer *p, int timeout_ms, struct err *err)
{
    (void)rd_kafka_poll(p->rk, timeout_ms);
    return news(p, err);
}

enum err_class bus_producer_flush(struct bus_producer *p, int timeout_ms, struct err *err)
{
    const rd_kafka_resp_err_t code = rd_kafka_flush(p->rk, timeout_ms);
    const enum err_class e = news(p, err);

    if (e != ERR_OK || code == RD_KAFKA_RESP_ERR_NO_ERROR)
        return e;
    return client_err(&p->client, err, "flush", code, "not all records were delivered in time");
}

uint64_t bus_producer_delivered(const struct bus_producer *p)
{
    return p->delivered;
}

void bus_producer_free(struct bus_producer *p)
{
    if (p == NULL)
        return;
    if (p->rk != NULL)
        rd_kafka_destroy(p->rk);
    client_free(&p->client);
    free(p);
}
