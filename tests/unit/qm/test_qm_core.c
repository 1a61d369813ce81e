/*
 * The quality monitor's core at its edges: what is not folded, what has no place, what is out
 * already, latches, label sets that are all in use, a month whose BUYs lie in one day, the first
 * days of 1970. What it says over whole histories is held against a batch in test_qm_signals.
 * Seen to fail: see each test.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>
#include <math.h>

#include "core/qm_core.h"
#include "failing_alloc.h"

#define BAR_S 900
#define BAR_US (BAR_S * L2_US_PER_S)
#define DAY_BARS 96

/* What came out, by signal: how often, and the last. */
static struct {
    unsigned signals[QM_SIGNALS], transitions[QM_SIGNALS], outcomes;
    struct qm_signal_out signal[QM_SIGNALS];
    struct qm_transition transition[QM_SIGNALS];
    struct qm_outcome_out outcome;
} out;

static void on_signal(void *user, const char *symbol, const struct qm_signal_out *o)
{
    (void)user;
    (void)symbol;
    out.signals[o->signal]++;
    out.signal[o->signal] = *o;
}

static void on_outcome(void *user, const char *symbol, const struct qm_outcome_out *o)
{
    (void)user;
    (void)symbol;
    out.outcomes++;
    out.outcome = *o;
}

static void on_transition(void *user, const char *symbol, const struct qm_transition *o)
{
    (void)user;
    (void)symbol;
    out.transitions[o->signal]++;
    out.transition[o->signal] = *o;
}

static struct qm_core *core;

static struct qm_options usual(void)
{
    return (struct qm_options){
        .bar_s = BAR_S,
        .cryptos_max = 2,
        .set = L2_SET_STANDARD,
        .sink = {.signal = on_signal, .outcome = on_outcome, .transition = on_transition}};
}

static void begin(const struct qm_options *options)
{
    memset(&out, 0, sizeof out);
    core = qm_core_new(options);
    assert_non_null(core);
}

static int end(void **state)
{
    (void)state;
    qm_core_free(core);
    core = NULL;
    return 0;
}

static bool bar(const char *symbol, int64_t number, double lambda)
{
    struct qm_bar b = {.bar_time_us = number * BAR_US, .snapshots = 900};

    l2_row_set(&b.row, L2_MID_PRICE, 100);
    if (!isnan(lambda))
        l2_row_set(&b.row, L2_KYLE_LAMBDA, lambda);
    return qm_core_bar(core, symbol, &b);
}

static struct qm_prediction prediction(int64_t number, enum l2_arm arm, enum l2_class decision)
{
    return (struct qm_prediction){.bar_time_us = number * BAR_US,
                                  .arm = arm,
                                  .decision = decision,
                                  .executed = true,
                                  .has_freshness = true,
                                  .freshness_s = 1,
                                  .has_nan_rate = true,
                                  .has_label = true,
                                  .label = {.horizon_bars = 1, .span_bars = 2, .width = 1e-6},
                                  .model_version = "v"};
}

static bool predict(const char *symbol, int64_t number, enum l2_arm arm, enum l2_class decision)
{
    const struct qm_prediction p = prediction(number, arm, decision);

    return qm_core_prediction(core, symbol, &p);
}

static bool candle(const char *symbol, int64_t number, double close)
{
    const struct qm_candle c = {.bar_time_us = number * BAR_US, .close = close};

    return qm_core_candle(core, symbol, &c);
}

/* ---- what is folded ---- */

