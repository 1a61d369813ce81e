/*
 * proof.h: one row recomputed from snapshots that are cut where its purge says, by the code that
 * computes rows everywhere. What differs used something from behind the cut. Pure: no allocation,
 * no clock, no I/O.
 */
#ifndef L2_PROOF_H
#define L2_PROOF_H

#include "l2/params.h"
#include "l2/stream.h"

struct l2_proof {
    struct l2_params params;
    struct l2_minute minutes[L2_WINDOW_S_MAX / 60];
    struct l2_stream stream;
    int64_t source_us, cut_us; /* the row's bar, and its end */
    bool has_row, is_undecided;
    struct l2_row row;
};

#define L2_PROOF_BARS_MAX (L2_WINDOW_S_MAX / 60 + 1)

/* How many bars before the row's own the fold begins: with the first snapshot behind the close of
 * the one before those. */
uint32_t l2_proof_bars(const struct l2_params *params);

/* `before`: the bar l2_proof_bars + 1 bars before source_us, as it was emitted: where the symbol's
 * stream stood at its close. */
void l2_proof_begin(struct l2_proof *p, const struct l2_params *params,
                    const struct l2_past_bar *before, int64_t source_us);
/* The symbol's next snapshot, valid; those at or past the cut are not looked at. */
void l2_proof_snapshot(struct l2_proof *p, const struct l2_snapshot *snapshot,
                       int64_t kafka_time_us);
/* The clock closed the open bar at this place of the log: what comes later for it is late. */
void l2_proof_close_by_clock(struct l2_proof *p);
/* One of the symbol's records that was rejected. */
void l2_proof_break(struct l2_proof *p);

enum l2_proof_verdict {
    L2_PROOF_SAME,
    L2_PROOF_OTHER,
    L2_PROOF_UNDECIDED, /* the stream began anew in between */
};

/* No more below the cut: compares the row with `claimed`, to the bit. */
enum l2_proof_verdict l2_proof_end(struct l2_proof *p, const struct l2_row *claimed);

#endif
