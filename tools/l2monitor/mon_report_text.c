#include "mon_backtest.h"

#include "clk/clk.h"

#include <inttypes.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DURATION_BYTES 32
#define MINUTE_US (60 * L2_US_PER_S)

/* "45 s", "12 min", "3 h 15 min", "2 d 6 h" */
static const char *duration(int64_t us, char buf[static DURATION_BYTES])
{
    const int64_t min = us / MINUTE_US;

    if (min < 1)
        snprintf(buf, DURATION_BYTES, "%" PRId64 " s", us / L2_US_PER_S);
    else if (min < 60)
        snprintf(buf, DURATION_BYTES, "%" PRId64 " min", min);
    else if (min < 24 * INT64_C(60))
        snprintf(buf, DURATION_BYTES, "%" PRId64 " h %" PRId64 " min", min / 60, min % 60);
    else
        snprintf(buf, DURATION_BYTES, "%" PRId64 " d %" PRId64 " h", min / 1440, min % 1440 / 60);
    return buf;
}

/* "2024-08-08 23:54": bars close on whole minutes */
static const char *minute(int64_t us, char buf[static CLK_TEXT_BYTES])
{
    clk_text(us, buf, CLK_TEXT_BYTES);
    buf[10] = ' ';
    buf[16] = '\0';
    return buf;
}

static void put_head(const struct mon_backtest *b, FILE *out)
{
    const struct mon_wanted *const w = &b->choice.wanted;
    char from[CLK_TEXT_BYTES], to[CLK_TEXT_BYTES];

    fprintf(out, "%u cryptos of %s, bars of %u s, %s to %s UTC\n",
            mon_history_symbols_n(b->history), w->exchange, w->bar_s, minute(b->from_us, from),
            minute(b->to_us, to));
    fprintf(out,
            "records: %" PRIu64 " candles, %" PRIu64 " bars, %" PRIu64 " features (and %" PRIu64
            " made from bars), %" PRIu64 " predictions, %" PRIu64 " of the rollout; %" PRIu64
            " others left out",
            b->taken[QM_IN_CANDLES], b->taken[QM_IN_BARS], b->taken[QM_IN_FEATURES], b->derived,
            b->taken[QM_IN_PREDICTIONS], b->taken[QM_IN_ROLLOUT], b->others);
    if (b->ahead > 0)
        fprintf(out, "; %" PRIu64 " dated ahead, left out", b->ahead);
    fprintf(out, "\n");
}

/* number 0: there is but one */
static void put_run(const struct mon_run *run, unsigned number, FILE *out)
{
    fprintf(out, "\n");
    if (number > 0)
        fprintf(out, "proposal %u: ", number);
    if (run->reference_file == NULL)
        fprintf(out, "without a reference");
    else
        fprintf(out, "reference %s, version %s", run->reference_file, run->reference.version);
    for (unsigned i = 0; i < run->overrides_n; i++)
        fprintf(out, "%s %s", i == 0 ? ", with" : ",", run->overrides[i]);
    fprintf(out, "\n\n");
}

/* ---- signals */

static bool put_cost(const struct mon_run *run, enum qm_signal signal, enum alert_state worst,
                     bool *name_is_due, FILE *out)
{
    const struct qm_row *const row = &run->rows[signal];
    char median[DURATION_BYTES], longest[DURATION_BYTES], rate[DURATION_BYTES] = "-";
    struct mon_cost c;

    if (!mon_findings_cost(&run->findings, signal, worst, &c))
        return false;
    if (c.episodes == 0)
        return true;
    if (isfinite(c.per_month))
        snprintf(rate, sizeof rate, "%.2f", c.per_month);
    fprintf(out, "%-29s %-8s %8u %14s %8u %12s %12s  %s\n", *name_is_due ? row->name : "",
            alert_state_name(worst), c.episodes, rate, c.cryptos, duration(c.median_us, median),
            duration(c.longest_us, longest),
            worst == ALERT_P2 && row->action == QM_NO_L2 ? "no_l2"
            : worst != ALERT_P2                          ? ""
            : row->action == QM_RETRAIN                  ? "retrain"
            : row->action == QM_REVIEW                   ? "review"
            : row->action == QM_FLAG                     ? "flag"
                                                         : "");
    *name_is_due = false;
    return true;
}

