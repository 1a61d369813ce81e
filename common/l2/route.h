/*
 * route.h: which arm one crypto's prediction is executed by, and why. One pure function for every
 * engine; the latch is a fold over the predictions that were made. Pure: no allocation, no clock,
 * no I/O.
 *
 * The order is kill-switch, pause, latch, this prediction's own quality, rollout; whichever says
 * no_l2 first is the reason, and nothing behind it can say otherwise. An arm that cannot serve is
 * replaced by no_l2; when that cannot serve either, arm none executes HOLD.
 */
#ifndef L2_ROUTE_H
#define L2_ROUTE_H

#include <stdbool.h>
#include <stdint.h>

#define L2_ROUTE_FRESHNESS_P2_S 300.0 /* past it a prediction's own freshness is at P2 */
#define L2_ROUTE_NAN_RATE_P2 0.20     /* past it its NaN rate is */
#define L2_LATCH_BARS 3               /* at P2 in a row */

/* Enums in the order of the schemas' symbols: a test holds both together. */
enum l2_arm { L2_ARM_NONE, L2_ARM_NO_L2, L2_ARM_CHAMPION_L2, L2_ARM_CANDIDATE_L2, L2_ARMS };

enum l2_stage {
    L2_STAGE_IDLE,
    L2_STAGE_SHADOW,
    L2_STAGE_CANARY,
    L2_STAGE_RAMP_WAIT,
    L2_STAGE_FULL,
    L2_STAGE_ROLLED_BACK,
    L2_STAGES,
};

enum l2_route_reason {
    L2_ROUTE_ROLLOUT,     /* the rollout's own routing */
    L2_ROUTE_KILL_SWITCH,
    L2_ROUTE_PAUSED,      /* planned work on the feed: the rollout is paused, and says no_l2 */
    L2_ROUTE_LATCH,
    L2_ROUTE_WARMUP,      /* the symbol's first whole window is not there yet */
    L2_ROUTE_FRESHNESS,   /* at P2, or not known */
    L2_ROUTE_NO_FEATURE,  /* no feature record of this bar came in time */
    L2_ROUTE_CONTRACT,    /* … or one that differs from what the model pins */
    L2_ROUTE_NAN_RATE,    /* at P2 */
    L2_ROUTE_NO_ROLLOUT,  /* no L2 arm takes part in this crypto's rollout */
    L2_ROUTE_NO_MODEL,    /* the model of the arm that was to execute cannot serve */
    L2_ROUTE_REASONS,
};

/* What routing needs of a crypto's newest RolloutState. Zeroed: there is none. */
struct l2_rollout {
    bool known;
    bool kill_switch, paused;
    enum l2_arm incumbent, challenger, effective;
    enum l2_stage stage; /* the challenger's */
};

/* Of one prediction. */
struct l2_prediction_quality {
    bool has_freshness;
    double freshness_s; /* its time − the newest snapshot's */
    bool has_nan_rate;  /* of an L2 arm, past warm-up */
    double nan_rate;    /* share of the arm's columns that were null */
};

/* At P2 by its freshness, which no heartbeat is too; by its NaN rate, which no NaN rate is not. A
 * NaN in either is. */
bool l2_quality_is_stale(const struct l2_prediction_quality *q);
bool l2_quality_is_sparse(const struct l2_prediction_quality *q);

/*
 * The latch of one crypto: three bars in a row whose predictions were at P2. Bars of which nothing
 * is known (no feature came, and the heartbeat was fresh) neither count nor break the row; those in
 * warm-up, under the kill-switch, in a pause, or of a crypto without an L2 arm, are nothing at all.
 * A fold over the records alone, in the order of the log, so that whoever reads them has the same
 * latch. Zeroed: nothing seen.
 */
struct l2_latch {
    bool seen;
    int64_t bar_time_us; /* the newest bar that counted … */
    bool is_bad;         /* … is at P2 */
    uint32_t row_before; /* bars at P2 in a row before it, L2_LATCH_BARS at most … */
    uint32_t row;        /* … and with it */
    bool latched;        /* ever */
    int64_t through_us;  /* the newest bar that called for it: the third of a row, or past it */
};

/* One record of l2.predictions, of whichever arm, executed or not. Records behind the newest bar
 * that was seen are left out. */
struct l2_latch_record {
    int64_t bar_time_us;
    enum l2_route_reason reason;
    struct l2_prediction_quality quality;
};
/* true: its bar has just become one more at P2. */
bool l2_latch_put(struct l2_latch *latch, const struct l2_latch_record *record);
/* Is it in force? A latch is cleared once `cleared_through_us` (INT64_MIN: never) reaches the
 * newest bar that called for it: one cleared while its cause is open comes back. */
bool l2_latch_holds(const struct l2_latch *latch, int64_t cleared_through_us);

struct l2_route_input {
    struct l2_rollout rollout;
    bool kill_switch; /* the flag as its reader knows it, beside the rollout's word */
    bool latched;     /* l2_latch_holds */
    bool warm_up;
    bool has_feature; /* of this bar */
    bool fits_contract;
    bool no_l2_serves, l2_serves; /* the models of no_l2 and of the effective L2 arm */
    struct l2_prediction_quality quality; /* of the L2 arms; their worst */
};

struct l2_route {
    enum l2_arm arm; /* executed */
    enum l2_route_reason reason;
};

struct l2_route l2_route(const struct l2_route_input *in);

/* Does `arm` predict, executed or not? no_l2 always; the incumbent; the challenger from shadow on
 * until it is rolled back. */
bool l2_route_predicts(const struct l2_rollout *rollout, enum l2_arm arm);

/* As the schemas' symbols; "?" for a number that is none. */
const char *l2_arm_name(enum l2_arm arm);
const char *l2_stage_name(enum l2_stage stage);
const char *l2_route_reason_name(enum l2_route_reason reason);

#endif
