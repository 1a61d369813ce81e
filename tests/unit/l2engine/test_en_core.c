/*
 * The example engine's core: what its rules say, when a bar is decided, by which arms.
 * Seen to fail with: no wait; a bar of a backlog that does not wait; one that waits for a dead
 * book, or gives it up unread; a later record that says nothing; bars of a symbol in any order;
 * features taken 96 bars ahead; momentum over a hole; the order flow or the imbalance left out;
 * warm-up a bar early, or over a hole; an older rollout or heartbeat that counts; nulls of other
 * columns counted, a NaN not; a NaN rate in warm-up; no slack in a rehearsal, a negative age; arm
 * none left out; an arm that predicts by a model that is not there; agreement and skill left out.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "en_core.h"

#include <math.h>
#include <string.h>

#define BAR_US INT64_C(60000000)
#define WAIT_US INT64_C(2000000)
#define LATE_US (BAR_US + WAIT_US)
#define PURGE 20

static struct en_core *core;
static int64_t now_us, mono_us;
static struct en_bar bar;

static struct en_name name(const char *text)
{
    return (struct en_name){text, (uint32_t)strlen(text)};
}

static struct en_params usual(void)
{
    return (struct en_params){
        .bar_us = BAR_US,
        .window_us = 15 * BAR_US,
        .columns = (1U << L2_COLUMNS) - 1,
        .momentum_bars = 4,
        .feature_wait_us = WAIT_US,
        .late_after_us = LATE_US,
        .without_rollout = {.known = true,
                            .incumbent = L2_ARM_CHAMPION_L2,
                            .effective = L2_ARM_CHAMPION_L2},
        .symbols_max = 3,
        .partitions_n = 2,
        .agreement = -1,
    };
}

static void begin(const struct en_params *params)
{
    struct err err;

    assert_int_equal(en_core_new(params, &core, &err), ERR_OK);
    en_core_start(core, 0, -1, 0, 0);
    en_core_start(core, 1, -1, 0, 0);
    now_us = 1000 * BAR_US;
    mono_us = 0;
}

static int end(void **state)
{
    (void)state;
    en_core_free(core);
    core = NULL;
    return 0;
}

static enum en_fate candle(const char *symbol, int64_t number, int64_t offset, double close)
{
    const struct en_candle c = {.symbol = name(symbol),
                                .offset = offset,
                                .bar_time_us = number * BAR_US,
                                .close = close,
                                .volume = 2,
                                .now_us = now_us,
                                .mono_us = mono_us};

    return en_core_candle(core, &c);
}

static void feature(const char *symbol, int64_t number)
{
    struct en_feature f = {.symbol = name(symbol),
                           .bar_time_us = number * BAR_US,
                           .source_us = (number - PURGE) * BAR_US,
                           .fits_contract = true};

    for (int c = 0; c < L2_COLUMNS; c++)
        l2_row_set(&f.row, (enum l2_column)c, 0.5);
    assert_true(en_core_feature(core, &f));
}

static void beat(const char *symbol)
{
    assert_true(en_core_beat(core, name(symbol), now_us));
}

/* A walk that had begun before ends first. */
static bool next(void)
{
    if (en_core_next(core, now_us, mono_us, &bar))
        return true;
    return en_core_next(core, now_us, mono_us, &bar);
}

/* Past warm-up: features from bar 900 on, with that of `number`. */
static void warm(const char *symbol, int64_t number)
{
    for (int64_t i = 900; i < number; i++)
        feature(symbol, i);
    beat(symbol);
}

/* ---- rules ---- */

