/* Labels, volatility, tallies, bins and scores at their edges; what they say over whole histories
 * is held against a reference elsewhere (test_quality_reference). Seen to fail: see each test. */
#include "l2_test.h"

#include "l2/calibrate.h"
#include "l2/label.h"
#include "l2/psi.h"
#include "l2/score.h"
#include "l2/tally.h"
#include "l2/volatility.h"

#define HORIZON 4
#define SPAN 3
#define CANDLES 60

/* Seen to fail without the bound on the width. */
static void label_params_have_bounds(void **state)
{
    static const struct {
        struct l2_label_params params;
        bool is_valid;
    } rows[] = {
        {{1, 2, 1e-9}, true},
        {{L2_HORIZON_BARS_MAX, L2_SPAN_BARS_MAX, 1000}, true},
        {{0, 2, 1}, false},
        {{L2_HORIZON_BARS_MAX + 1, 2, 1}, false},
        {{1, L2_SPAN_BARS_MIN - 1, 1}, false},
        {{1, L2_SPAN_BARS_MAX + 1, 1}, false},
        {{1, 2, 0}, false},
        {{1, 2, 1000.5}, false},
    };

    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        assert_int_equal(l2_label_params_valid(&rows[i].params), rows[i].is_valid);
}

static double close_at(int i)
{
    return 100 + 3 * sin(i) + 2 * cos(0.7 * i);
}

/* Labels of CANDLES candles from bar `first` on, asked for after each candle, or at the end. */
static unsigned label(int64_t first, bool at_once, struct l2_label ret[CANDLES])
{
    struct l2_decision ring[HORIZON];
    struct l2_labels l = {.ring = ring};
    const struct l2_label_params params = {HORIZON, SPAN, 0.8};
    unsigned n = 0;

    l2_labels_reset(&l, &params);
    assert_false(l2_labels_next(&l, &ret[0])); /* of no candle */
    for (int i = 0; i < CANDLES; i++) {
        l2_labels_put(&l, first + i, close_at(i));
        while (at_once && l2_labels_next(&l, &ret[n]))
            n++;
    }
    while (l2_labels_next(&l, &ret[n]))
        n++;
    return n;
}

/* Bars before 1970 are numbers as others are. Seen to fail with the remainder of a negative bar
 * taken as it is, for the ring and for the volatility's blocks. */
static void bars_before_1970_have_the_same_labels(void **state)
{
    struct l2_label after[CANDLES], before[CANDLES];
    const int64_t shift = (int64_t)HORIZON * SPAN * 3;
    const unsigned n = label(0, true, after);

    (void)state;
    assert_int_equal(n, CANDLES - HORIZON - SPAN);
    assert_int_equal(label(-shift, true, before), n);
    for (unsigned i = 0; i < n; i++) {
        assert_int_equal(before[i].bar, after[i].bar - shift);
        assert_int_equal(before[i].exit_bar, after[i].exit_bar - shift);
        assert_int_equal(before[i].label, after[i].label);
        assert_true(same_bits(before[i].return_bps, after[i].return_bps));
    }
}

/* What nobody asked for in time is gone; what is left is what it would have been. Seen to fail
 * with a slot's decision given for whichever bar is due. */
static void labels_not_asked_for_are_passed_over(void **state)
{
    struct l2_label all[CANDLES], late[CANDLES];
    const unsigned n = label(0, true, all), late_n = label(0, false, late);

    (void)state;
    assert_true(late_n <= HORIZON && late_n < n);
    for (unsigned i = 0; i < late_n; i++)
        assert_memory_equal(&late[i], &all[n - late_n + i], sizeof late[i]);
}

/* Seen to fail with a σ of no candle. */
static void no_candle_has_no_volatility(void **state)
{
    struct l2_volatility v;
    double sigma = -1;

    (void)state;
    l2_volatility_reset(&v, 2);
    assert_false(l2_volatility_sigma(&v, &sigma));
    assert_true(same_bits(sigma, -1));
}

/* Seen to fail without each of the three bounds of `inside`, and with a quantile of nothing. */
static void a_tally_knows_its_window(void **state)
{
    uint16_t code[4], at;
    uint32_t count[3];
    struct l2_tally t = {.code = code, .count = count, .bars_n = 4, .codes_n = 3};

    (void)state;
    l2_tally_reset(&t);
    assert_int_equal(l2_tally_at(&t, 0), L2_TALLY_NONE);
    assert_false(l2_tally_quantile(&t, 0.5, &at));
    assert_true(l2_tally_put(&t, -3, 2));
    assert_true(l2_tally_put(&t, -1, 1));
    assert_int_equal(l2_tally_at(&t, -3), 2);
    assert_int_equal(l2_tally_at(&t, 1), L2_TALLY_NONE); /* where −3 lies */
    assert_int_equal(l2_tally_at(&t, -5), L2_TALLY_NONE); /* where −1 lies */
    assert_false(l2_tally_put(&t, -5, 0));
    assert_int_equal(t.n, 2);
    assert_true(l2_tally_quantile(&t, 1, &at));
    assert_int_equal(at, 2);
    l2_tally_reset(&t);
    assert_int_equal(l2_tally_at(&t, -1), L2_TALLY_NONE);
    code[0] = 1; /* of a slot that nobody cleared: before the first bar nothing is inside */
    t.newest = 0;
    assert_int_equal(l2_tally_at(&t, 0), L2_TALLY_NONE);
}

