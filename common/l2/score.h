/*
 * score.h: how well predicted classes fit realised labels. Pure: no allocation, no clock, no I/O.
 *
 * f1_buy = 2TP / (2TP + FP + FN), BUY against the rest: 0 without predicted BUYs, nothing (false)
 * without actual ones.
 */
#ifndef L2_SCORE_H
#define L2_SCORE_H

#include <stdbool.h>
#include <stdint.h>

enum l2_class {
    L2_SELL,
    L2_HOLD,
    L2_BUY,
    L2_CLASSES,
};

/* n[predicted][label]. A zeroed struct is the empty one. */
struct l2_confusion {
    uint32_t n[L2_CLASSES][L2_CLASSES];
};

/* argmax of the three; HOLD among equals. */
enum l2_class l2_class_of(const double probability[L2_CLASSES]);

uint32_t l2_confusion_n(const struct l2_confusion *c);
uint32_t l2_actual_buys(const struct l2_confusion *c);
uint32_t l2_predicted_buys(const struct l2_confusion *c);

bool l2_f1_buy(const struct l2_confusion *c, double *ret_f1);

struct l2_interval {
    double low, high;
};

/*
 * Wilson's 95 % interval of k successes in n ≥ 1 trials (Wilson 1927), without continuity
 * correction.
 */
struct l2_interval l2_wilson95(uint32_t k, uint32_t n);

/*
 * 95 % interval of f1_buy: f1 = 2J / (1 + J) rises with J = TP / (TP + FP + FN), a share of the
 * bars in which BUY was said or true, whose Wilson interval is mapped. It takes these bars for
 * independent: overlapping labels make the truth wider. false where f1_buy is nothing.
 */
bool l2_f1_buy_interval(const struct l2_confusion *c, struct l2_interval *ret_interval);

#endif
