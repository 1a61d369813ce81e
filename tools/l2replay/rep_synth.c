#include "rep_synth.h"
#include "rep_draw.h"
#include "rep_grow.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#define TICKS_PER_UNIT 10.0  /* prices are whole ticks of 0.1 */
#define LOTS_PER_UNIT 1000.0 /* quantities are whole lots of 0.001 */
#define START_TICKS_MIN 100000
#define REGIME_S 300  /* mean life of a regime */
#define SILENCE_MIN_MS 6000
#define SILENCE_SPREAD_MS 60000
#define SILENCE_MOVE_TICKS 20
#define LATENCY_MIN_US 2000
#define LATENCY_SPREAD_US 60000

enum regime { CALM, VOLATILE, RISING, FALLING, REGIMES };

/* Chances out of 1024. */
static const struct {
    uint32_t trade; /* that an aggressor comes, and that yet another follows */
    uint32_t buy;   /* that it buys */
    uint32_t cancel; /* that a best level is withdrawn */
    int64_t spread_ticks; /* where quotes stop improving */
} regimes[REGIMES] = {
    [CALM] = {.trade = 180, .buy = 512, .cancel = 10, .spread_ticks = 1},
    [VOLATILE] = {.trade = 640, .buy = 512, .cancel = 120, .spread_ticks = 3},
    [RISING] = {.trade = 480, .buy = 610, .cancel = 40, .spread_ticks = 2},
    [FALLING] = {.trade = 480, .buy = 414, .cancel = 40, .spread_ticks = 2},
};

struct level {
    int64_t ticks, lots;
};

struct symbol {
    uint64_t random;
    struct level *bids, *asks; /* best first, `depth` of each, in the one block of the market */
    enum regime regime;
    int64_t start_ticks;
    int64_t event_us; /* of the last snapshot; 0 before */
    int64_t silent_until_us;
    int64_t thin; /* what is quoted is divided by it */
    bool is_restarted; /* a new epoch begins with the next snapshot */
    int64_t sequence, epoch;
};

struct synth {
    struct rep_synth_options options;
    struct symbol *symbols;
    struct level *levels;
    int64_t step;    /* of period length */
    uint32_t at;     /* the symbol whose turn it is */
    struct rep_trade trades[REP_SYNTH_TRADES_MAX];
    unsigned trades_n, trades_given;
    bool has_snapshot; /* made, and due after the trades */
    struct rep_item snapshot;
    struct codec_flow flow;
    int64_t since_us; /* the trades lie in (since_us, snapshot.event_us] */
    struct codec_level out[2 * REP_DEPTH_MAX];
};

/* 0 to n - 1 */
static int64_t below(struct symbol *s, int64_t n)
{
    return (int64_t)(rep_draw(&s->random) % (uint64_t)n);
}

static bool chance(struct symbol *s, uint32_t of_1024)
{
    return (rep_draw(&s->random) & 1023) < of_1024;
}

/* Small sizes are usual, large ones happen: 1 to 4 times a power of two. */
static int64_t draw_lots(struct symbol *s)
{
    const int64_t factor = 1 + below(s, 4);

    return factor << below(s, 11);
}

static int64_t draw_quote(struct symbol *s)
{
    const int64_t lots = draw_lots(s) / s->thin;

    return lots > 0 ? lots : 1;
}

/* side: +1 for asks (worse is higher), -1 for bids. */
static void remove_best(struct symbol *s, struct level *side, unsigned depth, int64_t direction)
{
    const int64_t far = side[depth - 1].ticks + direction * (1 + below(s, 2));

    memmove(side, side + 1, (depth - 1) * sizeof *side);
    side[depth - 1] = (struct level){.ticks = far, .lots = draw_quote(s)};
}

static void add_best(struct symbol *s, struct level *side, unsigned depth, int64_t direction)
{
    const int64_t near = side[0].ticks - direction;

    memmove(side + 1, side, (depth - 1) * sizeof *side);
    side[0] = (struct level){.ticks = near, .lots = draw_quote(s)};
}

static void start_symbol(struct synth *m, uint32_t i)
{
    const unsigned depth = m->options.depth;
    struct symbol *const s = &m->symbols[i];

    s->thin = 1;
    s->random = m->options.seed ^ (i * UINT64_C(0xd1342543de82ef95));
    s->bids = m->levels + (size_t)i * 2 * depth;
    s->asks = s->bids + depth;
    s->start_ticks = START_TICKS_MIN * (1 + below(s, 6));
    s->start_ticks += below(s, START_TICKS_MIN);
    s->epoch = m->options.start_us / 1000000;
    int64_t bid = s->start_ticks, ask = s->start_ticks + 1;
    for (unsigned k = 0; k < depth; k++) {
        s->bids[k] = (struct level){.ticks = bid, .lots = draw_quote(s)};
        s->asks[k] = (struct level){.ticks = ask, .lots = draw_quote(s)};
        bid -= 1 + below(s, 2);
        ask += 1 + below(s, 2);
    }
}

