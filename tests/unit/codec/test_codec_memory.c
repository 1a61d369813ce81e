/*
 * Schemas, plans and readers when memory gives out: each allocation fails once, jansson's too. An
 * error every time, never a plan that lacks a part; nothing leaks (ASan). Seen to fail (a crash)
 * with one table of a plan, or the two canonical forms, unchecked.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

#include "codec/heartbeat.h"
#include "codec/reader.h"
#include "codec/schema.h"
#include "failing_alloc.h"

/* Heartbeat with lag_ms an int. */
static const char older[] =
    "{\"type\":\"record\",\"name\":\"Heartbeat\",\"namespace\":\"l2flow\",\"fields\":["
    "{\"name\":\"exchange\",\"type\":\"string\"},{\"name\":\"symbol\",\"type\":\"string\"},"
    "{\"name\":\"time\",\"type\":\"long\"},{\"name\":\"newest_event_time\",\"type\":\"long\"},"
    "{\"name\":\"lag_ms\",\"type\":\"int\"},{\"name\":\"state\",\"type\":{\"type\":\"enum\","
    "\"name\":\"HeartbeatState\",\"symbols\":[\"live\"]}}]}";

static int memory_of_ours(void **state)
{
    (void)state;
    json_set_alloc_funcs(malloc, free); /* the linker's: they fail too */
    return 0;
}

static enum err_class make_plan(struct err *err)
{
    struct codec_plan *plan = NULL;
    const enum err_class e =
        codec_plan_new("w", older, strlen(older), &codec_heartbeat_record, &plan, err);

    assert_int_equal(e == ERR_OK, plan != NULL);
    if (plan != NULL) { /* whole: it reads what was written with it */
        static const uint8_t body[] = {0x02, 'x', 0x02, 'S', 0x02, 0x04, 0x06, 0x00};
        static uint8_t scratch[CODEC_HEARTBEAT_BYTES_MAX];
        struct codec_heartbeat b;
        assert_int_equal(codec_plan_decode(plan, body, sizeof body, scratch, sizeof scratch, &b),
                         CODEC_OK);
        assert_int_equal(b.lag_ms, 3);
    }
    codec_plan_free(plan);
    return e;
}

static enum err_class make_reader(struct err *err)
{
    struct codec_reader *reader = NULL;
    const enum err_class e = codec_reader_new(&codec_heartbeat_record, NULL, &reader, err);

    assert_int_equal(e == ERR_OK, reader != NULL);
    codec_reader_free(reader);
    return e;
}

/* Ours, spelled otherwise: its form is compared. */
static enum err_class match(struct err *err)
{
    const struct codec_record *record = NULL;
    static char text[4096];

    text[0] = ' ';
    (void)memcpy(text + 1, codec_heartbeat_schema, strlen(codec_heartbeat_schema));
    const enum err_class e =
        codec_schema_match("w", text, 1 + strlen(codec_heartbeat_schema), NULL, &record, err);
    assert_int_equal(e == ERR_OK, record == &codec_heartbeat_record);
    return e;
}

/* Each allocation fails in turn, until none is left to fail. */
static void memory_gives_out(void **state)
{
    static enum err_class (*const makes[])(struct err *) = {make_plan, make_reader, match};
    static const int allocations_min[] = {20, 2, 20};

    (void)state;
    for (unsigned k = 0; k < 3; k++) {
        struct err err = {.text = ""};
        int failed = 0;
        for (int i = 1; i < 5000; i++) {
            failing_alloc_in = i;
            const enum err_class e = makes[k](&err);
            const bool was_reached = failing_alloc_in == 0;
            failing_alloc_in = 0;
            failed += e != ERR_OK;
            /* jansson calls a text that it has no memory for unreadable, or loses the end of a name
             */
            if (e == ERR_FATAL)
                assert_non_null(strstr(err.text, "memory"));
            if (!was_reached) {
                assert_int_equal(e, ERR_OK);
                break;
            }
        }
        assert_true(failed >= allocations_min[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(memory_gives_out),
    };

    return cmocka_run_group_tests(tests, memory_of_ours, NULL);
}
