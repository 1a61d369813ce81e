/* admin.h: topic descriptions through a handle that exists already. Private to common/bus. */
#ifndef BUS_ADMIN_H
#define BUS_ADMIN_H

#include "bus/client.h"

/* As bus_topics_describe. */
enum err_class admin_describe(struct client *client, rd_kafka_t *rk, struct bus_topic *topics,
                              unsigned n, int timeout_ms, struct err *err) MUST_CHECK;
/*
 * Offsets of partitions [first, first + n) at spec, RD_KAFKA_OFFSET_SPEC_LATEST (the high
 * watermark: open transactions lie below it, which librdkafka's own watermark call hides from a
 * reader of committed records) or _EARLIEST. ret_offsets is undefined on failure.
 */
enum err_class admin_offsets(struct client *client, rd_kafka_t *rk, const char *topic, int first,
                             int n, int64_t spec, int timeout_ms, int64_t *ret_offsets,
                             struct err *err) MUST_CHECK;

#endif
