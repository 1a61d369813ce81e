/*
 * sim_psi: what calibrated PSI thresholds do on a synthetic market, watched by the monitor's rules:
 * false alarms of an undrifted one, and how soon a planted drift is found.
 *
 *   sim_psi                the test: 250 crypto-months for each φ, 200 weeks of 5 cryptos in
 *                          shadow, and the large drifts
 *   sim_psi --table        the tables of docs/quality.md and docs/decisions/psi-calibration.md
 *
 * Synthetic: a feature is a Gaussian AR(1), x_t = φ x_{t−1} + √(1 − φ²) ε_t, by the 15-min bar; PSI
 * looks at ranks alone, so that any other monotone of it gives the same figures.
 *
 * Seen to fail: with the plain quantiles of single windows for thresholds (4.7 to 17.6 warnings a
 * month), with P2 thresholds three times too high (19 of 25 large drifts found, and none), with
 * the table's P2 of 0.25 for all (0 to 183 of 200 weeks without one).
 */
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "alerts/alert.h"
#include "l2/l2.h"

#define BAR_S 900
#define DAY_BARS 96
#define MONTH_DAYS L2_CALIBRATE_MONTH_DAYS
#define BAR_US (BAR_S * L2_US_PER_S)
#define TRAINING_DAYS_MAX 180
#define CRYPTOS_MAX 200
#define MONTHS_MAX 10

static const double phis[] = {0, 0.3, 0.6, 0.8, 0.9, 0.95};
enum { PHIS = sizeof phis / sizeof *phis };

/* ---- chance, for tests: xorshift64* and Box-Muller */

static uint64_t chance;

static double uniform(void)
{
    chance ^= chance >> 12;
    chance ^= chance << 25;
    chance ^= chance >> 27;
    return ((double)(chance * UINT64_C(0x2545f4914f6cdd1d) >> 11) + 0.5) / 9007199254740992.0;
}

static double gauss(void)
{
    return sqrt(-2 * log(uniform())) * cos(6.283185307179586 * uniform());
}

struct market {
    double phi, x;
    double shift, scale; /* of the drift */
};

static double draw(struct market *m)
{
    m->x = m->phi * m->x + sqrt(1 - m->phi * m->phi) * gauss();
    return m->x * m->scale + m->shift;
}

/* ---- a crypto: its reference, then the monitor's view of it, bar by bar */

struct monitor {
    const struct l2_reference_feature *f;
    bool is_literal; /* thresholds by the quantile of single windows */
    struct l2_psi_calibration by[2];
    uint16_t code[2][MONTH_DAYS * DAY_BARS];
    uint32_t count[2][L2_PSI_BINS_MAX];
    struct l2_tally tally[2];
    double psi[DAY_BARS]; /* of the short window, of the last day */
    struct alert alert[2];
    int64_t bar;
};

static struct l2_training_bar *bars;
static double *scratch;

static void train(struct market *m, uint32_t days, struct l2_reference *r,
                  struct l2_psi_calibration detail[L2_COLUMNS][2])
{
    const struct l2_training t = {.bars = bars, .bars_n = days * DAY_BARS, .bar_s = BAR_S};

    for (uint32_t i = 0; i < t.bars_n; i++) {
        bars[i] = (struct l2_training_bar){.bar = i, .snapshots = 1};
        l2_row_set(&bars[i].row, L2_KYLE_LAMBDA, draw(m));
    }
    l2_calibrate(&t, scratch, r, detail);
}

static void start(struct monitor *w, const struct l2_reference *r,
                  struct l2_psi_calibration detail[L2_COLUMNS][2], bool is_literal)
{
    memset(w, 0, sizeof *w);
    w->f = &r->feature[L2_KYLE_LAMBDA];
    for (int i = 0; i < 2; i++) {
        struct l2_psi_calibration *const c = &w->by[i];
        *c = detail[L2_KYLE_LAMBDA][i];
        if (is_literal) {
            c->warn = fmax(L2_PSI_WARN, c->quantile_warn);
            c->p2 = fmax(L2_PSI_P2, c->quantile_p2);
        }
        w->tally[i] = (struct l2_tally){.code = w->code[i],
                                        .count = w->count[i],
                                        .bars_n = i == 0 ? DAY_BARS : MONTH_DAYS * DAY_BARS,
                                        .codes_n = L2_PSI_BINS_MAX};
        l2_tally_reset(&w->tally[i]);
    }
}

