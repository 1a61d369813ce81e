/* Signals of bars and feature records: drift, ranges, cadence, tails, what the purge holds back. */
#include "core/qm_state.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const enum l2_column month_columns[3] = {L2_KYLE_LAMBDA, L2_OFI, L2_DEPTH_IMBALANCE_L5};
static const enum qm_signal month_signals[3] = {QM_PSI_30D_KYLE, QM_PSI_30D_OFI,
                                                QM_PSI_30D_IMBALANCE};

static const struct l2_reference_feature *feature_of(const struct crypto *c, enum l2_column column)
{
    return c->reference != NULL && c->reference->feature[column].n > 0
               ? &c->reference->feature[column]
               : NULL;
}

/* ---- drift ---- */

static void put_bin(struct l2_tally *t, const struct crypto *c, enum l2_column column, int64_t bar,
                    const struct l2_row *row)
{
    const struct l2_reference_feature *f = feature_of(c, column);

    if (f != NULL && l2_row_has(row, column))
        (void)l2_tally_put(t, bar, (uint16_t)l2_psi_bin(&f->bins, row->value[column]));
    else
        l2_tally_advance(t, bar);
}

static struct measured drift(const struct crypto *c, const struct l2_tally *t, int64_t bar,
                             enum qm_signal signal, enum l2_column column, unsigned samples_min)
{
    const struct l2_reference_feature *f = feature_of(c, column);
    const bool is_day = signal == QM_PSI_24H;
    struct measured m = {.signal = signal,
                         .bar = bar,
                         .judged = NAN,
                         .n = t->n,
                         .measurable_bar = c->first_bar + samples_min - 1,
                         .warn_below = NAN,
                         .p2_below = NAN};

    if (f == NULL)
        return m;
    m.has_thresholds = true;
    m.warn_above = is_day ? f->psi_24h_warn : f->psi_30d_warn;
    m.p2_above = is_day ? f->psi_24h_p2 : f->psi_30d_p2;
    if (t->n < samples_min)
        return m;
    m.has_value = true;
    m.value = l2_psi(&f->bins, t->count);
    return m;
}

/* P2 of the 24 h PSI needs two disjoint windows: this one, and the one that ended as it began. */
static void tell_psi_24h(struct qm_core *core, struct crypto *c, int64_t bar)
{
    struct measured m = drift(c, &c->psi_24h, bar, QM_PSI_24H, L2_KYLE_LAMBDA,
                              l2_psi_bars_min(core->options.bar_s, 1));
    const bool past = m.has_value && m.value > m.p2_above;

    (void)l2_tally_put(&c->psi_24h_p2, bar, past);
    m.p2_held_back = l2_tally_at(&c->psi_24h_p2, bar - (int64_t)core->day_bars) != 1;
    qm_tell(core, c, &m);
}

/* ---- cadence ---- */

/* Among n that rise. */
static void insert(uint32_t *counts, unsigned n, uint32_t count)
{
    for (; n > 0 && counts[n - 1] > count; n--)
        counts[n] = counts[n - 1];
    counts[n] = count;
}

static void tell_cadence(struct qm_core *core, struct crypto *c, int64_t bar, uint32_t snapshots)
{
    uint32_t counts[HOUR_BARS_MAX];
    unsigned n = 0;
    struct measured m = {.signal = QM_CADENCE,
                         .bar = bar,
                         .judged = NAN,
                         .measurable_bar = c->first_bar + core->hour_bars - 1};

    c->hour[qm_slot(bar, core->hour_bars)].bar = bar;
    c->hour[qm_slot(bar, core->hour_bars)].snapshots = snapshots;
    for (unsigned i = 0; i < core->hour_bars; i++) {
        if (c->hour[i].bar > bar - (int64_t)core->hour_bars && c->hour[i].bar >= 0)
            insert(counts, n++, c->hour[i].snapshots);
    }
    m.n = n;
    if (n == core->hour_bars && c->reference != NULL && c->reference->snapshots_median > 0) {
        const unsigned low = (n - 1) / 2, high = n / 2;
        const double median = (counts[low] + (double)counts[high]) / 2;
        m.has_value = true;
        m.value = median / c->reference->snapshots_median;
    }
    qm_tell(core, c, &m);
}