static void rules(void **state)
{
    (void)state;
    const double up[] = {1, 2, 3}, down[] = {3, 2, 1}, flat[] = {1, 1, 1}, zigzag[] = {1, 2, 1, 2};
    double p[L2_CLASSES];
    struct l2_row row = {.present = 0};

    assert_true(en_rule_momentum(up, 3) == 1 && en_rule_momentum(down, 3) == -1);
    assert_true(en_rule_momentum(flat, 3) == 0 && en_rule_momentum(up, 1) == 0);
    assert_true(fabs(en_rule_momentum(zigzag, 4) - 1.0 / 3) < 1e-15);
    en_rule_blind(0.31, p);
    assert_int_equal(l2_class_of(p), L2_BUY);
    assert_true(fabs(p[0] + p[1] + p[2] - 1) < 1e-15);
    en_rule_blind(0.29, p);
    assert_int_equal(l2_class_of(p), L2_HOLD);
    en_rule_blind(-0.31, p);
    assert_int_equal(l2_class_of(p), L2_SELL);
    en_rule_book(L2_ARM_CHAMPION_L2, 0.5, &row, 1, p); /* nothing known of the book: 0.6 × 0.5 */
    assert_int_equal(l2_class_of(p), L2_HOLD);
    l2_row_set(&row, L2_DEPTH_IMBALANCE_L5, 0.4);
    en_rule_book(L2_ARM_CHAMPION_L2, 0.5, &row, 1, p);
    assert_int_equal(l2_class_of(p), L2_BUY);
    l2_row_set(&row, L2_OFI, -1);
    en_rule_book(L2_ARM_CHAMPION_L2, 0.5, &row, 1, p); /* half of all that was traded */
    assert_int_equal(l2_class_of(p), L2_HOLD);
    row.value[L2_OFI] = 0;
    en_rule_book(L2_ARM_CANDIDATE_L2, 0, &row, 0, p); /* no 0 / 0 */
    assert_true(isfinite(p[0]));
}

/* Momentum is of a row of bars without a hole, momentum_bars + 1 closes at most. */
static void momentum_ends_at_a_hole(void **state)
{
    struct en_params params = usual();
    static const struct {
        int64_t number;
        double close;
        enum l2_class decision;
    } rows[] = {
        {990, 100, L2_HOLD}, {991, 101, L2_BUY},  {992, 102, L2_BUY}, {994, 90, L2_HOLD},
        {995, 89, L2_SELL},  {996, 95, L2_BUY},   {997, 95, L2_BUY},  {998, 94, L2_BUY},
        {999, 95, L2_BUY},   {1000, 94, L2_SELL}, /* 95 95 94 95 94: 89 is out of sight */
    };

    (void)state;
    params.without_rollout.incumbent = params.without_rollout.effective = L2_ARM_NO_L2;
    begin(&params);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        assert_int_equal(candle("A", rows[i].number, (int64_t)i, rows[i].close), EN_DUE);
        assert_true(next());
        assert_int_equal(bar.predictions[0].decision, rows[i].decision);
    }
    assert_int_equal(en_core_position(core, 0).ohlcv_from, 5);
}

/* ---- when ---- */

static void a_bar_waits_for_its_feature(void **state)
{
    (void)state;
    const struct en_params params = usual();
    begin(&params);
    warm("A", 999);
    assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
    en_core_features_reached(core, 0, INT64_MAX);
    mono_us += WAIT_US - 1;
    assert_false(next());
    feature("A", 999);
    assert_true(next());
    assert_int_equal(bar.route.arm, L2_ARM_CHAMPION_L2);
    assert_int_equal(bar.route.reason, L2_ROUTE_ROLLOUT);
    assert_int_equal(bar.n, 2);
    assert_false(next());
    /* not for ever */
    now_us += BAR_US;
    beat("A");
    assert_int_equal(candle("A", 1000, 1, 100), EN_DUE);
    mono_us += WAIT_US - 1;
    assert_false(next());
    mono_us++;
    assert_true(next());
    assert_int_equal(bar.route.arm, L2_ARM_NO_L2);
    assert_int_equal(bar.route.reason, L2_ROUTE_NO_FEATURE);
    assert_true(bar.n == 1 && bar.without_feature);
    /* a later one says that it never comes */
    now_us += BAR_US;
    beat("A");
    assert_int_equal(candle("A", 1001, 2, 100), EN_DUE);
    feature("A", 1002);
    assert_true(next());
    assert_int_equal(bar.route.reason, L2_ROUTE_NO_FEATURE);
}

