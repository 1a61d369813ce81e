/*
 * Plans and readers: what each rule of resolution does, what is refused, and every bound against
 * bytes and schemas that mean harm. That the rules are Avro's is test_resolve_fastavro.py's to
 * show. Planted faults that these tests were seen to find: no budget of steps, no depth, a block's
 * size unchecked, differing logical types let through, a nested default cut short, the last id's
 * plan used for another id.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/heartbeat.h"
#include "codec/l2_snapshot.h"
#include "codec/reader.h"

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define FIELD_OR(name, type, otherwise)                                                            \
    "{\"name\":\"" name "\",\"type\":" type ",\"default\":" otherwise "}"

static struct codec_plan *plan_of(const char *writer, const char *reader, char *why)
{
    struct codec_plan *plan = NULL;
    struct err err = {.text = ""};
    const enum err_class e =
        codec_plan_between("w", writer, strlen(writer), reader, strlen(reader), 4096, &plan, &err);

    assert_true(e == ERR_OK || e == ERR_REJECT);
    assert_int_equal(e == ERR_OK, plan != NULL);
    if (why != NULL)
        memcpy(why, err.text, sizeof err.text);
    return plan;
}

/* The reader's bytes as hex, or the status's word, or "refused". */
static const char *result(const char *writer, const char *reader, const uint8_t *body, size_t n)
{
    static char text[256];
    uint8_t out[4096];
    size_t out_n;
    struct codec_plan *plan = plan_of(writer, reader, NULL);

    if (plan == NULL)
        return "refused";
    const enum codec_status s = codec_plan_transcode(plan, body, n, out, sizeof out, &out_n);
    codec_plan_free(plan);
    if (s != CODEC_OK)
        return codec_status_name(s);
    text[0] = '\0';
    for (size_t i = 0; i < out_n && i < 100; i++)
        (void)snprintf(text + 2 * i, 3, "%02x", out[i]);
    return text;
}

/* `want` of these bytes, which may be none. */
#define CHECK(writer, reader, want, ...)                                                           \
    do {                                                                                           \
        const uint8_t body_[] = {0 __VA_OPT__(, ) __VA_ARGS__};                                    \
        assert_string_equal(result(writer, reader, body_ + 1, sizeof body_ - 1), want);            \
    } while (0)

static void test_rules(void **state)
{
    static const char a_int[] = RECORD(FIELD("a", "\"int\""));

    (void)state;
    CHECK(a_int, a_int, "02", 0x02);
    CHECK(a_int, RECORD(FIELD_OR("b", "[\"null\",\"int\"]", "null") "," FIELD("a", "\"long\"")),
          "0002", 0x02);
    CHECK(a_int, RECORD("{\"name\":\"z\",\"aliases\":[\"a\"],\"type\":\"int\"}"), "02", 0x02);
    CHECK(a_int, RECORD(FIELD("b", "\"int\"")), "refused", 0x02);
    CHECK(a_int, RECORD(FIELD("a", "\"string\"")), "refused", 0x02);
    CHECK(RECORD(FIELD("a", "\"long\"")), a_int, "refused", 0x02); /* no demotion */
    /* an int that is none, though a long of ours would hold it */
    CHECK(a_int, RECORD(FIELD("a", "\"long\"")), "varint_overflow", 0x80, 0x80, 0x80, 0x80, 0x20);
    CHECK(a_int, a_int, "trailing_bytes", 0x02, 0x02);
    CHECK(a_int, a_int, "truncated", 0x80);
}

/* Each promotion, at numbers that show it, and what is no promotion. Seen to fail with an int for a
 * double made a float. */
static void test_promotions(void **state)
{
#define ONE(type) RECORD(FIELD("a", "\"" type "\""))
    (void)state;
    CHECK(ONE("int"), ONE("float"), "000080bf", 0x01);
    CHECK(ONE("int"), ONE("double"), "000000000000f0bf", 0x01);
    CHECK(ONE("long"), ONE("float"), "000080bf", 0x01);
    CHECK(ONE("long"), ONE("double"), "000000000000f0bf", 0x01);
    CHECK(ONE("float"), ONE("double"), "000000000000f0bf", 0x00, 0x00, 0x80, 0xbf);
    CHECK(ONE("string"), ONE("bytes"), "0278", 0x02, 'x');
    CHECK(ONE("bytes"), ONE("string"), "0278", 0x02, 'x');
    CHECK(ONE("float"), ONE("long"), "refused");
    CHECK(ONE("double"), ONE("float"), "refused");
    CHECK(ONE("boolean"), ONE("int"), "refused");
    CHECK(ONE("bytes"), ONE("int"), "refused");
    CHECK(RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}")),
          RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}")), "refused");
}

