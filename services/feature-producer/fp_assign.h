/*
 * fp_assign.h: the state of a partition that is assigned, rebuilt: a fold over the log, first of
 * what was emitted, then of the snapshots that the open windows hold. The committed offset alone
 * says which dead letters were sent, even where the rest of what was committed is of no use any
 * more.
 */
#ifndef FP_ASSIGN_H
#define FP_ASSIGN_H

#include "fp_schemas.h"
#include "fp_wire.h"

#include "core/fp_core.h"

#include "bus/bus.h"
#include "metrics/metrics.h"
#include "svc/svc.h"

/* All borrowed. */
struct fp_assign {
    struct svc *svc;
    struct metrics *metrics;
    const struct bus_setting *kafka;
    unsigned kafka_n;
    const char *bars_topic, *snapshots_topic, *group_id;
    uint64_t fingerprint; /* of this deployment */
    uint32_t symbols_max;
    struct fp_wire *wire;
    struct fp_schemas *schemas;
    struct fp_core *core;
    struct fp_update *update; /* to work with */
    struct bus *bus;
};

/* Rebuilds it and starts the partition. ERR_REJECT: what the log holds is none of ours, and goes on
 * to be; ERR_RETRY: the broker or the registry is out of reach. */
enum err_class fp_assign_restore(const struct fp_assign *assign, const struct bus_event *assigned,
                                 struct err *err) MUST_CHECK;

#endif
