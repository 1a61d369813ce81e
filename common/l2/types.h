/* types.h: the words of the domain. Times are µs since the Unix epoch; prices are quote units,
 * quantities base units. */
#ifndef L2_TYPES_H
#define L2_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#define L2_LEVELS_MAX 1000
#define L2_SYMBOL_BYTES_MAX 32
#define L2_US_PER_S INT64_C(1000000)
#define L2_MINUTE_US (60 * L2_US_PER_S)

struct l2_level {
    double price;
    double quantity;
};

/* What aggressors traded since the previous snapshot. */
struct l2_flow {
    double buy_base, sell_base;
    double buy_quote, sell_quote;
    int64_t trade_count;
};

/* The top of one book at one instant. The levels are borrowed, best first. */
struct l2_snapshot {
    int64_t event_time_us, received_time_us;
    int64_t sequence, epoch;
    const struct l2_level *bids, *asks;
    uint32_t bids_n, asks_n;
    bool has_flow;
    struct l2_flow flow;
};

/* The six columns, in the order in which they are stored everywhere. */
enum l2_column {
    L2_MID_PRICE,
    L2_SPREAD_BPS,
    L2_DEPTH_IMBALANCE_L1,
    L2_DEPTH_IMBALANCE_L5,
    L2_OFI,
    L2_KYLE_LAMBDA,
    L2_COLUMNS,
};

/* A row of columns; bit c of `present` is clear where column c is null. A null column's value is 0
 * and means nothing. */
struct l2_row {
    double value[L2_COLUMNS];
    uint32_t present;
};

static inline bool l2_row_has(const struct l2_row *row, enum l2_column column)
{
    return (row->present >> column & 1U) != 0;
}

static inline void l2_row_set(struct l2_row *row, enum l2_column column, double value)
{
    row->value[column] = value;
    row->present |= 1U << column;
}

/* Largest multiple of `step_us` that is ≤ time_us, for times before 1970 too. */
static inline int64_t l2_floor_us(int64_t time_us, int64_t step_us)
{
    const int64_t rest = time_us % step_us;

    return time_us - (rest < 0 ? rest + step_us : rest);
}

#endif
