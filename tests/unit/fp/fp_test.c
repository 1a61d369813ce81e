#include "fp_test.h"

struct fp_params test_params(uint32_t partitions)
{
    return (struct fp_params){
        .l2 = l2_params_default(),
        .symbols_max = 100,
        .partitions_n = partitions,
        .close_grace_us = 10 * S,
        .scan_us = S,
        .catching_up_us = 30 * S,
        .exchange = "x",
    };
}

void run_start(struct run *run, const struct fp_params *params)
{
    struct err err;

    *run = (struct run){.outs = calloc(OUTS_MAX, sizeof *run->outs)};
    assert_non_null(run->outs);
    assert_int_equal(fp_core_new(params, &run->core, &err), ERR_OK);
}

void run_stop(struct run *run)
{
    fp_core_free(run->core);
    free(run->outs);
}

static uint64_t hash_of(const uint8_t *bytes, size_t n)
{
    uint64_t h = UINT64_C(0xcbf29ce484222325);

    for (size_t i = 0; i < n; i++)
        h = (h ^ bytes[i]) * UINT64_C(0x100000001b3);
    return h;
}

static void keep(struct run *run, const struct fp_action *a)
{
    assert_true(run->outs_n < OUTS_MAX);
    struct out *o = &run->outs[run->outs_n++];

    assert_true(a->symbol.n <= L2_SYMBOL_BYTES_MAX);
    memset(o, 0, sizeof *o);
    o->kind = a->kind;
    o->partition = a->partition;
    if (a->symbol.n > 0)
        memcpy(o->symbol, a->symbol.data, a->symbol.n);
    o->source_offset = a->source_offset;
    o->reject = a->reject;
    o->state = a->state;
    o->last_event_us = a->last_event_us;
    o->no_bars_until_us = a->no_bars_until_us;
    o->bar_time_us = a->bar_time_us;
    o->source_bar_time_us = a->source_bar_time_us;
    const struct l2_row *row = a->kind == FP_EMIT_BAR ? &a->bar.row : &a->row;
    memcpy(o->row.value, row->value, sizeof row->value);
    o->row.present = row->present;
    if (a->kind != FP_EMIT_BAR)
        return;
    o->bar_time_us = a->bar.bar_time_us;
    o->snapshots = a->bar.snapshots;
    o->gaps = a->bar.gaps;
    o->coverage = a->bar.coverage;
    o->last_event_us = a->bar.resume.last_event_us;
    o->by_clock = a->closed_by_clock;
    o->tag = a->tag;
    o->sketch_hash = hash_of(a->sketch, a->sketch_n);
}

unsigned run_step(struct run *run, const struct fp_event *event)
{
    static struct fp_update u; /* 64 actions: too large for a stack that is zeroed */
    const unsigned first = run->outs_n;

    for (fp_core_step(run->core, event, &u);; fp_core_continue(run->core, &u)) {
        assert_true(u.n <= FP_ACTIONS_MAX);
        for (unsigned i = 0; i < u.n; i++)
            keep(run, &u.actions[i]);
        run->updates_n += u.n > 0;
        if (!u.more)
            return first;
    }
}

void assert_nothing(const struct run *run, unsigned first)
{
    assert_int_equal(run->outs_n, first);
}

void run_own(struct run *run, int32_t partition)
{
    const struct fp_event e = {.kind = FP_START, .partition = partition};

    assert_nothing(run, run_step(run, &e));
}

void record_book(struct record *r, double mid)
{
    for (int i = 0; i < TEST_LEVELS; i++) {
        r->bids[i] = (struct l2_level){mid - 0.5 - i, 3 + i};
        r->asks[i] = (struct l2_level){mid + 0.5 + i, 4 + i};
    }
    r->snapshot.bids_n = r->snapshot.asks_n = TEST_LEVELS;
}

struct fp_event record_event(struct record *r)
{
    const struct fp_name name = {r->symbol, (uint32_t)strlen(r->symbol)};

    r->snapshot.bids = r->bids;
    r->snapshot.asks = r->asks;
    return (struct fp_event){
        .kind = r->dead ? FP_DEAD_BYTES : FP_SNAPSHOT,
        .now_us = r->kafka_us,
        .partition = r->partition,
        .offset = r->offset,
        .key = name,
        .kafka_time_us = r->kafka_us,
        .exchange = {"x", 1},
        .symbol = name,
        .snapshot = r->dead ? NULL : &r->snapshot,
        .reject = L2_REJECT_UNDECODABLE,
    };
}
