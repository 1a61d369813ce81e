#include "fp_core.h"

#include "fp_symbols.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define EVENT_AHEAD_US                                                                             \
    (5 * L2_US_PER_S) /* event_time this far ahead of the clocks after it is absurd */
#define SKETCHES_MAX (FP_ACTIONS_MAX / 2) /* each bar's action is followed by its feature's */

struct partition {
    bool owned;
    bool restoring;
    int64_t position, committed;
    int64_t bars_next; /* nothing will be written to l2.bars below this offset */
    int64_t asked_us;  /* when the end offset was asked for; INT64_MIN: no question is open */
    int64_t close_at;  /* position at which the clock may close; INT64_MAX: no answer */
    bool at_end;       /* the end was seen, and no record since */
    int64_t record_us; /* Kafka time of the newest record */
};

/* What a step has still to do: one kind of work at a time, resumed where the actions ran full. */
enum work_kind { WORK_NONE, WORK_TAKE, WORK_CLOCK, WORK_CLOSE, WORK_HEARTBEAT, WORK_ASK };

struct work {
    enum work_kind kind;
    uint32_t at; /* symbol or partition that comes next */
    bool record_follows; /* CLOCK: event is a record that waits until the clock has closed */
    struct fp_symbol *symbol;
    const struct fp_event *event; /* the caller's, until the step is drained */
};

struct fp_core {
    struct fp_params params;
    struct fp_name exchange; /* of params */
    int64_t bar_us;
    uint32_t boundary_bars; /* the open bar depends on this many bars before it */
    uint32_t kept_bars;     /* bars of l2.bars that a restart needs */
    struct partition *partitions;
    struct fp_symbols symbols;
    struct fp_stats stats;
    struct work work;
    bool *wanted; /* by partition: a symbol waits for its clock close */
    int64_t scanned_us;
    unsigned sketches_n;
    uint8_t sketches[SKETCHES_MAX][L2_SKETCH_BYTES_MAX];
};

static enum err_class check_params(const struct fp_params *p, struct err *err)
{
    if (l2_params_check(&p->l2, err) != ERR_OK)
        return err->class;
    if (p->symbols_max < 1 || p->symbols_max > FP_SYMBOLS_MAX)
        return err_set(err, ERR_REJECT, "max_symbols: %u is not within 1 to %d", p->symbols_max,
                       FP_SYMBOLS_MAX);
    if (p->partitions_n < 1 || p->partitions_n > FP_PARTITIONS_MAX)
        return err_set(err, ERR_REJECT, "partitions: %u is not within 1 to %d", p->partitions_n,
                       FP_PARTITIONS_MAX);
    return ERR_OK;
}

static uint32_t boundary_bars(const struct l2_params *p)
{
    const uint32_t need_s = p->window_s > p->max_book_age_s ? p->window_s : p->max_book_age_s;

    return need_s <= p->bar_s ? 0 : (need_s - p->bar_s + p->bar_s - 1) / p->bar_s;
}

enum err_class fp_core_new(const struct fp_params *params, struct fp_core **ret_core,
                           struct err *err)
{
    if (check_params(params, err) != ERR_OK)
        return err->class;
    struct fp_core *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(err, ERR_FATAL, "feature core: no memory");
    c->params = *params;
    c->exchange = (struct fp_name){c->params.exchange,
                                   (uint32_t)strnlen(params->exchange, L2_SYMBOL_BYTES_MAX)};
    c->bar_us = params->l2.bar_s * L2_US_PER_S;
    c->boundary_bars = boundary_bars(&params->l2);
    c->kept_bars = c->boundary_bars + 1;
    if (c->kept_bars < params->l2.purge_bars)
        c->kept_bars = params->l2.purge_bars;
    c->scanned_us = INT64_MIN;
    c->partitions = calloc(params->partitions_n, sizeof *c->partitions);
    c->wanted = calloc(params->partitions_n, sizeof *c->wanted);
    if (!fp_symbols_init(&c->symbols, params->symbols_max, params->l2.window_s / 60,
                         c->kept_bars + 1, c->bar_us) ||
        c->partitions == NULL || c->wanted == NULL) {
        fp_core_free(c);
        return err_set(err, ERR_FATAL, "feature core: no memory for %u symbols",
                       params->symbols_max);
    }
    *ret_core = c;
    return ERR_OK;
}

