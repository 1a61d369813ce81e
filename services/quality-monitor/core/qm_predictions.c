/* Predictions and candles: freshness, NaN rate, agreement, and labels that mature. */
#include "core/qm_state.h"

#include <assert.h>
#include <math.h>
#include <string.h>

/* ---- gate figures of what was predicted ---- */

static void tell_freshness(struct qm_core *core, struct crypto *c, int64_t bar,
                           const struct qm_prediction *p)
{
    struct measured m = {.signal = QM_FRESHNESS, .bar = bar, .judged = NAN};
    struct measured p99 = {.signal = QM_FRESHNESS_P99,
                           .bar = bar,
                           .judged = NAN,
                           .measurable_bar = c->first_prediction + SAMPLES_24H_MIN - 1};
    uint16_t code;

    if (p->has_freshness) {
        const double steps = ceil((p->freshness_s < 0 ? 0 : p->freshness_s) / FRESHNESS_STEP_S);
        (void)l2_tally_put(&c->freshness, bar,
                           steps < FRESHNESS_CODES - 1 ? (uint16_t)steps : FRESHNESS_CODES - 1);
        m.has_value = true;
        m.value = p->freshness_s;
        m.n = 1;
    } else {
        l2_tally_advance(&c->freshness, bar);
    }
    p99.n = c->freshness.n;
    if (p99.n >= SAMPLES_24H_MIN && l2_tally_quantile(&c->freshness, 0.99, &code)) {
        p99.has_value = true;
        p99.value = code * FRESHNESS_STEP_S;
    }
    qm_tell(core, c, &m);
    qm_tell(core, c, &p99);
}

static void tell_nan_rate(struct qm_core *core, struct crypto *c, int64_t bar,
                          const struct qm_prediction *p)
{
    struct measured m = {.signal = QM_NAN_RATE, .bar = bar, .judged = NAN};
    struct measured p99 = {.signal = QM_NAN_RATE_P99,
                           .bar = bar,
                           .judged = NAN,
                           .measurable_bar = c->first_prediction + SAMPLES_24H_MIN - 1};
    uint16_t code;

    if (p->has_nan_rate) {
        (void)l2_tally_put(&c->nan_rate, bar, (uint16_t)ceil(p->nan_rate * (NAN_CODES - 1) - 1e-9));
        m.has_value = true;
        m.value = p->nan_rate;
        m.n = core->columns_n;
    } else {
        l2_tally_advance(&c->nan_rate, bar);
    }
    p99.n = c->nan_rate.n;
    if (p99.n >= SAMPLES_24H_MIN && l2_tally_quantile(&c->nan_rate, 0.99, &code)) {
        p99.has_value = true;
        p99.value = code / (double)(NAN_CODES - 1);
    }
    qm_tell(core, c, &m);
    qm_tell(core, c, &p99);
}

/* Both arms of one bar are known. */
static void tell_agreement(struct qm_core *core, struct crypto *c,
                           const struct prediction_slot *slot, enum l2_arm arm)
{
    struct l2_tally *t = &c->agreement[arm];

    if (!c->has_agreement[arm])
        c->first_agreement[arm] = slot->bar;
    c->has_agreement[arm] = true;
    (void)l2_tally_put(t, slot->bar, slot->arm[arm].decision == slot->arm[L2_ARM_NO_L2].decision);
    struct measured m = {.signal = QM_AGREEMENT,
                         .arm = arm,
                         .bar = slot->bar,
                         .judged = NAN,
                         .n = t->n,
                         .measurable_bar = c->first_agreement[arm] + SAMPLES_24H_MIN - 1};

    if (t->n >= SAMPLES_24H_MIN) {
        const struct l2_interval i = l2_wilson95(t->count[1], t->n);
        m.has_value = m.has_interval = true;
        m.value = t->count[1] / (double)t->n;
        m.low = i.low;
        m.high = i.high;
    }
    qm_tell(core, c, &m);
}

/* ---- label sets ---- */

double qm_close_at(const struct crypto *c, int64_t bar)
{
    if (!c->has_candle || bar < 0 || bar > c->newest_candle || c->newest_candle - bar >= CLOSES)
        return NAN;
    return c->close[qm_slot(bar, CLOSES)];
}