/* no_l2 is never held up by a book that is dead, nor where no L2 arm takes part. */
static void a_dead_book_holds_nothing_up(void **state)
{
    struct en_params params = usual();

    (void)state;
    begin(&params);
    warm("A", 999);
    now_us += 301 * L2_US_PER_S;
    assert_int_equal(candle("A", 1004, 0, 100), EN_DUE);
    assert_false(next()); /* the features that lie there have not been read */
    en_core_features_reached(core, 0, INT64_MAX);
    assert_true(next());
    assert_int_equal(bar.route.reason, L2_ROUTE_FRESHNESS);
    assert_true(bar.has_freshness && bar.freshness_s == 301);
    assert_true(en_core_beat(core, name("A"), now_us - BAR_US));
    assert_true(en_core_beat(core, name("A"), now_us - 2 * BAR_US)); /* the greatest counts */
    assert_int_equal(candle("A", 1005, 1, 100), EN_DUE);
    mono_us += WAIT_US;
    assert_true(next());
    assert_true(bar.freshness_s == 60);
    (void)end(NULL);

    params.without_rollout.incumbent = params.without_rollout.effective = L2_ARM_NO_L2;
    begin(&params);
    assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
    assert_true(next());
    assert_int_equal(bar.route.reason, L2_ROUTE_NO_ROLLOUT);
    assert_true(bar.n == 1 && bar.predictions[0].executed && !bar.without_feature);
}

/* A backlog's bar waits until the log's features of its time have been read, however long. */
static void a_backlog_waits_for_what_lies_there(void **state)
{
    (void)state;
    const struct en_params params = usual();
    begin(&params);
    warm("A", 940);
    assert_int_equal(candle("A", 950, 0, 100), EN_DUE);
    mono_us += 100 * WAIT_US;
    assert_false(next());
    en_core_features_reached(core, 0, 951 * BAR_US);
    assert_false(next());
    en_core_features_reached(core, 0, 952 * BAR_US);
    assert_true(next());
    assert_int_equal(bar.route.reason, L2_ROUTE_NO_FEATURE);
}

/* Bars of one symbol in their order, of two symbols in any. */
static void bars_keep_their_order(void **state)
{
    (void)state;
    const struct en_params params = usual();
    begin(&params);
    warm("A", 999);
    warm("B", 999);
    assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
    assert_int_equal(candle("A", 1000, 1, 100), EN_DUE);
    assert_int_equal(candle("B", 999, 2, 100), EN_DUE);
    feature("B", 999);
    assert_true(next());
    assert_memory_equal(bar.symbol.data, "B", 1);
    assert_false(next());
    struct en_position at = en_core_position(core, 0);
    assert_true(at.offset == 0 && at.ohlcv_from == 0);
    feature("A", 999);
    feature("A", 1000);
    assert_true(next());
    assert_int_equal(bar.bar_time_us, 999 * BAR_US);
    assert_true(next());
    assert_int_equal(bar.bar_time_us, 1000 * BAR_US);
    assert_false(next());
    at = en_core_position(core, 0);
    assert_int_equal(at.offset, 3);
}

static void candles_are_taken_once(void **state)
{
    (void)state;
    const struct en_params params = usual();
    begin(&params);
    assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
    assert_int_equal(candle("A", 999, 1, 100), EN_STALE);
    assert_int_equal(candle("A", 998, 2, 100), EN_STALE);
    const struct en_candle elsewhere = {
        .symbol = name("A"), .partition = 1, .bar_time_us = 1000 * BAR_US, .close = 1};
    assert_int_equal(en_core_candle(core, &elsewhere), EN_MISPLACED);
    assert_int_equal(candle("B", 999, 3, 100), EN_DUE);
    assert_int_equal(candle("C", 999, 4, 100), EN_DUE);
    assert_int_equal(candle("D", 999, 5, 100), EN_NO_ROOM);
    assert_int_equal(en_core_waiting(core), 3);
    en_core_stop(core, 0); /* taken away: what is due goes with it */
    assert_int_equal(en_core_waiting(core), 0);
    assert_true(!en_core_owns(core, 0) && en_core_owned(core) == 1);
    for (int64_t i = 0; i < EN_WAITING_MAX; i++)
        assert_int_equal(candle("A", 1000 + i, i, 100), EN_DUE);
    assert_int_equal(candle("A", 1000 + EN_WAITING_MAX, EN_WAITING_MAX, 100), EN_FULL);
    assert_int_equal(candle("B", 1000, EN_WAITING_MAX, 100), EN_FULL);
}

