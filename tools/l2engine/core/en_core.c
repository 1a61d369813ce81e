/* Partitions, candles, and the bars that are due. */
#include "en_core.h"

#include "en_state.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

enum err_class en_core_new(const struct en_params *params, struct en_core **ret_core,
                           struct err *err)
{
    struct en_core *core = calloc(1, sizeof *core);

    assert(params->partitions_n <= EN_PARTITIONS_MAX && params->momentum_bars > 0 &&
           params->momentum_bars <= EN_MOMENTUM_BARS_MAX && params->symbols_max > 0);
    if (core == NULL)
        return err_set(err, ERR_FATAL, "engine: out of memory");
    core->params = *params;
    core->index_n = 16;
    while (core->index_n < 2 * params->symbols_max)
        core->index_n *= 2;
    core->symbols = calloc(params->symbols_max, sizeof *core->symbols);
    core->index = calloc(core->index_n, sizeof *core->index);
    core->partitions = calloc(params->partitions_n, sizeof *core->partitions);
    core->waiting = calloc(EN_WAITING_MAX, sizeof *core->waiting);
    if (core->symbols == NULL || core->index == NULL || core->partitions == NULL ||
        core->waiting == NULL) {
        en_core_free(core);
        return err_set(err, ERR_FATAL, "engine: out of memory");
    }
    for (uint32_t i = 0; i < EN_WAITING_MAX; i++)
        core->waiting[i].next = i + 1 < EN_WAITING_MAX ? i + 1 : NOBODY;
    core->first = core->last = NOBODY;
    *ret_core = core;
    return ERR_OK;
}

void en_core_free(struct en_core *core)
{
    if (core == NULL)
        return;
    free(core->symbols);
    free(core->index);
    free(core->partitions);
    free(core->waiting);
    free(core);
}

/* ---- the bars that are due: a list in order of arrival ---- */

static void put_waiting(struct en_core *core, const struct waiting *w)
{
    const uint32_t at = core->free;

    core->free = core->waiting[at].next;
    core->waiting[at] = *w;
    core->waiting[at].next = NOBODY;
    if (core->last == NOBODY)
        core->first = at;
    else
        core->waiting[core->last].next = at;
    core->last = at;
    core->waiting_n++;
}

/* Takes out the one behind `before` (NOBODY: the first). */
static void drop_waiting(struct en_core *core, uint32_t at, uint32_t before)
{
    const uint32_t next = core->waiting[at].next;

    if (before == NOBODY)
        core->first = next;
    else
        core->waiting[before].next = next;
    if (core->last == at)
        core->last = before;
    core->waiting[at].next = core->free;
    core->free = at;
    core->waiting_n--;
}

static int32_t partition_of(const struct en_core *core, uint32_t waiting)
{
    return core->symbols[core->waiting[waiting].symbol].partition;
}

/* ---- partitions ---- */

void en_core_start(struct en_core *core, int32_t partition, int64_t committed, int64_t ohlcv_from,
                   int64_t sent)
{
    struct en_partition *p = &core->partitions[partition];

    *p = (struct en_partition){.owned = true,
                               .committed = committed,
                               .ohlcv_from = ohlcv_from > 0 ? ohlcv_from : 0,
                               .read = -1,
                               .next = committed > 0 ? committed : -1,
                               .sent = sent,
                               .candle_us = NO_TIME,
                               .reached_us = NO_TIME};
}

void en_core_stop(struct en_core *core, int32_t partition)
{
    uint32_t before = NOBODY;

    for (uint32_t i = core->first; i != NOBODY;) {
        const uint32_t next = core->waiting[i].next;
        if (partition_of(core, i) == partition)
            drop_waiting(core, i, before);
        else
            before = i;
        i = next;
    }
    core->scanning = false;
    for (uint32_t i = 0; i < core->symbols_n; i++)
        if (core->symbols[i].partition == partition)
            en_symbol_forget(&core->symbols[i]);
    core->partitions[partition].owned = false;
}

bool en_core_owns(const struct en_core *core, int32_t partition)
{
    return core->partitions[partition].owned;
}