/* What the newest candle matured, to the predictions that wait for it. */
static void mature(struct qm_core *core, struct crypto *c, unsigned number)
{
    struct label_set *s = &c->set[number];
    struct l2_label label;

    while (l2_labels_next(&s->labels, &label)) {
        struct matured *m = &s->matured[qm_slot(label.bar, QM_LATE_BARS)];
        *m = (struct matured){.bar = label.bar,
                              .entry_price = label.entry_price,
                              .exit_price = label.exit_price,
                              .exit_bars = (uint16_t)(label.exit_bar - label.bar),
                              .label = (uint8_t)label.label,
                              .barrier = (uint8_t)label.barrier};
        struct prediction_slot *slot = &c->said[qm_slot(label.bar, QM_LATE_BARS)];
        for (enum l2_arm arm = L2_ARM_NO_L2; slot->bar == label.bar && arm < L2_ARMS; arm++) {
            if (slot->arm[arm].there && slot->arm[arm].set == number)
                qm_score(core, c, slot, arm, m);
        }
    }
}

static bool same_params(const struct l2_label_params *a, const struct l2_label_params *b)
{
    return a->horizon_bars == b->horizon_bars && a->span_bars == b->span_bars &&
           !(a->width < b->width) && !(a->width > b->width);
}

static bool is_waited_for(const struct crypto *c, unsigned number)
{
    for (unsigned i = 0; i < QM_LATE_BARS; i++) {
        for (unsigned arm = 0; c->said[i].bar >= 0 && arm < L2_ARMS; arm++) {
            const struct said *s = &c->said[i].arm[arm];
            if (s->there && s->set == number)
                return true;
        }
    }
    return false;
}

/* A set with these parameters; a new one learns from the closes at hand. QM_LABEL_SETS_MAX: out of
 * bounds, or all are in use. */
static unsigned set_of(struct qm_core *core, struct crypto *c, const struct l2_label_params *params)
{
    unsigned number = QM_LABEL_SETS_MAX;

    if (!l2_label_params_valid(params) || params->horizon_bars > QM_HORIZON_BARS_MAX ||
        params->span_bars > QM_SPAN_BARS_MAX)
        return QM_LABEL_SETS_MAX;
    for (unsigned i = 0; i < QM_LABEL_SETS_MAX; i++) {
        if (c->set[i].used && same_params(&c->set[i].labels.params, params))
            return i;
        if (!c->set[i].used && number == QM_LABEL_SETS_MAX)
            number = i;
    }
    for (unsigned i = 0; i < QM_LABEL_SETS_MAX && number == QM_LABEL_SETS_MAX; i++) {
        if (!is_waited_for(c, i))
            number = i;
    }
    if (number == QM_LABEL_SETS_MAX)
        return number;
    struct label_set *s = &c->set[number];

    s->used = true;
    s->labels.ring = s->ring;
    l2_labels_reset(&s->labels, params);
    for (unsigned i = 0; i < QM_LATE_BARS; i++)
        s->matured[i].bar = -1;
    for (int64_t bar = c->newest_candle - CLOSES + 1; c->has_candle && bar <= c->newest_candle;
         bar++) {
        const double close = qm_close_at(c, bar);
        if (isnan(close))
            continue;
        l2_labels_put(&s->labels, bar, close);
        mature(core, c, number);
    }
    return number;
}

/* ---- predictions ---- */

static uint8_t version_of(struct crypto *c, const char *text)
{
    for (uint8_t i = 0; i < VERSIONS; i++) {
        if (strcmp(c->version[i], text) == 0)
            return i;
    }
    const uint8_t at = c->version_next;

    memcpy(c->version[at], text, strnlen(text, QM_TEXT_BYTES_MAX) + 1);
    c->version[at][QM_TEXT_BYTES_MAX] = '\0';
    c->version_next = (uint8_t)((at + 1) % VERSIONS);
    return at;
}

/* The bar's slot; NULL: the bar is too old. */
static struct prediction_slot *slot_for(struct crypto *c, int64_t bar)
{
    struct prediction_slot *slot = &c->said[qm_slot(bar, QM_LATE_BARS)];

    if (slot->bar > bar)
        return NULL;
    if (slot->bar < bar) {
        memset(slot, 0, sizeof *slot);
        slot->bar = bar;
    }
    return slot;
}

static void tell_new_bar(struct qm_core *core, struct crypto *c, int64_t bar,
                         const struct qm_prediction *p)
{
    if (c->has_prediction && bar <= c->newest_prediction)
        return; /* the other L2 arm of this bar spoke for both */
    if (!c->has_prediction)
        c->first_prediction = bar;
    c->has_prediction = true;
    c->newest_prediction = bar;
    tell_freshness(core, c, bar, p);
    tell_nan_rate(core, c, bar, p);
}

