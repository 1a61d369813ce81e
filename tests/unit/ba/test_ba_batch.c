/*
 * The archiver's pure part: when a batch is full or due, that a burst always fits, how long a retry
 * waits, how many lines are logged. Seen to fail: with `>` for `>=` in ba_batch_is_full, with bytes
 * that ba_batch_clear forgets, with a backoff without bound, without the minute's reset.
 */
#include "core/ba_batch.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "failing_alloc.h"

static const struct ba_limits limits = {
    .rows_max = 4, .bytes_max = 100, .age_us_max = 500, .burst_rows = 3, .burst_bytes = 60};

static struct ba_batch *make(void)
{
    struct ba_batch *batch = NULL;
    struct err err;

    assert_int_equal(ba_batch_new(&limits, &batch, &err), ERR_OK);
    return batch;
}

static void add(struct ba_batch *b, enum ba_table table, uint32_t n, int64_t now_us)
{
    uint8_t bytes[64];
    const struct ba_row row = {.table = table, .partition = 7, .offset = b->rows_n, .n = n};

    memset(bytes, (int)b->rows_n, sizeof bytes);
    ba_batch_seen(b, now_us, now_us + 1);
    ba_batch_add(b, &row, bytes);
}

static void test_full_by_rows(void **state)
{
    struct ba_batch *b = make();

    (void)state;
    for (int i = 0; i < 3; i++)
        add(b, BA_BARS, 1, 0);
    assert_false(ba_batch_is_full(b));
    add(b, BA_CANDLES, 1, 0);
    assert_true(ba_batch_is_full(b));
    assert_true(ba_batch_is_due(b, 0));
    ba_batch_free(b);
}

static void test_full_by_bytes(void **state)
{
    struct ba_batch *b = make();

    (void)state;
    add(b, BA_BARS, 60, 0);
    assert_false(ba_batch_is_full(b));
    add(b, BA_BARS, 40, 0);
    assert_true(ba_batch_is_full(b));
    ba_batch_clear(b);
    assert_false(ba_batch_is_full(b));
    add(b, BA_BARS, 60, 0);
    assert_false(ba_batch_is_full(b));
    ba_batch_free(b);
}

static void test_due_by_age(void **state)
{
    struct ba_batch *b = make();

    (void)state;
    assert_false(ba_batch_is_due(b, INT64_MAX));
    ba_batch_seen(b, 1000, -1); /* a record that gave no row is committed in time, too */
    assert_false(ba_batch_is_due(b, 1499));
    assert_true(ba_batch_is_due(b, 1500));
    assert_false(ba_batch_is_empty(b));
    ba_batch_seen(b, 1400, -1); /* the first one counts */
    assert_true(ba_batch_is_due(b, 1500));
    ba_batch_clear(b);
    assert_true(ba_batch_is_empty(b));
    ba_batch_seen(b, 2000, -1);
    assert_false(ba_batch_is_due(b, 2499));
    ba_batch_free(b);
}

static void test_a_burst_fits(void **state)
{
    struct ba_batch *b = make();

    (void)state;
    for (int i = 0; i < 3; i++)
        add(b, BA_BARS, 33, 0); /* one short of both bounds */
    assert_false(ba_batch_is_full(b));
    for (int i = 0; i < 3; i++)
        add(b, BA_BARS, 20, 0);
    assert_int_equal(b->rows_n, 6);
    for (unsigned i = 0; i < b->rows_n; i++) {
        const uint8_t *record = ba_batch_record(b, &b->rows[i]);
        for (uint32_t j = 0; j < b->rows[i].n; j++)
            assert_int_equal(record[j], i);
        assert_int_equal(b->rows[i].offset, i);
        assert_int_equal(b->rows[i].partition, 7);
    }
    ba_batch_free(b);
}

