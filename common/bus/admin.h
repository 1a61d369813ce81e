/* admin.h: topic descriptions through a handle that exists already. Private to common/bus. */
#ifndef BUS_ADMIN_H
#define BUS_ADMIN_H

#include "bus/client.h"

/* As bus_topics_describe. */
enum err_class admin_describe(struct client *client, rd_kafka_t *rk, struct bus_topic *topics,
                              unsigned n, int timeout_ms, struct err *err) MUST_CHECK;

#endif
