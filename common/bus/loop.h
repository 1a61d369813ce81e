/*
 * loop.h: the transactional loop's state, all of it the caller's thread's. Private to common/bus.
 *
 * A partition goes NONE → LOOKUP (the group gave it to us; its committed offset is asked for) →
 * OFFERED (BUS_ASSIGNED is out) → STARTED (bus_start: only now librdkafka gets it, with an explicit
 * offset). So no record can arrive before the caller has restored the partition, there is nothing
 * to pause, seek or throw away, and librdkafka never looks up an offset by itself. librdkafka keeps
 * what the group assigned apart from what is consumed, so the rebalance callback may answer an
 * assignment with an empty list. The other way round it is not so: an unassign outside the callback
 * would pass for the answer to a revocation that still waits in our queue, and the group would go
 * on before we know of it. Hence a partition that must be rebuilt (STARTED → LOOKUP or OFFERED)
 * stays with librdkafka and is sought at bus_start. So does one that is held (STARTED → OFFERED by
 * bus_hold), paused until then.
 */
#ifndef BUS_LOOP_H
#define BUS_LOOP_H

#include "bus/admin.h"
#include "bus/orphans.h"
#include "bus/worker.h"

/* The log does not hold what was to come next: its start moved past it, or it became shorter, and
 * then the committed offset is of another log. */
enum loss { LOSS_NONE, LOSS_START, LOSS_LOG };

enum partition_state { P_NONE, P_LOOKUP, P_OFFERED, P_STARTED };

struct partition {
    enum partition_state state;
    bool consumed;     /* librdkafka has it: a restart seeks */
    bool held;         /* OFFERED by bus_hold: what was sent for it is committed */
    bool paused; /* in librdkafka, which remembers it even when the partition goes and returns */
    bool seek_due; /* … and could not yet; from `next` */
    bool tell_revoked; /* events that are due */
    bool tell_assigned;
    bool tell_end;
    bool forgotten; /* taken away since the commit under way was handed over */
    bool lookup_sent; /* the open look-up asks for it */
    bool end_wanted; /* by the caller; else a question is for what follows alone */
    bool doubted; /* the end was seen below what is committed: told as a loss if a question says so
                     too */
    bool end_asked; /* a question is open … */
    bool end_sent; /* … and with the broker */
    int64_t next; /* the offset that must come next; a greater one is a gap, harmless or not; -2:
                     whatever comes */
    int64_t end_asked_us;
    int64_t end_offset;
    struct bus_position committed; /* as far as we know; offset -1: nothing */
    enum loss loss; /* BUS_ASSIGNED will say so */
};

struct deliveries {
    struct bus_delivery *list;
    size_t n;
    size_t max;
};

enum commit_state {
    COMMIT_NONE,
    COMMIT_HELD, /* waits in bus_poll for group metadata that can be trusted */
    COMMIT_SENT, /* with the worker */
};

struct bus {
    struct client client; /* the consumer's */
    rd_kafka_t *consumer;
    rd_kafka_queue_t *queue;
    rd_kafka_queue_t *answers; /* of admin requests */
    struct worker *worker;
    struct watch *watch;
    struct orphans *orphans;
    char *input_topic;
    char *group_id;
    char *transactional_id;
    char **output_topics;
    unsigned output_topics_n;
    unsigned session_timeout_ms, transaction_timeout_ms;
    unsigned partitions_n;
    struct partition *partitions;

    struct buffer halves[2];
    unsigned open; /* halves[open] takes bus_send, the other one is in flight */
    enum commit_state commit;
    bool tainted; /* a partition of the commit under way was revoked */
    int64_t commit_next_us; /* COMMIT_HELD: not before */
    int64_t held_since_us;
    struct bus_position *positions; /* of the commit under way */
    struct bus_position *previous;
    unsigned positions_n;

    struct deliveries told; /* the caller may hold these until the next bus_poll */
    struct deliveries untold; /* of commits that ended since */
    bool tell_committed;

    bool lookup_open;
    int64_t lookup_next_us;
    int64_t lookup_waited_us; /* for the broker's word, with one connected … */
    int64_t lookup_seen_us; /* … by then */
    bool ends_open; /* a list-offsets request is under way */
    int64_t ends_next_us;
    unsigned asks; /* partitions with an open question, sent or not */
    unsigned lookups; /* partitions in P_LOOKUP */
    unsigned seeks; /* partitions with seek_due */
    int64_t seeks_next_us;
    unsigned due; /* partition events to tell */
    bool failed; /* fatal, told again by every bus_poll */
    struct err failure;

    rd_kafka_message_t *messages[BUS_BATCH_MAX];
    unsigned messages_n;
    bool stashed; /* messages wait for control events to be told first */
    struct bus_event events[BUS_BATCH_MAX];
};

/* ---- group.c: what the group gives and takes, and questions to the broker ---- */

void group_on_rebalance(rd_kafka_t *rk, rd_kafka_resp_err_t code,
                        rd_kafka_topic_partition_list_t *list, void *opaque);
/* Takes partition away from the caller, looks its committed offset up and offers it again. */
void group_restart(struct bus *bus, struct partition *p, enum loss loss);
/* Partition events to tell; each twice is once. */
void group_tell(struct bus *bus, bool *event);
void group_untell(struct bus *bus, bool *event);
/* The log's end was seen, at `offset`: below what is committed it is asked for once more. */
void group_on_end(struct bus *bus, struct partition *p, int64_t offset);
/* Sends due look-ups, questions and seeks, takes answers. */
enum err_class group_serve(struct bus *bus, struct err *err) MUST_CHECK;
bool group_is_ours(const struct bus *bus, int32_t partition);
/* Ours, or held: its position and its outputs can be committed. */
bool group_may_commit(const struct bus *bus, int32_t partition);

/* ---- loop.c ---- */

/* Hands the commit under way to the worker once the group's metadata can be trusted, and takes its
 * outcome. */
enum err_class loop_serve_commit(struct bus *bus, struct err *err) MUST_CHECK;
enum err_class loop_fail(struct bus *bus, const struct err *failure, struct err *err);
/* A partition is gone: its uncommitted outputs too. */
void loop_forget(struct bus *bus, int32_t partition);

#endif
