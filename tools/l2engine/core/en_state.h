/* en_state.h: the core's state, private to it. */
#ifndef EN_STATE_H
#define EN_STATE_H

#include "en_core.h"

#define NO_TIME INT64_MIN
#define NOBODY UINT32_MAX

struct feature {
    int64_t bar_time_us, source_us; /* NO_TIME: a free place */
    struct l2_row row;
    bool is_warm, fits_contract;
};

struct symbol {
    char name[L2_SYMBOL_BYTES_MAX];
    uint32_t name_n; /* 0: a free place */
    int32_t partition; /* −1: of none that is ours */

    /* candles: the newest in a row without a hole, oldest first, and where they lie */
    uint32_t closes_n;
    double close[EN_MOMENTUM_BARS_MAX + 1];
    int64_t offset[EN_MOMENTUM_BARS_MAX + 1];
    int64_t candle_us; /* of the newest; NO_TIME: none */

    /* predictions: the newest bar, and from where in l2.predictions a restart has to read to know
     * it and the latch */
    int64_t predicted_us;
    int64_t sent_from;
    struct l2_latch latch;
    int64_t bad_from[L2_LATCH_BARS]; /* of the newest bars at P2, oldest first */
    int64_t latch_from;

    /* features */
    int64_t first_us; /* where the symbol's features begin; NO_TIME: none was seen */
    int64_t newest_us; /* the newest that was seen */
    int64_t shift_us; /* from a record's source bar to its bar */
    struct feature features[EN_FEATURES_MAX]; /* by bar modulo their count */

    /* whatever the partition */
    bool has_beat;
    int64_t event_us;
    bool has_rollout;
    struct en_rollout rollout;

    uint64_t blocked; /* the scan in which an earlier bar of it could not be decided */
};

struct waiting {
    uint32_t symbol, next;
    int64_t offset, ohlcv_from;
    int64_t bar_time_us, mono_us;
    double momentum, volume;
    bool is_late, has_label;
    enum l2_class label;
};

struct en_partition {
    bool owned;
    int64_t committed, next; /* next: the first that was never read; −1: nothing was */
    int64_t ohlcv_from, read; /* where this life began to read, and how far it is */
    int64_t sent; /* the next record of l2.predictions lies there or behind */
    int64_t candle_us; /* the newest; NO_TIME: none */
    int64_t reached_us; /* NO_TIME: nothing */
};

struct en_core {
    struct en_params params;
    struct symbol *symbols;
    uint32_t symbols_n;
    uint32_t *index; /* hash → place + 1; 0: empty */
    uint32_t index_n;
    struct en_partition *partitions;
    struct waiting *waiting;
    uint32_t free, first, last, waiting_n; /* lists of `waiting` */
    uint32_t scan_at, scan_before; /* where en_core_next stands */
    bool scanning;
    uint64_t scan;
};

/* NULL: no place; the symbol is made where it is not known. */
struct symbol *en_symbol(struct en_core *core, struct en_name name);
/* Are its candles in this partition? They are where the first was found. */
bool en_symbol_is_in(struct symbol *symbol, int32_t partition);
/* What is known of its candles, predictions and features. */
void en_symbol_forget(struct symbol *symbol);

/* One more record of the symbol in l2.predictions, at `offset` or behind. */
void en_symbol_sent(struct symbol *symbol, const struct l2_latch_record *record, int64_t offset);
const struct feature *en_symbol_feature(const struct symbol *symbol, int64_t bar_time_us,
                                        int64_t bar_us);
/* Is the source of this bar's record before the symbol's first whole window? */
bool en_symbol_warms_up(const struct en_core *core, const struct symbol *symbol,
                        int64_t bar_time_us);
/* Decides the bar by what is known. */
void en_decide(const struct en_core *core, const struct symbol *symbol, const struct waiting *w,
               int64_t now_us, struct en_bar *ret_bar);
bool en_freshness(const struct en_core *core, const struct symbol *symbol, int64_t now_us,
                  double *ret_s);
const struct l2_rollout *en_rollout_of(const struct en_core *core, const struct symbol *symbol);

#endif
