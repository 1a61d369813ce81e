/*
 * The producer's core on virtual time under a seeded scheduler: three replicas read in batches of
 * any size, are answered late or never, commit late, crash with their transactions applied or not,
 * hand partitions to each other or lose them without knowing, and begin again from what was
 * committed. What they emitted must be what one quiet run over the same log and the same recorded
 * clock closes emits: every bar, feature and dead letter, once, in order, to the bit. A failure
 * prints its seed: sim_fp 1 SEED runs that one alone. Seen to fail on: dead letters not muted below
 * the committed offset; snapshots_from one record too late; the checkpoint's seed dropped; recorded
 * clock closes ignored; a clock close that does not wait for the answer; retired symbols forgotten
 * at once; a zombie that is not fenced. Of adoptions: snapshots_from not held for the run of late
 * ones, nor afterwards for the new timeline; late ones below the checkpoint not counted; the
 * earlier timeline's end taken from the newest bar instead of by the offsets, and its clock closes
 * obeyed.
 */
#include "sim_feed.h"

#include <assert.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OUTPUTS_MAX 60000
#define WORKERS 3
#define START_US (INT64_C(1700000000) * L2_US_PER_S)

enum output_kind { OUT_BAR, OUT_FEATURE, OUT_DEAD };

struct output {
    enum output_kind kind;
    int32_t partition;
    unsigned symbol;
    struct fp_action action;
    uint64_t sketch_hash;
};

struct outputs {
    struct output v[OUTPUTS_MAX];
    unsigned n;
};

struct topic_bar {
    struct l2_past_bar bar;
    unsigned symbol;
};

/* What a broker keeps: committed positions and the three topics, per partition. */
struct broker {
    struct outputs log[FEED_PARTITIONS];
    struct topic_bar bars[FEED_PARTITIONS][OUTPUTS_MAX];
    unsigned bars_n[FEED_PARTITIONS];
    int64_t bars_end[FEED_PARTITIONS];
    struct fp_position committed[FEED_PARTITIONS];
    bool has_committed[FEED_PARTITIONS];
};

/* One replica of the service, as its own process has it. */
struct worker {
    struct fp_core *core;
    struct outputs open, inflight;
    struct fp_position inflight_positions[FEED_PARTITIONS];
    bool inflight_has[FEED_PARTITIONS];
    bool committing;
    unsigned next[FEED_PARTITIONS]; /* index of the next record to hand out */
    bool asked[FEED_PARTITIONS];
    int64_t asked_us[FEED_PARTITIONS], told_end[FEED_PARTITIONS];
};

struct sim {
    uint64_t seed;
    struct sim_rng rng;
    struct fp_params params;
    struct feed feed;
    struct broker broker;
    struct worker workers[WORKERS];
    struct worker *w; /* whose turn it is */
    struct worker *owner[FEED_PARTITIONS]; /* as the group has it; a zombie has not heard of it */
    uint64_t fenced; /* commits of zombies, over all seeds */
    int64_t now_us;
    uint64_t adopted; /* streams, over all seeds */
    struct fp_update update;
};

static struct sim sim;

#define CHECK(cond, ...)                                                                           \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "seed %" PRIu64 ": %s:%d: %s: ", sim.seed, __FILE__, __LINE__, #cond); \
            fprintf(stderr, __VA_ARGS__);                                                          \
            fprintf(stderr, "\n");                                                                 \
            exit(1);                                                                               \
        }                                                                                          \
    } while (0)

static unsigned symbol_of(struct fp_name name)
{
    for (unsigned i = 0; i < FEED_SYMBOLS; i++) {
        const struct fp_name n = feed_symbol(i);
        if (n.n == name.n && memcmp(n.data, name.data, n.n) == 0)
            return i;
    }
    CHECK(false, "an unknown symbol was emitted");
    return 0;
}