/* ---- what the purge holds back ---- */

/* What the NaN rate's own rule needs to be entered: the nulls that three in a row all have. The
 * record that carries the row of a missing bar is all nulls; before the first bar there is none. */
static unsigned worst_ahead(const struct qm_core *core, const struct crypto *c, int64_t bar)
{
    const int64_t n = core->rows[QM_NAN_RATE].rule.enter_n;
    const int64_t first = bar - c->first_bar < (int64_t)core->options.purge_bars
                              ? c->first_bar
                              : bar - core->options.purge_bars + 1;
    unsigned worst = 0;

    for (int64_t last = bar; last - n + 1 >= first; last--) {
        unsigned least = core->columns_n; /* of a bar that is missing, too */
        for (int64_t i = 0; i < n; i++) {
            const uint16_t code = l2_tally_at(&c->nan_ahead, last - i);
            least = code < least ? code : least; /* L2_TALLY_NONE is the greatest */
        }
        worst = least > worst ? least : worst;
    }
    return worst;
}

static void tell_nan_ahead(struct qm_core *core, struct crypto *c, int64_t bar,
                           const struct l2_row *row)
{
    const unsigned nulls =
        core->columns_n - (unsigned)__builtin_popcount(row->present & core->columns);
    const int64_t held_back = core->options.purge_bars, known = bar - c->first_bar + 1;
    struct measured m = {.signal = QM_NAN_AHEAD, .bar = bar, .judged = NAN};

    if (core->options.purge_bars == 0)
        return; /* nothing is held back */
    (void)l2_tally_put(&c->nan_ahead, bar, (uint16_t)nulls);
    m.n = known < held_back ? known : held_back;
    m.has_value = true;
    m.value = worst_ahead(core, c, bar) / (double)core->columns_n;
    qm_tell(core, c, &m);
}

/* ---- a day's tails ---- */

/* Mean and standard deviation (n − 1) of the daily ones before, in order of days. */
static unsigned moments(const struct crypto *c, int64_t day, double *ret_mean, double *ret_sd)
{
    double sum = 0, squares = 0;
    unsigned n = 0;

    for (int64_t d = day - P99_DAYS; d < day; d++) {
        const unsigned i = qm_slot(d < 0 ? 0 : d, P99_DAYS + 1);
        if (d >= 0 && c->p99[i].there && c->p99[i].day == d) {
            sum += c->p99[i].log_p99;
            n++;
        }
    }
    if (n < 2)
        return n;
    const double mean = sum / n;

    for (int64_t d = day - P99_DAYS; d < day; d++) {
        const unsigned i = qm_slot(d < 0 ? 0 : d, P99_DAYS + 1);
        if (d >= 0 && c->p99[i].there && c->p99[i].day == d)
            squares += (c->p99[i].log_p99 - mean) * (c->p99[i].log_p99 - mean);
    }
    *ret_mean = mean;
    *ret_sd = sqrt(squares / (n - 1));
    return n;
}

static int64_t last_bar_of(const struct qm_core *core, int64_t day)
{
    return (day + 1) * (int64_t)core->day_bars - 1;
}

static void tell_kyle_p99(struct qm_core *core, struct crypto *c, int64_t day)
{
    struct measured m = {.signal = QM_KYLE_P99,
                         .bar = last_bar_of(core, day),
                         .judged = NAN,
                         .n = c->lambda_n,
                         .measurable_bar =
                             c->first_bar + (int64_t)(P99_DAYS_MIN + 1) * core->day_bars - 1,
                         .has_thresholds = true,
                         .warn_below = NAN,
                         .warn_above = NAN,
                         .p2_below = NAN,
                         .p2_above = NAN};
    double p99 = 0, mean = 0, sd = 0;

    if (c->lambda_n >= SAMPLES_24H_MIN || c->lambda_n * 2 >= core->day_bars) {
        l2_sort(c->lambda, c->lambda_n);
        p99 = l2_quantile_sorted(c->lambda, c->lambda_n, 0.99);
    }
    if (p99 > 0) {
        const unsigned i = qm_slot(day, P99_DAYS + 1);
        c->p99[i].there = true;
        c->p99[i].day = day;
        c->p99[i].log_p99 = l2_ln(p99);
        if (moments(c, day, &mean, &sd) >= P99_DAYS_MIN) {
            m.has_value = true;
            m.value = c->p99[i].log_p99;
            m.warn_below = mean - 3 * sd;
            m.warn_above = mean + 3 * sd;
        }
    }
    c->lambda_n = 0;
    qm_tell(core, c, &m);
}

