#include "l2/volatility.h"

#include <assert.h>
#include <math.h>

#define BLOCKS (L2_VOLATILITY_BLOCKS + 1)

static int64_t floor_div(int64_t a, int64_t b)
{
    return a / b - (a % b < 0);
}

static struct l2_volatility_block *block_of(struct l2_volatility *v, int64_t number)
{
    const int64_t rest = number % BLOCKS;

    return &v->block[rest < 0 ? rest + BLOCKS : rest];
}

/* keep^n, the same product whoever asks. */
static double decay(const struct l2_volatility *v, int64_t n)
{
    double base = 1 - 2 / ((double)v->span_bars + 1), power = 1;

    for (uint64_t left = (uint64_t)n; left > 0; left >>= 1) {
        if ((left & 1) != 0)
            power *= base;
        base *= base;
    }
    return power;
}

void l2_volatility_reset(struct l2_volatility *v, uint32_t span_bars)
{
    assert(span_bars >= L2_SPAN_BARS_MIN && span_bars <= L2_SPAN_BARS_MAX);
    *v = (struct l2_volatility){.span_bars = span_bars};
}

static void add_return(struct l2_volatility *v, int64_t bar, double r)
{
    const int64_t number = floor_div(bar, v->span_bars);
    struct l2_volatility_block *b = block_of(v, number);

    if (b->n == 0 || b->number != number)
        *b = (struct l2_volatility_block){.number = number, .newest = bar};
    const double kept = decay(v, bar - b->newest);

    b->squares = b->squares * kept + r * r;
    b->weights = b->weights * kept + 1;
    b->newest = bar;
    b->n++;
}

void l2_volatility_put(struct l2_volatility *v, int64_t bar, double close)
{
    assert(isfinite(close) && close > 0 && (!v->started || bar > v->bar));
    if (v->started && bar == v->bar + 1)
        add_return(v, bar, close / v->close - 1);
    v->started = true;
    v->bar = bar;
    v->close = close;
}

bool l2_volatility_sigma(const struct l2_volatility *v, double *ret_sigma)
{
    double squares = 0, weights = 0;
    uint64_t n = 0;

    if (!v->started)
        return false;
    const int64_t open = floor_div(v->bar, v->span_bars);

    for (int64_t number = open; number >= open - L2_VOLATILITY_BLOCKS; number--) {
        const int64_t rest = number % BLOCKS;
        const struct l2_volatility_block *b = &v->block[rest < 0 ? rest + BLOCKS : rest];
        if (b->n == 0 || b->number != number)
            continue;
        const double kept = decay(v, v->bar - b->newest);
        squares += b->squares * kept;
        weights += b->weights * kept;
        n += b->n;
    }
    if (n < v->span_bars)
        return false;
    *ret_sigma = sqrt(squares / weights);
    return true;
}
