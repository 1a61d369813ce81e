#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clk/clk.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#define TURNS 20000
#define DAY_US (86400 * CLK_US_PER_S)

static uint64_t random_state = 88172645463325252u; /* xorshift64: the same every run */

static uint64_t random_u64(void)
{
    random_state ^= random_state << 13;
    random_state ^= random_state >> 7;
    random_state ^= random_state << 17;
    return random_state;
}

/* Uniform in [low, high]. */
static int64_t random_between(int64_t low, int64_t high)
{
    return low + (int64_t)(random_u64() % ((uint64_t)(high - low) + 1));
}

static struct clk *clock_of(const char *spec)
{
    struct clk *clk = NULL;
    struct err err = {0};

    if (clk_new(spec, &clk, &err) != ERR_OK)
        fail_msg("%s: %s", spec, err.text);
    return clk;
}

/* A rehearsal of random starts; speed as text, so that the oracle below knows it exactly. */
static struct clk *random_clock(int64_t *ret_real_start, int64_t *ret_virtual_start,
                                int64_t *ret_millionths)
{
    char spec[128];
    const int64_t real_s = random_between(1700000000, 1900000000);
    const int64_t virtual_s = random_between(1500000000, 1699999999);
    const int64_t micros = random_between(0, 999999);
    static const int64_t speeds[] = {1,       250000,   999999,    1000000,   1000001,
                                     1500000, 60000000, 480000000, 1000000000};
    const int64_t speed =
        random_u64() % 2 == 0 ? speeds[random_u64() % 9] : random_between(1, 1000000000);

    (void)snprintf(spec, sizeof spec,
                   "%" PRId64 ".%06" PRId64 "/%" PRId64 "/%" PRId64 ".%06" PRId64, real_s, micros,
                   virtual_s, speed / 1000000, speed % 1000000);
    *ret_real_start = real_s * CLK_US_PER_S + micros;
    *ret_virtual_start = virtual_s * CLK_US_PER_S;
    *ret_millionths = speed;
    return clock_of(spec);
}

/* virtual = start + elapsed × speed to the whole µs below, however far from the start: nothing
 * drifts. Seen to fail with the product taken in double, and with truncation instead of floor. */
static void clk_maps_exactly(void **state)
{
    (void)state;
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t real_start, virtual_start, millionths;
        struct clk *clk = random_clock(&real_start, &virtual_start, &millionths);
        const int64_t elapsed = random_between(-400 * DAY_US, 400 * DAY_US);
        const __int128 scaled =
            (__int128)(clk_to_virtual_us(clk, real_start + elapsed) - virtual_start) * 1000000;
        const __int128 exact = (__int128)elapsed * millionths;

        assert_true(scaled <= exact && exact - scaled < 1000000);
        clk_free(clk);
    }
}

/* Both mappings never step back. Seen to fail with the µs within a second mapped apart from the
 * seconds. */
static void clk_is_monotone(void **state)
{
    (void)state;
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t real_start, virtual_start, millionths;
        struct clk *clk = random_clock(&real_start, &virtual_start, &millionths);
        const int64_t t =
            random_between(real_start - 86400 * CLK_US_PER_S, real_start + 86400 * CLK_US_PER_S);
        const int64_t later = t + random_between(1, 3000000);

        assert_true(clk_to_virtual_us(clk, t) <= clk_to_virtual_us(clk, later));
        assert_true(clk_to_real_us(clk, t) <= clk_to_real_us(clk, later));
        assert_true(clk_to_virtual_us(clk, t + 1) >= clk_to_virtual_us(clk, t));
        clk_free(clk);
    }
}

/* The header's round trips. Seen to fail with to_real rounding down. */
static void clk_round_trips(void **state)
{
    (void)state;
    for (int turn = 0; turn < TURNS; turn++) {
        int64_t real_start, virtual_start, millionths;
        struct clk *clk = random_clock(&real_start, &virtual_start, &millionths);
        const int64_t real =
            random_between(real_start - 86400 * CLK_US_PER_S, real_start + 86400 * CLK_US_PER_S);
        const int64_t virtual = clk_to_virtual_us(clk, real);
        const int64_t back = clk_to_real_us(clk, virtual);

        if (millionths >= 1000000)
            assert_true(back == real);
        else
            assert_true(back <= real && (real - back) * millionths < 1000000);
        /* to_real is the first µs at which virtual time has arrived */
        const int64_t wanted = virtual + random_between(-1000000, 1000000);
        const int64_t first = clk_to_real_us(clk, wanted);

        assert_true(clk_to_virtual_us(clk, first) >= wanted);
        assert_true(clk_to_virtual_us(clk, first - 1) < wanted);
        clk_free(clk);
    }
}

