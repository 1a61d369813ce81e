/*
 * Schema resolution against avro-c where that can: promotions, fields dropped and moved, enums. And
 * why it is not what resolves here (docs/decisions/schema-resolution.md): a reader's field that the
 * writer lacks is refused, whatever its default.
 */
#include <avro.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/resolve.h"

#define RECORD(fields) "{\"type\":\"record\",\"name\":\"R\",\"fields\":[" fields "]}"
#define FIELD(name, type) "{\"name\":\"" name "\",\"type\":" type "}"

static avro_schema_t schema_of(const char *json)
{
    avro_schema_t schema = NULL;
    avro_schema_error_t error;

    assert_int_equal(avro_schema_from_json(json, 0, &schema, &error), 0);
    return schema;
}

/* What avro-c makes of the writer's bytes, in the reader's; 0: it cannot resolve. */
static size_t avroc(const char *writer, const char *reader, const uint8_t *body, size_t n,
                    uint8_t *out, size_t cap)
{
    avro_schema_t w = schema_of(writer), r = schema_of(reader);
    avro_value_iface_t *resolver = avro_resolved_writer_new(w, r);
    size_t used = 0;

    if (resolver != NULL) {
        avro_value_iface_t *ours = avro_generic_class_from_schema(r);
        avro_value_t into, from;
        assert_int_equal(avro_generic_value_new(ours, &into), 0);
        assert_int_equal(avro_resolved_writer_new_value(resolver, &from), 0);
        avro_resolved_writer_set_dest(&from, &into);
        avro_reader_t in = avro_reader_memory((const char *)body, (int64_t)n);
        avro_writer_t to = avro_writer_memory((char *)out, (int64_t)cap);
        if (avro_value_read(in, &from) == 0 && avro_value_write(to, &into) == 0)
            used = (size_t)avro_writer_tell(to);
        avro_reader_free(in);
        avro_writer_free(to);
        avro_value_decref(&from);
        avro_value_decref(&into);
        avro_value_iface_decref(ours);
        avro_value_iface_decref(resolver);
    }
    avro_schema_decref(w);
    avro_schema_decref(r);
    return used;
}

static size_t ours(const char *writer, const char *reader, const uint8_t *body, size_t n,
                   uint8_t *out, size_t cap)
{
    struct codec_plan *plan = NULL;
    struct err err;
    size_t used = 0;

    if (codec_plan_between("test", writer, strlen(writer), reader, strlen(reader), cap, &plan,
                           &err) != ERR_OK)
        return 0;
    if (codec_plan_transcode(plan, body, n, out, cap, &used) != CODEC_OK)
        used = 0;
    codec_plan_free(plan);
    return used;
}

static void test_alike(void **state)
{
    static const struct {
        const char *writer, *reader;
        uint8_t body[16];
        size_t n;
    } cases[] = {
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"long\"")), {0x9f, 0x02}, 2},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "\"double\"")), {0x9f, 0x02}, 2},
        {RECORD(FIELD("a", "\"long\"")), RECORD(FIELD("a", "\"float\"")), {0x9f, 0x02}, 2},
        {RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"string\"")),
         RECORD(FIELD("b", "\"string\"")),
         {0x02, 0x04, 'x', 'y'},
         4},
        {RECORD(FIELD("a", "\"int\"") "," FIELD("b", "\"string\"")),
         RECORD(FIELD("b", "\"string\"") "," FIELD("a", "\"int\"")),
         {0x02, 0x04, 'x', 'y'},
         4},
        {RECORD(FIELD("a", "\"int\"")), RECORD(FIELD("a", "[\"null\",\"int\"]")), {0x02}, 1},
        {RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"int\"}")),
         RECORD(FIELD("a", "{\"type\":\"array\",\"items\":\"double\"}")),
         {0x04, 0x02, 0x03, 0x00},
         4},
    };
    uint8_t theirs[64], mine[64];

    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        const size_t want =
            avroc(cases[i].writer, cases[i].reader, cases[i].body, cases[i].n, theirs, 64);
        const size_t got =
            ours(cases[i].writer, cases[i].reader, cases[i].body, cases[i].n, mine, 64);
        assert_true(want > 0);
        assert_int_equal(got, want);
        assert_memory_equal(mine, theirs, want);
    }
}

static void test_defaults_are_beyond_avroc(void **state)
{
    static const char writer[] = RECORD(FIELD("a", "\"int\""));
    static const char reader[] =
        RECORD(FIELD("a", "\"int\"") ",{\"name\":\"b\",\"type\":\"int\",\"default\":5}");
    static const uint8_t body[] = {0x02};
    uint8_t out[64];

    (void)state;
    assert_int_equal(avroc(writer, reader, body, 1, out, 64), 0);
    assert_int_equal(ours(writer, reader, body, 1, out, 64), 2);
    assert_int_equal(out[0], 0x02);
    assert_int_equal(out[1], 0x0a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alike),
        cmocka_unit_test(test_defaults_are_beyond_avroc),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
