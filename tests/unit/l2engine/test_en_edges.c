/*
 * The example engine's core at its edges: places, partitions, models that cannot serve.
 * Seen to fail with: a partition's stop that takes the other one's bars, or forgets its symbols; a
 * position that counts another partition's bars; predictions of another partition taken for the
 * symbol's; an output behind the newest that moves the place back; a candle below the committed
 * offset that is predicted again; a record passed over that holds the position; a candidate that
 * is not waited for; a record that does not fit taken into a prediction; an older feature record
 * taken for the newest; the first symbol of a place in the index taken for any; without a check
 * of an allocation.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#include <cmocka.h>

#include "en_core.h"
#include "failing_alloc.h"

#include <math.h>
#include <string.h>

#define BAR_US INT64_C(60000000)
#define NOW_US (1000 * BAR_US)

static struct en_core *core;
static struct en_bar bar;

static struct en_name name(const char *text)
{
    return (struct en_name){text, (uint32_t)strlen(text)};
}

static struct en_params usual(void)
{
    return (struct en_params){.bar_us = BAR_US,
                              .window_us = BAR_US,
                              .columns = (1U << L2_COLUMNS) - 1,
                              .momentum_bars = 4,
                              .feature_wait_us = 2000000,
                              .late_after_us = 2 * BAR_US,
                              .without_rollout = {.known = true,
                                                  .incumbent = L2_ARM_CHAMPION_L2,
                                                  .effective = L2_ARM_CHAMPION_L2},
                              .symbols_max = 20,
                              .partitions_n = 2,
                              .agreement = -1};
}

static void begin(const struct en_params *params)
{
    struct err err;

    assert_int_equal(en_core_new(params, &core, &err), ERR_OK);
    en_core_start(core, 0, -1, 0, 0);
    en_core_start(core, 1, -1, 0, 0);
}

static int end(void **state)
{
    (void)state;
    en_core_free(core);
    core = NULL;
    return 0;
}

static enum en_fate candle(const char *symbol, int32_t partition, int64_t number, int64_t offset)
{
    const struct en_candle c = {.symbol = name(symbol),
                                .partition = partition,
                                .offset = offset,
                                .bar_time_us = number * BAR_US,
                                .close = 100,
                                .volume = 2,
                                .now_us = NOW_US};

    return en_core_candle(core, &c);
}

static bool feature(const char *symbol, int64_t number, bool fits)
{
    struct en_feature f = {.symbol = name(symbol),
                           .bar_time_us = number * BAR_US,
                           .source_us = number * BAR_US,
                           .fits_contract = fits};

    for (int c = 0; c < L2_COLUMNS; c++)
        l2_row_set(&f.row, (enum l2_column)c, 0.5);
    return en_core_feature(core, &f);
}

static bool past(const char *symbol, int32_t partition, int64_t number, int64_t offset)
{
    const struct en_past p = {.symbol = name(symbol),
                              .partition = partition,
                              .offset = offset,
                              .record = {.bar_time_us = number * BAR_US}};

    return en_core_past(core, &p);
}

/* A walk that had begun before ends first. */
static bool next(int64_t mono_us)
{
    if (en_core_next(core, NOW_US, mono_us, &bar))
        return true;
    return en_core_next(core, NOW_US, mono_us, &bar);
}

static void memory_gives_out(void **state)
{
    const struct en_params params = usual();
    struct err err = {0};

    (void)state;
    for (int in = 1; in <= 5; in++) {
        failing_alloc_in = in;
        assert_int_equal(en_core_new(&params, &core, &err), ERR_FATAL);
        assert_non_null(strstr(err.text, "out of memory"));
    }
    failing_alloc_in = 0;
    en_core_free(NULL);
}

/* Names of one place in the index are told apart, and for one too many there is none. */
static void symbols_have_places(void **state)
{
    struct en_params params = usual();
    const struct en_rollout rollout = {.symbol = name("X")};
    char symbol[8];

    (void)state;
    params.symbols_max = 200;
    begin(&params);
    for (unsigned i = 0; i < params.symbols_max; i++) {
        snprintf(symbol, sizeof symbol, i % 2 == 0 ? "S%u" : "T%u0", i);
        assert_int_equal(candle(symbol, 0, 999, i), EN_DUE);
    }
    assert_int_equal(candle("X", 0, 999, 999), EN_NO_ROOM);
    assert_false(past("X", 0, 999, 0) || feature("X", 999, true));
    assert_false(en_core_beat(core, name("X"), NOW_US) || en_core_rollout(core, &rollout));
    for (unsigned i = 0; i < params.symbols_max; i++) {
        snprintf(symbol, sizeof symbol, i % 2 == 0 ? "S%u" : "T%u0", i);
        assert_int_equal(candle(symbol, 0, 999, 1000 + i), EN_STALE);
    }
}