static void clk_reads_every_form_of_time(void **state)
{
    (void)state;
    /* 2024-08-08T23:54:16Z = 1723161256, 2028-02-29T00:00:00Z = 1835395200 (date -u +%s) */
    static const char *const specs[] = {
        "1835395200/1723161256/480",
        "2028-02-29T00:00:00Z/2024-08-08T23:54:16Z/480",
        "2028-02-29t00:00:00.000000z/1723161256.0/480.000000",
    };

    for (size_t i = 0; i < sizeof specs / sizeof specs[0]; i++) {
        struct clk *clk = clock_of(specs[i]);

        assert_true(clk_is_rehearsal(clk));
        assert_true(clk_speed(clk) == 480);
        assert_int_equal(clk_to_virtual_us(clk, INT64_C(1835395200000000)),
                         INT64_C(1723161256000000));
        assert_int_equal(clk_to_virtual_us(clk, INT64_C(1835395201000000)),
                         INT64_C(1723161736000000));
        clk_free(clk);
    }
    struct clk *clk = clock_of("1835395200.25/1723161256.5/0.5");

    assert_int_equal(clk_to_virtual_us(clk, INT64_C(1835395202250000)), INT64_C(1723161257500000));
    clk_free(clk);
}

/* What is refused, and the word that the error must hold. Seen to fail without each of
 * the bounds. */
static void clk_refuses_bad_specs(void **state)
{
    (void)state;
    static const char *const bad[][2] = {
        {"yesterday", "<real start>"},
        {"1835395200/1723161256", "<real start>"},
        {"1835395200/1723161256/1001", "at most 1000"},
        {"1835395200/1723161256/1000.000001", "at most 1000"},
        {"1835395200/1723161256/0", "above 0"},
        {"1835395200/1723161256/-1", "above 0"},
        {"1835395200/1723161256/", "speed ''"},
        {"1835395200/1723161256/4x", "speed '4x'"},
        {"1835395200/1723161256/1.1234567", "six decimals"},
        {"1835395200/1723161256/1.", "speed '1.'"},
        {"/1723161256/480", "real start ''"},
        {"2028-02-30T00:00:00Z/1723161256/480", "real start '2028"},
        {"2027-02-29T00:00:00Z/1723161256/480", "real start '2027"},
        {"2028-02-29T24:00:00Z/1723161256/480", "real start"},
        {"2028-02-29T00:00:00/1723161256/480", "real start"},
        {"2028-02-29T00:00:00+01:00/1723161256/480", "real start"},
        {"1835395200/20240808/480", NULL}, /* fine: Unix seconds */
        {"1835395200/2024-08-08/480", "virtual start '2024-08-08'"},
        {"1835395200/1835395200/480", "is not before"},
        {"99999999999999999999/1723161256/480", "real start"},
        {"1835395200/1723161256/480 ", "speed"},
    };

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        struct clk *clk = NULL;
        struct err err = {0};
        const enum err_class e = clk_new(bad[i][0], &clk, &err);

        if (bad[i][1] == NULL) {
            assert_int_equal(e, ERR_OK);
            clk_free(clk);
            continue;
        }
        assert_int_equal(e, ERR_REJECT);
        assert_null(clk);
        if (strstr(err.text, bad[i][1]) == NULL || strncmp(err.text, "L2_CLOCK", 8) != 0)
            fail_msg("%s: %s", bad[i][0], err.text);
    }
}

static void clk_wall_is_real(void **state)
{
    (void)state;
    static const char *const none[] = {NULL, ""};

    for (size_t i = 0; i < 2; i++) {
        struct clk *clk = clock_of(none[i]);
        const int64_t before = clk_wall_us(), now = clk_now_us(clk), after = clk_wall_us();

        assert_true(before <= now && now <= after);
        assert_int_equal(clk_to_virtual_us(clk, 12345), 12345);
        assert_int_equal(clk_to_real_us(clk, 12345), 12345);
        assert_false(clk_is_rehearsal(clk));
        assert_false(clk_is_over(clk));
        assert_true(clk_speed(clk) == 1);
        clk_free(clk);
    }
    assert_true(clk_mono_us() <= clk_mono_us());
    clk_free(NULL);
}

/* Over exactly when virtual time reaches the real start. Seen to fail when it compares with real
 * time. */