/* Bytes that end within a value of each type, read as it is, promoted and skipped; and what is no
 * value. Seen to fail with a map's key that is cut short passed over, and with a bool written as 2.
 */
static void test_short_and_bad_values(void **state)
{
    static const char other[] = RECORD(FIELD_OR("b", "\"int\"", "1"));
    static const char map[] = RECORD(FIELD("a", "{\"type\":\"map\",\"values\":\"int\"}"));
    static const char fixed[] =
        RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":3}"));

    (void)state;
    CHECK(ONE("boolean"), ONE("boolean"), "01", 0x01);
    CHECK(ONE("boolean"), ONE("boolean"), "00", 0x00);
    CHECK(ONE("boolean"), ONE("boolean"), "truncated");
    CHECK(ONE("boolean"), ONE("boolean"), "bad_bool", 0x02);
    CHECK(ONE("boolean"), other, "bad_bool", 0x02);
    CHECK(ONE("long"), ONE("double"), "truncated", 0x80);
    CHECK(ONE("float"), ONE("double"), "truncated", 0x00, 0x00, 0x80);
    CHECK(ONE("float"), ONE("float"), "truncated", 0x00, 0x00, 0x80);
    CHECK(ONE("double"), other, "truncated", 0x00, 0x00, 0x80);
    CHECK(ONE("string"), ONE("string"), "negative_length", 0x01);
    CHECK(ONE("string"), ONE("string"), "truncated", 0x04, 'x');
    CHECK(fixed, fixed, "616263", 'a', 'b', 'c');
    CHECK(fixed, fixed, "truncated", 'a', 'b');
    CHECK(map, map, "0202780400", 0x02, 0x02, 'x', 0x04, 0x00);
    CHECK(map, map, "truncated", 0x02, 0x06, 'x', 0x00); /* the key */
    CHECK(map, map, "truncated", 0x02, 0x02, 'x');
    CHECK(map, other, "truncated", 0x02, 0x04, 'x');
}

static void test_defaults(void **state)
{
    static const char none[] = RECORD(FIELD("a", "\"null\""));
    static const char inner[] = "{\"type\":\"record\",\"name\":\"I\",\"fields\":["
                                "{\"name\":\"x\",\"type\":\"int\",\"default\":1},"
                                "{\"name\":\"y\",\"type\":\"int\"}]}";
    char reader[512];

    (void)state;
    CHECK(none, RECORD(FIELD_OR("b", "\"bytes\"", "\"\\u0000\\u00ff\"")), "0400ff");
    CHECK(none, RECORD(FIELD_OR("b", "\"bytes\"", "\"\\u0100\"")), "refused");
    CHECK(none, RECORD(FIELD_OR("b", "\"string\"", "\"\\u00e9\"")), "04c3a9");
    CHECK(none, RECORD(FIELD_OR("b", "\"int\"", "2147483648")), "refused");
    CHECK(none, RECORD(FIELD_OR("b", "\"double\"", "1")), "000000000000f03f");
    CHECK(none, RECORD(FIELD_OR("b", "{\"type\":\"array\",\"items\":\"int\"}", "[1,2]")),
          "04020400");
    CHECK(none, RECORD(FIELD_OR("b", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "\"ab\"")),
          "6162");
    CHECK(none, RECORD(FIELD_OR("b", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "\"a\"")),
          "refused");
    /* a record's default may leave out what has one itself */
    (void)snprintf(reader, sizeof reader, RECORD("{\"name\":\"b\",\"type\":%s,\"default\":%s}"),
                   inner, "{\"y\":3}");
    CHECK(none, reader, "0206");
    (void)snprintf(reader, sizeof reader, RECORD("{\"name\":\"b\",\"type\":%s,\"default\":%s}"),
                   inner, "{\"x\":3}");
    CHECK(none, reader, "refused");
}

