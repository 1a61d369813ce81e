/* Skill: outcomes of matured predictions, and what a month of them says of each arm. */
#include "core/qm_state.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BUYS_MIN 30
#define DELTA_DAYS_MIN 10
#define RESAMPLES 1000

/* ---- which outcomes are out ---- */

static uint64_t bit_of(int64_t bar)
{
    return UINT64_C(1) << qm_slot(bar, 64);
}

static uint64_t *word_of(struct emitted *e, int64_t bar)
{
    return &e->bits[qm_slot(bar, QM_LATE_BARS) / 64];
}

static bool is_out(struct emitted *e, int64_t bar)
{
    if (!e->started || bar > e->newest)
        return false;
    return e->newest - bar >= QM_LATE_BARS || (*word_of(e, bar) & bit_of(bar)) != 0;
}

static void set_out(struct emitted *e, int64_t bar)
{
    if (!e->started || bar - e->newest >= QM_LATE_BARS) {
        memset(e->bits, 0, sizeof e->bits);
    } else {
        for (int64_t b = e->newest + 1; b <= bar; b++)
            *word_of(e, b) &= ~bit_of(b);
    }
    if (!e->started || bar > e->newest)
        e->newest = bar;
    e->started = true;
    if (e->newest - bar < QM_LATE_BARS)
        *word_of(e, bar) |= bit_of(bar);
}

void qm_core_emitted_outcome(struct qm_core *core, const char *symbol, enum l2_arm arm,
                             int64_t bar_time_us)
{
    struct crypto *c = qm_find(core, symbol);

    if (c != NULL && (unsigned)arm < L2_ARMS && bar_time_us >= 0 && bar_time_us % core->bar_us == 0)
        set_out(&c->emitted[arm], bar_time_us / core->bar_us);
}

/* ---- one outcome ---- */

/* The decision's day; NULL: it is too old to count. */
static struct day *day_of(const struct qm_core *core, struct crypto *c, int64_t bar)
{
    const int64_t number = bar / core->day_bars;
    struct day *d = &c->days[qm_slot(number, DAYS_RING)];

    if (d->number > number)
        return NULL;
    if (d->number < number) {
        memset(d, 0, sizeof *d);
        d->number = number;
    }
    return d;
}

static void count_one(struct pair *p, unsigned side, bool said_buy, bool was_buy)
{
    p->tp[side] = (uint16_t)(p->tp[side] + (said_buy && was_buy));
    p->fp[side] = (uint16_t)(p->fp[side] + (said_buy && !was_buy));
    p->fn[side] = (uint16_t)(p->fn[side] + (!said_buy && was_buy));
}

static void count_pair(struct pair *p, const struct said *arm, const struct said *blind)
{
    count_one(p, 0, arm->decision == L2_BUY, arm->label == L2_BUY);
    count_one(p, 1, blind->decision == L2_BUY, blind->label == L2_BUY);
    p->n++;
}

static void count(const struct qm_core *core, struct crypto *c, struct prediction_slot *slot,
                  enum l2_arm arm)
{
    struct day *d = day_of(core, c, slot->bar);
    const struct said *s = &slot->arm[arm], *blind = &slot->arm[L2_ARM_NO_L2];

    if (d == NULL || s->late)
        return;
    d->arm[arm].n[s->decision][s->label]++;
    for (enum l2_arm other = L2_ARM_CHAMPION_L2; other < L2_ARMS; other++) {
        if ((other == arm || arm == L2_ARM_NO_L2) && slot->arm[other].there &&
            slot->arm[other].scored && !slot->arm[other].late && blind->there && blind->scored &&
            !blind->late)
            count_pair(&d->pair[other], &slot->arm[other], blind);
    }
}

void qm_score(struct qm_core *core, struct crypto *c, struct prediction_slot *slot, enum l2_arm arm,
              const struct matured *m)
{
    struct said *s = &slot->arm[arm];
    struct qm_outcome_out out = {
        .arm = arm,
        .decision = (enum l2_class)s->decision,
        .executed = s->executed,
        .is_late = s->late,
        .params = c->set[s->set].labels.params,
        .label = {.bar = m->bar,
                  .label = (enum l2_class)m->label,
                  .barrier = (enum l2_barrier)m->barrier,
                  .exit_bar = m->bar + m->exit_bars,
                  .entry_price = m->entry_price,
                  .exit_price = m->exit_price,
                  .return_bps = (m->exit_price / m->entry_price - 1) * 1e4},
    };

    if (s->scored)
        return;
    s->scored = true;
    s->label = m->label;
    count(core, c, slot, arm);
    if (is_out(&c->emitted[arm], m->bar))
        return;
    set_out(&c->emitted[arm], m->bar);
    memcpy(out.model_version, c->version[s->version], sizeof out.model_version);
    core->options.sink.outcome(core->options.sink.user, c->symbol, &out);
}

/* ---- a month ---- */

static const struct day *day_at(const struct crypto *c, int64_t number)
{
    const struct day *d = number < 0 ? NULL : &c->days[qm_slot(number, DAYS_RING)];

    return d != NULL && d->number == number ? d : NULL;
}

