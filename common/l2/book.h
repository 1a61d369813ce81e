/* book.h: which books are believed. Pure. */
#ifndef L2_BOOK_H
#define L2_BOOK_H

#include "l2/types.h"

#include <stddef.h>

/* Reasons of dead letters; the names are what stands in the DLQ's header and in metrics. */
enum l2_reject {
    L2_ACCEPTED,
    L2_REJECT_TOO_LARGE,
    L2_REJECT_UNDECODABLE,
    L2_REJECT_UNKNOWN_SCHEMA,
    L2_REJECT_WRONG_PARTITION,
    L2_REJECT_SYMBOL_INVALID,
    L2_REJECT_SYMBOL_MISMATCH,
    L2_REJECT_WRONG_EXCHANGE,
    L2_REJECT_EVENT_TIME_AHEAD,
    L2_REJECT_EMPTY_SIDE,
    L2_REJECT_NOT_FINITE,
    L2_REJECT_PRICE_NOT_POSITIVE,
    L2_REJECT_QUANTITY_NEGATIVE,
    L2_REJECT_LEVELS_OUT_OF_ORDER,
    L2_REJECT_CROSSED_BOOK,
    L2_REJECT_MAX_SYMBOLS,
    L2_REJECTS,
};

extern const char *const l2_reject_names[L2_REJECTS + 1]; /* NULL-terminated, for metrics */

/* L2_ACCEPTED, or the first reason of EMPTY_SIDE … CROSSED_BOOK, in that order over the whole
 * record. */
enum l2_reject l2_book_check(const struct l2_snapshot *snapshot);

/* [A-Za-z0-9._-]{1,32} */
bool l2_symbol_ok(const char *symbol, size_t n);

#endif