/* What is due is not pushed out by features that are far ahead. */
static void features_are_taken_up_to_what_is_due(void **state)
{
    (void)state;
    const struct en_params params = usual();
    begin(&params);
    assert_true(en_core_takes_until(core, 0) == INT64_MIN);
    assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
    assert_int_equal(candle("A", 1050, 1, 100), EN_DUE);
    assert_true(en_core_takes_until(core, 0) == (999 + EN_FEATURES_AHEAD) * BAR_US);
    assert_true(en_core_takes_until(core, 1) == INT64_MIN);
    feature("A", 999);
    for (int64_t i = 1000; i <= 999 + EN_FEATURES_AHEAD; i++)
        feature("A", i);
    assert_true(next());
    assert_true(bar.n == 2 && bar.source_us == (999 - PURGE) * BAR_US);
    assert_true(en_core_takes_until(core, 0) == (1050 + EN_FEATURES_AHEAD) * BAR_US);
}

/* ---- by whom ---- */

/* The window of bar 900 + 15 is the first that begins behind bar 900, where the features begin; a
 * hole is a new beginning. */
static void warm_up_ends_with_the_first_whole_window(void **state)
{
    (void)state;
    const struct en_params params = usual();
    begin(&params);
    beat("A");
    for (int64_t i = 900; i < 1100; i++) {
        if (i == 960)
            i = 960 + 61;
        const int64_t first = i < 960 ? 900 : 960 + 61;
        now_us = (i + 1) * BAR_US;
        beat("A");
        feature("A", i);
        assert_int_equal(candle("A", i, i, 100), EN_DUE);
        assert_true(next());
        const bool is_warm = i - PURGE >= first + 15;
        assert_int_equal(bar.route.reason, is_warm ? L2_ROUTE_ROLLOUT : L2_ROUTE_WARMUP);
        assert_int_equal(bar.n, 2);
        assert_int_equal(bar.predictions[1].has_nan_rate, is_warm);
        assert_false(bar.predictions[0].has_nan_rate);
    }
}

static void every_arm_predicts_and_one_is_executed(void **state)
{
    (void)state;
    const struct en_params params = usual();
    struct en_rollout r = {.symbol = name("A"),
                           .version = 7,
                           .rollout = {.known = true,
                                       .incumbent = L2_ARM_CHAMPION_L2,
                                       .challenger = L2_ARM_CANDIDATE_L2,
                                       .stage = L2_STAGE_SHADOW,
                                       .effective = L2_ARM_CHAMPION_L2},
                           .cleared_through_us = INT64_MIN,
                           .serves = {true, true, true, true}};
    begin(&params);
    warm("A", 1000);
    assert_true(en_core_rollout(core, &r));
    r.version = 6; /* an older one */
    r.rollout.kill_switch = true;
    assert_true(en_core_rollout(core, &r));
    assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
    assert_true(next());
    assert_int_equal(bar.n, 3);
    assert_true(bar.has_rollout && bar.rollout_version == 7);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(bar.predictions[i].arm, L2_ARM_NO_L2 + i);
        assert_int_equal(bar.predictions[i].executed, i == 1);
    }
    /* neither champion_l2 nor no_l2 is the model that is pinned */
    r.version = 8;
    r.rollout.kill_switch = false;
    r.serves[L2_ARM_CHAMPION_L2] = r.serves[L2_ARM_NO_L2] = false;
    assert_true(en_core_rollout(core, &r));
    assert_int_equal(candle("A", 1000, 1, 100), EN_DUE);
    feature("A", 1000);
    assert_true(next());
    assert_int_equal(bar.route.reason, L2_ROUTE_NO_MODEL);
    assert_int_equal(bar.n, 2);
    assert_int_equal(bar.predictions[0].arm, L2_ARM_NONE);
    assert_true(bar.predictions[0].executed && !bar.predictions[0].has_p);
    assert_int_equal(bar.predictions[0].decision, L2_HOLD);
    assert_int_equal(bar.predictions[1].arm, L2_ARM_CANDIDATE_L2);
    assert_false(bar.predictions[1].executed);
}