void fp_core_free(struct fp_core *c)
{
    if (c == NULL)
        return;
    fp_symbols_release(&c->symbols);
    free(c->partitions);
    free(c->wanted);
    free(c);
}

static struct partition *partition_of(struct fp_core *c, int32_t partition)
{
    assert(partition >= 0 && (uint32_t)partition < c->params.partitions_n);
    return &c->partitions[partition];
}

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
static const struct l2_past_bar *checkpoint_of(const struct fp_core *c, const struct fp_symbol *s,
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
        checkpoint_of(c, s, s->stream.bar_time_us) == NULL)
        least = s->born_bars_offset;
    return least;
}

static void note_dependence(struct fp_core *c, const struct fp_symbol *s)
{
    const uint32_t place = fp_symbols_place(&c->symbols, s);

    c->symbols.snapshots_from[place] = s->stream.started ? first_snapshot(c, s) : INT64_MAX;
    c->symbols.bars_from[place] = first_bar(c, s);
}

/* ---- closing ---- */

static struct fp_action *act(struct fp_update *u, enum fp_action_kind kind,
                             const struct fp_symbol *s)
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
    struct fp_action *a = act(u, FP_EMIT_FEATURE, s);

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
static bool room_for_a_bar(const struct fp_core *c, const struct fp_update *u)
{
    return u->n + 3 <= FP_ACTIONS_MAX && c->sketches_n < SKETCHES_MAX;
}

/* Closes the open bar. Emits it, and its feature, unless l2.bars has it already. Precondition:
 * room_for_a_bar. */
static void close_bar(struct fp_core *c, struct fp_symbol *s, bool by_clock, int64_t source_offset,
                      struct fp_update *u)
{
    uint8_t *sketch = c->sketches[c->sketches_n];
    size_t sketch_n;
    struct l2_bar bar;

    c->stats.gaps += s->stream.gaps;
    l2_stream_close(&s->stream, &c->params.l2, &bar, sketch, &sketch_n);
    struct l2_past_bar *past = l2_past_put(&s->past, bar.bar_time_us);
    if (past != NULL)
        past->anchor_offset = s->open_anchor;
    s->open_anchor = -1;
    if (bar.bar_time_us > s->emitted_us) {
        struct fp_action *a = act(u, FP_EMIT_BAR, s);
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
        past->bars_offset = partition_of(c, s->partition)->bars_next;
        s->emitted_us = bar.bar_time_us;
        c->stats.bars++;
        c->stats.bars_by_clock += by_clock;
        emit_feature(c, s, a, u);
    }
    note_dependence(c, s);
}

/* No bar of a symbol is closed later than symbol_ttl after its last snapshot. */
static bool is_past_ttl(const struct fp_core *c, int64_t bar_time_us, const struct l2_resume *last)
{
    return bar_time_us + c->bar_us - last->last_event_us > c->params.l2.symbol_ttl_s * L2_US_PER_S;
}