static bool put_signals(const struct mon_backtest *b, const struct mon_run *run, FILE *out)
{
    struct mon_verdict v;
    bool any = false;

    fprintf(out, "%-29s %-8s %8s %14s %8s %12s %12s  %s\n", "signal", "severity", "episodes",
            "a crypto-month", "cryptos", "median", "longest", "asks for");
    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
        bool name_is_due = true;
        for (int worst = ALERT_P2; worst >= ALERT_NO_DATA; worst--) {
            if (worst != ALERT_OK &&
                !put_cost(run, signal, (enum alert_state)worst, &name_is_due, out))
                return false;
        }
        any = any || !name_is_due;
        mon_verdict(b, run, signal, &v);
        if (name_is_due && v.why_not[0] == '\0')
            fprintf(out, "%-29s %-8s\n", run->rows[signal].name, "ok");
    }
    return true;
}

static void put_verdicts(const struct mon_backtest *b, const struct mon_run *run, FILE *out)
{
    struct mon_verdict v;
    bool head_is_due = true;

    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
        mon_verdict(b, run, signal, &v);
        if (v.why_not[0] == '\0')
            continue;
        fprintf(out, "%s  %-29s %s\n", head_is_due ? "\nnot evaluated:\n" : "",
                run->rows[signal].name, v.why_not);
        head_is_due = false;
    }
    head_is_due = true;
    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
        mon_verdict(b, run, signal, &v);
        if (v.note[0] == '\0')
            continue;
        fprintf(out, "%s  %-29s %s\n", head_is_due ? "\nto be known:\n" : "",
                run->rows[signal].name, v.note);
        head_is_due = false;
    }
}

static void put_alerts(const struct mon_run *run, FILE *out)
{
    struct mon_notifications all = {.sent = 0};

    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
        all.sent += run->findings.told[signal].sent;
        all.groups += run->findings.told[signal].groups;
        all.grouped += run->findings.told[signal].grouped;
        all.inhibited += run->findings.told[signal].inhibited;
    }
    fprintf(out,
            "\nalerts: %" PRIu64 " changes of state sent (%" PRIu64 " of them of groups), %" PRIu64
            " stored as grouped, %" PRIu64 " as inhibited\n",
            all.sent, all.groups, all.grouped, all.inhibited);
}

/* ---- episodes */

static void put_episode(const struct mon_run *run, const struct mon_episode *e, FILE *out)
{
    char from[CLK_TEXT_BYTES], to[CLK_TEXT_BYTES], long_[DURATION_BYTES];

    fprintf(out, "  %s  %-16s  %-12s %-8s %s", minute(e->start_us, from),
            e->is_open ? "still open" : minute(e->end_us, to),
            duration(e->end_us - e->start_us, long_), alert_state_name((enum alert_state)e->worst),
            run->rows[e->signal].name);
    if (e->arm != L2_ARM_NONE)
        fprintf(out, " (%s)", codec_arm_name((enum codec_arm)e->arm));
    if (e->peak.is_there)
        fprintf(out, ": %.4g against %.4g, n = %" PRId64, e->peak.value, e->peak.threshold,
                e->peak.n);
    fprintf(out, "\n");
}

static int worse_first(const void *a, const void *b)
{
    const struct mon_episode *const x = *(const struct mon_episode *const *)a;
    const struct mon_episode *const y = *(const struct mon_episode *const *)b;
    const int64_t p = x->end_us - x->start_us, q = y->end_us - y->start_us;

    if (x->worst != y->worst)
        return x->worst < y->worst ? 1 : -1;
    if (p != q)
        return p < q ? 1 : -1;
    return (x > y) - (x < y);
}

static int in_order(const void *a, const void *b)
{
    const struct mon_episode *const x = *(const struct mon_episode *const *)a;
    const struct mon_episode *const y = *(const struct mon_episode *const *)b;

    return (x > y) - (x < y); /* they lie by their start */
}

