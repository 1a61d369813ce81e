#include "sim_feed.h"

#include <string.h>

static const char *const names[FEED_SYMBOLS] = {"BTC", "ETH", "SOL", "XRP", "BNB"};

uint64_t sim_next(struct sim_rng *rng)
{
    uint64_t z = (rng->state += UINT64_C(0x9e3779b97f4a7c15));

    z = (z ^ z >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ z >> 27) * UINT64_C(0x94d049bb133111eb);
    return z ^ z >> 31;
}

uint32_t sim_below(struct sim_rng *rng, uint32_t n)
{
    return (uint32_t)(sim_next(rng) % n);
}

bool sim_once_in(struct sim_rng *rng, uint32_t n)
{
    return sim_below(rng, n) == 0;
}

struct fp_name feed_symbol(unsigned symbol)
{
    return (struct fp_name){names[symbol], (uint32_t)strlen(names[symbol])};
}

int32_t feed_partition(unsigned symbol)
{
    return (int32_t)(symbol % FEED_PARTITIONS);
}

/* Exchange clocks begin so far behind ours that jumps ahead have room. */
#define BEHIND_US (20000 * L2_US_PER_S)

struct source {
    int64_t event_us, sequence, epoch;
    int64_t skew_us; /* its exchange clock against ours */
    double mid;
    int64_t silent_until_us;
    int64_t stepped_us; /* back, in all */
    unsigned restarted; /* records that are left of a restarted feed's quiet start */
};

static void make_book(struct feed_record *r, struct source *s, struct sim_rng *rng)
{
    s->mid += ((double)sim_below(rng, 21) - 10) / 4;
    if (s->mid < 50)
        s->mid = 50;
    const unsigned levels = sim_once_in(rng, 8) ? 1 + sim_below(rng, 4) : FEED_LEVELS;

    for (unsigned i = 0; i < FEED_LEVELS; i++) {
        r->bids[i] = (struct l2_level){s->mid - 0.25 * (i + 1), sim_below(rng, 50) / 8.0};
        r->asks[i] = (struct l2_level){s->mid + 0.25 * (i + 1), sim_below(rng, 50) / 8.0};
    }
    r->snapshot.bids_n = r->snapshot.asks_n = levels;
    r->snapshot.has_flow = !sim_once_in(rng, 30);
    if (r->snapshot.has_flow) {
        r->snapshot.flow.buy_quote = sim_below(rng, 1000);
        r->snapshot.flow.sell_quote = sim_below(rng, 1000);
    }
    if (sim_once_in(rng, 60)) { /* a crossed book */
        const struct l2_level bid = r->bids[0];
        r->bids[0] = r->asks[0];
        r->asks[0] = bid;
    }
}

/* Order as the exchange meant it, but for one in ten: duplicates, late ones, restarts of the
 * sequence. */
static void make_order(struct feed_record *r, struct source *s, struct sim_rng *rng)
{
    struct l2_snapshot *n = &r->snapshot;

    n->sequence = ++s->sequence;
    n->epoch = s->epoch;
    n->event_time_us = s->event_us;
    if (s->restarted > 0)
        s->restarted--; /* no trouble of its own, so that the run of late ones is long enough */
    switch (sim_below(rng, s->restarted > 0 ? 400 : 60)) {
    case 0: /* again */
        n->sequence--;
        break;
    case 1: /* late, or from long ago */
        n->event_time_us -= (int64_t)sim_below(rng, 120) * L2_US_PER_S;
        break;
    case 2:
        n->epoch = ++s->epoch;
        n->sequence = s->sequence = 1;
        break;
    case 3: /* of an old connection */
        n->epoch--;
        break;
    case 4: /* a duplicate that claims another time */
        n->sequence -= 2;
        n->event_time_us += (int64_t)sim_below(rng, 4) * L2_US_PER_S;
        break;
    default:
        break;
    }
    n->received_time_us = n->event_time_us + sim_below(rng, 500000);
}

/* The feed begins again with another epoch, lower or higher, and a clock that has stepped, mostly
 * back. */
