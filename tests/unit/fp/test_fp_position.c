#include "fp_market.h"

/* ---- positions ---- */

static void assert_position(const struct market *m, int64_t offset, int64_t snapshots_from,
                            int64_t bars_from)
{
    const struct fp_position p = fp_core_position(m->run.core, 0);

    assert_int_equal(p.offset, offset);
    assert_int_equal(p.snapshots_from, snapshots_from);
    assert_int_equal(p.bars_from, bars_from);
}

static void deliver(struct market *m, const struct out *bar, int64_t offset)
{
    const struct fp_event e = {
        .kind = FP_DELIVERED, .partition = bar->partition, .tag = bar->tag, .offset = offset};

    assert_nothing(&m->run, run_step(&m->run, &e));
}

/*
 * snapshots_from is the first snapshot of the open bar's window, or the one before
 * it while the link holds; bars_from the oldest bar that a coming feature needs. Seen to fail with
 * the predecessor left out, and with bars_from at the newest bar.
 */
static void position_after_a_bar(void **state)
{
    (void)state;
    for (int linked = 0; linked <= 1; linked++) {
        const struct fp_params params = test_params(1);
        struct market m;
        market_open(&m, &params);
        assert_position(&m, 0, 0, 0);
        market_give_seconds(&m, "BTC", T0 + 880 * S, T0 + 890 * S); /* offsets 0 to 9 */
        assert_position(&m, 10, 0, 0);
        (void)market_give(&m, "BTC", T0 + 898 * S); /* 10 */
        const unsigned bar = market_give(&m, "BTC", T0 + 903 * S + !linked); /* 11 */
        assert_position(&m, 12, linked ? 10 : 11,
                        0); /* where the bar stands in l2.bars is not known yet */
        deliver(&m, &m.run.outs[bar], 70);
        assert_position(&m, 12, linked ? 10 : 11, 70);
        const unsigned second = market_give(&m, "BTC", T0 + 1800 * S); /* 12 */
        deliver(&m, &m.run.outs[second], 73);
        assert_position(&m, 13, 12, 70); /* 20 bars back are needed */
        run_stop(&m.run);
    }
}

/* A slow symbol holds the partition's least back; a window of three bars reaches three bars back;
 * the least offset counts. */
static void position_is_the_least(void **state)
{
    (void)state;
    struct fp_params params = test_params(1);
    struct market m;

    params.l2.bar_s = 300;
    market_open(&m, &params);
    (void)market_give(&m, "ETH",
                      T0 + 1200 * S); /* offset 0: a symbol far ahead, alone in its bar */
    assert_position(&m, 1, 0, 0);
    (void)market_give(&m, "ETH", T0 + 2400 * S); /* 1 */
    assert_position(&m, 2, 1, 0);
    (void)market_give(&m, "BTC", T0); /* 2 */
    (void)market_give(&m, "ETH", T0 + 3600 * S); /* 3 */
    assert_position(&m, 4, 2, 0);
    for (int64_t bar = 1; bar <= 2; bar++) {
        (void)market_give(&m, "BTC", T0 + bar * 300 * S);
        assert_position(&m, 4 + bar, 2, 0);
    }
    (void)market_give(&m, "BTC", T0 + 900 * S); /* 6: the open bar's window is [300 s, 1200 s) */
    assert_position(&m, 7, 3, 0);
    run_stop(&m.run);
}

/* Provenance says where the next record stands; a delivered bar of another symbol's does not move
 * this one's. */
static void position_waits_for_every_delivery(void **state)
{
    (void)state;
    struct fp_params params = test_params(1);
    struct market m;

    params.l2.purge_bars = 1;
    market_open(&m, &params);
    (void)market_give(&m, "BTC", T0);
    (void)market_give(&m, "ETH", T0);
    const unsigned btc = market_give(&m, "BTC", T0 + 900 * S),
                   eth = market_give(&m, "ETH", T0 + 900 * S);
    deliver(&m, &m.run.outs[btc], 50);
    assert_int_equal(fp_core_position(m.run.core, 0).bars_from, 0);
    deliver(&m, &m.run.outs[eth], 52);
    assert_int_equal(fp_core_position(m.run.core, 0).bars_from, 50);
    const unsigned btc2 = market_give(&m, "BTC", T0 + 1800 * S);
    assert_int_equal(m.run.outs[btc2].source_offset, 4);
    assert_int_equal(fp_core_position(m.run.core, 0).bars_from, 52); /* ETH's */
    deliver(&m, &m.run.outs[btc2], 60);
    assert_int_equal(fp_core_position(m.run.core, 0).bars_from, 52);
    run_stop(&m.run);
}

