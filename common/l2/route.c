#include "l2/route.h"

static const char *const arms[L2_ARMS] = {"none", "no_l2", "champion_l2", "candidate_l2"};

static const char *const stages[L2_STAGES] = {"idle",      "shadow", "canary",
                                              "ramp_wait", "full",   "rolled_back"};

static const char *const reasons[L2_ROUTE_REASONS] = {
    [L2_ROUTE_ROLLOUT] = "rollout",       [L2_ROUTE_KILL_SWITCH] = "kill_switch",
    [L2_ROUTE_PAUSED] = "paused",         [L2_ROUTE_LATCH] = "latch",
    [L2_ROUTE_WARMUP] = "warmup",         [L2_ROUTE_FRESHNESS] = "freshness",
    [L2_ROUTE_NO_FEATURE] = "no_feature", [L2_ROUTE_CONTRACT] = "contract",
    [L2_ROUTE_NAN_RATE] = "nan_rate",     [L2_ROUTE_NO_ROLLOUT] = "no_rollout",
    [L2_ROUTE_NO_MODEL] = "no_model",
};

const char *l2_arm_name(enum l2_arm arm)
{
    return (unsigned)arm < L2_ARMS ? arms[arm] : "?";
}

const char *l2_stage_name(enum l2_stage stage)
{
    return (unsigned)stage < L2_STAGES ? stages[stage] : "?";
}

const char *l2_route_reason_name(enum l2_route_reason reason)
{
    return (unsigned)reason < L2_ROUTE_REASONS ? reasons[reason] : "?";
}

/* Written so that a NaN is past the threshold. */
bool l2_quality_is_stale(const struct l2_prediction_quality *q)
{
    return !q->has_freshness || !(q->freshness_s <= L2_ROUTE_FRESHNESS_P2_S);
}

bool l2_quality_is_sparse(const struct l2_prediction_quality *q)
{
    return q->has_nan_rate && !(q->nan_rate <= L2_ROUTE_NAN_RATE_P2);
}

/* ---- the latch ---- */

static bool counts(enum l2_route_reason reason)
{
    return reason != L2_ROUTE_WARMUP && reason != L2_ROUTE_KILL_SWITCH &&
           reason != L2_ROUTE_PAUSED && reason != L2_ROUTE_NO_ROLLOUT;
}

/* A bar's records come one by one and the arms' qualities differ: one at P2 makes the bar so,
 * whatever the order; else one that was good breaks the row. */
bool l2_latch_put(struct l2_latch *latch, const struct l2_latch_record *record)
{
    const struct l2_prediction_quality *q = &record->quality;
    const bool was_bad = latch->is_bad && record->bar_time_us == latch->bar_time_us;

    if (!counts(record->reason) || (latch->seen && record->bar_time_us < latch->bar_time_us))
        return false;
    if (!latch->seen || record->bar_time_us > latch->bar_time_us) {
        latch->seen = true;
        latch->bar_time_us = record->bar_time_us;
        latch->is_bad = false;
        latch->row_before = latch->row;
    }
    if (!l2_quality_is_stale(q) && !l2_quality_is_sparse(q)) {
        if (q->has_nan_rate && !latch->is_bad)
            latch->row = 0;
        return false;
    }
    latch->is_bad = true;
    latch->row = latch->row_before < L2_LATCH_BARS ? latch->row_before + 1 : L2_LATCH_BARS;
    if (latch->row == L2_LATCH_BARS) {
        latch->latched = true;
        latch->through_us = record->bar_time_us;
    }
    return !was_bad;
}

bool l2_latch_holds(const struct l2_latch *latch, int64_t cleared_through_us)
{
    return latch->latched && latch->through_us > cleared_through_us;
}

/* ---- routing ---- */

static bool is_l2(enum l2_arm arm)
{
    return arm == L2_ARM_CHAMPION_L2 || arm == L2_ARM_CANDIDATE_L2;
}

static bool challenges(const struct l2_rollout *r)
{
    return r->stage != L2_STAGE_IDLE && r->stage != L2_STAGE_ROLLED_BACK;
}

bool l2_route_predicts(const struct l2_rollout *r, enum l2_arm arm)
{
    if (!is_l2(arm))
        return arm == L2_ARM_NO_L2;
    return r->known && (arm == r->incumbent || (arm == r->challenger && challenges(r)));
}

/* Why this prediction's own quality says no_l2; L2_ROUTE_ROLLOUT: it does not. */
static enum l2_route_reason quality(const struct l2_route_input *in)
{
    if (in->warm_up)
        return L2_ROUTE_WARMUP;
    if (l2_quality_is_stale(&in->quality))
        return L2_ROUTE_FRESHNESS;
    if (!in->has_feature)
        return L2_ROUTE_NO_FEATURE;
    if (!in->fits_contract)
        return L2_ROUTE_CONTRACT;
    return l2_quality_is_sparse(&in->quality) ? L2_ROUTE_NAN_RATE : L2_ROUTE_ROLLOUT;
}

/* Why no_l2 executes whatever the models can do; L2_ROUTE_ROLLOUT: the rollout's arm does. */
static enum l2_route_reason decide(const struct l2_route_input *in)
{
    const struct l2_rollout *r = &in->rollout;

    if (in->kill_switch || (r->known && r->kill_switch))
        return L2_ROUTE_KILL_SWITCH;
    if (!l2_route_predicts(r, L2_ARM_CHAMPION_L2) && !l2_route_predicts(r, L2_ARM_CANDIDATE_L2))
        return L2_ROUTE_NO_ROLLOUT;
    if (r->paused && !is_l2(r->effective))
        return L2_ROUTE_PAUSED;
    return in->latched ? L2_ROUTE_LATCH : quality(in);
}

struct l2_route l2_route(const struct l2_route_input *in)
{
    const enum l2_route_reason reason = decide(in);
    struct l2_route route = {.arm = L2_ARM_NO_L2, .reason = reason};

    if (reason == L2_ROUTE_ROLLOUT && l2_route_predicts(&in->rollout, in->rollout.effective) &&
        is_l2(in->rollout.effective)) {
        route.arm = in->rollout.effective;
        if (in->l2_serves)
            return route;
        route = (struct l2_route){.arm = L2_ARM_NO_L2, .reason = L2_ROUTE_NO_MODEL};
    }
    if (!in->no_l2_serves)
        route = (struct l2_route){.arm = L2_ARM_NONE, .reason = L2_ROUTE_NO_MODEL};
    return route;
}
