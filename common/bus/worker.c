#include "bus/worker.h"

#include "clk/clk.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define SLICE_MS 500         /* of every blocking call, so that a stop is heard */
#define BACKOFF_MS_MIN 20    /* between attempts, doubled */
#define BACKOFF_MS_MAX 1000
#define IDLE_POLL_MS 1000
#define POLL_EVERY 512       /* records between looks at delivery reports */
#define QUEUE_FULL_WAIT_MS 10
#define LEVEL_WARNING 4
#define LEVEL_NOTICE 5

/* How an attempt, or a step of it, ended. */
enum verdict {
    V_OK,
    V_AGAIN,   /* nothing was committed: the same bytes in a fresh transaction */
    V_ABORT,   /* abort, then see why */
    V_REFUSED, /* aborted; the group's metadata is outdated */
    V_LATE,    /* out of time or out of order: only a new producer knows */
    V_FATAL,
    V_STOPPED,
};

enum job_state { JOB_NONE, JOB_READY, JOB_RUNNING, JOB_DONE };

struct worker {
    struct worker_options options; /* but for its settings */
    struct client client;
    rd_kafka_conf_t *conf; /* each new producer gets a copy */
    rd_kafka_t *producer;
    rd_kafka_t *consumer;
    rd_kafka_queue_t *queue;
    pthread_t thread;
    bool running; /* the thread was started */
    pthread_mutex_t lock; /* of state, outcome; job and err belong to whoever the state says */
    pthread_cond_t work;  /* state or stop changed */
    pthread_cond_t news;  /* an outcome */
    enum job_state state;
    enum worker_outcome outcome;
    struct worker_job job;
    struct err err;
    atomic_bool done;
    atomic_bool stop;
    atomic_bool tainted;

    /* the thread's own */
    int64_t deadline_us;       /* of the attempt */
    bool renew; /* an EndTxn may still be on its way: fence it before the next transaction */
    bool stood_still; /* this process did not run for a while: another may hold its place */
    rd_kafka_resp_err_t cause; /* why the attempt must be aborted */
    rd_kafka_resp_err_t refused; /* a record that will never be taken, and which */
    const struct buffer_record *refused_record;
};

const struct client_row worker_defaults[] = {
    {"linger.ms", "0"}, /* the commit flushes; waiting for company only delays it */
    {"compression.type", "lz4"},
    {NULL, NULL},
};

static struct timespec mono_in(int timeout_ms)
{
    const int64_t us = clk_mono_us() + INT64_C(1000) * timeout_ms;

    return (struct timespec){.tv_sec = us / CLK_US_PER_S, .tv_nsec = us % CLK_US_PER_S * 1000};
}

/* Sleeps, unless stopped. */
static void pause_ms(struct worker *w, int ms)
{
    const struct timespec until = mono_in(ms);

    (void)pthread_mutex_lock(&w->lock);
    while (!atomic_load(&w->stop) && pthread_cond_timedwait(&w->work, &w->lock, &until) == 0)
        continue;
    (void)pthread_mutex_unlock(&w->lock);
}

static int doubled(int backoff_ms)
{
    return backoff_ms * 2 > BACKOFF_MS_MAX ? BACKOFF_MS_MAX : backoff_ms * 2;
}

bool worker_never_taken(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_MSG_SIZE:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_COMPRESSION_TYPE:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
        return true;
    default:
        return false;
    }
}

static void on_delivery(rd_kafka_t *rk, const rd_kafka_message_t *message, void *opaque)
{
    struct client *client = opaque;
    struct worker *w = client->owner;
    struct buffer_record *record = message->_private;

    (void)rk;
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        record->offset = message->offset;
    } else if (w->refused == RD_KAFKA_RESP_ERR_NO_ERROR && worker_never_taken(message->err)) {
        w->refused = message->err;
        w->refused_record = record;
    }
}

/* Consumes error. */
static enum verdict judge(struct worker *w, const char *step, rd_kafka_error_t *error)
{
    enum verdict v = V_AGAIN;

    if (error == NULL)
        return V_OK;
    const rd_kafka_resp_err_t code = rd_kafka_error_code(error);

