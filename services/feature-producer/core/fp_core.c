#include "fp_state.h"

#include <stdlib.h>
#include <string.h>

#define EVENT_AHEAD_US                                                                             \
    (5 * L2_US_PER_S) /* further ahead of the clocks after it, event_time is absurd */

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
    c->boundary_bars = l2_params_boundary_bars(&params->l2);
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

/* ---- snapshots ---- */

/* Of names of a byte or more: one of none may have no address. */
static bool equals(struct fp_name a, struct fp_name b)
{
    return a.n == b.n && memcmp(a.data, b.data, a.n) == 0;
}

/* The broker takes any number for a timestamp; differences of what is kept must not overflow. */
static int64_t kafka_us(const struct fp_event *e)
{
    const int64_t max = INT64_MAX / 4;

    return e->kafka_time_us > max ? max : e->kafka_time_us < -max ? -max : e->kafka_time_us;
}

/* A known symbol's name was looked at when it was added. */
static enum l2_reject check(const struct fp_core *c, const struct fp_event *e, bool is_known)
{
    const struct l2_snapshot *n = e->snapshot;

    if (!is_known && !l2_symbol_ok(e->symbol.data, e->symbol.n))
        return L2_REJECT_SYMBOL_INVALID;
    if (!c->params.offline && !equals(e->symbol, e->key))
        return L2_REJECT_SYMBOL_MISMATCH;
    if (c->exchange.n == 0 || !equals(e->exchange, c->exchange)) /* offline, before the first */
        return L2_REJECT_WRONG_EXCHANGE;
    /* sent as differences from times that were read: compare without overflow */
    if (n->event_time_us > INT64_MAX / 2 || n->event_time_us < -INT64_MAX / 2 ||
        n->received_time_us > INT64_MAX / 2 || n->received_time_us < -INT64_MAX / 2 ||
        n->event_time_us - n->received_time_us > EVENT_AHEAD_US)
        return L2_REJECT_EVENT_TIME_AHEAD;
    if (!c->params.offline && n->event_time_us - kafka_us(e) > EVENT_AHEAD_US)
        return L2_REJECT_EVENT_TIME_AHEAD;
    return l2_book_check(n);
}

static void reject(struct fp_core *c, const struct fp_event *e, enum l2_reject reason,
                   struct fp_update *u)
{
    const struct fp_name key = c->params.offline ? e->symbol : e->key;

    c->stats.rejected[reason]++;
    struct fp_symbol *s = fp_symbols_find(&c->symbols, e->partition, key);
    if (s != NULL) { /* a key that is no name is no symbol's */
        fp_close_as_recorded(c, s, e->offset, u);
        l2_stream_break(&s->stream);
    }
    if (e->offset < fp_partition(c, e->partition)->committed)
        return; /* sent before the restart */
    struct fp_action *a = fp_act(u, FP_DEAD_LETTER, NULL);
    a->partition = e->partition;
    a->source_offset = e->offset;
    a->reject = reason;
}

static void take(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e)
{
    const struct l2_snapshot *n = e->snapshot;

    if (!s->stream.started)
        fp_note_timeline(c, s, e->offset, e->offset);
    if (s->open_anchor < 0 || s->late_from >= 0) {
        const bool linked =
            s->stream.started && s->last_offset >= 0 &&
            n->event_time_us - s->stream.last.last_event_us <= c->params.l2.max_gap_s * L2_US_PER_S;
        s->retired = false;
        if (s->open_anchor < 0)
            s->open_anchor = linked ? s->last_offset : e->offset;
        s->last_offset = e->offset;
        s->late_from = -1;
        l2_stream_take(&s->stream, &c->params.l2, n, kafka_us(e));
        fp_note_dependence(c, s);
    } else {
        s->last_offset = e->offset;
        l2_stream_take(&s->stream, &c->params.l2, n, kafka_us(e));
    }
    c->stats.taken++;
}

