#include "core/qm_state.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- the cryptos ---- */

static uint32_t hash_of(const char *symbol)
{
    uint32_t h = 2166136261U; /* FNV-1a */

    for (const char *c = symbol; *c != '\0'; c++)
        h = (h ^ (uint8_t)*c) * 16777619U;
    return h;
}

static void put_slot(struct qm_core *core, unsigned number)
{
    uint32_t i = hash_of(core->cryptos[number]->symbol) % core->slots_n;

    while (core->slots[i] != 0)
        i = (i + 1) % core->slots_n;
    core->slots[i] = number + 1;
}

static const struct l2_reference *reference_of(const struct qm_core *core, const char *symbol)
{
    for (unsigned i = 0; i < core->options.references_n; i++) {
        const struct l2_reference *r = &core->options.references[i];
        if (strcmp(r->symbol, symbol) == 0 && r->bar_s == core->options.bar_s)
            return r;
    }
    return NULL;
}

/* Arrays behind the struct, taken one after another. */
struct arena {
    uint8_t *bytes; /* NULL: only counts */
    size_t used;
};

static void *take(struct arena *a, size_t n, size_t size)
{
    void *const at = a->bytes == NULL ? NULL : a->bytes + a->used;

    a->used += (n * size + 7) / 8 * 8;
    return at;
}

static void take_tally(struct arena *a, struct l2_tally *t, uint32_t bars_n, uint32_t codes_n)
{
    *t = (struct l2_tally){.bars_n = bars_n, .codes_n = codes_n};
    t->code = take(a, bars_n, sizeof *t->code);
    t->count = take(a, codes_n, sizeof *t->count);
    if (a->bytes != NULL)
        l2_tally_reset(t);
}

static void lay_out(const struct qm_core *core, struct arena *a, struct crypto *c)
{
    const uint32_t day = core->day_bars;

    take_tally(a, &c->psi_24h, day, L2_PSI_BINS_MAX);
    take_tally(a, &c->psi_24h_p2, day + 1, 2);
    for (unsigned i = 0; i < 3; i++)
        take_tally(a, &c->psi_30d[i], MONTH_DAYS * day, L2_PSI_BINS_MAX);
    take_tally(a, &c->nan_ahead, core->options.purge_bars > 0 ? core->options.purge_bars : 1,
               L2_COLUMNS + 1);
    take_tally(a, &c->oor, day, OOR_CODES);
    take_tally(a, &c->freshness, 7 * day, FRESHNESS_CODES);
    take_tally(a, &c->nan_rate, 7 * day, NAN_CODES);
    for (unsigned arm = 0; arm < L2_ARMS; arm++)
        take_tally(a, &c->agreement[arm], 7 * day, 2);
    c->lambda = take(a, day, sizeof *c->lambda);
}

static void start(const struct qm_core *core, struct crypto *c, const char *symbol)
{
    struct arena a = {.bytes = (uint8_t *)(c + 1)};

    memcpy(c->symbol, symbol, strlen(symbol) + 1);
    c->reference = reference_of(core, symbol);
    lay_out(core, &a, c);
    for (unsigned i = 0; i < QM_LATE_BARS; i++)
        c->said[i].bar = -1;
    c->cleared_through_us = INT64_MIN;
    for (unsigned i = 0; i < CLOSES; i++)
        c->close[i] = NAN;
    for (unsigned i = 0; i < DAYS_RING; i++)
        c->days[i].number = -1;
    for (unsigned i = 0; i < HOUR_BARS_MAX; i++)
        c->hour[i].bar = -1;
}

struct crypto *qm_find(struct qm_core *core, const char *symbol)
{
    if (core->found != NULL && strcmp(core->found->symbol, symbol) == 0)
        return core->found;
    uint32_t i = hash_of(symbol) % core->slots_n;

    for (; core->slots[i] != 0; i = (i + 1) % core->slots_n) {
        struct crypto *c = core->cryptos[core->slots[i] - 1];
        if (strcmp(c->symbol, symbol) == 0)
            return core->found = c;
    }
    if (core->cryptos_n == core->options.cryptos_max || strlen(symbol) > L2_SYMBOL_BYTES_MAX ||
        symbol[0] == '\0')
        return NULL;
    struct crypto *c = calloc(1, core->bytes_a_crypto);

