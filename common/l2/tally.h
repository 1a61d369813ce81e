/*
 * tally.h: how often each code occurred in the last `bars_n` bars, at most one code a bar. Pure: no
 * allocation, no clock, no I/O.
 *
 * What a rolling signal needs comes out of one of these: bins of a PSI, bins of a sketch (a
 * quantile), null columns of a prediction (a rate), predicted class and label (an f1). Putting is
 * O(1), amortised over bars; counts are whole numbers, so no running sum drifts, and the state
 * depends on the bars inside the window alone, in whatever order they came.
 */
#ifndef L2_TALLY_H
#define L2_TALLY_H

#include <stdbool.h>
#include <stdint.h>

#define L2_TALLY_NONE UINT16_MAX /* a bar without a code */

/* The arrays are borrowed: `code` bars_n long, `count` codes_n. */
struct l2_tally {
    uint16_t *code;
    uint32_t *count;
    uint32_t bars_n, codes_n;
    uint32_t n;           /* bars in the window that have a code */
    uint32_t newest_slot; /* of `code`; bars before it lie before it, round the end */
    int64_t newest;       /* number of the window's last bar: bar_time / bar */
    bool started;         /* false: no bar yet */
};

void l2_tally_reset(struct l2_tally *t);

/* The window ends with bar `newest`; a bar before the present end changes nothing. */
void l2_tally_advance(struct l2_tally *t, int64_t newest);

/* Bar `bar` has `code` < codes_n, in place of what it had; the window advances to it if need be.
 * false, and no change, for a bar that has left the window. */
bool l2_tally_put(struct l2_tally *t, int64_t bar, uint16_t code);

/* The code of a bar, L2_TALLY_NONE where it has none or lies outside. */
uint16_t l2_tally_at(const struct l2_tally *t, int64_t bar);

/* Least code whose rank is ⌊q(n − 1)⌋ of the n codes in the window; false when n = 0. */
bool l2_tally_quantile(const struct l2_tally *t, double q, uint16_t *ret_code);

#endif
