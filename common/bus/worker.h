/*
 * worker.h: the thread that owns the transactional producer: one job (a buffer of outputs with
 * positions) at a time, begin → produce → send offsets → commit, again until its outcome is known.
 * Private to common/bus.
 */
#ifndef BUS_WORKER_H
#define BUS_WORKER_H

#include "bus/buffer.h"
#include "bus/client.h"
#include "bus/watch.h"

struct worker_job {
    struct buffer *buffer; /* nobody else touches it while the job runs */
    const struct bus_position *positions;
    const struct bus_position
        *previous; /* by the same index: what was committed before; offset -1: nothing */
    unsigned n;
    rd_kafka_consumer_group_metadata_t *group; /* the worker destroys it */
};

enum worker_outcome {
    WORKER_COMMITTED,
    WORKER_REFUSED, /* not committed: the group has moved on, the job needs newer group metadata, or
                       its partitions are no longer all ours */
    WORKER_REBUILD, /* nobody can say whether it was committed */
    WORKER_FATAL, /* err says why */
    WORKER_STOPPED,
};

struct worker;

struct worker_options {
    const struct bus_setting *settings;
    unsigned settings_n;
    const char *transactional_id; /* these three are borrowed for the worker's life */
    const char *const *topics;
    const char *input_topic;
    struct watch *watch; /* no new producer, which would fence a successor, once it has expired */
    unsigned session_timeout_ms, transaction_timeout_ms;
    bus_log_fn log;
    void *log_user;
};

extern const struct client_row worker_defaults[];
#define WORKER_FIXED_N 11
/* A record refused with this will be refused again. */
bool worker_never_taken(rd_kafka_resp_err_t code);
/* The transactional producer's fixed rows; borrows both texts. */
void worker_fixed(const char *transactional_id, const char *timeout_ms,
                  struct client_row ret_fixed[WORKER_FIXED_N]);

/* Makes the producer and initialises its transactions, for at most session_timeout_ms. */
enum err_class worker_new(const struct worker_options *options, struct worker **ret_worker,
                          struct err *err) MUST_CHECK;
/* Starts the thread. consumer answers questions on committed offsets; queue is woken when a job is
 * done. */
enum err_class worker_start(struct worker *worker, rd_kafka_t *consumer, rd_kafka_queue_t *queue,
                            struct err *err) MUST_CHECK;
/* Stops and joins: a transaction under way is left to the successor to abort. NULL-safe. */
void worker_free(struct worker *worker);

void worker_submit(struct worker *worker, const struct worker_job *job); /* when idle */
bool worker_done(const struct worker *worker); /* cheap: an outcome waits to be taken */
bool worker_wait(struct worker *worker, int timeout_ms); /* true: an outcome waits, or it is idle */
enum worker_outcome worker_take(struct worker *worker,
                                struct err *err); /* when done; then it is idle */
/* A partition of the running job was revoked: no further attempt. */
void worker_taint(struct worker *worker);

#endif