static uint64_t hash_bytes(const uint8_t *bytes, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void keep(struct outputs *into, enum output_kind kind, const struct fp_action *a)
{
    CHECK(into->n < OUTPUTS_MAX, "outputs");
    struct output *o = &into->v[into->n++];

    *o = (struct output){.kind = kind, .partition = a->partition, .action = *a};
    if (kind != OUT_DEAD)
        o->symbol = symbol_of(a->symbol);
    if (kind == OUT_BAR)
        o->sketch_hash = hash_bytes(a->sketch, a->sketch_n);
}

/* No answer, no close; and what the clock closed had been read up to the end told after the symbol
 * was idle. */
static void check_clock_close(const struct fp_action *a)
{
    const int32_t p = a->partition;
    const struct l2_resume *last = &a->bar.resume;
    const int64_t idle_us = last->last_event_us + (sim.w->asked_us[p] - last->last_kafka_us);

    CHECK(sim.w->told_end[p] >= 0, "a clock close without an answer");
    CHECK(a->source_offset >= sim.w->told_end[p], "a clock close before the end was read");
    CHECK(idle_us >=
              a->bar.bar_time_us + sim.params.l2.bar_s * L2_US_PER_S + sim.params.close_grace_us,
          "a clock close of a symbol that was not idle when the end was asked for");
}

static void gather(struct outputs *into, bool live)
{
    for (unsigned i = 0; i < sim.update.n; i++) {
        const struct fp_action *a = &sim.update.actions[i];
        switch (a->kind) {
        case FP_EMIT_BAR:
            if (live && a->closed_by_clock)
                check_clock_close(a);
            keep(into, OUT_BAR, a);
            break;
        case FP_EMIT_FEATURE:
            keep(into, OUT_FEATURE, a);
            break;
        case FP_DEAD_LETTER:
            keep(into, OUT_DEAD, a);
            break;
        case FP_ASK_END:
            sim.w->asked[a->partition] = true;
            sim.w->asked_us[a->partition] = sim.now_us;
            sim.w->told_end[a->partition] = -1;
            break;
        case FP_ADOPTED:
            sim.adopted += live;
            break;
        case FP_NO_PLACE:
            CHECK(false, "l2.bars names more symbols than there is room for");
            break;
        case FP_HEARTBEAT:
        case FP_RETIRED:
            break;
        }
    }
}

/* What one record puts out in one piece has a bound, whatever else it sets off: the closes of its
 * own symbol. */
static void check_piece(unsigned outputs)
{
    const uint32_t bars = sim.params.l2.symbol_ttl_s / sim.params.l2.bar_s + 2;

    CHECK(outputs <= 2 * bars + FP_ACTIONS_MAX, "%u outputs that no commit may split", outputs);
}

static void step(struct fp_core *core, const struct fp_event *event, struct outputs *into,
                 bool live)
{
    unsigned start = into->n;

    for (fp_core_step(core, event, &sim.update);; fp_core_continue(core, &sim.update)) {
        gather(into, live);
        if (event->kind == FP_SNAPSHOT || event->kind == FP_DEAD_BYTES)
            check_piece(into->n - start);
        if (sim.update.splittable)
            start = into->n;
        if (!sim.update.more)
            return;
    }
}

/* ---- the broker ---- */

static int64_t end_offset(int32_t p)
{
    const struct feed *f = &sim.feed;
    unsigned i = 0;

    while (i < f->n[p] && f->records[p][i].kafka_us <= sim.now_us)
        i++;
    return i == f->n[p] ? (i == 0 ? 0 : f->records[p][i - 1].offset + 1) : f->records[p][i].offset;
}

static void crash(void);

/* A commit of positions that the group has given to another is refused whole, and its process ends.
 */
static bool is_fenced(void)
{
    for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
        if (fp_core_owns(sim.w->core, p) && sim.owner[p] != sim.w)
            return true;
    }
    return false;
}

static void begin_commit(void)
{
    if (is_fenced()) {
        sim.fenced++;
        crash();
        return;
    }
    sim.w->inflight.n = sim.w->open.n;
    memcpy(sim.w->inflight.v, sim.w->open.v, sim.w->open.n * sizeof sim.w->open.v[0]);
    sim.w->open.n = 0;
    sim.w->committing = true;
    for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
        sim.w->inflight_has[p] =
            fp_core_owns(sim.w->core, p) && !fp_core_is_restoring(sim.w->core, p);
        if (!sim.w->inflight_has[p])
            continue;
        sim.w->inflight_positions[p] = fp_core_position(sim.w->core, p);
        const struct fp_position *pos = &sim.w->inflight_positions[p],
                                 *was = &sim.broker.committed[p];
        CHECK(pos->snapshots_from <= pos->offset, "snapshots_from past the offset");
        if (sim.broker.has_committed[p]) {
            CHECK(pos->offset >= was->offset, "the position went back");
        }
    }
}

