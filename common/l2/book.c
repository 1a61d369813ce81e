#include "l2/book.h"

#include <float.h>
#include <math.h>

const char *const l2_reject_names[L2_REJECTS + 1] = {
    [L2_ACCEPTED] = "accepted",
    [L2_REJECT_TOO_LARGE] = "too_large",
    [L2_REJECT_UNDECODABLE] = "undecodable",
    [L2_REJECT_UNKNOWN_SCHEMA] = "unknown_schema",
    [L2_REJECT_SYMBOL_INVALID] = "symbol_invalid",
    [L2_REJECT_SYMBOL_MISMATCH] = "symbol_mismatch",
    [L2_REJECT_WRONG_EXCHANGE] = "wrong_exchange",
    [L2_REJECT_EVENT_TIME_AHEAD] = "event_time_ahead",
    [L2_REJECT_EMPTY_SIDE] = "empty_side",
    [L2_REJECT_NOT_FINITE] = "not_finite",
    [L2_REJECT_PRICE_NOT_POSITIVE] = "price_not_positive",
    [L2_REJECT_QUANTITY_NEGATIVE] = "quantity_negative",
    [L2_REJECT_LEVELS_OUT_OF_ORDER] = "levels_out_of_order",
    [L2_REJECT_CROSSED_BOOK] = "crossed_book",
    [L2_REJECT_MAX_SYMBOLS] = "max_symbols",
};

typedef double pair __attribute__((vector_size(16)));
typedef int64_t mask __attribute__((vector_size(16)));
_Static_assert(sizeof(struct l2_level) == sizeof(pair), "a level is one vector");

static inline pair pair_of(const struct l2_level *level)
{
    return (pair){level->price, level->quantity};
}

/*
 * Are all levels finite, priced above 0, of quantity ≥ 0 and strictly ordered? Two lanes at a time, (price, quantity), without a
 * branch: good books are all but a few, and a NaN fails every comparison. `sign` is 1 for bids (falling) and -1 for asks (rising).
 */
static bool side_ok(const struct l2_level *levels, uint32_t n, double sign)
{
    const pair low = {DBL_TRUE_MIN, 0.0}, high = {DBL_MAX, DBL_MAX}, s = {sign, sign};
    pair previous = pair_of(&levels[0]);
    mask ok = (previous >= low) & (previous <= high);
    mask ordered = {-1, -1};

    for (uint32_t i = 1; i < n; i++) {
        const pair level = pair_of(&levels[i]);
        ok &= (level >= low) & (level <= high);
        ordered &= s * previous > s * level;
        previous = level;
    }
    return (ok[0] & ok[1] & ordered[0]) != 0;
}

static bool flow_ok(const struct l2_flow *f)
{
    return f->buy_base >= 0 && f->sell_base >= 0 && f->buy_quote >= 0 && f->sell_quote >= 0 &&
           f->buy_base <= DBL_MAX && f->sell_base <= DBL_MAX && f->buy_quote <= DBL_MAX &&
           f->sell_quote <= DBL_MAX && f->trade_count >= 0;
}

struct faults {
    bool not_finite, price, quantity, order;
};

static void side_faults(const struct l2_level *levels, uint32_t n, double sign, struct faults *f)
{
    for (uint32_t i = 0; i < n; i++) {
        f->not_finite |= !isfinite(levels[i].price) || !isfinite(levels[i].quantity);
        f->price |= levels[i].price <= 0;
        f->quantity |= levels[i].quantity < 0;
        f->order |= i > 0 && !(sign * levels[i - 1].price > sign * levels[i].price);
    }
}

/* The slow way, for books that are known to be bad: which fault comes first in the order of enum l2_reject? */
static enum l2_reject first_fault(const struct l2_snapshot *s)
{
    struct faults f = {false};

    side_faults(s->bids, s->bids_n, 1, &f);
    side_faults(s->asks, s->asks_n, -1, &f);
    if (s->has_flow) {
        const double v[] = {s->flow.buy_base, s->flow.sell_base, s->flow.buy_quote,
                            s->flow.sell_quote};
        for (unsigned i = 0; i < 4; i++) {
            f.not_finite |= !isfinite(v[i]);
            f.quantity |= v[i] < 0;
        }
        f.quantity |= s->flow.trade_count < 0;
    }
    if (f.not_finite)
        return L2_REJECT_NOT_FINITE;
    if (f.price)
        return L2_REJECT_PRICE_NOT_POSITIVE;
    if (f.quantity)
        return L2_REJECT_QUANTITY_NEGATIVE;
    if (f.order)
        return L2_REJECT_LEVELS_OUT_OF_ORDER;
    return L2_REJECT_CROSSED_BOOK;
}

enum l2_reject l2_book_check(const struct l2_snapshot *s)
{
    if (s->bids_n == 0 || s->asks_n == 0)
        return L2_REJECT_EMPTY_SIDE;
    if (side_ok(s->bids, s->bids_n, 1) && side_ok(s->asks, s->asks_n, -1) &&
        s->bids[0].price < s->asks[0].price && (!s->has_flow || flow_ok(&s->flow)))
        return L2_ACCEPTED;
    return first_fault(s);
}

bool l2_symbol_ok(const char *symbol, size_t n)
{
    if (n < 1 || n > L2_SYMBOL_BYTES_MAX)
        return false;
    for (size_t i = 0; i < n; i++) {
        const char c = symbol[i];
        if (!((c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '.' ||
              c == '_' || c == '-'))
            return false;
    }
    return true;
}
