#include "l2_test.h"

static void assert_name(const struct l2_params *params, const char *want)
{
    char name[L2_SCHEMA_VERSION_BYTES_MAX];

    l2_schema_version(params, name);
    assert_string_equal(name, want);
}

/* The canonical parameters, spelt out. Seen to fail with samples_min 20. */
static void params_default_are_the_specifications(void **state)
{
    (void)state;
    const struct l2_params p = l2_params_default();
    struct err err;

    assert_int_equal(p.bar_s, 900);
    assert_int_equal(p.window_s, 900);
    assert_int_equal(p.sample_s, 1);
    assert_int_equal(p.max_gap_s, 5);
    assert_int_equal(p.max_book_age_s, 60);
    assert_int_equal(p.coverage_pct, 95);
    assert_int_equal(p.samples_min, 30);
    assert_int_equal(p.purge_bars, 20);
    assert_int_equal(p.symbol_ttl_s, 604800);
    assert_int_equal(l2_params_check(&p, &err), ERR_OK);
}

/* What differs is named, in one order; what does not change a row's value is not. Seen to fail with
 * k and g swapped. */
static void schema_version_names_what_differs(void **state)
{
    (void)state;
    struct l2_params p = l2_params_default();

    assert_name(&p, "l2_schema_v1");
    p.bar_s = 60;
    p.purge_bars = 0;
    p.symbol_ttl_s = 3600;
    assert_name(&p, "l2_schema_v1"); /* the key holds bar_seconds, the feature record purge_bars */
    p.max_gap_s = 7;
    assert_name(&p, "l2_schema_v1+g7");
    p.samples_min = 10;
    assert_name(&p, "l2_schema_v1+g7+n10");
    p.sample_s = 2;
    assert_name(&p, "l2_schema_v1+k2+g7+n10");
    p.window_s = 60;
    p.max_book_age_s = 30;
    p.coverage_pct = 50;
    assert_name(&p, "l2_schema_v1+w60+k2+g7+a30+c50+n10");
    p = (struct l2_params){.window_s = 3600,
                           .sample_s = 60,
                           .max_gap_s = 60,
                           .max_book_age_s = 3600,
                           .coverage_pct = 100,
                           .samples_min = 3600};
    assert_name(&p, "l2_schema_v1+w3600+k60+g60+a3600+c100+n3600"); /* the longest fits */
    p.window_s = 900;
    p.sample_s = 1;
    p.max_book_age_s = 60;
    p.samples_min = 30;
    assert_name(&p, "l2_schema_v1+g60+c100");
}

/* Both sides of each bound, and the message says what is wrong. Seen to fail with `value > min` in
 * check_range. */
static void params_check_knows_the_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t offset;
        uint32_t min, max;
    } rows[] = {
        {"window_seconds", offsetof(struct l2_params, window_s), 60, 3600},
        {"sample_seconds", offsetof(struct l2_params, sample_s), 1, 60},
        {"max_gap_seconds", offsetof(struct l2_params, max_gap_s), 1, 60},
        {"max_book_age_seconds", offsetof(struct l2_params, max_book_age_s), 1, 3600},
        {"coverage_percent", offsetof(struct l2_params, coverage_pct), 1, 100},
        {"samples_min", offsetof(struct l2_params, samples_min), 2, 3600},
        {"purge_bars", offsetof(struct l2_params, purge_bars), 0, 1000},
        {"symbol_ttl_seconds", offsetof(struct l2_params, symbol_ttl_s), 3600, 604800},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        const uint32_t values[] = {rows[i].min, rows[i].max, rows[i].max + 1, rows[i].min - 1};
        for (int v = 0; v < 4; v++) {
            struct l2_params p = l2_params_default();
            struct err err;
            char number[16];
            if (v == 3 && rows[i].min == 0)
                continue;
            p.bar_s = 60; /* 1,000 bars of purge are within symbol_ttl */
            p.purge_bars = 20;
            memcpy((char *)&p + rows[i].offset, &values[v], sizeof values[v]);
            const enum err_class e = l2_params_check(&p, &err);
            assert_int_equal(e, v < 2 ? ERR_OK : ERR_REJECT);
            if (e == ERR_OK)
                continue;
            (void)snprintf(number, sizeof number, "%u", values[v]);
            assert_non_null(strstr(err.text, rows[i].name));
            assert_non_null(strstr(err.text, number));
        }
    }
}