static void put_crypto(const struct mon_run *run, uint32_t crypto, unsigned list_n,
                       const struct mon_episode **some, FILE *out)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < run->findings.episodes_n; i++) {
        if (run->findings.episodes[i].crypto == crypto)
            some[n++] = &run->findings.episodes[i];
    }
    if (n == 0)
        return;
    const uint32_t shown = n < list_n ? n : list_n;

    qsort(some, n, sizeof(const struct mon_episode *), worse_first);
    qsort(some, shown, sizeof(const struct mon_episode *), in_order);
    fprintf(out, "\n%s: %u episodes", qm_core_symbol(run->core, crypto), n);
    fprintf(out, shown < n ? ", the %u worst:\n" : "\n", shown);
    for (uint32_t i = 0; i < shown; i++)
        put_episode(run, some[i], out);
}

struct named {
    const char *symbol;
    uint32_t crypto;
};

static int by_symbol(const void *a, const void *b)
{
    return strcmp(((const struct named *)a)->symbol, ((const struct named *)b)->symbol);
}

static bool put_episodes(const struct mon_run *run, unsigned list_n, FILE *out)
{
    const uint32_t cryptos_n = qm_core_cryptos(run->core);
    const struct mon_episode **const some =
        malloc((run->findings.episodes_n + 1) * sizeof(const struct mon_episode *));
    struct named *const names = malloc((cryptos_n + 1) * sizeof *names);
    const bool is_ok = some != NULL && names != NULL;

    for (uint32_t i = 0; is_ok && i < cryptos_n; i++)
        names[i] = (struct named){qm_core_symbol(run->core, i), i};
    if (is_ok)
        qsort(names, cryptos_n, sizeof *names, by_symbol);
    for (uint32_t i = 0; is_ok && list_n > 0 && i < cryptos_n; i++)
        put_crypto(run, names[i].crypto, list_n, some, out);
    if (run->findings.episodes_lost > 0)
        fprintf(out, "\n%" PRIu64 " more episodes are counted nowhere: narrow the history\n",
                run->findings.episodes_lost);
    free(names);
    free(some);
    return is_ok;
}

/* ---- proposals side by side: episodes in a crypto-month */

static bool put_rates(const struct mon_backtest *b, enum qm_signal signal, enum alert_state worst,
                      FILE *out)
{
    struct mon_cost c[MON_RUNS_MAX];
    uint32_t episodes = 0;

    for (unsigned i = 0; i < b->runs_n; i++) {
        if (!mon_findings_cost(&b->runs[i].findings, signal, worst, &c[i]))
            return false;
        episodes += c[i].episodes;
    }
    if (episodes == 0)
        return true;
    fprintf(out, "%-29s %-8s", qm_rows[signal].name, alert_state_name(worst));
    for (unsigned i = 0; i < b->runs_n; i++) {
        if (isfinite(c[i].per_month))
            fprintf(out, " %13.2f", c[i].per_month);
        else
            fprintf(out, " %13s", "-");
    }
    fprintf(out, "\n");
    return true;
}

static bool put_sides(const struct mon_backtest *b, FILE *out)
{
    fprintf(out, "\nside by side, episodes a crypto-month:\n\n%-29s %-8s", "signal", "severity");
    for (unsigned i = 0; i < b->runs_n; i++)
        fprintf(out, "    proposal %u", i + 1);
    fprintf(out, "\n");
    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++) {
        for (int worst = ALERT_P2; worst >= ALERT_NO_DATA; worst--) {
            if (worst != ALERT_OK && !put_rates(b, signal, (enum alert_state)worst, out))
                return false;
        }
    }
    return true;
}

bool mon_report_text(const struct mon_backtest *b, unsigned list_n, FILE *out)
{
    put_head(b, out);
    for (unsigned i = 0; i < b->runs_n; i++) {
        const struct mon_run *const run = &b->runs[i];
        put_run(run, b->runs_n > 1 ? i + 1 : 0, out);
        if (!put_signals(b, run, out))
            return false;
        put_verdicts(b, run, out);
        put_alerts(run, out);
        if (!put_episodes(run, list_n, out))
            return false;
    }
    return b->runs_n < 2 || put_sides(b, out);
}