    if (c == NULL)
        return NULL;
    start(core, c, symbol);
    c->number = core->cryptos_n;
    core->cryptos[core->cryptos_n] = c;
    put_slot(core, core->cryptos_n++);
    return core->found = c;
}

static bool fits(const struct qm_options *o)
{
    return o->bar_s >= 60 && o->bar_s <= 3600 && DAY_S % o->bar_s == 0 &&
           o->purge_bars <= L2_PURGE_BARS_MAX && o->cryptos_max >= 1 &&
           o->cryptos_max <= QM_CRYPTOS_MAX;
}

struct qm_core *qm_core_new(const struct qm_options *options)
{
    struct qm_core *core = calloc(1, sizeof *core);
    struct crypto *none = calloc(1, sizeof *none); /* of which only the arrays' sizes are asked */
    struct arena a = {.bytes = NULL};

    assert(fits(options));
    if (core == NULL || none == NULL) {
        free(none);
        free(core);
        return NULL;
    }
    core->options = *options;
    core->rows = options->rows != NULL ? options->rows : qm_rows;
    core->columns = l2_set_columns(options->set);
    core->columns_n = (unsigned)__builtin_popcount(core->columns);
    core->bar_us = (int64_t)options->bar_s * L2_US_PER_S;
    core->day_bars = DAY_S / options->bar_s;
    core->hour_bars = 3600 / options->bar_s;
    lay_out(core, &a, none);
    free(none);
    core->bytes_a_crypto = sizeof(struct crypto) + a.used;
    core->slots_n = 2 * options->cryptos_max + 1;
    core->cryptos = calloc(options->cryptos_max, sizeof(struct crypto *));
    core->slots = calloc(core->slots_n, sizeof *core->slots);
    if (core->cryptos == NULL || core->slots == NULL) {
        qm_core_free(core);
        return NULL;
    }
    return core;
}

void qm_core_free(struct qm_core *core)
{
    if (core == NULL)
        return;
    for (unsigned i = 0; core->cryptos != NULL && i < core->cryptos_n; i++)
        free(core->cryptos[i]);
    free(core->cryptos);
    free(core->slots);
    free(core);
}

/* ---- judging ---- */

static const struct alert_rule *rule_of(const struct qm_core *core, enum qm_signal signal)
{
    return signal == QM_FRESHNESS && core->options.freshness_rule.enter_n > 0
               ? &core->options.freshness_rule
               : &core->rows[signal].rule;
}

static bool is_past(double value, double below, double above)
{
    return (!isnan(below) && value < below) || (!isnan(above) && value > above);
}

static enum alert_state judge(const struct measured *m, const struct qm_signal_out *out)
{
    const double x = isnan(m->judged) ? m->value : m->judged;

    if (!m->has_value)
        return ALERT_NO_DATA;
    if (is_past(x, out->p2_below, out->p2_above) && !m->p2_held_back)
        return ALERT_P2;
    /* held back, it is a warning only where it is past that: a calibrated P2 may lie below warn */
    if (is_past(x, out->warn_below, out->warn_above))
        return ALERT_WARN;
    return ALERT_OK;
}

/* The threshold that decided: of the state, on the value's side. */
static double decisive(const struct qm_signal_out *out, enum alert_state state)
{
    const bool p2 = state == ALERT_P2;
    const double below = p2 ? out->p2_below : out->warn_below,
                 above = p2 ? out->p2_above : out->warn_above;

    if (isnan(above))
        return below;
    return isnan(below) || !out->has_value || out->value > below ? above : below;
}

static void tell_transition(struct qm_core *core, const struct crypto *c, struct tracked *t,
                            const struct qm_signal_out *out, enum alert_state previous)
{
    const bool calm = previous == ALERT_OK || !t->is_started;

    if (calm) {
        t->started_us = t->alert.since_us;
        t->is_started = true;
    }
    const struct qm_transition transition = {
        .signal = out->signal,
        .arm = out->arm,
        .previous = previous,
        .state = t->alert.state,
        .since_us = t->alert.since_us,
        .started_us = t->started_us,
        .has_value = out->has_value,
        .value = out->value,
        .threshold = decisive(out, t->alert.state == ALERT_P2 ? ALERT_P2 : ALERT_WARN),
        .n = out->n,
    };
    if (t->alert.state == ALERT_OK)
        t->is_started = false;
    core->options.sink.transition(core->options.sink.user, c->symbol, &transition);
}

