#include "bus/limit.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>

#include <cmocka.h>

#define SECOND INT64_C(1000000)

/* Seen to fail with `held` kept, and with one place for all kinds. */
static void the_first_then_one_in_ten_seconds_with_a_count(void **state)
{
    struct limit limit = {0};
    unsigned held = 7;

    (void)state;
    assert_true(limit_pass(&limit, "FAIL", 5, &held));
    assert_int_equal(held, 0);
    for (int64_t i = 0; i < 99; i++)
        assert_false(limit_pass(&limit, "FAIL", 5 + i * SECOND / 10, &held));
    assert_true(limit_pass(&limit, "ERROR", 6 * SECOND, &held));
    assert_int_equal(held, 0);
    assert_true(limit_pass(&limit, "FAIL", 5 + 10 * SECOND, &held));
    assert_int_equal(held, 99);
    assert_true(limit_pass(&limit, "FAIL", 3600 * SECOND, &held));
    assert_int_equal(held, 0);
}

/* More kinds than places: bounded, and still a line now and then. */
static void kinds_without_a_place_share_one(void **state)
{
    struct limit limit = {0};
    char kind[64];
    unsigned held, passed = 0;

    (void)state;
    for (int i = 0; i < 100; i++) {
        (void)snprintf(kind, sizeof kind, "a kind whose name is longer than its place %d", i);
        kind[0] = (char)('!' + i);
        passed += limit_pass(&limit, kind, 1, &held);
    }
    assert_int_equal(passed, LIMIT_KINDS_MAX);
    assert_true(limit_pass(&limit, "another", 1 + 10 * SECOND, &held));
    assert_int_equal(held, 100 - LIMIT_KINDS_MAX);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_first_then_one_in_ten_seconds_with_a_count),
        cmocka_unit_test(kinds_without_a_place_share_one),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