    if (rd_kafka_error_is_fatal(error) || code == RD_KAFKA_RESP_ERR__FENCED) {
        (void)err_set(&w->err, ERR_FATAL, "%s: transactional id %s: %s: restart", step,
                      w->options.transactional_id, rd_kafka_error_string(error));
        v = V_FATAL;
    } else if (rd_kafka_error_txn_requires_abort(error)) {
        w->cause = code;
        v = V_ABORT;
    } else if (!rd_kafka_error_is_retriable(error)) {
        (void)err_set(&w->err, ERR_FATAL, "%s: transactional id %s: %s (%s): restart", step,
                      w->options.transactional_id, rd_kafka_error_string(error),
                      rd_kafka_error_name(error));
        v = V_FATAL;
    }
    client_log(&w->client, LEVEL_NOTICE, "kafka: %s: %s: %s", step, rd_kafka_error_name(error),
               rd_kafka_error_string(error));
    rd_kafka_error_destroy(error);
    return v;
}

typedef rd_kafka_error_t *(*step_fn)(struct worker *w);

/* A retriable error is answered by the same call again, with the same arguments, until the
 * deadline. */
static enum verdict step(struct worker *w, const char *name, step_fn call)
{
    int backoff_ms = BACKOFF_MS_MIN;

    for (;;) {
        const int64_t before_us = clk_mono_us();
        const enum verdict v = judge(w, name, call(w));
        const int64_t now_us = clk_mono_us();

        w->stood_still |=
            now_us - before_us > INT64_C(1000) * (SLICE_MS + w->options.session_timeout_ms / 2);
        if (v != V_AGAIN)
            return v;
        if (atomic_load(&w->stop))
            return V_STOPPED;
        if (now_us >= w->deadline_us)
            return V_LATE;
        if (now_us - before_us < INT64_C(1000) * BACKOFF_MS_MIN) {
            pause_ms(w, backoff_ms);
            backoff_ms = doubled(backoff_ms);
        }
    }
}

static rd_kafka_error_t *call_begin(struct worker *w)
{
    return rd_kafka_begin_transaction(w->producer);
}

static rd_kafka_topic_partition_list_t *partitions_of(const struct worker *w, bool with_offsets)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)w->job.n);

    for (unsigned i = 0; i < w->job.n; i++) {
        const struct bus_position *p = &w->job.positions[i];
        rd_kafka_topic_partition_t *to =
            rd_kafka_topic_partition_list_add(list, w->options.input_topic, p->partition);
        const size_t size = strlen(p->metadata);

        if (!with_offsets)
            continue;
        to->offset = p->offset;
        if (size > 0) {
            to->metadata = malloc(size); /* freed with the list, by librdkafka's free() */
            assert(to->metadata != NULL);
            memcpy(to->metadata, p->metadata, size);
            to->metadata_size = size;
        }
    }
    return list;
}

static rd_kafka_error_t *call_send_offsets(struct worker *w)
{
    rd_kafka_topic_partition_list_t *list = partitions_of(w, true);
    rd_kafka_error_t *error =
        rd_kafka_send_offsets_to_transaction(w->producer, list, w->job.group, SLICE_MS);

    rd_kafka_topic_partition_list_destroy(list);
    return error;
}

static rd_kafka_error_t *call_commit(struct worker *w)
{
    return rd_kafka_commit_transaction(w->producer, SLICE_MS);
}

static rd_kafka_error_t *call_abort(struct worker *w)
{
    return rd_kafka_abort_transaction(w->producer, SLICE_MS);
}

static rd_kafka_error_t *call_init(struct worker *w)
{
    return rd_kafka_init_transactions(w->producer, SLICE_MS);
}

/* Payloads are borrowed from the buffer: it stays until the transaction's end is known or the
 * producer is gone. */