void qm_tell(struct qm_core *core, struct crypto *c, const struct measured *m)
{
    const struct qm_row *row = &core->rows[m->signal];
    struct tracked *t = &c->tracked[m->signal][m->arm];
    const int64_t bar_time_us = m->bar * core->bar_us;
    struct qm_signal_out out = {
        .signal = m->signal,
        .arm = m->arm,
        .bar_time_us = bar_time_us,
        .has_value = m->has_value,
        .has_interval = m->has_interval,
        .value = m->has_value ? m->value : 0,
        .low = m->low,
        .high = m->high,
        .n = m->n,
        .window_s = row->window_s,
        .has_measurable_from = !m->has_value && m->bar < m->measurable_bar,
        .measurable_from_us = m->measurable_bar * core->bar_us,
        .warn_below = m->has_thresholds ? m->warn_below : row->warn_below,
        .warn_above = m->has_thresholds ? m->warn_above : row->warn_above,
        .p2_below = m->has_thresholds ? m->p2_below : row->p2_below,
        .p2_above = m->has_thresholds ? m->p2_above : row->p2_above,
    };
    const enum alert_state previous = t->alert.state;

    out.observed = judge(m, &out);
    if (alert_step(&t->alert, rule_of(core, m->signal), out.observed, bar_time_us + core->bar_us) &&
        !(previous == ALERT_NO_DATA && t->alert.state == ALERT_OK && !t->is_started))
        tell_transition(core, c, t, &out, previous);
    out.state = t->alert.state;
    if (t->is_emitted && bar_time_us <= t->emitted_us)
        return;
    t->is_emitted = true;
    t->emitted_us = bar_time_us;
    core->options.sink.signal(core->options.sink.user, c->symbol, &out);
}

/* ---- events ---- */

/* Number of the bar; −1: off the grid, or before 1970. */
static int64_t bar_of(const struct qm_core *core, int64_t bar_time_us)
{
    if (bar_time_us < 0 || bar_time_us % core->bar_us != 0)
        return -1;
    return bar_time_us / core->bar_us;
}

bool qm_core_bar(struct qm_core *core, const char *symbol, const struct qm_bar *bar)
{
    const int64_t number = bar_of(core, bar->bar_time_us);
    struct crypto *c = number < 0 ? NULL : qm_find(core, symbol);

    if (c == NULL)
        return false;
    qm_on_bar(core, c, number, bar);
    return true;
}

bool qm_core_feature(struct qm_core *core, const char *symbol, const struct qm_feature *feature)
{
    const int64_t number = bar_of(core, feature->bar_time_us);
    struct crypto *c =
        number < 0 || bar_of(core, feature->source_bar_time_us) < 0 ? NULL : qm_find(core, symbol);

    if (c == NULL)
        return false;
    qm_on_feature(core, c, number, feature);
    return true;
}

bool qm_core_prediction(struct qm_core *core, const char *symbol, const struct qm_prediction *p)
{
    const int64_t number = bar_of(core, p->bar_time_us);
    struct crypto *c =
        number < 0 || (unsigned)p->arm >= L2_ARMS || (unsigned)p->decision >= L2_CLASSES
            ? NULL
            : qm_find(core, symbol);

    if (c == NULL)
        return false;
    qm_on_prediction(core, c, number, p);
    return true;
}

bool qm_core_candle(struct qm_core *core, const char *symbol, const struct qm_candle *candle)
{
    const int64_t number = bar_of(core, candle->bar_time_us);
    struct crypto *c =
        number < 0 || !isfinite(candle->close) || candle->close <= 0 ? NULL : qm_find(core, symbol);

    if (c == NULL)
        return false;
    qm_on_candle(core, c, number, candle->close);
    return true;
}

