/*
 * purge.h: the newest bars of one symbol on the bar grid. The row of bar T serves the feature
 * record of bar T + purge_bars; the provenance beside it lets a restart begin
 * where a bar ended. Pure.
 */
#ifndef L2_PURGE_H
#define L2_PURGE_H

#include "l2/types.h"

/* Where a symbol's stream stood when a bar closed. */
struct l2_resume {
    int64_t epoch, sequence;
    int64_t last_event_us, last_kafka_us;
};

struct l2_past_bar {
    int64_t bar_time_us; /* INT64_MIN: empty */
    struct l2_row row;
    bool closed_by_clock;
    struct l2_resume resume;
    int64_t source_offset; /* next input offset at the close */
    int64_t
        bars_offset; /* where it stands in l2.bars, or a bound from below while that is not known */
    int64_t anchor_offset; /* first input offset that bars from this one on depend on; -1: none of
                              them yet */
};

/* A ring of `bars_n` bars of bar_us each, at bar_time / bar_us modulo its length. The memory is the
 * caller's. */
struct l2_past {
    struct l2_past_bar *bars;
    uint32_t bars_n;
    int64_t bar_us;
};

void l2_past_reset(struct l2_past *past);
/* The bar that begins at bar_time_us, or NULL. */
struct l2_past_bar *l2_past_find(const struct l2_past *past, int64_t bar_time_us);
/* The place of the bar that begins at bar_time_us, emptied unless it is there already. NULL when a
 * newer one stands in it. */
struct l2_past_bar *l2_past_put(struct l2_past *past, int64_t bar_time_us);

#endif
