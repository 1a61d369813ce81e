/* client.h: what every librdkafka handle of ours has: settings, log, last error, connection state.
 * Private to common/bus. */
#ifndef BUS_CLIENT_H
#define BUS_CLIENT_H

#include "bus/bus.h"
#include "bus/limit.h"

#include <librdkafka/rdkafka.h>
#include <pthread.h>
#include <stdatomic.h>

#define CLIENT_ADDRESS_BYTES_MAX 128
#define CLIENT_TEXT_BYTES_MAX 160
/* For consumers whose maker names no session: max.poll.interval.ms must not be shorter. */
#define CLIENT_SESSION_MS "10000"

typedef void (*client_rebalance_fn)(rd_kafka_t *, rd_kafka_resp_err_t,
                                    rd_kafka_topic_partition_list_t *, void *);

/* Outlives its handle; its address must not change. Callbacks run on librdkafka's threads. */
struct client {
    bus_log_fn log;
    void *log_user;
    void *owner;    /* of the rebalance callback */
    client_rebalance_fn on_rebalance;
    bool unanswered; /* on_rebalance left it so, since an answer would do harm */
    bool ending;     /* client_end_member */
    rd_kafka_t
        *rk; /* to serve error callbacks from client_err; NULL once its queue hands out records */
    char address[CLIENT_ADDRESS_BYTES_MAX];
    pthread_mutex_t lock; /* of the three below */
    rd_kafka_resp_err_t error;
    char error_text[CLIENT_TEXT_BYTES_MAX]; /* the newest connection or authentication error */
    char certificate_text[CLIENT_TEXT_BYTES_MAX]; /* why the newest broker's certificate was refused
                                                   */
    pthread_mutex_t limit_lock;
    struct limit limit; /* of librdkafka's own lines */
    int64_t begun_us; /* when the handle was made */
    atomic_bool was_connected;
    atomic_bool fatal; /* librdkafka raised a fatal error: rd_kafka_fatal_error tells it */
    atomic_ullong brokers_up; /* bit (broker id mod 64): connected and usable */
    atomic_uint end_txn_sent; /* EndTxn requests that went out … */
    atomic_uint end_txn_lost; /* … and those whose answer never came */
};

struct client_row {
    const char *key;
    const char *value; /* NULL: nobody may set it (an alias of a fixed key) */
};

/*
 * A configuration from defaults (overridden by settings) and fixed rows (a setting that names one
 * is ERR_REJECT). Fills client. Row tables end with a NULL key. The caller hands the result to
 * rd_kafka_new or destroys it.
 */
enum err_class client_conf(struct client *client, const struct bus_setting *settings,
                           unsigned settings_n, const struct client_row *defaults,
                           const struct client_row *fixed, rd_kafka_conf_t **ret_conf,
                           struct err *err) MUST_CHECK;
/* client_conf and rd_kafka_new, for handles without callbacks of their own. */
enum err_class client_new(struct client *client, rd_kafka_type_t type,
                          const struct bus_setting *settings, unsigned settings_n,
                          const struct client_row *defaults, const struct client_row *fixed,
                          rd_kafka_t **ret_rk, struct err *err) MUST_CHECK;
/* A member of a group, with its librdkafka settings: static, never commits by itself. */
enum err_class client_new_member(struct client *client, const struct bus_setting *settings,
                                 unsigned settings_n, const char *group_id, const char *instance_id,
                                 unsigned session_timeout_ms, client_rebalance_fn on_its_rebalance,
                                 rd_kafka_t **ret_rk, struct err *err) MUST_CHECK;
/* Of a member: topics in place of those that it had. */
rd_kafka_resp_err_t client_subscribe(rd_kafka_t *rk, const char *const *topics, unsigned n);
/* Ends a member, whose queues are the caller's no more: no commit, and a static member does not
 * leave. NULL-safe. */
void client_end_member(struct client *client, rd_kafka_t *rk);
/* Consumes conf. */
enum err_class client_start(struct client *client, rd_kafka_type_t type, rd_kafka_conf_t *conf,
                            rd_kafka_t **ret_rk, struct err *err) MUST_CHECK;
/* Another one like conf, as rd_kafka_new consumes them; rd_kafka_conf_dup forgets interceptors. */
rd_kafka_conf_t *client_conf_dup(struct client *client, const rd_kafka_conf_t *conf);
void client_init(struct client *client, bus_log_fn log, void *log_user);
void client_free(struct client *client);

void client_log(const struct client *client, int level, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool client_connected(const struct client *client);
/* A login or certificate was refused: no time mends it. Serves error callbacks. */
bool client_refused(struct client *client);

/* RETRY: time or the broker's return may help; REJECT: the request or a right is at fault; FATAL:
 * this handle is done. */
enum err_class client_class(rd_kafka_resp_err_t code);
/* An error among a group consumer's records that no waiting mends: it must be made anew. */
bool client_ends_consumer(rd_kafka_resp_err_t code);
/*
 * err from a code and text, "what: ADDRESS: text". When the broker is out of reach the last
 * connection error is told too; a refused login or certificate is ERR_REJECT then, not ERR_RETRY.
 */
enum err_class client_err(struct client *client, struct err *err, const char *what,
                          rd_kafka_resp_err_t code, const char *text);
/* The handle's fatal error as ERR_FATAL. */
enum err_class client_fatal(struct client *client, rd_kafka_t *rk, const char *what,
                            struct err *err);

/* settings.c: stands in the list of all that some handle of ours fixes. */
bool settings_is_fixed(const char *key);

#endif