/* A reading that has no bar, and so no record: it feeds the alert alone. */
static void step_alert(struct qm_core *core, struct crypto *c, enum qm_signal signal, double value,
                       int64_t now_us)
{
    struct tracked *t = &c->tracked[signal][L2_ARM_NONE];
    const struct qm_row *row = &core->rows[signal];
    const struct measured m = {.has_value = true, .value = value, .judged = NAN};
    const struct qm_signal_out out = {.signal = signal,
                                      .has_value = true,
                                      .value = value,
                                      .n = 1,
                                      .warn_above = row->warn_above,
                                      .p2_above = row->p2_above,
                                      .warn_below = row->warn_below,
                                      .p2_below = row->p2_below};
    const enum alert_state previous = t->alert.state;

    if (alert_step(&t->alert, rule_of(core, signal), judge(&m, &out), now_us) &&
        !(previous == ALERT_NO_DATA && t->alert.state == ALERT_OK && !t->is_started))
        tell_transition(core, c, t, &out, previous);
}

bool qm_core_freshness(struct qm_core *core, const char *symbol, double freshness_s, int64_t now_us)
{
    struct crypto *c = qm_find(core, symbol);

    if (c == NULL)
        return false;
    step_alert(core, c, QM_FRESHNESS, freshness_s, now_us);
    return true;
}

bool qm_core_proof(struct qm_core *core, const char *symbol, int64_t bar_time_us, bool is_same)
{
    const int64_t bar = bar_of(core, bar_time_us);
    struct crypto *c = bar < 0 ? NULL : qm_find(core, symbol);
    const struct measured m = {.signal = QM_LEAKAGE,
                               .bar = bar,
                               .judged = NAN,
                               .has_value = true,
                               .value = !is_same,
                               .n = 1};

    if (c == NULL)
        return false;
    qm_tell(core, c, &m);
    return true;
}

bool qm_core_rollout(struct qm_core *core, const char *symbol, const struct qm_rollout *rollout)
{
    struct crypto *c = qm_find(core, symbol);

    if (c == NULL)
        return false;
    if (rollout->cleared_through_us > c->cleared_through_us)
        c->cleared_through_us = rollout->cleared_through_us;
    if (c->tracked[QM_LATCH][L2_ARM_NONE].alert.had_data)
        step_alert(core, c, QM_LATCH, l2_latch_holds(&c->latch, c->cleared_through_us),
                   rollout->time_us);
    return true;
}

/* ---- what is out already ---- */

void qm_core_emitted_signal(struct qm_core *core, const char *symbol, enum qm_signal signal,
                            enum l2_arm arm, int64_t bar_time_us)
{
    struct crypto *c = qm_find(core, symbol);

    if (c == NULL || (unsigned)signal >= QM_SIGNALS || (unsigned)arm >= L2_ARMS)
        return;
    struct tracked *t = &c->tracked[signal][arm];

    if (t->is_emitted && bar_time_us <= t->emitted_us)
        return;
    t->is_emitted = true;
    t->emitted_us = bar_time_us;
}

/* ---- asking ---- */

unsigned qm_core_cryptos(const struct qm_core *core)
{
    return core->cryptos_n;
}

size_t qm_core_bytes_a_crypto(const struct qm_core *core)
{
    return core->bytes_a_crypto;
}

bool qm_core_number(struct qm_core *core, const char *symbol, uint32_t *ret_crypto)
{
    const struct crypto *c = qm_find(core, symbol);

    if (c == NULL)
        return false;
    *ret_crypto = c->number;
    return true;
}

bool qm_core_had_data(const struct qm_core *core, unsigned crypto, enum qm_signal signal,
                      enum l2_arm arm)
{
    assert(crypto < core->cryptos_n && signal < QM_SIGNALS && arm < L2_ARMS);
    return core->cryptos[crypto]->tracked[signal][arm].alert.had_data;
}

const char *qm_core_reference_version(struct qm_core *core, const char *symbol)
{
    const struct crypto *c = qm_find(core, symbol);

    return c == NULL || c->reference == NULL ? NULL : c->reference->version;
}

const char *qm_core_symbol(const struct qm_core *core, unsigned crypto)
{
    assert(crypto < core->cryptos_n);
    return core->cryptos[crypto]->symbol;
}

enum alert_state qm_core_state(const struct qm_core *core, unsigned crypto, enum qm_signal signal,
                               enum l2_arm arm)
{
    assert(crypto < core->cryptos_n && signal < QM_SIGNALS && arm < L2_ARMS);
    return core->cryptos[crypto]->tracked[signal][arm].alert.state;
}