/* Seen to fail with shares of any size, and with edges that are no numbers. */
static void bins_that_no_reference_has(void **state)
{
    const struct l2_psi_bins good = {.n = 3, .edge = {1, 2}, .share = {0.5, 0.25, 0.25}};
    struct l2_psi_bins b = good;

    (void)state;
    assert_true(l2_psi_bins_valid(&b));
    b.n = 0;
    assert_false(l2_psi_bins_valid(&b));
    b.n = L2_PSI_BINS_MAX + 1;
    assert_false(l2_psi_bins_valid(&b));
    b = good;
    b.edge[1] = INFINITY;
    assert_false(l2_psi_bins_valid(&b));
    b = good;
    b.share[0] = -0.5; /* their sum is 1 */
    b.share[1] = 1.25;
    assert_false(l2_psi_bins_valid(&b));
    b.share[0] = 1.25;
    b.share[1] = -0.5;
    assert_false(l2_psi_bins_valid(&b));
}

/* Seen to fail (0 / 0) without the look at the labels. */
static void no_buy_has_no_score(void **state)
{
    const struct l2_confusion c = {.n = {[L2_BUY] = {[L2_HOLD] = 3}}};
    struct l2_interval i;
    double f1;

    (void)state;
    assert_false(l2_f1_buy(&c, &f1));
    assert_false(l2_f1_buy_interval(&c, &i));
}

#define DAYS 40

/* Days of bars; a column's value is value(i), NaN: none. */
static void calibrate(uint32_t bar_s, enum l2_column column, double (*value)(int i),
                      struct l2_reference *ret)
{
    const int n = (int)(86400 / bar_s) * DAYS;
    struct l2_training_bar *bars = calloc((size_t)n, sizeof *bars);
    const struct l2_training t = {.bars = bars, .bars_n = (size_t)n, .bar_s = bar_s};

    assert_non_null(bars);
    for (int i = 0; i < n; i++) {
        bars[i] = (struct l2_training_bar){.bar = i, .snapshots = 60};
        if (!isnan(value(i)))
            l2_row_set(&bars[i].row, column, value(i));
    }
    double *scratch = calloc(l2_calibrate_scratch_n(&t), sizeof *scratch);
    assert_non_null(scratch);
    memset(ret, 0, sizeof *ret);
    l2_calibrate(&t, scratch, ret, NULL);
    free(scratch);
    free(bars);
}

static double wide_spread(int i)
{
    return i % 10 == 0 ? 5000 : i % 7;
}

static double negative(int i)
{
    return -wide_spread(i);
}

/* Another column has no bound, and another end none. Seen to fail without the bound, and with it
 * for every column. */
static void a_spread_has_a_bound(void **state)
{
    struct l2_reference r;

    (void)state;
    calibrate(3600, L2_SPREAD_BPS, wide_spread, &r);
    assert_true(same_bits(r.feature[L2_SPREAD_BPS].high, L2_RANGE_SPREAD_BPS_MAX));
    calibrate(3600, L2_OFI, wide_spread, &r);
    assert_true(r.feature[L2_OFI].high > 5000);
    calibrate(3600, L2_OFI, negative, &r);
    assert_true(r.feature[L2_OFI].high < 10);
}

static double rare(int i)
{
    return i == 17 ? 1 : NAN;
}

/* A day of one bar, most of them without a value: a sample that holds none is no distribution.
 * Seen to fail (thresholds that are not finite) with shares of 0 / 0. */
static void a_column_that_is_hardly_there(void **state)
{
    struct l2_reference r;

    (void)state;
    calibrate(86400, L2_KYLE_LAMBDA, rare, &r);
    const struct l2_reference_feature *f = &r.feature[L2_KYLE_LAMBDA];

    assert_int_equal(f->n, 1);
    assert_true(l2_psi_bins_valid(&f->bins));
    assert_true(f->psi_24h_warn >= L2_PSI_WARN && isfinite(f->psi_24h_warn));
    assert_true(f->psi_30d_p2 >= L2_PSI_P2 && isfinite(f->psi_30d_p2));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(label_params_have_bounds),
        cmocka_unit_test(bars_before_1970_have_the_same_labels),
        cmocka_unit_test(labels_not_asked_for_are_passed_over),
        cmocka_unit_test(no_candle_has_no_volatility),
        cmocka_unit_test(a_tally_knows_its_window),
        cmocka_unit_test(bins_that_no_reference_has),
        cmocka_unit_test(no_buy_has_no_score),
        cmocka_unit_test(a_spread_has_a_bound),
        cmocka_unit_test(a_column_that_is_hardly_there),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
