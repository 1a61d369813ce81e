#include "l2/label.h"

#include <assert.h>
#include <math.h>

const struct l2_label_params l2_label_defaults = {.horizon_bars = 16, .span_bars = 96, .width = 1};

bool l2_label_params_valid(const struct l2_label_params *p)
{
    return p->horizon_bars >= 1 && p->horizon_bars <= L2_HORIZON_BARS_MAX &&
           p->span_bars >= L2_SPAN_BARS_MIN && p->span_bars <= L2_SPAN_BARS_MAX && p->width > 0 &&
           p->width <= 1000;
}

static struct l2_decision *slot_of(const struct l2_labels *l, int64_t bar)
{
    const int64_t rest = bar % (int64_t)l->params.horizon_bars;

    return &l->ring[rest < 0 ? rest + (int64_t)l->params.horizon_bars : rest];
}

void l2_labels_reset(struct l2_labels *l, const struct l2_label_params *params)
{
    assert(l2_label_params_valid(params));
    l->params = *params;
    l->newest = (struct l2_decision){.state = L2_DECISION_NONE};
    l->due = 0;
    l2_volatility_reset(&l->volatility, params->span_bars);
    for (uint32_t i = 0; i < params->horizon_bars; i++)
        l->ring[i] = (struct l2_decision){.state = L2_DECISION_NONE};
}

static void touch(struct l2_decision *d, int64_t bar, double close)
{
    const bool above = close > d->upper, below = close < d->lower;

    d->label.exit_bar = bar;
    d->label.exit_price = close;
    d->label.return_bps = (close / d->label.entry_price - 1) * 1e4;
    if (!above && !below)
        return;
    d->state = L2_DECISION_TOUCHED;
    d->label.label = above ? L2_BUY : L2_SELL;
    d->label.barrier = above ? L2_BARRIER_UPPER : L2_BARRIER_LOWER;
}

/* A decision at the newest candle, HOLD until a barrier is touched. */
static struct l2_decision decide(const struct l2_labels *l)
{
    const struct l2_label_params *p = &l->params;
    const double entry = l->volatility.close;
    struct l2_decision d = {.label = {.bar = l->volatility.bar,
                                      .label = L2_HOLD,
                                      .barrier = L2_BARRIER_VERTICAL,
                                      .entry_price = entry}};
    double sigma;

    if (!l2_volatility_sigma(&l->volatility, &sigma))
        return d;
    const double reach = p->width * sigma * sqrt(p->horizon_bars);

    d.state = L2_DECISION_OPEN;
    d.upper = entry * (1 + reach);
    d.lower = entry * (1 - reach);
    return d;
}

void l2_labels_put(struct l2_labels *l, int64_t bar, double close)
{
    const bool started = l->volatility.started;
    const bool missing = started && bar > l->volatility.bar + 1;

    if (started) /* the one in its place matured with this candle before, and was given */
        *slot_of(l, l->newest.label.bar) = l->newest;
    else
        l->due = bar;
    for (uint32_t i = 0; i < l->params.horizon_bars; i++) {
        struct l2_decision *d = &l->ring[i];
        if (d->state != L2_DECISION_OPEN)
            continue;
        if (missing)
            d->state = L2_DECISION_NONE;
        else
            touch(d, bar, close);
    }
    l2_volatility_put(&l->volatility, bar, close);
    l->newest = decide(l);
}

bool l2_labels_next(struct l2_labels *l, struct l2_label *ret_label)
{
    const int64_t newest = l->volatility.bar, matured = newest - (int64_t)l->params.horizon_bars;

    if (!l->volatility.started)
        return false;
    for (uint32_t i = 0; i < l->params.horizon_bars && l->due <= matured; i++) {
        struct l2_decision *d = slot_of(l, l->due);
        const bool there = d->state != L2_DECISION_NONE && d->label.bar == l->due;
        l->due++;
        if (there) {
            *ret_label = d->label;
            d->state = L2_DECISION_NONE;
            return true;
        }
    }
    if (l->due <= matured) /* a jump: the ring has been seen whole */
        l->due = matured + 1;
    return false;
}
