/* features.h: the formulas of one snapshot and of one pair of snapshots. Pure. */
#ifndef L2_FEATURES_H
#define L2_FEATURES_H

#include "l2/types.h"

/* Best bid and ask. */
struct l2_top {
    double bid_price, bid_quantity;
    double ask_price, ask_quantity;
};

/* What a snapshot's columns are made of: kept for each, turned into columns when a bar closes. */
struct l2_book {
    struct l2_top top;
    bool has_l5;
    double bids_l5, asks_l5; /* quantities of the five best levels, base units */
};

/* Precondition: the book was accepted by l2_book_check. */
void l2_book_of(const struct l2_snapshot *snapshot, struct l2_book *ret_book);
/* Sets mid_price, spread_bps and the imbalances that the book supports; the windowed columns stay
 * null. */
void l2_book_columns(const struct l2_book *book, struct l2_row *ret_row);

static inline double l2_mid(const struct l2_top *top)
{
    return (top->bid_price + top->ask_price) / 2;
}

/* Relative spread in basis points. */
static inline double l2_spread_bps(const struct l2_top *top)
{
    return (top->ask_price - top->bid_price) / l2_mid(top) * 1e4;
}

/* e_n of Cont, Kukanov, Stoikov (2014), eq. 10, base units. Prices compare as sent: equal doubles
 * are equal ticks. */
double l2_ofi_term(const struct l2_top *previous, const struct l2_top *now);

#endif