/* One aggressor takes what it wants, level by level. */
static void aggress(struct synth *m, struct symbol *s)
{
    const bool is_buy = chance(s, regimes[s->regime].buy);
    struct level *const side = is_buy ? s->asks : s->bids;
    int64_t wanted = draw_lots(s);

    while (wanted > 0 && m->trades_n < REP_SYNTH_TRADES_MAX) {
        const int64_t lots = wanted < side[0].lots ? wanted : side[0].lots;
        const struct rep_trade t = {.price = (double)side[0].ticks / TICKS_PER_UNIT,
                                    .quantity = (double)lots / LOTS_PER_UNIT,
                                    .is_buy = is_buy};
        m->trades[m->trades_n++] = t;
        m->flow.trade_count++;
        *(is_buy ? &m->flow.buy_base : &m->flow.sell_base) += t.quantity;
        *(is_buy ? &m->flow.buy_quote : &m->flow.sell_quote) += t.price * t.quantity;
        wanted -= lots;
        side[0].lots -= lots;
        if (side[0].lots == 0)
            remove_best(s, side, m->options.depth, is_buy ? 1 : -1);
    }
}

/* Quotes: levels change, a best one may be withdrawn, and new ones close the spread. */
static void quote(struct symbol *s, unsigned depth)
{
    const int64_t bid = below(s, depth), ask = below(s, depth);

    s->bids[bid].lots = draw_quote(s);
    s->asks[ask].lots = draw_quote(s);
    if (chance(s, regimes[s->regime].cancel)) {
        if (chance(s, 512))
            remove_best(s, s->bids, depth, -1);
        else
            remove_best(s, s->asks, depth, 1);
    }
    while (s->asks[0].ticks - s->bids[0].ticks > regimes[s->regime].spread_ticks &&
           chance(s, 820)) {
        if (chance(s, regimes[s->regime].buy)) /* who buys also bids */
            add_best(s, s->bids, depth, -1);
        else
            add_best(s, s->asks, depth, 1);
    }
}

/* Steps in `mean_s`, at least one. */
static int64_t often(double rate_hz, int64_t mean_s)
{
    const int64_t steps = (int64_t)(rate_hz * (double)mean_s);

    return steps > 0 ? steps : 1;
}

/* Far from where it began a symbol turns round at once, so that a long run stays on the grid. */
static void choose_regime(struct symbol *s, double rate_hz)
{
    if (s->bids[0].ticks < s->start_ticks * 3 / 4)
        s->regime = RISING;
    else if (s->bids[0].ticks > s->start_ticks * 5 / 4)
        s->regime = FALLING;
    else if (below(s, often(rate_hz, REGIME_S)) == 0)
        s->regime = (enum regime)below(s, REGIMES);
}

static void fall_silent(struct symbol *s, unsigned depth, int64_t now_us)
{
    const int64_t moved = below(s, 2 * SILENCE_MOVE_TICKS + 1) - SILENCE_MOVE_TICKS;

    s->silent_until_us = now_us + (SILENCE_MIN_MS + below(s, SILENCE_SPREAD_MS)) * 1000;
    s->is_restarted = chance(s, 512);
    for (unsigned k = 0; k < depth; k++) {
        s->bids[k].ticks += moved;
        s->asks[k].ticks += moved;
    }
}

static void take_levels(const struct level *side, unsigned depth, struct codec_level *ret)
{
    for (unsigned k = 0; k < depth; k++)
        ret[k] = (struct codec_level){.price = (double)side[k].ticks / TICKS_PER_UNIT,
                                      .quantity = (double)side[k].lots / LOTS_PER_UNIT};
}

static void snap(struct synth *m, struct symbol *s, uint32_t index, int64_t event_us)
{
    const unsigned depth = m->options.depth;

    if (s->is_restarted) {
        const int64_t now_s = event_us / 1000000;
        s->epoch = now_s > s->epoch ? now_s : s->epoch + 1;
        s->sequence = 0;
        s->is_restarted = false;
    }
    s->sequence += 1 + below(s, 20);
    take_levels(s->bids, depth, m->out);
    take_levels(s->asks, depth, m->out + REP_DEPTH_MAX);
    m->since_us = s->event_us > 0 ? s->event_us : event_us - 1;
    s->event_us = event_us;
    m->snapshot =
        (struct rep_item){.symbol = index,
                          .event_us = event_us,
                          .due_us = event_us,
                          .received_us = event_us + LATENCY_MIN_US + below(s, LATENCY_SPREAD_US),
                          .sequence = s->sequence,
                          .epoch = s->epoch,
                          .bids = m->out,
                          .asks = m->out + REP_DEPTH_MAX,
                          .bids_n = depth,
                          .asks_n = depth,
                          .has_flow = true,
                          .flow = m->flow};
    m->has_snapshot = true;
}

