/* qm_state.h: what the core keeps of one crypto. Private to the core. */
#ifndef QM_STATE_H
#define QM_STATE_H

#include "core/qm_core.h"

#include <assert.h>

#define DAY_S 86400
#define MONTH_DAYS 30
#define SAMPLES_24H_MIN 48
#define P99_DAYS 30
#define P99_DAYS_MIN 20
#define SPREAD_DAYS 90
#define SPREAD_RECENT_DAYS 7
#define FRESHNESS_STEP_S 0.25
#define FRESHNESS_CODES 1281 /* up to 320 s, past P2, then all above */
#define NAN_CODES 121
#define DAYS_RING 32 /* of outcomes: 30 days and what is being filled */
#define CLOSES 1024  /* nine spans of QM_SPAN_BARS_MAX */
#define HOUR_BARS_MAX 60
#define OOR_CODES ((L2_COLUMNS + 1) * (L2_COLUMNS + 1))
#define VERSIONS 8 /* of models seen lately */

static_assert(9 * QM_SPAN_BARS_MAX <= CLOSES, "a label set can be made from the closes at hand");
static_assert(QM_HORIZON_BARS_MAX < QM_LATE_BARS, "a prediction waits in the ring for its label");

/* A day's counts of one arm, by the day of the decision. */
struct counts {
    uint16_t n[L2_CLASSES][L2_CLASSES];
};

/* BUY against the rest, of two arms over the same bars. */
struct pair {
    uint16_t tp[2], fp[2], fn[2]; /* 0: the arm, 1: the L2-blind one */
    uint16_t n;
};

struct day {
    int64_t number; /* days since 1970 */
    struct counts arm[L2_ARMS];
    struct pair pair[L2_ARMS];
};

struct said {
    bool there, executed;
    uint8_t decision, set, version; /* set: QM_LABEL_SETS_MAX: none */
    bool scored;                    /* its outcome is known: label */
    bool late;                      /* it counts for no skill */
    uint8_t label;
};

struct prediction_slot {
    int64_t bar;
    struct said arm[L2_ARMS];
};

struct matured {
    int64_t bar;
    double entry_price, exit_price;
    uint16_t exit_bars; /* after `bar` */
    uint8_t label, barrier;
};

struct label_set {
    bool used;
    struct l2_labels labels;
    struct l2_decision ring[QM_HORIZON_BARS_MAX];
    struct matured matured[QM_LATE_BARS]; /* by bar; bar −1: none */
};

/* Which outcomes are out: bit bar modulo QM_LATE_BARS, of the bars up to `newest`. */
struct emitted {
    bool started;
    int64_t newest;
    uint64_t bits[QM_LATE_BARS / 64];
};

struct tracked {
    struct alert alert;
    int64_t started_us; /* of the episode: when it left ok */
    bool is_started;
    bool is_emitted; /* newest signal that is out */
    int64_t emitted_us;
};

/* A count in 16 bits: 11 of mantissa, 5 of exponent; exact to 2,047, then within 2^-11. */
typedef uint16_t small_count;

struct crypto {
    uint32_t number;
    char symbol[L2_SYMBOL_BYTES_MAX + 1];
    const struct l2_reference *reference; /* NULL: none */
    struct tracked tracked[QM_SIGNALS][L2_ARMS];

    /* bars */
    bool has_bar;
    int64_t first_bar, newest_bar;
    int64_t bar_day; /* the day that is open */
    struct l2_tally psi_24h, psi_24h_p2, psi_30d[3], nan_ahead, oor;
    int64_t first_feature, newest_feature;
    bool has_feature;
    struct {
        int64_t bar;
        uint32_t snapshots;
    } hour[HOUR_BARS_MAX];
    double *lambda; /* of the open day, day_bars */
    unsigned lambda_n;
    struct {
        bool there;
        int64_t day;
        double log_p99;
    } p99[P99_DAYS + 1];
    struct l2_sketch today;
    struct {
        bool there;
        int64_t day;
        small_count count[L2_SKETCH_BINS];
    } spread[SPREAD_DAYS];

    /* predictions */
    struct l2_latch latch;
    int64_t cleared_through_us;
    bool has_prediction;
    int64_t first_prediction, newest_prediction; /* of L2 arms, one a bar */
    struct l2_tally freshness, nan_rate, agreement[L2_ARMS];
    int64_t first_agreement[L2_ARMS];
    bool has_agreement[L2_ARMS];
    struct prediction_slot said[QM_LATE_BARS];
    bool has_said;
    int64_t newest_said; /* of any arm */
    char version[VERSIONS][QM_TEXT_BYTES_MAX + 1];
    uint8_t version_next;

    /* candles */
    bool has_candle;
    int64_t newest_candle, candle_day;
    double close[CLOSES]; /* by bar; NAN: none */
    struct label_set set[QM_LABEL_SETS_MAX];
    struct emitted emitted[L2_ARMS];
    struct day days[DAYS_RING];
};

struct qm_core {
    struct qm_options options;
    const struct qm_row *rows;
    uint32_t columns; /* bits of the set's */
    unsigned columns_n;
    int64_t bar_us;
    unsigned day_bars, hour_bars;
    struct crypto **cryptos; /* by number */
    unsigned cryptos_n;
    uint32_t *slots; /* number + 1 by hash of the symbol; 0: free */
    uint32_t slots_n;
    struct crypto *found; /* the last one looked for: a record asks for its own again and again */
    size_t bytes_a_crypto;
};

/* What was measured, before it is judged. */
struct measured {
    enum qm_signal signal;
    enum l2_arm arm;
    int64_t bar;
    bool has_value, has_interval;
    double value, low, high;
    double judged; /* what thresholds are for, where it is not the value; else NAN */
    int64_t n;
    bool has_thresholds; /* its own instead of the row's */
    double warn_below, warn_above, p2_below, p2_above;
    bool p2_held_back; /* past P2, and not to be called so yet */
    int64_t measurable_bar; /* the first bar at which the window can be full; before: "from DATE" */
};

/* Judges, steps the alert, gives the signal and a transition out. */
void qm_tell(struct qm_core *core, struct crypto *c, const struct measured *m);

struct crypto *qm_find(struct qm_core *core, const char *symbol); /* makes it; NULL: one too many */

void qm_on_bar(struct qm_core *core, struct crypto *c, int64_t bar, const struct qm_bar *b);
void qm_on_feature(struct qm_core *core, struct crypto *c, int64_t bar, const struct qm_feature *f);
void qm_on_prediction(struct qm_core *core, struct crypto *c, int64_t bar,
                      const struct qm_prediction *p);
void qm_on_candle(struct qm_core *core, struct crypto *c, int64_t bar, double close);

/* qm_skill.c: what matured predictions say. `m` is the label of the slot's bar. */
void qm_score(struct qm_core *core, struct crypto *c, struct prediction_slot *slot, enum l2_arm arm,
              const struct matured *m);
void qm_close_candle_day(struct qm_core *core, struct crypto *c, int64_t day);

/* Records of a day that a signal of 24 h asks for: 48, or half of what a day of long bars holds. */
static inline unsigned qm_samples_24h_min(const struct qm_core *core)
{
    return core->day_bars / 2 < SAMPLES_24H_MIN ? core->day_bars / 2 : SAMPLES_24H_MIN;
}

/* The close of a bar, NAN where none is known. */
double qm_close_at(const struct crypto *c, int64_t bar);

static inline unsigned qm_slot(int64_t number, unsigned n)
{
    return (unsigned)(number % (int64_t)n); /* bars and days are ≥ 0 */
}

#endif
