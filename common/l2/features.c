#include "l2/features.h"

#include <float.h>

#define L5 5

static double sum_quantity(const struct l2_level *levels, uint32_t n)
{
    double sum = 0;

    for (uint32_t i = 0; i < n; i++)
        sum += levels[i].quantity;
    return sum;
}

static void set_imbalance(struct l2_row *row, enum l2_column column, double bids, double asks)
{
    const double sum = bids + asks;

    if (sum > 0 && sum <= DBL_MAX) /* all quantities 0: nothing rests, so nothing is balanced */
        l2_row_set(row, column, (bids - asks) / sum);
}

void l2_book_of(const struct l2_snapshot *s, struct l2_book *ret_book)
{
    ret_book->top.bid_price = s->bids[0].price;
    ret_book->top.bid_quantity = s->bids[0].quantity;
    ret_book->top.ask_price = s->asks[0].price;
    ret_book->top.ask_quantity = s->asks[0].quantity;
    ret_book->has_l5 = s->bids_n >= L5 && s->asks_n >= L5;
    if (ret_book->has_l5) {
        ret_book->bids_l5 = sum_quantity(s->bids, L5);
        ret_book->asks_l5 = sum_quantity(s->asks, L5);
    }
}

void l2_book_columns(const struct l2_book *book, struct l2_row *ret_row)
{
    const struct l2_top *top = &book->top;
    struct l2_row row = {.present = 0};

    if (l2_mid(top) <= DBL_MAX) { /* two prices near the end of the doubles' range have no mid */
        l2_row_set(&row, L2_MID_PRICE, l2_mid(top));
        l2_row_set(&row, L2_SPREAD_BPS, l2_spread_bps(top));
    }
    set_imbalance(&row, L2_DEPTH_IMBALANCE_L1, top->bid_quantity, top->ask_quantity);
    if (book->has_l5)
        set_imbalance(&row, L2_DEPTH_IMBALANCE_L5, book->bids_l5, book->asks_l5);
    *ret_row = row;
}

double l2_ofi_term(const struct l2_top *p, const struct l2_top *n)
{
    /* times 0 or 1, not branches: whether a best price moves is a coin that no predictor knows */
    const double bid = (n->bid_price >= p->bid_price) * n->bid_quantity -
                       (n->bid_price <= p->bid_price) * p->bid_quantity;
    const double ask = (n->ask_price <= p->ask_price) * n->ask_quantity -
                       (n->ask_price >= p->ask_price) * p->ask_quantity;

    return bid - ask;
}
