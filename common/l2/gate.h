/*
 * gate.h: may a challenger leave its stage? The rules of shadow and canary, for the monitor, which
 * shows them, and the controller, which obeys them. Pure: no allocation, no clock, no I/O.
 *
 * Figures are over all data since the stage began, never a best part of it; days are whole ones of
 * the stage's clock, which stands while the stage is paused.
 */
#ifndef L2_GATE_H
#define L2_GATE_H

#include <stdbool.h>
#include <stdint.h>

#define L2_GATE_DAYS 7
#define L2_GATE_DAYS_MAX 28 /* judged for the last time */
#define L2_GATE_FRESHNESS_P99_S 30.0 /* below */
#define L2_GATE_NAN_RATE_P99 0.01    /* below */
#define L2_GATE_AGREEMENT 0.90       /* at least */
#define L2_GATE_F1_BAND 0.20         /* relative, both sides, ends included */
#define L2_GATE_BUYS_MIN 30          /* actual, and predicted */

struct l2_figure {
    bool known;
    double value;
    int64_t n;
};

enum l2_criterion_state {
    L2_CRITERION_UNKNOWN, /* too little data is no pass */
    L2_CRITERION_MET,
    L2_CRITERION_NOT_MET,
    L2_CRITERION_ABOVE, /* better than can be believed: an operator looks */
};

enum l2_gate_verdict {
    L2_GATE_WAIT,      /* its time has not come */
    L2_GATE_PASS,      /* an operator may promote */
    L2_GATE_EXTEND,    /* judged again: shadow daily, canary on days 14, 21, 28 */
    L2_GATE_REVIEW,    /* judged, and for an operator to decide */
    L2_GATE_ROLL_BACK, /* day 28, and not met */
};

struct l2_shadow {
    uint32_t days;
    struct l2_figure freshness_p99_s, nan_rate_p99, agreement;
    double agreement_min; /* L2_GATE_AGREEMENT, or what an approver set before the stage began */
    bool has_warning;     /* of freshness, NaN rate or PSI: extends */
};

struct l2_shadow_result {
    enum l2_gate_verdict verdict;
    enum l2_criterion_state freshness, nan_rate, agreement;
};

struct l2_shadow_result l2_gate_shadow(const struct l2_shadow *s);

struct l2_canary {
    uint32_t days;
    struct l2_figure f1_buy;
    uint32_t actual_buys, predicted_buys;
    struct l2_figure estimate; /* the sweep's, of this crypto */
};

struct l2_canary_result {
    enum l2_gate_verdict verdict;
    enum l2_criterion_state f1_buy;
    double low, high; /* the band; 0 without an estimate */
    uint32_t looks;   /* judgements so far, this one among them */
};

struct l2_canary_result l2_gate_canary(const struct l2_canary *c);

#endif