/* Event times before 1970 are as good as any: bars, tags and deliveries work. Seen to fail with the
 * tag's bar read as unsigned. */
static void position_before_1970(void **state)
{
    (void)state;
    const struct fp_params params = test_params(1);
    struct market m;

    market_open(&m, &params);
    (void)market_give(&m, "BTC", -1000 * S);
    const unsigned bar = market_give(&m, "BTC", -800 * S);
    assert_int_equal(m.run.outs_n, bar + 2);
    assert_true(m.run.outs[bar].bar_time_us == -1800 * S);
    deliver(&m, &m.run.outs[bar], 5);
    assert_position(&m, 2, 1, 5);
    run_stop(&m.run);
}

/* Deliveries that come twice, out of order or for a symbol that went move nothing back. Seen to
 * fail with the last offset kept for the greatest, and with the partition that a place's symbol is
 * of now uncompared. */
static void position_of_odd_deliveries(void **state)
{
    (void)state;
    struct fp_params params = test_params(2);
    struct market m;

    params.symbols_max = 1;
    market_open(&m, &params);
    (void)market_give(&m, "BTC", T0);
    const unsigned bar = market_give(&m, "BTC", T0 + 900 * S);
    deliver(&m, &m.run.outs[bar], 70);
    deliver(&m, &m.run.outs[bar], 60);
    assert_position(&m, 2, 1, 70);
    const struct out old = m.run.outs[bar];
    (void)market_happen(&m, FP_STOP, T0, 0);
    unsigned other = 0;
    for (int i = 0; i < 2; i++) { /* the place is another partition's now */
        market_next(&m, "BTC", T0 + i * 900 * S)->partition = 1;
        other = market_send(&m);
    }
    deliver(&m, &m.run.outs[other], 5);
    assert_int_equal(fp_core_position(m.run.core, 1).bars_from, 5);
    deliver(&m, &old, 80);
    assert_int_equal(fp_core_position(m.run.core, 1).bars_from, 5);
    run_stop(&m.run);
}

/* The last bar of a life says where a restart learns of its end, however its deliveries come. Seen
 * to fail with the last offset kept for the greatest. */
static void position_of_a_rebirth(void **state)
{
    (void)state;
    struct fp_params params = test_params(1);
    struct market m;

    params.l2.symbol_ttl_s = 86400;
    market_open(&m, &params);
    (void)market_give(&m, "BTC", T0 + 10 * S);
    (void)market_happen(&m, FP_TICK, T0 + 3 * DAY, 0);
    const unsigned first = market_happen(&m, FP_END_OFFSET, T0 + 3 * DAY, 1);
    unsigned last = first;
    for (unsigned i = first; i < m.run.outs_n; i++)
        last = m.run.outs[i].kind == FP_EMIT_BAR ? i : last;
    const struct out bar = m.run.outs[last];
    deliver(&m, &bar, 195);
    deliver(&m, &bar, 100);
    (void)market_give(&m, "BTC", T0 + 4 * DAY);
    assert_int_equal(fp_core_position(m.run.core, 0).bars_from, 195);
    run_stop(&m.run);
}

/* Bars of l2.bars that are none of ours are left out; those that fit are kept whatever their order.
 * Seen to fail with a bar off the grid taken, with the newest taken for the last read, and (a
 * crash) with one for whose time there is no place any more. */