/* `bar` is the last one of a symbol's life, if it is past symbol_ttl. */
static void note_birth(const struct fp_core *c, struct fp_symbol *s, const struct l2_past_bar *bar)
{
    if (bar == NULL || bar->bar_time_us < s->born_us ||
        !is_past_ttl(c, bar->bar_time_us + c->bar_us, &bar->resume))
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
static bool retire_past_ttl(struct fp_core *c, struct fp_symbol *s, struct fp_update *u)
{
    if (!is_past_ttl(c, s->stream.bar_time_us, &s->stream.last))
        return false;
    if (u != NULL) {
        act(u, FP_RETIRED, s)->last_event_us = s->stream.last.last_event_us;
        c->stats.retired++;
    }
    note_birth(c, s, l2_past_find(&s->past, s->stream.bar_time_us - c->bar_us));
    l2_stream_init(&s->stream, &c->params.l2, s->stream.window.minutes);
    s->retired = true;
    s->open_anchor = -1;
    note_dependence(c, s);
    return true;
}

/* ---- snapshots ---- */

static bool equals(struct fp_name a, struct fp_name b)
{
    return a.n == b.n && (a.n == 0 || memcmp(a.data, b.data, a.n) == 0);
}

/* A known symbol's name was looked at when it was added. */
static enum l2_reject check(const struct fp_core *c, const struct fp_event *e, bool is_known)
{
    const struct l2_snapshot *n = e->snapshot;

    if (!is_known && !l2_symbol_ok(e->symbol.data, e->symbol.n))
        return L2_REJECT_SYMBOL_INVALID;
    if (!c->params.offline && !equals(e->symbol, e->key))
        return L2_REJECT_SYMBOL_MISMATCH;
    if (!equals(e->exchange, c->exchange))
        return L2_REJECT_WRONG_EXCHANGE;
    /* sent as differences from times that were read: compare without overflow */
    if (n->event_time_us > INT64_MAX / 2 || n->event_time_us < -INT64_MAX / 2 ||
        n->received_time_us > INT64_MAX / 2 || n->received_time_us < -INT64_MAX / 2 ||
        n->event_time_us - n->received_time_us > EVENT_AHEAD_US)
        return L2_REJECT_EVENT_TIME_AHEAD;
    if (!c->params.offline && n->event_time_us - e->kafka_time_us > EVENT_AHEAD_US)
        return L2_REJECT_EVENT_TIME_AHEAD;
    return l2_book_check(n);
}

/* Applies the recorded clock closes that the log's position has passed: they were emitted already.
 */
static void close_as_recorded(struct fp_core *c, struct fp_symbol *s, int64_t offset,
                              struct fp_update *u)
{
    while (s->stream.started && s->stream.bar_time_us <= s->emitted_us) {
        const struct l2_past_bar *bar = l2_past_find(&s->past, s->stream.bar_time_us);
        if (bar == NULL || !bar->closed_by_clock || bar->source_offset > offset)
            return;
        close_bar(c, s, true, bar->source_offset, u);
        if (retire_past_ttl(c, s, NULL))
            return;
    }
}

/*
 * Restoring, a symbol begins where one of its bars closed. Records before that place are in bars
 * that are done; the one that was the last then is taken up again for its book and link. Returns
 * whether this record is to be judged as usual.
 */
static bool is_past_checkpoint(struct fp_symbol *s, const struct fp_event *e)
{
    if (s->skip_below == INT64_MIN)
        return true;
    if (e->offset >= s->skip_below) {
        s->skip_below = INT64_MIN;
        return true;
    }
    const struct l2_resume *last = &s->stream.last;
    const struct l2_snapshot *n = e->snapshot;

    if (s->stream.started && n != NULL && n->epoch == last->epoch &&
        n->sequence == last->sequence && n->event_time_us == last->last_event_us) {
        l2_stream_seed(&s->stream, n);
        s->last_offset = e->offset;
        s->skip_below = INT64_MIN;
    }
    return false;
}

static void reject(struct fp_core *c, const struct fp_event *e, enum l2_reject reason,
                   struct fp_update *u)
{
    const struct fp_name key = c->params.offline ? e->symbol : e->key;

    c->stats.rejected[reason]++;
    if (key.n >= 1 && key.n <= L2_SYMBOL_BYTES_MAX) {
        struct fp_symbol *s = fp_symbols_find(&c->symbols, e->partition, key);
        if (s != NULL) {
            close_as_recorded(c, s, e->offset, u);
            if (s->skip_below == INT64_MIN || e->offset >= s->skip_below)
                l2_stream_break(&s->stream);
        }
    }
    if (e->offset < partition_of(c, e->partition)->committed)
        return; /* sent before the restart */
    struct fp_action *a = act(u, FP_DEAD_LETTER, NULL);
    a->partition = e->partition;
    a->source_offset = e->offset;
    a->reject = reason;
}

static void take(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e)
{
    const struct l2_snapshot *n = e->snapshot;

    if (s->open_anchor < 0) {
        const bool linked =
            s->stream.started && s->last_offset >= 0 &&
            n->event_time_us - s->stream.last.last_event_us <= c->params.l2.max_gap_s * L2_US_PER_S;
        s->retired = false;
        s->open_anchor = linked ? s->last_offset : e->offset;
        s->last_offset = e->offset;
        l2_stream_take(&s->stream, &c->params.l2, n, e->kafka_time_us);
        note_dependence(c, s);
    } else {
        s->last_offset = e->offset;
        l2_stream_take(&s->stream, &c->params.l2, n, e->kafka_time_us);
    }
    c->stats.taken++;
}

/* Closes every bar that ends at or before the snapshot's event time, then takes the snapshot.
 * false: resume me. */
static bool work_take(struct fp_core *c, struct fp_update *u)
{
    const struct fp_event *e = c->work.event;
    struct fp_symbol *s = c->work.symbol;

    while (l2_stream_is_due(&s->stream, &c->params.l2, e->snapshot->event_time_us)) {
        if (!room_for_a_bar(c, u))
            return false;
        close_bar(c, s, false, e->offset, u);
        (void)retire_past_ttl(c, s, fp_core_is_restoring(c, e->partition) ? NULL : u);
    }
    take(c, s, e);
    return true;
}

static void on_snapshot(struct fp_core *c, const struct fp_event *e, struct fp_update *u)
{
    if (c->params.offline && c->exchange.n == 0 && l2_symbol_ok(e->exchange.data, e->exchange.n)) {
        memcpy(c->params.exchange, e->exchange.data, e->exchange.n);
        c->exchange.n = e->exchange.n;
    }
    struct fp_symbol *s = fp_symbols_find(&c->symbols, e->partition, e->symbol);
    enum l2_reject reason = check(c, e, s != NULL);
    if (reason == L2_ACCEPTED && s == NULL) {
        s = fp_symbols_add(&c->symbols, e->partition, e->symbol, &c->params.l2);
        reason = s == NULL ? L2_REJECT_MAX_SYMBOLS : L2_ACCEPTED;
    }
    if (reason != L2_ACCEPTED) {
        reject(c, e, reason, u);
        return;
    }
    if (!is_past_checkpoint(s, e))
        return;
    close_as_recorded(c, s, e->offset, u);
    switch (l2_stream_judge(&s->stream, e->snapshot->epoch, e->snapshot->sequence,
                            e->snapshot->event_time_us)) {
    case L2_DUPLICATE:
        c->stats.duplicates++;
        return;
    case L2_LATE:
        c->stats.late++;
        l2_stream_break(&s->stream);
        return;
    case L2_TAKE:
        c->work.kind = WORK_TAKE;
        c->work.symbol = s;
        return;
    }
}

/* ---- restoring ---- */

static void on_past_bar(struct fp_core *c, const struct fp_event *e)
{
    struct partition *p = partition_of(c, e->partition);
    const struct l2_past_bar *bar = e->past_bar;
    struct fp_symbol *s = fp_symbols_find(&c->symbols, e->partition, e->symbol);

    if (p->bars_next <= bar->bars_offset)
        p->bars_next = bar->bars_offset + 1;
    if (!l2_symbol_ok(e->symbol.data, e->symbol.n) || bar->bar_time_us % c->bar_us != 0)
        return;
    if (s == NULL)
        s = fp_symbols_add(&c->symbols, e->partition, e->symbol, &c->params.l2);
    if (s == NULL)
        return; /* more symbols than max_symbols: those that came first are served, as before the
                   restart */
    struct l2_past_bar *place = l2_past_put(&s->past, bar->bar_time_us);
    if (place == NULL)
        return;
    *place = *bar;
    place->anchor_offset = -1;
    note_birth(c, s, bar);
    if (bar->bar_time_us > s->emitted_us)
        s->emitted_us = bar->bar_time_us;
}

/* Where does the fold of this symbol begin? At the close of the bar before those that its open bar
 * depends on. */
static void start_symbol(struct fp_core *c, struct fp_symbol *s)
{
    const int64_t open_us = s->emitted_us + c->bar_us;
    const struct l2_past_bar *newest = l2_past_find(&s->past, s->emitted_us);
    const struct l2_past_bar *checkpoint = checkpoint_of(c, s, open_us);

    assert(newest != NULL);
    if (is_past_ttl(c, open_us, &newest->resume)) {
        s->retired = true; /* when its newest bar had closed */
        s->skip_below = newest->source_offset;
        s->last_offset = newest->source_offset - 1; /* its last record stands no later */
        note_dependence(c, s);
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

static void on_start(struct fp_core *c, const struct fp_event *e)
{
    struct partition *p = partition_of(c, e->partition);

    *p = (struct partition){
        .owned = true,
        .restoring = true, /* until the next event: symbols without a record to fold have closes to
                              catch up with */
        .position = e->offset,
        .committed = e->committed,
        .bars_next = e->bars_next > p->bars_next ? e->bars_next : p->bars_next,
        .asked_us = INT64_MIN,
        .close_at = INT64_MAX,
        .record_us = INT64_MIN,
    };
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n > 0 && s->partition == e->partition)
            start_symbol(c, s);
    }
}

static void on_stop(struct fp_core *c, const struct fp_event *e)
{
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n > 0 && s->partition == e->partition)
            fp_symbols_remove(&c->symbols, s);
    }
    *partition_of(c, e->partition) = (struct partition){.owned = false};
}