/* A feed that was restarted: its stream begins anew, wherever its clock stands. */
static void adopt(struct fp_core *c, struct fp_symbol *s, const struct fp_event *e,
                  struct fp_update *u)
{
    assert(s->late_from >= 0);
    fp_note_timeline(c, s, e->offset, s->late_from);
    l2_stream_adopt(&s->stream, &c->params.l2, e->snapshot, kafka_us(e));
    s->open_anchor = s->last_offset = e->offset;
    s->late_from = -1;
    fp_note_dependence(c, s);
    c->stats.taken++;
    if (e->offset < fp_partition(c, e->partition)->committed)
        return; /* told before the restart */
    c->stats.adopted++;
    struct fp_action *a = fp_act(u, FP_ADOPTED, s);
    a->last_event_us = e->snapshot->event_time_us;
    a->no_bars_until_us = fp_next_bar_us(c, s) + c->bar_us;
}

/* Closes every bar that ends at or before the snapshot's event time, then takes the snapshot.
 * false: resume me. */
static bool work_take(struct fp_core *c, struct fp_update *u)
{
    const struct fp_event *e = c->work.event;
    struct fp_symbol *s = c->work.symbol;

    while (l2_stream_is_due(&s->stream, &c->params.l2, e->snapshot->event_time_us)) {
        if (!fp_room_for_a_bar(u))
            return false;
        fp_close_bar(c, s, false, e->offset, u);
        (void)fp_retire_past_ttl(c, s, fp_core_is_restoring(c, e->partition) ? NULL : u);
    }
    if (!c->work.adopts ||
        !s->stream.started) { /* retired in the meantime: it begins anew anyway */
        take(c, s, e);
        return true;
    }
    adopt(c, s, e, u); /* after any number of bars there is room for one action more */
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
    if (!fp_is_past_checkpoint(c, s, e))
        return;
    fp_close_as_recorded(c, s, e->offset, u);
    c->work.adopts = false;
    switch (l2_stream_judge(&s->stream, e->snapshot->epoch, e->snapshot->sequence,
                            e->snapshot->event_time_us)) {
    case L2_DUPLICATE:
        c->stats.duplicates++;
        return;
    case L2_LATE:
        c->work.adopts = fp_drop_late(c, s, e);
        if (!c->work.adopts) {
            c->stats.late++;
            return;
        }
        c->work.kind = WORK_TAKE;
        c->work.symbol = s;
        return;
    case L2_TAKE:
        c->work.kind = WORK_TAKE;
        c->work.symbol = s;
        return;
    }
}

/* ---- the clock ---- */

/*
 * Has the symbol's own clock, which runs on while its feed is silent, passed the grace after the
 * end of the next bar that can be emitted? Bars before that one are closed with it: l2.bars would
 * not tell a restart when they were, nor of a retirement among them.
 */
static bool is_idle_past_bar(const struct fp_core *c, const struct fp_symbol *s, int64_t at_us)
{
    const struct l2_resume *last = &s->stream.last;

    if (s->name_n == 0 || !s->stream.started)
        return false;
    const int64_t next_us = fp_next_bar_us(c, s);

    return last->last_event_us + (at_us - last->last_kafka_us) >=
               next_us + c->bar_us + c->params.close_grace_us &&
           !fp_is_past_ttl(c, next_us, last);
}

/* Closes the silent symbols' bars in a partition that was read up to the end it had when asked.
 * false: resume me. */
static bool work_clock(struct fp_core *c, struct fp_update *u)
{
    const int32_t partition = c->work.event->partition;
    struct fp_partition *p = fp_partition(c, partition);

    for (; c->work.at < c->symbols.high; c->work.at++) {
        struct fp_symbol *s = &c->symbols.symbols[c->work.at];
        while (s->name_n > 0 && s->partition == partition && is_idle_past_bar(c, s, p->asked_us)) {
            if (!fp_room_for_a_bar(u))
                return false;
            fp_close_bar(c, s, true, p->position, u);
            (void)fp_retire_past_ttl(c, s, u);
        }
    }
    p->asked_us = INT64_MIN;
    p->close_at = INT64_MAX;
    return true;
}

static void start_clock(struct fp_core *c, int32_t partition)
{
    const struct fp_partition *p = fp_partition(c, partition);

    if (!p->restoring && p->close_at <= p->position) {
        c->work.kind = WORK_CLOCK;
        c->work.at = 0;
        c->work.record_follows = false;
    }
}

