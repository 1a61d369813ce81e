#include "mon_findings.h"

#include <assert.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MONTH_US (30 * INT64_C(86400) * L2_US_PER_S)
#define SERIES_A_CRYPTO ((size_t)QM_SIGNALS * L2_ARMS)
#define BUCKETS_IN_ALL 40000 /* of all cryptos: many have coarser ones */
#define BUCKETS_MIN 60

void mon_findings_init(struct mon_findings *f, int64_t from_us, int64_t to_us, int64_t bar_us,
                       uint32_t cryptos_n)
{
    const uint32_t fair = BUCKETS_IN_ALL / (cryptos_n > 0 ? cryptos_n : 1);
    const int64_t most = fair > MON_BUCKETS_MAX ? MON_BUCKETS_MAX
                         : fair < BUCKETS_MIN   ? BUCKETS_MIN
                                                : fair;
    const int64_t bars = (to_us - from_us + bar_us - 1) / bar_us + 1;

    *f = (struct mon_findings){.from_us = from_us, .to_us = to_us, .cryptos_n = cryptos_n};
    f->bucket_us = (bars + most - 1) / most * bar_us; /* whole bars */
    f->buckets_n = (unsigned)((to_us - from_us) / f->bucket_us + 1);
    f->series = calloc(cryptos_n * SERIES_A_CRYPTO + 1, sizeof(struct mon_series *));
    f->is_out_of_memory = f->series == NULL;
}

static void free_series(struct mon_series *s)
{
    if (s == NULL)
        return;
    free(s->low); /* one piece */
    free(s);
}

void mon_findings_free(struct mon_findings *f)
{
    for (size_t i = 0; f->series != NULL && i < f->cryptos_n * SERIES_A_CRYPTO; i++)
        free_series(f->series[i]);
    free(f->series);
    free(f->episodes);
    *f = (struct mon_findings){.cryptos_n = 0};
}

/* ---- series */

static size_t index_of(const struct mon_findings *f, uint32_t crypto, enum qm_signal signal,
                       enum l2_arm arm)
{
    assert(crypto < f->cryptos_n);
    return ((size_t)crypto * QM_SIGNALS + signal) * L2_ARMS + arm;
}

const struct mon_series *mon_findings_series(const struct mon_findings *f, uint32_t crypto,
                                             enum qm_signal signal, enum l2_arm arm)
{
    return f->series[index_of(f, crypto, signal, arm)];
}

static struct mon_series *new_series(const struct mon_findings *f, enum qm_signal signal)
{
    const bool has_own = signal == QM_KYLE_P99; /* mean ± 3 sd of the days before */
    const size_t n = f->buckets_n, all = (has_own ? 4 : 2) * n;
    struct mon_series *const s = calloc(1, sizeof *s);
    float *const values = malloc(all * sizeof *values);

    if (s == NULL || values == NULL) {
        free(values);
        free(s);
        return NULL;
    }
    for (size_t i = 0; i < all; i++)
        values[i] = NAN;
    s->low = values;
    s->high = values + n;
    s->below = has_own ? values + 2 * n : NULL;
    s->above = has_own ? values + 3 * n : NULL;
    s->warn_below = s->warn_above = s->p2_below = s->p2_above = NAN;
    return s;
}

/* NULL: no memory, which is remembered. */
static struct mon_series *series_of(struct mon_findings *f, uint32_t crypto, enum qm_signal signal,
                                    enum l2_arm arm)
{
    const size_t i = index_of(f, crypto, signal, arm);

    if (f->series[i] == NULL)
        f->series[i] = new_series(f, signal);
    f->is_out_of_memory = f->is_out_of_memory || f->series[i] == NULL;
    return f->series[i];
}

/* How far past the bound that the state is about; < 0: not past it. */
static double excess_of(double x, double below, double above, double *ret_threshold)
{
    const double over = isnan(above) ? -INFINITY : x - above;
    const double under = isnan(below) ? -INFINITY : below - x;

    *ret_threshold = over >= under ? above : below;
    return over >= under ? over : under;
}

