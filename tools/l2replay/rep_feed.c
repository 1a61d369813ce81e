#include "rep_feed.h"
#include "rep_grow.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define US_PER_S INT64_C(1000000)
#define RATE_HZ_MAX 1000
#define SPAN_S_MAX 86400
#define STALL_FROM_S_MAX (366 * SPAN_S_MAX)

struct symbol {
    struct codec_flow flow; /* of snapshots left out since the last one sent */
    bool flow_unknown;      /* one of them had none */
    int64_t slot;           /* of the last one sent: cycle, phase and place in it; -1 before */
    int64_t restart_due_us; /* 0: before the first snapshot */
    int64_t epoch_add, sequence_from, step_us, sequence;
};

struct feed {
    struct rep_source from;
    struct rep_feed_plan plan;
    int64_t cycle_us, start_us;
    bool has_start;
    struct symbol *symbols;
};

/* ---- the words ---- */

static bool whole(const char **p, char end, unsigned long max, unsigned long *ret)
{
    char *stop;

    if (**p < '0' || **p > '9')
        return false;
    errno = 0;
    const unsigned long v = strtoul(*p, &stop, 10);
    if (errno != 0 || v > max || (*stop != end && !(end == ',' && *stop == '\0')))
        return false;
    *p = stop + (*stop != '\0');
    *ret = v;
    return true;
}

enum err_class rep_feed_parse_cadence(const char *text, struct rep_feed_plan *plan, struct err *err)
{
    struct rep_feed_plan parsed = *plan;
    bool moves = false;

    parsed.phases_n = 0;
    for (const char *p = text; p == text || *p != '\0';) {
        unsigned long rate, seconds;
        if (parsed.phases_n == REP_FEED_PHASES_MAX)
            return err_set(err, ERR_REJECT, "more than %d phases", REP_FEED_PHASES_MAX);
        if (!whole(&p, ':', RATE_HZ_MAX, &rate) || !whole(&p, ',', SPAN_S_MAX, &seconds) ||
            seconds == 0)
            return err_set(err, ERR_REJECT,
                           "'%.100s': not RATE:SECONDS[,...] with rates from 0 to %d and seconds "
                           "from 1 to %d",
                           text, RATE_HZ_MAX, SPAN_S_MAX);
        parsed.phases[parsed.phases_n++] =
            (struct rep_feed_phase){(unsigned)rate, (int64_t)seconds * US_PER_S};
        moves |= rate > 0;
    }
    if (!moves)
        return err_set(err, ERR_REJECT, "'%.100s': a feed that never sends", text);
    *plan = parsed;
    return ERR_OK;
}

enum err_class rep_feed_parse_stalls(const char *text, struct rep_feed_plan *plan, struct err *err)
{
    struct rep_feed_plan parsed = *plan;

    parsed.stalls_n = 0;
    for (const char *p = text; p == text || *p != '\0';) {
        unsigned long symbol, from, seconds;
        if (parsed.stalls_n == REP_FEED_STALLS_MAX)
            return err_set(err, ERR_REJECT, "more than %d stalls", REP_FEED_STALLS_MAX);
        if (!whole(&p, ':', REP_SYMBOLS_MAX - 1, &symbol) ||
            !whole(&p, ':', STALL_FROM_S_MAX, &from) || !whole(&p, ',', SPAN_S_MAX, &seconds) ||
            seconds == 0)
            return err_set(err, ERR_REJECT,
                           "'%.100s': not SYMBOL:FROM:SECONDS[,...] with 1 to %d seconds", text,
                           SPAN_S_MAX);
        parsed.stalls[parsed.stalls_n++] =
            (struct rep_feed_stall){.symbol = (uint32_t)symbol,
                                    .from_us = (int64_t)from * US_PER_S,
                                    .until_us = (int64_t)(from + seconds) * US_PER_S};
    }
    *plan = parsed;
    return ERR_OK;
}

enum err_class rep_feed_parse_drift(const char *text, unsigned thin_max,
                                    struct rep_feed_drift *ret_drift, struct err *err)
{
    unsigned long from, seconds, thin;
    const char *p = text;

    if (!whole(&p, ':', STALL_FROM_S_MAX, &from) || !whole(&p, ':', STALL_FROM_S_MAX, &seconds) ||
        !whole(&p, '\0', thin_max, &thin) || seconds == 0 || thin < 2)
        return err_set(err, ERR_REJECT, "'%.100s': not FROM:SECONDS:FACTOR, a factor from 2 to %u",
                       text, thin_max);
    *ret_drift = (struct rep_feed_drift){.from_us = (int64_t)from * US_PER_S,
                                         .span_us = (int64_t)seconds * US_PER_S,
                                         .thin = (unsigned)thin};
    return ERR_OK;
}

enum err_class rep_feed_parse_restart(const char *text, struct rep_feed_plan *plan, struct err *err)
{
    const char *const colon = strchr(text, ':');
    const char *p = colon == NULL ? "" : colon + 1;
    const size_t n = colon == NULL ? 0 : (size_t)(colon - text);
    unsigned long seconds = 0;
    const bool is_epoch = n == 5 && memcmp(text, "epoch", n) == 0;
    const bool is_adopt = n == 5 && memcmp(text, "adopt", n) == 0;

