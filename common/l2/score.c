#include "l2/score.h"

#include <assert.h>
#include <math.h>

#define Z95 1.959963984540054 /* the normal's 0.975 quantile */

enum l2_class l2_class_of(const double probability[L2_CLASSES])
{
    const double sell = probability[L2_SELL], hold = probability[L2_HOLD],
                 buy = probability[L2_BUY];

    if (buy > sell && buy > hold)
        return L2_BUY;
    return sell > buy && sell > hold ? L2_SELL : L2_HOLD;
}

uint32_t l2_confusion_n(const struct l2_confusion *c)
{
    uint32_t n = 0;

    for (int predicted = 0; predicted < L2_CLASSES; predicted++) {
        for (int label = 0; label < L2_CLASSES; label++)
            n += c->n[predicted][label];
    }
    return n;
}

uint32_t l2_actual_buys(const struct l2_confusion *c)
{
    return c->n[L2_SELL][L2_BUY] + c->n[L2_HOLD][L2_BUY] + c->n[L2_BUY][L2_BUY];
}

uint32_t l2_predicted_buys(const struct l2_confusion *c)
{
    return c->n[L2_BUY][L2_SELL] + c->n[L2_BUY][L2_HOLD] + c->n[L2_BUY][L2_BUY];
}

bool l2_f1_buy(const struct l2_confusion *c, double *ret_f1)
{
    const uint32_t actual = l2_actual_buys(c), predicted = l2_predicted_buys(c);

    if (actual == 0)
        return false;
    *ret_f1 = 2.0 * c->n[L2_BUY][L2_BUY] / ((double)actual + predicted); /* 2TP + FP + FN */
    return true;
}

struct l2_interval l2_wilson95(uint32_t k, uint32_t n)
{
    assert(n >= 1 && k <= n);
    const double p = (double)k / n, z2n = Z95 * Z95 / n;
    const double centre = (p + z2n / 2) / (1 + z2n);
    const double half = Z95 * sqrt((p * (1 - p) + z2n / 4) / n) / (1 + z2n);

    return (struct l2_interval){k == 0 ? 0 : centre - half, k == n ? 1 : centre + half};
}

bool l2_f1_buy_interval(const struct l2_confusion *c, struct l2_interval *ret_interval)
{
    const uint32_t hits = c->n[L2_BUY][L2_BUY], actual = l2_actual_buys(c);

    if (actual == 0)
        return false;
    const struct l2_interval j = l2_wilson95(hits, actual + l2_predicted_buys(c) - hits);

    *ret_interval = (struct l2_interval){2 * j.low / (1 + j.low), 2 * j.high / (1 + j.high)};
    return true;
}
