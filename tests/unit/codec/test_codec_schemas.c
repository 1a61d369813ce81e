/*
 * Schemas of strangers, from both sides: what is refused and why, every bound on their size, and
 * defaults of ours that have no room or do not fit.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/resolve.h"
#include "codec/schema.h"

enum { TEXT_BYTES = CODEC_SCHEMA_BYTES_MAX + 4096, OUT_MAX = 1 << 17 };

/* A schema in the making. */
struct text {
    char *data;
    size_t n;
};

static void add(struct text *t, const char *format, ...) __attribute__((format(printf, 2, 3)));

static void add(struct text *t, const char *format, ...)
{
    va_list args;

    va_start(args, format);
    const int n = vsnprintf(t->data + t->n, TEXT_BYTES - t->n, format, args);
    va_end(args);
    assert_true(n >= 0 && (size_t)n < TEXT_BYTES - t->n);
    t->n += (size_t)n;
}

static void repeat(struct text *t, unsigned times, const char *what)
{
    for (unsigned i = 0; i < times; i++)
        add(t, "%s%s", i > 0 ? "," : "", what);
}

/* `times` fields NAME0, NAME1, … of one type. */
static void fields(struct text *t, const char *name, unsigned times, const char *type)
{
    for (unsigned i = 0; i < times; i++)
        add(t, "%s{\"name\":\"%s%u\",\"type\":%s}", i > 0 ? "," : "", name, i, type);
}

static struct text begin(void)
{
    struct text t = {.data = malloc(TEXT_BYTES)};

    assert_non_null(t.data);
    t.data[0] = '\0';
    return t;
}

static const char *why_not(const char *writer, size_t writer_n, const char *reader)
{
    static struct err err;
    struct codec_plan *plan = NULL;
    const enum err_class e =
        codec_plan_between("w", writer, writer_n, reader, strlen(reader), OUT_MAX, &plan, &err);

    codec_plan_free(plan);
    assert_true(e == ERR_OK || e == ERR_REJECT);
    return e == ERR_OK ? "" : err.text;
}

static void refused(const char *writer, const char *reader, const char *why)
{
    const char *got = why_not(writer, strlen(writer), reader);

    if (strstr(got, why) == NULL || (why[0] == '\0' && got[0] != '\0'))
        fail_msg("'%.200s' for %.300s: not '%s'", got, writer, why);
}

static void accepted(const char *writer, const char *reader)
{
    assert_string_equal(why_not(writer, strlen(writer), reader), "");
}

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define EMPTY RECORD("")
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"
#define FIELD_OR(name, type, otherwise)                                                            \
    "{\"name\":\"" name "\",\"type\":" type ",\"default\":" otherwise "}"

/* ---- what is no schema ---- */

/* Seen to fail: with a bad symbol and a field's bad name passed over, and a type defined twice. */
static void bad_schemas_name_what_is_wrong(void **state)
{
    static const struct {
        const char *schema, *why;
    } bad[] = {
        {"{\"type\":\"record\",\"name\":\"R\",\"fields\":7}", "a record without fields"},
        {RECORD("{\"name\":\"\",\"type\":\"int\"}"), "a field with a bad name"},
        {RECORD("{\"type\":\"int\"}"), "a field with a bad name"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"b c\"]}", "a bad symbol"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",7]}", "a bad symbol"},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":7}", "an enum without symbols"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":\"4\"}", "a fixed without a size"},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":16777217}", "of too large a one"},
        {"{\"type\":\"record\",\"fields\":[]}", "a bad name"},
        {"{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"a b\",\"fields\":[]}", "a bad name"},
        {"{\"type\":\"map\",\"values\":\"N\"}", "a type that it does not define"},
        {"{\"type\":\"map\"}", "something that is no type"},
        {RECORD(FIELD("a", "\"N\"") "," FIELD("b", "\"int\"")), "that it does not define"},
        {"[\"N\",\"int\"]", "that it does not define"},
        {RECORD(FIELD("a", "[\"N\",\"int\"]")), "that it does not define"},
        {"{\"type\":7}", "something that is no type"},
        {"\"a b\"", "a bad name"},
        {RECORD(FIELD("a", "{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}")),
         "defines a type twice"},
    };

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        refused(bad[i].schema, EMPTY, bad[i].why);
    refused("\"int\"", "{", "our schema is unreadable");
}

