#include "rep_sync.h"
#include "rep_grow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

void rep_sync_init(struct rep_sync *sync)
{
    memset(sync, 0, sizeof *sync);
    rep_book_init(&sync->book);
}

void rep_sync_free(struct rep_sync *sync)
{
    rep_book_free(&sync->book);
    free(sync->held_levels);
    sync->held_levels = NULL;
}

static enum err_class too_big(struct err *err)
{
    return err_set(err, ERR_REJECT, "the book has more than %zu levels on a side",
                   REP_BOOK_LEVELS_MAX);
}

static enum err_class apply(struct rep_book *book, const struct rep_level *levels, uint32_t bids_n,
                            uint32_t asks_n, struct err *err)
{
    for (uint32_t i = 0; i < bids_n; i++) {
        if (!rep_side_set(&book->bids, &levels[i]))
            return too_big(err);
    }
    for (uint32_t i = 0; i < asks_n; i++) {
        if (!rep_side_set(&book->asks, &levels[bids_n + i]))
            return too_big(err);
    }
    return ERR_OK;
}

static bool continues(const struct rep_sync *sync, const struct rep_held *update)
{
    const bool is_futures = update->previous_id >= 0;

    if (sync->is_first)
        return is_futures ? update->previous_id <= sync->last_id
                          : update->first_id <= sync->last_id + 1;
    return is_futures ? update->previous_id == sync->last_id
                      : update->first_id == sync->last_id + 1;
}

static void drop_oldest(struct rep_sync *sync)
{
    const size_t n = (size_t)sync->held[0].bids_n + sync->held[0].asks_n;

    sync->held_n--;
    memmove(sync->held, sync->held + 1, sync->held_n * sizeof sync->held[0]);
    sync->held_levels_n -= n;
    memmove(sync->held_levels, sync->held_levels + n,
            sync->held_levels_n * sizeof sync->held_levels[0]);
}

static struct rep_held header_of(const struct rep_msg *msg)
{
    return (struct rep_held){.first_id = msg->first_id,
                             .last_id = msg->last_id,
                             .previous_id = msg->previous_id,
                             .bids_n = msg->bids_n,
                             .asks_n = msg->asks_n};
}

/* Dropping the oldest is safe: a REST answer that would have needed it is then too old. */
static void hold(struct rep_sync *sync, const struct rep_msg *msg)
{
    const size_t n = (size_t)msg->bids_n + msg->asks_n;

    static_assert(REP_LINE_LEVELS_MAX <= REP_SYNC_HELD_LEVELS_MAX, "one message fits");
    while (sync->held_n == REP_SYNC_HELD_MAX ||
           (sync->held_n > 0 && sync->held_levels_n + n > REP_SYNC_HELD_LEVELS_MAX))
        drop_oldest(sync);
    if (!rep_grow((void **)&sync->held_levels, &sync->held_levels_cap, sync->held_levels_n + n,
                  REP_SYNC_HELD_LEVELS_MAX, sizeof *sync->held_levels))
        return; /* no memory: as if dropped */
    if (n > 0)
        memcpy(sync->held_levels + sync->held_levels_n, msg->levels, n * sizeof *msg->levels);
    sync->held_levels_n += n;
    sync->held[sync->held_n++] = header_of(msg);
}

static void lose(struct rep_sync *sync)
{
    sync->is_known = false;
    sync->counts.gaps++;
    rep_book_clear(&sync->book);
}

static enum err_class take_rest(struct rep_sync *sync, const struct rep_msg *msg,
                                int64_t connected_s, enum rep_sync_verdict *ret, struct err *err)
{
    size_t at = 0;
    enum err_class e;

    if (sync->is_known) {
        sync->counts.rest_unused++;
        return ERR_OK;
    }
    rep_book_clear(&sync->book);
    e = apply(&sync->book, msg->levels, msg->bids_n, msg->asks_n, err);
    sync->is_known = true;
    sync->is_first = true;
    sync->last_id = msg->last_id;
    for (unsigned i = 0; e == ERR_OK && i < sync->held_n && sync->is_known; i++) {
        const struct rep_held *const h = &sync->held[i];
        if (h->last_id <= sync->last_id) {
            sync->counts.old++;
        } else if (!continues(sync, h)) {
            lose(sync);
            *ret = REP_SYNC_GAP;
        } else {
            /* messages without a level were held: there may be no array to point into */
            if (h->bids_n + h->asks_n > 0)
                e = apply(&sync->book, sync->held_levels + at, h->bids_n, h->asks_n, err);
            sync->last_id = h->last_id;
            sync->is_first = false;
        }
        at += (size_t)h->bids_n + h->asks_n;
    }
    if (e != ERR_OK || !sync->is_known)
        return e; /* what is held stays: a newer REST answer may fit it */
    sync->held_n = 0;
    sync->held_levels_n = 0;
    const int64_t now_s = sync->has_epoch ? msg->received_us / 1000000 : connected_s;
    sync->epoch = sync->has_epoch && now_s <= sync->epoch ? sync->epoch + 1 : now_s;
    sync->has_epoch = true;
    *ret = REP_SYNC_STARTED;
    return ERR_OK;
}

static enum err_class take_depth(struct rep_sync *sync, const struct rep_msg *msg,
                                 enum rep_sync_verdict *ret, struct err *err)
{
    const struct rep_held header = header_of(msg);

    if (sync->is_known && msg->last_id <= sync->last_id) {
        sync->counts.old++;
        return ERR_OK;
    }
    if (sync->is_known && continues(sync, &header)) {
        sync->last_id = msg->last_id;
        sync->is_first = false;
        *ret = REP_SYNC_UPDATED;
        return apply(&sync->book, msg->levels, msg->bids_n, msg->asks_n, err);
    }
    if (sync->is_known) {
        lose(sync);
        *ret = REP_SYNC_GAP;
    }
    sync->counts.unsynced++;
    hold(sync, msg);
    return ERR_OK;
}

enum err_class rep_sync_take(struct rep_sync *sync, const struct rep_msg *msg, int64_t connected_s,
                             enum rep_sync_verdict *ret_verdict, struct err *err)
{
    enum rep_sync_verdict verdict = REP_SYNC_NOTHING;
    enum err_class e = ERR_OK;

    if (msg->kind == REP_MSG_REST)
        e = take_rest(sync, msg, connected_s, &verdict, err);
    else if (msg->kind == REP_MSG_DEPTH)
        e = take_depth(sync, msg, &verdict, err);
    if (e == ERR_OK)
        *ret_verdict = verdict;
    return e;
}
