#include "mon_backtest.h"

#include "clk/clk.h"

#include <jansson.h>
#include <math.h>
#include <string.h>

static const char *const actions[] = {"none", "no_l2", "flag", "retrain", "review", "freeze"};

/* Takes `item` over. false: there is none, or no memory. */
static bool put(json_t *list, json_t *item)
{
    return json_array_append_new(list, item) == 0;
}

/* NULL instead of a list that lacks something. */
static json_t *whole(json_t *list, bool is_whole)
{
    if (is_whole)
        return list;
    json_decref(list);
    return NULL;
}

static json_t *number(double x)
{
    return isfinite(x) ? json_real(x) : json_null();
}

static json_t *time_of(int64_t us)
{
    char text[CLK_TEXT_BYTES];

    return json_string(clk_text(us, text, sizeof text));
}

static json_t *seconds(int64_t us)
{
    return json_real((double)us / 1e6);
}

static json_t *count(uint64_t n)
{
    return json_integer((json_int_t)n);
}

/* ---- the history */

static json_t *records(const struct mon_backtest *b)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "candles",
                     count(b->taken[QM_IN_CANDLES]), "bars", count(b->taken[QM_IN_BARS]),
                     "features", count(b->taken[QM_IN_FEATURES]), "features_from_bars",
                     count(b->derived), "predictions", count(b->taken[QM_IN_PREDICTIONS]),
                     "rollout", count(b->taken[QM_IN_ROLLOUT]), "others", count(b->others), "ahead",
                     count(b->ahead));
}

static json_t *history(const struct mon_backtest *b)
{
    const struct mon_wanted *const w = &b->choice.wanted;

    return json_pack("{s:s, s:i, s:s, s:i, s:s, s:o, s:o, s:o, s:i, s:o}", "exchange", w->exchange,
                     "bar_seconds", (int)w->bar_s, "schema_version", w->schema_version,
                     "purge_bars", (int)b->purge_bars, "feature_set", l2_set_name(b->set), "from",
                     time_of(b->from_us), "to", time_of(b->to_us), "first_record",
                     time_of(b->first_us), "cryptos", (int)mon_history_symbols_n(b->history),
                     "records", records(b));
}

/* ---- signals */

static json_t *cost(const struct mon_findings *f, enum qm_signal signal, enum alert_state worst)
{
    struct mon_cost c;

    if (!mon_findings_cost(f, signal, worst, &c))
        return NULL;
    return json_pack("{s:i, s:o, s:i, s:o, s:o, s:i}", "episodes", (int)c.episodes,
                     "per_crypto_month", number(c.per_month), "cryptos", (int)c.cryptos,
                     "median_seconds", c.episodes > 0 ? seconds(c.median_us) : json_null(),
                     "longest_seconds", c.episodes > 0 ? seconds(c.longest_us) : json_null(),
                     "open", (int)c.open);
}

static json_t *without(const struct mon_run *run, enum qm_signal signal)
{
    json_t *const list = json_array();
    bool is_whole = true;

    for (uint32_t c = 0; is_whole && c < qm_core_cryptos(run->core); c++) {
        if (!mon_has_value(run, c, signal))
            is_whole = put(list, json_string(qm_core_symbol(run->core, c)));
    }
    return whole(list, is_whole);
}

static json_t *evaluated(const struct mon_run *run, enum qm_signal signal,
                         const struct mon_verdict *v)
{
    return json_pack(
        "{s:b, s:i, s:o, s:o, s:o, s:s*, s:s*}", "is_evaluated", v->cover.cryptos > 0, "cryptos",
        (int)v->cover.cryptos, "without", without(run, signal), "values", count(v->cover.evaluated),
        "crypto_days", number((double)v->cover.us / 86400e6), "why_not",
        v->why_not[0] != '\0' ? v->why_not : NULL, "note", v->note[0] != '\0' ? v->note : NULL);
}

static json_t *signal_of(const struct mon_backtest *b, const struct mon_run *run,
                         enum qm_signal signal)
{
    const struct qm_row *const row = &run->rows[signal];
    const struct mon_notifications *const told = &run->findings.told[signal];
    struct mon_verdict v;

