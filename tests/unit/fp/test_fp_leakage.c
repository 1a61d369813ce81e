/*
 * test_fp_leakage: the leakage invariant as a property over random streams, random
 * changes of their future, bars of 1, 5, 15, 30 and 60 min, purges of 0, 1, 10 and 20. A failure
 * prints its seed: `test_fp_leakage SEED` runs it alone.
 *
 * Seen to fail with the purge one bar too short (source = bar − (purge − 1) × bar), with
 * l2_stream_is_due's >= as >, with a rejected record's broken link counted as a gap of the bar
 * being closed, and with the past ring one bar too short.
 */
#include "fp_test.h"

#define SEEDS 500
#define SYMBOLS 3
#define PARTITIONS 2
#define RECORDS_MAX 6000
#define BARS_MAX 128 /* bars from T0 − bar on that a run may emit */

static const uint32_t bars_s[] = {60, 300, 900, 1800, 3600};
static const uint32_t purges[] = {0, 1, 10, 20};
static const char *const names[SYMBOLS] = {"BTC", "ETH", "SOL"};

struct scenario {
    uint64_t seed, rng;
    struct fp_params params;
    int64_t bar_us, end_us;
    unsigned step_ms; /* between two records of one symbol, about */
    bool in_order;
};

struct log {
    struct record records[RECORDS_MAX];
    unsigned n;
};

/* What a run gave, by symbol and bar. */
struct result {
    struct out features[SYMBOLS][BARS_MAX], bars[SYMBOLS][BARS_MAX];
    bool has_feature[SYMBOLS][BARS_MAX], has_bar[SYMBOLS][BARS_MAX];
};

static struct {
    struct log base, changed;
    struct result before, after;
    unsigned long compared, compared_values, moved;
} t;

static uint32_t one_of(uint64_t *rng, const uint32_t *values, unsigned n)
{
    return values[test_below(rng, n)];
}

static struct scenario make_scenario(uint64_t seed)
{
    struct scenario s = {.seed = seed, .rng = seed * UINT64_C(0x9e3779b97f4a7c15) | 1};

    (void)test_random(&s.rng);
    s.params = test_params(PARTITIONS);
    s.params.l2.bar_s = bars_s[seed % 5];
    s.params.l2.purge_bars = purges[seed / 5 % 4];
    s.bar_us = s.params.l2.bar_s * S;
    const unsigned bars = s.params.l2.purge_bars + 4 + test_below(&s.rng, 7);
    s.end_us = T0 + bars * s.bar_us;
    /* so that a run has about 5,000 records at most */
    s.step_ms = bars * s.params.l2.bar_s * SYMBOLS / 5;
    if (s.step_ms < 500)
        s.step_ms = 500;
    s.params.l2.max_gap_s = 5 + s.step_ms / 700;
    if (s.params.l2.max_gap_s > 60)
        s.params.l2.max_gap_s = 60;
    const uint32_t three_s = 3 * s.params.l2.bar_s < 3600 ? 3 * s.params.l2.bar_s : 3600;
    s.params.l2.window_s = one_of(&s.rng, (const uint32_t[]){60, s.params.l2.bar_s, three_s}, 3);
    s.params.l2.coverage_pct = one_of(&s.rng, (const uint32_t[]){20, 60, 90}, 3);
    s.params.l2.samples_min = 2;
    s.params.l2.sample_s = one_of(&s.rng, (const uint32_t[]){1, 10, 60}, 3);
    if (once_in(&s.rng, 3)) /* short lives: symbols retire, and start anew */
        s.params.l2.symbol_ttl_s =
            3600 + s.params.l2.purge_bars * s.params.l2.bar_s + s.params.l2.window_s;
    return s;
}

static void make_book(struct record *r, double *mid, uint64_t *rng)
{
    *mid += ((double)test_below(rng, 21) - 10) / 4;
    if (*mid < 50)
        *mid = 50;
    record_book(r, *mid);
    for (int i = 0; i < TEST_LEVELS; i++) {
        r->bids[i].quantity = test_below(rng, 50) / 8.0;
        r->asks[i].quantity = test_below(rng, 50) / 8.0;
    }
    if (once_in(rng, 10))
        r->snapshot.bids_n = 1 + test_below(rng, TEST_LEVELS);
    r->snapshot.has_flow = !once_in(rng, 30);
    r->snapshot.flow = (struct l2_flow){0};
    if (r->snapshot.has_flow) {
        r->snapshot.flow.buy_quote = test_below(rng, 1000);
        r->snapshot.flow.sell_quote = test_below(rng, 1000);
    }
}

static void spoil(struct record *r, uint64_t *rng)
{
    switch (test_below(rng, 4)) {
    case 0:
        r->dead = true;
        break;
    case 1:
        r->asks[0].price = r->bids[0].price;
        break;
    case 2:
        r->snapshot.asks_n = 0;
        break;
    default:
        r->bids[0].quantity = -1;
        break;
    }
}