static void past_bars_of_any_kind(void **state)
{
    (void)state;
    struct fp_params params = test_params(1);
    const int64_t bar_us = 900 * S;
    static const struct {
        const char *symbol;
        int64_t bar, off_us;
        unsigned symbols; /* known afterwards */
    } bars[] = {
        {"a b", 100, 0, 0}, {"BTC", 100, 1, 0}, {"BTC", 100, 0, 1}, {"ETH", 100, 0, 1},
        {"BTC", 99, 0, 1},  {"BTC", 1, 0, 1},   {"BTC", 79, 0, 1}, /* 100 has its place */
    };
    struct run run;

    params.symbols_max = 1;
    run_start(&run, &params);
    for (unsigned i = 0; i < sizeof bars / sizeof bars[0]; i++) {
        const struct l2_past_bar past = {
            .bar_time_us = T0 + bars[i].bar * bar_us + bars[i].off_us,
            .source_offset = bars[i].bar * 10,
            .bars_offset = bars[i].bar == 1 ? 3 : 40 + (int64_t)i,
            .resume = {.last_event_us = T0 + bars[i].bar * bar_us,
                       .last_kafka_us = T0 + bars[i].bar * bar_us},
        };
        const struct fp_event e = {.kind = FP_PAST_BAR,
                                   .symbol = {bars[i].symbol, (uint32_t)strlen(bars[i].symbol)},
                                   .past_bar = &past};
        const unsigned first = run_step(&run, &e);
        const bool has_place = strcmp(bars[i].symbol, "ETH") != 0;
        assert_int_equal(run.outs_n - first, !has_place);
        assert_int_equal(run_count(&run, first, FP_NO_PLACE), !has_place);
        assert_int_equal(fp_core_symbols(run.core), bars[i].symbols);
    }
    const struct fp_event start = {.kind = FP_START, .offset = 0, .committed = 0};
    assert_nothing(&run, run_step(&run, &start));
    const struct fp_event end = {.kind = FP_END, .offset = 2000, .now_us = T0 + 200 * bar_us};
    (void)run_step(&run, &end);
    /* the newest is bar 100: nothing up to it is emitted again */
    struct record r = {.offset = 2000, .kafka_us = T0 + 101 * bar_us, .symbol = "BTC"};
    record_book(&r, 100);
    r.snapshot.event_time_us = r.snapshot.received_time_us = r.kafka_us;
    r.snapshot.epoch = r.snapshot.sequence = 9;
    const struct fp_event e = record_event(&r);
    (void)run_step(&run, &e);
    assert_int_equal(run_count(&run, 0, FP_EMIT_BAR), 0);
    r.offset++;
    r.snapshot.sequence++;
    r.kafka_us = r.snapshot.event_time_us = r.snapshot.received_time_us = T0 + 102 * bar_us;
    const struct fp_event next = record_event(&r);
    const unsigned first = run_step(&run, &next);
    assert_int_equal(run_count(&run, first, FP_EMIT_BAR), 1);
    assert_true(run.outs[first].bar_time_us == T0 + 101 * bar_us);
    run_stop(&run);
}

/* ---- restarted feeds ---- */

/* `count` records of a new epoch, each second from `from_us` on. Returns the first of the last
 * one's actions. */
static unsigned give_restarted(struct market *m, unsigned count, int64_t from_us)
{
    unsigned first = 0;

    m->sequence = 0;
    for (unsigned i = 0; i < count; i++) {
        market_next(m, "BTC", from_us + i * S)->snapshot.epoch = 2;
        first = market_send(m);
    }
    return first;
}

/* An hour ahead once, then the true time again: the 100th late one is taken, told, and no bar is
 * emitted twice. Seen to fail with the 99th, with the next bar's opening told, and with bars of the
 * old clock closed again. */