    mon_verdict(b, run, signal, &v);
    return json_pack(
        "{s:s, s:s, s:s, s:s, s:{s:o, s:o, s:o, s:o}, s:o, s:o, s:o, s:o, s:{s:o, s:o, s:o, s:o}}",
        "signal", row->name, "meaning", row->meaning, "action", actions[row->action], "runbook",
        row->runbook, "thresholds", "warn_below", number(row->warn_below), "warn_above",
        number(row->warn_above), "p2_below", number(row->p2_below), "p2_above",
        number(row->p2_above), "evaluated", evaluated(run, signal, &v), "warn",
        cost(&run->findings, signal, ALERT_WARN), "p2", cost(&run->findings, signal, ALERT_P2),
        "no_data", cost(&run->findings, signal, ALERT_NO_DATA), "alerts", "sent", count(told->sent),
        "groups", count(told->groups), "grouped", count(told->grouped), "inhibited",
        count(told->inhibited));
}

/* ---- episodes */

static json_t *peak(const struct mon_episode *e)
{
    return e->peak.is_there ? json_pack("{s:o, s:o, s:o, s:o}", "value", number(e->peak.value),
                                        "threshold", number(e->peak.threshold), "time",
                                        time_of(e->peak.time_us), "n", json_integer(e->peak.n))
                            : json_null();
}

static json_t *episode(const struct mon_run *run, const struct mon_episode *e)
{
    const enum qm_action action = e->worst == ALERT_P2 ? run->rows[e->signal].action : QM_NOTHING;

    return json_pack("{s:s, s:s, s:s, s:s, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:s}", "symbol",
                     qm_core_symbol(run->core, e->crypto), "signal", run->rows[e->signal].name,
                     "arm", codec_arm_name((enum codec_arm)e->arm), "severity",
                     alert_state_name((enum alert_state)e->worst), "start", time_of(e->start_us),
                     "end", e->is_open ? json_null() : time_of(e->end_us), "seconds",
                     seconds(e->end_us - e->start_us), "began_before", e->began_before,
                     "warn_seconds", seconds(e->in_us[ALERT_WARN]), "p2_seconds",
                     seconds(e->in_us[ALERT_P2]), "no_data_seconds",
                     seconds(e->in_us[ALERT_NO_DATA]), "peak", peak(e), "action", actions[action]);
}

static json_t *run_of(const struct mon_backtest *b, const struct mon_run *run)
{
    json_t *const signals = json_array(), *const episodes = json_array(),
                  *const overrides = json_array();
    bool is_whole = true;

    for (enum qm_signal signal = 0; signal < QM_SIGNALS; signal++)
        is_whole = put(signals, signal_of(b, run, signal)) && is_whole;
    for (uint32_t i = 0; i < run->findings.episodes_n; i++)
        is_whole = put(episodes, episode(run, &run->findings.episodes[i])) && is_whole;
    for (unsigned i = 0; i < run->overrides_n; i++)
        is_whole = put(overrides, json_string(run->overrides[i])) && is_whole;
    json_t *const made = json_pack(
        "{s:s?, s:s?, s:o, s:o, s:o, s:o}", "reference", run->reference_file, "reference_version",
        run->reference_file != NULL ? run->reference.version : NULL, "set", overrides, "signals",
        signals, "episodes", episodes, "episodes_left_out", count(run->findings.episodes_lost));
    return whole(made, is_whole);
}

static bool is_utf8(const char *text)
{
    json_t *const made = text == NULL ? json_null() : json_string(text);

    json_decref(made);
    return made != NULL;
}

const char *mon_report_not_utf8(const struct mon_backtest *b)
{
    const struct mon_wanted *const w = &b->choice.wanted;

    if (!is_utf8(w->exchange))
        return w->exchange;
    if (!is_utf8(w->schema_version))
        return w->schema_version;
    for (unsigned i = 0; i < b->runs_n; i++) {
        if (!is_utf8(b->runs[i].reference_file))
            return b->runs[i].reference_file;
    }
    return NULL;
}

char *mon_report_json(const struct mon_backtest *b)
{
    json_t *const runs = json_array();
    bool is_whole = true;

    for (unsigned i = 0; i < b->runs_n; i++)
        is_whole = put(runs, run_of(b, &b->runs[i])) && is_whole;
    json_t *const all = json_pack("{s:i, s:s, s:o, s:o}", "format", 1, "made_by",
                                  "l2monitor " L2FLOW_VERSION, "history", history(b), "runs", runs);
    char *const text =
        all == NULL || !is_whole ? NULL : json_dumps(all, JSON_INDENT(1) | JSON_ENSURE_ASCII);

    json_decref(all);
    return text;
}
