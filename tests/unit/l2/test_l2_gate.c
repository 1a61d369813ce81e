/* Shadow's and canary's rules, each bound at - eps, = and + eps. Seen to fail: with each comparison
 * turned (< for <=, >= for >), with unknown taken for met, with a warning that does not extend,
 * with the last day one later, with too few BUYs taken for enough. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "l2/gate.h"

#define EPS 1e-9

static struct l2_figure figure(double value)
{
    return (struct l2_figure){.known = true, .value = value, .n = 672};
}

static struct l2_shadow good_shadow(uint32_t days)
{
    return (struct l2_shadow){.days = days,
                              .freshness_p99_s = figure(5),
                              .nan_rate_p99 = figure(0),
                              .agreement = figure(0.95),
                              .agreement_min = L2_GATE_AGREEMENT};
}

static void shadow_waits_passes_extends_and_ends(void **state)
{
    struct l2_shadow s = good_shadow(6);

    (void)state;
    assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_WAIT);
    s.days = 7;
    assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_PASS);
    s.has_warning = true;
    assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_EXTEND);
    s.days = 27;
    assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_EXTEND);
    s.days = 28;
    assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_ROLL_BACK);
    s.has_warning = false;
    assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_PASS);
}

static void shadow_bounds(void **state)
{
    static const struct {
        double freshness, nan_rate, agreement;
        enum l2_criterion_state want[3];
    } rows[] = {
        {30 - EPS, 0.01 - EPS, 0.9 + EPS, {L2_CRITERION_MET, L2_CRITERION_MET, L2_CRITERION_MET}},
        {30, 0.01, 0.9, {L2_CRITERION_NOT_MET, L2_CRITERION_NOT_MET, L2_CRITERION_MET}},
        {30 + EPS,
         0.01 + EPS,
         0.9 - EPS,
         {L2_CRITERION_NOT_MET, L2_CRITERION_NOT_MET, L2_CRITERION_NOT_MET}},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct l2_shadow s = good_shadow(7);
        s.freshness_p99_s = figure(rows[i].freshness);
        s.nan_rate_p99 = figure(rows[i].nan_rate);
        s.agreement = figure(rows[i].agreement);
        const struct l2_shadow_result r = l2_gate_shadow(&s);
        assert_int_equal(r.freshness, rows[i].want[0]);
        assert_int_equal(r.nan_rate, rows[i].want[1]);
        assert_int_equal(r.agreement, rows[i].want[2]);
        assert_int_equal(r.verdict, i == 0 ? L2_GATE_PASS : L2_GATE_EXTEND);
    }
}

static void each_shadow_figure_has_to_be_known(void **state)
{
    (void)state;
    for (int i = 0; i < 3; i++) {
        struct l2_shadow s = good_shadow(9);
        struct l2_figure *const figures[] = {&s.freshness_p99_s, &s.nan_rate_p99, &s.agreement};
        figures[i]->known = false;
        assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_EXTEND);
    }
}

static void an_approver_s_bound_on_agreement_holds(void **state)
{
    struct l2_shadow s = good_shadow(7);

    (void)state;
    s.agreement = figure(0.85);
    s.agreement_min = 0.8;
    assert_int_equal(l2_gate_shadow(&s).verdict, L2_GATE_PASS);
}

static struct l2_canary canary(uint32_t days, double f1, double estimate)
{
    return (struct l2_canary){.days = days,
                              .f1_buy = figure(f1),
                              .actual_buys = 30,
                              .predicted_buys = 30,
                              .estimate = figure(estimate)};
}

static void canary_band(void **state)
{
    static const struct {
        double f1;
        enum l2_gate_verdict want;
    } rows[] = {{0.4 - EPS, L2_GATE_EXTEND}, {0.4, L2_GATE_PASS},         {0.5, L2_GATE_PASS},
                {0.6, L2_GATE_PASS},         {0.6 + EPS, L2_GATE_REVIEW}, {0, L2_GATE_EXTEND}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct l2_canary c = canary(7, rows[i].f1, 0.5);
        assert_int_equal(l2_gate_canary(&c).verdict, rows[i].want);
    }
}

static void canary_s_looks(void **state)
{
    static const struct {
        uint32_t days, looks;
        enum l2_gate_verdict want;
    } rows[] = {{6, 0, L2_GATE_WAIT},       {7, 1, L2_GATE_EXTEND},    {13, 1, L2_GATE_EXTEND},
                {14, 2, L2_GATE_EXTEND},    {21, 3, L2_GATE_EXTEND},   {27, 3, L2_GATE_EXTEND},
                {28, 4, L2_GATE_ROLL_BACK}, {40, 4, L2_GATE_ROLL_BACK}};

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const struct l2_canary c = canary(rows[i].days, 0.1, 0.5);
        const struct l2_canary_result r = l2_gate_canary(&c);
        assert_int_equal(r.verdict, rows[i].want);
        assert_int_equal(r.looks, rows[i].looks);
    }
}

static void too_little_is_no_pass(void **state)
{
    struct l2_canary few = canary(7, 0.5, 0.5), none = few, unknown = few, blind = few;

    (void)state;
    few.actual_buys = 29;
    none.predicted_buys = 29;
    unknown.f1_buy.known = false;
    blind.estimate.known = false;
    assert_int_equal(l2_gate_canary(&few).verdict, L2_GATE_EXTEND);
    assert_int_equal(l2_gate_canary(&none).verdict, L2_GATE_EXTEND);
    assert_int_equal(l2_gate_canary(&unknown).verdict, L2_GATE_EXTEND);
    assert_int_equal(l2_gate_canary(&blind).verdict, L2_GATE_EXTEND);
    few.days = 28;
    assert_int_equal(l2_gate_canary(&few).verdict, L2_GATE_ROLL_BACK);
    few.f1_buy = figure(0.9); /* above the band, but of too few to say so */
    assert_int_equal(l2_gate_canary(&few).f1_buy, L2_CRITERION_UNKNOWN);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(shadow_waits_passes_extends_and_ends),
        cmocka_unit_test(shadow_bounds),
        cmocka_unit_test(each_shadow_figure_has_to_be_known),
        cmocka_unit_test(an_approver_s_bound_on_agreement_holds),
        cmocka_unit_test(canary_band),
        cmocka_unit_test(canary_s_looks),
        cmocka_unit_test(too_little_is_no_pass),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
