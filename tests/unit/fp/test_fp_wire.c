#include "fp_test.h"

#include "fp_wire.h"

#include <inttypes.h>

static struct fp_wire wire_of(const struct fp_params *params, const char *exchange)
{
    return (struct fp_wire){
        .params = params, .exchange = exchange, .schema_version = "l2_schema_v1"};
}

/* Seen to fail with 26 digits of fingerprint, which the metadata has no room for. */
static void metadata_comes_back_and_fits(void **state)
{
    (void)state;
    static const struct fp_position positions[] = {
        {0, 0, 0},
        {7, 5, 3},
        {INT64_MAX, INT64_MAX, INT64_MAX},
    };
    char text[BUS_METADATA_BYTES_MAX + 1];
    struct fp_restart r;

    for (unsigned i = 0; i < 3; i++) {
        fp_wire_metadata(&positions[i], UINT64_MAX - i, text);
        assert_true(fp_wire_metadata_parse(text, &r));
        assert_int_equal(r.snapshots_from, positions[i].snapshots_from);
        assert_int_equal(r.bars_from, positions[i].bars_from);
        assert_true(r.has_fingerprint && r.fingerprint == UINT64_MAX - i);
    }
    assert_string_equal(text, "2,9223372036854775807,9223372036854775807,fffffffffffffffd");
}

/* What the release before wrote is read, without a fingerprint; what is none of ours is not. Seen
 * to fail with the length of the fingerprint unchecked. */
static void metadata_of_other_versions(void **state)
{
    (void)state;
    static const char *const bad[] = {
        "",
        "0,1,2",
        "3,1,2,0000000000000000",
        "1,1,2,0000000000000000",
        "2,1,2",
        "2,1,2,",
        "1,,2",
        "1,1",
        "1,-1,2",
        "2,1,2,000000000000000",
        "x",
        "1,1,2 ",
        "2,1,2,000000000000000G",
        "2,1,2,0000000000000000x",
        "2,1,2,00000000000000000",
        "2,1",
        "1,9223372036854775808,2",
    };
    struct fp_restart r = {.snapshots_from = 42};

    for (unsigned i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(fp_wire_metadata_parse(bad[i], &r));
        assert_int_equal(r.snapshots_from, 42);
    }
    assert_true(fp_wire_metadata_parse("1,5,3", &r));
    assert_int_equal(r.snapshots_from, 5);
    assert_int_equal(r.bars_from, 3);
    assert_false(r.has_fingerprint);
}

/* Each parameter that decides an output changes it, and what decides none does not. Seen to fail
 * with purge_bars left out. */
static void fingerprint_tells_deployments_apart(void **state)
{
    (void)state;
    struct fp_params params = test_params(1);
    const struct fp_wire wire = wire_of(&params, "x");
    const uint64_t ours = fp_wire_fingerprint(&wire);
    uint32_t *const numbers[] = {
        &params.l2.bar_s,          &params.l2.window_s,     &params.l2.sample_s,
        &params.l2.max_gap_s,      &params.l2.purge_bars,   &params.l2.samples_min,
        &params.l2.max_book_age_s, &params.l2.coverage_pct, &params.l2.symbol_ttl_s,
    };

    for (unsigned i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
        ++*numbers[i];
        assert_true(fp_wire_fingerprint(&wire) != ours);
        --*numbers[i];
    }
    params.symbols_max++;
    params.close_grace_us++;
    assert_true(fp_wire_fingerprint(&wire) == ours);
    struct fp_wire other = wire_of(&params, "y");
    assert_true(fp_wire_fingerprint(&other) != ours);
    other = wire_of(&params, "x");
    other.schema_version = "l2_schema_v1+w60";
    assert_true(fp_wire_fingerprint(&other) != ours);
    /* it stands in what brokers keep: it must never change for equal parameters */
    assert_true(ours == UINT64_C(0xefab39bea819ba13));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(metadata_comes_back_and_fits),
        cmocka_unit_test(metadata_of_other_versions),
        cmocka_unit_test(fingerprint_tells_deployments_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