/* Seen to fail without each of the checks (a bar of no number, an arm or class past its array). */
static void what_cannot_be_is_not_folded(void **state)
{
    const struct qm_options options = usual();
    const struct qm_bar odd = {.bar_time_us = BAR_US + 1}, early = {.bar_time_us = -BAR_US};
    const struct qm_feature no_source = {.bar_time_us = BAR_US, .source_bar_time_us = -BAR_US},
                            odd_feature = {.bar_time_us = 1};
    struct qm_prediction p = prediction(1, L2_ARMS, L2_BUY);

    (void)state;
    begin(&options);
    assert_false(qm_core_bar(core, "A", &odd) || qm_core_bar(core, "A", &early));
    assert_false(qm_core_feature(core, "A", &no_source) ||
                 qm_core_feature(core, "A", &odd_feature));
    assert_false(qm_core_prediction(core, "A", &p));
    p = prediction(1, L2_ARM_NO_L2, L2_CLASSES);
    assert_false(qm_core_prediction(core, "A", &p));
    p = prediction(-1, L2_ARM_NO_L2, L2_BUY);
    assert_false(qm_core_prediction(core, "A", &p));
    assert_false(candle("A", -1, 1) || candle("A", 1, 0) || candle("A", 1, INFINITY) ||
                 candle("A", 1, NAN));
    assert_false(qm_core_proof(core, "A", 1, true));
    assert_int_equal(qm_core_cryptos(core), 0);
    assert_true(bar("A", 1, 1) && candle("A", 1, 1) && predict("A", 1, L2_ARM_NO_L2, L2_BUY));
    assert_int_equal(qm_core_cryptos(core), 1);
}

/* Seen to fail with a crypto too many taken, and with a name of no byte. */
static void cryptos_have_places(void **state)
{
    const struct qm_options options = usual();
    const struct qm_feature f = {.bar_time_us = BAR_US};
    const struct qm_rollout rollout = {.time_us = 1};
    uint32_t number = 99;

    (void)state;
    begin(&options);
    assert_false(bar("", 1, 1) || bar("123456789012345678901234567890123", 1, 1));
    assert_true(bar("12345678901234567890123456789012", 1, 1));
    assert_true(qm_core_number(core, "B", &number));
    assert_int_equal(number, 1);
    assert_string_equal(qm_core_symbol(core, 1), "B");
    assert_false(qm_core_had_data(core, 1, QM_CADENCE, L2_ARM_NONE));
    assert_int_equal(qm_core_state(core, 1, QM_CADENCE, L2_ARM_NONE), ALERT_NO_DATA);
    assert_true(qm_core_bytes_a_crypto(core) > 1000);
    assert_false(bar("C", 1, 1) || candle("C", 1, 1) || predict("C", 1, L2_ARM_NO_L2, L2_BUY));
    assert_false(qm_core_feature(core, "C", &f) || qm_core_rollout(core, "C", &rollout));
    assert_false(qm_core_freshness(core, "C", 1, 1) || qm_core_proof(core, "C", BAR_US, true));
    assert_false(qm_core_number(core, "C", &number));
    assert_null(qm_core_reference_version(core, "C"));
    qm_core_emitted_signal(core, "C", QM_CADENCE, L2_ARM_NONE, BAR_US);
    qm_core_emitted_outcome(core, "C", L2_ARM_NO_L2, BAR_US);
    assert_int_equal(qm_core_cryptos(core), 2);
}

/* Many of them begin at one place of the table. Seen to fail (the same number twice) with the first
 * symbol found taken for the one that is sought. */
static void every_crypto_has_its_own_number(void **state)
{
    struct qm_options options = usual();
    char symbol[8];
    uint32_t number;

    (void)state;
    options.cryptos_max = 60;
    begin(&options);
    for (unsigned round = 0; round < 2; round++) {
        for (uint32_t i = 0; i < options.cryptos_max; i++) {
            snprintf(symbol, sizeof symbol, "S%u", i * 7);
            assert_true(qm_core_number(core, symbol, &number));
            assert_int_equal(number, i);
            assert_string_equal(qm_core_symbol(core, number), symbol);
        }
    }
}

/* Seen to fail (a crash) without a check. */
static void memory_gives_out(void **state)
{
    const struct qm_options options = usual();
    int in = 1;

    (void)state;
    for (;; in++) {
        failing_alloc_in = in;
        core = qm_core_new(&options);
        if (core != NULL)
            break;
    }
    assert_int_equal(in, 5); /* four allocations, each of which had failed */
    failing_alloc_in = 1;
    assert_false(bar("A", 1, 1));
    assert_int_equal(qm_core_cryptos(core), 0);
    assert_true(bar("A", 1, 1));
}

/* ---- references ---- */