static rd_kafka_resp_err_t produce(struct worker *w, struct buffer_record *record)
{
    rd_kafka_vu_t vus[8];
    size_t n = 0;
    rd_kafka_headers_t *headers = NULL;
    size_t cursor = 0;

    if (record->headers_n > 0) {
        headers = rd_kafka_headers_new(record->headers_n);
        for (unsigned i = 0; i < record->headers_n; i++) {
            const struct buffer_header h = buffer_header_at(record, &cursor);

            (void)rd_kafka_header_add(headers, h.name, -1, h.value, (ssize_t)h.value_n);
        }
        vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_HEADERS, .u.headers = headers};
    }
    vus[n++] =
        (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TOPIC, .u.cstr = w->options.topics[record->topic]};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_PARTITION, .u.i32 = record->partition};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_MSGFLAGS, .u.i = 0};
    vus[n++] = (rd_kafka_vu_t){
        .vtype = RD_KAFKA_VTYPE_KEY,
        .u.mem = {.ptr = (void *)(uintptr_t)buffer_key(record), .size = record->key_n}};
    vus[n++] = (rd_kafka_vu_t){
        .vtype = RD_KAFKA_VTYPE_VALUE,
        .u.mem = {.ptr = (void *)(uintptr_t)buffer_value(record), .size = record->value_n}};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_TIMESTAMP, .u.i64 = record->timestamp_ms};
    vus[n++] = (rd_kafka_vu_t){.vtype = RD_KAFKA_VTYPE_OPAQUE, .u.ptr = record};

    rd_kafka_error_t *error = rd_kafka_produceva(w->producer, vus, n);
    const rd_kafka_resp_err_t code =
        error == NULL ? RD_KAFKA_RESP_ERR_NO_ERROR : rd_kafka_error_code(error);

    if (error != NULL && headers != NULL)
        rd_kafka_headers_destroy(headers); /* taken over by a success only */
    rd_kafka_error_destroy(error);
    return code;
}

static enum verdict produce_all(struct worker *w)
{
    unsigned n = 0;

    for (struct buffer_record *r = buffer_first(w->job.buffer); r != NULL;) {
        const rd_kafka_resp_err_t code = r->dead ? RD_KAFKA_RESP_ERR_NO_ERROR : produce(w, r);

        if (code == RD_KAFKA_RESP_ERR__QUEUE_FULL) {
            (void)rd_kafka_poll(w->producer, QUEUE_FULL_WAIT_MS);
            if (atomic_load(&w->stop))
                return V_STOPPED;
            if (clk_mono_us() >= w->deadline_us)
                return V_LATE;
            continue;
        }
        if (code != RD_KAFKA_RESP_ERR_NO_ERROR) {
            w->cause = code; /* __STATE: the transaction has failed already, its abort will tell */
            if (worker_never_taken(code) && w->refused == RD_KAFKA_RESP_ERR_NO_ERROR) {
                w->refused = code;
                w->refused_record = r;
            }
            return V_ABORT;
        }
        if (++n % POLL_EVERY == 0)
            (void)rd_kafka_poll(w->producer, 0);
        r = buffer_next(w->job.buffer, r);
    }
    return V_OK;
}

static enum verdict refusal(struct worker *w)
{
    const struct buffer_record *r = w->refused_record;

    (void)err_set(&w->err, ERR_FATAL,
                  "topic %s: partition %d: a record of %u bytes is refused: %s: check the topic's "
                  "and the client's limits and rights",
                  w->options.topics[r->topic], (int)r->partition, r->key_n + r->value_n,
                  rd_kafka_err2str(w->refused));
    return V_FATAL;
}

/* After an abort: is there a point in trying again? */
static enum verdict why_aborted(struct worker *w)
{
    if (w->refused != RD_KAFKA_RESP_ERR_NO_ERROR)
        return refusal(w);
    switch (w->cause) {
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
        return V_REFUSED;
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_OFFSET_METADATA_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_INVALID_COMMIT_OFFSET_SIZE:
        (void)err_set(&w->err, ERR_FATAL, "commit of offsets of %s: %s: restart",
                      w->options.input_topic, rd_kafka_err2str(w->cause));
        return V_FATAL;
    default:
        return V_AGAIN;
    }
}

static enum verdict abort_and_see(struct worker *w)
{
    enum verdict v;

    w->deadline_us = clk_mono_us() + INT64_C(1000) * w->options.transaction_timeout_ms;
    do {
        v = step(w, "abort", call_abort);
        if (v == V_ABORT) /* the abort itself failed: it is to be repeated */
            pause_ms(w, BACKOFF_MS_MIN);
    } while (v == V_ABORT && !atomic_load(&w->stop) && clk_mono_us() < w->deadline_us);
    if (v == V_OK)
        return why_aborted(w);
    return v == V_ABORT ? V_LATE : v;
}

/* One transaction. V_OK: committed. V_LATE: see end_txn_sent whether it can have been. */
static enum verdict attempt(struct worker *w)
{
    enum verdict v;

