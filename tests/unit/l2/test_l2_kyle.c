#include "l2_test.h"

static const double xs[] = {3e7, -1e7, 2e7, 3e7 + 1, -5e6}, ys[] = {.5, -.25, .25, .5, 0.};

/* Split anywhere, the merged sums give the slope of the whole. Seen to fail without the dx·dy term.
 */
static void kyle_merge_equals_whole(void **state)
{
    (void)state;
    struct l2_kyle whole = {0};
    double want, got;

    for (int i = 0; i < 5; i++)
        l2_kyle_add(&whole, xs[i], ys[i]);
    assert_true(l2_kyle_slope(&whole, 2, &want));
    for (int cut = 0; cut <= 5; cut++) {
        struct l2_kyle a = {0}, b = {0};
        for (int i = 0; i < 5; i++)
            l2_kyle_add(i < cut ? &a : &b, xs[i], ys[i]);
        l2_kyle_merge(&a, &b);
        assert_int_equal(a.n, 5);
        assert_true(l2_kyle_slope(&a, 2, &got));
        assert_true(near(got, want, 1e-12));
    }
}

/* Seen to fail with `n <= samples_min`, and without `varied` and isfinite. */
static void kyle_needs_samples_and_variance(void **state)
{
    (void)state;
    struct l2_kyle k = {0}, other = {0};
    double lambda = 42;

    for (int i = 0; i < 100; i++)
        l2_kyle_add(&k, 0.1, i);
    assert_false(
        l2_kyle_slope(&k, 30, &lambda)); /* all volumes equal, though 0.1 is no exact double */
    l2_kyle_add(&other, 0.1, 5);
    l2_kyle_merge(&k, &other);
    assert_false(l2_kyle_slope(&k, 30, &lambda));
    l2_kyle_add(&k, 0.2, 1);
    assert_false(l2_kyle_slope(&k, 103, &lambda));
    assert_true(lambda == 42); /* outputs are untouched on failure */
    assert_true(l2_kyle_slope(&k, 102, &lambda));
    assert_true(isfinite(lambda) && lambda != 42);
}

/* An empty set neither adds nor loses. Seen to fail without the n == 0 cases (0/0). */
static void kyle_merge_knows_empty_sets(void **state)
{
    (void)state;
    struct l2_kyle a = {0}, empty = {0};
    double lambda = 42;

    l2_kyle_merge(&a, &empty);
    assert_int_equal(a.n, 0);
    assert_false(l2_kyle_slope(&a, 2, &lambda));
    l2_kyle_add(&a, 1, 2);
    l2_kyle_add(&a, 2, 5);
    l2_kyle_merge(&a, &empty);
    l2_kyle_merge(&empty, &a);
    assert_true(l2_kyle_slope(&a, 2, &lambda) && lambda == 3);
    assert_true(l2_kyle_slope(&empty, 2, &lambda) && lambda == 3);
}

/* Volumes near 10^9 that differ by 1, prices that move by a quarter. Seen to fail with raw sums of
 * squares. */
static void kyle_survives_cancellation(void **state)
{
    (void)state;
    struct l2_kyle minute[15] = {0}, window = {0};
    double lambda;

    for (int i = 0; i < 900; i++)
        l2_kyle_add(&minute[i / 60], 1e9 + (i % 2 == 0 ? 0.5 : -0.5), i % 2 == 0 ? 0.25 : -0.25);
    for (int m = 0; m < 15; m++)
        l2_kyle_merge(&window, &minute[m]);
    assert_true(l2_kyle_slope(&window, 30, &lambda));
    assert_true(near(lambda, 0.5, 1e-9));
}

/* Against two passes in long double. Seen to fail with the mean of x moved by dx·(na/n). */
static void kyle_equals_two_passes(void **state)
{
    (void)state;
    uint64_t seed = 7;

    for (int round = 0; round < 300; round++) {
        const int n = 30 + (int)test_below(&seed, 870);
        const double level = ldexp(1, (int)test_below(&seed, 30));
        double x[900], y[900], got;
        long double mx = 0, my = 0, sxx = 0, sxy = 0, terms = 0;
        struct l2_kyle parts[15] = {0}, k = {0};
        for (int i = 0; i < n; i++) {
            x[i] = level * (test_unit(&seed) - 0.3);
            y[i] = 1e-7 * x[i] + 0.1 * (test_unit(&seed) - 0.5);
            mx += x[i];
            my += y[i];
            l2_kyle_add(&parts[i / 60], x[i], y[i]);
        }
        mx /= n;
        my /= n;
        for (int i = 0; i < n; i++) {
            sxx += (x[i] - mx) * (x[i] - mx);
            sxy += (x[i] - mx) * (y[i] - my);
            terms += fabsl((x[i] - mx) * (y[i] - my));
        }
        for (int p = 0; p < 15; p++)
            l2_kyle_merge(&k, &parts[p]);
        assert_true(l2_kyle_slope(&k, 30, &got));
        assert_true(fabsl(got - sxy / sxx) <= 1e-12L * terms / sxx);
    }
}

/* Numbers that a book may hold and no market ever will: no slope, rather than an infinite one or
 * NaN. Seen to fail without the isfinite in l2_kyle_slope. */
static void kyle_gives_no_slope_past_the_range_of_doubles(void **state)
{
    (void)state;
    const double volumes[][2] = {{1e308, -1e308}, {1e200, 0}, {5e-324, 0}};

    for (int v = 0; v < 3; v++) {
        struct l2_kyle k = {0};
        double lambda = 42;
        for (int i = 0; i < 40; i++)
            l2_kyle_add(&k, volumes[v][i % 2], i % 3);
        assert_false(l2_kyle_slope(&k, 30, &lambda));
        assert_true(lambda == 42);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kyle_merge_equals_whole),
        cmocka_unit_test(kyle_needs_samples_and_variance),
        cmocka_unit_test(kyle_merge_knows_empty_sets),
        cmocka_unit_test(kyle_survives_cancellation),
        cmocka_unit_test(kyle_equals_two_passes),
        cmocka_unit_test(kyle_gives_no_slope_past_the_range_of_doubles),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