    if ((!is_epoch && !is_adopt) || !whole(&p, '\0', SPAN_S_MAX, &seconds) || seconds == 0)
        return err_set(err, ERR_REJECT,
                       "'%.100s': not epoch:SECONDS or adopt:SECONDS, 1 to %d seconds", text,
                       SPAN_S_MAX);
    plan->restart = is_epoch ? REP_FEED_EPOCH : REP_FEED_ADOPT;
    plan->restart_us = (int64_t)seconds * US_PER_S;
    return ERR_OK;
}

/* ---- the source ---- */

static void add_flow(struct symbol *s, const struct rep_item *item)
{
    s->flow_unknown |= !item->has_flow;
    s->flow.buy_base += item->flow.buy_base;
    s->flow.sell_base += item->flow.sell_base;
    s->flow.buy_quote += item->flow.buy_quote;
    s->flow.sell_quote += item->flow.sell_quote;
    s->flow.trade_count += item->flow.trade_count;
}

/* The item's place in the cadence; -1: in a stall. */
static int64_t slot_of(const struct feed *f, int64_t event_us)
{
    const int64_t since_us = event_us - f->start_us;
    int64_t at_us = since_us % f->cycle_us, first = since_us / f->cycle_us;

    first *= f->cycle_us; /* slots of a cycle: fewer than its microseconds */
    for (unsigned i = 0; i < f->plan.phases_n; i++) {
        const struct rep_feed_phase *const phase = &f->plan.phases[i];
        if (at_us < phase->span_us)
            return phase->rate_hz == 0 ? -1 : first + at_us * (int64_t)phase->rate_hz / US_PER_S;
        at_us -= phase->span_us;
        first += phase->span_us;
    }
    return -1;
}

static bool is_stalled(const struct feed *f, const struct rep_item *item)
{
    const int64_t since_us = item->event_us - f->start_us;

    for (unsigned i = 0; i < f->plan.stalls_n; i++) {
        const struct rep_feed_stall *const stall = &f->plan.stalls[i];
        if (stall->symbol == item->symbol && since_us >= stall->from_us &&
            since_us < stall->until_us)
            return true;
    }
    return false;
}

/* False: left out. */
static bool in_cadence(struct feed *f, struct symbol *s, struct rep_item *item)
{
    if (f->plan.phases_n == 0 && f->plan.stalls_n == 0)
        return true;
    const int64_t slot = f->plan.phases_n == 0 ? s->slot + 1 : slot_of(f, item->event_us);
    add_flow(s, item);
    if (slot < 0 || slot == s->slot || is_stalled(f, item))
        return false;
    s->slot = slot;
    item->has_flow = !s->flow_unknown;
    item->flow = item->has_flow ? s->flow : (struct codec_flow){0};
    s->flow = (struct codec_flow){0};
    s->flow_unknown = false;
    return true;
}

static void restart(const struct feed *f, struct symbol *s, struct rep_item *item)
{
    const int64_t sequence = item->sequence;

    if (sequence < s->sequence)
        s->sequence_from = 0; /* the source has begun anew by itself */
    s->sequence = sequence;
    if (s->restart_due_us == 0)
        s->restart_due_us = item->event_us + f->plan.restart_us;
    if (item->event_us >= s->restart_due_us) {
        s->restart_due_us += f->plan.restart_us;
        s->sequence_from = sequence - 1;
        if (f->plan.restart == REP_FEED_EPOCH) {
            s->epoch_add++;
        } else {
            s->epoch_add--;
            s->step_us += REP_FEED_STEP_US;
        }
    }
    item->sequence -= s->sequence_from;
    item->epoch += s->epoch_add;
    item->event_us -= s->step_us;
    item->received_us -= s->step_us;
}

static enum err_class next(void *self, struct rep_item *ret_item, bool *ret_got, struct err *err)
{
    struct feed *const f = self;

    for (;;) {
        const enum err_class e = f->from.next(f->from.self, ret_item, ret_got, err);
        if (e != ERR_OK || !*ret_got || ret_item->is_trade)
            return e;
        if (!f->has_start) {
            f->has_start = true;
            f->start_us = ret_item->event_us - ret_item->event_us % US_PER_S;
        }
        struct symbol *const s = &f->symbols[ret_item->symbol];
        if (!in_cadence(f, s, ret_item))
            continue;
        if (f->plan.restart != REP_FEED_STEADY)
            restart(f, s, ret_item);
        return ERR_OK;
    }
}

static double progress(void *self)
{
    struct feed *const f = self;

    return f->from.progress != NULL ? f->from.progress(f->from.self) : -1;
}

static void feed_free(void *self)
{
    struct feed *const f = self;

    rep_source_free(&f->from);
    free(f->symbols);
    free(f);
}

struct rep_source rep_feed(struct rep_source from, const struct rep_feed_plan *plan,
                           uint32_t symbols_n)
{
    struct feed *const f = rep_alloc(1, sizeof *f);

    f->from = from;
    f->plan = *plan;
    for (unsigned i = 0; i < plan->phases_n; i++)
        f->cycle_us += plan->phases[i].span_us;
    f->symbols = rep_alloc(symbols_n, sizeof *f->symbols);
    for (uint32_t i = 0; i < symbols_n; i++)
        f->symbols[i].slot = -1;
    return (struct rep_source){.self = f, .next = next, .progress = progress, .free = feed_free};
}
