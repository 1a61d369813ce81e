/*
 * psi.h: the population stability index of one feature, on the bins of a frozen reference. Pure: no
 * allocation, no clock, no I/O.
 *
 *     PSI = Σ (a − r) ln(a / r)
 *
 * over the bins, a the window's shares and r the reference's, both floored at 10^-4. Bins are
 * open-ended deciles of the reference; equal edges are merged. Nulls are in no bin: they are
 * counted apart.
 */
#ifndef L2_PSI_H
#define L2_PSI_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define L2_PSI_BINS_MAX 10
#define L2_PSI_SHARE_MIN 1e-4

/* A reference. Bin i holds x with edge[i − 1] ≤ x < edge[i]; the first and the last are open. */
struct l2_psi_bins {
    uint32_t n; /* bins: 1 … 10 */
    double edge[L2_PSI_BINS_MAX - 1];
    double share[L2_PSI_BINS_MAX]; /* sums to 1 */
};

/* In place, ascending; no NAN. The C library's allocates from 1 KiB on. */
void l2_sort(double *x, size_t n);

/* The q-quantile (0 ≤ q ≤ 1) of n ≥ 1 ascending values by linear interpolation, numpy's default
 * (Hyndman, Fan 1996: type 7). */
double l2_quantile_sorted(const double *ascending, size_t n, double q);

/* Deciles of n ≥ 1 ascending finite values, and their own shares. */
void l2_psi_reference(const double *ascending, size_t n, struct l2_psi_bins *ret_bins);

/* false for what no reference can be: no bins, edges that do not rise, shares that are not. */
bool l2_psi_bins_valid(const struct l2_psi_bins *bins);

uint32_t l2_psi_bin(const struct l2_psi_bins *bins, double x);

/* PSI of counts by bin, their sum ≥ 1. */
double l2_psi(const struct l2_psi_bins *bins, const uint32_t count[L2_PSI_BINS_MAX]);

#endif