static void store(const struct output *o)
{
    struct broker *b = &sim.broker;
    const int32_t p = o->partition;
    const struct fp_action *a = &o->action;

    b->log[p].v[b->log[p].n++] = *o;
    CHECK(sim.w->inflight_has[p],
          "kind %d symbol %u bar %" PRId64 " from offset %" PRId64
          ": a partition without a position",
          o->kind, o->symbol, a->bar.bar_time_us, a->source_offset);
    if (o->kind != OUT_BAR)
        return;
    b->bars[p][b->bars_n[p]++] = (struct topic_bar){
        .symbol = o->symbol,
        .bar = {.bar_time_us = a->bar.bar_time_us,
                .row = a->bar.row,
                .closed_by_clock = a->closed_by_clock,
                .resume = a->bar.resume,
                .source_offset = a->source_offset,
                .bars_offset = b->bars_end[p],
                .anchor_offset = -1},
    };
    b->bars_end[p]++;
}

static void end_commit(bool deliver)
{
    for (unsigned i = 0; i < sim.w->inflight.n; i++) {
        const struct output *o = &sim.w->inflight.v[i];
        const int64_t offset = sim.broker.bars_end[o->partition];
        store(o);
        if (deliver && o->kind == OUT_BAR) {
            const struct fp_event delivered = {.kind = FP_DELIVERED,
                                               .partition = o->partition,
                                               .offset = offset,
                                               .tag = o->action.tag};
            step(sim.w->core, &delivered, &sim.w->open, true);
        }
    }
    for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
        sim.broker.bars_end[p]++; /* the transaction's control record */
        if (!sim.w->inflight_has[p])
            continue;
        sim.broker.committed[p] = sim.w->inflight_positions[p];
        sim.broker.has_committed[p] = true;
    }
    sim.w->committing = false;
    sim.w->inflight.n = 0;
}

/* ---- the service's part ---- */

static void assign(int32_t p)
{
    const struct broker *b = &sim.broker;
    const struct fp_position *c = &b->committed[p];
    const bool has = b->has_committed[p];
    struct fp_event start = {.kind = FP_START, .partition = p, .bars_next = b->bars_end[p]};

    if (has) {
        start.offset = c->snapshots_from;
        start.committed = c->offset;
    }
    for (unsigned i = 0; i < b->bars_n[p]; i++) {
        const struct topic_bar *t = &b->bars[p][i];
        if (has && t->bar.bars_offset < c->bars_from)
            continue;
        const struct fp_event past = {.kind = FP_PAST_BAR,
                                      .partition = p,
                                      .offset = start.offset,
                                      .symbol = feed_symbol(t->symbol),
                                      .past_bar = &t->bar,
                                      .log_end = has ? start.committed : end_offset(p)};
        step(sim.w->core, &past, &sim.w->open, true);
    }
    step(sim.w->core, &start, &sim.w->open, true);
    sim.w->next[p] = 0;
    while (sim.w->next[p] < sim.feed.n[p] &&
           sim.feed.records[p][sim.w->next[p]].offset < start.offset)
        sim.w->next[p]++;
    sim.w->asked[p] = false;
    sim.w->told_end[p] = -1;
}

/* The process ends, and begins again with what the group gives it. */
static void crash(void)
{
    struct err err;

    if (sim.w->committing && !is_fenced() && sim_once_in(&sim.rng, 2))
        end_commit(false); /* the broker had it all; nobody was told */
    sim.w->committing = false;
    sim.w->inflight.n = sim.w->open.n = 0;
    fp_core_free(sim.w->core);
    CHECK(fp_core_new(&sim.params, &sim.w->core, &err) == ERR_OK, "%s", err.text);
    for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
        if (sim.owner[p] == sim.w)
            assign(p);
    }
}

static void commit_all(void)
{
    if (sim.w->committing)
        end_commit(true);
    begin_commit();
    if (sim.w->committing)
        end_commit(true);
}

