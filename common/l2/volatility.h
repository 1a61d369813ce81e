/*
 * volatility.h: exponentially weighted volatility of a crypto's bar returns. Pure: no allocation,
 * no clock, no I/O.
 *
 * r = close / previous bar's close − 1, σ² = Σ w_k r²_{t−k} / Σ w_k about zero, w_k = (1 − 2 /
 * (span + 1))^k: pandas' `r.pow(2).ewm(span=span).mean()`, a missing return left out. Sums are kept
 * per block of `span` bars, Unix-aligned, and added afresh for each σ, newest first: the open block
 * and the L2_VOLATILITY_BLOCKS before it. What is older weighs less than e^-15 and is left out, so
 * that σ depends on a bounded past, to the bit.
 */
#ifndef L2_VOLATILITY_H
#define L2_VOLATILITY_H

#include <stdbool.h>
#include <stdint.h>

#define L2_VOLATILITY_BLOCKS 8
#define L2_SPAN_BARS_MIN 2
#define L2_SPAN_BARS_MAX 1024

struct l2_volatility_block {
    int64_t number;          /* floor(bar / span) */
    double squares, weights; /* of its returns, weighted to `newest` */
    int64_t newest;          /* its newest bar with a return */
    uint32_t n;              /* returns */
};

struct l2_volatility {
    uint32_t span_bars;
    bool started;
    int64_t bar; /* of the newest candle */
    double close;
    struct l2_volatility_block block[L2_VOLATILITY_BLOCKS + 1]; /* by number modulo their count */
};

/* Nothing known. span_bars within the bounds above. */
void l2_volatility_reset(struct l2_volatility *v, uint32_t span_bars);

/* The candle of a bar past the newest one; close finite and > 0. */
void l2_volatility_put(struct l2_volatility *v, int64_t bar, double close);

/* σ at the newest candle's close, no unit; false with fewer than `span_bars` returns. */
bool l2_volatility_sigma(const struct l2_volatility *v, double *ret_sigma);

#endif
