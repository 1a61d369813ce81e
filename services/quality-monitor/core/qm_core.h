/*
 * qm_core.h: the quality monitor, pure: what bars, features, predictions and candles say of each
 * crypto, as signals, outcomes and alert states. No clock, no I/O, no logging; allocates only when
 * a crypto is seen for the first time.
 *
 * Every signal has one trigger, the record at whose event time it is measured, and depends on what
 * was folded before it; windows are of bars, so that a record's place in them is its own time, not
 * its arrival. The caller merges its inputs by event time while it catches up.
 *
 * Outputs that the log holds already are not given again: the caller first tells what is there
 * (qm_core_emitted_*), then folds. What is folded later than that comes out once.
 */
#ifndef QM_CORE_H
#define QM_CORE_H

#include "alerts/alert.h"
#include "l2/l2.h"

#include <stddef.h>

#define QM_CRYPTOS_MAX 8192
#define QM_TEXT_BYTES_MAX 64
#define QM_HORIZON_BARS_MAX 48  /* of a prediction's label; longer ones have no outcome */
#define QM_SPAN_BARS_MAX 113    /* of its volatility: nine spans of closes are kept */
#define QM_LATE_BARS 128 /* a prediction or label further behind the newest makes no outcome */
#define QM_LABEL_SETS_MAX 3 /* different label parameters of one crypto at a time */

enum qm_signal {
    /* per prediction of an L2 arm */
    QM_FRESHNESS,
    QM_NAN_RATE,
    /* per feature record */
    QM_OOR,
    /* per bar */
    QM_NAN_AHEAD,
    QM_PSI_24H,
    QM_CADENCE,
    /* per day of bars */
    QM_PSI_30D_KYLE,
    QM_PSI_30D_OFI,
    QM_PSI_30D_IMBALANCE,
    QM_KYLE_P99,
    QM_SPREAD_REGIME,
    /* gate figures, per prediction */
    QM_FRESHNESS_P99,
    QM_NAN_RATE_P99,
    QM_AGREEMENT,
    /* per day of candles */
    QM_F1_BUY,
    QM_F1_DRIFT,
    QM_DELTA_F1,
    /* of routing: a crypto's latch; of the exchange: heartbeats */
    QM_LATCH,
    QM_LEAKAGE, /* of features: the live proof */
    QM_PRODUCER_SILENT,
    QM_SIGNALS,
};

enum qm_action { QM_NOTHING, QM_NO_L2, QM_FLAG, QM_RETRAIN, QM_REVIEW, QM_FREEZE };

/* One row a signal: what it is called, how it is judged, what follows. */
struct qm_row {
    const char *name;
    int64_t window_s; /* 0: none, or the bars' own */
    double warn_above, p2_above; /* NAN: none; also the defaults of calibrated ones */
    double warn_below, p2_below;
    struct alert_rule rule;
    enum qm_action action;
    const char *runbook; /* the runbook's anchor */
    const char *meaning;
};
extern const struct qm_row qm_rows[QM_SIGNALS];

/* ---- events ---- */

struct qm_bar {
    int64_t bar_time_us;
    struct l2_row row;
    uint32_t snapshots;
    const uint8_t *sketch;
    size_t sketch_n;
};

struct qm_feature {
    int64_t bar_time_us, source_bar_time_us;
    struct l2_row row;
};

struct qm_prediction {
    int64_t bar_time_us;
    enum l2_arm arm;
    enum l2_class decision;
    bool executed, has_freshness, has_nan_rate, has_label;
    double freshness_s, nan_rate;
    enum l2_route_reason reason;
    struct l2_label_params label;
    char model_version[QM_TEXT_BYTES_MAX + 1];
};

/* What the monitor needs of a RolloutState. */
struct qm_rollout {
    int64_t time_us;
    int64_t cleared_through_us; /* latches up to this bar; INT64_MIN: none */
};

struct qm_candle {
    int64_t bar_time_us;
    double close;
};

/* ---- what comes out ---- */

