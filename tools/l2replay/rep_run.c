#include "rep_run.h"
#include "rep_grow.h"
#include "rep_stop.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define SERVE_EVERY 256 /* records between two looks at delivery reports, bar and clock */

/* Completed candles that are not due yet: one a symbol at most, in the order of completion. */
struct waiting {
    struct rep_candle *candles;
    uint32_t n, cap;
};

static enum err_class send_candle(struct rep_run *run, const struct rep_candle *candle,
                                  bool *ret_go, struct err *err)
{
    enum err_class e =
        rep_pace_wait(&run->pace, candle->due_us, run->sink, run->tally, run->part, ret_go, err);

    if (e != ERR_OK || !*ret_go)
        return e;
    e = rep_sink_candle(run->sink, candle, err);
    if (e == ERR_OK)
        rep_tally_candle(run->tally, candle);
    return e;
}

/* Sends the waiting candles that are due by then, the earliest first. */
static enum err_class send_due(struct rep_run *run, struct waiting *w, int64_t until_us,
                               bool *ret_go, struct err *err)
{
    while (w->n > 0) {
        uint32_t first = 0;
        for (uint32_t i = 1; i < w->n; i++) {
            if (w->candles[i].due_us < w->candles[first].due_us)
                first = i;
        }
        if (w->candles[first].due_us > until_us)
            break;
        const struct rep_candle candle = w->candles[first];
        w->n--;
        memmove(w->candles + first, w->candles + first + 1, (w->n - first) * sizeof *w->candles);
        const enum err_class e = send_candle(run, &candle, ret_go, err);
        if (e != ERR_OK || !*ret_go)
            return e;
    }
    return ERR_OK;
}

static double part_of(const struct rep_run *run)
{
    if (run->snapshots_max > 0)
        return (double)run->tally->snapshots / (double)run->snapshots_max;
    return run->source->progress != NULL ? run->source->progress(run->source->self) : -1;
}

/* Between good ones: a burst of the plan's kinds in turn. */
static enum err_class send_invalid(struct rep_run *run, const struct rep_item *item, bool *ret_go,
                                   struct err *err)
{
    const struct rep_invalid_plan *const plan = run->invalid;
    enum err_class e = ERR_OK;

    if (plan->kinds_n == 0 || run->tally->snapshots % plan->every != 0)
        return ERR_OK;
    for (uint64_t i = 0; e == ERR_OK && *ret_go && i < plan->burst; i++) {
        const enum rep_invalid kind = plan->kinds[run->invalid_sent++ % plan->kinds_n];
        e = rep_pace_wait(&run->pace, item->due_us, run->sink, run->tally, run->part, ret_go, err);
        if (e != ERR_OK || !*ret_go)
            break;
        e = rep_sink_invalid(run->sink, kind, err);
        run->tally->invalid[kind] += e == ERR_OK;
        if (e == ERR_OK && i % SERVE_EVERY == SERVE_EVERY - 1)
            e = rep_sink_serve(run->sink, err);
    }
    return e;
}

static enum err_class send_snapshot(struct rep_run *run, struct waiting *w,
                                    const struct rep_item *item, bool *ret_go, struct err *err)
{
    const bool is_time_to_look = run->tally->snapshots % SERVE_EVERY == 0;

    if (is_time_to_look)
        run->part = part_of(run);
    enum err_class e = send_due(run, w, item->due_us, ret_go, err);
    if (e == ERR_OK && *ret_go)
        e = rep_pace_wait(&run->pace, item->due_us, run->sink, run->tally, run->part, ret_go, err);
    if (e != ERR_OK || !*ret_go)
        return e;
    e = rep_sink_snapshot(run->sink, item, err);
    if (e != ERR_OK)
        return e;
    rep_tally_snapshot(run->tally, item);
    e = send_invalid(run, item, ret_go, err);
    if (e != ERR_OK || !is_time_to_look)
        return e;
    rep_tally_show(run->tally, run->part);
    return rep_sink_serve(run->sink, err);
}

static enum err_class take(struct rep_run *run, struct rep_candles *candles, struct waiting *w,
                           const struct rep_item *item, bool *ret_go, struct err *err)
{
    struct rep_candle done;
    enum err_class e = ERR_OK;

    if (!item->is_trade)
        e = send_snapshot(run, w, item, ret_go, err);
    if (e != ERR_OK || !*ret_go || !rep_candles_take(candles, item, &done))
        return e;
    if (w->n == w->cap)
        e = send_due(run, w, INT64_MAX, ret_go, err);
    if (e == ERR_OK && *ret_go) {
        assert(w->n < w->cap);
        w->candles[w->n++] = done;
    }
    return e;
}

enum err_class rep_run(struct rep_run *run, struct err *err)
{
    struct rep_candles *const candles = rep_candles_new(run->symbols_n, run->bar_us);
    struct waiting w = {.candles = rep_alloc(run->symbols_n, sizeof *w.candles),
                        .cap = run->symbols_n};
    struct rep_item item;
    bool got = false, go = true;
    enum err_class e = ERR_OK;

    while (go && !rep_stopping()) {
        e = run->source->next(run->source->self, &item, &got, err);
        run->is_source_at_fault = e != ERR_OK;
        if (e != ERR_OK || !got)
            break;
        if (!item.is_trade && run->snapshots_max > 0 && run->tally->snapshots == run->snapshots_max)
            break;
        e = take(run, candles, &w, &item, &go, err);
        if (e != ERR_OK)
            break;
    }
    if (e == ERR_OK && go && !rep_stopping())
        e = send_due(run, &w, INT64_MAX, &go, err);
    run->late_trades = rep_candles_late(candles);
    free(w.candles);
    rep_candles_free(candles);
    return e;
}