    for (struct buffer_record *r = buffer_first(w->job.buffer); r != NULL;
         r = buffer_next(w->job.buffer, r))
        r->offset = -1;
    w->cause = RD_KAFKA_RESP_ERR_NO_ERROR;
    w->refused = RD_KAFKA_RESP_ERR_NO_ERROR;
    atomic_store(&w->client.end_txn_sent, 0);
    atomic_store(&w->client.end_txn_lost, 0);
    w->deadline_us = clk_mono_us() + INT64_C(1000) * w->options.transaction_timeout_ms;
    v = step(w, "begin", call_begin);
    if (v == V_OK)
        v = produce_all(w);
    if (v == V_OK)
        v = step(w, "send offsets", call_send_offsets);
    if (v == V_OK)
        v = step(w, "commit", call_commit);
    /* Once the request to commit went out, an error says nothing: an abort could end up behind it.
     */
    if (v == V_ABORT)
        v = atomic_load(&w->client.end_txn_sent) > 0 ? V_LATE : abort_and_see(w);
    w->renew |= atomic_load(&w->client.end_txn_lost) > 0;
    return v;
}

/*
 * Records that are still on their way are given up first. librdkafka 2.14.2 ends its transactions
 * before its broker threads: a refusal that one of those takes in later (a fenced producer gets one
 * for each partition) frees the text of the first one again, and the heap is broken. rd_kafka_purge
 * comes back when no such answer can be taken in any more.
 */
static void drop_producer(struct worker *w)
{
    if (w->producer != NULL) {
        (void)rd_kafka_purge(w->producer, RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT);
        rd_kafka_destroy(w->producer);
    }
    w->producer = NULL;
    w->client.rk = NULL;
}

/* A producer with its transactions initialised, which fences every older one of this id; until
 * deadline_us or stop. */
static enum verdict make_producer(struct worker *w)
{
    drop_producer(w);
    if (client_start(&w->client, RD_KAFKA_PRODUCER, client_conf_dup(&w->client, w->conf),
                     &w->producer, &w->err) != ERR_OK)
        return V_FATAL;
    const enum verdict v = step(w, "initialise transactions", call_init);

    return v == V_ABORT ? V_LATE : v;
}

/* V_OK or, for ever out of reach, V_STOPPED. */
static enum verdict renew(struct worker *w)
{
    enum verdict v = V_LATE;

    if (watch_expired(w->options.watch)) {
        (void)watch_err(w->options.watch, &w->err);
        return V_FATAL;
    }
    client_log(&w->client, LEVEL_WARNING,
               "kafka: a new producer for transactional id %s: the end of its last "
               "transaction is not known or came late",
               w->options.transactional_id);
    while (v == V_LATE) {
        w->deadline_us = clk_mono_us() + INT64_C(1000) * w->options.transaction_timeout_ms;
        v = make_producer(w);
        if (v == V_LATE)
            pause_ms(w, BACKOFF_MS_MAX);
        if (atomic_load(&w->stop))
            v = V_STOPPED;
    }
    if (v == V_OK)
        w->renew = false;
    return v;
}

static bool equals(const rd_kafka_topic_partition_t *found, const struct bus_position *p)
{
    const size_t size = strlen(p->metadata);

    if (found->offset < 0 || p->offset < 0)
        return found->offset < 0 && p->offset < 0;
    return found->offset == p->offset && found->metadata_size == size &&
           (size == 0 || memcmp(found->metadata, p->metadata, size) == 0);
}

/* The committed offsets of the job's partitions; asks until they are known. The caller destroys the
 * list on V_OK. */
static enum verdict ask_committed(struct worker *w, rd_kafka_topic_partition_list_t **ret_list)
{
    int backoff_ms = BACKOFF_MS_MIN;

    for (;;) {
        rd_kafka_topic_partition_list_t *list = partitions_of(w, false);
        rd_kafka_resp_err_t code = rd_kafka_committed(w->consumer, list, SLICE_MS);

        for (int i = 0; code == RD_KAFKA_RESP_ERR_NO_ERROR && i < list->cnt; i++)
            code = list->elems[i].err;
        if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
            *ret_list = list;
            return V_OK;
        }
        rd_kafka_topic_partition_list_destroy(list);
        if (client_class(code) != ERR_RETRY) {
            (void)err_set(&w->err, ERR_FATAL, "committed offsets of %s: %s: restart",
                          w->options.input_topic, rd_kafka_err2str(code));
            return V_FATAL;
        }
        pause_ms(w, backoff_ms);
        backoff_ms = doubled(backoff_ms);
        if (atomic_load(&w->stop))
            return V_STOPPED;
    }
}