static void test_newest(void **state)
{
    struct ba_batch *b = make();

    (void)state;
    assert_int_equal(b->newest_us, -1);
    ba_batch_seen(b, 0, 50);
    ba_batch_seen(b, 0, 40);
    ba_batch_seen(b, 0, -1);
    assert_int_equal(b->newest_us, 50);
    ba_batch_clear(b);
    assert_int_equal(b->newest_us, -1);
    ba_batch_free(b);
}

static void test_backoff(void **state)
{
    (void)state;
    for (unsigned attempt = 0; attempt < 70; attempt++) {
        int64_t most = BA_BACKOFF_MIN_US, least_seen = INT64_MAX, most_seen = 0;
        for (unsigned i = 0; i < attempt && most < BA_BACKOFF_MAX_US; i++)
            most *= 2;
        most = most < BA_BACKOFF_MAX_US ? most : BA_BACKOFF_MAX_US;
        for (uint32_t random = 0; random < 1000; random++) {
            const int64_t us = ba_backoff_us(attempt, random * UINT32_C(4294967));
            least_seen = us < least_seen ? us : least_seen;
            most_seen = us > most_seen ? us : most_seen;
        }
        assert_true(least_seen >= most / 2 && most_seen <= most);
        assert_true(most_seen - least_seen > most / 4); /* spread, not in step */
    }
}

static void test_lines(void **state)
{
    struct ba_lines lines = {.n = 0};
    uint64_t left_out;

    (void)state;
    for (int i = 0; i < BA_LINES_MAX; i++)
        assert_true(ba_lines_may(&lines, 1000 + i, &left_out));
    for (int i = 0; i < 25; i++)
        assert_false(ba_lines_may(&lines, 2000, &left_out));
    assert_false(ba_lines_may(&lines, 1000 + BA_LINES_US - 1, &left_out));
    assert_int_equal(left_out, 0);
    assert_true(ba_lines_may(&lines, 1000 + BA_LINES_US, &left_out));
    assert_int_equal(left_out, 26);
    for (int i = 1; i < BA_LINES_MAX; i++)
        assert_true(ba_lines_may(&lines, 1000 + BA_LINES_US, &left_out));
    assert_false(ba_lines_may(&lines, 1000 + BA_LINES_US, &left_out));
}

/* Each of its allocations fails in turn. Seen to fail (a crash) with only the rows checked. */
static void test_memory_gives_out(void **state)
{
    struct ba_batch *batch = NULL;
    struct err err = {.text = ""};
    int failed = 0;

    (void)state;
    for (int i = 1; batch == NULL; i++) {
        failing_alloc_in = i;
        const enum err_class e = ba_batch_new(&limits, &batch, &err);
        failing_alloc_in = 0;
        if (e == ERR_OK)
            break;
        failed++;
        assert_int_equal(e, ERR_FATAL);
        assert_non_null(strstr(err.text, "batch: no memory"));
        assert_null(batch);
    }
    assert_int_equal(failed, 3);
    ba_batch_free(batch);
    ba_batch_free(NULL);
}

/* However many records gave no row, a batch that saw some is not empty: their offsets are still to
 * be committed. Seen to fail with a count that wraps. */
static void test_seen_does_not_wrap(void **state)
{
    struct ba_batch *b = make();

    (void)state;
    ba_batch_seen(b, 5, -1);
    b->seen_n = UINT32_MAX;
    ba_batch_seen(b, 6, -1);
    assert_false(ba_batch_is_empty(b));
    assert_int_equal(b->since_us, 5);
    ba_batch_free(b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_by_rows),
        cmocka_unit_test(test_full_by_bytes),
        cmocka_unit_test(test_due_by_age),
        cmocka_unit_test(test_a_burst_fits),
        cmocka_unit_test(test_newest),
        cmocka_unit_test(test_backoff),
        cmocka_unit_test(test_lines),
        cmocka_unit_test(test_memory_gives_out),
        cmocka_unit_test(test_seen_does_not_wrap),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
