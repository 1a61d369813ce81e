#include "fp_state.h"

/* ---- what a restart needs ---- */

/*
 * The first input offset on which the open bar's row depends: its window, or the bar itself where
 * that is longer. Counted in whole bars, because the stream can be taken up exactly where a bar
 * closed and nowhere else.
 */
static int64_t first_snapshot(const struct fp_core *c, const struct fp_symbol *s)
{
    const int64_t open_us = s->stream.bar_time_us;
    const int64_t boundary_us = open_us - c->boundary_bars * c->bar_us;

    for (int64_t t = boundary_us; t < open_us; t += c->bar_us) {
        const struct l2_past_bar *bar = l2_past_find(&s->past, t);
        if (bar != NULL && bar->anchor_offset >= 0)
            return bar->anchor_offset;
    }
    if (s->open_anchor >= 0)
        return s->open_anchor;
    /* nothing yet since the boundary: what comes next may still be linked to the last one before it
     */
    if (s->last_offset >= 0 &&
        boundary_us - s->stream.last.last_event_us <= c->params.l2.max_gap_s * L2_US_PER_S)
        return s->last_offset;
    return INT64_MAX;
}

/* The bar at whose close the fold of a symbol begins, given its open bar; NULL: at its first
 * snapshot, or its rebirth. */
const struct l2_past_bar *fp_checkpoint(const struct fp_core *c, const struct fp_symbol *s,
                                        int64_t open_us)
{
    const int64_t time_us = open_us - (c->boundary_bars + 1) * c->bar_us;

    return time_us < s->born_us ? NULL : l2_past_find(&s->past, time_us);
}

static int64_t first_bar(const struct fp_core *c, const struct fp_symbol *s)
{
    const int64_t oldest_us =
        s->stream.started ? s->stream.bar_time_us - c->kept_bars * c->bar_us : INT64_MAX;
    int64_t least = INT64_MAX;

    for (uint32_t i = 0; i < s->past.bars_n; i++) {
        const struct l2_past_bar *bar = &s->past.bars[i];
        /* the newest always: it says that nothing up to it is to be emitted again */
        const bool needed = (bar->bar_time_us >= oldest_us && bar->bar_time_us <= s->emitted_us) ||
                            (bar->bar_time_us == s->emitted_us && s->emitted_us != INT64_MIN);
        if (needed && bar->bars_offset < least)
            least = bar->bars_offset;
    }
    if (s->born_us != INT64_MIN && s->born_bars_offset < least &&
        fp_checkpoint(c, s, s->stream.bar_time_us) == NULL)
        least = s->born_bars_offset;
    return least;
}

/* Would a restart begin at a bar of an earlier timeline, or at none? */
static bool is_held(const struct fp_core *c, const struct fp_symbol *s)
{
    if (s->hold_from < 0 || s->emitted_us == INT64_MIN)
        return s->hold_from >= 0;
    const struct l2_past_bar *checkpoint = fp_checkpoint(c, s, s->emitted_us + c->bar_us);

    return checkpoint == NULL || checkpoint->bar_time_us <= s->prior_us;
}

/* A timeline of the symbol begins with the record at `offset`; whoever folds from `from` on sees
 * it. */
void fp_note_timeline(const struct fp_core *c, struct fp_symbol *s, int64_t offset, int64_t from)
{
    if (!is_held(c, s)) /* else from where the one before it must be seen to begin */
        s->hold_from = from;
    s->prior_us = INT64_MIN;
    /* by the offsets, and not the newest: a restart knows bars that were emitted later */
    for (uint32_t i = 0; i < s->past.bars_n; i++) {
        const struct l2_past_bar *bar = &s->past.bars[i];
        if (bar->bar_time_us > s->prior_us && bar->bar_time_us <= s->emitted_us &&
            bar->source_offset <= offset)
            s->prior_us = bar->bar_time_us;
    }
}

/* The next bar that can be emitted: those of the stream up to prior_us were. */
int64_t fp_next_bar_us(const struct fp_core *c, const struct fp_symbol *s)
{
    const int64_t open_us = s->stream.bar_time_us;

    return s->prior_us < open_us ? open_us : s->prior_us + c->bar_us;
}

void fp_note_dependence(struct fp_core *c, const struct fp_symbol *s)
{
    const uint32_t place = fp_symbols_place(&c->symbols, s);
    int64_t from = INT64_MAX;

    if (s->stream.started) {
        from = first_snapshot(c, s);
        if (s->late_from >= 0 && s->late_from < from)
            from = s->late_from;
        if (is_held(c, s) && s->hold_from < from)
            from = s->hold_from;
    }
    c->symbols.snapshots_from[place] = from;
    c->symbols.bars_from[place] = first_bar(c, s);
}

/* ---- closing ---- */

struct fp_action *fp_act(struct fp_update *u, enum fp_action_kind kind, const struct fp_symbol *s)
{
    assert(u->n < FP_ACTIONS_MAX);
    struct fp_action *a = &u->actions[u->n++];

    *a = (struct fp_action){.kind = kind};
    if (s != NULL) {
        a->partition = s->partition;
        a->symbol = (struct fp_name){s->name, s->name_n};
    }
    return a;
}