/* The next event time of a symbol: usually a step on, now and then a silence, often exactly where a
 * bar begins or just before. */
static int64_t next_time(struct scenario *s, int64_t time_us)
{
    const int64_t boundary_us = l2_floor_us(time_us, s->bar_us) + s->bar_us;
    int64_t next_us = time_us + (int64_t)(s->step_ms / 2 + test_below(&s->rng, s->step_ms)) * 1000;

    if (once_in(&s->rng, 800))
        next_us += (int64_t)test_below(&s->rng, 3000) * s->bar_us / 1000;
    if (once_in(&s->rng, 6000))
        next_us += 2 * 3600 * S;
    if (next_us >= boundary_us && time_us < boundary_us) {
        if (once_in(&s->rng, 3))
            return boundary_us;
        if (once_in(&s->rng, 4))
            return boundary_us - 1 > time_us ? boundary_us - 1 : time_us;
    }
    return next_us;
}

static void disturb_order(struct record *r, uint64_t *rng)
{
    switch (test_below(rng, 30)) {
    case 0:
        r->snapshot.event_time_us -= (int64_t)test_below(rng, 2000) * S;
        break;
    case 1:
        r->snapshot.sequence -= test_below(rng, 3);
        break;
    case 2:
        r->snapshot.epoch--;
        break;
    default:
        break;
    }
}

static void make_log(struct scenario *s, struct log *log)
{
    int64_t time_us[SYMBOLS], sequence[SYMBOLS] = {0}, epoch[SYMBOLS], offsets[PARTITIONS] = {0},
                              now_us = T0;
    double mid[SYMBOLS];

    for (int i = 0; i < SYMBOLS; i++) {
        time_us[i] = T0 + (int64_t)test_below(&s->rng, 1200) * s->bar_us / 1000;
        mid[i] = 100;
        epoch[i] = 1;
    }
    for (log->n = 0; log->n < RECORDS_MAX; log->n++) {
        unsigned k = 0;
        for (unsigned i = 1; i < SYMBOLS; i++)
            k = time_us[i] < time_us[k] ? i : k;
        if (time_us[k] >= s->end_us)
            return;
        struct record *r = &log->records[log->n];
        *r = (struct record){.partition = (int32_t)(k % PARTITIONS), .symbol = names[k]};
        r->offset = offsets[r->partition];
        offsets[r->partition] += 1 + once_in(&s->rng, 10);
        if (once_in(&s->rng, 300))
            epoch[k]++;
        const int64_t arrival_us = time_us[k] + (int64_t)test_below(&s->rng, 300) * 1000;
        now_us = arrival_us > now_us ? arrival_us : now_us;
        r->kafka_us = now_us;
        r->snapshot.event_time_us = r->snapshot.received_time_us = time_us[k];
        r->snapshot.sequence = ++sequence[k];
        r->snapshot.epoch = epoch[k];
        make_book(r, &mid[k], &s->rng);
        if (!s->in_order)
            disturb_order(r, &s->rng);
        if (once_in(&s->rng, 100))
            spoil(r, &s->rng);
        time_us[k] = next_time(s, time_us[k]);
    }
    fail_msg("seed %lu: more than %d records", (unsigned long)s->seed, RECORDS_MAX);
}

/* Asks and answers as the service would, with nothing more in the log than what was read: silent
 * symbols' bars are closed. */
static void tick(struct run *run, int64_t now_us, const int64_t next[PARTITIONS])
{
    const struct fp_event e = {.kind = FP_TICK, .now_us = now_us};
    const unsigned first = run_step(run, &e), last = run->outs_n;

    for (unsigned i = first; i < last; i++) {
        if (run->outs[i].kind != FP_ASK_END)
            continue;
        const int32_t p = run->outs[i].partition;
        const struct fp_event answer = {
            .kind = FP_END_OFFSET, .now_us = now_us, .partition = p, .offset = next[p]};
        (void)run_step(run, &answer);
    }
}

/* Feeds the first n records; ticks come after records chosen by their number, so that two runs tick
 * at the same places. */
static void run_log(const struct scenario *s, struct log *log, unsigned n, struct run *run)
{
    int64_t next[PARTITIONS] = {0};

    run_start(run, &s->params);
    for (int32_t p = 0; p < PARTITIONS; p++)
        run_own(run, p);
    for (unsigned i = 0; i < n; i++) {
        struct record *r = &log->records[i];
        const struct fp_event e = record_event(r);
        (void)run_step(run, &e);
        next[r->partition] = r->offset + 1;
        if (i % 16 == s->seed % 16)
            tick(run, r->kafka_us, next);
    }
}