/* Seen to fail with a reference of any bar length taken. */
static void a_reference_is_of_the_bars(void **state)
{
    const struct l2_reference references[] = {
        {.symbol = "A", .version = "hours", .bar_s = 3600},
        {.symbol = "A", .version = "quarters", .bar_s = BAR_S},
        {.symbol = "B", .version = "hours", .bar_s = 3600}};
    struct qm_options options = usual();

    (void)state;
    options.references = references;
    options.references_n = 3;
    begin(&options);
    assert_string_equal(qm_core_reference_version(core, "A"), "quarters");
    assert_null(qm_core_reference_version(core, "B"));
}

/* A column that the training never saw, and a cadence of none: no value, and no division. A value
 * below the range is out of it. Seen to fail with a median of 0 divided by, and without the lower
 * end of a range. */
static void a_reference_may_know_little(void **state)
{
    struct l2_reference reference = {.symbol = "A", .bar_s = BAR_S};
    struct qm_options options = usual();

    (void)state;
    reference.feature[L2_SPREAD_BPS] =
        (struct l2_reference_feature){.n = 9, .low = 1, .high = 2, .bins = {.n = 1, .share = {1}}};
    options.references = &reference;
    options.references_n = 1;
    begin(&options);
    for (int64_t i = 0; i < DAY_BARS; i++) {
        struct qm_feature f = {.bar_time_us = i * BAR_US, .source_bar_time_us = i * BAR_US};
        l2_row_set(&f.row, L2_SPREAD_BPS, i % 4 == 0 ? 0.5 : 1.5);
        assert_true(bar("A", i, 1) && qm_core_feature(core, "A", &f));
    }
    assert_false(out.signal[QM_PSI_24H].has_value || out.signal[QM_CADENCE].has_value);
    assert_true(out.signal[QM_OOR].has_value);
    assert_true(fabs(out.signal[QM_OOR].value - 0.25) < 1e-12);
}

/* ---- alerts of readings without a record ---- */

/* Seen to fail with the table's rule in a rehearsal, and with the first good reading told. */
static void freshness_by_the_clock(void **state)
{
    struct qm_options options = usual();

    (void)state;
    for (unsigned rehearsal = 0; rehearsal < 2; rehearsal++) {
        if (rehearsal)
            options.freshness_rule = (struct alert_rule){.enter_n = 1, .leave_n = 1};
        begin(&options);
        assert_true(qm_core_freshness(core, "A", 1, 0));
        assert_int_equal(out.transitions[QM_FRESHNESS], 0);
        assert_true(qm_core_freshness(core, "A", 301, L2_US_PER_S));
        assert_int_equal(out.transitions[QM_FRESHNESS], rehearsal);
        assert_true(qm_core_freshness(core, "A", 301, 61 * L2_US_PER_S));
        assert_int_equal(out.transitions[QM_FRESHNESS], 1);
        assert_int_equal(out.transition[QM_FRESHNESS].state, ALERT_P2);
        assert_true(fabs(out.transition[QM_FRESHNESS].threshold - 300) < 1e-9);
        assert_int_equal(qm_core_state(core, 0, QM_FRESHNESS, L2_ARM_NONE), ALERT_P2);
        assert_true(qm_core_had_data(core, 0, QM_FRESHNESS, L2_ARM_NONE));
        assert_int_equal(out.signals[QM_FRESHNESS], 0);
        (void)end(NULL);
    }
}

/* The first reading of all may be at P2; and what was told when there was no data is told when it
 * is well again. Seen to fail with any first reading untold, and with any end of no data untold. */
static void freshness_before_and_after(void **state)
{
    struct qm_options options = usual();
    struct qm_prediction p = prediction(10, L2_ARM_CHAMPION_L2, L2_HOLD);

    (void)state;
    options.freshness_rule = (struct alert_rule){.enter_n = 1, .leave_n = 1};
    begin(&options);
    assert_true(qm_core_freshness(core, "A", 301, 0));
    assert_int_equal(out.transition[QM_FRESHNESS].state, ALERT_P2);
    assert_true(qm_core_prediction(core, "B", &p));
    p = prediction(11, L2_ARM_CHAMPION_L2, L2_HOLD);
    p.has_freshness = false;
    assert_true(qm_core_prediction(core, "B", &p));
    assert_int_equal(out.transition[QM_FRESHNESS].state, ALERT_NO_DATA);
    assert_true(qm_core_freshness(core, "B", 1, 13 * BAR_US));
    assert_int_equal(out.transition[QM_FRESHNESS].state, ALERT_OK);
    assert_int_equal(out.transition[QM_FRESHNESS].previous, ALERT_NO_DATA);
    assert_int_equal(out.transitions[QM_FRESHNESS], 3);
}