/*
 * The committed offsets decide. When neither an offset nor its metadata moved (bars closed by the
 * clock alone), both answers look the same: then only a rebuild from the outputs can tell.
 */
static enum verdict decide(struct worker *w, enum worker_outcome *ret_outcome)
{
    rd_kafka_topic_partition_list_t *list;
    unsigned now = 0;
    unsigned before = 0;
    const enum verdict v = ask_committed(w, &list);

    if (v != V_OK)
        return v;
    for (unsigned i = 0; i < w->job.n; i++) {
        const rd_kafka_topic_partition_t *found = &list->elems[i]; /* the order is kept */

        assert(found->partition == w->job.positions[i].partition);
        now += equals(found, &w->job.positions[i]);
        before += equals(found, &w->job.previous[i]);
    }
    rd_kafka_topic_partition_list_destroy(list);
    client_log(&w->client, LEVEL_WARNING,
               "kafka: of %u committed offsets %u are those of the last transaction, %u "
               "those before it",
               w->job.n, now, before);
    if (before == w->job.n && now < w->job.n)
        return V_AGAIN;
    *ret_outcome = now == w->job.n && before < w->job.n ? WORKER_COMMITTED : WORKER_REBUILD;
    return V_OK;
}

static enum worker_outcome run_job(struct worker *w)
{
    int backoff_ms = BACKOFF_MS_MIN;
    enum worker_outcome outcome = WORKER_COMMITTED;

    for (;;) {
        enum verdict v = w->renew || w->producer == NULL ? renew(w) : V_OK;

        /* Before the first attempt and after each that is tried again, nothing is committed. */
        if (v == V_OK && atomic_load(&w->tainted))
            return WORKER_REFUSED;
        if (v == V_OK) {
            v = attempt(w);
            if (v == V_LATE) {
                const bool open = atomic_load(&w->client.end_txn_sent) > 0;

                v = renew(w);
                if (v == V_OK)
                    v = open ? decide(w, &outcome) : V_AGAIN;
            }
        }
        switch (v) {
        case V_OK:
            return outcome;
        case V_REFUSED:
            return WORKER_REFUSED;
        case V_FATAL:
            return WORKER_FATAL;
        default:
            break;
        }
        if (atomic_load(&w->stop))
            return WORKER_STOPPED;
        pause_ms(w, backoff_ms);
        backoff_ms = doubled(backoff_ms);
    }
}

static void *thread_main(void *user)
{
    struct worker *w = user;

    (void)pthread_mutex_lock(&w->lock);
    while (!atomic_load(&w->stop)) {
        if (w->state != JOB_READY) {
            const struct timespec until = mono_in(IDLE_POLL_MS);

            if (pthread_cond_timedwait(&w->work, &w->lock, &until) != 0 && w->producer != NULL)
                (void)rd_kafka_poll(w->producer, 0); /* error callbacks: it may be fenced already */
            continue;
        }
        w->state = JOB_RUNNING;
        (void)pthread_mutex_unlock(&w->lock);
        const enum worker_outcome outcome = run_job(w);

        rd_kafka_consumer_group_metadata_destroy(w->job.group);
        (void)pthread_mutex_lock(&w->lock);
        w->job.group = NULL;
        w->outcome = outcome;
        w->state = JOB_DONE;
        atomic_store(&w->done, true);
        (void)pthread_cond_broadcast(&w->news);
        rd_kafka_queue_yield(w->queue);
    }
    (void)pthread_mutex_unlock(&w->lock);
    return NULL;
}

void worker_fixed(const char *transactional_id, const char *timeout_ms,
                  struct client_row ret_fixed[WORKER_FIXED_N])
{
    const struct client_row rows[WORKER_FIXED_N] = {
        /* with their aliases; what a value other than ours would break */
        {"transactional.id", transactional_id},
        {"transaction.timeout.ms", timeout_ms},
        {"enable.idempotence", "true"},
        {"acks", "all"},
        {"request.required.acks", NULL},
        {"enable.gapless.guarantee", NULL},
        {"message.timeout.ms", NULL},
        {"delivery.timeout.ms", NULL},
        {"queue.buffering.max.messages", "0"}, /* bounded by the buffer already */
        {"queue.buffering.max.kbytes", "2147483647"},
        {NULL, NULL},
    };

    memcpy(ret_fixed, rows, sizeof rows);
}

