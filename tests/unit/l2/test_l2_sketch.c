#include "l2_test.h"

#define GAMMA ((1 + L2_SKETCH_ALPHA) / (1 - L2_SKETCH_ALPHA))

static double from_bits(uint64_t bits)
{
    double x;

    memcpy(&x, &bits, sizeof x);
    return x;
}

static uint64_t to_bits(double x)
{
    uint64_t bits;

    memcpy(&bits, &x, sizeof bits);
    return bits;
}

/* The least double of the range whose bin is ≥ `bin`, by bisection over the doubles themselves. */
static double least_of(uint32_t bin)
{
    uint64_t low = to_bits(L2_SKETCH_MIN), high = to_bits(nextafter(L2_SKETCH_MAX, 2e4));

    while (low < high) {
        const uint64_t middle = low + (high - low) / 2;
        if (l2_sketch_bin(from_bits(middle)) >= bin)
            high = middle;
        else
            low = middle + 1;
    }
    return from_bits(low);
}

/*
 * The guarantee, from the bins' edges: no bin is wider than γ, so its middle is within α of all
 * that is in it; and the value that a reader is told is that middle. Seen to fail with K 1 % less,
 * and with P3 of 1/6.
 */
static void sketch_bins_are_narrow_enough(void **state)
{
    (void)state;
    struct l2_sketch *sketch = calloc(1, sizeof *sketch);
    double low = L2_SKETCH_MIN;

    assert_non_null(sketch);
    assert_int_equal(l2_sketch_bin(L2_SKETCH_MIN), 1);
    assert_int_equal(l2_sketch_bin(L2_SKETCH_MAX), L2_SKETCH_BINS - 2);
    for (uint32_t bin = 1; bin < L2_SKETCH_BINS - 1; bin++) {
        const double next = least_of(bin + 1), high = nextafter(next, 0);
        double told;
        assert_int_equal(l2_sketch_bin(low), bin); /* no bin is empty */
        assert_int_equal(l2_sketch_bin(high), bin);
        assert_true(high / low <= GAMMA);
        sketch->count[bin] = 1;
        assert_true(l2_sketch_quantile(sketch, 0.5, &told));
        assert_true(near(told, low, L2_SKETCH_ALPHA) && near(told, high, L2_SKETCH_ALPHA));
        sketch->count[bin] = 0;
        low = next;
    }
    free(sketch);
}

/* No bin falls over n neighbouring doubles. */
static void assert_monotone_from(double x, int n)
{
    for (int i = 0; i < n; i++) {
        const double next = nextafter(x, INFINITY);
        assert_true(l2_sketch_bin(x) <= l2_sketch_bin(next));
        x = next;
    }
}

/* Around each power of two, where frexp's pieces meet, around each edge, and over chance. Seen to
 * fail with P1 of 1.5. */
static void sketch_bins_are_monotone(void **state)
{
    (void)state;
    uint64_t seed = 11;

    for (int e = -14; e <= 14; e++) {
        double x = ldexp(1, e);
        for (int i = 0; i < 1000; i++)
            x = nextafter(x, 0);
        assert_monotone_from(x, 2000);
    }
    for (uint32_t bin = 2; bin < L2_SKETCH_BINS; bin++) {
        double x = least_of(bin);
        for (int i = 0; i < 50; i++)
            x = nextafter(x, 0);
        assert_monotone_from(x, 100);
    }
    const uint64_t from = to_bits(1e-5), to = to_bits(1e5);
    for (int i = 0; i < 1000000; i++) {
        const double x = from_bits(from + test_below(&seed, to - from));
        assert_true(l2_sketch_bin(x) <= l2_sketch_bin(x * (1 + 1e-9 * test_unit(&seed))));
    }
}