static void test_unions_and_enums(void **state)
{
    static const char both[] = RECORD(FIELD("a", "[\"null\",\"int\",\"string\"]"));
    static const char opt[] = RECORD(FIELD("a", "[\"string\",\"null\"]"));
    static const char abc[] =
        RECORD(FIELD("a", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\",\"C\"]}"));
    static const char cb[] =
        RECORD(FIELD("a", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"C\",\"B\"]}"));
    static const char cb_or[] =
        RECORD(FIELD("a", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"C\",\"B\"],"
                          "\"default\":\"B\"}"));

    (void)state;
    CHECK(both, opt, "02", 0x00);
    CHECK(both, opt, "000278", 0x04, 0x02, 'x');
    CHECK(both, opt, "unresolved", 0x02,
          0x02); /* an int has no place: this record, not the schema */
    CHECK(both, opt, "bad_union", 0x06);
    CHECK(both, RECORD(FIELD("a", "\"string\"")), "0278", 0x04, 0x02, 'x');
    CHECK(both, RECORD(FIELD("a", "\"string\"")), "unresolved", 0x00);
    CHECK(both, RECORD(FIELD("a", "\"boolean\"")), "refused", 0x00);
    CHECK(abc, cb, "00", 0x04);
    CHECK(abc, cb, "unresolved", 0x00);
    CHECK(abc, cb_or, "02", 0x00);
    CHECK(abc, cb, "bad_enum", 0x06);
}

/* Fields in another order, one that the writer lacks, and a value that has no place. Seen to fail
 * with the end of the reader's last field taken for the writer's. */
static void test_reordered(void **state)
{
#define SYMBOLS(symbols) "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[" symbols "]}"
    static const char writer[] =
        RECORD(FIELD("a", "\"int\"") "," FIELD("e", SYMBOLS("\"A\",\"B\"")));
    static const char reader[] = RECORD(
        FIELD("e", SYMBOLS("\"B\"")) "," FIELD_OR("c", "\"int\"", "7") "," FIELD("a", "\"int\""));

    (void)state;
    CHECK(writer, reader, "000e02", 0x02, 0x02);
    CHECK(writer, reader, "unresolved", 0x02, 0x00);
    CHECK(writer, reader, "truncated", 0x02);
    CHECK(writer, reader, "trailing_bytes", 0x02, 0x02, 0x02);
}

static void test_logical_types(void **state)
{
#define TIME(unit) RECORD(FIELD("a", "{\"type\":\"long\",\"logicalType\":\"timestamp-" unit "\"}"))
    char why[256];

    (void)state;
    CHECK(TIME("micros"), TIME("micros"), "02", 0x02);
    CHECK(RECORD(FIELD("a", "\"long\"")), TIME("micros"), "02", 0x02);
    CHECK(TIME("micros"), RECORD(FIELD("a", "\"long\"")), "02", 0x02);
    assert_null(plan_of(TIME("millis"), TIME("micros"), why));
    assert_non_null(strstr(why, "another unit"));
}

static void test_blocks(void **state)
{
    static const char ints[] = RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"int\"}"));
    static const char nulls[] = RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"null\"}"));
    static const char other[] = RECORD(FIELD_OR("b", "\"int\"", "1"));

    (void)state;
    /* several blocks, with and without sizes, become one */
    CHECK(ints, ints, "0602040600", 0x02, 0x02, 0x03, 0x04, 0x04, 0x06, 0x00);
    CHECK(ints, ints, "bad_block_size", 0x03, 0x06, 0x04, 0x06, 0x00);
    CHECK(ints, ints, "truncated", 0x03, 0x08, 0x04, 0x06, 0x00);
    CHECK(ints, ints, "negative_length", 0x03, 0x01, 0x04, 0x06, 0x00);
    CHECK(ints, other, "02", 0x04, 0x04, 0x06, 0x00); /* skipped, … */
    CHECK(ints, other, "bad_block_size", 0x03, 0x06, 0x04, 0x06, 0x00); /* … but checked */
    /* a billion nulls are five bytes: walked or skipped, the steps run out */
    CHECK(nulls, nulls, "over_bound", 0x80, 0xa8, 0xd6, 0xb9, 0x07, 0x00);
    CHECK(nulls, other, "over_bound", 0x80, 0xa8, 0xd6, 0xb9, 0x07, 0x00);
    CHECK(nulls, other, "over_bound", 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01,
          0x00);
}

