#include "bus/client.h"

#include "clk/clk.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#define LAST_POLLS 16 /* more than a fenced member has waiting: errors and one rebalance */
#define API_KEY_END_TXN 26

#define LEVEL_ERROR 3 /* syslog's */
#define LEVEL_NOTICE 5

/* What librdkafka's own defaults get wrong for us; a caller may say otherwise. */
static const struct client_row common_defaults[] = {
    {"client.id", "l2flow"},
    {"enable.metrics.push", "false"}, /* librdkafka #5577 */
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "1000"}, /* 10 s would be most of an outage */
    {"retry.backoff.ms", "50"},
    {"retry.backoff.max.ms", "500"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {NULL, NULL},
};

void client_init(struct client *client, bus_log_fn log, void *log_user)
{
    memset(client, 0, sizeof *client);
    client->log = log;
    client->log_user = log_user;
    (void)pthread_mutex_init(&client->lock, NULL);
    (void)pthread_mutex_init(&client->limit_lock, NULL);
}

void client_free(struct client *client)
{
    (void)pthread_mutex_destroy(&client->limit_lock);
    (void)pthread_mutex_destroy(&client->lock);
}

void client_log(const struct client *client, int level, const char *format, ...)
{
    char text[512];
    va_list args;

    if (client->log == NULL)
        return;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args);
    va_end(args);
    client->log(client->log_user, level, text);
}

bool client_connected(const struct client *client)
{
    return atomic_load_explicit(&client->brokers_up, memory_order_relaxed) != 0;
}

static void tell_limited(struct client *client, int level, const char *kind, const char *from,
                         const char *text)
{
    unsigned held = 0;

    (void)pthread_mutex_lock(&client->limit_lock);
    const bool passes = limit_pass(&client->limit, kind, clk_mono_us(), &held);
    (void)pthread_mutex_unlock(&client->limit_lock);
    if (passes && held > 0)
        client_log(client, level, "%s %s: %.380s (and %u more like it before)", from, kind, text,
                   held);
    else if (passes)
        client_log(client, level, "%s %s: %s", from, kind, text);
}

static void on_log(const rd_kafka_t *rk, int level, const char *facility, const char *text)
{
    struct client *client = rd_kafka_opaque(rk);

    /* Settings are shared by consumers and producers, so each meets keys of the other. */
    if (client == NULL || strcmp(facility, "CONFWARN") == 0)
        return;
    tell_limited(client, level, facility, "librdkafka", text);
}

static void on_error(rd_kafka_t *rk, int code, const char *reason, void *opaque)
{
    struct client *client = opaque;

    (void)rk;
    if (code == RD_KAFKA_RESP_ERR__FATAL) {
        atomic_store(&client->fatal, true);
        return;
    }
    (void)pthread_mutex_lock(&client->lock);
    /* "all brokers down" says less than what came before it. */
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
        client->error == RD_KAFKA_RESP_ERR_NO_ERROR) {
        const char *const detail = strstr(reason, " (after "); /* 0ms in state CONNECT, … */
        client->error = (rd_kafka_resp_err_t)code;
        (void)snprintf(client->error_text, sizeof client->error_text, "%.*s",
                       (int)(detail != NULL ? (size_t)(detail - reason) : strlen(reason)), reason);
    }
    (void)pthread_mutex_unlock(&client->lock);
    tell_limited(client, LEVEL_NOTICE, rd_kafka_err2name((rd_kafka_resp_err_t)code),
                 "kafka:", reason);
}

/*
 * Why OpenSSL refuses a certificate, in our words: librdkafka's text says only that it was. The
 * decision stays OpenSSL's. Its numbers are part of its stable interface (x509_vfy.h).
 */
static const char *certificate_fault(int x509_error)
{
    switch (x509_error) {
    case 9:
        return "the broker's certificate is not valid yet: is the clock right?";
    case 10:
        return "the broker's certificate has expired";
    case 18: /* of itself */
    case 19: /* the chain's root */
    case 20:
    case 21:
        return "the broker's certificate is of another authority than ssl.ca.location holds";
    case 62:
    case 64: /* an address */
        return "the broker's certificate is for another host name";
    default:
        return "the broker's certificate cannot be verified";
    }
}

