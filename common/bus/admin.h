/* admin.h: one admin request after another, through a handle of its own or one that exists already.
 * Private to common/bus. */
#ifndef BUS_ADMIN_H
#define BUS_ADMIN_H

#include "bus/client.h"

struct admin {
    struct client *client;
    rd_kafka_t *rk;
    rd_kafka_queue_t *queue; /* of the request under way */
    rd_kafka_AdminOptions_t *options; /* likewise */
    rd_kafka_event_t *event; /* its answer; NULL: none came */
    int64_t deadline_us;
};

/* A handle of its own for the calls up to admin_close; on failure there is nothing to close. */
enum err_class admin_open(struct admin *a, struct client *client,
                          const struct bus_setting *settings, unsigned settings_n, int timeout_ms,
                          struct err *err) MUST_CHECK;
void admin_close(struct admin *a);
/* Between begin and wait one request is put to a->queue with a->options; its answer is a->event
 * up to end, which is called after a failure too. */
void admin_begin(struct admin *a, rd_kafka_admin_op_t operation);
enum err_class admin_wait(struct admin *a, const char *what, struct err *err) MUST_CHECK;
void admin_end(struct admin *a);

/* As bus_topics_describe. */
enum err_class admin_describe(struct client *client, rd_kafka_t *rk, struct bus_topic *topics,
                              unsigned n, int timeout_ms, struct err *err) MUST_CHECK;
/* The same; a topic that is not there is ERR_REJECT. */
enum err_class admin_find(struct client *client, rd_kafka_t *rk, struct bus_topic *topics,
                          unsigned n, int timeout_ms, struct err *err) MUST_CHECK;
/*
 * Of a ListOffsets result. Where the request to a leader was lost, librdkafka 2.14.2 answers all
 * the same, without an error and with the offset that it began with: RD_KAFKA_OFFSET_INVALID. Taken
 * for the log's end, that is an empty log.
 */
bool admin_is_answered(const rd_kafka_topic_partition_t *found);
/*
 * Offsets of partitions [first, first + n) at spec, RD_KAFKA_OFFSET_SPEC_LATEST (the high
 * watermark: open transactions lie below it, which librdkafka's own watermark call hides from a
 * reader of committed records) or _EARLIEST. Asks again while it may help: a partition just made,
 * or whose leader moves, has none for a moment. ret_offsets is undefined on failure.
 */
enum err_class admin_offsets(struct client *client, rd_kafka_t *rk, const char *topic, int first,
                             int n, int64_t spec, int timeout_ms, int64_t *ret_offsets,
                             struct err *err) MUST_CHECK;

#endif
