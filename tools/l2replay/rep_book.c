#include "rep_book.h"
#include "rep_grow.h"

#include <stdlib.h>
#include <string.h>

void rep_book_init(struct rep_book *book)
{
    *book = (struct rep_book){.bids = {.is_bid = true}};
}

void rep_book_free(struct rep_book *book)
{
    free(book->bids.levels);
    free(book->asks.levels);
    rep_book_init(book);
}

void rep_book_clear(struct rep_book *book)
{
    book->bids.n = 0;
    book->asks.n = 0;
}

/* Is `a` farther from the middle than `b`? */
static bool is_worse(const struct rep_side *side, int64_t a, int64_t b)
{
    return side->is_bid ? a < b : a > b;
}

/* Where the key is, or belongs. */
static size_t find(const struct rep_side *side, int64_t key)
{
    size_t low = 0, high = side->n;

    while (low < high) {
        const size_t middle = low + (high - low) / 2;
        if (is_worse(side, side->levels[middle].key, key))
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

bool rep_side_set(struct rep_side *side, const struct rep_level *level)
{
    const size_t at = find(side, level->key);
    const bool is_there = at < side->n && side->levels[at].key == level->key;

    if (level->quantity > 0) {
        if (!is_there) {
            if (!rep_grow((void **)&side->levels, &side->cap, side->n + 1, REP_BOOK_LEVELS_MAX,
                          sizeof *side->levels))
                return false;
            memmove(side->levels + at + 1, side->levels + at,
                    (side->n - at) * sizeof *side->levels);
            side->n++;
        }
        side->levels[at] = *level;
    } else if (is_there) { /* one that is not there is told of too: levels beyond what REST gave */
        side->n--;
        memmove(side->levels + at, side->levels + at + 1, (side->n - at) * sizeof *side->levels);
    }
    return true;
}

enum rep_book_state rep_book_state(const struct rep_book *book)
{
    if (book->bids.n == 0 || book->asks.n == 0)
        return REP_BOOK_EMPTY_SIDE;
    if (book->bids.levels[book->bids.n - 1].key >= book->asks.levels[book->asks.n - 1].key)
        return REP_BOOK_CROSSED;
    return REP_BOOK_GOOD;
}

uint32_t rep_side_top(const struct rep_side *side, unsigned depth, struct codec_level *ret_levels)
{
    const size_t n = side->n < depth ? side->n : depth;

    for (size_t i = 0; i < n; i++) {
        const struct rep_level *const l = &side->levels[side->n - 1 - i];
        ret_levels[i] = (struct codec_level){.price = l->price, .quantity = l->quantity};
    }
    return (uint32_t)n;
}