/* Spellings that mean the same: a type in an object, or in two; a namespace of its own. Seen to
 * fail with "error" not known for a record. */
static void good_schemas_however_they_are_spelled(void **state)
{
    (void)state;
    accepted("{\"type\":{\"type\":\"int\"}}", "\"int\"");
    accepted("{\"type\":[\"int\",\"null\"]}", "[\"null\",\"int\"]");
    accepted("{\"type\":\"map\",\"values\":\"int\"}", "{\"type\":\"map\",\"values\":\"long\"}");
    accepted("{\"type\":\"record\",\"name\":\"R\",\"namespace\":7,\"fields\":[]}", EMPTY);
    accepted(RECORD(FIELD("a", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}") "," FIELD(
                 "b", "{\"type\":\"F\"}")),
             EMPTY);
    accepted("{\"type\":\"error\",\"name\":\"R\",\"fields\":[]}", EMPTY);
    accepted("{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"n.m\",\"fields\":["
             "{\"name\":\"a\",\"type\":{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}},"
             "{\"name\":\"b\",\"type\":\"n.m.F\"}]}",
             EMPTY);
}

/* ---- bounds ---- */

/* Seen to fail: with no bound of bytes, of fields and, by ASan, of types. */
static void bounds_of_one_schema(void **state)
{
    (void)state;
    struct text t = begin();

    add(&t, "%*s", CODEC_SCHEMA_BYTES_MAX + 1, "\"int\""); /* blanks before it */
    refused(t.data, EMPTY, "it is too long");
    accepted(t.data + 1, "\"int\"");

    for (unsigned over = 0; over < 2; over++) { /* 1 of them is the union */
        t.n = 0;
        add(&t, "[");
        repeat(&t, CODEC_SCHEMA_NODES_MAX - 1 + over, "\"int\"");
        add(&t, "]");
        refused(t.data, "\"int\"", over ? "it has too many types" : "");
    }
    static const char *const last[] = {"{\"type\":\"record\",\"name\":\"R\",\"fields\":[]}",
                                       "{\"type\":\"array\",\"items\":\"int\"}",
                                       "{\"type\":\"map\",\"values\":\"int\"}", "[\"int\"]"};
    for (unsigned i = 0; i < 4; i++) { /* each kind of type as the one too many */
        t.n = 0;
        add(&t, "[");
        if (i == 3) { /* a union stands in no union: in a record */
            add(&t, "{\"type\":\"record\",\"name\":\"A\",\"fields\":[{\"name\":\"u\",\"type\":[");
            repeat(&t, CODEC_SCHEMA_NODES_MAX - 3, "\"int\"");
            add(&t, "]},{\"name\":\"v\",\"type\":[\"int\"]}]}]");
        } else {
            repeat(&t, CODEC_SCHEMA_NODES_MAX - 1, "\"int\"");
            add(&t, ",%s]", last[i]);
        }
        refused(t.data, EMPTY, "it has too many types");
    }
    t.n = 0;
    add(&t, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
    fields(&t, "f", CODEC_PLAN_FIELDS_MAX, "\"int\"");
    add(&t, "]}");
    accepted(t.data, EMPTY);
    t.n -= 2;
    add(&t, ",{\"name\":\"more\",\"type\":\"int\"}]}");
    refused(t.data, EMPTY, "or with too many");
    t.n = 0;
    add(&t, "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[");
    repeat(&t, CODEC_SCHEMA_NODES_MAX + 1, "\"A\"");
    add(&t, "]}");
    refused(t.data, EMPTY, "an enum without symbols, or with too many");
    free(t.data);
}

/* Uses of named types are no types of their own, but places. The last that fit, and each kind of
 * one more. Seen to fail (ASan) with no bound of places. */
static void bounds_of_places(void **state)
{
    static const struct {
        unsigned uses; /* in the last record */
        const char *last, *why;
    } cases[] = {
        {511, "\"F\"", ""},
        {511, "{\"type\":\"array\",\"items\":\"F\"}", "it has too many types"},
        {511, "[\"F\"]", "it has too many types"},
        {511, "{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"a\",\"type\":\"F\"}]}",
         "it has too many types"},
    };
    struct text t = begin();

    (void)state;
    for (unsigned i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        t.n = 0;
        /* 7 fields of 512, one of 504 and 8 of the outer record: 4096 */
        add(&t, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
        for (unsigned k = 0; k < 7; k++) {
            add(&t, "{\"name\":\"r%u\",\"type\":{\"type\":\"record\",\"name\":\"N%u\",\"fields\":[",
                k, k);
            fields(&t, "f", CODEC_PLAN_FIELDS_MAX - 1, "\"N0\"");
            add(&t, ",{\"name\":\"g\",\"type\":%s}]}},",
                k == 0 ? "{\"type\":\"fixed\",\"name\":\"F\",\"size\":0}" : "\"F\"");
        }
        add(&t, "{\"name\":\"r7\",\"type\":{\"type\":\"record\",\"name\":\"N7\",\"fields\":[");
        fields(&t, "f", 503, "\"F\"");
        add(&t, ",{\"name\":\"g\",\"type\":%s}]}}]}", cases[i].last);
        refused(t.data, EMPTY, cases[i].why);
    }
    free(t.data);
}

/* Types within types: of the text, and of a plan where named types reach deeper than the text. Seen
 * to fail without either. */
static void bounds_of_depth(void **state)
{
    (void)state;
    struct text t = begin();

    for (unsigned deep = CODEC_SCHEMA_DEPTH_MAX; deep <= CODEC_SCHEMA_DEPTH_MAX + 1; deep++) {
        t.n = 0;
        for (unsigned i = 0; i < deep; i++)
            add(&t, "{\"type\":\"array\",\"items\":");
        add(&t, "\"int\"");
        for (unsigned i = 0; i < deep; i++)
            add(&t, "}");
        refused(t.data, t.data, deep > CODEC_SCHEMA_DEPTH_MAX ? "types are nested too deep" : "");
    }
    /* R20 holds 20 records; the field that is skipped holds it in 15 arrays */
    t.n = 0;
    add(&t, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"f0\",\"type\":"
            "{\"type\":\"record\",\"name\":\"R0\",\"fields\":[]}}");
    for (unsigned i = 1; i <= 20; i++)
        add(&t,
            ",{\"name\":\"f%u\",\"type\":{\"type\":\"record\",\"name\":\"R%u\",\"fields\":["
            "{\"name\":\"a\",\"type\":\"R%u\"}]}}",
            i, i, i - 1);
    const size_t common = t.n;
    add(&t, "]}");
    char *reader = strdup(t.data);
    assert_non_null(reader);
    t.n = common;
    add(&t, ",{\"name\":\"deep\",\"type\":");
    for (unsigned i = 0; i < 15; i++)
        add(&t, "{\"type\":\"array\",\"items\":");
    add(&t, "\"R20\"");
    for (unsigned i = 0; i < 15; i++)
        add(&t, "}");
    add(&t, "}]}");
    refused(t.data, reader, "too large or nested too deep");
    free(reader);
    free(t.data);
}

/* What every plan below ends with: each way of reading a value, and of skipping one. */
static const char tail_writer[] =
    "{\"type\":\"record\",\"name\":\"T\",\"fields\":["
    "{\"name\":\"a\",\"type\":{\"type\":\"array\",\"items\":[\"null\",{\"type\":\"record\","
    "\"name\":"
    "\"S\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"},{\"name\":\"e\",\"type\":{\"type\":"
    "\"enum\","
    "\"name\":\"ES\",\"symbols\":[\"A\",\"B\",\"C\"]}},{\"name\":\"f\",\"type\":{\"type\":"
    "\"fixed\","
    "\"name\":\"FS\",\"size\":3}}]}]}},"
    "{\"name\":\"b\",\"type\":\"int\"},{\"name\":\"c\",\"type\":[\"null\",\"string\"]},"
    "{\"name\":\"d\",\"type\":{\"type\":\"enum\",\"name\":\"ED\",\"symbols\":[\"A\",\"B\"]}},"
    "{\"name\":\"g\",\"type\":[\"int\",\"boolean\"]},"
    "{\"name\":\"o\",\"type\":{\"type\":\"record\",\"name\":\"O\",\"fields\":[{\"name\":\"x\","
    "\"type\":"
    "{\"type\":\"array\",\"items\":{\"type\":\"map\",\"values\":[\"null\",\"double\"]}}},"
    "{\"name\":\"y\",\"type\":\"int\"},{\"name\":\"z\",\"type\":\"int\"}]}}]}";
static const char tail_reader[] =
    "{\"type\":\"record\",\"name\":\"T\",\"fields\":["
    "{\"name\":\"b\",\"type\":[\"null\",\"long\"]},{\"name\":\"c\",\"type\":[\"string\",\"null\"]},"
    "{\"name\":\"d\",\"type\":{\"type\":\"enum\",\"name\":\"ED\",\"symbols\":[\"A\",\"B\"]}},"
    "{\"name\":\"g\",\"type\":\"int\"},"
    "{\"name\":\"o\",\"type\":{\"type\":\"record\",\"name\":\"O\",\"fields\":["
    "{\"name\":\"z\",\"type\":\"int\"},{\"name\":\"y\",\"type\":\"int\"}]}}]}";

/* Fields that leave `left` operations: 366 records of 20 arrays, and ints. */
static void fill_operations(struct text *t, unsigned left, bool is_writer)
{
    (void)is_writer;
    add(t,
        "{\"name\":\"l\",\"type\":{\"type\":\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"a\","
        "\"type\":");
    for (unsigned i = 0; i < 20; i++)
        add(t, "{\"type\":\"array\",\"items\":");
    add(t, "\"int\"");
    for (unsigned i = 0; i < 20; i++)
        add(t, "}");
    add(t, "}]}},");
    fields(t, "f", 365, "\"L\"");
    add(t, ",");
    fields(t, "i", CODEC_PLAN_OPS_MAX - 366 * 22 - left, "\"int\"");
}

/* … steps: records whose 512 fields are all skipped. */
static void fill_steps(struct text *t, unsigned left, bool is_writer)
{
    add(t, "{\"name\":\"n\",\"type\":{\"type\":\"record\",\"name\":\"N\",\"fields\":[");
    fields(t, "f", is_writer ? 512 : 0, "\"null\"");
    add(t, "]}},");
    fields(t, "u", 30, "\"N\"");
    add(t, ",{\"name\":\"p\",\"type\":{\"type\":\"record\",\"name\":\"P\",\"fields\":[");
    fields(t, "f", is_writer ? 512 - left : 0, "\"null\"");
    add(t, "]}}");
}

/* … entries of the table: enums of 2048 symbols. */
static void fill_table(struct text *t, unsigned left, bool is_writer)
{
    (void)is_writer;
    add(t, "{\"name\":\"e\",\"type\":{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[");
    repeat(t, CODEC_SCHEMA_NODES_MAX, "\"A\"");
    add(t, "]}},");
    fields(t, "u", 6, "\"E\"");
    add(t, ",{\"name\":\"p\",\"type\":{\"type\":\"enum\",\"name\":\"P\",\"symbols\":[");
    repeat(t, CODEC_SCHEMA_NODES_MAX - left, "\"A\"");
    add(t, "]}}");
}

/* Small schemas can make large plans. The same tail after ever less that fills a bound: refused,
 * whatever finds no room, until all of it fits. Seen to fail with the reason left that a union's
 * branch was refused for and, by ASan, with no bound of operations, and none of steps and table. */
static void bounds_of_a_plan(void **state)
{
    static void (*const fills[])(struct text *, unsigned, bool) = {fill_operations, fill_steps,
                                                                   fill_table};
    enum { LEFT_MAX = 140 };

    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        struct text w = begin(), r = begin();
        unsigned made = 0, first = 0;
        for (unsigned left = 1; left < LEFT_MAX; left++) {
            w.n = r.n = 0;
            add(&w, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
            fills[i](&w, left, true);
            add(&w, ",{\"name\":\"t\",\"type\":%s}]}", tail_writer);
            add(&r, "{\"type\":\"record\",\"name\":\"R\",\"fields\":[");
            fills[i](&r, left, false);
            add(&r, ",{\"name\":\"t\",\"type\":%s}]}", tail_reader);
            const char *why = why_not(w.data, w.n, r.data);
            made += why[0] == '\0';
            if (made == 1 && first == 0)
                first = left;
            if (why[0] != '\0')
                assert_non_null(strstr(why, "it is too large or nested too deep"));
        }
        assert_true(first > 10 && made == LEFT_MAX - first);
        free(w.data);
        free(r.data);
    }
}

/* ---- defaults ---- */

/* Each type's default with k bytes of room left, for every k: made where it fits, refused where
 * not. Seen to fail with no room for an array's end passed over. */
static void defaults_with_every_room(void **state)
{
    static const struct {
        const char *type, *value;
        unsigned bytes;
    } defaults[] = {
        {"\"null\"", "null", 0},
        {"\"boolean\"", "true", 1},
        {"\"boolean\"", "false", 1},
        {"\"int\"", "-2147483648", 5},
        {"\"long\"", "9223372036854775807", 10},
        {"\"float\"", "1.5", 4},
        {"\"double\"", "1", 8},
        {"\"string\"", "\"ab\"", 3},
        {"\"bytes\"", "\"\\u00ff\\u0080\"", 3},
        {"{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}", "\"ab\"", 2},
        {"{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"B\"]}", "\"B\"", 1},
        {"{\"type\":\"array\",\"items\":\"int\"}", "[]", 1},
        {"{\"type\":\"array\",\"items\":\"int\"}", "[1,64]", 5},
        {"{\"type\":\"map\",\"values\":\"int\"}", "{}", 1},
        {"{\"type\":\"record\",\"name\":\"I\",\"fields\":[{\"name\":\"x\",\"type\":\"int\"}]}",
         "{\"x\":64}", 2},
        {"[\"int\",\"string\"]", "\"a\"", 3},
    };
    struct text t = begin();

    (void)state;
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        for (unsigned room = 0; room <= defaults[i].bytes; room++) {
            t.n = 0;
            /* a length of three bytes, and what fills all but `room` */
            add(&t,
                "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"pad\",\"type\":"
                "\"bytes\",\"default\":\"%0*d\"},{\"name\":\"b\",\"type\":%s,\"default\":%s}]}",
                CODEC_PLAN_CONSTANTS_MAX - 3 - (int)room, 0, defaults[i].type, defaults[i].value);
            refused(EMPTY, t.data,
                    room < defaults[i].bytes ? "our default does not fit its type: b" : "");
        }
    }
    free(t.data);
}

/* Seen to fail with an int below an int's range taken. */
static void defaults_that_do_not_fit(void **state)
{
    static const char *const bad[] = {
        FIELD_OR("b", "\"null\"", "0"),
        FIELD_OR("b", "\"boolean\"", "\"true\""),
        FIELD_OR("b", "\"int\"", "1.5"),
        FIELD_OR("b", "\"int\"", "-2147483649"),
        FIELD_OR("b", "\"double\"", "\"1\""),
        FIELD_OR("b", "\"string\"", "1"),
        FIELD_OR("b", "\"bytes\"", "1"),
        FIELD_OR("b", "{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}", "1"),
        FIELD_OR("b", "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\"]}", "\"B\""),
        FIELD_OR("b", "{\"type\":\"array\",\"items\":\"int\"}", "{}"),
        FIELD_OR("b", "{\"type\":\"array\",\"items\":\"int\"}", "[1,\"2\"]"),
        FIELD_OR("b", "{\"type\":\"map\",\"values\":\"int\"}", "{\"a\":1}"),
        FIELD_OR("b", "{\"type\":\"map\",\"values\":\"int\"}", "[]"),
        FIELD_OR("b", "{\"type\":\"record\",\"name\":\"I\",\"fields\":[]}", "[]"),
        FIELD_OR("b", "[\"int\",\"null\"]", "\"a\""),
    };
    char reader[300];

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        (void)snprintf(reader, sizeof reader, RECORD("%s"), bad[i]);
        refused(EMPTY, reader, "our default does not fit its type: b");
    }
}