/* Seen to fail with > for the least of the range. */
static void sketch_counts_what_lies_outside(void **state)
{
    (void)state;
    const double under[] = {9.999e-5, 1e-300, 5e-324, 0, -1, -INFINITY, NAN};
    const double over[] = {10000.01, 2e4, 1e300, INFINITY};
    struct l2_sketch *sketch = calloc(1, sizeof *sketch);
    double told;

    assert_non_null(sketch);
    assert_false(l2_sketch_quantile(sketch, 0.5, &told));
    assert_int_equal(l2_sketch_bin(nextafter(L2_SKETCH_MIN, 0)), 0);
    assert_int_equal(l2_sketch_bin(nextafter(L2_SKETCH_MAX, 1e5)), L2_SKETCH_BINS - 1);
    for (int i = 0; i < 7; i++)
        l2_sketch_add(sketch, under[i]);
    for (int i = 0; i < 4; i++)
        l2_sketch_add(sketch, over[i]);
    assert_int_equal(sketch->count[0], 7);
    assert_int_equal(sketch->count[L2_SKETCH_BINS - 1], 4);
    assert_true(l2_sketch_quantile(sketch, 0, &told) && told == L2_SKETCH_MIN);
    assert_true(l2_sketch_quantile(sketch, 1, &told) && told == L2_SKETCH_MAX);
    free(sketch);
}

static int compare(const void *a, const void *b)
{
    const double x = *(const double *)a, y = *(const double *)b;

    return (x > y) - (x < y);
}

#define VALUES 20000

static void assert_quantiles(double *values, size_t n)
{
    static const double qs[] = {0, 0.0001, 0.01, 0.25, 0.5, 0.75, 0.99, 0.9999, 1};
    struct l2_sketch *sketch = calloc(1, sizeof *sketch);
    double told;

    assert_non_null(sketch);
    for (size_t i = 0; i < n; i++)
        l2_sketch_add(sketch, values[i]);
    qsort(values, n, sizeof *values, compare);
    for (size_t i = 0; i < sizeof qs / sizeof qs[0]; i++) {
        assert_true(l2_sketch_quantile(sketch, qs[i], &told));
        assert_true(near(told, values[(size_t)(qs[i] * (double)(n - 1))], L2_SKETCH_ALPHA));
    }
    free(sketch);
}

/* Quantiles of dense, sparse, two-humped and constant values. Seen to fail with a rank of q·n. */
static void sketch_quantiles_are_within_one_percent(void **state)
{
    (void)state;
    uint64_t seed = 3;
    double *v = malloc(VALUES * sizeof *v);

    assert_non_null(v);
    for (size_t i = 0; i < VALUES; i++) /* even in the exponent */
        v[i] = fmin(1e-4 * pow(1e8, test_unit(&seed)), 1e4);
    assert_quantiles(v, VALUES);
    for (size_t i = 0; i < VALUES; i++) /* even in the value */
        v[i] = fmax(1e4 * test_unit(&seed), 1e-4);
    assert_quantiles(v, VALUES);
    for (size_t i = 0; i < VALUES; i++)
        v[i] = i % 100 == 0 ? 9999 : 0.00101;
    assert_quantiles(v, VALUES);
    for (uint32_t bin = 2; bin < L2_SKETCH_BINS - 1; bin++) { /* the worst: two ends of bins */
        v[0] = least_of(bin);
        assert_quantiles(v, 1);
        v[0] = nextafter(v[0], 0);
        assert_quantiles(v, 1);
    }
    free(v);
}

/* Bytes and bins that must never change. Seen to fail with deltas counted from −1, and with FIRST
 * one less. */
