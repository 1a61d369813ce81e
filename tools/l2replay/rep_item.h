/*
 * rep_item.h: what every source gives: snapshots and trades of numbered symbols, one after the
 * other, pulled by the caller.
 */
#ifndef REP_ITEM_H
#define REP_ITEM_H

#include "base/err.h"
#include "codec/l2_snapshot.h"

#include <stdbool.h>
#include <stdint.h>

#define REP_DEPTH_MAX 1000
#define REP_SYMBOLS_MAX 10000

struct rep_trade {
    double price, quantity;
    bool is_buy; /* by its aggressor */
};

/* Times in µs since the Unix epoch. */
struct rep_item {
    bool is_trade; /* else a snapshot */
    uint32_t symbol;
    int64_t event_us;
    int64_t due_us; /* when to send it: event_us, or later where event times were shifted back */
    /* snapshots */
    int64_t received_us, sequence, epoch;
    const struct codec_level *bids, *asks; /* valid until the next pull */
    uint32_t bids_n, asks_n;
    bool has_flow;
    struct codec_flow flow;
    /* trades */
    struct rep_trade trade;
};

/*
 * Snapshots come in event-time order over all symbols (as far as each symbol's own feed has it).
 * A symbol's trades stand, in arrival order, between the two of its snapshots between which they
 * arrived; their own times may be ahead of snapshots that follow.
 */
struct rep_source {
    void *self;
    /* *ret_got false: the end. REJECT: broken input; the text names file and line. */
    enum err_class (*next)(void *self, struct rep_item *ret_item, bool *ret_got, struct err *err);
    double (*progress)(void *self); /* 0 to 1, -1 unknown; NULL: unknown */
    void (*free)(void *self);
};

static inline void rep_source_free(struct rep_source *source)
{
    if (source->free != NULL)
        source->free(source->self);
    *source = (struct rep_source){0};
}

#endif
