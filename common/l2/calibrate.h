/*
 * calibrate.h: one crypto's reference from the bars that its model was trained on: ranges, drift
 * bins, moments, and PSI thresholds that an undrifted market seldom passes. Pure: no clock, no I/O;
 * the caller gives the memory.
 *
 * Thresholds come from months that are put together at random from the window's own days (moving
 * block bootstrap: Künsch 1989) and watched by the monitor's own rules; docs/decisions/
 * psi-calibration.md has the rules, what they were measured to do, and why a quantile of single
 * days does not suffice. The same bars give the same thresholds, on any machine.
 */
#ifndef L2_CALIBRATE_H
#define L2_CALIBRATE_H

#include <stddef.h>

#include "l2/reference.h"
#include "l2/types.h"

#define L2_CALIBRATE_MONTH_DAYS 30
#define L2_CALIBRATE_DAYS_MAX 1100 /* of a training window */
#define L2_PSI_LONG_DAYS 30        /* the window of the long PSI; the short one's is a day */

/* What an undrifted month may cost, of the months that a threshold is chosen on: well below what is
 * promised (1 and 0.06), since a threshold that comes from a sample is itself uncertain. */
#define L2_CALIBRATE_WARNS_A_MONTH 0.25
#define L2_CALIBRATE_P2_MONTHS 0.005

/* One stored bar. */
struct l2_training_bar {
    int64_t bar; /* bar_time / bar */
    struct l2_row row;
    int64_t snapshots;
};

/* A crypto's bars, rising, gaps allowed, at least one; spanning at most L2_CALIBRATE_DAYS_MAX days.
 * bar_s divides a day. */
struct l2_training {
    const struct l2_training_bar *bars;
    size_t bars_n;
    uint32_t bar_s;
};

/* Bars of a window of `days`, and how many of them must have a value for a PSI; below: no data. */
static inline uint32_t l2_psi_bars(uint32_t bar_s, uint32_t days)
{
    return days * (86400 / bar_s);
}

static inline uint32_t l2_psi_bars_min(uint32_t bar_s, uint32_t days)
{
    return l2_psi_bars(bar_s, days) / 2;
}

/* UTC days that the bars touch. */
uint32_t l2_training_days(const struct l2_training *t);

/* Doubles of scratch that l2_calibrate wants. */
size_t l2_calibrate_scratch_n(const struct l2_training *t);

/* What a window's thresholds were chosen from. */
struct l2_psi_calibration {
    double quantile_warn, quantile_p2; /* 95 %, 99 % of single windows */
    double warn, p2;
};

/*
 * Everything of *ret_reference that bars tell: bar_s, from_us, to_us, snapshots_median, feature[].
 * The rest is left as it is. L2_MID_PRICE, which trends, has n, null_share and moments alone.
 * ret_detail, [column][short, long], may be NULL.
 */
void l2_calibrate(const struct l2_training *t, double *scratch, struct l2_reference *ret_reference,
                  struct l2_psi_calibration ret_detail[L2_COLUMNS][2]);

#endif
