/* --set SIGNAL.LEVEL=VALUE */
#include "mon_backtest.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NAME_BYTES 64
#define COUNT_MAX 100000

struct setting {
    char signal[NAME_BYTES], level[NAME_BYTES];
    const char *value;
};

static enum err_class split(const char *text, struct setting *ret, struct err *err)
{
    const char *const equals = strchr(text, '=');
    const char *const dot = equals == NULL ? NULL : memchr(text, '.', (size_t)(equals - text));

    if (dot == NULL || dot == text || (size_t)(dot - text) >= sizeof ret->signal ||
        (size_t)(equals - dot) > sizeof ret->level)
        return err_set(err, ERR_REJECT, "--set %s: not SIGNAL.LEVEL=VALUE, as in %s.warn=0.3", text,
                       qm_rows[QM_PSI_24H].name);
    *ret = (struct setting){.value = equals + 1};
    memcpy(ret->signal, text, (size_t)(dot - text));
    memcpy(ret->level, dot + 1, (size_t)(equals - dot) - 1);
    return ERR_OK;
}

static enum err_class find(const char *text, const char *name, enum qm_signal *ret, struct err *err)
{
    for (*ret = 0; *ret < QM_SIGNALS; ++*ret) {
        if (strcmp(qm_rows[*ret].name, name) == 0)
            break;
    }
    if (*ret == QM_SIGNALS)
        return err_set(err, ERR_REJECT,
                       "--set %s: no signal is called %s ('l2monitor backtest --help' lists them)",
                       text, name);
    if (*ret == QM_KYLE_P99)
        return err_set(err, ERR_REJECT,
                       "--set %s: its thresholds are the mean ± 3 sd of the 30 days before: they "
                       "are not to be set",
                       text);
    if (*ret == QM_LEAKAGE || *ret == QM_PRODUCER_SILENT)
        return err_set(err, ERR_REJECT, "--set %s: stored history does not tell that signal", text);
    return ERR_OK;
}

static enum err_class number(const char *text, const char *value, double *ret, struct err *err)
{
    char *end;

    *ret = NAN;
    if (strcmp(value, "off") == 0)
        return ERR_OK;
    errno = 0;
    *ret = strtod(value, &end);
    if (end == value || *end != '\0' || !isfinite(*ret))
        return err_set(err, ERR_REJECT, "--set %s: %s is neither a number nor off", text, value);
    return ERR_OK;
}

/* ---- how long a level must hold */

static enum err_class set_rule(const char *text, const struct setting *s, enum qm_signal signal,
                               struct qm_row *row, struct err *err)
{
    const bool is_enter = strcmp(s->level, "enter") == 0;
    char *end;
    const long long v = strtoll(s->value, &end, 10);

    if (end == s->value || *end != '\0' || v < 1 || v > COUNT_MAX)
        return err_set(err, ERR_REJECT, "--set %s: %s is not 1 to %d %s", text, s->value, COUNT_MAX,
                       signal == QM_FRESHNESS ? "seconds" : "evaluations");
    if (signal == QM_FRESHNESS) /* the one that is held by the clock */
        *(is_enter ? &row->rule.enter_us : &row->rule.leave_us) = v * L2_US_PER_S;
    else
        *(is_enter ? &row->rule.enter_n : &row->rule.leave_n) = (uint32_t)v;
    return ERR_OK;
}

/* ---- thresholds */

/* Which bound a level means; "warn" and "p2" alone: the side that the signal has. NULL: it has
 * both, or the word is none. */
static double *bound(struct qm_row *row, const char *level)
{
    const struct {
        const char *name;
        double *at, *only_without;
    } bounds[] = {
        {"warn_above", &row->warn_above, NULL},       {"warn_below", &row->warn_below, NULL},
        {"p2_above", &row->p2_above, NULL},           {"p2_below", &row->p2_below, NULL},
        {"warn", &row->warn_above, &row->warn_below}, {"warn", &row->warn_below, &row->warn_above},
        {"p2", &row->p2_above, &row->p2_below},       {"p2", &row->p2_below, &row->p2_above},
    };

    for (unsigned i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        if (strcmp(bounds[i].name, level) == 0 &&
            (bounds[i].only_without == NULL || isnan(*bounds[i].only_without)))
            return bounds[i].at;
    }
    return NULL;
}

/* What the reference calibrates stands there, for each crypto. */
static double *calibrated(struct l2_reference *r, enum qm_signal signal, bool is_p2)
{
    static const struct {
        enum qm_signal signal;
        enum l2_column column;
    } columns[] = {{QM_PSI_24H, L2_KYLE_LAMBDA},
                   {QM_PSI_30D_KYLE, L2_KYLE_LAMBDA},
                   {QM_PSI_30D_OFI, L2_OFI},
                   {QM_PSI_30D_IMBALANCE, L2_DEPTH_IMBALANCE_L5}};

    for (unsigned i = 0; i < sizeof columns / sizeof columns[0]; i++) {
        if (columns[i].signal != signal)
            continue;
        struct l2_reference_feature *const f = &r->feature[columns[i].column];
        if (signal == QM_PSI_24H)
            return is_p2 ? &f->psi_24h_p2 : &f->psi_24h_warn;
        return is_p2 ? &f->psi_30d_p2 : &f->psi_30d_warn;
    }
    return NULL;
}

static enum err_class set_threshold(struct mon_run *run, const char *text, const struct setting *s,
                                    enum qm_signal signal, struct err *err)
{
    struct qm_row *const row = &run->rows[signal];
    double *const at = bound(row, s->level);
    const bool is_p2 = s->level[0] == 'p';
    struct l2_reference none;
    double value;

    if (at == NULL)
        return err_set(err, ERR_REJECT,
                       "--set %s: %s is none of warn, p2, warn_above, warn_below, p2_above, "
                       "p2_below (of a signal with two sides the side must be said), enter, leave",
                       text, s->level);
    if (number(text, s->value, &value, err) != ERR_OK)
        return err->class;
    if (calibrated(&none, signal, is_p2) != NULL && at != &row->warn_above && at != &row->p2_above)
        return err_set(err, ERR_REJECT, "--set %s: a PSI is never too small", text);
    *at = value;
    for (uint32_t i = 0; i < run->reference.cryptos_n; i++) {
        double *const own = calibrated(&run->reference.crypto[i], signal, is_p2);
        if (own != NULL)
            *own = value;
    }
    return ERR_OK;
}

enum err_class mon_override(struct mon_run *run, const char *text, struct err *err)
{
    struct setting s = {.value = ""};
    enum qm_signal signal = QM_SIGNALS;

    if (split(text, &s, err) != ERR_OK || find(text, s.signal, &signal, err) != ERR_OK)
        return err->class;
    if (strcmp(s.level, "enter") == 0 || strcmp(s.level, "leave") == 0)
        return set_rule(text, &s, signal, &run->rows[signal], err);
    return set_threshold(run, text, &s, signal, err);
}