/* A close that is not kept any more judges no mid. Seen to fail (the close of another bar) without
 * the bound. */
static void a_mid_of_long_ago_is_not_judged(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    for (int64_t i = 0; i < 1200; i++)
        assert_true(candle("A", i, i == 1100 ? 1000 : 100));
    for (int64_t i = 0; i < 60; i++) { /* sources 30 … 89, 1024 bars before 1054 … 1113 */
        struct qm_feature f = {.bar_time_us = (1200 + i) * BAR_US,
                               .source_bar_time_us = (30 + i) * BAR_US};
        l2_row_set(&f.row, L2_MID_PRICE, 100);
        assert_true(qm_core_feature(core, "A", &f));
    }
    assert_int_equal(out.signal[QM_OOR].n, 0);
}

/* Seen to fail with the proof's word turned round. */
static void a_proof_that_differs_is_p2(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    assert_true(qm_core_proof(core, "A", BAR_US, true));
    assert_true(out.signal[QM_LEAKAGE].has_value && out.signal[QM_LEAKAGE].observed == ALERT_OK);
    assert_int_equal(out.transitions[QM_LEAKAGE], 0);
    assert_true(qm_core_proof(core, "A", 2 * BAR_US, false));
    assert_int_equal(out.transition[QM_LEAKAGE].state, ALERT_P2);
    assert_int_equal(out.signals[QM_LEAKAGE], 2);
}

/* Seen to fail with an earlier clearing taken back, and with a rollout told as the first reading.
 */
static void a_rollout_clears_a_latch(void **state)
{
    const struct qm_options options = usual();
    struct qm_rollout rollout = {.time_us = 20 * BAR_US, .cleared_through_us = INT64_MIN};

    (void)state;
    begin(&options);
    assert_true(qm_core_rollout(core, "A", &rollout)); /* before there is anything to latch */
    assert_false(qm_core_had_data(core, 0, QM_LATCH, L2_ARM_NONE));
    for (int64_t i = 10; i < 13; i++) {
        struct qm_prediction p = prediction(i, L2_ARM_CHAMPION_L2, L2_HOLD);
        p.freshness_s = 301;
        assert_true(qm_core_prediction(core, "A", &p));
    }
    assert_int_equal(qm_core_state(core, 0, QM_LATCH, L2_ARM_NONE), ALERT_P2);
    rollout.cleared_through_us = 12 * BAR_US;
    assert_true(qm_core_rollout(core, "A", &rollout));
    assert_int_equal(qm_core_state(core, 0, QM_LATCH, L2_ARM_NONE), ALERT_OK);
    assert_int_equal(out.transition[QM_LATCH].state, ALERT_OK);
    rollout.cleared_through_us = 11 * BAR_US; /* an older record, read again */
    assert_true(qm_core_rollout(core, "A", &rollout));
    assert_int_equal(qm_core_state(core, 0, QM_LATCH, L2_ARM_NONE), ALERT_OK);
    assert_int_equal(out.transitions[QM_LATCH], 2);
}

/* ---- what is out already ---- */

/* Seen to fail with an older place recalled taken for the newest, and (UBSan) with a signal past
 * its array. */
static void signals_are_given_once(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    qm_core_emitted_signal(core, "A", QM_CADENCE, L2_ARM_NONE, 5 * BAR_US);
    qm_core_emitted_signal(core, "A", QM_CADENCE, L2_ARM_NONE, 3 * BAR_US);
    qm_core_emitted_signal(core, "A", QM_SIGNALS, L2_ARM_NONE, 3 * BAR_US);
    qm_core_emitted_signal(core, "A", QM_CADENCE, L2_ARMS, 9 * BAR_US);
    for (int64_t i = 1; i <= 5; i++)
        assert_true(bar("A", i, 1));
    assert_int_equal(out.signals[QM_CADENCE], 0);
    assert_true(bar("A", 6, 1));
    assert_int_equal(out.signals[QM_CADENCE], 1);
}