/* A default as deep as its text says, of a type that holds itself. Seen to fail without the bound.
 */
static void defaults_are_bounded_in_depth(void **state)
{
    (void)state;
    for (unsigned deep = 10; deep <= 20; deep += 10) { /* a record and a union each */
        struct text t = begin();
        add(&t,
            "{\"type\":\"record\",\"name\":\"R\",\"fields\":[{\"name\":\"b\",\"type\":{\"type\":"
            "\"record\",\"name\":\"L\",\"fields\":[{\"name\":\"next\",\"type\":[\"null\",\"L\"]}]},"
            "\"default\":");
        for (unsigned i = 0; i < deep; i++)
            add(&t, "{\"next\":");
        add(&t, "null");
        for (unsigned i = 0; i < deep; i++)
            add(&t, "}");
        add(&t, "}]}");
        refused(EMPTY, t.data, deep == 20 ? "our default does not fit its type: b" : "");
        free(t.data);
    }
}

/* ---- names ---- */

/* Seen to fail with types' aliases not looked at. */
static void types_go_together_by_name_or_alias(void **state)
{
#define ENUM(name, more) "{\"type\":\"enum\",\"name\":\"" name "\",\"symbols\":[\"A\"]" more "}"
    (void)state;
    accepted(ENUM("n.E", ""), ENUM("m.E", "")); /* the names without their spaces are equal */
    refused(ENUM("E", ""), ENUM("D", ""), "types that do not go together");
    refused(ENUM("E", ""), ENUM("D", ",\"aliases\":[7,\"C\"]"), "types that do not go together");
    accepted(ENUM("E", ""), ENUM("D", ",\"aliases\":[7,\"C\",\"x.E\"]"));
    /* a branch of the very name before one by alias */
    accepted(ENUM("E", ""), "[" ENUM("D", ",\"aliases\":[\"E\"]") "," ENUM("E", "") "]");
    /* fields: aliases that are none, and one that the writer lacks too */
    refused(RECORD(FIELD("a", "\"int\"")),
            RECORD("{\"name\":\"b\",\"type\":\"int\",\"aliases\":[7,\"c\"]}"),
            "it lacks a field that has no default: b");
    accepted(RECORD(FIELD("a", "\"int\"")),
             RECORD("{\"name\":\"b\",\"type\":\"int\",\"aliases\":[7,\"c\",\"a\",\"d\"]}"));
}