/* The same fold as the engine's, over the same records. */
static void fold_latch(struct qm_core *core, struct crypto *c, int64_t bar,
                       const struct qm_prediction *p)
{
    const struct l2_latch_record record = {.bar_time_us = p->bar_time_us,
                                           .reason = p->reason,
                                           .quality = {.has_freshness = p->has_freshness,
                                                       .freshness_s = p->freshness_s,
                                                       .has_nan_rate = p->has_nan_rate,
                                                       .nan_rate = p->nan_rate}};
    struct measured m = {.signal = QM_LATCH, .bar = bar, .judged = NAN, .has_value = true};

    (void)l2_latch_put(&c->latch, &record);
    if (!p->executed)
        return;
    m.value = l2_latch_holds(&c->latch, c->cleared_through_us);
    m.n = c->latch.row;
    qm_tell(core, c, &m);
}

/* Does it come when its label's last bar, or the one before, has been predicted for? Judged by what
 * predictions came before it alone, so that it is the same however the topics are read; and a bar
 * early, since the candle of that bar may be read before or after the prediction for it. */
static bool is_late(const struct crypto *c, int64_t bar, const struct qm_prediction *p)
{
    const int64_t bars = p->label.horizon_bars > 2 ? (int64_t)p->label.horizon_bars - 1 : 1;

    return c->has_said && p->has_label && c->newest_said >= bar + bars;
}

void qm_on_prediction(struct qm_core *core, struct crypto *c, int64_t bar,
                      const struct qm_prediction *p)
{
    struct prediction_slot *slot = slot_for(c, bar);

    if (slot == NULL || slot->arm[p->arm].there)
        return;
    fold_latch(core, c, bar, p);
    if (p->arm == L2_ARM_CHAMPION_L2 || p->arm == L2_ARM_CANDIDATE_L2)
        tell_new_bar(core, c, bar, p);
    struct said *s = &slot->arm[p->arm];

    s->there = true;
    s->executed = p->executed;
    s->decision = (uint8_t)p->decision;
    s->version = version_of(c, p->model_version);
    s->set = QM_LABEL_SETS_MAX;
    s->late = is_late(c, bar, p);
    if (!c->has_said || bar > c->newest_said)
        c->newest_said = bar;
    c->has_said = true;
    if (p->has_label && p->arm != L2_ARM_NONE)
        s->set = (uint8_t)set_of(core, c, &p->label);
    for (enum l2_arm arm = L2_ARM_CHAMPION_L2; arm < L2_ARMS; arm++) {
        if ((arm == p->arm || p->arm == L2_ARM_NO_L2) && slot->arm[arm].there &&
            slot->arm[L2_ARM_NO_L2].there)
            tell_agreement(core, c, slot, arm);
    }
    if (s->set == QM_LABEL_SETS_MAX)
        return;
    const struct matured *m = &c->set[s->set].matured[qm_slot(bar, QM_LATE_BARS)];

    if (m->bar == bar)
        qm_score(core, c, slot, p->arm, m);
}

/* ---- candles ---- */

static void keep_close(struct crypto *c, int64_t bar, double close)
{
    const int64_t gap = c->has_candle ? bar - c->newest_candle - 1 : 0;

    for (int64_t i = 1; i <= gap && i < CLOSES; i++)
        c->close[qm_slot(bar - i, CLOSES)] = NAN;
    c->close[qm_slot(bar, CLOSES)] = close;
    c->has_candle = true;
    c->newest_candle = bar;
}

static void close_candle_days(struct qm_core *core, struct crypto *c, int64_t day)
{
    if (!c->has_candle)
        c->candle_day = day;
    if (day - c->candle_day > MONTH_DAYS) { /* of a long silence the last that windows can hold */
        qm_close_candle_day(core, c, c->candle_day);
        c->candle_day = day - MONTH_DAYS;
    }
    while (c->candle_day < day)
        qm_close_candle_day(core, c, c->candle_day++);
}

void qm_on_candle(struct qm_core *core, struct crypto *c, int64_t bar, double close)
{
    if (c->has_candle && bar <= c->newest_candle)
        return;
    close_candle_days(core, c, bar / core->day_bars);
    keep_close(c, bar, close);
    for (unsigned i = 0; i < QM_LABEL_SETS_MAX; i++) {
        if (!c->set[i].used)
            continue;
        l2_labels_put(&c->set[i].labels, bar, close);
        mature(core, c, i);
    }
    if ((bar + 1) % core->day_bars == 0)
        qm_close_candle_day(core, c, c->candle_day++);
}