/* Of both levels, since the episode may yet become a P2. */
static void note_peaks(struct mon_series *s, const struct qm_signal_out *out, int64_t time_us)
{
    /* of Δf1_buy the interval's upper end is judged */
    const double judged = out->signal == QM_DELTA_F1 ? out->high : out->value;
    const double bounds[2][2] = {{out->warn_below, out->warn_above},
                                 {out->p2_below, out->p2_above}};

    if (!s->is_open || !out->has_value)
        return;
    for (unsigned i = 0; i < 2; i++) {
        struct mon_peak *const p = &s->peaks[i];
        double threshold;
        const double excess = excess_of(judged, bounds[i][0], bounds[i][1], &threshold);
        if (out->observed < (i == 0 ? ALERT_WARN : ALERT_P2) || excess <= 0 ||
            (p->is_there && excess <= p->excess))
            continue;
        *p = (struct mon_peak){.is_there = true,
                               .excess = excess,
                               .value = judged,
                               .threshold = threshold,
                               .time_us = time_us,
                               .n = out->n};
    }
}

static void note_value(struct mon_findings *f, struct mon_series *s,
                       const struct qm_signal_out *out, int64_t time_us)
{
    const int64_t i = (time_us - f->from_us) / f->bucket_us;
    const float x = (float)out->value;

    if (i < 0 || i >= f->buckets_n)
        return;
    if (!(s->low[i] <= x)) /* NAN, too */
        s->low[i] = x;
    if (!(s->high[i] >= x))
        s->high[i] = x;
    if (s->below != NULL) {
        s->below[i] = (float)out->warn_below;
        s->above[i] = (float)out->warn_above;
    }
}

void mon_findings_signal(struct mon_findings *f, uint32_t crypto, const struct qm_signal_out *out,
                         int64_t bar_us)
{
    const int64_t time_us = out->bar_time_us + bar_us;
    struct mon_series *const s = series_of(f, crypto, out->signal, out->arm);

    if (s == NULL)
        return;
    note_peaks(s, out, time_us);
    if (time_us <= f->from_us || time_us > f->to_us)
        return;
    s->evaluated_n++;
    s->last_us = time_us > s->last_us ? time_us : s->last_us;
    s->has_measurable_from = out->has_measurable_from;
    s->measurable_from_us = out->measurable_from_us + bar_us;
    if (!out->has_value) {
        s->no_data_n += s->valued_n > 0;
        return;
    }
    if (s->valued_n++ == 0)
        s->valued_from_us = time_us - bar_us;
    s->warn_below = out->warn_below;
    s->warn_above = out->warn_above;
    s->p2_below = out->p2_below;
    s->p2_above = out->p2_above;
    note_value(f, s, out, time_us);
}

/* ---- episodes */

static void keep(struct mon_findings *f, const struct mon_episode *e)
{
    if (f->episodes_n == MON_EPISODES_MAX) {
        f->episodes_lost++;
        return;
    }
    if (f->episodes_n == f->episodes_room) {
        const uint32_t room = f->episodes_room == 0 ? 256 : f->episodes_room * 2;
        struct mon_episode *const more = realloc(f->episodes, room * sizeof *more);
        if (more == NULL) {
            f->is_out_of_memory = true;
            return;
        }
        f->episodes = more;
        f->episodes_room = room;
    }
    f->episodes[f->episodes_n++] = *e;
}

static void close_episode(struct mon_findings *f, struct mon_series *s, int64_t end_us,
                          bool is_open)
{
    struct mon_episode *const e = &s->open;

    e->in_us[s->state] += end_us - s->state_us;
    e->end_us = end_us;
    e->is_open = is_open;
    if (e->worst >= ALERT_WARN)
        e->peak = s->peaks[e->worst == ALERT_P2];
    s->is_open = false;
    if (end_us > f->from_us && e->start_us <= f->to_us)
        keep(f, e);
}

void mon_findings_transition(struct mon_findings *f, uint32_t crypto, const struct qm_transition *t)
{
    struct mon_series *const s = series_of(f, crypto, t->signal, t->arm);

    if (s == NULL)
        return;
    if (!s->is_open && t->state != ALERT_OK) {
        s->is_open = true;
        s->state = t->state;
        s->state_us = t->since_us;
        memset(s->peaks, 0, sizeof s->peaks);
        s->open = (struct mon_episode){.crypto = crypto,
                                       .signal = (uint8_t)t->signal,
                                       .arm = (uint8_t)t->arm,
                                       .worst = (uint8_t)t->state,
                                       .start_us = t->started_us,
                                       .began_before = t->started_us <= f->from_us};
        return;
    }
    if (!s->is_open)
        return;
    if (t->state == ALERT_OK) {
        close_episode(f, s, t->since_us, false);
        return;
    }
    s->open.in_us[s->state] += t->since_us - s->state_us;
    s->state = t->state;
    s->state_us = t->since_us;
    if (t->state > s->open.worst)
        s->open.worst = (uint8_t)t->state;
}