static struct l2_confusion month_of(const struct crypto *c, int64_t day, enum l2_arm arm)
{
    struct l2_confusion sum = {{{0}}};

    for (int64_t d = day - MONTH_DAYS + 1; d <= day; d++) {
        const struct day *one = day_at(c, d);
        for (unsigned i = 0; one != NULL && i < L2_CLASSES; i++) {
            for (unsigned j = 0; j < L2_CLASSES; j++)
                sum.n[i][j] += one->arm[arm].n[i][j];
        }
    }
    return sum;
}

static double pair_delta(const uint32_t tp[2], const uint32_t fp[2], const uint32_t fn[2])
{
    double f1[2];

    for (unsigned side = 0; side < 2; side++) {
        const uint32_t all = 2 * tp[side] + fp[side] + fn[side];
        f1[side] = all == 0 ? 0 : 2.0 * tp[side] / all;
    }
    return f1[0] - f1[1];
}

/* splitmix64 (Steele, Lea, Flood 2014) */
static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);

    z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
    z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
    return z ^ z >> 31;
}

static double delta_of(const struct pair *const *days, const unsigned *chosen, unsigned n)
{
    uint32_t tp[2] = {0}, fp[2] = {0}, fn[2] = {0};

    for (unsigned i = 0; i < n; i++) {
        const struct pair *p = days[chosen == NULL ? i : chosen[i]];
        for (unsigned side = 0; side < 2; side++) {
            tp[side] += p->tp[side];
            fp[side] += p->fp[side];
            fn[side] += p->fn[side];
        }
    }
    return pair_delta(tp, fp, fn);
}

/* Δf1_buy over the same bars, and the 95 % interval of a block bootstrap whose blocks are days:
 * labels overlap within a day, and hardly from one to the next. */
static void tell_delta(struct qm_core *core, struct crypto *c, int64_t day, enum l2_arm arm)
{
    const struct pair *days[MONTH_DAYS];
    unsigned n = 0, chosen[MONTH_DAYS];
    uint32_t actual = 0;
    double resampled[RESAMPLES];
    uint64_t seed = (uint64_t)day;
    struct measured m = {.signal = QM_DELTA_F1,
                         .arm = arm,
                         .bar = (day + 1) * (int64_t)core->day_bars - 1,
                         .judged = NAN};

    for (int64_t d = day - MONTH_DAYS + 1; d <= day; d++) {
        const struct day *one = day_at(c, d);
        if (one == NULL || one->pair[arm].n == 0)
            continue;
        m.n += one->pair[arm].n;
        actual += (uint32_t)(one->pair[arm].tp[0] + one->pair[arm].fn[0]);
        days[n++] = &one->pair[arm];
    }
    if (n >= DELTA_DAYS_MIN && actual >= BUYS_MIN) {
        for (unsigned r = 0; r < RESAMPLES; r++) {
            for (unsigned i = 0; i < n; i++)
                chosen[i] = (unsigned)(next_random(&seed) % n);
            resampled[r] = delta_of(days, chosen, n);
        }
        l2_sort(resampled, RESAMPLES);
        m.has_value = m.has_interval = true;
        m.value = delta_of(days, NULL, n);
        m.low = l2_quantile_sorted(resampled, RESAMPLES, 0.025);
        m.high = m.judged = l2_quantile_sorted(resampled, RESAMPLES, 0.975);
    }
    qm_tell(core, c, &m);
}

static void tell_f1(struct qm_core *core, struct crypto *c, int64_t day, enum l2_arm arm,
                    const struct l2_confusion *sum)
{
    struct measured m = {.signal = QM_F1_BUY,
                         .arm = arm,
                         .bar = (day + 1) * (int64_t)core->day_bars - 1,
                         .judged = NAN,
                         .n = l2_confusion_n(sum)};
    struct l2_interval i = {0, 0};

    if (l2_f1_buy(sum, &m.value) && l2_f1_buy_interval(sum, &i)) {
        m.has_value = m.has_interval = true;
        m.low = i.low;
        m.high = i.high;
    }
    qm_tell(core, c, &m);
    if (arm == L2_ARM_NO_L2)
        return;
    const double live = m.value;
    const bool enough =
        m.has_value && l2_actual_buys(sum) >= BUYS_MIN && l2_predicted_buys(sum) >= BUYS_MIN;

    m.signal = QM_F1_DRIFT;
    m.has_value = m.has_interval = false;
    if (enough && c->reference != NULL && c->reference->f1_buy.known) {
        m.has_value = m.has_interval = true;
        m.value = c->reference->f1_buy.value - live;
        m.low = c->reference->f1_buy.value - i.high;
        m.high = c->reference->f1_buy.value - i.low;
    }
    qm_tell(core, c, &m);
}

void qm_close_candle_day(struct qm_core *core, struct crypto *c, int64_t day)
{
    for (enum l2_arm arm = L2_ARM_NO_L2; arm < L2_ARMS; arm++) {
        const struct l2_confusion sum = month_of(c, day, arm);
        if (l2_confusion_n(&sum) == 0)
            continue;
        tell_f1(core, c, day, arm, &sum);
        if (arm != L2_ARM_NO_L2)
            tell_delta(core, c, day, arm);
    }
}
