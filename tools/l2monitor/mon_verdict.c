/* Could a signal be judged with the history that was given? Never silently ok. */
#include "mon_backtest.h"

#include "clk/clk.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum need {
    NEED_CANDLES = 1 << QM_IN_CANDLES,
    NEED_BARS = 1 << QM_IN_BARS,
    NEED_FEATURES = 1 << QM_IN_FEATURES, /* bars will do */
    NEED_PREDICTIONS = 1 << QM_IN_PREDICTIONS,
    NEED_REFERENCE = 1 << QM_INPUTS,
    NEED_ESTIMATE = 1 << (QM_INPUTS + 1),
};

static const struct {
    unsigned needs;
    const char *never; /* NULL, or why no stored history tells it */
} table[QM_SIGNALS] = {
    [QM_FRESHNESS] = {NEED_PREDICTIONS, NULL},
    [QM_NAN_RATE] = {NEED_PREDICTIONS, NULL},
    [QM_OOR] = {NEED_FEATURES | NEED_REFERENCE, NULL},
    [QM_NAN_AHEAD] = {NEED_BARS, NULL},
    [QM_PSI_24H] = {NEED_BARS | NEED_REFERENCE, NULL},
    [QM_CADENCE] = {NEED_BARS | NEED_REFERENCE, NULL},
    [QM_PSI_30D_KYLE] = {NEED_BARS | NEED_REFERENCE, NULL},
    [QM_PSI_30D_OFI] = {NEED_BARS | NEED_REFERENCE, NULL},
    [QM_PSI_30D_IMBALANCE] = {NEED_BARS | NEED_REFERENCE, NULL},
    [QM_KYLE_P99] = {NEED_BARS, NULL},
    [QM_SPREAD_REGIME] = {NEED_BARS, NULL},
    [QM_FRESHNESS_P99] = {NEED_PREDICTIONS, NULL},
    [QM_NAN_RATE_P99] = {NEED_PREDICTIONS, NULL},
    [QM_AGREEMENT] = {NEED_PREDICTIONS, NULL},
    [QM_F1_BUY] = {NEED_PREDICTIONS | NEED_CANDLES, NULL},
    [QM_F1_DRIFT] = {NEED_PREDICTIONS | NEED_CANDLES | NEED_REFERENCE | NEED_ESTIMATE, NULL},
    [QM_DELTA_F1] = {NEED_PREDICTIONS | NEED_CANDLES, NULL},
    [QM_LATCH] = {NEED_PREDICTIONS, NULL},
    [QM_LEAKAGE] = {0, "recomputed from l2.snapshots as bars close, by the live monitor alone"},
    [QM_PRODUCER_SILENT] = {0, "measured by the clock, from heartbeats, which are kept for a day"},
};

static void add(char *text, size_t size, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void add(char *text, size_t size, const char *format, ...)
{
    const size_t n = strlen(text);
    va_list args;

    va_start(args, format);
    (void)snprintf(text + n, size - n, "%s", n > 0 ? ", " : "");
    (void)vsnprintf(text + strlen(text), size - strlen(text), format, args);
    va_end(args);
}

static bool has_estimate(const struct mon_run *run)
{
    for (uint32_t i = 0; i < run->reference.cryptos_n; i++) {
        if (run->reference.crypto[i].f1_buy.known)
            return true;
    }
    return false;
}

static void tell_missing(const struct mon_backtest *b, const struct mon_run *run, unsigned needs,
                         char *text, size_t size)
{
    static const char *const words[] = {"no candles", "no bars", "neither feature records nor bars",
                                        "no predictions"};
    unsigned missing = 0;

    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++)
        missing |= b->taken[i] == 0 ? 1U << i : 0;
    if (b->derived > 0)
        missing &= ~(unsigned)NEED_FEATURES;
    for (unsigned i = 0; i < sizeof words / sizeof words[0]; i++) {
        if ((needs & missing & 1U << i) != 0)
            add(text, size, "%s", words[i]);
    }
    if ((needs & NEED_REFERENCE) != 0 && run->reference_file == NULL)
        add(text, size, "no --reference");
    else if ((needs & NEED_ESTIMATE) != 0 && !has_estimate(run))
        add(text, size, "no out-of-fold f1_buy in the reference");
}