/* Seen to fail without the check of window_s % 60, and with 120 among the bars. */
static void params_check_knows_the_grids(void **state)
{
    (void)state;
    struct err err;

    for (uint32_t v = 0; v <= 4000; v++) {
        struct l2_params p = l2_params_default();
        p.bar_s = v;
        const bool bar = v == 60 || v == 300 || v == 900 || v == 1800 || v == 3600;
        assert_int_equal(l2_params_check(&p, &err), bar ? ERR_OK : ERR_REJECT);
        p = l2_params_default();
        p.window_s = v;
        const bool window = v >= 60 && v <= 3600 && v % 60 == 0;
        assert_int_equal(l2_params_check(&p, &err), window ? ERR_OK : ERR_REJECT);
        p = l2_params_default();
        p.sample_s = v;
        const bool sample = v >= 1 && v <= 60 && 60 % v == 0;
        assert_int_equal(l2_params_check(&p, &err), sample ? ERR_OK : ERR_REJECT);
    }
}

/* A symbol lives as long as the purge and the window look back. Seen to fail with the purge alone,
 * and with one bar less. */
static void params_check_a_symbol_outlives_its_purge(void **state)
{
    (void)state;
    struct l2_params p = l2_params_default();
    struct err err;

    p.window_s = 1800;
    p.symbol_ttl_s = 21 * 900 + 1800;
    assert_int_equal(l2_params_check(&p, &err), ERR_OK);
    p.symbol_ttl_s--;
    assert_int_equal(l2_params_check(&p, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "20699 is less than 20700"));
    p.window_s = 900;
    p.max_book_age_s = 1800;
    assert_int_equal(l2_params_check(&p, &err), ERR_REJECT);
}

/* Seen to fail with mid_price left out of `min`. */
static void sets_hold_their_columns(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        enum l2_set set;
        unsigned columns_n;
        const char *columns[L2_COLUMNS];
    } rows[] = {
        {"min", L2_SET_MIN, 3, {"spread_bps", "depth_imbalance_l1", "mid_price"}},
        {"standard",
         L2_SET_STANDARD,
         6,
         {"mid_price", "spread_bps", "depth_imbalance_l1", "depth_imbalance_l5", "ofi_15m",
          "kyle_lambda"}},
        {"flow_only", L2_SET_FLOW_ONLY, 3, {"kyle_lambda", "ofi_15m", "depth_imbalance_l5"}},
    };

    for (size_t r = 0; r < sizeof rows / sizeof rows[0]; r++) {
        enum l2_set set = L2_SETS;
        assert_true(l2_set_parse(rows[r].name, &set));
        assert_int_equal(set, rows[r].set);
        assert_string_equal(l2_set_name(set), rows[r].name);
        unsigned found = 0;
        for (int c = 0; c < L2_COLUMNS; c++) {
            bool named = false;
            for (unsigned i = 0; i < rows[r].columns_n; i++)
                named |= strcmp(rows[r].columns[i], l2_column_names[c]) == 0;
            assert_true(named == ((l2_set_columns(set) >> c & 1) != 0));
            found += named;
        }
        assert_int_equal(found, rows[r].columns_n);
        assert_int_equal(l2_set_columns(set) >> L2_COLUMNS, 0);
    }
}

/* Seen to fail with strncmp over the set's own length. */
static void sets_refuse_other_names(void **state)
{
    (void)state;
    static const char *const names[] = {"", "none", "Min", "min ", "standard_purge0", "flow"};
    enum l2_set set = L2_SET_FLOW_ONLY;

    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
        assert_false(l2_set_parse(names[i], &set));
    assert_int_equal(set, L2_SET_FLOW_ONLY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(params_default_are_the_specifications),
        cmocka_unit_test(schema_version_names_what_differs),
        cmocka_unit_test(params_check_knows_the_bounds),
        cmocka_unit_test(params_check_knows_the_grids),
        cmocka_unit_test(params_check_a_symbol_outlives_its_purge),
        cmocka_unit_test(sets_hold_their_columns),
        cmocka_unit_test(sets_refuse_other_names),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