unsigned en_core_owned(const struct en_core *core)
{
    unsigned n = 0;

    for (uint32_t p = 0; p < core->params.partitions_n; p++)
        n += core->partitions[p].owned;
    return n;
}

static void take_least(int64_t *least, int64_t other)
{
    *least = other < *least ? other : *least;
}

struct en_position en_core_position(const struct en_core *core, int32_t partition)
{
    const struct en_partition *p = &core->partitions[partition];
    struct en_position position = {p->next, p->next < 0 ? 0 : p->next, p->sent};

    if (p->read < p->committed) /* not all that was folded before has been folded again */
        take_least(&position.ohlcv_from, p->ohlcv_from);
    for (uint32_t i = core->first; i != NOBODY; i = core->waiting[i].next) {
        if (partition_of(core, i) != partition)
            continue;
        take_least(&position.offset, core->waiting[i].offset);
        take_least(&position.ohlcv_from, core->waiting[i].ohlcv_from);
    }
    for (uint32_t i = 0; i < core->symbols_n; i++) {
        const struct symbol *s = &core->symbols[i];
        if (s->partition != partition)
            continue;
        if (s->closes_n > 0)
            take_least(&position.ohlcv_from, s->offset[0]);
        take_least(&position.sent_from, s->sent_from);
        if (s->latch.row > 0)
            take_least(&position.sent_from, s->bad_from[L2_LATCH_BARS - s->latch.row]);
        if (l2_latch_holds(&s->latch, s->rollout.cleared_through_us))
            take_least(&position.sent_from, s->latch_from);
    }
    return position;
}

void en_core_sent(struct en_core *core, int32_t partition, int64_t offset)
{
    struct en_partition *p = &core->partitions[partition];

    if (p->owned && offset >= p->sent)
        p->sent = offset + 1;
}

/* ---- input ---- */

bool en_core_past(struct en_core *core, const struct en_past *past)
{
    struct symbol *s = en_symbol(core, past->symbol);

    if (s == NULL)
        return false;
    if (en_symbol_is_in(s, past->partition))
        en_symbol_sent(s, &past->record, past->offset);
    return true;
}

static void pass(struct en_core *core, int32_t partition, int64_t offset)
{
    struct en_partition *p = &core->partitions[partition];

    p->read = offset + 1;
    if (offset >= p->next)
        p->next = offset + 1;
}

void en_core_skip(struct en_core *core, int32_t partition, int64_t offset)
{
    pass(core, partition, offset);
}

/* The closes that momentum looks at: a row without a hole. */
static void push_close(const struct en_core *core, struct symbol *s, const struct en_candle *c)
{
    const uint32_t max = core->params.momentum_bars + 1;

    if (c->bar_time_us != s->candle_us + core->params.bar_us)
        s->closes_n = 0;
    if (s->closes_n == max) {
        memmove(&s->close[0], &s->close[1], (max - 1) * sizeof s->close[0]);
        memmove(&s->offset[0], &s->offset[1], (max - 1) * sizeof s->offset[0]);
        s->closes_n--;
    }
    s->close[s->closes_n] = c->close;
    s->offset[s->closes_n++] = c->offset;
    s->candle_us = c->bar_time_us;
}

enum en_fate en_core_candle(struct en_core *core, const struct en_candle *c)
{
    struct en_partition *p = &core->partitions[c->partition];
    struct symbol *s = en_symbol(core, c->symbol);

    if (s == NULL)
        return EN_NO_ROOM;
    if (!en_symbol_is_in(s, c->partition)) {
        pass(core, c->partition, c->offset);
        return EN_MISPLACED;
    }
    if (s->candle_us != NO_TIME && c->bar_time_us <= s->candle_us) {
        pass(core, c->partition, c->offset);
        return EN_STALE;
    }
    const bool is_known = c->bar_time_us <= s->predicted_us || c->offset < p->committed;
    if (!is_known && core->waiting_n == EN_WAITING_MAX)
        return EN_FULL;
    push_close(core, s, c);
    if (c->bar_time_us > p->candle_us)
        p->candle_us = c->bar_time_us;
    pass(core, c->partition, c->offset);
    if (is_known)
        return EN_KNOWN;
    put_waiting(core, &(struct waiting){
                          .symbol = (uint32_t)(s - core->symbols),
                          .offset = c->offset,
                          .ohlcv_from = s->offset[0],
                          .bar_time_us = c->bar_time_us,
                          .mono_us = c->mono_us,
                          .momentum = en_rule_momentum(s->close, s->closes_n),
                          .volume = c->volume,
                          .is_late = c->now_us - c->bar_time_us - core->params.bar_us >
                                     core->params.late_after_us,
                          .has_label = c->has_label,
                          .label = c->label,
                      });
    return EN_DUE;
}