/* Ten candles from `first` on that rise, and a BUY of no_l2 at each but the first two: seven have a
 * label. */
static void rise(int64_t first)
{
    for (int64_t i = first; i < first + 10; i++) {
        if (i >= first + 2)
            assert_true(predict("A", i, L2_ARM_NO_L2, L2_BUY));
        assert_true(candle("A", i, 100 + (double)i));
    }
}

/* Seen to fail with one recalled before the newest forgetting it, with one off the grid, and with
 * one of long ago in the place of a later bar. */
static void outcomes_are_given_once(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    rise(0);
    assert_int_equal(out.outcomes, 7);
    (void)end(NULL);

    begin(&options);
    qm_core_emitted_outcome(core, "A", L2_ARM_NO_L2, 4 * BAR_US);
    qm_core_emitted_outcome(core, "A", L2_ARM_NO_L2, 2 * BAR_US);
    qm_core_emitted_outcome(core, "A", L2_ARM_NO_L2, 7 * BAR_US + 1);
    qm_core_emitted_outcome(core, "A", L2_ARM_NO_L2, -BAR_US);
    qm_core_emitted_outcome(core, "A", L2_ARMS, 8 * BAR_US);
    rise(0);
    assert_int_equal(out.outcomes, 5);
    (void)end(NULL);

    begin(&options); /* the newest was read first: those far behind it count as out */
    qm_core_emitted_outcome(core, "A", L2_ARM_NO_L2, 500 * BAR_US);
    qm_core_emitted_outcome(core, "A", L2_ARM_NO_L2, 3 * BAR_US);
    rise(0);
    assert_int_equal(out.outcomes, 0);
    rise(380); /* 387 has the place that 3 would have */
    assert_int_equal(out.outcomes, 7);
}

/* ---- predictions ---- */

/* Seen to fail with a second word of an arm taken, and with a bar that left the ring taken for the
 * one in its place. */
static void a_prediction_is_taken_once_and_in_time(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    for (int64_t i = 190; i < 200; i++)
        assert_true(candle("A", i, 100 + (double)i));
    assert_true(predict("A", 200, L2_ARM_CHAMPION_L2, L2_BUY));
    assert_true(predict("A", 200, L2_ARM_CHAMPION_L2, L2_SELL));
    assert_true(predict("A", 200 - QM_LATE_BARS, L2_ARM_NO_L2, L2_BUY));
    assert_int_equal(out.signals[QM_FRESHNESS], 1);
    assert_int_equal(out.signals[QM_AGREEMENT], 0);
    assert_int_equal(out.signals[QM_LATCH], 1);
    assert_true(predict("A", 200, L2_ARM_NO_L2, L2_SELL));
    assert_int_equal(out.signals[QM_AGREEMENT], 1);
    assert_true(candle("A", 200, 300) && candle("A", 201, 301));
    assert_int_equal(out.outcomes, 2);
    assert_int_equal(out.outcome.arm, L2_ARM_CHAMPION_L2);
    assert_int_equal(out.outcome.decision, L2_BUY);
}

/* A clock that is behind: freshness below zero counts as none. Seen to fail (a code past the array)
 * without that. */
static void freshness_below_zero(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    for (int64_t i = 0; i < 48; i++) {
        struct qm_prediction p = prediction(i, L2_ARM_CHAMPION_L2, L2_HOLD);
        p.freshness_s = -100;
        p.has_label = i % 2 == 0;
        assert_true(qm_core_prediction(core, "A", &p));
    }
    assert_true(out.signal[QM_FRESHNESS_P99].has_value);
    assert_true(fabs(out.signal[QM_FRESHNESS_P99].value) < 1e-12);
}

/* Longer ones than are kept closes for have no outcome, nor what is no parameter. Seen to fail
 * without the bound on the span. */
static void labels_have_bounds(void **state)
{
    const struct qm_options options = usual();
    static const struct l2_label_params none[] = {
        {1, 2, 0}, {QM_HORIZON_BARS_MAX + 1, 2, 1}, {1, QM_SPAN_BARS_MAX + 1, 1}};

    (void)state;
    begin(&options);
    for (int64_t i = 0; i < 300; i++) {
        struct qm_prediction p = prediction(i, L2_ARM_NO_L2, L2_BUY);
        p.label = none[i % 3];
        assert_true(qm_core_prediction(core, "A", &p));
        assert_true(candle("A", i, 100 + (double)i));
    }
    assert_int_equal(out.outcomes, 0);
}