static small_count shrink(uint32_t count)
{
    unsigned shift = 0;

    while (count >> shift > 2047)
        shift++;
    if (shift > 0) { /* to the nearest, which may need one more */
        count = (uint32_t)(((uint64_t)count + (1U << (shift - 1))) >> shift);
        if (count > 2047) {
            count = (count + 1) >> 1;
            shift++;
        }
    }
    return (small_count)(shift << 11 | count);
}

static uint64_t grow(small_count c)
{
    return (uint64_t)(c & 2047) << (c >> 11);
}

/* The 99th percentile over the `days_n` days up to `day`; false without a snapshot. */
static bool spread_p99(const struct crypto *c, int64_t day, int days_n, double *ret_value,
                       int64_t *ret_n)
{
    uint64_t sum[L2_SKETCH_BINS] = {0}, n = 0, below = 0;
    struct l2_sketch one = {{0}};
    unsigned bin = 0;

    for (int64_t d = day - days_n + 1; d <= day; d++) {
        if (d < 0)
            continue;
        const unsigned i = qm_slot(d, SPREAD_DAYS);
        if (!c->spread[i].there || c->spread[i].day != d)
            continue;
        for (unsigned b = 0; b < L2_SKETCH_BINS; b++)
            sum[b] += grow(c->spread[i].count[b]);
    }
    for (unsigned b = 0; b < L2_SKETCH_BINS; b++)
        n += sum[b];
    *ret_n = (int64_t)n;
    if (n == 0)
        return false;
    const uint64_t rank = (uint64_t)(0.99 * (double)(n - 1));

    while (bin + 1 < L2_SKETCH_BINS && below + sum[bin] <= rank)
        below += sum[bin++];
    one.count[bin] = 1; /* the sketch owns what a bin stands for */
    return l2_sketch_quantile(&one, 0.5, ret_value);
}

static void tell_spread(struct qm_core *core, struct crypto *c, int64_t day)
{
    const unsigned i = qm_slot(day, SPREAD_DAYS);
    struct measured m = {.signal = QM_SPREAD_REGIME,
                         .bar = last_bar_of(core, day),
                         .judged = NAN,
                         .measurable_bar =
                             c->first_bar + (int64_t)SPREAD_DAYS * core->day_bars - 1};
    double recent = 0, all = 0;
    int64_t recent_n = 0;

    c->spread[i].there = true;
    c->spread[i].day = day;
    for (unsigned b = 0; b < L2_SKETCH_BINS; b++)
        c->spread[i].count[b] = shrink(c->today.count[b]);
    memset(&c->today, 0, sizeof c->today);
    if (m.bar >= m.measurable_bar && spread_p99(c, day, SPREAD_RECENT_DAYS, &recent, &recent_n) &&
        spread_p99(c, day, SPREAD_DAYS, &all, &m.n)) {
        m.has_value = true;
        m.value = recent / all;
    }
    qm_tell(core, c, &m);
}

static void close_day(struct qm_core *core, struct crypto *c, int64_t day)
{
    const int64_t bar = last_bar_of(core, day);

    for (unsigned i = 0; i < 3; i++) {
        l2_tally_advance(&c->psi_30d[i], bar);
        const struct measured m = drift(c, &c->psi_30d[i], bar, month_signals[i], month_columns[i],
                                        l2_psi_bars_min(core->options.bar_s, L2_PSI_LONG_DAYS));
        qm_tell(core, c, &m);
    }
    tell_kyle_p99(core, c, day);
    tell_spread(core, c, day);
}

