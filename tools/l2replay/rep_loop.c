#include "rep_loop.h"
#include "rep_grow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define STEP_DEFAULT_US INT64_C(1000000) /* a recording of one snapshot */
#define LOOPS_MAX INT64_C(10000000)

struct kept {
    struct rep_item item; /* bids, asks: not set */
    size_t levels_at;     /* bids, then asks */
};

struct loop {
    struct kept *kept;
    size_t kept_n, kept_cap;
    struct codec_level *levels;
    size_t levels_n, levels_cap;
    int64_t first_us, last_us; /* of the snapshots */
    int64_t span_us;
    int64_t shift_us, shift_epoch;
    int64_t round;
    size_t at;
};

static void loop_free(void *self)
{
    struct loop *const l = self;

    free(l->kept);
    free(l->levels);
    free(l);
}

static bool keep(struct loop *l, const struct rep_item *item)
{
    const size_t n = item->is_trade ? 0 : (size_t)item->bids_n + item->asks_n;

    if (!rep_grow((void **)&l->kept, &l->kept_cap, l->kept_n + 1, REP_LOOP_ITEMS_MAX,
                  sizeof *l->kept) ||
        !rep_grow((void **)&l->levels, &l->levels_cap, l->levels_n + n, REP_LOOP_LEVELS_MAX,
                  sizeof *l->levels))
        return false;
    l->kept[l->kept_n++] = (struct kept){.item = *item, .levels_at = l->levels_n};
    if (!item->is_trade) {
        memcpy(l->levels + l->levels_n, item->bids, item->bids_n * sizeof *item->bids);
        memcpy(l->levels + l->levels_n + item->bids_n, item->asks,
               item->asks_n * sizeof *item->asks);
        l->levels_n += n;
    }
    return true;
}

static int compare(const void *a, const void *b)
{
    const int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;

    return (x > y) - (x < y);
}

/* The median of the times between neighbouring snapshots of a symbol. */
static int64_t median_step(const struct loop *l)
{
    int64_t *const last = rep_alloc(REP_SYMBOLS_MAX, sizeof *last);
    int64_t *const steps = rep_alloc(l->kept_n, sizeof *steps);
    size_t n = 0;

    for (size_t i = 0; i < l->kept_n; i++) {
        const struct rep_item *const item = &l->kept[i].item;
        if (item->is_trade)
            continue;
        if (last[item->symbol] > 0)
            steps[n++] = item->event_us - last[item->symbol];
        last[item->symbol] = item->event_us;
    }
    qsort(steps, n, sizeof *steps, compare);
    const int64_t median = n > 0 ? steps[n / 2] : STEP_DEFAULT_US;
    free(steps);
    free(last);
    return median > 0 ? median : 1;
}

static void measure(struct loop *l)
{
    int64_t epoch_min = INT64_MAX, epoch_max = INT64_MIN;

    l->first_us = INT64_MAX;
    l->last_us = INT64_MIN;
    for (size_t i = 0; i < l->kept_n; i++) {
        const struct rep_item *const item = &l->kept[i].item;
        if (item->is_trade)
            continue;
        if (item->event_us < l->first_us)
            l->first_us = item->event_us;
        if (item->event_us > l->last_us)
            l->last_us = item->event_us;
        if (item->epoch < epoch_min)
            epoch_min = item->epoch;
        if (item->epoch > epoch_max)
            epoch_max = item->epoch;
    }
    if (l->first_us > l->last_us)
        return;
    l->shift_us = l->last_us - l->first_us + median_step(l);
    l->shift_epoch = (l->shift_us + 999999) / 1000000;
    if (l->shift_epoch <= epoch_max - epoch_min)
        l->shift_epoch = epoch_max - epoch_min + 1;
}

static enum err_class next(void *self, struct rep_item *ret_item, bool *ret_got, struct err *err)
{
    struct loop *const l = self;

    (void)err;
    *ret_got = false;
    if (l->at == l->kept_n) {
        if (l->shift_us == 0 || l->round == LOOPS_MAX)
            return ERR_OK;
        l->round++;
        l->at = 0;
    }
    const struct kept *const k = &l->kept[l->at];
    const int64_t shift_us = l->round * l->shift_us;
    struct rep_item item = k->item;
    item.event_us += shift_us;
    item.due_us += shift_us;
    if (!item.is_trade) {
        if (l->span_us > 0 && item.event_us >= l->first_us + l->span_us)
            return ERR_OK;
        item.received_us += shift_us;
        item.epoch += l->round * l->shift_epoch;
        item.bids = l->levels + k->levels_at;
        item.asks = item.bids + item.bids_n;
    }
    l->at++;
    *ret_item = item;
    *ret_got = true;
    return ERR_OK;
}

static double progress(void *self)
{
    const struct loop *const l = self;

    if (l->span_us == 0 || l->at == 0)
        return -1;
    const int64_t now = l->kept[l->at - 1].item.due_us + l->round * l->shift_us - l->first_us;
    const double part = (double)now / (double)l->span_us;
    return part < 0 ? 0 : part > 1 ? 1 : part;
}

enum err_class rep_loop(struct rep_source *from, int64_t span_us, struct rep_source *ret_source,
                        struct err *err)
{
    struct loop *const l = rep_alloc(1, sizeof *l);
    struct rep_item item;
    bool got;
    enum err_class e;

    l->span_us = span_us;
    while ((e = from->next(from->self, &item, &got, err)) == ERR_OK && got) {
        if (!keep(l, &item)) {
            e = err_set(err, ERR_REJECT,
                        "the recording is too large to loop: more than %zu items or %zu levels: "
                        "use --thin, fewer files or a smaller --depth",
                        REP_LOOP_ITEMS_MAX, REP_LOOP_LEVELS_MAX);
            break;
        }
    }
    if (e != ERR_OK) {
        loop_free(l);
        return e;
    }
    measure(l);
    *ret_source =
        (struct rep_source){.self = l, .next = next, .progress = progress, .free = loop_free};
    return ERR_OK;
}