/*
 * The group gives a partition to another replica (or to the same again). Mostly its owner is told,
 * and commits before; else it goes on with it as a zombie, until its next commit: what it has under
 * way then has happened already, or never will.
 */
static void hand_over(void)
{
    const int32_t p = (int32_t)sim_below(&sim.rng, FEED_PARTITIONS);
    struct worker *heir = &sim.workers[sim_below(&sim.rng, WORKERS)];

    sim.w = sim.owner[p];
    if (heir == sim.w || sim_once_in(&sim.rng, 2)) {
        commit_all();
        const struct fp_event stop = {.kind = FP_STOP, .partition = p};
        step(sim.w->core, &stop, &sim.w->open, true);
        CHECK(!fp_core_owns(sim.w->core, p), "stopped");
    } else if (sim.w->committing) {
        if (sim_once_in(&sim.rng, 2)) {
            end_commit(true);
        } else {
            sim.owner[p] = heir; /* the transaction is aborted, the process fenced */
            crash();
        }
    }
    sim.owner[p] = heir;
    sim.w = heir;
    if (fp_core_owns(heir->core, p))
        crash(); /* it had been a zombie for it, and is one no more */
    else
        assign(p);
}

static void poll(int32_t p, unsigned records_max)
{
    const struct feed *f = &sim.feed;

    if (!fp_core_owns(sim.w->core, p))
        return;
    for (unsigned k = 0; k < records_max; k++) {
        if (sim.w->next[p] == f->n[p] || f->records[p][sim.w->next[p]].kafka_us > sim.now_us) {
            const struct fp_event end = {
                .kind = FP_END, .now_us = sim.now_us, .partition = p, .offset = end_offset(p)};
            step(sim.w->core, &end, &sim.w->open, true);
            return;
        }
        const struct fp_event e = feed_event(f, p, sim.w->next[p]++, sim.now_us);
        step(sim.w->core, &e, &sim.w->open, true);
    }
}

static void tick(void)
{
    const struct fp_event e = {.kind = FP_TICK, .now_us = sim.now_us};
    const struct fp_event beat = {.kind = FP_HEARTBEAT_DUE, .now_us = sim.now_us};

    step(sim.w->core, &e, &sim.w->open, true);
    step(sim.w->core, &beat, &sim.w->open, true);
}

static void answer(int32_t p)
{
    const struct fp_event e = {
        .kind = FP_END_OFFSET, .now_us = sim.now_us, .partition = p, .offset = end_offset(p)};

    if (!sim.w->asked[p] || !fp_core_owns(sim.w->core, p))
        return;
    sim.w->asked[p] = false;
    sim.w->told_end[p] = e.offset;
    step(sim.w->core, &e, &sim.w->open, true);
}

static void random_act(void)
{
    struct sim_rng *rng = &sim.rng;

    sim.w = sim_once_in(rng, 4) ? &sim.workers[sim_below(rng, WORKERS)]
                                : sim.owner[sim_below(rng, FEED_PARTITIONS)];
    switch (sim_below(rng, 16)) {
    case 0:
        sim.now_us += (int64_t)sim_below(rng, 2000) * 1000;
        break;
    case 1:
        if (sim_once_in(rng, 4))
            sim.now_us +=
                (int64_t)sim_below(rng, 100) * (sim_once_in(rng, 10) ? 40 : 1) * L2_US_PER_S;
        break;
    case 2:
    case 3:
        tick();
        break;
    case 4:
    case 5:
        answer((int32_t)sim_below(rng, FEED_PARTITIONS));
        break;
    case 6:
    case 7:
        if (!sim.w->committing)
            begin_commit();
        break;
    case 8:
        if (sim.w->committing)
            end_commit(true);
        break;
    case 9:
        if (sim_once_in(rng, 12))
            crash();
        break;
    case 10:
        if (sim_once_in(rng, 20))
            hand_over();
        break;
    default:
        poll((int32_t)sim_below(rng, FEED_PARTITIONS), 1 + sim_below(rng, 20));
        break;
    }
}

static bool is_done(void)
{
    for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
        if (sim.owner[p]->next[p] < sim.feed.n[p])
            return false;
    }
    return true;
}

/* ---- the quiet run ---- */

static void close_recorded(struct fp_core *core, int32_t p, int64_t offset, unsigned *at,
                           struct outputs *into)
{
    const struct broker *b = &sim.broker;

