#include "l2/calibrate.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "l2/tally.h"

#define DAY_S 86400
#define MONTHS_SHORT 200 /* whose path has a PSI a bar */
#define MONTHS_LONG 1000 /* … a day */
#define PATH_DAYS_MAX (L2_PSI_LONG_DAYS + L2_CALIBRATE_MONTH_DAYS)
#define STEPS 60 /* of a bisection: down to neighbouring doubles */
#define NO_DATA (-1.0) /* in a path: no PSI is below 0 */
#define DAY_BARS_MAX (DAY_S / 60)

/* ---- chance: splitmix64 (Steele, Lea, Flood 2014) */

static uint64_t next_random(uint64_t *state)
{
    uint64_t z = *state += UINT64_C(0x9e3779b97f4a7c15);

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

static uint32_t below(uint64_t *state, uint32_t n)
{
    return (uint32_t)((next_random(state) >> 32) * n >> 32);
}

/* ---- one feature's days */

struct days {
    uint32_t bar_s, day_bars, n;
    uint32_t block; /* days that stay together */
    const uint8_t *code;    /* n × day_bars bins, NONE where there is no value */
    struct l2_psi_bins bins;
    uint64_t random;
};

#define NONE UINT8_MAX

/* Days that stay together. Short: as many as a P2's two windows, so that what lasts from one day to
 * the next stays whole, and no more, so that there are many blocks to draw from. Long: the cube
 * root of their number (Hall, Horowitz, Jing 1995), up, for what lasts longer. */
#define BLOCK_SHORT 2

static uint32_t block_long(uint32_t n)
{
    uint32_t l = 1;

    while (l * l * l < n)
        l++;
    return l;
}

/* n of the window's days, in blocks; one that passes the window's end goes on at its start. */
static void draw(struct days *d, uint32_t *ret_day, uint32_t n)
{
    for (uint32_t i = 0, day = 0; i < n; i++) {
        day = i % d->block == 0 ? below(&d->random, d->n) : (day + 1) % d->n;
        ret_day[i] = day;
    }
}

static void count_day(const struct days *d, uint32_t day, uint32_t count[L2_PSI_BINS_MAX])
{
    const uint8_t *code = d->code + (size_t)day * d->day_bars;

    for (uint32_t i = 0; i < d->day_bars; i++) {
        if (code[i] != NONE)
            count[code[i]]++;
    }
}

/* The reference that another sample of as many days would have given: its own error is part of how
 * far an undrifted market seems to be from it. */
static struct l2_psi_bins resampled(struct days *d)
{
    struct l2_psi_bins bins = d->bins;
    uint32_t day[L2_CALIBRATE_DAYS_MAX], count[L2_PSI_BINS_MAX] = {0};
    uint64_t n = 0;

    draw(d, day, d->n);
    for (uint32_t i = 0; i < d->n; i++)
        count_day(d, day[i], count);
    for (uint32_t i = 0; i < bins.n; i++)
        n += count[i];
    for (uint32_t i = 0; n > 0 && i < bins.n; i++)
        bins.share[i] = (double)count[i] / (double)n;
    return bins;
}

static double psi_of(const struct l2_psi_bins *bins, const uint32_t *count, uint32_t n,
                     uint32_t bars_min)
{
    return n >= bars_min && n > 0 ? l2_psi(bins, count) : NO_DATA;
}

/* ---- months: each a path of PSIs, `before` of them ahead of the month itself */

struct months {
    const double *psi;
    uint32_t n, path_n, before;
    uint32_t apart; /* a P2 needs the PSI this many evaluations before above the threshold, too */
    double top[MONTHS_LONG]; /* of each: a threshold from there on has nothing to count */
};
static_assert(MONTHS_SHORT <= MONTHS_LONG, "top has room");

static void find_tops(struct months *m)
{
    for (uint32_t i = 0; i < m->n; i++) {
        m->top[i] = NO_DATA;
        for (uint32_t k = 0; k < m->path_n; k++)
            m->top[i] = fmax(m->top[i], m->psi[(size_t)i * m->path_n + k]);
    }
}

static double warns_a_month(const struct months *m, double threshold)
{
    uint64_t episodes = 0;

    for (uint32_t i = 0; i < m->n; i++) {
        if (m->top[i] <= threshold)
            continue;
        const double *psi = m->psi + (size_t)i * m->path_n;
        uint32_t below_n = 2; /* in a row; two end an episode */
        for (uint32_t k = m->before; k < m->path_n; k++) {
            if (psi[k] > threshold) {
                episodes += below_n >= 2;
                below_n = 0;
            } else if (psi[k] >= 0 && below_n < 2) {
                below_n++;
            }
        }
    }
    return (double)episodes / m->n;
}

static double p2_months(const struct months *m, double threshold)
{
    uint32_t months = 0;

    for (uint32_t i = 0; i < m->n; i++) {
        if (m->top[i] <= threshold)
            continue;
        const double *psi = m->psi + (size_t)i * m->path_n;
        bool is_p2 = false;
        for (uint32_t k = m->before; k < m->path_n && !is_p2; k++)
            is_p2 = psi[k] > threshold && psi[k - m->apart] > threshold;
        months += is_p2;
    }
    return (double)months / m->n;
}

/* The least threshold from `floor` on at which `rate` is at most `most`, by bisection up to the
 * largest PSI, past which there is nothing. */
static double least(const struct months *m, double floor, double most,
                    double (*rate)(const struct months *, double))
{
    double low = floor, high = floor;

    if (rate(m, floor) <= most)
        return floor;
    for (uint32_t i = 0; i < m->n; i++)
        high = fmax(high, m->top[i]);
    for (uint32_t i = 0; i < STEPS; i++) {
        const double middle = low + (high - low) / 2;
        if (!(middle > low && middle < high))
            break;
        if (rate(m, middle) <= most)
            high = middle;
        else
            low = middle;
    }
    return high;
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* Thresholds from the months, and from n single windows, which are sorted here. */
static struct l2_psi_calibration choose(struct months *m, double *window, size_t n)
{
    struct l2_psi_calibration c = {0};

    find_tops(m);
    qsort(window, n, sizeof *window, compare);
    if (n > 0) {
        c.quantile_warn = l2_quantile_sorted(window, n, 0.95);
        c.quantile_p2 = l2_quantile_sorted(window, n, 0.99);
    }
    c.warn =
        least(m, fmax(L2_PSI_WARN, c.quantile_warn), L2_CALIBRATE_WARNS_A_MONTH, warns_a_month);
    c.p2 = least(m, fmax(L2_PSI_P2, c.quantile_p2), L2_CALIBRATE_P2_MONTHS, p2_months);
    return c;
}

/* ---- the short window: a day, evaluated each bar */

#define SHORT_DAYS (L2_CALIBRATE_MONTH_DAYS + 2) /* a window before, and one before that */

static void walk_short(struct days *d, double *ret_psi)
{
    const struct l2_psi_bins bins = resampled(d);
    const uint32_t bars_min = l2_psi_bars_min(d->bar_s, 1), day_bars = d->day_bars;
    uint32_t day[SHORT_DAYS], count[L2_PSI_BINS_MAX] = {0};
    uint16_t ring[DAY_BARS_MAX];
    struct l2_tally t = {
        .code = ring, .count = count, .bars_n = day_bars, .codes_n = L2_PSI_BINS_MAX};

    draw(d, day, SHORT_DAYS);
    l2_tally_reset(&t);
    for (uint32_t i = 0; i < SHORT_DAYS * day_bars; i++) {
        const uint8_t code = d->code[(size_t)day[i / day_bars] * day_bars + i % day_bars];
        if (code == NONE)
            l2_tally_advance(&t, i);
        else
            (void)l2_tally_put(&t, i, code);
        if (i >= day_bars)
            ret_psi[i - day_bars] = psi_of(&bins, count, t.n, bars_min);
    }
}

static struct l2_psi_calibration calibrate_short(struct days *d, double *scratch)
{
    const uint32_t path_n = (SHORT_DAYS - 1) * d->day_bars;
    double *const window = scratch + (size_t)MONTHS_SHORT * path_n;
    struct months m = {scratch, MONTHS_SHORT, path_n, d->day_bars, d->day_bars, {0}};
    size_t n = 0;

    for (uint32_t i = 0; i < MONTHS_SHORT; i++) {
        double *const psi = scratch + (size_t)i * path_n;
        walk_short(d, psi);
        for (uint32_t k = d->day_bars; k <= path_n; k += d->day_bars) {
            if (psi[k - 1] >= 0)
                window[n++] = psi[k - 1]; /* a day's own */
        }
    }
    return choose(&m, window, n);
}

/* ---- the long window: 30 days, evaluated each day */

static void walk_long(struct days *d, double *ret_psi)
{
    const struct l2_psi_bins bins = resampled(d);
    const uint32_t bars_min = l2_psi_bars_min(d->bar_s, L2_PSI_LONG_DAYS);
    uint32_t day[PATH_DAYS_MAX], at[PATH_DAYS_MAX][L2_PSI_BINS_MAX] = {{0}};
    uint32_t count[L2_PSI_BINS_MAX] = {0};

    draw(d, day, PATH_DAYS_MAX);
    for (uint32_t i = 0; i < PATH_DAYS_MAX; i++) {
        uint32_t n = 0;
        count_day(d, day[i], at[i]);
        for (uint32_t b = 0; b < L2_PSI_BINS_MAX; b++) {
            count[b] += at[i][b] - (i >= L2_PSI_LONG_DAYS ? at[i - L2_PSI_LONG_DAYS][b] : 0);
            n += count[b];
        }
        if (i >= L2_PSI_LONG_DAYS)
            ret_psi[i - L2_PSI_LONG_DAYS] = psi_of(&bins, count, n, bars_min);
    }
}

static struct l2_psi_calibration calibrate_long(struct days *d, double *scratch)
{
    double *const window = scratch + (size_t)MONTHS_LONG * L2_CALIBRATE_MONTH_DAYS;
    struct months m = {scratch, MONTHS_LONG, L2_CALIBRATE_MONTH_DAYS, 0, 0, {0}};
    size_t n = 0;

    for (uint32_t i = 0; i < MONTHS_LONG; i++) {
        double *const psi = scratch + (size_t)i * L2_CALIBRATE_MONTH_DAYS;
        walk_long(d, psi);
        if (psi[0] >= 0)
            window[n++] = psi[0];
    }
    return choose(&m, window, n);
}

/* ---- the reference */

static int64_t day_of(const struct l2_training *t, size_t i)
{
    const int64_t day_bars = DAY_S / t->bar_s;

    return l2_floor_us(t->bars[i].bar, day_bars) / day_bars;
}

uint32_t l2_training_days(const struct l2_training *t)
{
    return (uint32_t)(day_of(t, t->bars_n - 1) - day_of(t, 0) + 1);
}

static size_t larger(size_t a, size_t b)
{
    return a > b ? a : b;
}

/* Of the months, or, before them, of the values. */
static size_t work_n(const struct l2_training *t)
{
    const size_t day_bars = DAY_S / t->bar_s;
    const size_t in_short = (size_t)MONTHS_SHORT * (SHORT_DAYS - 1) * (day_bars + 1);
    const size_t in_long = (size_t)MONTHS_LONG * (L2_CALIBRATE_MONTH_DAYS + 1);

    return larger(t->bars_n, larger(in_short, in_long));
}

size_t l2_calibrate_scratch_n(const struct l2_training *t)
{
    const size_t codes = (size_t)l2_training_days(t) * (DAY_S / t->bar_s);

    return work_n(t) + codes / sizeof(double) + 1;
}

/* Ascending values of a column; their hash in the order of the bars is the seed. */
static size_t gather(const struct l2_training *t, enum l2_column column, double *ret_value,
                     uint64_t *ret_seed)
{
    uint64_t hash = UINT64_C(0xcbf29ce484222325), bits;
    size_t n = 0;

    for (size_t i = 0; i < t->bars_n; i++) {
        if (!l2_row_has(&t->bars[i].row, column))
            continue;
        ret_value[n] = t->bars[i].row.value[column];
        memcpy(&bits, &ret_value[n++], sizeof bits);
        hash = (hash ^ bits) * UINT64_C(0x100000001b3);
    }
    qsort(ret_value, n, sizeof *ret_value, compare);
    *ret_seed = hash;
    return n;
}

static void moments(const double *value, size_t n, struct l2_reference_feature *f)
{
    double sum = 0, squares = 0;

    for (size_t i = 0; i < n; i++)
        sum += value[i];
    f->mean = sum / (double)n;
    for (size_t i = 0; i < n; i++)
        squares += (value[i] - f->mean) * (value[i] - f->mean);
    f->sd = n > 1 ? sqrt(squares / (double)(n - 1)) : 0;
}

static void range(const double *value, size_t n, enum l2_column column,
                  struct l2_reference_feature *f)
{
    const double iqr = l2_quantile_sorted(value, n, 0.75) - l2_quantile_sorted(value, n, 0.25);

    f->low = l2_quantile_sorted(value, n, 0.0001) - iqr;
    f->high = l2_quantile_sorted(value, n, 0.9999) + iqr;
    if (column == L2_SPREAD_BPS && f->high > L2_RANGE_SPREAD_BPS_MAX)
        f->high = L2_RANGE_SPREAD_BPS_MAX;
}

/* The bins of the column's values by day, NONE where there is none. */
static void encode(const struct l2_training *t, enum l2_column column,
                   const struct l2_psi_bins *bins, uint8_t *ret_code)
{
    const int64_t day_bars = DAY_S / t->bar_s, first = day_of(t, 0) * day_bars;

    memset(ret_code, NONE, (size_t)l2_training_days(t) * (size_t)day_bars);
    for (size_t i = 0; i < t->bars_n; i++) {
        const struct l2_training_bar *b = &t->bars[i];
        if (l2_row_has(&b->row, column))
            ret_code[b->bar - first] = (uint8_t)l2_psi_bin(bins, b->row.value[column]);
    }
}

static void calibrate_feature(const struct l2_training *t, enum l2_column column, double *scratch,
                              struct l2_reference_feature *f, struct l2_psi_calibration detail[2])
{
    uint8_t *const code = (uint8_t *)(scratch + work_n(t));
    struct days d = {.bar_s = t->bar_s, .day_bars = DAY_S / t->bar_s, .code = code};
    const size_t n = gather(t, column, scratch, &d.random);

    *f = (struct l2_reference_feature){.n = (uint32_t)n};
    f->null_share = (double)(t->bars_n - n) / (double)t->bars_n;
    if (n == 0)
        return;
    moments(scratch, n, f);
    if (column == L2_MID_PRICE)
        return;
    range(scratch, n, column, f);
    l2_psi_reference(scratch, n, &f->bins);
    encode(t, column, &f->bins, code);
    d.n = l2_training_days(t);
    d.bins = f->bins;
    d.block = BLOCK_SHORT;
    detail[0] = calibrate_short(&d, scratch);
    d.block = block_long(d.n);
    detail[1] = calibrate_long(&d, scratch);
    f->psi_24h_warn = detail[0].warn;
    f->psi_24h_p2 = detail[0].p2;
    f->psi_30d_warn = detail[1].warn;
    f->psi_30d_p2 = detail[1].p2;
}

void l2_calibrate(const struct l2_training *t, double *scratch, struct l2_reference *ret_reference,
                  struct l2_psi_calibration ret_detail[L2_COLUMNS][2])
{
    struct l2_reference *const r = ret_reference;
    const int64_t bar_us = (int64_t)t->bar_s * L2_US_PER_S;

    assert(t->bars_n >= 1 && t->bars_n <= UINT32_MAX);
    assert(t->bar_s >= 60 && DAY_S % t->bar_s == 0);
    assert(l2_training_days(t) <= L2_CALIBRATE_DAYS_MAX);
    r->bar_s = t->bar_s;
    r->from_us = t->bars[0].bar * bar_us;
    r->to_us = (t->bars[t->bars_n - 1].bar + 1) * bar_us;
    for (size_t i = 0; i < t->bars_n; i++) {
        assert(i == 0 || t->bars[i].bar > t->bars[i - 1].bar);
        scratch[i] = (double)t->bars[i].snapshots;
    }
    qsort(scratch, t->bars_n, sizeof *scratch, compare);
    r->snapshots_median = l2_quantile_sorted(scratch, t->bars_n, 0.5);
    for (int c = 0; c < L2_COLUMNS; c++) {
        struct l2_psi_calibration detail[2] = {{0}};
        calibrate_feature(t, (enum l2_column)c, scratch, &r->feature[c], detail);
        if (ret_detail != NULL)
            memcpy(ret_detail[c], detail, sizeof detail);
    }
}
