/* sink_thread.h: one sink's thread: its group, its position, its retries. Private to common/alerts;
 * sinks.h says what it is for. */
#ifndef ALERTS_SINK_THREAD_H
#define ALERTS_SINK_THREAD_H

#include "alerts/firing.h"
#include "alerts/sinks.h"
#include "http/client.h"

#include <pthread.h>
#include <stdatomic.h>

#define SINK_POLL_MAX 128 /* records of one poll: what a crash lets happen twice */
#define SINK_BACKOFF_MS_MIN 250
#define SINK_BACKOFF_MS_MAX 30000

/* Before attempt n + 1 (n ≥ 1 have failed): doubles from the least to the most, half of it by
 * chance; asked_ms when that is longer. */
int64_t sink_backoff_ms(unsigned n, uint32_t chance, int64_t asked_ms);

/* A record of the topic, copied: it outlives polls. */
struct sink_item {
    int32_t partition;
    int64_t offset, time_us;
    uint8_t *key, *value; /* NULL: it has none */
    size_t key_n, value_n, whole_key_n, whole_value_n; /* whole: before it was cut */
};

struct sink_thread {
    struct sink_style style;
    const struct sinks_options *options;
    const struct bus_setting *kafka; /* options->kafka, and what dead letters need */
    unsigned kafka_n;
    const char *topic, *dlq;
    char group[300];
    const char *login_user, *login_password; /* Airflow 3: for a token; "" none */
    struct http_client *http;
    struct bus_consumer *consumer;
    struct bus_producer *producer; /* of dead letters; NULL until the first */
    struct codec_reader *reader;

    pthread_t thread;
    bool is_started;
    atomic_bool *stop;
    atomic_bool failed; /* then err is told */
    struct err err;

    /* the thread's own */
    struct sink_item items[SINK_POLL_MAX];
    unsigned items_n;
    struct codec_alert *alerts; /* [SINK_BATCH_MAX], decoded */
    struct sink_note notes[SINK_BATCH_MAX];
    const struct sink_item *sources[SINK_BATCH_MAX];
    unsigned notes_n;
    uint8_t *own; /* [SINK_BATCH_MAX][CODEC_ALERT_BYTES_MAX]: other schemas' records in ours */
    struct firing firing; /* Alertmanager */
    unsigned owned; /* partitions, when `firing` was made */
    int64_t resend_us; /* clk_mono_us: when it is due */
    int64_t polled_us, away_us, told_us;
    unsigned attempts; /* failed in a row */
    uint64_t random;
    bool has_token;
    bool is_left; /* a stop came before all of the items were settled */

    /* for sinks_export */
    atomic_bool up;
    atomic_uint_fast64_t sent, retries, refused, skipped, firing_lost;
    atomic_uint_fast32_t firing_n;
    atomic_int_fast64_t oldest_us; /* real; 0: none waits */
};

/* ---- what its parts share ---- */

enum { SINK_ERROR = 3, SINK_WARNING = 4, SINK_NOTICE = 5 }; /* syslog's levels */

bool sink_stopping(const struct sink_thread *thread);
void sink_tell(const struct sink_thread *thread, int level, const char *event, const char *text);
/* Serves the group while records are at work: none are handed out. ERR_FATAL as bus_consumer_poll.
 */
enum err_class sink_poll_nothing(struct sink_thread *thread, int ms, struct err *err) MUST_CHECK;
/* The same, where the last one is a while ago: after each request. */
enum err_class sink_keep(struct sink_thread *thread, struct err *err) MUST_CHECK;
/* The same for so long, or until a stop. */
enum err_class sink_wait_ms(struct sink_thread *thread, int64_t ms, struct err *err) MUST_CHECK;
/* Returns how long to wait, ms. */
int64_t sink_note_failure(struct sink_thread *thread, const char *text);
void sink_note_success(struct sink_thread *thread);
/* One attempt to tell of n notes. ERR_OK and a verdict, with its why (of sizeof err->text); or
 * ERR_FATAL. */
enum err_class sink_attempt(struct sink_thread *thread, const struct sink_note *notes, unsigned n,
                            enum sink_verdict *ret_verdict, char *why, struct err *err) MUST_CHECK;
/* A message into alerts[slot]. Waits while a registry has not said yet what schema it is:
 * SCHEMA_PENDING is a stop. */
enum err_class sink_decode(struct sink_thread *thread, const uint8_t *value, size_t n,
                           unsigned slot, enum codec_status *ret_status,
                           struct err *err) MUST_CHECK;
/* Until it is in l2.dlq, or a stop: then is_left, and the next start comes back to it. */
enum err_class sink_dead_letter(struct sink_thread *thread, const struct sink_item *item,
                                const char *reason, const char *why, struct err *err) MUST_CHECK;
/* Alertmanager: between batches. */
enum err_class sink_repeat(struct sink_thread *thread, struct err *err) MUST_CHECK;

/* ---- its life ---- */

/* Joins the group and starts. On failure nothing is left but what sink_thread_free frees. */
enum err_class sink_thread_start(struct sink_thread *thread, struct err *err) MUST_CHECK;
/* Waits for the thread, which has been told to stop. */
void sink_thread_join(struct sink_thread *thread);
void sink_thread_free(struct sink_thread *thread); /* NULL-safe */

#endif
