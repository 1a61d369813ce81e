#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>

#include "codec/wire.h"

/*
 * Each input is read twice: from a heap block of exactly its size, so that ASan sees a byte too
 * far, and with 16 bytes behind it, so that the eight-bytes-at-once path is taken.
 */
static enum codec_status read_long(const uint8_t *bytes, size_t n, int64_t *ret, size_t *ret_used)
{
    uint8_t *exact = malloc(n + 1); /* + 1: malloc(0) */
    uint8_t padded[32];
    int64_t v1 = 0, v2 = 0;
    assert_non_null(exact);
    assert_true(n + 16 <= sizeof padded);
    uint8_t *const p = exact + 1;
    memcpy(p, bytes, n);
    struct codec_in in = {.p = p, .end = p + n};
    const enum codec_status s = codec_in_long(&in, &v1);
    const size_t used = (size_t)(in.p - p);

    memset(padded, 0x80, sizeof padded);
    memcpy(padded, bytes, n);
    struct codec_in wide = {.p = padded, .end = padded + sizeof padded};
    if (s == CODEC_OK) {
        assert_int_equal(codec_in_long(&wide, &v2), CODEC_OK);
        assert_true(v1 == v2);
        assert_int_equal(wide.p - padded, used);
        *ret = v1;
        *ret_used = used;
    }
    free(exact);
    return s;
}

/* Every bit length and both signs come back, in the fewest bytes. Seen to fail with 0x3fff0000
 * shifted by 1. */
static void wire_long_round_trip(void **state)
{
    (void)state;
    for (int bit = 0; bit <= 64; bit++) {
        for (int d = -1; d <= 1; d++) {
            for (int sign = 0; sign < 2; sign++) {
                const uint64_t u = (bit == 64 ? 0 : (uint64_t)1 << bit) + (uint64_t)(int64_t)d;
                const int64_t v = (int64_t)(sign ? 0 - u : u);
                uint8_t buf[CODEC_VARINT_BYTES_MAX];
                struct codec_out out = {.p = buf, .end = buf + sizeof buf};
                int64_t got;
                size_t used;
                assert_int_equal(codec_out_long(&out, v), CODEC_OK);
                const size_t n = (size_t)(out.p - buf);
                assert_int_equal(read_long(buf, n, &got, &used), CODEC_OK);
                assert_true(got == v && used == n);
                for (size_t cut = 0; cut < n; cut++)
                    assert_int_equal(read_long(buf, cut, &got, &used), CODEC_TRUNCATED);
                for (size_t cap = 0; cap < n; cap++) {
                    struct codec_out small = {.p = buf, .end = buf + cap};
                    assert_int_equal(codec_out_long(&small, v), CODEC_NO_SPACE);
                }
            }
        }
    }
}

/* The bytes of Avro's specification. */
static void wire_long_known_bytes(void **state)
{
    (void)state;
    static const struct {
        int64_t v;
        size_t n;
        uint8_t bytes[10];
    } known[] = {
        {0, 1, {0}},
        {-1, 1, {1}},
        {1, 1, {2}},
        {-2, 1, {3}},
        {-64, 1, {0x7f}},
        {64, 2, {0x80, 0x01}},
        {INT64_MAX, 10, {0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
        {INT64_MIN, 10, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01}},
    };
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++) {
        uint8_t buf[CODEC_VARINT_BYTES_MAX];
        struct codec_out out = {.p = buf, .end = buf + sizeof buf};
        int64_t got;
        size_t used;
        assert_int_equal(codec_out_long(&out, known[i].v), CODEC_OK);
        assert_int_equal(out.p - buf, known[i].n);
        assert_memory_equal(buf, known[i].bytes, known[i].n);
        assert_int_equal(read_long(known[i].bytes, known[i].n, &got, &used), CODEC_OK);
        assert_true(got == known[i].v);
    }
}

/* Eleven bytes, or a 65th bit, are no number; padding within ten bytes is. Seen to fail with `byte
 * > 3` in wire.c. */
static void wire_varint_overflow(void **state)
{
    (void)state;
    uint8_t bytes[12];
    int64_t got;
    size_t used;

    memset(bytes, 0x80, sizeof bytes);
    assert_int_equal(read_long(bytes, 11, &got, &used), CODEC_VARINT_OVERFLOW);
    assert_int_equal(read_long(bytes, 10, &got, &used), CODEC_VARINT_OVERFLOW);
    assert_int_equal(read_long(bytes, 9, &got, &used), CODEC_TRUNCATED);
    bytes[9] = 0x02; /* bit 64 */
    assert_int_equal(read_long(bytes, 10, &got, &used), CODEC_VARINT_OVERFLOW);
    bytes[9] = 0x00; /* zero, padded to ten bytes */
    assert_int_equal(read_long(bytes, 10, &got, &used), CODEC_OK);
    assert_true(got == 0 && used == 10);
    bytes[0] = 0x82;
    bytes[7] = 0x00; /* one, padded to eight: the last that the fast path takes */
    assert_int_equal(read_long(bytes, 8, &got, &used), CODEC_OK);
    assert_true(got == 1 && used == 8);
}

