/* kyle.h: Kyle's lambda from mergeable sums. Pure: no allocation, no clock, no I/O. */
#ifndef L2_KYLE_H
#define L2_KYLE_H

#include <stdbool.h>
#include <stdint.h>

/*
 * Sums over n samples (x = signed volume, quote; y = change of mid, quote), centred on the samples'
 * own means: raw sums of squares would lose the slope to cancellation when volumes are large (10^7
 * quote) and prices still. A zeroed struct is the empty set. 48 bytes; one per minute and symbol.
 */
struct l2_kyle {
    uint64_t n;
    double mean_x, mean_y;
    double sxx; /* Σ (x − mean_x)², quote² */
    double sxy; /* Σ (x − mean_x)(y − mean_y), quote² */
    double x_first; /* with `varied`: tells "all volumes equal" exactly, not to rounding */
    bool varied;
};

/* Adds one sample. Precondition: both finite (the codec has rejected anything else). */
void l2_kyle_add(struct l2_kyle *k, double signed_volume_quote, double dmid_quote);

/* into += from. Chan, Golub, LeVeque (1983), eq. 2.1. Merging oldest first is what makes two runs
 * agree to the byte. */
void l2_kyle_merge(struct l2_kyle *into, const struct l2_kyle *from);

/*
 * OLS slope with intercept, quote per quote (Kyle 1985). Returns false, and leaves *ret_lambda
 * alone, when there is no slope to speak of: fewer than `samples_min` samples, all signed volumes
 * equal, or sums that no double holds.
 */
bool l2_kyle_slope(const struct l2_kyle *k, uint64_t samples_min, double *ret_lambda);

#endif