/* Every record below the committed offset was folded: what remains emitted but open was closed by
 * the clock. */
static void finish_restoring(struct fp_core *c, int32_t partition, struct fp_update *u)
{
    struct partition *p = partition_of(c, partition);

    if (!p->owned || !p->restoring || p->position < p->committed)
        return;
    p->restoring = false;
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n == 0 || s->partition != partition)
            continue;
        s->skip_below = INT64_MIN;
        close_as_recorded(c, s, p->position, u);
        note_dependence(c, s);
    }
}

/* ---- the clock ---- */

/* Has the symbol's own clock, which runs on while its feed is silent, passed the
 * open bar's end and the grace? */
static bool is_idle_past_bar(const struct fp_core *c, const struct fp_symbol *s, int64_t at_us)
{
    const struct l2_resume *last = &s->stream.last;

    return s->name_n > 0 && s->stream.started &&
           last->last_event_us + (at_us - last->last_kafka_us) >=
               s->stream.bar_time_us + c->bar_us + c->params.close_grace_us;
}

/* Closes the silent symbols' bars in a partition that was read up to the end it had when asked.
 * false: resume me. */
static bool work_clock(struct fp_core *c, struct fp_update *u)
{
    const int32_t partition = c->work.event->partition;
    struct partition *p = partition_of(c, partition);

    for (; c->work.at < c->symbols.high; c->work.at++) {
        struct fp_symbol *s = &c->symbols.symbols[c->work.at];
        while (s->name_n > 0 && s->partition == partition && is_idle_past_bar(c, s, p->asked_us)) {
            if (!room_for_a_bar(c, u))
                return false;
            close_bar(c, s, true, p->position, u);
            (void)retire_past_ttl(c, s, u);
        }
    }
    p->asked_us = INT64_MIN;
    p->close_at = INT64_MAX;
    return true;
}