/* One bar; true where the alert of the window (0: short, 1: long) changed. */
static void step(struct monitor *w, double x, bool ret_changed[2])
{
    static const struct alert_rule rule = {.enter_n = 1, .leave_n = 2};
    const int64_t bar = w->bar++;

    for (int i = 0; i < 2; i++) {
        enum alert_state seen = ALERT_NO_DATA;
        ret_changed[i] = false;
        l2_tally_put(&w->tally[i], bar, (uint16_t)l2_psi_bin(&w->f->bins, x));
        if ((i == 1 && (bar + 1) % DAY_BARS != 0) || bar < MONTH_DAYS * DAY_BARS - DAY_BARS)
            continue;
        const double psi = l2_psi(&w->f->bins, w->count[i]);
        const double before = i == 0 ? w->psi[bar % DAY_BARS] : psi;
        if (i == 0)
            w->psi[bar % DAY_BARS] = psi;
        if (bar < MONTH_DAYS * DAY_BARS)
            continue;
        seen = psi > w->by[i].p2 && before > w->by[i].p2 ? ALERT_P2
               : psi > w->by[i].warn                     ? ALERT_WARN
                                                         : ALERT_OK;
        ret_changed[i] = alert_step(&w->alert[i], &rule, seen, bar * BAR_US);
    }
}

/* ---- false alarms */

#define TOGETHER 5 /* cryptos that go through shadow at once, for WEEKS_A_MONTH weeks each */
#define WEEKS_A_MONTH 4
#define WEEKS_MAX (CRYPTOS_MAX / TOGETHER * MONTHS_MAX * WEEKS_A_MONTH)

struct alarms {
    bool has_p2[WEEKS_MAX]; /* a week of five cryptos: one of them had a P2 */
    uint32_t weeks;
    uint32_t months, warns[2], p2s[2], crowded[2]; /* months with more than one warn */
    double warn[2], p2[2]; /* mean thresholds */
};

/* `week`: the month's first. */
static void watch_month(struct monitor *w, struct market *m, struct alarms *a, uint32_t week)
{
    uint32_t warns[2] = {0}, p2s[2] = {0};
    bool changed[2];

    for (uint32_t i = 0; i < MONTH_DAYS * DAY_BARS; i++) {
        enum alert_state was[2] = {w->alert[0].state, w->alert[1].state};
        step(w, draw(m), changed);
        for (int k = 0; k < 2; k++) {
            const enum alert_state is = w->alert[k].state;
            warns[k] += changed[k] && is >= ALERT_WARN && was[k] < ALERT_WARN;
            p2s[k] += is == ALERT_P2;
            if (is == ALERT_P2 && i < WEEKS_A_MONTH * 7 * DAY_BARS)
                a->has_p2[week + i / (7 * DAY_BARS)] = true;
        }
    }
    a->weeks = week + WEEKS_A_MONTH > a->weeks ? week + WEEKS_A_MONTH : a->weeks;
    a->months++;
    for (int k = 0; k < 2; k++) {
        a->warns[k] += warns[k];
        a->crowded[k] += warns[k] > 1;
        a->p2s[k] += p2s[k] > 0;
    }
}

static void fill(struct monitor *w, struct market *m)
{
    bool changed[2];

    for (uint32_t i = 0; i < MONTH_DAYS * DAY_BARS; i++)
        step(w, draw(m), changed);
}

/* ---- planted drifts */

static const struct {
    double shift, scale;
} drifts[] = {{0.5, 1}, {1, 1}, {1.5, 1}, {2, 1}, {3, 1}, {0, 1.5}, {0, 2}, {0, 3}};
enum { DRIFTS = sizeof drifts / sizeof *drifts, SIGNALS = 4 };
#define NEVER 1000.0 /* days */

/* Days to: short warn, short P2, long warn, long P2. */
struct delays {
    uint32_t n;
    double day[DRIFTS][SIGNALS][CRYPTOS_MAX];
};