    for (; *at < b->bars_n[p] && b->bars[p][*at].bar.source_offset <= offset; (*at)++) {
        const struct topic_bar *t = &b->bars[p][*at];
        const struct fp_event close = {.kind = FP_CLOSE,
                                       .partition = p,
                                       .offset = t->bar.source_offset,
                                       .symbol = feed_symbol(t->symbol),
                                       .bar_time_us = t->bar.bar_time_us};
        if (t->bar.closed_by_clock)
            step(core, &close, into, false);
    }
}

static void run_quietly(int32_t p, struct outputs *into)
{
    struct fp_core *core;
    struct err err;
    unsigned at = 0;
    const struct fp_event start = {.kind = FP_START, .partition = p};

    CHECK(fp_core_new(&sim.params, &core, &err) == ERR_OK, "%s", err.text);
    into->n = 0;
    step(core, &start, into, false);
    for (unsigned i = 0; i < sim.feed.n[p]; i++) {
        const struct fp_event e = feed_event(&sim.feed, p, i, sim.feed.records[p][i].kafka_us);
        close_recorded(core, p, e.offset, &at, into);
        step(core, &e, into, false);
    }
    close_recorded(core, p, INT64_MAX, &at, into);
    fp_core_free(core);
}

static bool next_of(const struct outputs *o, unsigned *at, enum output_kind kind, unsigned symbol)
{
    for (; *at < o->n; (*at)++) {
        if (o->v[*at].kind == kind && (kind == OUT_DEAD || o->v[*at].symbol == symbol))
            return true;
    }
    return false;
}

static bool equal_rows(const struct l2_row *a, const struct l2_row *b)
{
    return a->present == b->present && memcmp(a->value, b->value, sizeof a->value) == 0;
}

static void compare_one(const struct output *a, const struct output *b)
{
    const struct fp_action *x = &a->action, *y = &b->action;
    const int64_t time = a->kind == OUT_BAR ? x->bar.bar_time_us : x->bar_time_us;

    CHECK(x->source_offset == y->source_offset,
          "kind %d symbol %u bar %" PRId64 ": offset %" PRId64 " against %" PRId64, a->kind,
          a->symbol, time, x->source_offset, y->source_offset);
    CHECK(x->reject == y->reject, "dead letter %" PRId64, x->source_offset);
    CHECK(x->closed_by_clock == y->closed_by_clock, "symbol %u bar %" PRId64 ": closed by",
          a->symbol, time);
    CHECK(equal_rows(&x->row, &y->row) && x->bar_time_us == y->bar_time_us &&
              x->source_bar_time_us == y->source_bar_time_us &&
              x->last_event_us == y->last_event_us,
          "symbol %u: feature of %" PRId64, a->symbol, time);
    CHECK(x->bar.bar_time_us == y->bar.bar_time_us && equal_rows(&x->bar.row, &y->bar.row),
          "symbol %u: row of bar %" PRId64, a->symbol, time);
    CHECK(x->bar.snapshots == y->bar.snapshots && x->bar.gaps == y->bar.gaps,
          "symbol %u: counts of bar %" PRId64 ": %" PRIu64 " %" PRIu64 " against %" PRIu64
          " %" PRIu64,
          a->symbol, time, x->bar.snapshots, x->bar.gaps, y->bar.snapshots, y->bar.gaps);
    CHECK(memcmp(&x->bar.coverage, &y->bar.coverage, sizeof x->bar.coverage) == 0,
          "symbol %u: coverage of bar %" PRId64 ": %.9f against %.9f, last %" PRId64
          " source %" PRId64,
          a->symbol, time, x->bar.coverage, y->bar.coverage, x->bar.resume.last_event_us,
          x->source_offset);
    CHECK(memcmp(&x->bar.resume, &y->bar.resume, sizeof x->bar.resume) == 0,
          "symbol %u: resume of bar %" PRId64, a->symbol, time);
    CHECK(a->sketch_hash == b->sketch_hash, "symbol %u: sketch of bar %" PRId64, a->symbol, time);
}