static unsigned symbol_of(const struct out *o)
{
    for (unsigned i = 0; i < SYMBOLS; i++) {
        if (strcmp(o->symbol, names[i]) == 0)
            return i;
    }
    fail_msg("no such symbol: %s", o->symbol);
    return 0;
}

static void sort_out(const struct scenario *s, const struct run *run, struct result *ret)
{
    memset(ret, 0, sizeof *ret);
    for (unsigned i = 0; i < run->outs_n; i++) {
        const struct out *o = &run->outs[i];
        if (o->kind != FP_EMIT_BAR && o->kind != FP_EMIT_FEATURE)
            continue;
        const unsigned k = symbol_of(o);
        const int64_t bar = (o->bar_time_us - (T0 - s->bar_us)) / s->bar_us;
        if (bar < 0 || bar >= BARS_MAX)
            continue; /* a late record as the first of all: far away, and not looked at */
        bool *has = o->kind == FP_EMIT_BAR ? &ret->has_bar[k][bar] : &ret->has_feature[k][bar];
        if (*has)
            fail_msg("seed %lu: %s bar %d twice", (unsigned long)s->seed, o->symbol, (int)bar);
        *has = true;
        *(o->kind == FP_EMIT_BAR ? &ret->bars[k][bar] : &ret->features[k][bar]) = *o;
    }
}

/* ---- the future changes, the past does not ---- */

/* Changes one record, whose event time is in the future, within its place in the order. */
static bool change(struct record *r, int64_t low_us, int64_t high_us, double *mid, uint64_t *rng)
{
    switch (test_below(rng, 8)) {
    case 0:
        return false; /* drop it */
    case 1:
        spoil(r, rng);
        break;
    case 2:
        r->snapshot.epoch += 1 + test_below(rng, 3);
        break;
    case 3:
        r->snapshot.sequence -= test_below(rng, 3);
        break;
    case 4:
        r->snapshot.event_time_us = low_us + (high_us - low_us) * test_below(rng, 101) / 100;
        r->snapshot.received_time_us = r->snapshot.event_time_us;
        break;
    default:
        make_book(r, mid, rng);
        break;
    }
    return true;
}

static int64_t later_time(const struct log *log, unsigned from, const char *symbol, int64_t none_us)
{
    for (unsigned i = from; i < log->n; i++) {
        if (log->records[i].symbol == symbol)
            return log->records[i].snapshot.event_time_us;
    }
    return none_us;
}

/* A copy in which snapshots with event_time ≥ cut are others, or gone. The order of event times
 * stays. */
static void change_future(struct scenario *s, int64_t cut_us)
{
    const unsigned often = 1 + test_below(&s->rng, 3) * test_below(&s->rng, 20);
    int64_t low_us[SYMBOLS];
    double mid = 150;

    for (unsigned i = 0; i < SYMBOLS; i++)
        low_us[i] = cut_us;
    t.changed.n = 0;
    for (unsigned i = 0; i < t.base.n; i++) {
        struct record *r = &t.changed.records[t.changed.n];
        *r = t.base.records[i];
        t.changed.n++;
        if (r->snapshot.event_time_us < cut_us)
            continue;
        unsigned k = 0;
        while (names[k] != r->symbol)
            k++;
        const int64_t high_us =
            later_time(&t.base, i + 1, r->symbol, r->snapshot.event_time_us + 100 * S);
        if (once_in(&s->rng, often) && !change(r, low_us[k], high_us, &mid, &s->rng))
            t.changed.n--;
        else
            low_us[k] = r->snapshot.event_time_us;
    }
}

static bool same_columns(const struct out *a, const struct out *b)
{
    return a->row.present == b->row.present &&
           memcmp(a->row.value, b->row.value, sizeof a->row.value) == 0;
}

static bool same_bar(const struct out *a, const struct out *b)
{
    return same_columns(a, b) && a->snapshots == b->snapshots && a->gaps == b->gaps &&
           memcmp(&a->coverage, &b->coverage, sizeof a->coverage) == 0 &&
           a->sketch_hash == b->sketch_hash;
}

static void compare(const struct scenario *s, int64_t cut_us)
{
    const int64_t last_us = cut_us - s->bar_us + s->params.l2.purge_bars * s->bar_us;

    for (unsigned k = 0; k < SYMBOLS; k++) {
        for (unsigned i = 0; i < BARS_MAX; i++) {
            const int64_t bar_us = T0 + ((int64_t)i - 1) * s->bar_us;
            const struct out *a = &t.before.features[k][i], *b = &t.after.features[k][i];
            const bool both = t.before.has_feature[k][i] && t.after.has_feature[k][i];
            const bool equal = a->source_bar_time_us == b->source_bar_time_us && same_columns(a, b);
            if (both && bar_us <= last_us && !equal)
                fail_msg("seed %lu: %s: the feature record of bar %u knows the future",
                         (unsigned long)s->seed, names[k], i);
            if (t.before.has_bar[k][i] && t.after.has_bar[k][i] && bar_us + s->bar_us <= cut_us &&
                !same_bar(&t.before.bars[k][i], &t.after.bars[k][i]))
                fail_msg("seed %lu: %s: bar %u knows the future", (unsigned long)s->seed, names[k],
                         i);
            t.compared += both && bar_us <= last_us;
            t.compared_values +=
                both && bar_us <= last_us && a->row.present == (1 << L2_COLUMNS) - 1;
            t.moved += both && bar_us > last_us && !equal;
        }
    }
}