static void sketch_bytes_are_fixed(void **state)
{
    (void)state;
    static const uint8_t want[] = {
        0,    1, /* bin 0: one */
        0xd3, 0x03, 1, /* 467: 1 bps = 2^0 */
        35,   0xac, 0x02, /* 502: 2.0198 bps, 300 times */
        0x9e, 0x03, 1, /* 916: floor(12.8519 K) + 467 */
        17,   0x80, 0x80, 4 /* 933: 65,536 times */
    };
    struct l2_sketch *sketch = calloc(1, sizeof *sketch);
    uint8_t bytes[L2_SKETCH_BYTES_MAX];

    assert_non_null(sketch);
    assert_int_equal(l2_sketch_encode(sketch, bytes), 0);
    l2_sketch_add(sketch, 1e-5);
    l2_sketch_add(sketch, 1);
    for (int i = 0; i < 300; i++)
        l2_sketch_add(sketch, 2.0198); /* (1 + 0.0141) K = 35.49 */
    l2_sketch_add(sketch, 7400);
    for (int i = 0; i < 65536; i++)
        l2_sketch_add(sketch, 1e6);
    assert_int_equal(l2_sketch_encode(sketch, bytes), sizeof want);
    assert_memory_equal(bytes, want, sizeof want);
    free(sketch);
}

static void random_sketch(struct l2_sketch *sketch, uint64_t *seed)
{
    const unsigned used = (unsigned)test_below(seed, L2_SKETCH_BINS);

    memset(sketch, 0, sizeof *sketch);
    for (unsigned i = 0; i < used; i++)
        sketch->count[test_below(seed, L2_SKETCH_BINS)] =
            (uint32_t)test_random(seed) >> test_below(seed, 32);
}

static uint32_t sum_capped(uint32_t a, uint32_t b)
{
    return (uint64_t)a + b > UINT32_MAX ? UINT32_MAX : a + b;
}

/* decode(encode(x)) = x, merging is adding, of bytes too. Seen to fail with a merge that wraps. */
static void sketch_round_trip_and_merge(void **state)
{
    (void)state;
    struct l2_sketch *s = calloc(4, sizeof *s);
    uint8_t bytes[L2_SKETCH_BYTES_MAX];
    uint64_t seed = 5;

    assert_non_null(s);
    for (int round = 0; round < 300; round++) {
        random_sketch(&s[0], &seed);
        random_sketch(&s[1], &seed);
        const size_t n = l2_sketch_encode(&s[0], bytes);
        memset(&s[2], 0, sizeof s[2]);
        assert_true(l2_sketch_decode_add(&s[2], bytes, n));
        assert_memory_equal(&s[2], &s[0], sizeof s[0]);
        s[3] = s[1];
        l2_sketch_merge(&s[3], &s[0]);
        for (int i = 0; i < L2_SKETCH_BINS; i++)
            assert_true(s[3].count[i] == sum_capped(s[0].count[i], s[1].count[i]));
        assert_true(l2_sketch_decode_add(&s[1], bytes, n));
        assert_memory_equal(&s[1], &s[3], sizeof s[3]);
    }
    memset(&s[0], 0xff, sizeof s[0]); /* the longest there is */
    assert_true(l2_sketch_encode(&s[0], bytes) <= L2_SKETCH_BYTES_MAX);
    l2_sketch_add(&s[0], 1);
    assert_true(s[0].count[l2_sketch_bin(1)] == UINT32_MAX);
    free(s);
}

/* Cut anywhere, it is refused or is the whole pairs before the cut. Seen to fail with the bounds of
 * get_varint one byte wider, and with pairs added before all were looked at. */
static void sketch_truncated(void **state)
{
    (void)state;
    struct l2_sketch *s = calloc(2, sizeof *s);
    uint8_t bytes[L2_SKETCH_BYTES_MAX];
    uint64_t seed = 9;
    size_t pairs = 0, refused = 0, n;

    assert_non_null(s);
    random_sketch(&s[0], &seed);
    n = l2_sketch_encode(&s[0], bytes);
    for (size_t cut = 0; cut < n; cut++) {
        uint8_t *exact = malloc(cut + 1); /* so that ASan sees a byte too far; + 1: malloc(0) */
        assert_non_null(exact);
        memcpy(exact + 1, bytes, cut);
        memset(&s[1], 0, sizeof s[1]);
        if (l2_sketch_decode_add(&s[1], exact + 1, cut)) {
            pairs++;
        } else {
            refused++;
            for (int i = 0; i < L2_SKETCH_BINS; i++)
                assert_int_equal(s[1].count[i], 0);
        }
        free(exact);
    }
    unsigned used = 0;
    for (int i = 0; i < L2_SKETCH_BINS; i++)
        used += s[0].count[i] != 0;
    assert_int_equal(pairs, used);
    assert_int_equal(refused, n - used);
    free(s);
}

