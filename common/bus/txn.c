/*
 * A transactional producer without a group. One transaction at a time, in steps that can be taken
 * up again: no call waits longer than it is told to, and librdkafka's own calls are resumable.
 */
#include "bus/buffer.h"
#include "bus/client.h"
#include "bus/worker.h"

#include "clk/clk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONNECT_MS_MAX 10000
#define SLICE_MS 500
#define BACKOFF_MS 50
#define LEVEL_NOTICE 5
#define REFUSED_BYTES_MAX 320

enum step { IDLE, BEGIN, PRODUCE, COMMIT, ABORT };

struct bus_txn {
    struct client client;
    rd_kafka_t *rk;
    char *transactional_id;
    char **topics;
    unsigned topics_n;
    struct buffer buffer;
    enum step step;
    struct buffer_record *at; /* PRODUCE: the next one */
    rd_kafka_resp_err_t refused; /* by the client at once, or by a delivery report … */
    char refused_what[REFUSED_BYTES_MAX]; /* … of this record */
};

static void refuse(struct bus_txn *t, rd_kafka_resp_err_t why, const char *topic, int32_t partition,
                   size_t bytes)
{
    t->refused = why;
    (void)snprintf(t->refused_what, sizeof t->refused_what, "topic %.249s, partition %d, %zu bytes",
                   topic, (int)partition, bytes);
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    const struct client *client = opaque;
    struct bus_txn *t = client->owner;

    (void)rk;
    if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR && t->refused == RD_KAFKA_RESP_ERR_NO_ERROR &&
        worker_never_taken(message->err))
        refuse(t, message->err, rd_kafka_topic_name(message->rkt), message->partition,
               message->len);
}

/* ---- one step ---- */

/* What an error of librdkafka's transaction calls means; consumes it. */
static enum err_class judge(struct bus_txn *t, const char *what, rd_kafka_error_t *error,
                            struct err *err)
{
    if (error == NULL)
        return ERR_OK;
    enum err_class e = ERR_RETRY;

    if (rd_kafka_error_txn_requires_abort(error))
        t->step = ABORT;
    else if (rd_kafka_error_is_fatal(error) || !rd_kafka_error_is_retriable(error))
        e = ERR_FATAL;
    (void)err_set(err, e, "%s: transactional id %s: %s: restart", what, t->transactional_id,
                  rd_kafka_error_string(error));
    if (t->step == ABORT || e == ERR_FATAL)
        client_log(&t->client, LEVEL_NOTICE, "kafka: %s: %s: %s", what, rd_kafka_error_name(error),
                   rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return e;
}

static enum err_class begin(struct bus_txn *t, struct err *err)
{
    const enum err_class e = judge(t, "begin", rd_kafka_begin_transaction(t->rk), err);

    if (e == ERR_OK) {
        t->step = PRODUCE;
        t->at = buffer_first(&t->buffer);
        t->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    }
    return e;
}

static rd_kafka_error_t *produce_one(struct bus_txn *t, const struct buffer_record *r)
{
    const rd_kafka_vu_t vus[] = {
        {.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = t->topics[r->topic]},
        {.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = r->partition},
        {.vtype = RD_KAFKA_VTYPE_KEY,
         .u.mem = {.ptr = (void *)(uintptr_t)buffer_key(r), .size = r->key_n}},
        {.vtype = RD_KAFKA_VTYPE_VALUE,
         .u.mem = {.ptr = (void *)(uintptr_t)buffer_value(r), .size = r->value_n}},
        {.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = r->timestamp_ms},
    };

    return rd_kafka_produceva(t->rk, vus, sizeof vus / sizeof vus[0]);
}

/* Payloads are borrowed from the buffer, which stays as it is until the transaction has ended. */
static enum err_class produce(struct bus_txn *t, struct err *err)
{
    while (t->at != NULL) {
        rd_kafka_error_t *const error = produce_one(t, t->at);
        const rd_kafka_resp_err_t code =
            error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);
        if (worker_never_taken(code)) {
            refuse(t, code, t->topics[t->at->topic], t->at->partition, t->at->value_n);
            rd_kafka_error_destroy(error);
            t->step = ABORT;
            return ERR_OK;
        }
        const enum err_class e = judge(t, "produce", error, err);
        if (e != ERR_OK)
            return e;
        t->at = buffer_next(&t->buffer, t->at);
    }
    t->step = COMMIT;
    return ERR_OK;
}

static enum err_class commit(struct bus_txn *t, int timeout_ms, struct err *err)
{
    const enum err_class e =
        judge(t, "commit", rd_kafka_commit_transaction(t->rk, timeout_ms), err);

    if (e == ERR_OK) {
        buffer_clear(&t->buffer);
        t->step = IDLE;
    }
    return e;
}

/* Nothing of it is in the log; the same bytes go into the next one. */
static enum err_class give_up(struct bus_txn *t, int timeout_ms, struct err *err)
{
    const enum err_class e = judge(t, "abort", rd_kafka_abort_transaction(t->rk, timeout_ms), err);

