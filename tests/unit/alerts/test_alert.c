/* One alert's state under every kind of rule. Seen to fail: with > for >= in lasted (entering and
 * leaving), with streaks that no_data interrupts, with a P2 that no_data ends, with a step from p2
 * to ok at once, without the bound on times that go back. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "alerts/alert.h"

#define S INT64_C(1000000)

static const struct alert_rule predictions = {.enter_n = 3, .leave_n = 8};
static const struct alert_rule clock_rule = {
    .enter_n = 1, .leave_n = 1, .enter_us = 60 * S, .leave_us = 300 * S};
static const struct alert_rule bars = {.enter_n = 1, .leave_n = 2};

/* Steps through `seen`, one a second: o(k), w(arn), p(2), n(o data); the states after each. */
static void run(const struct alert_rule *rule, struct alert *a, const char *seen, const char *want)
{
    static const char letters[] = "nowp";
    char got[128];
    const size_t n = strlen(seen);
    const int64_t begin_us = a->seen_us + S;

    assert_true(n < sizeof got);
    for (size_t i = 0; i < n; i++) {
        const enum alert_state before = a->state;
        const enum alert_state observed = (enum alert_state)(strchr(letters, seen[i]) - letters);
        const bool changed = alert_step(a, rule, observed, begin_us + (int64_t)i * S);
        assert_int_equal(changed, a->state != before);
        if (changed)
            assert_int_equal(a->since_us, begin_us + (int64_t)i * S);
        got[i] = letters[a->state];
    }
    got[n] = '\0';
    assert_string_equal(got, want);
}

static void counts_in_a_row(void **state)
{
    (void)state;
    struct alert a = {0};

    run(&predictions, &a, "owwowwwoooooooo", "oooooowwwwwwwwo");
    run(&predictions, &a, "ppwwpppoooooooo", "oowwwwppppppppo");
    a = (struct alert){0};
    run(&bars, &a, "owowoopowpoo", "owwwwoppwppo");
}

static void flapping_changes_nothing(void **state)
{
    (void)state;
    struct alert a = {0};

    run(&predictions, &a, "wowowowowowowowo", "oooooooooooooooo");
    a = (struct alert){0};
    run(&predictions, &a, "wwwoooooowooooooow", "oowwwwwwwwwwwwwwww");
}

static void p2_is_left_by_way_of_warn(void **state)
{
    (void)state;
    struct alert a = {0};

    run(&bars, &a, "pwwwoo", "ppwwwo");
    a = (struct alert){0};
    run(&bars, &a, "pwoo", "ppwo"); /* two better than p2, but only one better than warn */
}

static void durations(void **state)
{
    (void)state;
    struct alert a = {0};

    assert_true(alert_step(&a, &clock_rule, ALERT_OK, 0));
    assert_false(alert_step(&a, &clock_rule, ALERT_P2, 10 * S));
    assert_false(alert_step(&a, &clock_rule, ALERT_P2, 69 * S));
    assert_true(alert_step(&a, &clock_rule, ALERT_P2, 70 * S));
    assert_int_equal(a.state, ALERT_P2);
    assert_false(alert_step(&a, &clock_rule, ALERT_OK, 100 * S));
    assert_false(alert_step(&a, &clock_rule, ALERT_OK, 50 * S)); /* counts as 100 s */
    assert_false(alert_step(&a, &clock_rule, ALERT_OK, 399 * S));
    assert_true(alert_step(&a, &clock_rule, ALERT_OK, 400 * S));
    assert_int_equal(a.state, ALERT_OK);
    assert_int_equal(a.since_us, 400 * S);
    assert_false(alert_step(&a, &clock_rule, ALERT_P2, 350 * S)); /* as 400 s */
    assert_false(alert_step(&a, &clock_rule, ALERT_P2, 459 * S));
    assert_true(alert_step(&a, &clock_rule, ALERT_P2, 460 * S));
}

static void no_data(void **state)
{
    (void)state;
    struct alert a = {0};

    run(&bars, &a, "nnno", "nnno"); /* none yet is no alert: the first good one is enough */
    run(&bars, &a, "nonoo", "nnnoo"); /* the two good ones need not touch */
    run(&bars, &a, "wnpnnn", "wnpppp");
    a = (struct alert){0};
    run(&predictions, &a, "owwnw", "ooonw");
    assert_string_equal(alert_state_name(ALERT_NO_DATA), "no_data");
    assert_string_equal(alert_state_name(ALERT_P2), "p2");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_in_a_row),
        cmocka_unit_test(flapping_changes_nothing),
        cmocka_unit_test(p2_is_left_by_way_of_warn),
        cmocka_unit_test(durations),
        cmocka_unit_test(no_data),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