/* Days that `bar` leaves behind; of a long silence the last that windows can hold. */
static void close_days_before(struct qm_core *core, struct crypto *c, int64_t bar)
{
    const int64_t day = bar / core->day_bars;

    if (!c->has_bar)
        c->bar_day = day;
    if (day - c->bar_day > SPREAD_DAYS) {
        close_day(core, c, c->bar_day);
        c->bar_day = day - SPREAD_DAYS;
    }
    while (c->bar_day < day)
        close_day(core, c, c->bar_day++);
}

/* ---- events ---- */

void qm_on_bar(struct qm_core *core, struct crypto *c, int64_t bar, const struct qm_bar *b)
{
    if (c->has_bar && bar <= c->newest_bar)
        return; /* each bar is emitted once, in order: another schema version's, say */
    close_days_before(core, c, bar);
    if (!c->has_bar)
        c->first_bar = bar;
    c->has_bar = true;
    c->newest_bar = bar;
    put_bin(&c->psi_24h, c, L2_KYLE_LAMBDA, bar, &b->row);
    for (unsigned i = 0; i < 3; i++)
        put_bin(&c->psi_30d[i], c, month_columns[i], bar, &b->row);
    if (l2_row_has(&b->row, L2_KYLE_LAMBDA) && c->lambda_n < core->day_bars)
        c->lambda[c->lambda_n++] = b->row.value[L2_KYLE_LAMBDA];
    (void)l2_sketch_decode_add(&c->today, b->sketch, b->sketch_n);
    tell_nan_ahead(core, c, bar, &b->row);
    tell_psi_24h(core, c, bar);
    tell_cadence(core, c, bar, b->snapshots);
    if (bar == last_bar_of(core, c->bar_day))
        close_day(core, c, c->bar_day++);
}

/* Is the value outside its range? The mid is judged by its source bar's close: a trend is no fault.
 * -1: there is nothing to judge by. */
static int is_out(const struct crypto *c, enum l2_column column, double x, double close)
{
    const struct l2_reference_feature *f = feature_of(c, column);

    if (column == L2_MID_PRICE)
        return isnan(close) ? -1 : fabs(x / close - 1) > 0.05;
    return f == NULL ? -1 : x < f->low || x > f->high;
}

void qm_on_feature(struct qm_core *core, struct crypto *c, int64_t bar, const struct qm_feature *f)
{
    const double close = qm_close_at(c, f->source_bar_time_us / core->bar_us);
    unsigned judged = 0, out = 0;
    uint64_t sums[2] = {0};

    if (c->has_feature && bar <= c->newest_feature)
        return;
    if (!c->has_feature)
        c->first_feature = bar;
    c->has_feature = true;
    c->newest_feature = bar;
    for (enum l2_column column = 0; column < L2_COLUMNS; column++) {
        const int is = (core->columns >> column & 1U) != 0 && l2_row_has(&f->row, column)
                           ? is_out(c, column, f->row.value[column], close)
                           : -1;
        judged += is >= 0;
        out += is == 1;
    }
    if (judged > 0)
        (void)l2_tally_put(&c->oor, bar, (uint16_t)(out * (L2_COLUMNS + 1) + judged));
    else
        l2_tally_advance(&c->oor, bar);
    for (unsigned code = 0; code < OOR_CODES; code++) {
        sums[0] += (uint64_t)c->oor.count[code] * (code / (L2_COLUMNS + 1));
        sums[1] += (uint64_t)c->oor.count[code] * (code % (L2_COLUMNS + 1));
    }
    struct measured m = {.signal = QM_OOR,
                         .bar = bar,
                         .judged = NAN,
                         .n = c->oor.n,
                         .measurable_bar = c->first_feature + qm_samples_24h_min(core) - 1};

    if (c->oor.n >= qm_samples_24h_min(core)) {
        m.has_value = true;
        m.value = (double)sums[0] / (double)sums[1];
    }
    qm_tell(core, c, &m);
}
