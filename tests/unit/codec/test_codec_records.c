#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#include <stdlib.h>
#include <string.h>

#include "codec/everything.h"
#include "codec/heartbeat.h"
#include "codec/l2_bar.h"
#include "codec/l2_snapshot.h"
#include "codec_values.h"

enum { BUF_BYTES = 64 << 10, RECORDS_MAX = 32 };

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

/* Decodes from a heap block of exactly n bytes: ASan sees a read past the end. `into` NULL: into
 * rubbish. */
static enum codec_status decode_exactly(const struct codec_record *record, const uint8_t *bytes,
                                        size_t n, void *into)
{
    uint8_t *exact = malloc(n + 1);
    void *rubbish = malloc(record->struct_size);
    assert_non_null(exact);
    assert_non_null(rubbish);
    memset(rubbish, 0xa5, record->struct_size);
    memcpy(exact + 1, bytes, n);
    const enum codec_status s = record->decode(exact + 1, n, rubbish);
    free(rubbish);
    free(exact);
    if (into != NULL && s == CODEC_OK) /* again, so that the views point into `bytes` */
        assert_int_equal(record->decode(bytes, n, into), CODEC_OK);
    return s;
}

/*
 * What is encoded decodes to the same, within bytes_max; a prefix never decodes, a byte more is
 * trailing, a buffer one byte short is no space. Seen to fail with the null branch written as 1 for
 * [X, null], and with `>=` in codec_out_copy.
 */
static void records_round_trip(void **state)
{
    (void)state;
    static uint8_t buf[BUF_BYTES], again[BUF_BYTES];
    uint64_t seed = 20240808;

    for (size_t i = 0; i < records_n; i++) {
        const struct codec_record *r = records[i];
        void *v = malloc(r->struct_size), *got = malloc(r->struct_size);
        assert_true(v != NULL && got != NULL);
        for (int k = 0; k < 300; k++) {
            size_t n = 0, n2 = 0, used = 0;
            const char *field = "";
            codec_values_random(r, &seed, v);
            assert_int_equal(r->encode(v, buf, sizeof buf, &n), CODEC_OK);
            assert_true(n > 0 && n <= r->bytes_max);
            memset(got, 0xa5, r->struct_size);
            assert_int_equal(decode_exactly(r, buf, n, got), CODEC_OK);
            if (!codec_values_equal(r, v, got, &field))
                fail_msg("%s.%s differs after a round trip", r->name, field);
            assert_int_equal(r->encode(got, again, n, &n2), CODEC_OK);
            assert_int_equal(n, n2);
            assert_memory_equal(buf, again, n);
            assert_int_equal(r->encode(v, again, n - 1, &n2), CODEC_NO_SPACE);
            const size_t cuts = n < 400 ? n : 400;
            for (size_t cut = 0; cut < cuts; cut++)
                assert_int_equal(decode_exactly(r, buf, cut * n / cuts, NULL), CODEC_TRUNCATED);
            buf[n] = 0;
            assert_int_equal(decode_exactly(r, buf, n + 1, NULL), CODEC_TRAILING_BYTES);
            assert_int_equal(r->decode_prefix(buf, n + 1, got, &used), CODEC_OK);
            assert_int_equal(used, n);
        }
        free(v);
        free(got);
    }
}

/* Whatever bytes come: an answer, no crash (ASan, UBSan), and what decodes re-encodes and decodes
 * to the same. */
static void records_survive_damage(void **state)
{
    (void)state;
    static uint8_t buf[BUF_BYTES], again[BUF_BYTES];
    uint64_t seed = 7;

    for (size_t i = 0; i < records_n; i++) {
        const struct codec_record *r = records[i];
        void *v = malloc(r->struct_size), *got = malloc(r->struct_size);
        assert_true(v != NULL && got != NULL);
        for (int k = 0; k < 2000; k++) {
            size_t n = 0, n2 = 0;
            const char *field = "";
            codec_values_random(r, &seed, v);
            assert_int_equal(r->encode(v, buf, sizeof buf, &n), CODEC_OK);
            for (uint64_t flips = 1 + codec_values_next(&seed) % 3; flips > 0; flips--) {
                const uint64_t x = codec_values_next(&seed);
                buf[(x >> 16) % (n < 120 ? n : 120)] = (uint8_t)x;
            }
            if (decode_exactly(r, buf, n, v) != CODEC_OK)
                continue;
            assert_int_equal(r->encode(v, again, sizeof again, &n2), CODEC_OK);
            assert_int_equal(r->decode(again, n2, got), CODEC_OK);
            assert_true(codec_values_equal(r, v, got, &field));
        }
        free(v);
        free(got);
    }
}