/* ---- canonical forms ---- */

static bool same(const char *a, const char *b)
{
    json_t *x = json_loads(a, JSON_DECODE_ANY, NULL), *y = json_loads(b, JSON_DECODE_ANY, NULL);

    assert_true(x != NULL && y != NULL);
    const bool is = codec_schema_same(x, y);
    json_decref(x);
    json_decref(y);
    return is;
}

/* Seen to fail with the first half of two forms compared. */
static void canonical_forms(void **state)
{
    static const char nameless[] = RECORD("{\"name\":\"\",\"type\":\"int\"}");
    static const char typeless[] =
        RECORD("{\"name\":\"a\",\"type\":7},{\"name\":\"b\",\"type\":\"int\"}");
    static const char *const none[] = {
        "7",
        "\"a b\"",
        "{\"type\":\"record\",\"name\":\"R\"}",
        "{\"type\":\"record\",\"name\":\"R\",\"fields\":7}",
        nameless,
        typeless,
        "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[\"A\",\"b c\",\"D\"]}",
        "{\"type\":\"enum\",\"name\":\"E\",\"symbols\":[]}",
        "[7,\"int\"]",
        "{\"type\":\"map\"}",
        "{\"type\":\"fixed\",\"name\":\"F F\",\"size\":1}",
        "{\"type\":\"fixed\",\"name\":\"F\",\"namespace\":\"a b\",\"size\":1}",
    };

    (void)state;
    for (size_t i = 0; i < sizeof none / sizeof none[0]; i++)
        assert_false(same(none[i], none[i])); /* what has no form equals nothing */
    assert_false(same("\"int\"", "7"));
    assert_false(same("7", "\"int\""));
    assert_false(same("\"int\"", "\"long\""));
    assert_false(same("\"int\"", "\"float\"")); /* as long */
    assert_true(same("{\"type\":{\"type\":\"int\"}}", "\"int\""));
    assert_true(same("{\"type\":[\"int\",\"null\"]}", "[\"int\",{\"type\":\"null\"}]"));
    assert_false(
        same("{\"type\":\"map\",\"values\":\"int\"}", "{\"type\":\"array\",\"items\":\"int\"}"));
    assert_true(same("{\"type\":\"fixed\",\"name\":\"F\",\"namespace\":\"n\",\"size\":1}",
                     "{\"type\":\"fixed\",\"name\":\"n.F\",\"size\":1}"));
    assert_true(same("{\"type\":\"fixed\",\"name\":\"F\",\"namespace\":7,\"size\":1}",
                     "{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}"));
    assert_false(same("{\"type\":\"fixed\",\"name\":\"F\",\"size\":2}",
                      "{\"type\":\"fixed\",\"name\":\"F\",\"size\":1}"));
}

