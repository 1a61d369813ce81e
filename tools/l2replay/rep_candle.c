#include "rep_candle.h"
#include "rep_grow.h"

#include <stdlib.h>

struct state {
    struct rep_candle bar; /* the open one */
    bool is_open;
    bool has_close; /* there was a trade */
};

struct rep_candles {
    struct state *states;
    int64_t bar_us;
    uint64_t late;
};

struct rep_candles *rep_candles_new(uint32_t symbols_n, int64_t bar_us)
{
    struct rep_candles *const c = rep_alloc(1, sizeof *c);

    c->states = rep_alloc(symbols_n, sizeof *c->states);
    c->bar_us = bar_us;
    return c;
}

void rep_candles_free(struct rep_candles *candles)
{
    if (candles == NULL)
        return;
    free(candles->states);
    free(candles);
}

/* Times are after 1970, or a shift back by a stagger: still positive in any use. */
static int64_t bar_of(const struct rep_candles *c, int64_t time_us)
{
    int64_t k = time_us / c->bar_us;

    if (time_us % c->bar_us < 0)
        k--;
    return k * c->bar_us;
}

static void open_bar(struct state *s, uint32_t symbol, int64_t bar_us)
{
    const double close = s->bar.close;

    s->bar = (struct rep_candle){.symbol = symbol,
                                 .bar_us = bar_us,
                                 .open = close,
                                 .high = close,
                                 .low = close,
                                 .close = close};
    s->is_open = true;
}

static void add(struct rep_candle *bar, const struct rep_trade *t)
{
    const double quote = t->price * t->quantity;

    if (bar->trades_n == 0)
        bar->open = bar->high = bar->low = t->price;
    if (t->price > bar->high)
        bar->high = t->price;
    if (t->price < bar->low)
        bar->low = t->price;
    bar->close = t->price;
    bar->base += t->quantity;
    bar->quote += quote;
    if (t->is_buy) {
        bar->buy_base += t->quantity;
        bar->buy_quote += quote;
    }
    bar->trades_n++;
}

bool rep_candles_take(struct rep_candles *c, const struct rep_item *item,
                      struct rep_candle *ret_candle)
{
    struct state *const s = &c->states[item->symbol];
    const int64_t grace_us = item->is_trade ? 0 : REP_CANDLE_GRACE_US;
    const int64_t bar_us = bar_of(c, item->event_us - grace_us);
    bool is_complete = false;

    if (item->is_trade && s->is_open && bar_us < s->bar.bar_us) {
        c->late++;
        return false;
    }
    if (!s->has_close && !item->is_trade)
        return false; /* no price yet */
    if (s->is_open && bar_us > s->bar.bar_us) {
        *ret_candle = s->bar;
        ret_candle->due_us = item->due_us;
        is_complete = true;
    }
    if (!s->is_open || bar_us > s->bar.bar_us)
        open_bar(s, item->symbol, bar_us);
    if (item->is_trade) {
        add(&s->bar, &item->trade);
        s->has_close = true;
    }
    return is_complete;
}

uint64_t rep_candles_late(const struct rep_candles *candles)
{
    return candles->late;
}