static uint64_t tag_of(const struct fp_core *c, const struct fp_symbol *s, int64_t bar_time_us)
{
    return ((uint64_t)fp_symbols_place(&c->symbols, s) + 1) << 40 |
           ((uint64_t)(bar_time_us / c->bar_us) & ((UINT64_C(1) << 40) - 1));
}

static void emit_feature(const struct fp_core *c, const struct fp_symbol *s,
                         const struct fp_action *bar, struct fp_update *u)
{
    const int64_t source_us = bar->bar.bar_time_us - c->params.l2.purge_bars * c->bar_us;
    const struct l2_past_bar *source = l2_past_find(&s->past, source_us);
    struct fp_action *a = fp_act(u, FP_EMIT_FEATURE, s);

    a->source_offset = bar->source_offset;
    a->bar_time_us = bar->bar.bar_time_us;
    a->source_bar_time_us = source_us;
    if (source != NULL && source_us >= s->born_us) {
        a->row = source->row;
        a->has_last_event = true;
        a->last_event_us = source->resume.last_event_us;
    }
}

/* A bar, its feature, and perhaps the symbol's retirement. */
bool fp_room_for_a_bar(const struct fp_update *u)
{
    return u->n + 3 <= FP_ACTIONS_MAX;
}

/* Closes the open bar. Emits it, and its feature, unless l2.bars has it already. Precondition:
 * room_for_a_bar. */
void fp_close_bar(struct fp_core *c, struct fp_symbol *s, bool by_clock, int64_t source_offset,
                  struct fp_update *u)
{
    uint8_t *sketch = c->sketches[c->sketches_n];
    size_t sketch_n;
    struct l2_bar bar;

    assert(c->sketches_n < SKETCHES_MAX); /* where there is room for two actions */
    c->stats.gaps += s->stream.gaps;
    l2_stream_close(&s->stream, &c->params.l2, &bar, sketch, &sketch_n);
    const bool is_new = bar.bar_time_us > s->emitted_us;
    /* one that was emitted keeps what l2.bars says of it, if it is still known */
    struct l2_past_bar *past =
        is_new ? l2_past_put(&s->past, bar.bar_time_us) : l2_past_find(&s->past, bar.bar_time_us);
    if (past != NULL)
        past->anchor_offset = s->open_anchor;
    s->open_anchor = -1;
    if (is_new) {
        struct fp_action *a = fp_act(u, FP_EMIT_BAR, s);
        a->bar = bar;
        a->closed_by_clock = by_clock;
        a->source_offset = source_offset;
        a->sketch = sketch;
        a->sketch_n = sketch_n;
        a->tag = tag_of(c, s, bar.bar_time_us);
        c->sketches_n++;
        assert(past != NULL); /* the newest bar of all always finds its place */
        past->row = bar.row;
        past->resume = bar.resume;
        past->closed_by_clock = by_clock;
        past->source_offset = source_offset;
        past->bars_offset = fp_partition(c, s->partition)->bars_next;
        s->emitted_us = bar.bar_time_us;
        c->stats.bars++;
        c->stats.bars_by_clock += by_clock;
        emit_feature(c, s, a, u);
    }
    fp_note_dependence(c, s);
}

/* No bar of a symbol is closed later than symbol_ttl after its last snapshot. */
bool fp_is_past_ttl(const struct fp_core *c, int64_t bar_time_us, const struct l2_resume *last)
{
    return bar_time_us + c->bar_us - last->last_event_us > c->params.l2.symbol_ttl_s * L2_US_PER_S;
}

/* `bar` is the last one of a symbol's life, if it is past symbol_ttl. */
void fp_note_birth(const struct fp_core *c, struct fp_symbol *s, const struct l2_past_bar *bar)
{
    if (bar == NULL || bar->bar_time_us < s->born_us ||
        !fp_is_past_ttl(c, bar->bar_time_us + c->bar_us, &bar->resume))
        return;
    s->born_us = bar->bar_time_us + c->bar_us;
    s->born_offset = bar->source_offset;
    s->born_bars_offset = bar->bars_offset;
}

/*
 * Retires the symbol whose last bar within symbol_ttl was just closed; its next snapshot starts it
 * anew. That follows from the closes alone, so a restart comes to the same. `u` is NULL where the
 * log is folded again.
 */
bool fp_retire_past_ttl(struct fp_core *c, struct fp_symbol *s, struct fp_update *u)
{
    if (!fp_is_past_ttl(c, s->stream.bar_time_us, &s->stream.last))
        return false;
    if (u != NULL) {
        fp_act(u, FP_RETIRED, s)->last_event_us = s->stream.last.last_event_us;
        c->stats.retired++;
    }
    fp_note_birth(c, s, l2_past_find(&s->past, s->stream.bar_time_us - c->bar_us));
    if (s->stream.bar_time_us - c->bar_us == s->emitted_us)
        s->hold_from = -1; /* l2.bars tells of the retirement */
    l2_stream_init(&s->stream, &c->params.l2, s->stream.window.minutes);
    s->retired = true;
    s->open_anchor = -1;
    s->late_from = -1;
    fp_note_dependence(c, s);
    return true;
}