static void start_clock(struct fp_core *c, int32_t partition)
{
    const struct partition *p = partition_of(c, partition);

    if (p->owned && !p->restoring && p->close_at <= p->position) {
        c->work.kind = WORK_CLOCK;
        c->work.at = 0;
        c->work.record_follows = false;
    }
}

static bool wants_to_ask(const struct partition *p)
{
    return p->owned && !p->restoring && p->asked_us == INT64_MIN;
}

/*
 * Forgets the retired symbols whose records no restart will fold again, once a further symbol_ttl
 * has passed on their own clock: what begins them anew before that may still lie in a bar that was
 * emitted, and must not emit it twice.
 */
static void release_retired(struct fp_core *c, int64_t now_us)
{
    int32_t partition = -1;
    int64_t from = 0;

    for (uint32_t i = 0; i < c->symbols.high; i++) {
        struct fp_symbol *s = &c->symbols.symbols[i];
        if (s->name_n == 0 || !s->retired)
            continue;
        const struct l2_past_bar *newest = l2_past_find(&s->past, s->emitted_us);
        assert(newest != NULL);
        const int64_t idle_us =
            newest->resume.last_event_us + (now_us - newest->resume.last_kafka_us);
        if (c->partitions[s->partition].restoring ||
            idle_us < s->emitted_us + c->bar_us + c->params.l2.symbol_ttl_s * L2_US_PER_S)
            continue;
        if (s->partition != partition) {
            partition = s->partition;
            from = fp_core_position(c, partition).snapshots_from;
        }
        if (from > s->last_offset)
            fp_symbols_remove(&c->symbols, s);
    }
}

static void on_tick(struct fp_core *c, const struct fp_event *e)
{
    if (c->params.offline ||
        (c->scanned_us != INT64_MIN && e->now_us - c->scanned_us < c->params.scan_us &&
         e->now_us >= c->scanned_us))
        return;
    c->scanned_us = e->now_us;
    memset(c->wanted, 0, c->params.partitions_n * sizeof *c->wanted);
    for (uint32_t i = 0; i < c->symbols.high; i++) {
        const struct fp_symbol *s = &c->symbols.symbols[i];
        if (is_idle_past_bar(c, s, e->now_us))
            c->wanted[s->partition] = true;
    }
    release_retired(c, e->now_us);
    c->work.kind = WORK_ASK;
}

