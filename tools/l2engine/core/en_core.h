/*
 * en_core.h: what the example engine decides: when a bar is predicted, by which arms, and which of
 * them is executed. Pure: no clock, no I/O, no allocation after en_core_new, no logging.
 *
 * A closed candle makes a bar due. It waits a little for the bar's feature record where an L2 arm
 * predicts; then it is decided, with or without. Bars of one symbol are decided in their order. The
 * state is a fold over the log: candles, the predictions that were made, features, heartbeats,
 * rollout records.
 */
#ifndef EN_CORE_H
#define EN_CORE_H

#include "base/err.h"
#include "en_rule.h"
#include "l2/route.h"
#include "l2/types.h"

#include <assert.h>

#define EN_PARTITIONS_MAX 1024
#define EN_FEATURES_MAX 64     /* of a symbol, that are kept */
/* Features are taken up to so many bars past the oldest that is due. */
#define EN_FEATURES_AHEAD 32
#define EN_WAITING_MAX 4096    /* bars that are due */
#define EN_PREDICTIONS_MAX 3   /* of a bar: no_l2 or none, and two L2 arms */
static_assert(EN_FEATURES_AHEAD < EN_FEATURES_MAX, "what is due is not overwritten");

struct en_name {
    const char *data;
    uint32_t n; /* 1 … L2_SYMBOL_BYTES_MAX */
};

struct en_params {
    int64_t bar_us, window_us;
    uint32_t columns;       /* of the L2 arms' feature set: bit c for enum l2_column c */
    uint32_t momentum_bars; /* 1 … EN_MOMENTUM_BARS_MAX */
    int64_t feature_wait_us; /* real time that a bar waits for its feature */
    int64_t
        late_after_us;  /* event time after its bar's close past which a candle is of a backlog */
    int64_t freshness_slack_us; /* of a rehearsal: 2 s of real time; else 0 */
    struct l2_rollout without_rollout;
    uint32_t symbols_max, partitions_n;
    /* For tests; negative: the rule decides. Shares of the bars in which an L2 arm says what no_l2
     * says, and in which an arm says what the answer sheet says. */
    double agreement, skill, blind_skill;
};

struct en_core;

enum err_class en_core_new(const struct en_params *params, struct en_core **ret_core,
                           struct err *err) MUST_CHECK;
void en_core_free(struct en_core *core); /* NULL-safe */

/* ---- partitions of the candles' topic ---- */

/* The partition is ours. committed: candles below were done with (−1: none); ohlcv_from: where it
 * is read from; sent: where in l2.predictions the next record will lie, or before it. Predictions
 * of the past go in before, candles after it. */
void en_core_start(struct en_core *core, int32_t partition, int64_t committed, int64_t ohlcv_from,
                   int64_t sent);
/* Not ours any more: what is known of its candles, predictions and features is dropped. */
void en_core_stop(struct en_core *core, int32_t partition);
bool en_core_owns(const struct en_core *core, int32_t partition);
unsigned en_core_owned(const struct en_core *core);

struct en_position {
    int64_t offset; /* the first candle that is not done with; −1: nothing was read */
    int64_t ohlcv_from; /* from where a restart reads candles … */
    int64_t sent_from; /* … and predictions */
};
struct en_position en_core_position(const struct en_core *core, int32_t partition);

/* ---- what comes in; false: no place for one more symbol ---- */

/* A record of l2.predictions as it was found there. */
struct en_past {
    struct en_name symbol;
    int32_t partition;
    int64_t offset;
    struct l2_latch_record record;
};
bool en_core_past(struct en_core *core, const struct en_past *past) MUST_CHECK;

struct en_candle {
    struct en_name symbol;
    int32_t partition;
    int64_t offset;
    int64_t bar_time_us;
    double close, volume;
    int64_t now_us, mono_us;
    bool has_label; /* for tests: the answer sheet's */
    enum l2_class label;
};
enum en_fate {
    EN_DUE, /* it will be predicted */
    EN_KNOWN, /* folded: its bar was predicted before a restart */
    EN_STALE, /* its symbol has had that bar, or a later one */
    EN_MISPLACED, /* its symbol is another partition's */
    EN_FULL, /* not taken: EN_WAITING_MAX are due; ask again */
    EN_NO_ROOM, /* not taken: no place for one more symbol */
};
enum en_fate en_core_candle(struct en_core *core, const struct en_candle *candle);
/* A record that is no candle of ours: the position passes it. */
void en_core_skip(struct en_core *core, int32_t partition, int64_t offset);

struct en_feature {
    struct en_name symbol;
    int64_t bar_time_us, source_us;
    struct l2_row row;
    bool fits_contract;
};
bool en_core_feature(struct en_core *core, const struct en_feature *feature) MUST_CHECK;
/* The newest bar whose feature may be taken yet: one further ahead would push out what is due.
 * INT64_MIN: none before a candle was read. */
int64_t en_core_takes_until(const struct en_core *core, int32_t partition);
/* All features of bars before this one have been taken; INT64_MAX: all that there are. */
void en_core_features_reached(struct en_core *core, int32_t partition, int64_t bar_time_us);

bool en_core_beat(struct en_core *core, struct en_name symbol, int64_t newest_event_us) MUST_CHECK;

struct en_rollout {
    struct en_name symbol;
    int64_t version;
    struct l2_rollout rollout;
    int64_t cleared_through_us; /* INT64_MIN: never */
    bool serves[L2_ARMS]; /* by the model that it pins, or pins none */
};
/* Older versions than the newest are left out. */
bool en_core_rollout(struct en_core *core, const struct en_rollout *rollout) MUST_CHECK;

/* An output of ours lies at this offset of l2.predictions. */
void en_core_sent(struct en_core *core, int32_t partition, int64_t offset);

/* ---- what goes out ---- */

struct en_prediction {
    enum l2_arm arm;
    bool executed;
    bool has_p; /* arm none has none */
    double p[L2_CLASSES];
    enum l2_class decision;
    bool has_nan_rate;
    double nan_rate;
};

struct en_bar {
    struct en_name symbol; /* lives as long as the core */
    int32_t partition;
    int64_t bar_time_us;
    struct l2_route route;
    bool has_freshness;
    double freshness_s;
    bool has_rollout; /* a record, that is */
    int64_t rollout_version;
    int64_t source_us; /* of the feature record, where an L2 arm is among these */
    bool without_feature; /* an L2 arm was to predict, and no feature record came */
    struct en_prediction predictions[EN_PREDICTIONS_MAX];
    unsigned n;
};

/* The next bar that can be decided now; false: none (the next call begins anew). */
bool en_core_next(struct en_core *core, int64_t now_us, int64_t mono_us, struct en_bar *ret_bar);
unsigned en_core_waiting(const struct en_core *core);

#endif