enum err_class worker_new(const struct worker_options *options, struct worker **ret_worker,
                          struct err *err)
{
    char timeout[16];
    struct client_row fixed[WORKER_FIXED_N];
    struct worker *w = calloc(1, sizeof *w);
    pthread_condattr_t attributes;
    enum err_class e;

    if (w == NULL)
        return err_set(err, ERR_FATAL, "bus: out of memory");
    w->options = *options;
    client_init(&w->client, options->log, options->log_user);
    w->client.owner = w;
    (void)pthread_mutex_init(&w->lock, NULL);
    (void)pthread_condattr_init(&attributes);
    (void)pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    (void)pthread_cond_init(&w->work, &attributes);
    (void)pthread_cond_init(&w->news, &attributes);
    (void)pthread_condattr_destroy(&attributes);
    (void)snprintf(timeout, sizeof timeout, "%u", options->transaction_timeout_ms);
    worker_fixed(options->transactional_id, timeout, fixed);
    e = client_conf(&w->client, options->settings, options->settings_n, worker_defaults, fixed,
                    &w->conf, err);
    if (e == ERR_OK) {
        rd_kafka_conf_set_dr_msg_cb(w->conf, on_delivery);
        w->deadline_us = clk_mono_us() + INT64_C(1000) * options->session_timeout_ms;
        const enum verdict v = make_producer(w);

        if (v == V_LATE)
            e = client_err(&w->client, err, "initialise transactions", RD_KAFKA_RESP_ERR__TIMED_OUT,
                           "no answer in time");
        else if (v != V_OK)
            e = err_set(err, ERR_REJECT, "%s", w->err.text);
    }
    if (e != ERR_OK)
        worker_free(w);
    else
        *ret_worker = w;
    return e;
}

enum err_class worker_start(struct worker *w, rd_kafka_t *consumer, rd_kafka_queue_t *queue,
                            struct err *err)
{
    w->consumer = consumer;
    w->queue = queue;
    if (pthread_create(&w->thread, NULL, thread_main, w) != 0)
        return err_set(err, ERR_FATAL, "bus: no thread for the producer");
    w->running = true;
    return ERR_OK;
}

void worker_free(struct worker *w)
{
    if (w == NULL)
        return;
    (void)pthread_mutex_lock(&w->lock);
    atomic_store(&w->stop, true);
    (void)pthread_cond_broadcast(&w->work);
    (void)pthread_mutex_unlock(&w->lock);
    if (w->running)
        (void)pthread_join(w->thread, NULL);
    if (w->job.group != NULL)
        rd_kafka_consumer_group_metadata_destroy(w->job.group);
    drop_producer(w);
    if (w->conf != NULL)
        rd_kafka_conf_destroy(w->conf);
    (void)pthread_cond_destroy(&w->work);
    (void)pthread_cond_destroy(&w->news);
    (void)pthread_mutex_destroy(&w->lock);
    client_free(&w->client);
    free(w);
}

void worker_submit(struct worker *w, const struct worker_job *job)
{
    (void)pthread_mutex_lock(&w->lock);
    assert(w->state == JOB_NONE);
    w->job = *job;
    w->state = JOB_READY;
    atomic_store(&w->tainted, false);
    (void)pthread_cond_broadcast(&w->work);
    (void)pthread_mutex_unlock(&w->lock);
}

bool worker_done(const struct worker *w)
{
    return atomic_load_explicit(&w->done, memory_order_acquire);
}

bool worker_wait(struct worker *w, int timeout_ms)
{
    const struct timespec until = mono_in(timeout_ms);

    (void)pthread_mutex_lock(&w->lock);
    while ((w->state == JOB_READY || w->state == JOB_RUNNING) &&
           pthread_cond_timedwait(&w->news, &w->lock, &until) == 0)
        continue;
    const bool over = w->state == JOB_DONE || w->state == JOB_NONE;

    (void)pthread_mutex_unlock(&w->lock);
    return over;
}

enum worker_outcome worker_take(struct worker *w, struct err *err)
{
    (void)pthread_mutex_lock(&w->lock);
    assert(w->state == JOB_DONE);
    w->state = JOB_NONE;
    atomic_store(&w->done, false);
    const enum worker_outcome outcome = w->outcome;

    if (outcome == WORKER_FATAL)
        *err = w->err;
    (void)pthread_mutex_unlock(&w->lock);
    return outcome;
}

void worker_taint(struct worker *w)
{
    atomic_store(&w->tainted, true);
}
