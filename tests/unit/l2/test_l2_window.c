#include "l2_test.h"

#define MINUTES_MAX 60
#define MINUTE L2_MINUTE_US

/* A window of n minutes, empty. */
static struct l2_window blank(struct l2_minute *minutes, uint32_t n)
{
    struct l2_window w = {.minutes = minutes, .minutes_n = n};

    l2_window_reset(&w);
    return w;
}

/* Only what lies in [end − n minutes, end) counts. Seen to fail with a sum that begins one minute
 * earlier. */
static void window_is_half_open(void **state)
{
    (void)state;
    struct l2_minute minutes[MINUTES_MAX];
    struct l2_window w = blank(minutes, 2);

    l2_window_add_ofi(&w, 0, 1);
    l2_window_add_ofi(&w, MINUTE - 1, 2);
    l2_window_add_ofi(&w, MINUTE, 4);
    assert_true(l2_window_sum(&w, MINUTE).ofi == 3);
    assert_true(l2_window_sum(&w, 2 * MINUTE).ofi == 7);
    assert_true(l2_window_sum(&w, 3 * MINUTE).ofi == 4);
    assert_true(l2_window_sum(&w, 4 * MINUTE).ofi == 0);
    l2_window_add_ofi(&w, 2 * MINUTE, 8);
    assert_true(l2_window_sum(&w, 3 * MINUTE).ofi == 12);
    l2_window_add_ofi(&w, 0, 1000); /* the ring has moved past it: forgotten */
    l2_window_add_sample(&w, 0, 1, 1);
    assert_true(l2_window_sum(&w, 3 * MINUTE).ofi == 12);
    assert_int_equal(l2_window_sum(&w, 3 * MINUTE).kyle.n, 0);
}

/* Seen to fail with a slot from the remainder of a negative minute as C gives it (out of the ring).
 */
static void window_before_1970(void **state)
{
    (void)state;
    struct l2_minute minutes[MINUTES_MAX];
    struct l2_window w = blank(minutes, 15);

    for (int64_t m = -20; m < 5; m++)
        l2_window_add_ofi(&w, m * MINUTE + 1, ldexp(1, (int)m + 20));
    assert_true(l2_window_sum(&w, 5 * MINUTE).ofi == ldexp(1, 25) - ldexp(1, 10));
    w = blank(minutes, 15);
    l2_window_add_gap(&w, -16 * MINUTE, -MINUTE - 1);
    assert_true(l2_window_sum(&w, 0).gap_us == 14 * MINUTE - 1);
}

/* Seen to fail with the whole minute counted instead of [low, high). */
static void window_gap_counts_in_each_minute_it_covers(void **state)
{
    (void)state;
    struct l2_minute minutes[MINUTES_MAX];
    struct l2_window w = blank(minutes, 15);

    l2_window_add_gap(&w, MINUTE / 2, 3 * MINUTE + 7);
    l2_window_add_gap(&w, 4 * MINUTE, 4 * MINUTE); /* of no length */
    const int64_t want[] = {MINUTE / 2, MINUTE, MINUTE, 7, 0};
    for (int m = 0; m < 5; m++) {
        int64_t all = 0;
        for (int i = 0; i <= m; i++)
            all += want[i];
        assert_true(l2_window_sum(&w, (m + 1) * MINUTE).gap_us == all);
    }
    l2_window_add_gap(&w, 4 * MINUTE, 5 * MINUTE); /* ends where a minute does */
    assert_true(l2_window_sum(&w, 16 * MINUTE).gap_us == 2 * MINUTE + 7 + MINUTE);
    assert_true(l2_window_sum(&w, 19 * MINUTE).gap_us == MINUTE);
}

/* Years of gap are a window of it, and end in time. Seen to fail with `start` not lifted to the
 * oldest minute (a time-out). */
static void window_gap_older_than_the_ring(void **state)
{
    (void)state;
    struct l2_minute minutes[MINUTES_MAX];
    struct l2_window w = blank(minutes, 15);

    l2_window_add_ofi(&w, 0, 5);
    l2_window_add_gap(&w, -INT64_MAX / 2, INT64_MAX / 2 / MINUTE * MINUTE + 1);
    const struct l2_window_sums sums = l2_window_sum(&w, INT64_MAX / 2 / MINUTE * MINUTE + MINUTE);
    assert_true(sums.gap_us == 14 * MINUTE + 1 && sums.ofi == 0);
}

/* Oldest first, each minute apart: the bytes do not depend on where the ring happens to begin. Seen
 * to fail with a sum by slots. */
static void window_sums_oldest_first(void **state)
{
    (void)state;
    struct l2_minute minutes[MINUTES_MAX];
    uint64_t seed = 21;
    double want = 0, values[15];

    for (int i = 0; i < 15; i++) {
        values[i] = 0.1 * test_unit(&seed);
        want += values[i];
    }
    for (int64_t shift = -15; shift <= 15; shift++) {
        struct l2_window w = blank(minutes, 15);
        for (int i = 0; i < 15; i++)
            l2_window_add_ofi(&w, (shift + i) * MINUTE, values[i]);
        assert_true(same_bits(l2_window_sum(&w, (shift + 15) * MINUTE).ofi, want));
    }
}

