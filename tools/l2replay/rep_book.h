/* rep_book.h: one order book, rebuilt from differences. Pure but for memory. */
#ifndef REP_BOOK_H
#define REP_BOOK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "codec/l2_snapshot.h"

/* A side of a real book has some thousand levels; a million is a feed gone wrong. */
#define REP_BOOK_LEVELS_MAX ((size_t)1 << 20)

struct rep_level {
    int64_t key; /* price in 10^-8: what compares */
    double price;
    double quantity; /* base units; 0 in a difference: the level is gone */
};

/* Sorted with the best level last: most changes are near the best, so that little has to move. */
struct rep_side {
    struct rep_level *levels;
    size_t n, cap;
    bool is_bid;
};

struct rep_book {
    struct rep_side bids, asks;
};

void rep_book_init(struct rep_book *book);
void rep_book_free(struct rep_book *book);  /* a zeroed book is allowed */
void rep_book_clear(struct rep_book *book); /* keeps the memory */

/* Sets or removes one level. False: more than REP_BOOK_LEVELS_MAX levels, or no memory. */
bool rep_side_set(struct rep_side *side, const struct rep_level *level);

enum rep_book_state { REP_BOOK_GOOD, REP_BOOK_EMPTY_SIDE, REP_BOOK_CROSSED /* or locked */ };
enum rep_book_state rep_book_state(const struct rep_book *book);

/* The best `depth` levels, best first; returns how many there are. */
uint32_t rep_side_top(const struct rep_side *side, unsigned depth, struct codec_level *ret_levels);

#endif
