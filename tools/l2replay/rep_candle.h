/*
 * rep_candle.h: candles from recorded trades. Pure but for memory at start.
 *
 * A trade belongs to the bar that holds its event time (Binance: E). A bar is complete with the
 * first trade at or past its end, or the first snapshot REP_CANDLE_GRACE_US past it: trades and
 * depth come on two connections, and a trade may arrive that much behind. A bar in which the feed
 * lived and nothing traded is a flat candle at the last close, as exchanges give it; one in which
 * nothing was recorded is none. A trade of a bar that is already complete is left out and counted.
 * The bar that is open at the end is not complete, hence no candle; a recording that begins inside
 * a bar gives a first candle of what was recorded of it.
 */
#ifndef REP_CANDLE_H
#define REP_CANDLE_H

#include "rep_item.h"

#define REP_CANDLE_GRACE_US INT64_C(1000000)

struct rep_candle {
    uint32_t symbol;
    int64_t bar_us; /* opening */
    double open, high, low, close;
    double base, quote, buy_base, buy_quote;
    int64_t trades_n;
    int64_t due_us; /* due time of the item that completed it */
};

struct rep_candles;

struct rep_candles *rep_candles_new(uint32_t symbols_n, int64_t bar_us);
void rep_candles_free(struct rep_candles *candles); /* NULL-safe */

/* Folds one item in. True: that completed a bar, *ret_candle. */
bool rep_candles_take(struct rep_candles *candles, const struct rep_item *item,
                      struct rep_candle *ret_candle);
uint64_t rep_candles_late(const struct rep_candles *candles); /* trades left out */

#endif