/* The encoder refuses what the decoder would. Seen to fail without each of the checks in avrogen's
 * put_ functions. */
static void encode_refuses_out_of_bounds(void **state)
{
    (void)state;
    static struct codec_everything v;
    static uint8_t buf[BUF_BYTES];
    static const char text[300] = "x";
    size_t n = 42;

    memset(&v, 0, sizeof v);
    assert_int_equal(codec_everything_encode(&v, buf, sizeof buf, &n), CODEC_OK);
    n = 42;
    v.text = (struct codec_str){.data = text, .n = 201};
    assert_int_equal(codec_everything_encode(&v, buf, sizeof buf, &n), CODEC_OVER_BOUND);
    v.text.n = 200;
    v.points_n = 71;
    assert_int_equal(codec_everything_encode(&v, buf, sizeof buf, &n), CODEC_OVER_BOUND);
    v.points_n = 0;
    v.counts_n = 101;
    assert_int_equal(codec_everything_encode(&v, buf, sizeof buf, &n), CODEC_OVER_BOUND);
    v.counts_n = 0;
    v.colour = (enum codec_colour)3;
    assert_int_equal(codec_everything_encode(&v, buf, sizeof buf, &n), CODEC_BAD_ENUM);
    v.colour = CODEC_COLOUR_BLUE;
    v.colours_n = 1;
    v.colours[0] = (enum codec_colour) - 1;
    assert_int_equal(codec_everything_encode(&v, buf, sizeof buf, &n), CODEC_BAD_ENUM);
    assert_int_equal(n, 42); /* untouched on failure */
    v.colours_n = 0;
    assert_int_equal(codec_everything_encode(&v, buf, sizeof buf, &n), CODEC_OK);
}

/* A snapshot of one level a side; `at` is where its bids begin, `flow` its last byte. */
static size_t small_snapshot(uint8_t *buf, size_t cap, size_t *ret_bids, size_t *ret_flow)
{
    static struct codec_l2_snapshot v;
    size_t n;

    v.exchange = codec_str("x");
    v.symbol = codec_str("S");
    v.bids_n = v.asks_n = 1;
    v.bids[0].price = 1;
    v.asks[0].price = 2;
    assert_int_equal(codec_l2_snapshot_encode(&v, buf, cap, &n), CODEC_OK);
    *ret_bids = 2 + 2 + 4;
    *ret_flow = n - 1;
    assert_int_equal(n, 8 + 2 * (1 + 16 + 1) + 1);
    return n;
}

/* Each way of being wrong has its status. Each was seen to fail with its check taken out of wire.h.
 */