/* Three sets of label parameters at a time; a further one has no outcome until one of them is not
 * waited for. Seen to fail with a set taken that others wait for; with spans, or widths, held for
 * one. */
static void label_sets_have_places(void **state)
{
    const struct qm_options options = usual();
    static const struct l2_label_params sets[] = {{1, 2, 1e-6}, {1, 3, 1e-6}, {1, 2, 2e-6}},
                                        fourth = {2, 2, 1e-6};
    int64_t i = 0;

    (void)state;
    begin(&options);
    for (; i < 10; i++)
        assert_true(candle("A", i, 100 + (double)i));
    for (unsigned k = 0; k < 3; k++) {
        struct qm_prediction p = prediction(i, L2_ARM_NO_L2 + k, L2_BUY);
        p.label = sets[k];
        assert_true(qm_core_prediction(core, "A", &p));
    }
    assert_true(candle("A", i, 100 + (double)i) && candle("A", i + 1, 101 + (double)i));
    assert_int_equal(out.outcomes, 3);
    assert_true(fabs(out.outcome.params.width - 2e-6) < 1e-12);
    for (i++; i < 60; i++) {
        struct qm_prediction p = prediction(i, L2_ARM_NO_L2, L2_BUY);
        p.label = fourth;
        assert_true(qm_core_prediction(core, "A", &p));
        (void)candle("A", i + 1, 101 + (double)i);
    }
    assert_int_equal(out.outcomes, 3);
    for (; i < 10 + QM_LATE_BARS; i++) /* the ring comes round */
        (void)candle("A", i + 1, 101 + (double)i);
    for (unsigned k = 0; k < 3; k++, i++) {
        struct qm_prediction p = prediction(i, L2_ARM_NO_L2, L2_BUY);
        p.label = fourth;
        assert_true(qm_core_prediction(core, "A", &p));
        assert_true(candle("A", i + 1, 101 + (double)i));
    }
    assert_int_equal(out.outcomes, 5); /* of the first two, whose horizon is two bars */
    assert_int_equal(out.outcome.params.horizon_bars, 2);
}

/* No arm is no word: it has no label, known already or not. Seen to fail with its outcome given. */
static void no_arm_has_no_outcome(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    for (int64_t i = 0; i < 10; i++) {
        if (i != 5)
            assert_true(predict("A", i, L2_ARM_NONE, L2_HOLD));
        assert_true(candle("A", i, 100 + (double)i));
    }
    assert_true(predict("A", 5, L2_ARM_NONE, L2_HOLD));
    assert_int_equal(out.outcomes, 0);
}

/* ---- months ---- */

#define BUY_DAY 5

/* Days 0 … n − 1 of 1970: candles rise in BUY_DAY alone, for `buys` bars, and the champion says so.
 */
static void month(int64_t n, int64_t buys)
{
    double close = 100;

    for (int64_t i = 0; i < n * DAY_BARS; i++) {
        const int64_t rising = i - BUY_DAY * DAY_BARS;
        const bool says_buy = rising >= 0 && rising < buys;
        if (rising > 0 && rising <= buys)
            close += 1;
        assert_true(predict("A", i, L2_ARM_NO_L2, L2_HOLD));
        assert_true(predict("A", i, L2_ARM_CHAMPION_L2, says_buy ? L2_BUY : L2_HOLD));
        assert_true(candle("A", i, i == 1 ? 101 : close)); /* a return, for a volatility */
    }
}

/* All BUYs in one day of ten: samples of days that leave it out have nothing to score, and count
 * as no difference. Seen to fail with 0 / 0 for it, and with the month taken to begin before the
 * first day. */
