#include "l2/gate.h"

static enum l2_criterion_state met(const struct l2_figure *f, bool is)
{
    if (!f->known)
        return L2_CRITERION_UNKNOWN;
    return is ? L2_CRITERION_MET : L2_CRITERION_NOT_MET;
}

static enum l2_gate_verdict last(uint32_t days)
{
    return days >= L2_GATE_DAYS_MAX ? L2_GATE_ROLL_BACK : L2_GATE_EXTEND;
}

struct l2_shadow_result l2_gate_shadow(const struct l2_shadow *s)
{
    struct l2_shadow_result r = {
        .verdict = L2_GATE_WAIT,
        .freshness = met(&s->freshness_p99_s, s->freshness_p99_s.value < L2_GATE_FRESHNESS_P99_S),
        .nan_rate = met(&s->nan_rate_p99, s->nan_rate_p99.value < L2_GATE_NAN_RATE_P99),
        .agreement = met(&s->agreement, s->agreement.value >= s->agreement_min),
    };
    const bool all = r.freshness == L2_CRITERION_MET && r.nan_rate == L2_CRITERION_MET &&
                     r.agreement == L2_CRITERION_MET;

    if (s->days >= L2_GATE_DAYS)
        r.verdict = all && !s->has_warning ? L2_GATE_PASS : last(s->days);
    return r;
}

struct l2_canary_result l2_gate_canary(const struct l2_canary *c)
{
    struct l2_canary_result r = {.verdict = L2_GATE_WAIT, .looks = c->days / L2_GATE_DAYS};
    const bool enough = c->actual_buys >= L2_GATE_BUYS_MIN && c->predicted_buys >= L2_GATE_BUYS_MIN;

    if (r.looks > L2_GATE_DAYS_MAX / L2_GATE_DAYS)
        r.looks = L2_GATE_DAYS_MAX / L2_GATE_DAYS;
    if (c->estimate.known) {
        r.low = c->estimate.value * (1 - L2_GATE_F1_BAND);
        r.high = c->estimate.value * (1 + L2_GATE_F1_BAND);
    }
    if (c->estimate.known && c->f1_buy.known && enough)
        r.f1_buy = c->f1_buy.value < r.low    ? L2_CRITERION_NOT_MET
                   : c->f1_buy.value > r.high ? L2_CRITERION_ABOVE
                                              : L2_CRITERION_MET;
    if (c->days < L2_GATE_DAYS)
        return r;
    r.verdict = r.f1_buy == L2_CRITERION_MET     ? L2_GATE_PASS
                : r.f1_buy == L2_CRITERION_ABOVE ? L2_GATE_REVIEW
                                                 : last(c->days);
    return r;
}