void mon_findings_alert(struct mon_findings *f, const struct qm_alert_out *out)
{
    struct mon_notifications *const n = &f->told[out->t.signal];

    if (out->t.since_us <= f->from_us || out->t.since_us > f->to_us)
        return;
    n->sent += out->delivery == QM_SEND;
    n->groups += out->crypto == QM_ALL_CRYPTO && out->delivery == QM_SEND;
    n->grouped += out->delivery == QM_GROUPED;
    n->inhibited += out->delivery == QM_INHIBITED;
}

struct naming {
    const char *(*symbol)(void *user, uint32_t crypto);
    void *user;
};

static int by_start(const void *a, const void *b, void *user)
{
    const struct mon_episode *const x = a, *const y = b;
    const struct naming *const names = user;

    if (x->start_us != y->start_us)
        return x->start_us < y->start_us ? -1 : 1;
    if (x->signal != y->signal)
        return x->signal < y->signal ? -1 : 1;
    if (x->crypto != y->crypto)
        return strcmp(names->symbol(names->user, x->crypto), names->symbol(names->user, y->crypto));
    return (x->arm > y->arm) - (x->arm < y->arm);
}

void mon_findings_finish(struct mon_findings *f, const char *(*symbol)(void *user, uint32_t crypto),
                         void *user)
{
    struct naming names = {symbol, user};

    for (size_t i = 0; i < f->cryptos_n * SERIES_A_CRYPTO; i++) {
        if (f->series[i] != NULL && f->series[i]->is_open)
            close_episode(f, f->series[i], f->to_us, true);
    }
    if (f->episodes_n > 0)
        qsort_r(f->episodes, f->episodes_n, sizeof *f->episodes, by_start, &names);
}

/* ---- sums */

struct mon_cover mon_findings_cover(const struct mon_findings *f, enum qm_signal signal)
{
    struct mon_cover cover = {.us = 0};

    for (uint32_t c = 0; c < f->cryptos_n; c++) {
        bool has = false;
        for (enum l2_arm arm = 0; arm < L2_ARMS; arm++) {
            const struct mon_series *const s = mon_findings_series(f, c, signal, arm);
            if (s == NULL || s->valued_n == 0)
                continue;
            has = true;
            cover.us += s->last_us - s->valued_from_us;
            cover.evaluated += s->valued_n;
        }
        cover.cryptos += has;
    }
    return cover;
}

static int rising(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

bool mon_findings_cost(const struct mon_findings *f, enum qm_signal signal, enum alert_state worst,
                       struct mon_cost *ret)
{
    const struct mon_cover cover = mon_findings_cover(f, signal);
    int64_t *const us = malloc((f->episodes_n + 1) * sizeof *us);
    bool *const touched = calloc(f->cryptos_n + 1, sizeof *touched);
    uint32_t n = 0, begun = 0;

    *ret = (struct mon_cost){.per_month = NAN};
    for (uint32_t i = 0; us != NULL && touched != NULL && i < f->episodes_n; i++) {
        const struct mon_episode *const e = &f->episodes[i];
        if (e->signal != signal || e->worst != worst)
            continue;
        us[n++] = e->end_us - e->start_us;
        begun += !e->began_before;
        ret->open += e->is_open;
        ret->cryptos += !touched[e->crypto];
        touched[e->crypto] = true;
    }
    const bool is_ok = us != NULL && touched != NULL;

    ret->episodes = n;
    if (cover.us > 0)
        ret->per_month = begun / ((double)cover.us / (double)MONTH_US);
    if (is_ok && n > 0) {
        qsort(us, n, sizeof *us, rising);
        ret->median_us = (us[(n - 1) / 2] + us[n / 2]) / 2;
        ret->longest_us = us[n - 1];
    }
    free(us);
    free(touched);
    return is_ok;
}