static void a_month_whose_buys_lie_in_one_day(void **state)
{
    const struct l2_reference reference = {.symbol = "A", .bar_s = BAR_S};
    struct qm_options options = usual();

    (void)state;
    options.references = &reference;
    options.references_n = 1;
    begin(&options);
    month(11, 40);
    const struct qm_signal_out *delta = &out.signal[QM_DELTA_F1];

    assert_true(delta->has_value && delta->has_interval);
    assert_true(fabs(delta->value - 1) < 1e-12);
    assert_true(fabs(delta->low) < 1e-12 && fabs(delta->high - 1) < 1e-12);
    assert_false(out.signal[QM_F1_DRIFT].has_value); /* what the reference had is not known */
}

/* Seen to fail with a value of 29 BUYs. */
static void a_month_of_few_buys(void **state)
{
    const struct qm_options options = usual();

    (void)state;
    begin(&options);
    month(11, 29);
    assert_true(out.signals[QM_DELTA_F1] > 0 && !out.signal[QM_DELTA_F1].has_value);
    assert_true(out.signal[QM_F1_BUY].n > 0);
}

/* Of the days before the first there is nothing: twenty of them are a while. Seen to fail with the
 * days before 1970 taken for the first. */
static void tails_from_the_first_day_on(void **state)
{
    const struct qm_options options = usual();
    int64_t i = 0;

    (void)state;
    begin(&options);
    for (; i < 22 * DAY_BARS; i++) {
        assert_true(bar("A", i, 1 + 0.01 * (double)(i % 7) + 0.001 * (double)(i / DAY_BARS % 5)));
        assert_int_equal(out.signal[QM_KYLE_P99].has_value, i >= 21 * DAY_BARS - 1);
    }
    assert_int_equal(out.signals[QM_KYLE_P99], 22);
    assert_true(out.signal[QM_KYLE_P99].has_value);
    const double above = out.signal[QM_KYLE_P99].warn_above;

    assert_true(isfinite(above) && out.signal[QM_KYLE_P99].observed == ALERT_OK);
    for (; i < 23 * DAY_BARS; i++)
        assert_true(bar("A", i, NAN));
    assert_int_equal(out.transition[QM_KYLE_P99].state, ALERT_NO_DATA);
    assert_false(out.transition[QM_KYLE_P99].has_value);
    assert_true(isnan(out.transition[QM_KYLE_P99].threshold)); /* of a day without, none */
}

/* Ninety days of spreads past all that the sketch tells apart. Seen to fail with a day less of
 * them. */
static void spreads_past_the_last_bin(void **state)
{
    struct qm_options options = usual();
    struct l2_sketch sketch = {{0}};
    uint8_t bytes[L2_SKETCH_BYTES_MAX];

    (void)state;
    options.bar_s = 3600;
    begin(&options);
    for (int i = 0; i < 60; i++)
        l2_sketch_add(&sketch, 1e300);
    const size_t n = l2_sketch_encode(&sketch, bytes);

    for (int64_t i = 0; i < INT64_C(24) * 91; i++) {
        const struct qm_bar b = {
            .bar_time_us = i * 3600 * L2_US_PER_S, .snapshots = 60, .sketch = bytes, .sketch_n = n};
        assert_true(qm_core_bar(core, "A", &b));
    }
    assert_true(out.signal[QM_SPREAD_REGIME].has_value);
    assert_true(fabs(out.signal[QM_SPREAD_REGIME].value - 1) < 1e-12);
    assert_int_equal(out.signal[QM_SPREAD_REGIME].n, INT64_C(60) * 24 * 90);
}

#define T(name) cmocka_unit_test_teardown(name, end)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(what_cannot_be_is_not_folded),
        T(cryptos_have_places),
        T(every_crypto_has_its_own_number),
        T(memory_gives_out),
        T(a_reference_is_of_the_bars),
        T(a_reference_may_know_little),
        T(freshness_by_the_clock),
        T(freshness_before_and_after),
        T(a_mid_of_long_ago_is_not_judged),
        T(a_proof_that_differs_is_p2),
        T(a_rollout_clears_a_latch),
        T(signals_are_given_once),
        T(outcomes_are_given_once),
        T(a_prediction_is_taken_once_and_in_time),
        T(freshness_below_zero),
        T(labels_have_bounds),
        T(label_sets_have_places),
        T(no_arm_has_no_outcome),
        T(a_month_whose_buys_lie_in_one_day),
        T(a_month_of_few_buys),
        T(tails_from_the_first_day_on),
        T(spreads_past_the_last_bin),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