/* Seen to fail without each of: index >= BINS, count == 0, delta == 0, v <= UINT32_MAX. */
static void sketch_malicious(void **state)
{
    (void)state;
    static const struct {
        uint8_t bytes[24];
        size_t n;
    } bad[] = {
        {{0xa6, 0x07, 1}, 3}, /* index 934 */
        {{0xa5, 0x07, 1, 1, 1}, 5}, /* 933, then 934 */
        {{0xff, 0xff, 0xff, 0xff, 0x0f, 1}, 6}, /* index 2^32 − 1 */
        {{5, 1, 0xfb, 0xff, 0xff, 0xff, 0x0f, 1}, 8}, /* 5 + (2^32 − 5): 0 if it wrapped */
        {{5, 1, 0, 1}, 4}, /* the same bin twice */
        {{5, 0}, 2}, /* a count of none */
        {{5, 0x80, 0}, 3}, /* the same, longer */
        {{5, 0x80, 0x80, 0x80, 0x80, 0x10}, 6}, /* count 2^32 */
        {{5, 0xff, 0xff, 0xff, 0xff, 0x7f}, 6}, /* count of 35 bits */
        {{5, 0x80, 0x80, 0x80, 0x80, 0x80, 0}, 7}, /* a varint of six bytes */
        {{0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}, 8}, /* and one of eight */
        {{5}, 1}, /* no count */
        {{0x80}, 1}, /* half an index */
    };
    struct l2_sketch *s = calloc(2, sizeof *s);
    uint64_t seed = 13;

    assert_non_null(s);
    random_sketch(&s[0], &seed);
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        s[1] = s[0];
        assert_false(l2_sketch_decode_add(&s[1], bad[i].bytes, bad[i].n));
        assert_memory_equal(&s[0], &s[1], sizeof s[0]);
    }
    free(s);
}

/* Whatever is read can be written, and reads the same. */
static void sketch_random_bytes(void **state)
{
    (void)state;
    struct l2_sketch *s = calloc(2, sizeof *s);
    uint64_t seed = 17;
    unsigned read = 0;

    assert_non_null(s);
    for (int round = 0; round < 20000; round++) {
        uint8_t bytes[L2_SKETCH_BYTES_MAX];
        size_t n = test_below(&seed, 24);
        for (size_t i = 0; i < n; i++)
            bytes[i] = (uint8_t)(test_random(&seed) >> 8 >> test_below(&seed, 8) * 7);
        memset(&s[0], 0, sizeof s[0]);
        memset(&s[1], 0, sizeof s[1]);
        if (!l2_sketch_decode_add(&s[0], bytes, n))
            continue;
        read++;
        n = l2_sketch_encode(&s[0], bytes);
        assert_true(l2_sketch_decode_add(&s[1], bytes, n));
        assert_memory_equal(&s[0], &s[1], sizeof s[0]);
    }
    assert_true(read > 100);
    free(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sketch_bins_are_narrow_enough),
        cmocka_unit_test(sketch_bins_are_monotone),
        cmocka_unit_test(sketch_counts_what_lies_outside),
        cmocka_unit_test(sketch_quantiles_are_within_one_percent),
        cmocka_unit_test(sketch_bytes_are_fixed),
        cmocka_unit_test(sketch_round_trip_and_merge),
        cmocka_unit_test(sketch_truncated),
        cmocka_unit_test(sketch_malicious),
        cmocka_unit_test(sketch_random_bytes),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
