#include "ba_valid.h"

#include "codec/candle.h"
#include "codec/l2_bar.h"

#include <math.h>

#define US_PER_S INT64_C(1000000)
#define YEAR_10000_US (INT64_C(253402300800) * US_PER_S)

static const char *fault_of_bar_time(int64_t bar_time_us, int32_t bar_seconds)
{
    if (bar_seconds <= 0 || bar_seconds % 60 != 0)
        return "bar_seconds is not a whole number of minutes";
    if (bar_time_us < 0 || bar_time_us >= YEAR_10000_US)
        return "bar_time is before 1970 or past 9999";
    if (bar_time_us % (bar_seconds * US_PER_S) != 0)
        return "bar_time is not a multiple of bar_seconds";
    return NULL;
}

static bool is_amount(bool has, double v)
{
    return !has || (isfinite(v) && v >= 0);
}

static const char *fault_of_candle(const struct codec_candle *c)
{
    const char *fault = fault_of_bar_time(c->bar_time_us, c->bar_seconds);

    if (fault != NULL)
        return fault;
    if (!(c->low > 0) || !isfinite(c->high)) /* false for NaN, too */
        return "a price is not finite and above 0";
    if (!(c->low <= c->open && c->open <= c->high && c->low <= c->close && c->close <= c->high))
        return "open or close lies outside low and high";
    if (!is_amount(true, c->base_volume) || !is_amount(c->has_quote_volume, c->quote_volume) ||
        !is_amount(c->has_taker_buy_base, c->taker_buy_base) ||
        !is_amount(c->has_taker_buy_quote, c->taker_buy_quote) ||
        (c->has_trade_count && c->trade_count < 0))
        return "a volume or count is negative or not finite";
    return NULL;
}

static bool is_column(bool has, double v)
{
    return !has || isfinite(v);
}

static const char *fault_of_bar(const struct codec_l2_bar *b)
{
    const char *fault = fault_of_bar_time(b->bar_time_us, b->bar_seconds);

    if (fault != NULL)
        return fault;
    if (!is_column(b->has_mid_price, b->mid_price) ||
        !is_column(b->has_spread_bps, b->spread_bps) ||
        !is_column(b->has_depth_imbalance_l1, b->depth_imbalance_l1) ||
        !is_column(b->has_depth_imbalance_l5, b->depth_imbalance_l5) ||
        !is_column(b->has_ofi_15m, b->ofi_15m) || !is_column(b->has_kyle_lambda, b->kyle_lambda))
        return "a column is not finite";
    if (b->snapshots < 0 || b->gaps < 0 || !(b->coverage >= 0 && b->coverage <= 1))
        return "snapshots or gaps is negative, or coverage not from 0 to 1";
    return NULL;
}

const char *ba_fault(enum ba_table table, const void *record)
{
    return table == BA_BARS ? fault_of_bar(record) : fault_of_candle(record);
}
