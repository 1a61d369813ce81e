#include "l2_test.h"

static const struct l2_level bids[] = {{100, 3},  {99.5, 1}, {99, 2},
                                       {98, 0.5}, {97, 0.5}, {96, 1000}};
static const struct l2_level asks[] = {{100.5, 1}, {101, 1}, {102, 1},
                                       {103, 0},   {104, 0}, {105, 500}};

static struct l2_snapshot book(uint32_t bids_n, uint32_t asks_n)
{
    return (struct l2_snapshot){.bids = bids, .asks = asks, .bids_n = bids_n, .asks_n = asks_n};
}

/* By hand: L1 (3 − 1)/4; L5 (7 − 3)/10, the sixth level apart. Seen to fail with L5 = 6, and with
 * the spread over the ask. */
static void columns_of(const struct l2_snapshot *s, struct l2_row *ret_row)
{
    struct l2_book book;

    l2_book_of(s, &book);
    l2_book_columns(&book, ret_row);
}

static void book_columns_by_hand(void **state)
{
    (void)state;
    const struct l2_snapshot s = book(6, 6);
    struct l2_row row;

    columns_of(&s, &row);
    assert_int_equal(row.present, 1 << L2_MID_PRICE | 1 << L2_SPREAD_BPS |
                                      1 << L2_DEPTH_IMBALANCE_L1 | 1 << L2_DEPTH_IMBALANCE_L5);
    assert_true(row.value[L2_MID_PRICE] == 100.25);
    assert_true(row.value[L2_SPREAD_BPS] == 0.5 / 100.25 * 1e4);
    assert_true(row.value[L2_DEPTH_IMBALANCE_L1] == 0.5);
    assert_true(row.value[L2_DEPTH_IMBALANCE_L5] == 0.4);
}

/* Seen to fail with || between the two sides' depths. */
static void imbalance_l5_needs_five_levels_on_each_side(void **state)
{
    (void)state;
    for (uint32_t b = 1; b <= 6; b++) {
        for (uint32_t a = 1; a <= 6; a++) {
            const struct l2_snapshot s = book(b, a);
            struct l2_row row;
            columns_of(&s, &row);
            assert_true(l2_row_has(&row, L2_DEPTH_IMBALANCE_L5) == (b >= 5 && a >= 5));
            assert_true(l2_row_has(&row, L2_DEPTH_IMBALANCE_L1));
        }
    }
}

/* Nothing rests: null, not 0. One side alone: ±1. Seen to fail with `>= 0`. */
static void imbalances_of_empty_quantities(void **state)
{
    (void)state;
    struct l2_level b[5], a[5];
    struct l2_row row;

    for (int i = 0; i < 5; i++) {
        b[i] = (struct l2_level){100 - i, 0};
        a[i] = (struct l2_level){101 + i, 0};
    }
    const struct l2_snapshot s = {.bids = b, .asks = a, .bids_n = 5, .asks_n = 5};
    columns_of(&s, &row);
    assert_int_equal(row.present, 1 << L2_MID_PRICE | 1 << L2_SPREAD_BPS);
    assert_true(row.value[L2_DEPTH_IMBALANCE_L1] == 0);
    b[4].quantity = 7; /* L1 stays empty */
    columns_of(&s, &row);
    assert_false(l2_row_has(&row, L2_DEPTH_IMBALANCE_L1));
    assert_true(l2_row_has(&row, L2_DEPTH_IMBALANCE_L5));
    assert_true(row.value[L2_DEPTH_IMBALANCE_L5] == 1);
    b[4].quantity = 0;
    a[0].quantity = 5e-324; /* the least there is */
    columns_of(&s, &row);
    assert_true(row.value[L2_DEPTH_IMBALANCE_L1] == -1 && row.value[L2_DEPTH_IMBALANCE_L5] == -1);
}

/* Sums that no double holds support no value. Seen to fail without the bounds of mid and of the
 * sum. */
static void columns_past_the_range_of_doubles_are_null(void **state)
{
    (void)state;
    struct l2_level b[5], a[5];
    struct l2_row row;

    for (int i = 0; i < 5; i++) {
        b[i] = (struct l2_level){1e308 - i * 1e306, 1.7e308};
        a[i] = (struct l2_level){1.1e308 + i * 1e306, 1.7e308};
    }
    const struct l2_snapshot s = {.bids = b, .asks = a, .bids_n = 5, .asks_n = 5};
    assert_int_equal(l2_book_check(&s), L2_ACCEPTED);
    columns_of(&s, &row);
    assert_int_equal(row.present, 0);
}

/* Real spreads go down to a thousandth of a basis point. */
static void spread_of_a_tick(void **state)
{
    (void)state;
    const struct l2_top top = {61602.01, 1, 61602.02, 1};

    assert_true(near(l2_spread_bps(&top), 0.0016233, 1e-4));
}

/* Cont, Kukanov, Stoikov, eq. 10: up, equal, down on each side. Seen to fail with > in place of >=,
 * on either side. */
static void ofi_term_by_hand(void **state)
{
    (void)state;
    const struct l2_top before = {100, 3, 101, 4};
    const double bid_price[] = {100.5, 100, 99}, ask_price[] = {102, 101, 100.75};
    const double bid_part[] = {5, 5 - 3, -3}; /* up, equal, down; new quantity 5 */
    const double ask_part[] = {4, -(7 - 4), -7.0}; /* up, equal, down; new quantity 7 */

    for (int b = 0; b < 3; b++) {
        for (int a = 0; a < 3; a++) {
            const struct l2_top now = {bid_price[b], 5, ask_price[a], 7};
            assert_true(l2_ofi_term(&before, &now) == bid_part[b] + ask_part[a]);
        }
    }
    assert_true(l2_ofi_term(&before, &before) == 0);
}

/* Prices compare as sent: neighbours among doubles are two ticks. Seen to fail with an epsilon of
 * 1e-9. */
static void ofi_term_compares_exact_doubles(void **state)
{
    (void)state;
    const struct l2_top before = {100, 3, 101, 4};
    struct l2_top now = before;

    now.bid_price = nextafter(100, 200);
    assert_true(l2_ofi_term(&before, &now) == 3);
    now.bid_price = nextafter(100, 0);
    assert_true(l2_ofi_term(&before, &now) == -3);
}

/* Seen to fail with the remainder of negative times left as C gives it. */
static void floor_of_times(void **state)
{
    (void)state;
    const int64_t cases[][3] = {{0, 60, 0},
                                {59, 60, 0},
                                {60, 60, 60},
                                {-1, 60, -60},
                                {-60, 60, -60},
                                {-61, 60, -120},
                                {1234567, 1000, 1234000}};

    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++)
        assert_true(l2_floor_us(cases[i][0], cases[i][1]) == cases[i][2]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(book_columns_by_hand),
        cmocka_unit_test(imbalance_l5_needs_five_levels_on_each_side),
        cmocka_unit_test(imbalances_of_empty_quantities),
        cmocka_unit_test(columns_past_the_range_of_doubles_are_null),
        cmocka_unit_test(spread_of_a_tick),
        cmocka_unit_test(ofi_term_by_hand),
        cmocka_unit_test(ofi_term_compares_exact_doubles),
        cmocka_unit_test(floor_of_times),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
