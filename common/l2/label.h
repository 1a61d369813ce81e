/*
 * label.h: the triple barrier, the realised label of a decision. Pure: no allocation, no clock, no
 * I/O.
 *
 * A decision at t = bar_time + bar enters at that bar's close. The barriers stand at entry × (1 ±
 * width × σ × √horizon), σ the volatility at t. The first close strictly past one decides, BUY
 * above, SELL below (López de Prado 2018, ch. 3, on closes); if none does, the vertical barrier's
 * close is the exit, HOLD.
 *
 * Every label matures at its vertical barrier, touched early or not: known ones that were touched
 * early would make any recent window of labels hold too many BUYs and SELLs. A missing candle
 * leaves no label where it could have decided: nothing is imputed.
 */
#ifndef L2_LABEL_H
#define L2_LABEL_H

#include <stdbool.h>
#include <stdint.h>

#include "l2/score.h"
#include "l2/volatility.h"

#define L2_HORIZON_BARS_MAX 1024

struct l2_label_params {
    uint32_t horizon_bars; /* 1 … L2_HORIZON_BARS_MAX; 16 */
    uint32_t span_bars;    /* of the volatility; 96 */
    double width;          /* > 0, in σ√horizon; 1.0 */
};

extern const struct l2_label_params l2_label_defaults;

bool l2_label_params_valid(const struct l2_label_params *p);

enum l2_barrier {
    L2_BARRIER_UPPER,
    L2_BARRIER_LOWER,
    L2_BARRIER_VERTICAL,
};

struct l2_label {
    int64_t bar; /* the decision's; its close is the entry */
    enum l2_class label;
    enum l2_barrier barrier;
    int64_t exit_bar; /* its close is the exit */
    double entry_price, exit_price;
    double return_bps; /* (exit / entry − 1) × 10^4 */
};

struct l2_decision {
    enum {
        L2_DECISION_NONE, /* no candle, no volatility, or a candle missing since */
        L2_DECISION_OPEN,
        L2_DECISION_TOUCHED,
    } state;
    double upper, lower;
    struct l2_label label;
};

/* All open decisions of one crypto under one set of parameters. `ring` is borrowed, horizon_bars
 * long. */
struct l2_labels {
    struct l2_label_params params;
    struct l2_volatility volatility;
    struct l2_decision *ring;  /* those before the newest, by bar modulo horizon_bars */
    struct l2_decision newest; /* at the newest candle */
    int64_t due;               /* the oldest decision that may still be given */
};

/* Nothing known. */
void l2_labels_reset(struct l2_labels *l, const struct l2_label_params *params);

/* The candle of a bar past the newest one; close finite and > 0. What it matures is then to be
 * taken by l2_labels_next until there is no more. */
void l2_labels_put(struct l2_labels *l, int64_t bar, double close);

/* The next matured label, in order of bars; decisions that have none are passed over. false: no
 * more. */
bool l2_labels_next(struct l2_labels *l, struct l2_label *ret_label);

#endif