static void decode_names_what_is_wrong(void **state)
{
    (void)state;
    uint8_t good[256], b[256];
    size_t bids, flow;
    const struct codec_record *r = &codec_l2_snapshot_record;
    const size_t n = small_snapshot(good, sizeof good, &bids, &flow);

    assert_int_equal(decode_exactly(r, good, n, NULL), CODEC_OK);
    memcpy(b, good, n);
    b[0] = 1; /* length -1 */
    assert_int_equal(decode_exactly(r, b, n, NULL), CODEC_NEGATIVE_LENGTH);
    b[0] = 66; /* 33 of 32 bytes */
    assert_int_equal(decode_exactly(r, b, n, NULL), CODEC_OVER_BOUND);
    memcpy(b, good, n);
    b[flow] = 4; /* branch 2 of 2 */
    assert_int_equal(decode_exactly(r, b, n, NULL), CODEC_BAD_UNION);
    b[flow] = 1; /* branch -1 */
    assert_int_equal(decode_exactly(r, b, n, NULL), CODEC_BAD_UNION);
    memcpy(b, good, n);
    b[bids] = 0xd2; /* 1001 items, as two bytes: d2 0f */
    b[bids + 1] = 0x0f;
    assert_int_equal(decode_exactly(r, b, n, NULL), CODEC_OVER_BOUND);
    memset(b + 4, 0xff, 11); /* a time of eleven bytes */
    assert_int_equal(decode_exactly(r, b, n, NULL), CODEC_VARINT_OVERFLOW);

    struct codec_heartbeat h = {.exchange = codec_str("x"), .symbol = codec_str("S")};
    size_t hn;
    assert_int_equal(codec_heartbeat_encode(&h, b, sizeof b, &hn), CODEC_OK);
    b[hn - 1] = 6; /* symbol 3 of 3 */
    assert_int_equal(decode_exactly(&codec_heartbeat_record, b, hn, NULL), CODEC_BAD_ENUM);

    static struct codec_everything e;
    assert_int_equal(codec_everything_encode(&e, b, sizeof b, &hn), CODEC_OK);
    b[0] = 2; /* `flag` */
    assert_int_equal(decode_exactly(&codec_everything_record, b, hn, NULL), CODEC_BAD_BOOL);
}

static const uint8_t level_bytes[16] = {0, 0, 0, 0, 0, 0, 0xf0, 0x3f, 0, 0, 0, 0, 0, 0, 0, 0x40};

/* bids of the small snapshot replaced by `count` header bytes, then levels, as a list of parts. */
static size_t with_bids(uint8_t *b, const uint8_t *good, size_t n, const uint8_t *bids_bytes,
                        size_t bids_n)
{
    const size_t head = 8, old = 1 + 16 + 1;

    memcpy(b, good, head);
    memcpy(b + head, bids_bytes, bids_n);
    memcpy(b + head + bids_n, good + head + old, n - head - old);
    return n - old + bids_n;
}

/*
 * Arrays in several blocks, with and without sizes, are one array; a size that lies is an error,
 * and so is one block too many for the bound. Seen to fail without codec_in_block_end, and with
 * `room` not lowered between blocks.
 */
static void decode_array_blocks(void **state)
{
    (void)state;
    uint8_t good[256], b[20000], bids[19000];
    size_t unused, at = 0;
    static struct codec_l2_snapshot v;
    const struct codec_record *r = &codec_l2_snapshot_record;
    const size_t n = small_snapshot(good, sizeof good, &unused, &unused);

    bids[at++] = 2; /* one item */
    memcpy(bids + at, level_bytes, 16);
    at += 16;
    bids[at++] = 3; /* minus two items … */
    const size_t size_at = at;
    bids[at++] = 64; /* … of 32 bytes */
    memcpy(bids + at, level_bytes, 16);
    memcpy(bids + at + 16, level_bytes, 16);
    at += 32;
    bids[at++] = 0;
    size_t m = with_bids(b, good, n, bids, at);
    assert_int_equal(decode_exactly(r, b, m, &v), CODEC_OK);
    assert_int_equal(v.bids_n, 3);
    for (uint32_t i = 0; i < 3; i++)
        assert_true(v.bids[i].price == 1 && v.bids[i].quantity == 2);
    assert_true(v.asks_n == 1 && v.asks[0].price == 2);
    bids[size_at] = 62;
    m = with_bids(b, good, n, bids, at);
    assert_int_equal(decode_exactly(r, b, m, NULL), CODEC_BAD_BLOCK_SIZE);
    bids[size_at] = 66;
    m = with_bids(b, good, n, bids, at);
    assert_int_equal(decode_exactly(r, b, m, NULL), CODEC_BAD_BLOCK_SIZE);

    for (uint32_t blocks = 1000; blocks <= 1001; blocks++) { /* of one item each */
        at = 0;
        for (uint32_t i = 0; i < blocks; i++) {
            bids[at++] = 2;
            memcpy(bids + at, level_bytes, 16);
            at += 16;
        }
        bids[at++] = 0;
        m = with_bids(b, good, n, bids, at);
        assert_int_equal(decode_exactly(r, b, m, NULL),
                         blocks == 1000 ? CODEC_OK : CODEC_OVER_BOUND);
    }
}

