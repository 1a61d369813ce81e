#include "fp_state.h"

/* Applies the recorded clock closes that the log's position has passed: they were emitted already.
 */
void fp_close_as_recorded(struct fp_core *c, struct fp_symbol *s, int64_t offset,
                          struct fp_update *u)
{
    while (s->stream.started && fp_next_bar_us(c, s) <= s->emitted_us) {
        const int64_t next_us = fp_next_bar_us(c, s);
        const struct l2_past_bar *bar = l2_past_find(&s->past, next_us);
        if (bar == NULL || !bar->closed_by_clock || bar->source_offset > offset)
            return;
        const int64_t source_offset = bar->source_offset;
        while (s->stream.bar_time_us <= next_us) {
            fp_close_bar(c, s, true, source_offset, u);
            if (fp_retire_past_ttl(c, s, NULL))
                return;
        }
    }
}

/* A late record: counts it. True: with it the symbol's stream begins anew. */
bool fp_drop_late(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e)
{
    const bool adopts = l2_stream_late(&s->stream, e->snapshot);

    if (s->late_from < 0 && s->stream.late.n > 0) {
        s->late_from = s->last_offset >= 0 ? s->last_offset : e->offset;
        fp_note_dependence(c, s);
    } else if (s->late_from >= 0 && s->stream.late.n == 0) {
        s->late_from = -1;
        fp_note_dependence(c, s);
    }
    return adopts;
}

/*
 * A record below the place where the symbol's fold begins. The last one that had been taken by then
 * is taken up again for its book and link. What follows that one was late or a duplicate, and late
 * ones count towards an adoption; and so it is when that one is not among those folded at all,
 * since then all of them follow it.
 */
static void fold_before_checkpoint(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e)
{
    const struct l2_resume *last = &s->stream.last;
    const struct l2_snapshot *n = e->snapshot;

    if (!s->stream.has_top && n->epoch == last->epoch && n->sequence == last->sequence &&
        n->event_time_us == last->last_event_us) {
        l2_stream_seed(&s->stream, n);
        s->last_offset = e->offset;
        s->late_from = -1;
        return;
    }
    switch (l2_stream_judge(&s->stream, n->epoch, n->sequence, n->event_time_us)) {
    case L2_DUPLICATE:
        break;
    case L2_LATE:
        (void)fp_drop_late(c, s, e);
        break;
    case L2_TAKE: /* of the time before an adoption: what was taken for the last one was not it */
        l2_stream_unseed(&s->stream);
        s->last_offset = s->late_from = -1;
        break;
    }
}

/* Restoring, a symbol begins where one of its bars closed. Records before that place are in bars
 * that are done. Returns whether this record is to be judged as usual. */
bool fp_is_past_checkpoint(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e)
{
    if (s->skip_below == INT64_MIN)
        return true;
    if (e->offset >= s->skip_below) {
        s->skip_below = INT64_MIN;
        return true;
    }
    if (s->stream.started)
        fold_before_checkpoint(c, s, e);
    return false;
}

/*
 * Bars closed in the log's order. When the offsets go back from one bar to the next, or lie where
 * the log has never been, the topic was made anew (or lost its end) since: what closed before is
 * behind all that this log holds.
 */
static void forget_places(struct fp_core *c, int32_t partition)
{
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n == 0 || s->partition != partition)
            continue;
        for (uint32_t k = 0; k < s->past.bars_n; k++)
            s->past.bars[k].source_offset = 0;
        s->born_offset = 0;
    }
}

/* Where the bar closed, in the log that is there. */
static int64_t place_in_log(struct fp_core *c, const struct fp_event *e)
{
    struct fp_partition *p = fp_partition(c, e->partition);
    const int64_t offset = e->past_bar->source_offset > e->log_end ? 0 : e->past_bar->source_offset;

    if (offset < p->past_source)
        forget_places(c, e->partition);
    p->past_source = offset;
    return offset;
}

/*
 * Room for a further name of l2.bars: those whose records are in no log any more, or too old to be
 * told from a new life's. They are released as release_retired would have released them, by the
 * time that the bars themselves tell.
 */
static void release_long_retired(struct fp_core *c, const struct fp_event *e)
{
    const int64_t ttl_us = c->params.l2.symbol_ttl_s * L2_US_PER_S;
    const struct fp_partition *p = fp_partition(c, e->partition);

    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n == 0 || s->partition != e->partition)
            continue;
        const struct l2_past_bar *newest = l2_past_find(&s->past, s->emitted_us);
        assert(newest != NULL);
        const int64_t open_us = s->emitted_us + c->bar_us;
        const int64_t idle_us =
            newest->resume.last_event_us + (p->past_seen_us - newest->resume.last_kafka_us);
        if (fp_is_past_ttl(c, open_us, &newest->resume) && idle_us >= open_us + ttl_us &&
            newest->source_offset <= e->offset)
            fp_symbols_remove(&c->symbols, s);
    }
}