/* An int has 32 bits. Seen to fail without the comparison in codec_in_int. */
static void wire_int_range(void **state)
{
    (void)state;
    static const int64_t values[] = {
        0, -1, INT32_MAX, INT32_MIN, (int64_t)INT32_MAX + 1, (int64_t)INT32_MIN - 1};
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        uint8_t buf[CODEC_VARINT_BYTES_MAX];
        struct codec_out out = {.p = buf, .end = buf + sizeof buf};
        int32_t got = 42;
        assert_int_equal(codec_out_long(&out, values[i]), CODEC_OK);
        struct codec_in in = {.p = buf, .end = out.p};
        if (values[i] >= INT32_MIN && values[i] <= INT32_MAX) {
            assert_int_equal(codec_in_int(&in, &got), CODEC_OK);
            assert_true(got == values[i]);
        } else {
            assert_int_equal(codec_in_int(&in, &got), CODEC_VARINT_OVERFLOW);
            assert_int_equal(got, 42);
        }
    }
}

static enum codec_status read_block(const uint8_t *bytes, size_t n, uint32_t room,
                                    struct codec_block *ret)
{
    struct codec_in in = {.p = bytes, .end = bytes + n};

    return codec_in_block(&in, room, ret);
}

/* Counts against the room, sizes against what is there; the least long has no negative. */
static void wire_block_headers(void **state)
{
    (void)state;
    struct codec_block block;
    static const uint8_t least[] = {0xff, 0xff, 0xff, 0xff, 0xff, 0xff,
                                    0xff, 0xff, 0xff, 0x01, 0x00};

    assert_int_equal(read_block((const uint8_t[]){4}, 1, 2, &block), CODEC_OK);
    assert_true(block.items == 2 && block.stop == NULL);
    assert_int_equal(read_block((const uint8_t[]){4}, 1, 1, &block), CODEC_OVER_BOUND);
    assert_int_equal(read_block((const uint8_t[]){3, 2, 9}, 3, 2, &block), CODEC_OK);
    assert_true(block.items == 2 && block.stop != NULL);
    assert_int_equal(read_block((const uint8_t[]){3, 2, 9}, 3, 1, &block), CODEC_OVER_BOUND);
    assert_int_equal(read_block((const uint8_t[]){3, 4, 9}, 3, 2, &block), CODEC_TRUNCATED);
    assert_int_equal(read_block((const uint8_t[]){3, 1}, 2, 2, &block), CODEC_NEGATIVE_LENGTH);
    assert_int_equal(read_block((const uint8_t[]){3}, 1, 2, &block), CODEC_TRUNCATED);
    assert_int_equal(read_block(least, sizeof least, UINT32_MAX, &block), CODEC_OVER_BOUND);
}

/* What fits exactly is taken; a byte more is not. Seen to fail with `<=` in either. */
static void wire_copies(void **state)
{
    (void)state;
    uint8_t from[8] = {1, 2, 3, 4, 5, 6, 7, 8}, to[8] = {0};
    struct codec_in in = {.p = from, .end = from + 8};
    struct codec_out out = {.p = to, .end = to + 8};

    assert_int_equal(codec_in_copy(&in, to, 9), CODEC_TRUNCATED);
    assert_int_equal(codec_in_copy(&in, to, 8), CODEC_OK);
    assert_memory_equal(from, to, 8);
    assert_int_equal(codec_in_copy(&in, to, 1), CODEC_TRUNCATED);
    assert_int_equal(codec_out_copy(&out, from, 9), CODEC_NO_SPACE);
    assert_int_equal(codec_out_copy(&out, from, 8), CODEC_OK);
    assert_int_equal(codec_out_copy(&out, from, 1), CODEC_NO_SPACE);
    assert_int_equal(codec_out_copy(&out, NULL, 0), CODEC_OK);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(wire_copies),           cmocka_unit_test(wire_long_round_trip),
        cmocka_unit_test(wire_long_known_bytes), cmocka_unit_test(wire_varint_overflow),
        cmocka_unit_test(wire_int_range),        cmocka_unit_test(wire_block_headers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