static void restart(struct source *s, struct sim_rng *rng)
{
    static const int64_t steps_s[] = {0, 1, 30, 90, 200, 700, 1500, 2500};
    int64_t step_us = steps_s[sim_below(rng, 8)] * L2_US_PER_S;

    s->epoch += sim_once_in(rng, 2) ? 1 : -3;
    s->sequence = sim_below(rng, 3) * 5;
    /* in all less than symbol_ttl: a symbol that was forgotten must not come back among its bars */
    if (s->stepped_us + step_us > 3300 * L2_US_PER_S)
        step_us = 0;
    s->stepped_us += step_us;
    s->skew_us -= step_us;
    if (sim_once_in(rng, 6))
        s->skew_us += 1000 * L2_US_PER_S;
    s->restarted = 130;
}

static void add(struct feed *f, unsigned symbol, struct source *s, int64_t now_us,
                struct sim_rng *rng, int64_t *offsets)
{
    const int32_t p = feed_partition(symbol);

    if (f->n[p] == FEED_RECORDS_MAX)
        return;
    struct feed_record *r = &f->records[p][f->n[p]++];
    *r = (struct feed_record){.offset = offsets[p], .kafka_us = now_us, .symbol = symbol};
    offsets[p] += 1 + sim_once_in(rng, 5); /* control records and compaction leave holes */
    r->dead = sim_once_in(rng, 80);
    make_order(r, s, rng);
    make_book(r, s, rng);
}

void feed_make(struct feed *f, struct sim_rng *rng, unsigned records, int64_t start_us)
{
    struct source sources[FEED_SYMBOLS];
    int64_t offsets[FEED_PARTITIONS] = {0}, now_us = start_us;

    f->n[0] = f->n[1] = 0;
    for (unsigned i = 0; i < FEED_SYMBOLS; i++)
        sources[i] = (struct source){
            .epoch = 1,
            .mid = 100,
            .skew_us = (int64_t)sim_below(rng, 3) * L2_US_PER_S - BEHIND_US,
            .silent_until_us = start_us + (int64_t)sim_below(rng, 100) * L2_US_PER_S,
        };
    /* one market's clock is far behind: its windows hold other offsets than its neighbours' */
    sources[sim_below(rng, FEED_SYMBOLS)].skew_us -= (int64_t)sim_below(rng, 900) * L2_US_PER_S;
    /* a few markets at a time, or an adoption would take all of the feed */
    const unsigned symbols = 1 + sim_below(rng, FEED_SYMBOLS);
    while (f->n[0] + f->n[1] < records && f->n[0] < FEED_RECORDS_MAX &&
           f->n[1] < FEED_RECORDS_MAX) {
        const unsigned symbol = sim_below(rng, symbols);
        struct source *s = &sources[symbol];
        now_us += (int64_t)sim_below(rng, 800) * 1000;
        if (sim_once_in(rng, 400))
            now_us += (int64_t)sim_below(rng, 600) * (sim_once_in(rng, 4) ? 10 : 1) * L2_US_PER_S;
        if (now_us < s->silent_until_us)
            continue;
        if (sim_once_in(rng, 150))
            s->silent_until_us = now_us + (int64_t)sim_below(rng, 400) * L2_US_PER_S;
        if (sim_once_in(rng, 250)) /* longer than symbol_ttl, by the exchange's clock */
            s->skew_us += (int64_t)sim_below(rng, 3) * 2500 * L2_US_PER_S;
        if (s->skew_us > 0) /* ahead of ours is absurd, which is tested elsewhere */
            s->skew_us = 0;
        if (s->restarted == 0 && sim_once_in(rng, 120))
            restart(s, rng);
        s->event_us = now_us + s->skew_us - (int64_t)sim_below(rng, 1500) * 100;
        add(f, symbol, s, now_us, rng, offsets);
    }
}

struct fp_event feed_event(const struct feed *f, int32_t partition, unsigned i, int64_t now_us)
{
    static struct l2_snapshot view; /* one record is in flight at a time */
    const struct feed_record *r = &f->records[partition][i];

    view = r->snapshot;
    view.bids = r->bids;
    view.asks = r->asks;
    return (struct fp_event){
        .kind = r->dead ? FP_DEAD_BYTES : FP_SNAPSHOT,
        .now_us = now_us,
        .partition = partition,
        .offset = r->offset,
        .key = feed_symbol(r->symbol),
        .kafka_time_us = r->kafka_us,
        .exchange = {"x", 1},
        .symbol = feed_symbol(r->symbol),
        .snapshot = r->dead ? NULL : &view,
        .reject = L2_REJECT_UNDECODABLE,
    };
}