static void watch_drift(const struct monitor *filled, struct market m, struct delays *d,
                        uint32_t drift)
{
    static struct monitor w;
    bool changed[2];

    w = *filled;
    for (int k = 0; k < 2; k++) {
        w.tally[k].code = w.code[k];
        w.tally[k].count = w.count[k];
        w.alert[k] = (struct alert){.had_data = false};
    }
    for (int s = 0; s < SIGNALS; s++)
        d->day[drift][s][d->n] = NEVER;
    m.shift = drifts[drift].shift;
    m.scale = drifts[drift].scale;
    for (uint32_t i = 1; i <= MONTH_DAYS * DAY_BARS; i++) {
        step(&w, draw(&m), changed);
        for (int s = 0; s < SIGNALS; s++) {
            double *const day = &d->day[drift][s][d->n];
            if (*day == NEVER && w.alert[s / 2].state >= (s % 2 == 0 ? ALERT_WARN : ALERT_P2))
                *day = (double)i / DAY_BARS;
        }
    }
}

/* ---- one φ: each crypto has a training window of its own, then months without a drift, then one
 * month of each drift. alarms[0]: calibrated, [1]: by the quantile of single windows */

static void run(double phi, uint32_t days, uint32_t cryptos, uint32_t months, bool with_plain,
                struct alarms ret_alarms[2], struct delays *ret_delays)
{
    static struct monitor w;