static struct fp_symbol *find_or_add(struct fp_core *c, const struct fp_event *e)
{
    struct fp_symbol *s = fp_symbols_find(&c->symbols, e->partition, e->symbol);

    if (s == NULL && c->symbols.used == c->symbols.max)
        release_long_retired(c, e);
    return s != NULL ? s : fp_symbols_add(&c->symbols, e->partition, e->symbol, &c->params.l2);
}

void fp_on_past_bar(struct fp_core *c, const struct fp_event *e, struct fp_update *u)
{
    struct fp_partition *p = fp_partition(c, e->partition);
    const struct l2_past_bar *bar = e->past_bar;

    if (p->bars_next <= bar->bars_offset)
        p->bars_next = bar->bars_offset + 1;
    if (!l2_symbol_ok(e->symbol.data, e->symbol.n) || bar->bar_time_us % c->bar_us != 0)
        return;
    const int64_t source_offset = place_in_log(c, e);
    if (p->past_seen_us == 0 || bar->resume.last_kafka_us > p->past_seen_us)
        p->past_seen_us = bar->resume.last_kafka_us;
    struct fp_symbol *s = find_or_add(c, e);
    if (s == NULL) {
        fp_act(u, FP_NO_PLACE, NULL)->partition = e->partition;
        return;
    }
    struct l2_past_bar *place = l2_past_put(&s->past, bar->bar_time_us);
    if (place == NULL)
        return;
    *place = *bar;
    place->source_offset = source_offset;
    place->anchor_offset = -1;
    fp_note_birth(c, s, place);
    if (bar->bar_time_us > s->emitted_us)
        s->emitted_us = bar->bar_time_us;
}

/* Where does the fold of this symbol begin? At the close of the bar before those that its open bar
 * depends on. */
static void start_symbol(struct fp_core *c, struct fp_symbol *s)
{
    const int64_t open_us = s->emitted_us + c->bar_us;
    const struct l2_past_bar *newest = l2_past_find(&s->past, s->emitted_us);
    const struct l2_past_bar *checkpoint = fp_checkpoint(c, s, open_us);

    assert(newest != NULL);
    if (fp_is_past_ttl(c, open_us, &newest->resume)) {
        s->retired = true; /* when its newest bar had closed */
        s->skip_below = newest->source_offset;
        s->last_offset = newest->source_offset - 1; /* its last record stands no later */
        fp_note_dependence(c, s);
        return;
    }
    if (checkpoint ==
        NULL) { /* a young symbol: its first snapshot is among those that are folded */
        if (s->born_us != INT64_MIN)
            s->skip_below = s->born_offset;
        return;
    }
    l2_stream_resume(&s->stream, &c->params.l2, &checkpoint->resume,
                     checkpoint->bar_time_us + c->bar_us);
    s->skip_below = checkpoint->source_offset;
}

void fp_on_start(struct fp_core *c, const struct fp_event *e)
{
    struct fp_partition *p = fp_partition(c, e->partition);

    release_long_retired(c, e);
    *p = (struct fp_partition){
        .owned = true,
        .restoring = true, /* until the next event: symbols without a record to fold have closes to
                              catch up with */
        .position = e->offset,
        .committed = e->committed,
        .bars_next = e->bars_next > p->bars_next ? e->bars_next : p->bars_next,
        .asked_us = INT64_MIN,
        .close_at = INT64_MAX,
        .record_us = INT64_MIN,
        .seen_us = INT64_MIN,
    };
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n > 0 && s->partition == e->partition)
            start_symbol(c, s);
    }
}

void fp_on_stop(struct fp_core *c, const struct fp_event *e)
{
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n > 0 && s->partition == e->partition)
            fp_symbols_remove(&c->symbols, s);
    }
    *fp_partition(c, e->partition) = (struct fp_partition){.owned = false};
}

/* Every record below the committed offset was folded: what remains emitted but open was closed by
 * the clock. */
void fp_finish_restoring(struct fp_core *c, int32_t partition, struct fp_update *u)
{
    struct fp_partition *p = fp_partition(c, partition);

    if (!p->restoring || p->position < p->committed)
        return;
    p->restoring = false;
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n == 0 || s->partition != partition)
            continue;
        s->skip_below = INT64_MIN;
        fp_close_as_recorded(c, s, p->position, u);
        fp_note_dependence(c, s);
    }
}