struct interval {
    int64_t from, to;
};

static int64_t overlap(struct interval a, int64_t from, int64_t to)
{
    const int64_t low = a.from > from ? a.from : from, high = a.to < to ? a.to : to;

    return high > low ? high - low : 0;
}

/* Against every gap and term kept in a list, for random steps of time, ring sizes and starts. Seen
 * to fail with every fault above. */
static void window_equals_the_list(void **state)
{
    (void)state;
    enum { STEPS = 400 };

    for (uint64_t seed = 1; seed <= 200; seed++) {
        uint64_t rng = seed;
        struct l2_minute minutes[MINUTES_MAX];
        struct l2_window w = blank(minutes, 1 + (uint32_t)test_below(&rng, MINUTES_MAX));
        struct interval gaps[STEPS];
        int64_t times[STEPS], t = (int64_t)test_below(&rng, 200 * MINUTE) - 100 * MINUTE;
        for (int i = 0; i < STEPS; i++) {
            const int64_t step =
                (int64_t)test_below(&rng, test_below(&rng, 20) ? 20 * S : 90 * MINUTE);
            gaps[i] =
                test_below(&rng, 3) ? (struct interval){t, t} : (struct interval){t, t + step};
            t += step;
            times[i] = t;
            l2_window_add_gap(&w, gaps[i].from, gaps[i].to);
            l2_window_add_ofi(&w, t, 1); /* whole numbers: exact in any order */
            l2_window_add_sample(&w, t, (double)i, 1);
            const int64_t end = l2_floor_us(t, MINUTE) + MINUTE, from = end - w.minutes_n * MINUTE;
            int64_t gap = 0, n = 0;
            for (int k = 0; k <= i; k++) {
                gap += overlap(gaps[k], from, end);
                n += times[k] >= from;
            }
            const struct l2_window_sums sums = l2_window_sum(&w, end);
            if (sums.gap_us != gap || sums.ofi != (double)n || sums.kyle.n != (uint64_t)n)
                fail_msg("seed %d, step %d", (int)seed, i);
        }
    }
}

#define BAR (900 * S)

/* Seen to fail with find that does not compare the time, and with a slot from C's remainder of
 * negative bars. */
static void past_finds_bars_on_the_grid(void **state)
{
    (void)state;
    struct l2_past_bar bars[21];
    struct l2_past past = {bars, 21, BAR};

    l2_past_reset(&past);
    for (int64_t b = -30; b < 30; b++) {
        assert_null(l2_past_find(&past, b * BAR));
        struct l2_past_bar *bar = l2_past_put(&past, b * BAR);
        assert_non_null(bar);
        assert_true(bar->bar_time_us == b * BAR && bar->row.present == 0 &&
                    bar->anchor_offset == -1);
        bar->source_offset = b;
        assert_ptr_equal(l2_past_find(&past, b * BAR), bar);
        for (int64_t old = b - 40; old < b; old++) {
            const struct l2_past_bar *found = l2_past_find(&past, old * BAR);
            assert_true((found != NULL) == (old > b - 21 && old >= -30));
            assert_true(found == NULL || found->source_offset == old);
        }
    }
}

/* A bar that is there stays as it is; an older one never takes its place; a newer one empties it.
 * Seen to fail with >= in put. */
static void past_put_keeps_the_newer(void **state)
{
    (void)state;
    struct l2_past_bar bars[3];
    struct l2_past past = {bars, 3, BAR};

    l2_past_reset(&past);
    struct l2_past_bar *bar = l2_past_put(&past, 6 * BAR);
    l2_row_set(&bar->row, L2_OFI, 4);
    bar->closed_by_clock = true;
    assert_ptr_equal(l2_past_put(&past, 6 * BAR), bar);
    assert_true(l2_row_has(&bar->row, L2_OFI) && bar->closed_by_clock);
    assert_null(l2_past_put(&past, 3 * BAR));
    assert_null(l2_past_find(&past, 3 * BAR));
    assert_true(l2_row_has(&l2_past_find(&past, 6 * BAR)->row, L2_OFI));
    assert_ptr_equal(l2_past_put(&past, 9 * BAR), bar);
    assert_true(bar->row.present == 0 && !bar->closed_by_clock);
    assert_null(l2_past_find(&past, 6 * BAR));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(window_is_half_open),
        cmocka_unit_test(window_before_1970),
        cmocka_unit_test(window_gap_counts_in_each_minute_it_covers),
        cmocka_unit_test(window_gap_older_than_the_ring),
        cmocka_unit_test(window_sums_oldest_first),
        cmocka_unit_test(window_equals_the_list),
        cmocka_unit_test(past_finds_bars_on_the_grid),
        cmocka_unit_test(past_put_keeps_the_newer),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