static bool wants_to_ask(const struct fp_partition *p)
{
    return !p->restoring && p->asked_us == INT64_MIN;
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
        const struct fp_partition *p = &c->partitions[s->partition];
        assert(newest != NULL);
        if (p->restoring || p->seen_us == INT64_MIN)
            continue;
        /* of a backlog only what was read is known to hold no record of it */
        const int64_t seen_us = p->seen_us < now_us ? p->seen_us : now_us;
        const int64_t idle_us =
            newest->resume.last_event_us + (seen_us - newest->resume.last_kafka_us);
        if (idle_us < s->emitted_us + c->bar_us + c->params.l2.symbol_ttl_s * L2_US_PER_S)
            continue;
        if (s->partition != partition) {
            partition = s->partition;
            from = fp_core_position(c, partition).snapshots_from;
        }
        if (from >= newest->source_offset) /* late ones after its last one, too */
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
        struct fp_partition *p = &c->partitions[c->work.at];
        if (!c->wanted[c->work.at] || !wants_to_ask(p))
            continue;
        if (u->n == FP_ACTIONS_MAX)
            return false;
        p->asked_us = c->work.event->now_us;
        fp_act(u, FP_ASK_END, NULL)->partition = (int32_t)c->work.at;
    }
    return true;
}

static enum fp_state state_of(const struct fp_core *c, const struct fp_symbol *s, int64_t now_us)
{
    const struct fp_partition *p = &c->partitions[s->partition];

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
        struct fp_action *a = fp_act(u, FP_HEARTBEAT, s);
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
    struct fp_partition *p = fp_partition(c, e->partition);
    if (e->offset >= p->bars_next)
        p->bars_next = e->offset + 1;
    if (s->name_n == 0 || s->partition != e->partition)
        return; /* retired in the meantime */
    struct l2_past_bar *bar = l2_past_find(&s->past, bar_time_us);
    if (bar != NULL && e->offset >= bar->bars_offset)
        bar->bars_offset = e->offset;
    if (bar_time_us + c->bar_us == s->born_us && e->offset >= s->born_bars_offset)
        s->born_bars_offset = e->offset;
    fp_note_dependence(c, s);
}

static bool work_close(struct fp_core *c, struct fp_update *u)
{
    struct fp_symbol *s = c->work.symbol;

    while (s->stream.started && s->stream.bar_time_us <= c->work.event->bar_time_us) {
        if (!fp_room_for_a_bar(u))
            return false;
        fp_close_bar(c, s, true, c->work.event->offset, u);
        (void)fp_retire_past_ttl(c, s, u);
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
    struct fp_partition *p = fp_partition(c, e->partition);

    if (position > p->position)
        p->position = position;
    if (!p->restoring && p->close_at > p->position)
        return; /* all but a few */
    fp_finish_restoring(c, e->partition, u);
    start_clock(c, e->partition);
}

static void on_record(struct fp_core *c, const struct fp_event *e, struct fp_update *u)
{
    struct fp_partition *p = fp_partition(c, e->partition);

    assert(p->owned);
    /* everything below this record was folded, whatever offsets are missing between */
    advance(c, e, e->offset, u);
    if (c->work.kind == WORK_CLOCK) {
        c->work.record_follows =
            true; /* all that came before it was read: the clock closes first */
        return;
    }
    p->record_us = kafka_us(e);
    if (p->record_us > p->seen_us)
        p->seen_us = p->record_us;
    p->at_end = false;
    if (e->kind == FP_DEAD_BYTES)
        reject(c, e, e->reject, u);
    else
        on_snapshot(c, e, u);
    p->position = e->offset + 1;
}

static void dispatch(struct fp_core *c, const struct fp_event *e, struct fp_update *u)
{
    struct fp_partition *p = fp_partition(c, e->partition);

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
            if (e->now_us > p->seen_us)
                p->seen_us = e->now_us;
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
        fp_on_past_bar(c, e, u);
        break;
    case FP_START:
        fp_on_start(c, e);
        break;
    case FP_STOP:
        fp_on_stop(c, e);
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
    const struct fp_partition *p = &c->partitions[partition];
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
