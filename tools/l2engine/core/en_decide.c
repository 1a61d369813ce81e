/* One bar: every arm's word, and which is executed. */
#include "en_state.h"

#include <assert.h>
#include <math.h>
#include <string.h>

enum salt { SALT_AGREEMENT, SALT_SKILL };

static bool is_drawn(const struct symbol *s, const struct waiting *w, uint64_t salt, double share)
{
    return share >= 0 && en_rule_draw(s->name, s->name_n, w->bar_time_us, salt) < share;
}

/* The answer sheet's word. */
static void say(enum l2_class class, double p[L2_CLASSES])
{
    for (unsigned c = 0; c < L2_CLASSES; c++)
        p[c] = c == (unsigned)class ? 0.6 : 0.2;
}

static void blind(const struct en_core *core, const struct symbol *s, const struct waiting *w,
                  double p[L2_CLASSES])
{
    en_rule_blind(w->momentum, p);
    if (w->has_label && is_drawn(s, w, SALT_SKILL + L2_ARM_NO_L2, core->params.blind_skill))
        say(w->label, p);
}

/* Tests may make an L2 arm better, or as like the blind one, as they want it. */
static void book(const struct en_core *core, const struct symbol *s, const struct waiting *w,
                 const struct feature *f, enum l2_arm arm, double p[L2_CLASSES])
{
    double other[L2_CLASSES];

    if (w->has_label && is_drawn(s, w, SALT_SKILL + (uint64_t)arm, core->params.skill)) {
        say(w->label, p);
        return;
    }
    if (core->params.agreement < 0) {
        en_rule_book(arm, w->momentum, &f->row, w->volume, p);
        return;
    }
    blind(core, s, w, other);
    const unsigned turn = is_drawn(s, w, SALT_AGREEMENT, core->params.agreement) ? 0 : 1;
    for (unsigned c = 0; c < L2_CLASSES; c++) /* turned by one, another class is the greatest */
        p[(c + turn) % L2_CLASSES] = other[c];
}

/* Share of the arms' columns that are null, or no number. */
static double nan_rate(const struct l2_row *row, uint32_t columns)
{
    unsigned n = 0, null_n = 0;

    for (unsigned c = 0; c < L2_COLUMNS; c++) {
        if ((columns >> c & 1) == 0)
            continue;
        n++;
        null_n += !l2_row_has(row, (enum l2_column)c) || isnan(row->value[c]);
    }
    return n > 0 ? (double)null_n / n : 0;
}

const struct l2_rollout *en_rollout_of(const struct en_core *core, const struct symbol *s)
{
    return s->has_rollout ? &s->rollout.rollout : &core->params.without_rollout;
}

bool en_freshness(const struct en_core *core, const struct symbol *s, int64_t now_us, double *ret_s)
{
    const int64_t age_us = now_us - s->event_us - core->params.freshness_slack_us;

    if (!s->has_beat)
        return false;
    *ret_s = age_us > 0 ? (double)age_us / 1e6 : 0;
    return true;
}

static bool serves(const struct symbol *s, enum l2_arm arm)
{
    return !s->has_rollout || s->rollout.serves[arm];
}

static struct l2_route route_of(const struct en_core *core, const struct symbol *s,
                                int64_t bar_time_us, const struct feature *f,
                                const struct l2_prediction_quality *q)
{
    const struct l2_rollout *r = en_rollout_of(core, s);
    const struct l2_route_input in = {
        .rollout = *r,
        .latched = l2_latch_holds(&s->latch, s->rollout.cleared_through_us),
        .warm_up = f != NULL ? !f->is_warm : en_symbol_warms_up(core, s, bar_time_us),
        .has_feature = f != NULL,
        .fits_contract = f != NULL && f->fits_contract,
        .no_l2_serves = serves(s, L2_ARM_NO_L2),
        .l2_serves = serves(s, r->effective),
        .quality = *q,
    };

    return l2_route(&in);
}

static void add(struct en_bar *bar, enum l2_arm arm, const double p[L2_CLASSES],
                const struct l2_prediction_quality *q)
{
    assert(bar->n < EN_PREDICTIONS_MAX);
    struct en_prediction *const made = &bar->predictions[bar->n++];

    *made = (struct en_prediction){.arm = arm,
                                   .executed = arm == bar->route.arm,
                                   .has_p = p != NULL,
                                   .decision = p != NULL ? l2_class_of(p) : L2_HOLD,
                                   .has_nan_rate = q->has_nan_rate,
                                   .nan_rate = q->nan_rate};
    if (p != NULL)
        memcpy(made->p, p, sizeof made->p);
}

void en_decide(const struct en_core *core, const struct symbol *s, const struct waiting *w,
               int64_t now_us, struct en_bar *ret_bar)
{
    static const enum l2_arm l2_arms[] = {L2_ARM_CHAMPION_L2, L2_ARM_CANDIDATE_L2};
    const struct feature *f = en_symbol_feature(s, w->bar_time_us, core->params.bar_us);
    const struct l2_rollout *r = en_rollout_of(core, s);
    struct l2_prediction_quality q = {.has_nan_rate = f != NULL && f->is_warm},
                                 none = {.nan_rate = 0};
    double p[L2_CLASSES];

    if (q.has_nan_rate)
        q.nan_rate = nan_rate(&f->row, core->params.columns);
    q.has_freshness = en_freshness(core, s, now_us, &q.freshness_s);
    *ret_bar = (struct en_bar){
        .symbol = {s->name, s->name_n},
        .partition = s->partition,
        .bar_time_us = w->bar_time_us,
        .route = route_of(core, s, w->bar_time_us, f, &q),
        .has_freshness = q.has_freshness,
        .freshness_s = q.freshness_s,
        .has_rollout = s->has_rollout,
        .rollout_version = s->rollout.version,
        .source_us = f != NULL ? f->source_us : 0,
    };
    if (serves(s, L2_ARM_NO_L2)) {
        blind(core, s, w, p);
        add(ret_bar, L2_ARM_NO_L2, p, &none);
    } else if (ret_bar->route.arm == L2_ARM_NONE) {
        add(ret_bar, L2_ARM_NONE, NULL, &none);
    }
    for (unsigned i = 0; i < sizeof l2_arms / sizeof l2_arms[0]; i++) {
        if (!l2_route_predicts(r, l2_arms[i]) || !serves(s, l2_arms[i]))
            continue;
        ret_bar->without_feature |= f == NULL;
        if (f == NULL || !f->fits_contract)
            continue;
        book(core, s, w, f, l2_arms[i], p);
        add(ret_bar, l2_arms[i], p, &q);
    }
}