static bool work_ask(struct fp_core *c, struct fp_update *u)
{
    for (; c->work.at < c->params.partitions_n; c->work.at++) {
        struct partition *p = &c->partitions[c->work.at];
        if (!c->wanted[c->work.at] || !wants_to_ask(p))
            continue;
        if (u->n == FP_ACTIONS_MAX)
            return false;
        p->asked_us = c->work.event->now_us;
        act(u, FP_ASK_END, NULL)->partition = (int32_t)c->work.at;
    }
    return true;
}

static enum fp_state state_of(const struct fp_core *c, const struct fp_symbol *s, int64_t now_us)
{
    const struct partition *p = &c->partitions[s->partition];

    if (p->restoring || (!p->at_end && p->record_us < now_us - c->params.catching_up_us))
        return FP_CATCHING_UP;
    if (now_us - s->stream.last.last_kafka_us > c->params.l2.max_book_age_s * L2_US_PER_S)
        return FP_SILENT;
    return FP_LIVE;
}

static bool work_heartbeat(struct fp_core *c, struct fp_update *u)
{
    for (; c->work.at < c->symbols.high; c->work.at++) {
        const struct fp_symbol *s = &c->symbols.symbols[c->work.at];
        if (s->name_n == 0 || !s->stream.started)
            continue;
        if (u->n == FP_ACTIONS_MAX)
            return false;
        struct fp_action *a = act(u, FP_HEARTBEAT, s);
        a->last_event_us = s->stream.last.last_event_us;
        a->state = state_of(c, s, c->work.event->now_us);
    }
    return true;
}

/* ---- the rest ---- */

static void on_delivered(struct fp_core *c, const struct fp_event *e)
{
    const uint64_t place = (e->tag >> 40) - 1;
    const int64_t bar_time_us =
        ((int64_t)(e->tag << 24) >> 24) * c->bar_us; /* signed: bars before 1970 */

    assert(place < c->symbols.max);
    struct fp_symbol *s = &c->symbols.symbols[place];
    struct partition *p = partition_of(c, e->partition);
    if (e->offset >= p->bars_next)
        p->bars_next = e->offset + 1;
    if (s->name_n == 0 || s->partition != e->partition)
        return; /* retired in the meantime */
    struct l2_past_bar *bar = l2_past_find(&s->past, bar_time_us);
    if (bar != NULL && e->offset >= bar->bars_offset)
        bar->bars_offset = e->offset;
    if (bar_time_us + c->bar_us == s->born_us && e->offset >= s->born_bars_offset)
        s->born_bars_offset = e->offset;
    note_dependence(c, s);
}

static bool work_close(struct fp_core *c, struct fp_update *u)
{
    struct fp_symbol *s = c->work.symbol;

    while (s->stream.started && s->stream.bar_time_us <= c->work.event->bar_time_us) {
        if (!room_for_a_bar(c, u))
            return false;
        close_bar(c, s, true, c->work.event->offset, u);
        (void)retire_past_ttl(c, s, u);
    }
    return true;
}

static void on_close(struct fp_core *c, const struct fp_event *e)
{
    struct fp_symbol *s = fp_symbols_find(&c->symbols, e->partition, e->symbol);

    if (s != NULL) {
        c->work.kind = WORK_CLOSE;
        c->work.symbol = s;
    }
}

/* A record or an end moved the partition's position; the clock may have waited for it. */
static void advance(struct fp_core *c, const struct fp_event *e, int64_t position,
                    struct fp_update *u)
{
    struct partition *p = partition_of(c, e->partition);

    if (position > p->position)
        p->position = position;
    if (!p->restoring && p->close_at > p->position)
        return; /* all but a few */
    finish_restoring(c, e->partition, u);
    if (c->work.kind == WORK_NONE)
        start_clock(c, e->partition);
}

static void on_record(struct fp_core *c, const struct fp_event *e, struct fp_update *u)
{
    struct partition *p = partition_of(c, e->partition);

    assert(p->owned);
    /* everything below this record was folded, whatever offsets are missing between */
    advance(c, e, e->offset, u);
    if (c->work.kind == WORK_CLOCK) {
        c->work.record_follows =
            true; /* all that came before it was read: the clock closes first */
        return;
    }
    p->record_us = e->kafka_time_us;
    p->at_end = false;
    if (e->kind == FP_DEAD_BYTES)
        reject(c, e, e->reject, u);
    else
        on_snapshot(c, e, u);
    p->position = e->offset + 1;
}