static void partitions_are_apart(void **state)
{
    const struct en_params params = usual();

    (void)state;
    begin(&params);
    assert_int_equal(candle("A", 0, 999, 10), EN_DUE);
    assert_int_equal(candle("B", 1, 999, 70), EN_DUE);
    assert_int_equal(candle("A", 0, 1000, 11), EN_DUE);
    assert_int_equal(en_core_position(core, 1).offset, 70);
    assert_int_equal(en_core_position(core, 0).offset, 10);
    en_core_sent(core, 1, 40);
    en_core_sent(core, 1, 30); /* told late */
    assert_int_equal(en_core_position(core, 1).sent_from, 41);
    en_core_stop(core, 0);
    en_core_sent(core, 0, 50);
    assert_int_equal(en_core_position(core, 0).sent_from, 0);
    assert_int_equal(en_core_waiting(core), 1);
    assert_int_equal(candle("B", 1, 999, 71), EN_STALE);
    assert_true(past("B", 0, 1005, 3)); /* of another partition: says nothing of B */
    assert_int_equal(candle("B", 1, 1000, 72), EN_DUE);
    en_core_start(core, 0, -1, 0, 0);
    assert_int_equal(candle("A", 0, 999, 10), EN_DUE); /* forgotten with its partition */
}

/* What was committed had been predicted, whatever l2.predictions still holds of it. */
static void what_was_committed_is_known(void **state)
{
    const struct en_params params = usual();

    (void)state;
    begin(&params);
    en_core_start(core, 0, 5, 2, 0);
    assert_int_equal(candle("A", 0, 999, 3), EN_KNOWN);
    assert_int_equal(candle("A", 0, 1000, 5), EN_DUE);
    en_core_skip(core, 0, 6); /* no candle of ours */
    assert_int_equal(en_core_position(core, 0).offset, 5);
    en_core_features_reached(core, 0, INT64_MAX);
    assert_true(next(INT64_C(2000000)));
    assert_int_equal(en_core_position(core, 0).offset, 7);
}

/* A challenger alone wants features, too. */
static void a_candidate_alone_is_waited_for(void **state)
{
    struct en_params params = usual();

    (void)state;
    params.without_rollout = (struct l2_rollout){.known = true,
                                                 .incumbent = L2_ARM_NO_L2,
                                                 .challenger = L2_ARM_CANDIDATE_L2,
                                                 .stage = L2_STAGE_SHADOW,
                                                 .effective = L2_ARM_NO_L2};
    begin(&params);
    assert_true(en_core_beat(core, name("A"), NOW_US));
    assert_int_equal(candle("A", 0, 999, 0), EN_DUE);
    assert_false(next(0));
    assert_true(feature("A", 999, true));
    assert_true(next(0));
    assert_int_equal(bar.n, 2);
    assert_int_equal(bar.predictions[1].arm, L2_ARM_CANDIDATE_L2);
}

/* no_l2's model cannot serve; the champion does, or has a record that does not fit. */
static void who_serves_and_what_fits(void **state)
{
    struct en_params params = usual();
    const struct en_rollout r = {.symbol = name("A"),
                                 .version = 1,
                                 .rollout = {.known = true,
                                             .incumbent = L2_ARM_CHAMPION_L2,
                                             .effective = L2_ARM_CHAMPION_L2},
                                 .cleared_through_us = INT64_MIN,
                                 .serves = {[L2_ARM_CHAMPION_L2] = true}};

    (void)state;
    params.columns = 0; /* no column, no rate: not 0 / 0 */
    params.skill = -1;
    begin(&params);
    assert_true(en_core_beat(core, name("A"), NOW_US) && en_core_rollout(core, &r));
    for (int64_t i = 997; i < 1000; i++)
        assert_true(feature("A", i, i != 999));
    assert_true(feature("A", 990, true)); /* an older one, read again */
    for (int64_t i = 998; i < 1000; i++) {
        struct en_candle c = {.symbol = name("A"),
                              .offset = i,
                              .bar_time_us = i * BAR_US,
                              .close = 100,
                              .now_us = NOW_US,
                              .has_label = true,
                              .label = L2_BUY};
        assert_int_equal(en_core_candle(core, &c), EN_DUE);
        assert_true(next(0));
        assert_int_equal(bar.n, 1);
        if (i == 998) {
            assert_int_equal(bar.route.arm, L2_ARM_CHAMPION_L2);
            assert_true(bar.predictions[0].executed && bar.predictions[0].has_nan_rate);
            assert_true(fabs(bar.predictions[0].nan_rate) < 1e-12);
            assert_int_equal(bar.predictions[0].arm, L2_ARM_CHAMPION_L2);
        } else { /* and then there is nobody */
            assert_int_equal(bar.route.reason, L2_ROUTE_NO_MODEL);
            assert_int_equal(bar.predictions[0].arm, L2_ARM_NONE);
        }
    }
    assert_int_equal(candle("A", 0, 1002, 9), EN_DUE);
    assert_true(feature("A", 1003, true) && feature("A", 1001, true));
    assert_true(next(0)); /* 1003 says that 1002's never comes, 1001 takes nothing back */
}

#define T(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(memory_gives_out),
        T(symbols_have_places),
        T(partitions_are_apart),
        T(what_was_committed_is_known),
        T(a_candidate_alone_is_waited_for),
        T(who_serves_and_what_fits),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
