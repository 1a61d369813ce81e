/*
 * reference.h: what one crypto's data looked like in its model's training window: ranges, drift
 * bins, calibrated thresholds. Frozen with the model; `l2_quality_reference.json` holds one for
 * each crypto. Pure: no allocation, no clock, no I/O.
 */
#ifndef L2_REFERENCE_H
#define L2_REFERENCE_H

#include "l2/psi.h"
#include "l2/types.h"

#define L2_REFERENCE_VERSION_BYTES_MAX 64
#define L2_PSI_WARN 0.10 /* a calibrated threshold is never below these */
#define L2_PSI_P2 0.25
#define L2_RANGE_SPREAD_BPS_MAX 1000.0

struct l2_reference_feature {
    uint32_t n; /* bars that had a value */
    double null_share;
    double low, high; /* [q0.0001, q0.9999] widened by one interquartile range each way, capped */
    double mean, sd;
    struct l2_psi_bins bins;
    /* calibrated (l2/calibrate.h). A P2 of 24 h is two disjoint windows above psi_24h_p2, which may
     * therefore be below psi_24h_warn. */
    double psi_24h_warn, psi_24h_p2;
    double psi_30d_warn, psi_30d_p2;
};

struct l2_estimate {
    bool known;
    double value, low, high; /* with its 95 % interval */
};

struct l2_reference {
    char exchange[L2_SYMBOL_BYTES_MAX + 1], symbol[L2_SYMBOL_BYTES_MAX + 1];
    char version[L2_REFERENCE_VERSION_BYTES_MAX + 1]; /* of the file */
    uint32_t bar_s;
    int64_t from_us, to_us; /* the training window */
    double snapshots_median; /* a bar */
    struct l2_reference_feature feature[L2_COLUMNS]; /* n = 0: none; L2_MID_PRICE: moments alone */
    struct l2_estimate f1_buy, agreement; /* out of fold, of the L2 model */
    struct l2_estimate blind_f1_buy; /* of the L2-blind one */
};

#endif