/* One step of one symbol at event_us. */
static void turn(struct synth *m, uint32_t index, int64_t event_us)
{
    struct symbol *const s = &m->symbols[index];
    const unsigned depth = m->options.depth;
    const double rate = m->options.rate_hz;
    const int64_t since_us = event_us - m->options.start_us;

    m->trades_n = m->trades_given = 0;
    m->flow = (struct codec_flow){0};
    if (event_us < s->silent_until_us)
        return;
    s->thin = m->options.drift_thin > 0 && since_us >= m->options.drift_from_us &&
                      since_us < m->options.drift_until_us
                  ? m->options.drift_thin
                  : 1;
    choose_regime(s, rate);
    while (m->trades_n < REP_SYNTH_TRADES_MAX && chance(s, regimes[s->regime].trade))
        aggress(m, s);
    quote(s, depth);
    assert(s->bids[depth - 1].ticks > 0);
    snap(m, s, index, event_us);
    if (m->options.silence_s > 0 && below(s, often(rate, m->options.silence_s)) == 0)
        fall_silent(s, depth, event_us);
}

/* Trades lie evenly between the two snapshots; after a silence only its last second was recorded.
 */
static int64_t trade_time(const struct synth *m)
{
    const int64_t until_us = m->snapshot.event_us;
    const int64_t from_us = until_us - m->since_us > 1000000 ? until_us - 1000000 : m->since_us;

    return from_us + (until_us - from_us) * (int64_t)(m->trades_given + 1) / (m->trades_n + 1);
}

/* A symbol's times: its own place in the period, and jitter within that place, so that order holds.
 */
static int64_t turn_time(struct synth *m)
{
    const int64_t period_us = (int64_t)(1000000 / m->options.rate_hz);
    const int64_t place_us = period_us / (int64_t)m->options.symbols_n;
    const int64_t jitter_us = place_us > 1 ? below(&m->symbols[m->at], place_us / 2 + 1) : 0;

    return m->options.start_us + m->step * period_us +
           period_us * (int64_t)m->at / (int64_t)m->options.symbols_n + jitter_us;
}

static enum err_class next(void *self, struct rep_item *ret_item, bool *ret_got, struct err *err)
{
    struct synth *const m = self;

    (void)err;
    for (;;) {
        *ret_got = true;
        if (m->has_snapshot && m->trades_given < m->trades_n) {
            const int64_t time_us = trade_time(m);
            *ret_item = (struct rep_item){.is_trade = true,
                                          .symbol = m->snapshot.symbol,
                                          .event_us = time_us,
                                          .due_us = time_us,
                                          .trade = m->trades[m->trades_given++]};
            return ERR_OK;
        }
        if (m->has_snapshot) {
            m->has_snapshot = false;
            *ret_item = m->snapshot;
            return ERR_OK;
        }
        if (m->at == m->options.symbols_n) {
            m->at = 0;
            m->step++;
        }
        const int64_t event_us = turn_time(m);
        if (m->options.span_us > 0 && event_us >= m->options.start_us + m->options.span_us) {
            *ret_got = false;
            return ERR_OK;
        }
        turn(m, m->at++, event_us);
    }
}

static double progress(void *self)
{
    const struct synth *const m = self;

    if (m->options.span_us == 0)
        return -1;
    const double part = (double)m->step * 1e6 / m->options.rate_hz / (double)m->options.span_us;
    return part < 1 ? part : 1;
}

static void synth_free(void *self)
{
    struct synth *const m = self;

    free(m->symbols);
    free(m->levels);
    free(m);
}

struct rep_source rep_synth(const struct rep_synth_options *o)
{
    struct synth *const m = rep_alloc(1, sizeof *m);

    assert(o->symbols_n >= 1 && o->symbols_n <= REP_SYMBOLS_MAX &&
           o->rate_hz >= REP_SYNTH_RATE_HZ_MIN && o->rate_hz <= REP_SYNTH_RATE_HZ_MAX &&
           o->drift_thin <= REP_SYNTH_THIN_MAX && o->depth >= 2 && o->depth <= REP_DEPTH_MAX);
    m->options = *o;
    m->symbols = rep_alloc(o->symbols_n, sizeof *m->symbols);
    m->levels = rep_alloc((size_t)o->symbols_n * 2 * o->depth, sizeof *m->levels);
    for (uint32_t i = 0; i < o->symbols_n; i++)
        start_symbol(m, i);
    return (struct rep_source){.self = m, .next = next, .progress = progress, .free = synth_free};
}
