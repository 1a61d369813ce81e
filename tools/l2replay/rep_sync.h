/*
 * rep_sync.h: from depth differences and REST answers to a book that is known to be whole, by
 * Binance's rules. Pure but for memory: messages in, verdicts out.
 *
 * The book is unknown until a REST answer: until then differences are kept (the newest
 * REP_SYNC_HELD_MAX) and make no snapshot. A REST answer with lastUpdateId L makes the book; held
 * differences with u <= L are dropped, the first with u > L must continue L (futures: pu <= L;
 * spot: U <= L + 1), each next one its predecessor (futures: pu = its u; spot: U = its u + 1). From
 * then on every difference makes a snapshot. A difference that does not continue is a gap: the
 * book is unknown again, nothing is guessed, and the next REST answer starts a new epoch. A REST
 * answer while the book is known is not needed and ignored; so is a difference already applied.
 */
#ifndef REP_SYNC_H
#define REP_SYNC_H

#include "base/err.h"
#include "rep_book.h"
#include "rep_line.h"

#define REP_SYNC_HELD_MAX 4096
#define REP_SYNC_HELD_LEVELS_MAX ((size_t)1 << 20)

enum rep_sync_verdict {
    REP_SYNC_NOTHING,
    REP_SYNC_UPDATED, /* the book is as of this difference */
    REP_SYNC_STARTED, /* by a REST answer */
    REP_SYNC_GAP,     /* the book is unknown from here on; or the REST answer is too old */
};

struct rep_sync_counts {
    uint64_t old;          /* differences already in the book, or in the REST answer */
    uint64_t unsynced;     /* differences that came while the book was unknown */
    uint64_t gaps;
    uint64_t rest_unused;
};

struct rep_held {
    int64_t first_id, last_id, previous_id;
    uint32_t bids_n, asks_n;
};

struct rep_sync {
    struct rep_book book;
    bool is_known;
    int64_t last_id; /* u of the last difference in the book, or lastUpdateId */
    bool is_first;   /* no difference has been applied to the REST answer yet */
    int64_t epoch;
    bool has_epoch; /* an epoch has begun: the next one must be higher */
    struct rep_held held[REP_SYNC_HELD_MAX]; /* oldest first */
    unsigned held_n;
    struct rep_level *held_levels; /* of all held, in their order */
    size_t held_levels_n, held_levels_cap;
    struct rep_sync_counts counts;
};

void rep_sync_init(struct rep_sync *sync);
void rep_sync_free(struct rep_sync *sync);

/*
 * Takes a DEPTH or a REST message. `connected_s`: Unix seconds of the recording's first record,
 * the first epoch; later epochs are the seconds of their REST answer, or the epoch before + 1.
 * REJECT: the book outgrew its bound.
 */
enum err_class rep_sync_take(struct rep_sync *sync, const struct rep_msg *msg, int64_t connected_s,
                             enum rep_sync_verdict *ret_verdict, struct err *err) MUST_CHECK;

#endif