int64_t en_core_takes_until(const struct en_core *core, int32_t partition)
{
    const struct en_partition *p = &core->partitions[partition];
    int64_t from_us = p->candle_us;

    for (uint32_t i = core->first; i != NOBODY; i = core->waiting[i].next)
        if (partition_of(core, i) == partition && core->waiting[i].bar_time_us < from_us)
            from_us = core->waiting[i].bar_time_us;
    return from_us == NO_TIME ? INT64_MIN : from_us + EN_FEATURES_AHEAD * core->params.bar_us;
}

void en_core_features_reached(struct en_core *core, int32_t partition, int64_t bar_time_us)
{
    core->partitions[partition].reached_us = bar_time_us;
}

/* ---- output ---- */

static bool wants_feature(const struct en_core *core, const struct symbol *s)
{
    const struct l2_rollout *r = en_rollout_of(core, s);

    return l2_route_predicts(r, L2_ARM_CHAMPION_L2) || l2_route_predicts(r, L2_ARM_CANDIDATE_L2);
}

/* Nothing that may still come changes the bar, or it has waited for long enough. A bar of a backlog
 * waits until the features that lie there have been read; any does not wait for a book that is
 * dead. */
static bool is_ready(const struct en_core *core, const struct symbol *s, const struct waiting *w,
                     int64_t now_us, int64_t mono_us)
{
    struct l2_prediction_quality q = {.freshness_s = 0};
    const int64_t reached_us = core->partitions[s->partition].reached_us;
    const bool is_read = reached_us > w->bar_time_us + core->params.bar_us;

    if (!wants_feature(core, s) || (s->newest_us != NO_TIME && s->newest_us > w->bar_time_us) ||
        en_symbol_feature(s, w->bar_time_us, core->params.bar_us) != NULL)
        return true;
    q.has_freshness = en_freshness(core, s, now_us, &q.freshness_s);
    if (is_read && l2_quality_is_stale(&q))
        return true;
    return mono_us - w->mono_us >= core->params.feature_wait_us && (is_read || !w->is_late);
}

/* Its own records are of the past at once, as a restart would find them. */
static void remember(struct en_core *core, struct symbol *s, const struct en_bar *bar)
{
    for (unsigned i = 0; i < bar->n; i++) {
        const struct en_prediction *p = &bar->predictions[i];
        const struct l2_latch_record record = {
            .bar_time_us = bar->bar_time_us,
            .reason = bar->route.reason,
            .quality = {bar->has_freshness, bar->freshness_s, p->has_nan_rate, p->nan_rate},
        };
        en_symbol_sent(s, &record, core->partitions[bar->partition].sent);
    }
}

bool en_core_next(struct en_core *core, int64_t now_us, int64_t mono_us, struct en_bar *ret_bar)
{
    if (!core->scanning) {
        core->scanning = true;
        core->scan++;
        core->scan_at = core->first;
        core->scan_before = NOBODY;
    }
    while (core->scan_at != NOBODY) {
        const uint32_t at = core->scan_at;
        const struct waiting w = core->waiting[at];
        struct symbol *s = &core->symbols[w.symbol];

        core->scan_at = w.next;
        if (s->blocked != core->scan && is_ready(core, s, &w, now_us, mono_us)) {
            drop_waiting(core, at, core->scan_before);
            en_decide(core, s, &w, now_us, ret_bar);
            remember(core, s, ret_bar);
            return true;
        }
        s->blocked = core->scan;
        core->scan_before = at;
    }
    core->scanning = false;
    return false;
}

unsigned en_core_waiting(const struct en_core *core)
{
    return core->waiting_n;
}