static void test_depth(void **state)
{
    static const char list[] = "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
                               "{\"name\":\"a\",\"type\":[\"null\",\"R\"]}]}";
    static const char other[] = RECORD(FIELD_OR("b", "\"int\"", "1"));
    static const char endless[] = "{\"type\":\"record\",\"name\":\"R\",\"fields\":["
                                  "{\"name\":\"a\",\"type\":\"R\"}]}";
    static uint8_t body[4096];
    char deep[1024];
    size_t n = 0;

    (void)state;
    CHECK(list, other, "02", 0x02, 0x02, 0x00); /* a list of the writer's, skipped */
    memset(body, 0x02, sizeof body);
    assert_string_equal(result(list, other, body, sizeof body), "over_bound");
    CHECK(endless, other, "over_bound");
    assert_null(plan_of(list, list, NULL)); /* ours hold no such thing */
    for (n = 0; n < 40; n++)
        memcpy(deep + n * 24, "{\"type\":\"array\",\"items\":", 24);
    (void)snprintf(deep + n * 24, sizeof deep - n * 24, "\"int\"");
    assert_null(plan_of(deep, other, NULL));
}

static void test_room(void **state)
{
    static const char text[] = RECORD(FIELD("a", "\"string\""));
    static const uint8_t body[] = {0x06, 'a', 'b', 'c'};
    struct codec_plan *plan = plan_of(text, text, NULL);
    uint8_t out[8];
    size_t n = 77;

    (void)state;
    for (size_t cap = 0; cap < 4; cap++)
        assert_int_equal(codec_plan_transcode(plan, body, 4, out, cap, &n), CODEC_NO_SPACE);
    assert_int_equal(n, 77);
    assert_int_equal(codec_plan_transcode(plan, body, 4, out, 4, &n), CODEC_OK);
    assert_int_equal(n, 4);
    codec_plan_free(plan);
    /* an array in a union: its branch, its count, its items, its end */
    plan = plan_of(RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"int\"}")),
                   RECORD(FIELD("a", "[\"null\",{\"type\":\"array\",\"items\":\"long\"}]")), NULL);
    static const uint8_t items[] = {0x04, 0x02, 0x04, 0x00};
    for (size_t cap = 0; cap < 5; cap++)
        assert_int_equal(codec_plan_transcode(plan, items, 4, out, cap, &n), CODEC_NO_SPACE);
    assert_int_equal(codec_plan_transcode(plan, items, 4, out, 5, &n), CODEC_OK);
    assert_memory_equal(out, "\x02\x04\x02\x04\x00", 5);
    codec_plan_free(plan);
    codec_plan_free(NULL);
}

static void test_bad_schemas(void **state)
{
    static const char *const bad[] = {
        "",
        "{",
        "7",
        "{\"type\":\"record\",\"name\":\"R\"}",
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"a\",\"type\":\"Nowhere\"}]}",
        "{\"type\":\"record\",\"name\":\"R-1\",\"fields\":[]}",
        "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}",
        "{\"type\":\"fixed\",\"name\":\"F\",\"size\":-1}",
        "{\"type\":\"fixed\",\"name\":\"F\"}",
        "[[\"int\"]]",
        "[]",
        "{\"type\":\"array\"}",
        RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"R\",\"size\":1}")),
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        assert_null(plan_of(bad[i], RECORD(FIELD_OR("a", "\"int\"", "1")), NULL));
}

/* ---- frames ---- */

/* Each framing into buffers of every size, and what cannot be encoded. Seen to fail with a byte of
 * room too few taken for enough. */
static void test_frames(void **state)
{
    struct codec_heartbeat b = {.exchange = codec_str("x"), .symbol = codec_str("S")}, got;
    uint8_t whole[64], part[64];

    (void)state;
    for (uint32_t id = 0; id < 2; id++) {
        size_t n = 0, n2 = 77;
        assert_int_equal(codec_frame_as(&codec_heartbeat_record, id, &b, whole, sizeof whole, &n),
                         CODEC_OK);
        for (size_t cap = 0; cap < n; cap++)
            assert_int_equal(codec_frame_as(&codec_heartbeat_record, id, &b, part, cap, &n2),
                             CODEC_NO_SPACE);
        assert_int_equal(n2, 77);
        assert_int_equal(codec_unframe(&codec_heartbeat_record, whole, n, &got),
                         id == 0 ? CODEC_OK : CODEC_FRAME_NO_REGISTRY);
        b.state = (enum codec_heartbeat_state)9;
        assert_int_equal(codec_frame_as(&codec_heartbeat_record, id, &b, part, sizeof part, &n2),
                         CODEC_BAD_ENUM);
        b.state = CODEC_HEARTBEAT_STATE_LIVE;
    }
    assert_true(codec_str_equal(b.symbol, got.symbol));
    assert_false(codec_str_equal(b.symbol, b.exchange));
    assert_false(codec_str_equal(b.symbol, codec_str("SS")));
    assert_true(codec_str_equal(codec_str(""), (struct codec_str){.data = NULL}));
    assert_int_equal(codec_unframe(&codec_heartbeat_record, whole, 0, &got), CODEC_FRAME_SHORT);
}

