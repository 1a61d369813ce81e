/* Every record's codec at every byte: buffers that end anywhere, and each way of being wrong put at
 * each position. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "codec/everything.h"
#include "codec_values.h"

enum { BUF_BYTES = 64 << 10, RECORDS_MAX = 32, VALUES = 24, BYTES_MAX = 1500, POISON_BYTES = 11 };

static const struct codec_record *records[RECORDS_MAX];
static size_t records_n;

static int all_records(void **state)
{
    (void)state;
    assert_true(codec_records_n < RECORDS_MAX);
    for (size_t i = 0; i < codec_records_n; i++)
        records[records_n++] = codec_records[i];
    records[records_n++] = &codec_everything_record;
    return 0;
}

/* Seen to fail with a byte too few asked for in wire.h, by the canary. */
static void encode_into_every_size(void **state)
{
    (void)state;
    static uint8_t whole[BUF_BYTES], part[BUF_BYTES];
    uint64_t seed = 11;

    for (size_t i = 0; i < records_n; i++) {
        const struct codec_record *r = records[i];
        void *v = malloc(r->struct_size);
        assert_non_null(v);
        for (int k = 0; k < VALUES; k++) {
            size_t n = 0, n2;
            codec_values_random(r, &seed, v);
            assert_int_equal(r->encode(v, whole, sizeof whole, &n), CODEC_OK);
            for (size_t cap = 0; cap < n && cap < BYTES_MAX; cap++) {
                memset(part + cap, 0x5a, 16);
                assert_int_equal(r->encode(v, part, cap, &n2), CODEC_NO_SPACE);
                for (size_t c = 0; c < 16; c++)
                    assert_int_equal(part[cap + c], 0x5a);
            }
        }
        free(v);
    }
}

/* What decodes encodes and decodes to the same; what doesn't has a status. From exactly n bytes:
 * ASan sees a read past the end. */
static void decode_one(const struct codec_record *r, const uint8_t *bytes, size_t n, void *v,
                       void *got)
{
    static uint8_t again[BUF_BYTES];
    uint8_t *exact = malloc(n + 1);
    const char *field = "";
    size_t n2 = 0;

    assert_non_null(exact);
    memcpy(exact, bytes, n);
    const enum codec_status s = r->decode(exact, n, v);
    assert_true(s < CODEC_STATUS_COUNT);
    if (s == CODEC_OK) {
        assert_int_equal(r->encode(v, again, sizeof again, &n2), CODEC_OK);
        assert_int_equal(r->decode(again, n2, got), CODEC_OK);
        assert_true(codec_values_equal(r, v, got, &field));
    }
    free(exact);
}

/* Seen to fail (ASan) without the check of what is there in codec_in_length. */
static void decode_with_every_poison_everywhere(void **state)
{
    (void)state;
    /* varints: too long; -1; longer than any bound; a length past the end; a negative block */
    static const struct {
        uint8_t bytes[POISON_BYTES];
        size_t n;
    } poisons[] = {
        {{0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 11},
        {{0x01}, 1},
        {{0xfe, 0xff, 0xff, 0x7f}, 4},
        {{0x3e}, 1},
        {{0x03, 0x02}, 2},
        {{0x01, 0x01}, 2},
        {{0x01, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 11},
        {{0xff, 0xff, 0xff, 0x7f, 0x02}, 5},
    };
    static uint8_t whole[BUF_BYTES], bad[BUF_BYTES];
    uint64_t seed = 12;

    for (size_t i = 0; i < records_n; i++) {
        const struct codec_record *r = records[i];
        void *v = malloc(r->struct_size), *got = malloc(r->struct_size);
        assert_true(v != NULL && got != NULL);
        for (int k = 0; k < VALUES; k++) {
            size_t n = 0;
            codec_values_random(r, &seed, v);
            assert_int_equal(r->encode(v, whole, sizeof whole - POISON_BYTES, &n), CODEC_OK);
            for (size_t at = 0; at < n && at < BYTES_MAX / 4; at++) {
                for (size_t p = 0; p < sizeof poisons / sizeof poisons[0]; p++) {
                    memcpy(bad, whole, n);
                    memcpy(bad + at, poisons[p].bytes, poisons[p].n);
                    decode_one(r, bad, at + poisons[p].n, v, got); /* the bytes end there */
                    decode_one(r, bad, n > at + poisons[p].n ? n : at + poisons[p].n, v, got);
                }
            }
        }
        free(v);
        free(got);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(encode_into_every_size),
        cmocka_unit_test(decode_with_every_poison_everywhere),
    };
    return cmocka_run_group_tests(tests, all_records, NULL);
}