/* Names are spelled out in it, so that it may be longer than the text: both are bounded. Seen to
 * fail with either unbounded. */
static void canonical_forms_are_bounded(void **state)
{
    char name[CODEC_NAME_BYTES_MAX + 1], full[CODEC_NAME_BYTES_MAX];
    struct text t = begin();

    (void)state;
    memset(name, 'n', sizeof name - 1);
    name[CODEC_NAME_BYTES_MAX] = '\0';
    assert_non_null(codec_name_full(name, "", full));
    assert_null(codec_name_full(name + 1, "", full));
    assert_string_equal(full, name + 1);
    assert_non_null(codec_name_full("F", name + 1, full));
    assert_null(codec_name_full("F", name + 3, full));
    for (unsigned uses = 400; uses <= 800; uses += 400) {
        t.n = 0;
        add(&t,
            "{\"type\":\"record\",\"name\":\"R\",\"namespace\":\"%s\",\"fields\":[{\"name\":\"u\","
            "\"type\":[{\"type\":\"fixed\",\"name\":\"F\",\"size\":1},",
            name + 3);
        repeat(&t, uses, "\"F\"");
        add(&t, "]}]}");
        assert_true(t.n < 8192);
        assert_int_equal(same(t.data, t.data), uses == 400);
    }
    free(t.data);
}

#define T(name) cmocka_unit_test(name)

int main(void)
{
    const struct CMUnitTest tests[] = {
        T(bad_schemas_name_what_is_wrong),
        T(good_schemas_however_they_are_spelled),
        T(bounds_of_one_schema),
        T(bounds_of_places),
        T(bounds_of_depth),
        T(bounds_of_a_plan),
        T(defaults_with_every_room),
        T(defaults_that_do_not_fit),
        T(defaults_are_bounded_in_depth),
        T(types_go_together_by_name_or_alias),
        T(canonical_forms),
        T(canonical_forms_are_bounded),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