/* Frames: the header, and each way of not being one. Seen to fail with the fingerprint written big
 * endian. */
static void frames(void **state)
{
    (void)state;
    struct codec_heartbeat h = {.exchange = codec_str("x"), .symbol = codec_str("S"), .lag_ms = 5},
                           got;
    uint8_t buf[CODEC_FRAME_BYTES + CODEC_HEARTBEAT_BYTES_MAX];
    uint64_t fingerprint = 1;
    const uint8_t *body = NULL;
    size_t n = 42, body_n = 0;
    struct codec_l2_bar *bar = malloc(sizeof *bar);
    assert_non_null(bar);

    assert_int_equal(codec_heartbeat_frame(&h, buf, 9, &n), CODEC_NO_SPACE);
    assert_int_equal(codec_heartbeat_frame(&h, buf, 12, &n), CODEC_NO_SPACE);
    assert_int_equal(n, 42);
    assert_int_equal(codec_heartbeat_frame(&h, buf, sizeof buf, &n), CODEC_OK);
    assert_true(buf[0] == 0xC3 && buf[1] == 0x01 && buf[2] == (uint8_t)codec_heartbeat_fingerprint);
    assert_int_equal(codec_frame_get(buf, n, &fingerprint, &body, &body_n), CODEC_OK);
    assert_true(fingerprint == codec_heartbeat_fingerprint && body == buf + 10 && body_n == n - 10);
    assert_ptr_equal(codec_record_by_fingerprint(fingerprint), &codec_heartbeat_record);
    assert_int_equal(codec_heartbeat_unframe(buf, n, &got), CODEC_OK);
    assert_true(got.lag_ms == 5 && codec_str_equal(got.symbol, h.symbol));
    assert_int_equal(codec_l2_bar_unframe(buf, n, bar), CODEC_FRAME_SCHEMA);

    body = NULL;
    for (size_t cut = 0; cut < 10; cut++)
        assert_int_equal(codec_frame_get(buf, cut, &fingerprint, &body, &body_n),
                         CODEC_FRAME_SHORT);
    assert_int_equal(
        codec_frame_get((const uint8_t[]){0, 0, 0, 0, 7, 1}, 6, &fingerprint, &body, &body_n),
        CODEC_FRAME_NO_REGISTRY);
    assert_int_equal(codec_frame_get((const uint8_t[]){'{'}, 1, &fingerprint, &body, &body_n),
                     CODEC_FRAME_UNKNOWN);
    buf[1] = 2;
    assert_int_equal(codec_frame_get(buf, n, &fingerprint, &body, &body_n), CODEC_FRAME_UNKNOWN);
    assert_null(body);
    free(bar);
}

/* Every status has its own word; records are found by either name. */
static void names(void **state)
{
    (void)state;
    for (int a = 0; a < CODEC_STATUS_COUNT; a++) {
        assert_non_null(codec_status_name((enum codec_status)a));
        for (int b = 0; b < a; b++)
            assert_string_not_equal(codec_status_name((enum codec_status)a),
                                    codec_status_name((enum codec_status)b));
    }
    assert_string_equal(codec_status_name(CODEC_STATUS_COUNT), "unknown_status");
    assert_ptr_equal(codec_record_by_name("L2Bar"), &codec_l2_bar_record);
    assert_ptr_equal(codec_record_by_name("l2flow.L2Bar"), &codec_l2_bar_record);
    assert_null(codec_record_by_name("L2Barn"));
    assert_null(codec_record_by_fingerprint(0));
    assert_string_equal(codec_closed_by_name(CODEC_CLOSED_BY_CLOCK), "clock");
    assert_string_equal(codec_closed_by_name((enum codec_closed_by)2), "?");
    assert_string_equal(codec_l2_bar_fields[3].name, "bar_seconds");
    assert_int_equal(codec_l2_bar_fields[2].logical, CODEC_LOGICAL_TIMESTAMP_MICROS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_round_trip),
        cmocka_unit_test(records_survive_damage),
        cmocka_unit_test(encode_refuses_out_of_bounds),
        cmocka_unit_test(decode_names_what_is_wrong),
        cmocka_unit_test(decode_array_blocks),
        cmocka_unit_test(frames),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, all_records, NULL);
}