/* Nulls and what is no number alike, over the set's columns. */
static void nan_rate_is_of_the_sets_columns(void **state)
{
    (void)state;
    struct en_params params = usual();
    static const struct {
        uint32_t columns, present;
        bool has_nan;
        double rate;
    } rows[] = {
        {0x3f, 0x3f, false, 0},      {0x3f, 0x3e, false, 1.0 / 6}, {0x3f, 0x3f, true, 1.0 / 6},
        {0x3f, 0x00, false, 1},      {0x07, 0x38, false, 1},       {0x07, 0x3f, false, 0},
        {0x38, 0x3f, true, 1.0 / 3},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        params.columns = rows[i].columns;
        begin(&params);
        warm("A", 999);
        struct en_feature f = {.symbol = name("A"),
                               .bar_time_us = 999 * BAR_US,
                               .source_us = 979 * BAR_US,
                               .row = {.present = rows[i].present},
                               .fits_contract = true};
        f.row.value[L2_OFI] = rows[i].has_nan ? NAN : 0;
        assert_true(en_core_feature(core, &f));
        assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
        assert_true(next());
        assert_true(bar.predictions[1].has_nan_rate);
        assert_true(bar.predictions[1].nan_rate == rows[i].rate);
        (void)end(NULL);
    }
}

/* A rehearsal's pipeline runs in real time: its delay is none of the feed's. */
static void a_rehearsal_is_not_stale(void **state)
{
    (void)state;
    struct en_params params = usual();
    params.freshness_slack_us = 2000 * L2_US_PER_S;
    begin(&params);
    warm("A", 1000);
    now_us += 2100 * L2_US_PER_S;
    assert_int_equal(candle("A", 999, 0, 100), EN_DUE);
    assert_true(next());
    assert_true(bar.freshness_s == 100);
    assert_true(en_core_beat(core, name("A"), now_us + BAR_US)); /* an exchange's clock ahead */
    feature("A", 1000);
    assert_int_equal(candle("A", 1000, 1, 100), EN_DUE);
    assert_true(next());
    assert_true(bar.freshness_s == 0);
}

/* For tests: shares of bars, drawn by symbol and bar alone. */
static void agreement_and_skill_are_shares(void **state)
{
    (void)state;
    struct en_params params = usual();
    unsigned agreed = 0, right = 0, blind_right = 0;
    const int64_t bars = 4000;

    params.agreement = 0.9;
    begin(&params);
    beat("A");
    for (int64_t i = 0; i < 2 * bars; i++) {
        struct en_candle c = {.symbol = name("A"),
                              .offset = i,
                              .bar_time_us = i * BAR_US,
                              .close = 100 + (double)(i % 7),
                              .now_us = now_us,
                              .has_label = i >= bars,
                              .label = L2_BUY};
        if (i == bars) {
            (void)end(NULL);
            params.skill = 0.7;
            params.blind_skill = 0.2;
            begin(&params);
        }
        feature("A", i);
        assert_int_equal(en_core_candle(core, &c), EN_DUE);
        assert_true(next());
        const struct en_prediction *blind = &bar.predictions[0], *book = &bar.predictions[1];
        if (i < bars)
            agreed += blind->decision == book->decision;
        right += i >= bars && book->decision == L2_BUY && book->p[L2_BUY] == 0.6;
        blind_right += i >= bars && blind->decision == L2_BUY && blind->p[L2_BUY] == 0.6;
    }
    assert_in_range(agreed, 3520, 3680); /* 0.9; 4 standard deviations are 0.02 */
    /* what is copied from the blind arm is right where that is: 0.7 + 0.3 × 0.2 × 0.9 = 0.754 */
    assert_in_range(right, 2896, 3136);
    assert_in_range(blind_right, 680, 920); /* 0.2 */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rules),
        cmocka_unit_test_teardown(momentum_ends_at_a_hole, end),
        cmocka_unit_test_teardown(a_bar_waits_for_its_feature, end),
        cmocka_unit_test_teardown(a_dead_book_holds_nothing_up, end),
        cmocka_unit_test_teardown(a_backlog_waits_for_what_lies_there, end),
        cmocka_unit_test_teardown(bars_keep_their_order, end),
        cmocka_unit_test_teardown(candles_are_taken_once, end),
        cmocka_unit_test_teardown(features_are_taken_up_to_what_is_due, end),
        cmocka_unit_test_teardown(warm_up_ends_with_the_first_whole_window, end),
        cmocka_unit_test_teardown(every_arm_predicts_and_one_is_executed, end),
        cmocka_unit_test_teardown(nan_rate_is_of_the_sets_columns, end),
        cmocka_unit_test_teardown(a_rehearsal_is_not_stale, end),
        cmocka_unit_test_teardown(agreement_and_skill_are_shares, end),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