/* From when on a window can be full, of the crypto that is first. */
static bool measurable_from(const struct mon_run *run, enum qm_signal signal, int64_t *ret_us)
{
    bool has = false;

    for (uint32_t c = 0; c < run->findings.cryptos_n; c++) {
        for (enum l2_arm arm = 0; arm < L2_ARMS; arm++) {
            const struct mon_series *const s = mon_findings_series(&run->findings, c, signal, arm);
            if (s == NULL || !s->has_measurable_from || (has && s->measurable_from_us >= *ret_us))
                continue;
            has = true;
            *ret_us = s->measurable_from_us;
        }
    }
    return has;
}

static void tell_why_not(const struct mon_backtest *b, const struct mon_run *run,
                         enum qm_signal signal, struct mon_verdict *v)
{
    char when[CLK_TEXT_BYTES];
    int64_t from_us = 0;

    if (table[signal].never != NULL) {
        add(v->why_not, sizeof v->why_not, "%s", table[signal].never);
        return;
    }
    tell_missing(b, run, table[signal].needs, v->why_not, sizeof v->why_not);
    if (v->why_not[0] != '\0')
        return;
    if (measurable_from(run, signal, &from_us))
        add(v->why_not, sizeof v->why_not, "too little history: measurable from %.16sZ",
            clk_text(from_us, when, sizeof when));
    else
        add(v->why_not, sizeof v->why_not,
            "never enough samples in its window, or no crypto of the reference");
}

static void tell_note(const struct mon_backtest *b, enum qm_signal signal, struct mon_verdict *v)
{
    if (signal == QM_FRESHNESS)
        add(v->note, sizeof v->note,
            "at predictions alone; live it is looked at each second, which nothing stores");
    if (signal == QM_OOR && b->derived > 0)
        add(v->note, sizeof v->note, "feature records made from bars, purge %d",
            (int)b->purge_bars);
    if (signal == QM_OOR && b->taken[QM_IN_CANDLES] == 0)
        add(v->note, sizeof v->note, "mid_price not judged: no candles");
    if (signal == QM_LATCH && b->taken[QM_IN_ROLLOUT] == 0)
        add(v->note, sizeof v->note, "no rollout records: a latch is never cleared");
}

bool mon_has_value(const struct mon_run *run, uint32_t crypto, enum qm_signal signal)
{
    for (enum l2_arm arm = 0; arm < L2_ARMS; arm++) {
        const struct mon_series *const s = mon_findings_series(&run->findings, crypto, signal, arm);
        if (s != NULL && s->valued_n > 0)
            return true;
    }
    return false;
}

static const char *first_without(const struct mon_run *run, enum qm_signal signal)
{
    const char *first = NULL;

    for (uint32_t c = 0; c < qm_core_cryptos(run->core); c++) {
        const char *const symbol = qm_core_symbol(run->core, c);
        if (!mon_has_value(run, c, signal) && (first == NULL || strcmp(symbol, first) < 0))
            first = symbol;
    }
    return first == NULL ? "one" : first;
}

void mon_verdict(const struct mon_backtest *b, const struct mon_run *run, enum qm_signal signal,
                 struct mon_verdict *ret)
{
    *ret = (struct mon_verdict){.cover = mon_findings_cover(&run->findings, signal)};
    if (ret->cover.cryptos == 0) {
        tell_why_not(b, run, signal, ret);
        return;
    }
    if (ret->cover.cryptos < run->findings.cryptos_n)
        add(ret->note, sizeof ret->note, "%u of %u cryptos alone have a value: %s has none",
            ret->cover.cryptos, run->findings.cryptos_n, first_without(run, signal));
    tell_note(b, signal, ret);
}