/* ---- readers ---- */

static enum codec_found found_for[16]; /* by id */
static const struct codec_plan *plan_for[16];
static unsigned finds;

static enum codec_found find(void *user, uint32_t id, const struct codec_record *reader,
                             const struct codec_plan **ret_plan)
{
    assert_ptr_equal(user, found_for);
    assert_ptr_equal(reader, &codec_heartbeat_record);
    finds++;
    if (id >= 16)
        return CODEC_UNKNOWN;
    if (found_for[id] == CODEC_FOUND)
        *ret_plan = plan_for[id];
    return found_for[id];
}

/* Heartbeat as its first version may have been: no state, lag_ms an int. */
static const char old_heartbeat[] =
    "{\"type\":\"record\",\"name\":\"Heartbeat\",\"namespace\":\"l2flow\",\"fields\":["
    "{\"name\":\"symbol\",\"type\":\"string\"},{\"name\":\"exchange\",\"type\":\"string\"},"
    "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"newest_event_time\",\"type\":\"long\"},"
    "{\"name\":\"lag_ms\",\"type\":\"int\"},{\"name\":\"state\",\"type\":{\"type\":\"enum\","
    "\"name\":\"HeartbeatState\",\"symbols\":[\"silent\",\"live\",\"catching_up\"]}}]}";
static const uint8_t old_body[] = {0x02, 'S', 0x02, 'E', 0x02, 0x04, 0x06, 0x00};

static void check_beat(const struct codec_heartbeat *b)
{
    assert_true(codec_str_equal(b->symbol, codec_str("S")));
    assert_true(codec_str_equal(b->exchange, codec_str("E")));
    assert_int_equal(b->time_us, 1);
    assert_int_equal(b->newest_event_time_us, 2);
    assert_int_equal(b->lag_ms, 3);
    assert_int_equal(b->state, CODEC_HEARTBEAT_STATE_SILENT);
}

static void test_reader_by_id(void **state)
{
    const struct codec_ids ids = {find, found_for};
    struct codec_reader *reader = NULL;
    struct codec_plan *old = NULL, *same = NULL;
    struct codec_heartbeat b;
    struct err err;
    uint8_t message[64] = {0x00, 0, 0, 0, 3}, ours[64];
    size_t n;

    (void)state;
    assert_int_equal(codec_reader_new(&codec_heartbeat_record, &ids, &reader, &err), ERR_OK);
    assert_int_equal(codec_plan_new("old", old_heartbeat, strlen(old_heartbeat),
                                    &codec_heartbeat_record, &old, &err),
                     ERR_OK);
    assert_false(codec_plan_is_same(old));
    assert_int_equal(codec_plan_new("same", codec_heartbeat_schema, strlen(codec_heartbeat_schema),
                                    &codec_heartbeat_record, &same, &err),
                     ERR_OK);
    assert_true(codec_plan_is_same(same));
    memcpy(message + 5, old_body, sizeof old_body);
    const size_t message_n = 5 + sizeof old_body;

    found_for[3] = CODEC_PENDING;
    assert_int_equal(codec_reader_decode(reader, message, message_n, &b), CODEC_SCHEMA_PENDING);
    found_for[3] = CODEC_UNKNOWN;
    assert_int_equal(codec_reader_decode(reader, message, message_n, &b), CODEC_SCHEMA_UNKNOWN);
    found_for[3] = CODEC_FOUND;
    plan_for[3] = old;
    found_for[4] = CODEC_FOUND;
    plan_for[4] = same;
    assert_int_equal(codec_reader_decode(reader, message, message_n, &b), CODEC_OK);
    check_beat(&b);
    const unsigned before = finds;
    assert_int_equal(codec_reader_decode(reader, message, message_n, &b), CODEC_OK);
    assert_int_equal(finds, before); /* the last id is remembered, … */
    assert_int_equal(codec_frame_as(&codec_heartbeat_record, 4, &b, ours, sizeof ours, &n),
                     CODEC_OK);
    assert_memory_equal(ours, "\0\0\0\0\4", 5);
    memset(&b, 0, sizeof b);
    assert_int_equal(codec_reader_decode(reader, ours, n, &b), CODEC_OK); /* … another is asked */
    check_beat(&b);
    assert_int_equal(finds, before + 1);
    assert_int_equal(codec_reader_decode(reader, message, message_n - 1, &b), CODEC_TRUNCATED);
    for (size_t cut = 0; cut < 5; cut++)
        assert_int_equal(codec_reader_decode(reader, message, cut, &b), CODEC_FRAME_SHORT);
    codec_reader_free(reader);
    codec_reader_free(NULL);
    codec_plan_free(old);
    codec_plan_free(same);
}

