/*
 * en_rule.h: the example's models. Plain rules, so that a reader sees at a glance what comes out;
 * put a model of your own in their place. Pure: no allocation, no clock, no I/O.
 */
#ifndef EN_RULE_H
#define EN_RULE_H

#include "l2/route.h"
#include "l2/score.h"
#include "l2/types.h"

#define EN_MOMENTUM_BARS_MAX 64

/* How straight the price went, −1 … 1: (last − first) / Σ |step|, the efficiency ratio (Kaufman
 * 1995). 0 with fewer than two closes, or none that differ. */
double en_rule_momentum(const double *closes, uint32_t n);

/* Of no_l2: momentum alone. */
void en_rule_blind(double momentum, double ret_p[L2_CLASSES]);

/* Of an L2 arm: the book's imbalance and the order flow beside it. A column that is null
 * contributes nothing. volume: base units traded in the bar, against which the flow is seen. */
void en_rule_book(enum l2_arm arm, double momentum, const struct l2_row *row, double volume,
                  double ret_p[L2_CLASSES]);

/* For tests: a number in [0, 1) that depends on nothing but these. */
double en_rule_draw(const char *symbol, uint32_t symbol_n, int64_t bar_time_us, uint64_t salt);

#endif