static void check_future(uint64_t seed)
{
    struct scenario s = make_scenario(seed);
    struct run run;

    s.in_order = true;
    make_log(&s, &t.base);
    run_log(&s, &t.base, t.base.n, &run);
    sort_out(&s, &run, &t.before);
    run_stop(&run);
    for (int round = 0; round < 2; round++) {
        const unsigned bars = (unsigned)((s.end_us - T0) / s.bar_us);
        const int64_t cut_us = T0 + s.bar_us * (1 + test_below(&s.rng, round == 0 ? 6 : bars));
        change_future(&s, cut_us);
        run_log(&s, &t.changed, t.changed.n, &run);
        sort_out(&s, &run, &t.after);
        run_stop(&run);
        compare(&s, cut_us);
    }
}

/* ---- streams of any order ---- */

/*
 * Each feature record is, to the bit, the bar that was emitted purge bars before it, or nulls where
 * there was none: nothing that came between the two closes touched it.
 */
static void check_sources(const struct scenario *s, const struct result *r)
{
    for (unsigned k = 0; k < SYMBOLS; k++) {
        for (unsigned i = 0; i < BARS_MAX; i++) {
            const struct out *f = &r->features[k][i];
            if (r->has_feature[k][i] != r->has_bar[k][i])
                fail_msg("seed %lu: %s bar %u: a bar without its feature", (unsigned long)s->seed,
                         names[k], i);
            if (!r->has_feature[k][i] || i < s->params.l2.purge_bars)
                continue;
            const unsigned source = i - s->params.l2.purge_bars;
            const bool right =
                r->has_bar[k][source] ? same_columns(f, &r->bars[k][source]) : f->row.present == 0;
            if (!right || f->source_bar_time_us != T0 + ((int64_t)source - 1) * s->bar_us)
                fail_msg("seed %lu: %s bar %u: not the bar of purge bars ago",
                         (unsigned long)s->seed, names[k], i);
        }
    }
}

/* Whatever comes after record n, the first n give the same actions, byte by byte. */
static void check_prefix(uint64_t seed)
{
    struct scenario s = make_scenario(seed);
    struct run whole, part, other;
    double mid = 150;

    make_log(&s, &t.base);
    run_log(&s, &t.base, t.base.n, &whole);
    sort_out(&s, &whole, &t.before);
    check_sources(&s, &t.before);
    const unsigned n = test_below(&s.rng, t.base.n);
    run_log(&s, &t.base, n, &part);
    for (unsigned i = n; i < t.base.n; i++)
        (void)change(&t.base.records[i], T0, s.end_us, &mid, &s.rng);
    run_log(&s, &t.base, t.base.n, &other);
    const size_t bytes = part.outs_n * sizeof(struct out);
    if (part.outs_n > whole.outs_n || memcmp(part.outs, whole.outs, bytes) != 0)
        fail_msg("seed %lu: the first %u records alone give something else", (unsigned long)seed,
                 n);
    if (part.outs_n > other.outs_n || memcmp(part.outs, other.outs, bytes) != 0)
        fail_msg("seed %lu: what came after record %u changed what was sent", (unsigned long)seed,
                 n);
    run_stop(&whole);
    run_stop(&part);
    run_stop(&other);
}

static uint64_t first_seed = 1, last_seed = SEEDS;

static void leakage_future_changes_no_record(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed <= last_seed; seed++)
        check_future(seed);
    print_message("%lu records compared, %lu of them without a null; %lu later ones changed\n",
                  t.compared, t.compared_values, t.moved);
    if (last_seed - first_seed > 100) /* the test looks at something */
        assert_true(t.compared_values > 4000 && t.moved > 2500);
}

/* Seen to fail with the past ring one bar too short, and with the purge one bar too short. */
static void leakage_later_records_change_nothing_sent(void **state)
{
    (void)state;
    for (uint64_t seed = first_seed; seed <= last_seed; seed++)
        check_prefix(seed);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(leakage_future_changes_no_record),
        cmocka_unit_test(leakage_later_records_change_nothing_sent),
    };

    if (argc > 1)
        first_seed = last_seed = strtoull(argv[1], NULL, 10);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