static void compare(int32_t p, enum output_kind kind, unsigned symbol, const struct outputs *got,
                    const struct outputs *want)
{
    unsigned i = 0, j = 0;

    for (;; i++, j++) {
        const bool has_got = next_of(got, &i, kind, symbol),
                   has_want = next_of(want, &j, kind, symbol);
        CHECK(has_got == has_want, "partition %d kind %d symbol %u: %s", p, kind, symbol,
              has_got ? "something doubled" : "something lost");
        if (!has_got)
            return;
        compare_one(&got->v[i], &want->v[j]);
    }
}

static void start_workers(void)
{
    struct err err;

    for (int32_t p = 0; p < FEED_PARTITIONS; p++)
        sim.owner[p] = &sim.workers[p % WORKERS];
    for (unsigned i = 0; i < WORKERS; i++) {
        sim.w = &sim.workers[i];
        sim.w->committing = false;
        sim.w->open.n = sim.w->inflight.n = 0;
        CHECK(fp_core_new(&sim.params, &sim.w->core, &err) == ERR_OK, "%s", err.text);
        for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
            if (sim.owner[p] == sim.w)
                assign(p);
        }
    }
}

static void run_seed(uint64_t seed)
{
    static const uint32_t bars[] = {60, 60, 300}, windows[] = {60, 120, 300, 600},
                          purges[] = {0, 1, 3, 8};
    static struct outputs quiet;

    memset(&sim.broker.bars_n, 0, sizeof sim.broker.bars_n);
    memset(&sim.broker.bars_end, 0, sizeof sim.broker.bars_end);
    memset(&sim.broker.has_committed, 0, sizeof sim.broker.has_committed);
    sim.broker.log[0].n = sim.broker.log[1].n = 0;
    sim.seed = seed;
    sim.rng.state = seed;
    sim.params = (struct fp_params){.l2 = l2_params_default(),
                                    .symbols_max = 16,
                                    .partitions_n = FEED_PARTITIONS,
                                    .close_grace_us = 10 * L2_US_PER_S,
                                    .scan_us = L2_US_PER_S,
                                    .catching_up_us = 2 * L2_US_PER_S,
                                    .exchange = "x"};
    sim.params.l2.bar_s = bars[sim_below(&sim.rng, 3)];
    sim.params.l2.window_s = windows[sim_below(&sim.rng, 4)];
    sim.params.l2.purge_bars = purges[sim_below(&sim.rng, 4)];
    sim.params.l2.samples_min = 5;
    sim.params.l2.symbol_ttl_s = 3600;
    feed_make(&sim.feed, &sim.rng, 300 + sim_below(&sim.rng, 900), START_US);
    sim.now_us = START_US;
    start_workers();
    while (!is_done())
        random_act();
    for (int i = 0; i < 40; i++)
        random_act();
    for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
        sim.w = sim.owner[p];
        if (is_fenced())
            crash();
        poll(p, FEED_RECORDS_MAX);
        commit_all();
    }
    for (int32_t p = 0; p < FEED_PARTITIONS; p++) {
        run_quietly(p, &quiet);
        compare(p, OUT_DEAD, 0, &sim.broker.log[p], &quiet);
        for (unsigned symbol = 0; symbol < FEED_SYMBOLS; symbol++) {
            compare(p, OUT_BAR, symbol, &sim.broker.log[p], &quiet);
            compare(p, OUT_FEATURE, symbol, &sim.broker.log[p], &quiet);
        }
    }
    for (unsigned i = 0; i < WORKERS; i++)
        fp_core_free(sim.workers[i].core);
}

int main(int argc, char **argv)
{
    const uint64_t n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000;
    const uint64_t first = argc > 2 ? strtoull(argv[2], NULL, 10) : 1;
    uint64_t bars = 0;

    for (uint64_t seed = first; seed < first + n; seed++) {
        run_seed(seed);
        bars += sim.broker.bars_n[0] + sim.broker.bars_n[1];
    }
    printf("%" PRIu64 " seeds, %" PRIu64 " bars, %" PRIu64 " streams adopted, %" PRIu64
           " zombies fenced: each run equals its quiet run\n",
           n, bars, sim.adopted, sim.fenced);
    CHECK(n < 1000 || sim.fenced > n / 10, "partitions hardly ever change hands behind a back");
    CHECK(n < 1000 || sim.adopted > n / 10, "streams are hardly ever restarted");
    return 0;
}
