/*
 * orphans.h: partitions that the group gives to nobody. Private to common/bus.
 *
 * A cooperative handover has two rebalances: in the first the old owner gives up, in the second the
 * new one receives. What the group stores in between has the partitions with nobody. Static members
 * that die there and return before their sessions end get that back without a rebalance, the second
 * one was theirs to ask for, and nothing else asks. So each member looks now and then, and where
 * partitions stay nobody's although the group is stable, one member leaves and joins again.
 */
#ifndef BUS_ORPHANS_H
#define BUS_ORPHANS_H

#include "bus/client.h"

struct orphans;

/* All borrowed as long as the orphans live, but for `partitions`. */
struct orphans_options {
    struct client *client;
    rd_kafka_t *rk; /* the member */
    const char *group_id;
    const char *const *topics; /* all that the member subscribed to */
    const unsigned *partitions; /* of each */
    unsigned topics_n;
};

enum err_class orphans_new(const struct orphans_options *options, struct orphans **ret_orphans,
                           struct err *err) MUST_CHECK;
void orphans_free(struct orphans *orphans); /* before its member; NULL-safe */
/*
 * Sends a question that is due, takes an answer that is there; never waits. The thread that serves
 * the member's rebalances. ERR_FATAL: it left the group and cannot join it.
 */
enum err_class orphans_serve(struct orphans *orphans, struct err *err) MUST_CHECK;

#endif