static void clk_rehearsal_ends(void **state)
{
    (void)state;
    char spec[128];
    const int64_t now_s = clk_wall_us() / CLK_US_PER_S;

    /* 100 s ago, 1000 s of market, speed 1000: long over */
    (void)snprintf(spec, sizeof spec, "%" PRId64 "/%" PRId64 "/1000", now_s - 100, now_s - 1100);
    struct clk *over = clock_of(spec);

    assert_true(clk_is_over(over));
    clk_free(over);
    /* the same with a million seconds of market: not before 1000 s */
    (void)snprintf(spec, sizeof spec, "%" PRId64 "/%" PRId64 "/1000", now_s - 100, now_s - 1000100);
    struct clk *running = clock_of(spec);

    assert_false(clk_is_over(running));
    assert_true(clk_now_us(running) >= (now_s - 900100) * CLK_US_PER_S);
    clk_free(running);
    /* started ahead of time: virtual time before its start, not over */
    (void)snprintf(spec, sizeof spec, "%" PRId64 "/%" PRId64 "/1000", now_s + 100, now_s - 1000000);
    struct clk *early = clock_of(spec);

    assert_false(clk_is_over(early));
    assert_true(clk_now_us(early) < (now_s - 1000000) * CLK_US_PER_S);
    clk_free(early);
}

/* Seen to fail when the floor is not multiplied by the speed. */
static void clk_grace_is_two_real_seconds_at_least(void **state)
{
    (void)state;
    struct clk *fast = clock_of("1835395200/1723161256/480"), *wall = clock_of(NULL);

    assert_int_equal(clk_grace_us(fast, 10 * CLK_US_PER_S), 960 * CLK_US_PER_S);
    assert_int_equal(clk_grace_us(fast, 1000 * CLK_US_PER_S), 1000 * CLK_US_PER_S);
    assert_int_equal(clk_grace_us(wall, 10 * CLK_US_PER_S), 10 * CLK_US_PER_S);
    assert_int_equal(clk_grace_us(wall, 1), 2 * CLK_US_PER_S);
    clk_free(fast);
    clk_free(wall);
}

/* Any int64 has an answer. Seen to fail (UBSan, and the values) without the saturation. */
static void clk_saturates(void **state)
{
    (void)state;
    struct clk *fast = clock_of("1835395200/1723161256/1000"),
               *slow = clock_of("1835395200/1723161256/0.000001");

    assert_true(clk_to_virtual_us(fast, INT64_MAX) == INT64_MAX);
    assert_true(clk_to_virtual_us(fast, INT64_MIN) == INT64_MIN);
    assert_true(clk_to_real_us(slow, INT64_MAX) == INT64_MAX);
    assert_true(clk_to_real_us(slow, INT64_MIN) == INT64_MIN);
    clk_free(fast);
    clk_free(slow);
}

static void clk_test_clock_stands(void **state)
{
    (void)state;
    struct clk *clk = clk_new_test(5);

    assert_int_equal(clk_now_us(clk), 5);
    clk_test_set(clk, 7);
    assert_int_equal(clk_now_us(clk), 7);
    assert_int_equal(clk_real_us(clk), 7);
    assert_false(clk_is_over(clk));
    clk_free(clk);
}

static void clk_says_what_it_is(void **state)
{
    (void)state;
    char buf[CLK_DESCRIBE_BYTES], text[CLK_TEXT_BYTES];
    struct clk *fast = clock_of("2028-02-29T00:00:00.5Z/2024-08-08T23:54:16Z/480"),
               *wall = clock_of(NULL);
    struct clk *test = clk_new_test(-1);

    assert_string_equal(
        clk_describe(fast, buf, sizeof buf),
        "rehearsal clock: virtual 2024-08-08T23:54:16Z + 480 x since 2028-02-29T00:00:00.500000Z");
    assert_string_equal(clk_describe(wall, buf, sizeof buf), "wall clock");
    assert_string_equal(clk_describe(test, buf, sizeof buf),
                        "test clock at 1969-12-31T23:59:59.999999Z");
    assert_string_equal(clk_text(INT64_C(1723161256123456), text, sizeof text),
                        "2024-08-08T23:54:16.123456Z");
    assert_true(strlen(clk_text(INT64_MAX, text, sizeof text)) < sizeof text);
    assert_true(strlen(clk_text(INT64_MIN, text, sizeof text)) < sizeof text);
    clk_free(fast);
    clk_free(wall);
    clk_free(test);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(clk_maps_exactly),
        cmocka_unit_test(clk_is_monotone),
        cmocka_unit_test(clk_round_trips),
        cmocka_unit_test(clk_reads_every_form_of_time),
        cmocka_unit_test(clk_refuses_bad_specs),
        cmocka_unit_test(clk_wall_is_real),
        cmocka_unit_test(clk_rehearsal_ends),
        cmocka_unit_test(clk_grace_is_two_real_seconds_at_least),
        cmocka_unit_test(clk_saturates),
        cmocka_unit_test(clk_test_clock_stands),
        cmocka_unit_test(clk_says_what_it_is),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