    memset(ret_alarms, 0, 2 * sizeof *ret_alarms);
    memset(ret_delays, 0, sizeof *ret_delays);
    for (uint32_t c = 0; c < cryptos; c++) {
        struct market m = {.phi = phi, .x = gauss(), .scale = 1};
        struct l2_psi_calibration detail[L2_COLUMNS][2];
        struct l2_reference r;
        train(&m, days, &r, detail);
        const struct market then = m;
        const uint64_t seed = chance;
        for (int k = with_plain ? 1 : 0; k >= 0; k--) {
            m = then;
            chance = seed;
            start(&w, &r, detail, k == 1);
            fill(&w, &m);
            for (uint32_t i = 0; i < months; i++)
                watch_month(&w, &m, &ret_alarms[k], (c / TOGETHER * months + i) * WEEKS_A_MONTH);
            for (int i = 0; i < 2; i++) {
                ret_alarms[k].warn[i] += w.by[i].warn / cryptos;
                ret_alarms[k].p2[i] += w.by[i].p2 / cryptos;
            }
        }
        for (uint32_t i = 0; i < DRIFTS; i++)
            watch_drift(&w, m, ret_delays, i);
        ret_delays->n++;
    }
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

/* The day by which `share` of the cryptos knew; NEVER beyond a month. */
static double by_then(struct delays *d, uint32_t drift, int signal, double share)
{
    double *const day = d->day[drift][signal];

    qsort(day, d->n, sizeof *day, compare);
    return day[(uint32_t)ceil(share * d->n) - 1];
}

static void print_alarms(double phi, uint32_t days, const char *rule, const struct alarms *a)
{
    printf("| %.2f | %u | %s |", phi, days, rule);
    for (int i = 0; i < 2; i++)
        printf(" %.2f | %.2f | %.2f | %.0f %% | %.1f %% |", a->warn[i], a->p2[i],
               a->warns[i] / (double)a->months, 100.0 * a->crowded[i] / a->months,
               100.0 * a->p2s[i] / a->months);
    printf("\n");
    fflush(stdout);
}

static void print_day(double day)
{
    if (day >= NEVER)
        printf(" –");
    else
        printf(day < 10 ? " %.1f" : " %.0f", day);
}

static void print_delays(double phi, struct delays *d)
{
    for (uint32_t i = 0; i < DRIFTS; i++) {
        printf("| %s %g sd | %.2f |", drifts[i].scale > 1 ? "spread ×" : "shift",
               drifts[i].scale > 1 ? drifts[i].scale : drifts[i].shift, phi);
        for (int s = 0; s < SIGNALS; s++) {
            print_day(by_then(d, i, s, 0.5));
            printf(",");
            print_day(by_then(d, i, s, 0.95));
            printf(" |");
        }
        printf("\n");
    }
    fflush(stdout);
}

/* ---- what is promised */

#define WARNS_A_MONTH_MAX 1.0
#define P2_MONTHS_MAX 0.06
#define SHADOW_PASSED_MIN 0.9
#define LARGE 4           /* shift 3 sd */
#define LARGE_P2_DAYS 7.0 /* 95 % of them, by either window */

#define JUDGED 25 /* fewer cryptos only show that it runs */

static int check(double phi, const struct alarms *a, const struct delays *d)
{
    uint32_t found = 0, passed = 0;
    int faults = 0;

    for (int k = 0; k < 2 && d->n >= JUDGED; k++) {
        const double warns = a->warns[k] / (double)a->months, p2s = a->p2s[k] / (double)a->months;
        if (warns > WARNS_A_MONTH_MAX || p2s > P2_MONTHS_MAX) {
            printf("phi %.2f, %s: %.2f warns a month, a P2 in %.1f %% of months\n", phi,
                   k == 0 ? "24 h" : "30 d", warns, 100 * p2s);
            faults++;
        }
    }
    for (uint32_t i = 0; i < a->weeks; i++)
        passed += !a->has_p2[i];
    printf("phi %.2f: %u of %u weeks of %d cryptos without a P2\n", phi, passed, a->weeks,
           TOGETHER);
    faults += d->n >= JUDGED && passed < SHADOW_PASSED_MIN * a->weeks;
    for (uint32_t c = 0; c < d->n; c++)
        found += fmin(d->day[LARGE][1][c], d->day[LARGE][3][c]) <= LARGE_P2_DAYS;
    if (d->n >= JUDGED && found < 0.95 * d->n) {
        printf("phi %.2f: a shift of 3 sd is a P2 within %g days for %u of %u\n", phi,
               LARGE_P2_DAYS, found, d->n);
        faults++;
    }
    return faults;
}

static int test(uint32_t cryptos)
{
    static struct alarms alarms[2];
    static struct delays delays;
    int faults = 0;

    assert(cryptos < JUDGED || cryptos % TOGETHER == 0);
    for (size_t i = 0; i < PHIS; i++) {
        run(phis[i], 90, cryptos, cryptos < JUDGED ? 1 : 10, false, alarms, &delays);
        faults += check(phis[i], &alarms[0], &delays);
        print_alarms(phis[i], 90, "calibrated", &alarms[0]);
    }
    return faults != 0;
}

static int tables(uint32_t cryptos)
{
    static const uint32_t windows[] = {90, 60, 180};
    static struct alarms alarms[2];
    static struct delays delays[PHIS];

    for (int w = 0; w < 3; w++) {
        for (size_t i = 0; i < PHIS; i++) {
            run(phis[i], windows[w], cryptos, 5, true, alarms, &delays[i]);
            print_alarms(phis[i], windows[w], "single windows", &alarms[1]);
            print_alarms(phis[i], windows[w], "calibrated", &alarms[0]);
        }
        for (size_t i = 0; i < PHIS && windows[w] == 90; i++)
            print_delays(phis[i], &delays[i]);
    }
    return 0;
}

int main(int argc, char **argv)
{
    const bool is_table = argc > 1 && strcmp(argv[1], "--table") == 0;
    const uint32_t cryptos = argc > 1 + is_table ? (uint32_t)strtoul(argv[1 + is_table], NULL, 10)
                                                 : (is_table ? CRYPTOS_MAX : JUDGED);

    assert(cryptos >= 1 && cryptos <= CRYPTOS_MAX);
    chance = 88172645463325252u;
    bars = calloc(TRAINING_DAYS_MAX * DAY_BARS, sizeof *bars);
    assert(bars != NULL);
    const struct l2_training most = {bars, TRAINING_DAYS_MAX * DAY_BARS, BAR_S};
    bars[most.bars_n - 1].bar = (int64_t)most.bars_n - 1;
    scratch = malloc(l2_calibrate_scratch_n(&most) * sizeof *scratch);
    assert(scratch != NULL);
    const int code = is_table ? tables(cryptos) : test(cryptos);
    free(scratch);
    free(bars);
    return code;
}
