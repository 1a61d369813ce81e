/* mon_backtest.h: a backtest's parts: stored records in order, folded by the service's own core
 * once for each proposal, and what came of it. */
#ifndef MON_BACKTEST_H
#define MON_BACKTEST_H

#include "mon_findings.h"
#include "mon_history.h"
#include "mon_source.h"
#include "quality/quality.h"
#include "qm_wire.h"

#include <stdio.h>

#define MON_RUNS_MAX 4
#define MON_OVERRIDES_MAX 64
#define MON_PURGE_BARS_DEFAULT 20
#define MON_BACKTEST_BAR_S_MAX 3600 /* as the monitor has it */

/* One proposal: a reference and what is set otherwise. */
struct mon_run {
    const char *reference_file; /* NULL: none */
    struct quality_file reference;
    const char *overrides[MON_OVERRIDES_MAX]; /* as they were typed */
    unsigned overrides_n;
    struct qm_row rows[QM_SIGNALS];
    struct qm_core *core;
    struct qm_alerts *alerts;
    struct mon_findings findings;
};

struct mon_backtest {
    struct mon_choice choice; /* wanted.from_us: where the warm-up begins */
    int64_t from_us, to_us;   /* what is looked at */
    bool is_quiet;
    enum l2_set set;
    int64_t purge_bars; /* −1: not known yet */
    struct mon_history *history;
    uint64_t taken[QM_INPUTS], others, derived; /* others: of another exchange, bar length, … */
    uint64_t ahead; /* dated ahead, and left out therefore */
    int64_t first_us, last_us; /* closes of the bars that were taken */
    struct mon_run runs[MON_RUNS_MAX];
    unsigned runs_n;
    int64_t now_us; /* of the record at hand, of which changes are told */
    struct mon_run *run; /* the one that folds */
};

/* mon_override.c: SIGNAL.LEVEL=VALUE into a run, whose reference is read already. REJECT: what is
 * wrong with it. */
enum err_class mon_override(struct mon_run *run, const char *text, struct err *err) MUST_CHECK;

/* mon_replay.c */
extern const struct codec_record *const mon_backtest_records[];
/* For mon_source_read; user: the mon_backtest. */
enum err_class mon_backtest_take(void *user, const struct codec_record *record, const void *value,
                                 int64_t latest_us, struct err *err);
/* Folds the history; an exit code, and has told what was wrong. */
int mon_backtest_fold(struct mon_backtest *b);
const char *mon_backtest_symbol(void *user, uint32_t crypto); /* user: a mon_run */
int64_t mon_backtest_bar_us(const struct mon_backtest *b);

/* mon_verdict.c: could the signal be judged with this history? */
struct mon_verdict {
    struct mon_cover cover;
    char why_not[160]; /* "": it was evaluated, of some crypto at least */
    char note[200];    /* "", or what is to be known of how it was */
};
void mon_verdict(const struct mon_backtest *b, const struct mon_run *run, enum qm_signal signal,
                 struct mon_verdict *ret);

bool mon_has_value(const struct mon_run *run, uint32_t crypto, enum qm_signal signal);

/* mon_report_text.c: tables for people. list_n: episodes of one crypto at most. */
bool mon_report_text(const struct mon_backtest *b, unsigned list_n, FILE *out);
/* mon_report_json.c: for programs; owned by the caller. NULL: no memory, or a text
 * that is not UTF-8. */
char *mon_report_json(const struct mon_backtest *b);
/* The first of its texts that JSON cannot say; NULL: none. */
const char *mon_report_not_utf8(const struct mon_backtest *b);
/* mon_report_html.c: a page with plots that needs nothing else. false: no memory, or `out` has
 * failed. */
bool mon_report_html(const struct mon_backtest *b, FILE *out) MUST_CHECK;

#endif