struct qm_signal_out {
    enum qm_signal signal;
    enum l2_arm arm;
    int64_t bar_time_us;
    bool has_value, has_interval, has_measurable_from;
    double value, low, high;
    int64_t n, window_s, measurable_from_us;
    double warn_below, warn_above, p2_below, p2_above; /* NAN: none */
    enum alert_state observed, state;
};

struct qm_outcome_out {
    enum l2_arm arm;
    enum l2_class decision;
    bool executed;
    char model_version[QM_TEXT_BYTES_MAX + 1];
    struct l2_label_params params;
    struct l2_label label; /* bars: of the crypto's bar length */
    bool is_late; /* said when its label was all but known: it counts for no skill */
};

struct qm_transition {
    enum qm_signal signal;
    enum l2_arm arm;
    enum alert_state previous, state;
    int64_t since_us, started_us;
    bool has_value;
    double value, threshold;
    int64_t n;
};

/* Where outputs go while an event is folded. A call must not come back into the core. */
struct qm_sink {
    void (*signal)(void *user, const char *symbol, const struct qm_signal_out *out);
    void (*outcome)(void *user, const char *symbol, const struct qm_outcome_out *out);
    void (*transition)(void *user, const char *symbol, const struct qm_transition *out);
    void *user;
};

struct qm_options {
    uint32_t bar_s, purge_bars;
    unsigned cryptos_max; /* ≤ QM_CRYPTOS_MAX; records of further ones are counted, not folded */
    enum l2_set set; /* the columns of the L2 arms */
    const struct qm_row *rows; /* QM_SIGNALS, borrowed: others that are tried; NULL: qm_rows */
    struct alert_rule freshness_rule; /* of a rehearsal; enter_n 0: the table's */
    const struct l2_reference *references; /* borrowed; by symbol, any order */
    unsigned references_n;
    struct qm_sink sink;
};

struct qm_core;

/* NULL: no memory. */
struct qm_core *qm_core_new(const struct qm_options *options);
void qm_core_free(struct qm_core *core);

/* Before the first event: what the log of our own outputs holds. */
void qm_core_emitted_signal(struct qm_core *core, const char *symbol, enum qm_signal signal,
                            enum l2_arm arm, int64_t bar_time_us);
void qm_core_emitted_outcome(struct qm_core *core, const char *symbol, enum l2_arm arm,
                             int64_t bar_time_us);

/* false: not folded, since the crypto would be one too many, or the time is off the bars' grid. */
bool qm_core_bar(struct qm_core *core, const char *symbol, const struct qm_bar *bar);
bool qm_core_feature(struct qm_core *core, const char *symbol, const struct qm_feature *feature);
bool qm_core_prediction(struct qm_core *core, const char *symbol, const struct qm_prediction *p);
bool qm_core_candle(struct qm_core *core, const char *symbol, const struct qm_candle *candle);

/* A feature record's row was recomputed from what lies before its purge: is it the same? One that
 * is out (qm_core_emitted_signal) is judged, and not given out again. */
bool qm_core_proof(struct qm_core *core, const char *symbol, int64_t bar_time_us, bool is_same);
bool qm_core_rollout(struct qm_core *core, const char *symbol, const struct qm_rollout *rollout);

/* The live freshness, by the clock: it feeds the alert alone. */
bool qm_core_freshness(struct qm_core *core, const char *symbol, double freshness_s,
                       int64_t now_us);

unsigned qm_core_cryptos(const struct qm_core *core);
size_t qm_core_bytes_a_crypto(const struct qm_core *core);
/* The crypto's number, which it gets now if it is new. false: one too many. */
bool qm_core_number(struct qm_core *core, const char *symbol, uint32_t *ret_crypto);
/* By number < qm_core_cryptos. */
const char *qm_core_symbol(const struct qm_core *core, unsigned crypto);
/* Has the signal of this crypto ever been judged? */
bool qm_core_had_data(const struct qm_core *core, unsigned crypto, enum qm_signal signal,
                      enum l2_arm arm);
/* NULL: the crypto has no reference. */
const char *qm_core_reference_version(struct qm_core *core, const char *symbol);
enum alert_state qm_core_state(const struct qm_core *core, unsigned crypto, enum qm_signal signal,
                               enum l2_arm arm);

#endif
