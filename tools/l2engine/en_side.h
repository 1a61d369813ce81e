/*
 * en_side.h: what is read beside the candles, without a group and without blocking: heartbeats and
 * rollout records of all symbols, features of the partitions that are ours. Each from its log's
 * start: the first feature of a symbol says when its warm-up ends.
 */
#ifndef EN_SIDE_H
#define EN_SIDE_H

#include "clk/clk.h"
#include "en_wire.h"
#include "svc/svc.h"

struct en_side_partition {
    struct bus_reader *reader; /* NULL: not ours */
    bool holds;                /* a record that is too far ahead */
    struct en_feature held;    /* its symbol lies in the reader's record */
};

struct en_side {
    struct en_wire *wire;
    struct metrics *metrics;
    const struct bus_setting *settings;
    unsigned settings_n;
    const char *features, *heartbeat, *rollout; /* topics */
    struct bus_reader *beats, *rollouts;
    struct en_side_partition partitions[EN_PARTITIONS_MAX];
    int64_t told_us; /* when a misfit was logged last */
};

/* Reads heartbeats and rollout records up to their ends: before that, nothing is routed. */
enum err_class en_side_open(struct en_side *side, struct svc *svc, struct en_core *core,
                            struct err *err) MUST_CHECK;
void en_side_close(struct en_side *side);
enum err_class en_side_start(struct en_side *side, int32_t partition, struct err *err) MUST_CHECK;
void en_side_stop(struct en_side *side, int32_t partition);
/* What has come since, a bounded part of it. */
enum err_class en_side_read(struct en_side *side, struct en_core *core, struct err *err) MUST_CHECK;

#endif