static void dispatch(struct fp_core *c, const struct fp_event *e, struct fp_update *u)
{
    struct partition *p = partition_of(c, e->partition);

    switch (e->kind) {
    case FP_SNAPSHOT:
    case FP_DEAD_BYTES:
        on_record(c, e, u);
        break;
    case FP_TICK:
        on_tick(c, e);
        break;
    case FP_HEARTBEAT_DUE:
        c->work.kind = WORK_HEARTBEAT;
        break;
    case FP_END:
        if (p->owned) {
            p->at_end = true;
            advance(c, e, e->offset, u);
        }
        break;
    case FP_END_OFFSET:
        if (p->owned && p->asked_us != INT64_MIN) {
            p->close_at = e->offset;
            start_clock(c, e->partition);
        }
        break;
    case FP_PAST_BAR:
        on_past_bar(c, e);
        break;
    case FP_START:
        on_start(c, e);
        break;
    case FP_STOP:
        on_stop(c, e);
        break;
    case FP_DELIVERED:
        on_delivered(c, e);
        break;
    case FP_CLOSE:
        on_close(c, e);
        break;
    }
}

static bool work_on(struct fp_core *c, struct fp_update *u)
{
    switch (c->work.kind) {
    case WORK_NONE:
        return true;
    case WORK_TAKE:
        return work_take(c, u);
    case WORK_CLOCK:
        if (!work_clock(c, u))
            return false;
        c->work.kind = WORK_NONE;
        if (!c->work.record_follows)
            return true;
        c->work.record_follows = false;
        on_record(c, c->work.event, u);
        return work_on(c, u);
    case WORK_CLOSE:
        return work_close(c, u);
    case WORK_HEARTBEAT:
        return work_heartbeat(c, u);
    case WORK_ASK:
        return work_ask(c, u);
    }
    return true;
}

static void fill(struct fp_core *c, struct fp_update *ret_update)
{
    ret_update->more = !work_on(c, ret_update);
    ret_update->splittable = ret_update->more && c->work.kind == WORK_CLOCK;
    if (!ret_update->more)
        c->work.kind = WORK_NONE;
}

void fp_core_step(struct fp_core *c, const struct fp_event *event, struct fp_update *ret_update)
{
    assert(c->work.kind == WORK_NONE); /* the step before was drained */
    ret_update->n = 0;
    c->sketches_n = 0;
    c->work.at = 0;
    c->work.event = event;
    dispatch(c, event, ret_update);
    fill(c, ret_update);
}

void fp_core_continue(struct fp_core *c, struct fp_update *ret_update)
{
    ret_update->n = 0;
    c->sketches_n = 0;
    fill(c, ret_update);
}

const struct fp_stats *fp_core_stats(const struct fp_core *c)
{
    return &c->stats;
}

unsigned fp_core_symbols(const struct fp_core *c)
{
    return c->symbols.used;
}

bool fp_core_owns(const struct fp_core *c, int32_t partition)
{
    return c->partitions[partition].owned;
}

bool fp_core_is_restoring(const struct fp_core *c, int32_t partition)
{
    return c->partitions[partition].restoring;
}

struct fp_position fp_core_position(const struct fp_core *c, int32_t partition)
{
    const struct partition *p = &c->partitions[partition];
    struct fp_position pos = {p->position, p->position, p->bars_next};

    for (uint32_t i = 0; i < c->symbols.high; i++) {
        if (c->symbols.partition[i] != partition)
            continue;
        if (c->symbols.snapshots_from[i] < pos.snapshots_from)
            pos.snapshots_from = c->symbols.snapshots_from[i];
        if (c->symbols.bars_from[i] < pos.bars_from)
            pos.bars_from = c->symbols.bars_from[i];
    }
    return pos;
}

bool fp_core_stand(const struct fp_core *c, int32_t partition, struct fp_name symbol,
                   struct l2_resume *ret_last, int64_t *ret_bar_time_us)
{
    const struct fp_symbol *s = fp_symbols_find(&c->symbols, partition, symbol);

    if (s == NULL || !s->stream.started)
        return false;
    *ret_last = s->stream.last;
    *ret_bar_time_us = s->stream.bar_time_us;
    return true;
}