static int on_certificate(rd_kafka_t *rk, const char *broker, int32_t broker_id, int *x509_error,
                          int depth, const char *certificate, size_t size, char *text,
                          size_t text_size, void *opaque)
{
    struct client *client = opaque;

    (void)rk, (void)broker_id, (void)depth, (void)certificate, (void)size;
    if (*x509_error == 0)
        return 1;
    (void)snprintf(text, text_size, "%s (OpenSSL %d)", certificate_fault(*x509_error), *x509_error);
    (void)pthread_mutex_lock(&client->lock);
    (void)snprintf(client->certificate_text, sizeof client->certificate_text, "%.60s: %s", broker,
                   certificate_fault(*x509_error));
    (void)pthread_mutex_unlock(&client->lock);
    return 0;
}

static rd_kafka_resp_err_t on_broker_state(rd_kafka_t *rk, int32_t broker_id, const char *protocol,
                                           const char *name, int port, const char *state,
                                           void *opaque)
{
    struct client *client = opaque;

    (void)rk, (void)protocol, (void)name, (void)port;
    if (broker_id >= 0) {
        const unsigned long long bit = 1ULL << (broker_id % 64);

        if (strcmp(state, "UP") == 0) {
            (void)atomic_fetch_or(&client->brokers_up, bit);
            atomic_store(&client->was_connected, true);
        } else {
            (void)atomic_fetch_and(&client->brokers_up, ~bit);
        }
    }
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

/*
 * librdkafka repeats an EndTxn whose answer is lost; the first may then still reach the broker,
 * after the next transaction began (there is no KIP-890 in librdkafka), and end that one. The
 * worker watches these counters.
 */
static rd_kafka_resp_err_t on_sent(rd_kafka_t *rk, int sockfd, const char *broker,
                                   int32_t broker_id, int16_t api_key, int16_t api_version,
                                   int32_t correlation_id, size_t size, void *opaque)
{
    struct client *client = opaque;

    (void)rk, (void)sockfd, (void)broker, (void)broker_id, (void)api_version, (void)correlation_id,
        (void)size;
    if (api_key == API_KEY_END_TXN)
        (void)atomic_fetch_add(&client->end_txn_sent, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_received(rd_kafka_t *rk, int sockfd, const char *broker,
                                       int32_t broker_id, int16_t api_key, int16_t api_version,
                                       int32_t correlation_id, size_t size, int64_t rtt,
                                       rd_kafka_resp_err_t code, void *opaque)
{
    struct client *client = opaque;

    (void)rk, (void)sockfd, (void)broker, (void)broker_id, (void)api_version, (void)correlation_id,
        (void)size;
    (void)rtt;
    if (api_key == API_KEY_END_TXN && code != RD_KAFKA_RESP_ERR_NO_ERROR)
        (void)atomic_fetch_add(&client->end_txn_lost, 1);
    return RD_KAFKA_RESP_ERR_NO_ERROR;
}

static rd_kafka_resp_err_t on_new(rd_kafka_t *rk, const rd_kafka_conf_t *conf, void *opaque,
                                  char *text, size_t text_size)
{
    (void)conf, (void)text, (void)text_size;
    (void)rd_kafka_interceptor_add_on_broker_state_change(rk, "l2flow", on_broker_state, opaque);
    (void)rd_kafka_interceptor_add_on_request_sent(rk, "l2flow", on_sent, opaque);
    return rd_kafka_interceptor_add_on_response_received(rk, "l2flow", on_received, opaque);
}

static enum err_class set_row(rd_kafka_conf_t *conf, const char *key, const char *value,
                              struct err *err)
{
    char text[200];

    if (rd_kafka_conf_set(conf, key, value, text, sizeof text) == RD_KAFKA_CONF_OK)
        return ERR_OK;
    return err_set(err, ERR_REJECT, "kafka setting %s: %s: see librdkafka's CONFIGURATION.md", key,
                   text);
}

static enum err_class set_rows(rd_kafka_conf_t *conf, const struct client_row *rows,
                               struct err *err)
{
    enum err_class e = ERR_OK;

    for (; e == ERR_OK && rows != NULL && rows->key != NULL; rows++)
        if (rows->value != NULL)
            e = set_row(conf, rows->key, rows->value, err);
    return e;
}

static bool names_row(const struct client_row *rows, const char *key)
{
    for (; rows != NULL && rows->key != NULL; rows++)
        if (strcmp(rows->key, key) == 0)
            return true;
    return false;
}

static enum err_class set_settings(struct client *client, rd_kafka_conf_t *conf,
                                   const struct bus_setting *settings, unsigned settings_n,
                                   const struct client_row *fixed, struct err *err)
{
    for (unsigned i = 0; i < settings_n; i++) {
        const struct bus_setting *s = &settings[i];

        if (names_row(fixed, s->key))
            return err_set(err, ERR_REJECT,
                           "kafka setting %s: its value is fixed, and what is promised depends on "
                           "it: remove it",
                           s->key);
        const enum err_class e = set_row(conf, s->key, s->value, err);

        if (e != ERR_OK)
            return e;
        if (strcmp(s->key, "bootstrap.servers") == 0 || strcmp(s->key, "metadata.broker.list") == 0)
            (void)snprintf(client->address, sizeof client->address, "%s", s->value);
    }
    if (client->address[0] == '\0')
        return err_set(err, ERR_REJECT,
                       "kafka setting bootstrap.servers: not set: name a broker, host:port");
    return ERR_OK;
}

enum err_class client_conf(struct client *client, const struct bus_setting *settings,
                           unsigned settings_n, const struct client_row *defaults,
                           const struct client_row *fixed, rd_kafka_conf_t **ret_conf,
                           struct err *err)
{
    rd_kafka_conf_t *conf = rd_kafka_conf_new();
    enum err_class e = set_rows(conf, common_defaults, err);

    for (const struct client_row *row = fixed; row != NULL && row->key != NULL; row++)
        assert(settings_is_fixed(row->key));

    if (e == ERR_OK)
        e = set_rows(conf, defaults, err);
    if (e == ERR_OK)
        e = set_settings(client, conf, settings, settings_n, fixed, err);
    if (e == ERR_OK)
        e = set_rows(conf, fixed, err);
    if (e != ERR_OK) {
        rd_kafka_conf_destroy(conf);
        return e;
    }
    rd_kafka_conf_set_opaque(conf, client);
    rd_kafka_conf_set_log_cb(conf, on_log);
    rd_kafka_conf_set_error_cb(conf, on_error);
    (void)rd_kafka_conf_set_ssl_cert_verify_cb(conf, on_certificate);
    (void)rd_kafka_conf_interceptor_add_on_new(conf, "l2flow", on_new, client);
    *ret_conf = conf;
    return ERR_OK;
}

rd_kafka_conf_t *client_conf_dup(struct client *client, const rd_kafka_conf_t *conf)
{
    rd_kafka_conf_t *copy = rd_kafka_conf_dup(conf);

    (void)rd_kafka_conf_interceptor_add_on_new(copy, "l2flow", on_new, client);
    return copy;
}

/* OpenSSL says "PEM lib" of a key that it cannot decrypt. */
static enum err_class key_err(const rd_kafka_conf_t *conf, struct err *err)
{
    char path[128] = "";
    size_t path_n = sizeof path;
    size_t password_n = 0; /* with its NUL */

    (void)rd_kafka_conf_get(conf, "ssl.key.location", path, &path_n);
    const bool has_password =
        rd_kafka_conf_get(conf, "ssl.key.password", NULL, &password_n) == RD_KAFKA_CONF_OK &&
        password_n > 1;
    return err_set(err, ERR_REJECT, "kafka.ssl.key.location: %s: cannot be read: %s", path,
                   has_password ? "no key, or not one of the password in ssl_key_password_file"
                                : "no key, or an encrypted one: give its password in "
                                  "ssl_key_password_file");
}

enum err_class client_start(struct client *client, rd_kafka_type_t type, rd_kafka_conf_t *conf,
                            rd_kafka_t **ret_rk, struct err *err)
{
    char text[200];

    atomic_store(&client->fatal, false);
    atomic_store(&client->brokers_up, 0);
    atomic_store(&client->was_connected, false);
    client->begun_us = clk_mono_us();
    rd_kafka_t *rk = rd_kafka_new(type, conf, text, sizeof text);

    if (rk == NULL) {
        const bool is_key = strncmp(text, "ssl.key.location", strlen("ssl.key.location")) == 0;
        const enum err_class e =
            is_key ? key_err(conf, err)
                   : err_set(err, ERR_REJECT,
                             "kafka settings: %s: see librdkafka's CONFIGURATION.md", text);

        rd_kafka_conf_destroy(conf);
        return e;
    }
    client->rk = rk;
    *ret_rk = rk;
    return ERR_OK;
}

enum err_class client_new(struct client *client, rd_kafka_type_t type,
                          const struct bus_setting *settings, unsigned settings_n,
                          const struct client_row *defaults, const struct client_row *fixed,
                          rd_kafka_t **ret_rk, struct err *err)
{
    rd_kafka_conf_t *conf;
    const enum err_class e = client_conf(client, settings, settings_n, defaults, fixed, &conf, err);

    return e == ERR_OK ? client_start(client, type, conf, ret_rk, err) : e;
}

static const struct client_row member_defaults[] = {
    {"fetch.wait.max.ms",
     "50"}, /* how long an idle fetch blocks a partition that was just started */
    {"fetch.queue.backoff.ms", "20"}, /* a second by default: the queue ran dry in the meantime */
    {"queued.max.messages.kbytes", "65536"},
    {"heartbeat.interval.ms", "1000"},
    /* The longest there is: a partition's log is folded between two polls, however long that takes.
       A loop that hangs is /healthz's to tell, one that stood still is the watch's. */
    {"max.poll.interval.ms", "86400000"},
    {"socket.timeout.ms", "10000"},
    {NULL, NULL},
};

static void on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                         rd_kafka_topic_partition_list_t *list, void *opaque)
{
    const struct client *client = opaque;

    if (client->ending)
        (void)rd_kafka_assign(rk, NULL); /* of a group that ends, or is fenced: gives all back */
    else
        client->on_rebalance(rk, code, list, opaque);
}

enum err_class client_new_member(struct client *client, const struct bus_setting *settings,
                                 unsigned settings_n, const char *group_id, const char *instance_id,
                                 unsigned session_timeout_ms, client_rebalance_fn on_its_rebalance,
                                 rd_kafka_t **ret_rk, struct err *err)
{
    char session[16];
    const struct client_row fixed[] = {
        {"group.id", group_id},
        {"group.instance.id", instance_id},
        {"group.protocol", "classic"},
        {"session.timeout.ms", session},
        {"partition.assignment.strategy", "cooperative-sticky"},
        {"enable.auto.commit", "false"},
        {"auto.commit.enable", NULL},
        {"enable.auto.offset.store", "false"},
        {"enable.partition.eof", "true"},
        {"isolation.level", "read_committed"},
        /* Only for an offset that the log no longer has. Who maps the records sees the jump. */
        {"auto.offset.reset", "earliest"},
        {NULL, NULL},
    };
    rd_kafka_conf_t *conf;

    (void)snprintf(session, sizeof session, "%u", session_timeout_ms);
    const enum err_class e =
        client_conf(client, settings, settings_n, member_defaults, fixed, &conf, err);
    if (e != ERR_OK)
        return e;
    client->on_rebalance = on_its_rebalance;
    rd_kafka_conf_set_rebalance_cb(conf, on_rebalance);
    return client_start(client, RD_KAFKA_CONSUMER, conf, ret_rk, err);
}

rd_kafka_resp_err_t client_subscribe(rd_kafka_t *rk, const char *const *topics, unsigned n)
{
    rd_kafka_topic_partition_list_t *list = rd_kafka_topic_partition_list_new((int)n);

    for (unsigned i = 0; i < n; i++)
        (void)rd_kafka_topic_partition_list_add(list, topics[i], RD_KAFKA_PARTITION_UA);
    const rd_kafka_resp_err_t code = rd_kafka_subscribe(rk, list);

    rd_kafka_topic_partition_list_destroy(list);
    return code;
}

/*
 * In librdkafka 2.14.2 a handle that is destroyed without a close while a cooperative rebalance
 * waits in its queue waits for ever: its group never ends. A close serves what waits; but it waits
 * for ever itself where the callback was served and gave no answer, with which a destroy can live.
 * A fenced member cannot be closed: what waits there is served by hand.
 */
void client_end_member(struct client *client, rd_kafka_t *rk)
{
    if (rk == NULL)
        return;
    client->ending = true;
    if (!client->unanswered && rd_kafka_consumer_close(rk) != RD_KAFKA_RESP_ERR_NO_ERROR) {
        for (int i = 0; i < LAST_POLLS; i++) {
            rd_kafka_message_t *m = rd_kafka_consumer_poll(rk, 0);
            if (m != NULL)
                rd_kafka_message_destroy(m);
        }
    }
    rd_kafka_destroy_flags(rk, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

enum err_class client_class(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
        return ERR_OK;
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__WAIT_CACHE:
    case RD_KAFKA_RESP_ERR__QUEUE_FULL:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR_CONCURRENT_TRANSACTIONS:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
        return ERR_RETRY;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR__STATE:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
        return ERR_FATAL;
    default:
        return ERR_REJECT;
    }
}

bool client_ends_consumer(rd_kafka_resp_err_t code)
{
    switch (code) {
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_INVALID_SESSION_TIMEOUT:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_GROUP_MAX_SIZE_REACHED:
        return true;
    default:
        return false;
    }
}

/* Under the lock. */
static bool is_refusal(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR__AUTHENTICATION || code == RD_KAFKA_RESP_ERR__SSL ||
           code == RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED;
}

bool client_refused(struct client *client)
{
    if (client->rk != NULL)
        (void)rd_kafka_poll(client->rk, 0);
    (void)pthread_mutex_lock(&client->lock);
    const bool refused = is_refusal(client->error) && !client_connected(client);
    (void)pthread_mutex_unlock(&client->lock);
    return refused;
}

static bool is_unauthorized(rd_kafka_resp_err_t code)
{
    return code == RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED ||
           code == RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED;
}

/* What stopped the connection: the certificate's fault says more than librdkafka's text. */
static enum err_class unreachable(struct client *client, struct err *err, const char *what,
                                  const char *text)
{
    (void)pthread_mutex_lock(&client->lock);
    const bool refused = is_refusal(client->error);
    const bool told = client->error_text[0] != '\0' && !client_connected(client);

    if (client->error == RD_KAFKA_RESP_ERR__SSL && client->certificate_text[0] != '\0')
        text = client->certificate_text;
    else if (told)
        text = client->error_text;
    if (refused)
        (void)err_set(err, ERR_REJECT, "%s: %s: %.120s: check the client's login and certificates",
                      what, client->address, text);
    else if (atomic_load(&client->was_connected))
        (void)err_set(err, ERR_RETRY, "%s: %s: %.120s: is the broker up?", what, client->address,
                      text);
    else
        (void)err_set(err, ERR_RETRY,
                      "%s: %s: %.120s: no broker in %.0f s: is it up, and is "
                      "kafka.bootstrap.servers right?",
                      what, client->address, text,
                      (double)(clk_mono_us() - client->begun_us) / 1e6);
    (void)pthread_mutex_unlock(&client->lock);
    return err->class;
}

enum err_class client_err(struct client *client, struct err *err, const char *what,
                          rd_kafka_resp_err_t code, const char *text)
{
    const enum err_class class = client_class(code);

    if (client->rk != NULL)
        (void)rd_kafka_poll(client->rk, 0); /* on_error, for the reason behind a time-out */
    if (class == ERR_RETRY)
        return unreachable(client, err, what, text);
    if (is_unauthorized(code)) /* Kafka's own text can be a page that does not name the right */
        return err_set(err, class, "%s: %s: %s: l2ctl acls check names the right that is absent",
                       what, client->address, rd_kafka_err2str(code));
    return err_set(err, class, "%s: %s: %s", what, client->address, text);
}

enum err_class client_fatal(struct client *client, rd_kafka_t *rk, const char *what,
                            struct err *err)
{
    char text[200] = "";
    const rd_kafka_resp_err_t code = rd_kafka_fatal_error(rk, text, sizeof text);

    client_log(client, LEVEL_ERROR, "kafka: fatal: %s: %s", rd_kafka_err2name(code), text);
    return err_set(err, ERR_FATAL, "%s: %s: %s: restart", what, rd_kafka_err2name(code), text);
}