static void test_reader_by_fingerprint(void **state)
{
    const uint64_t fingerprint = 0x0123456789abcdefU;
    struct codec_reader *reader = NULL;
    struct codec_heartbeat b;
    struct err err;
    uint8_t message[64];
    static const uint8_t by_id[] = {0, 0, 0, 0, 1, 0};

    (void)state;
    assert_int_equal(codec_reader_new(&codec_heartbeat_record, NULL, &reader, &err), ERR_OK);
    assert_int_equal(codec_frame_put(fingerprint, message, sizeof message), CODEC_OK);
    memcpy(message + CODEC_FRAME_BYTES, old_body, sizeof old_body);
    const size_t n = CODEC_FRAME_BYTES + sizeof old_body;
    assert_int_equal(codec_reader_decode(reader, message, n, &b), CODEC_SCHEMA_UNKNOWN);
    assert_int_equal(codec_reader_add(reader, "old", fingerprint, old_heartbeat, &err), ERR_OK);
    assert_int_equal(codec_reader_decode(reader, message, n, &b), CODEC_OK);
    check_beat(&b);
    assert_int_equal(codec_reader_decode(reader, by_id, sizeof by_id, &b), CODEC_FRAME_NO_REGISTRY);
    assert_int_equal(codec_reader_add(reader, "bad", 1, "{}", &err), ERR_REJECT);
    for (unsigned i = 0; i < CODEC_READER_VERSIONS_MAX; i++)
        (void)!codec_reader_add(reader, "more", 2 + i, old_heartbeat, &err);
    assert_int_equal(codec_reader_add(reader, "more", 1, old_heartbeat, &err), ERR_REJECT);
    codec_reader_free(reader);
}

static void test_too_long_for_ours(void **state)
{
    static const char writer[] =
        "{\"type\":\"record\",\"name\":\"Heartbeat\",\"fields\":["
        "{\"name\":\"exchange\",\"type\":\"bytes\"},{\"name\":\"symbol\",\"type\":\"string\"},"
        "{\"name\":\"time\",\"type\":\"int\"},{\"name\":\"newest_event_time\",\"type\":\"int\"},"
        "{\"name\":\"lag_ms\",\"type\":\"int\"},{\"name\":\"state\",\"type\":{\"type\":\"enum\","
        "\"name\":\"HeartbeatState\",\"symbols\":[\"live\"]}}]}";
    struct codec_plan *plan = NULL;
    struct codec_heartbeat b;
    struct err err;
    static uint8_t body[300], scratch[CODEC_HEARTBEAT_BYTES_MAX];

    (void)state;
    assert_int_equal(
        codec_plan_new("w", writer, strlen(writer), &codec_heartbeat_record, &plan, &err), ERR_OK);
    assert_int_equal(codec_plan_scratch(plan), sizeof scratch);
    /* 33 bytes of exchange fit the scratch, not the field; 200 fit neither */
    body[0] = 66;
    assert_int_equal(codec_plan_decode(plan, body, 1 + 33 + 5, scratch, sizeof scratch, &b),
                     CODEC_OVER_BOUND);
    body[0] = 0x90;
    body[1] = 0x03;
    assert_int_equal(codec_plan_decode(plan, body, 2 + 200 + 5, scratch, sizeof scratch, &b),
                     CODEC_OVER_BOUND);
    body[0] = 64;
    assert_int_equal(codec_plan_decode(plan, body, 1 + 32 + 5, scratch, sizeof scratch, &b),
                     CODEC_OK);
    codec_plan_free(plan);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rules),
        cmocka_unit_test(test_promotions),
        cmocka_unit_test(test_short_and_bad_values),
        cmocka_unit_test(test_frames),
        cmocka_unit_test(test_reordered),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_unions_and_enums),
        cmocka_unit_test(test_logical_types),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_room),
        cmocka_unit_test(test_bad_schemas),
        cmocka_unit_test(test_reader_by_id),
        cmocka_unit_test(test_reader_by_fingerprint),
        cmocka_unit_test(test_too_long_for_ours),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