static void restarted_feed_is_adopted(void **state)
{
    (void)state;
    const struct fp_params params = test_params(1);
    struct market m;

    market_open(&m, &params);
    (void)market_give(&m, "BTC", T0);
    (void)market_give(&m, "BTC", T0 + 3600 * S); /* closes four bars */
    const unsigned emitted = m.run.outs_n;
    assert_int_equal(run_count(&m.run, 0, FP_EMIT_BAR), 4);
    (void)give_restarted(&m, 99, T0 + S);
    assert_int_equal(m.run.outs_n, emitted);
    assert_int_equal(fp_core_stats(m.run.core)->late, 99);
    market_next(&m, "BTC", T0 + 100 * S)->snapshot.epoch = 2;
    const struct out *o = market_only(&m, market_send(&m), FP_ADOPTED);
    assert_string_equal(o->symbol, "BTC");
    assert_true(o->last_event_us == T0 + 100 * S);
    assert_true(o->no_bars_until_us == T0 + 4500 * S);
    assert_int_equal(fp_core_stats(m.run.core)->adopted, 1);
    assert_int_equal(fp_core_stats(m.run.core)->late, 99);
    for (int64_t t = T0 + 101 * S; t < T0 + 4500 * S; t += S) {
        market_next(&m, "BTC", t)->snapshot.epoch = 2;
        (void)market_send(&m);
    }
    assert_int_equal(m.run.outs_n, emitted + 1);
    market_next(&m, "BTC", T0 + 4500 * S)->snapshot.epoch = 2;
    const unsigned first = market_send(&m);
    assert_int_equal(m.run.outs_n, first + 2);
    assert_true(m.run.outs[first].bar_time_us == T0 + 3600 * S);
    assert_int_equal(m.run.outs[first].snapshots, 900);
    assert_true(m.run.outs[first].coverage == 1);
    run_stop(&m.run);
}

/* A feed that comes back with a clock that is further behind than symbol_ttl: its next bar would be
 * past it, and the clock closes nothing of it. Seen to fail with an end asked for. */
static void adopted_from_long_ago(void **state)
{
    (void)state;
    struct fp_params params = test_params(1);
    struct market m;

    params.l2.symbol_ttl_s = 86400;
    market_open(&m, &params);
    (void)market_give(&m, "BTC", T0 + 2 * DAY);
    (void)market_give(&m, "BTC", T0 + 2 * DAY + 900 * S);
    (void)give_restarted(&m, 100, T0 + S);
    assert_int_equal(fp_core_stats(m.run.core)->adopted, 1);
    assert_nothing(&m.run, market_happen(&m, FP_TICK, T0 + 9 * DAY, 0));
    run_stop(&m.run);
}

/* Seen to fail where the place is held only until the adoption.
 */
static void restart_reaches_back_to_the_late_ones(void **state)
{
    (void)state;
    struct fp_params params = test_params(1);
    struct market m;

    params.l2.bar_s = params.l2.window_s = 60;
    params.l2.max_book_age_s = 60;
    params.l2.purge_bars = 0;
    market_open(&m, &params);
    (void)market_give(&m, "BTC", T0);
    (void)market_give(&m, "BTC", T0 + 3600 * S);
    (void)market_give(&m, "BTC", T0 + 3601 * S);
    (void)give_restarted(&m, 50, T0 + 3400 * S);
    assert_true(fp_core_position(m.run.core, 0).snapshots_from <= 2);
    (void)give_restarted(&m, 100,
                         T0 + 3450 * S); /* their sequence is another one's: from one again */
    assert_int_equal(run_count(&m.run, 0, FP_ADOPTED), 1);
    for (int64_t t = T0 + 3550 * S; t < T0 + 3720 * S; t += S) {
        market_next(&m, "BTC", t)->snapshot.epoch = 2;
        (void)market_send(&m);
        /* until a restart can begin at a bar of the new clock's */
        assert_true(t >= T0 + 3660 * S || fp_core_position(m.run.core, 0).snapshots_from <= 2);
    }
    assert_true(fp_core_position(m.run.core, 0).snapshots_from > 150);
    run_stop(&m.run);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(position_after_a_bar),
        T(position_is_the_least),
        T(position_waits_for_every_delivery),
        T(position_before_1970),
        T(position_of_odd_deliveries),
        T(position_of_a_rebirth),
        T(past_bars_of_any_kind),
        T(restarted_feed_is_adopted),
        T(adopted_from_long_ago),
        T(restart_reaches_back_to_the_late_ones),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