    if (e != ERR_OK)
        return e;
    t->step = BEGIN;
    if (t->refused != RD_KAFKA_RESP_ERR_NO_ERROR)
        return err_set(err, ERR_REJECT,
                       "transactional id %s: a record will never be taken: %s: %s: see the topic's "
                       "settings and this user's rights",
                       t->transactional_id, t->refused_what, rd_kafka_err2str(t->refused));
    return ERR_OK;
}

static enum err_class take_step(struct bus_txn *t, int timeout_ms, struct err *err)
{
    switch (t->step) {
    case IDLE:
        return ERR_OK;
    case BEGIN:
        return begin(t, err);
    case PRODUCE:
        return produce(t, err);
    case COMMIT:
        return commit(t, timeout_ms, err);
    case ABORT:
        return give_up(t, timeout_ms, err);
    }
    return ERR_OK;
}

enum err_class bus_txn_commit(struct bus_txn *t, int timeout_ms, struct err *err)
{
    const int64_t until_us = clk_mono_us() + INT64_C(1000) * timeout_ms;

    if (t->step == IDLE && buffer_first(&t->buffer) != NULL)
        t->step = BEGIN;
    while (t->step != IDLE) {
        const int64_t left_ms = (until_us - clk_mono_us()) / 1000;
        const enum err_class e = take_step(t,
                                           left_ms < 1          ? 1
                                           : left_ms > SLICE_MS ? SLICE_MS
                                                                : (int)left_ms,
                                           err);

        if (e != ERR_OK && e != ERR_RETRY)
            return e;
        if (t->step != IDLE && clk_mono_us() >= until_us)
            return err_set(err, ERR_RETRY, "commit: still under way: is the broker there?");
        if (e == ERR_RETRY)
            (void)rd_kafka_poll(t->rk, BACKOFF_MS);
    }
    return ERR_OK;
}

size_t bus_txn_room(const struct bus_txn *t)
{
    return t->buffer.size - t->buffer.used;
}

bool bus_txn_is_empty(const struct bus_txn *t)
{
    return t->buffer.used == 0;
}

void bus_txn_send(struct bus_txn *t, const struct bus_output *output)
{
    assert(t->step == IDLE && output->topic < t->topics_n && output->headers_n == 0);
    buffer_add(&t->buffer, output);
}

/* ---- birth and death ---- */

static bool copy_names(struct bus_txn *t, const struct bus_txn_options *o)
{
    t->transactional_id = strdup(o->transactional_id);
    t->topics = calloc(o->topics_n, sizeof *t->topics);
    if (t->transactional_id == NULL || t->topics == NULL)
        return false;
    for (unsigned i = 0; i < o->topics_n; i++) {
        t->topics[i] = strdup(o->topics[i]);
        t->topics_n++;
        if (t->topics[i] == NULL)
            return false;
    }
    return true;
}

static enum err_class start(struct bus_txn *t, const struct bus_txn_options *o, struct err *err)
{
    const int64_t until_us = clk_mono_us() + INT64_C(1000) * CONNECT_MS_MAX;
    struct client_row fixed[WORKER_FIXED_N];
    rd_kafka_conf_t *conf;
    char timeout[16];
    enum err_class e;

    (void)snprintf(timeout, sizeof timeout, "%u", o->transaction_timeout_ms);
    worker_fixed(t->transactional_id, timeout, fixed);
    e = client_conf(&t->client, o->settings, o->settings_n, worker_defaults, fixed, &conf, err);
    if (e != ERR_OK)
        return e;
    rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
    e = client_start(&t->client, RD_KAFKA_PRODUCER, conf, &t->rk, err);
    while (e == ERR_OK) {
        rd_kafka_error_t *error = rd_kafka_init_transactions(t->rk, SLICE_MS);
        if (error == NULL)
            break;
        const rd_kafka_resp_err_t code = rd_kafka_error_code(error);
        const bool again = rd_kafka_error_is_retriable(error) && clk_mono_us() < until_us;
        if (!again)
            e = client_err(&t->client, err, t->transactional_id, code,
                           rd_kafka_error_string(error));
        rd_kafka_error_destroy(error);
    }
    return e;
}

enum err_class bus_txn_new(const struct bus_txn_options *options, struct bus_txn **ret_txn,
                           struct err *err)
{
    struct bus_txn *t = calloc(1, sizeof *t);
    enum err_class e = ERR_OK;

    if (t == NULL)
        return err_set(err, ERR_FATAL, "transactions: out of memory");
    client_init(&t->client, options->log, options->log_user);
    t->client.owner = t;
    if (!copy_names(t, options) || !buffer_new(&t->buffer, options->buffer_bytes_max))
        e = err_set(err, ERR_FATAL, "transactions: no memory for a buffer of %zu bytes",
                    options->buffer_bytes_max);
    if (e == ERR_OK)
        e = start(t, options, err);
    if (e != ERR_OK)
        bus_txn_free(t);
    else
        *ret_txn = t;
    return e;
}

void bus_txn_free(struct bus_txn *t)
{
    if (t == NULL)
        return;
    if (t->rk != NULL) { /* as worker.c's drop_producer says */
        (void)rd_kafka_purge(t->rk, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(t->rk);
    }
    for (unsigned i = 0; i < t->topics_n; i++)
        free(t->topics[i]);
    free(t->topics);
    free(t->transactional_id);
    buffer_free(&t->buffer);
    client_free(&t->client);
    free(t);
}
