#include "en_rule.h"

#include <math.h>

#define HOLD_WEIGHT 1.6 /* so that a score decides from 0.3 on: 1 + 2 × 0.3 */

double en_rule_momentum(const double *closes, uint32_t n)
{
    double way = 0;

    for (uint32_t i = 1; i < n; i++)
        way += fabs(closes[i] - closes[i - 1]);
    return way > 0 ? (closes[n - 1] - closes[0]) / way : 0;
}

/* A score, −1 … 1, as three probabilities. */
static void spread(double score, double p[L2_CLASSES])
{
    const double sell = 1 + 2 * fmax(-score, 0), buy = 1 + 2 * fmax(score, 0);
    const double sum = sell + HOLD_WEIGHT + buy;

    p[L2_SELL] = sell / sum;
    p[L2_HOLD] = HOLD_WEIGHT / sum;
    p[L2_BUY] = buy / sum;
}

void en_rule_blind(double momentum, double ret_p[L2_CLASSES])
{
    spread(momentum, ret_p);
}

void en_rule_book(enum l2_arm arm, double momentum, const struct l2_row *row, double volume,
                  double ret_p[L2_CLASSES])
{
    const double of_momentum = arm == L2_ARM_CHAMPION_L2 ? 0.6 : 0.5;
    const double of_book = (1 - of_momentum) / 2;
    double score = of_momentum * momentum;

    if (l2_row_has(row, L2_DEPTH_IMBALANCE_L5))
        score += of_book * row->value[L2_DEPTH_IMBALANCE_L5];
    if (l2_row_has(row, L2_OFI)) {
        const double flow = row->value[L2_OFI], all = fabs(flow) + volume;
        score += all > 0 ? of_book * flow / all : 0;
    }
    spread(score, ret_p);
}

static uint64_t mix(uint64_t h)
{
    h = (h ^ (h >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    h = (h ^ (h >> 27)) * UINT64_C(0x94d049bb133111eb);
    return h ^ (h >> 31);
}

double en_rule_draw(const char *symbol, uint32_t symbol_n, int64_t bar_time_us, uint64_t salt)
{
    uint64_t h = mix(salt + UINT64_C(0x9e3779b97f4a7c15));

    for (uint32_t i = 0; i < symbol_n; i++)
        h = mix(h ^ (uint8_t)symbol[i]);
    h = mix(h ^ (uint64_t)bar_time_us);
    return (double)(h >> 11) / 9007199254740992.0; /* 2^53 */
}
