#include "bus/buffer.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define OUTPUTS 500

static struct bus_header headers[BUS_HEADERS_MAX];
static char names[BUS_HEADERS_MAX][8];
static uint8_t bytes[4096];

/* Output number i: sizes, absent parts and headers that differ from its neighbours'. */
static struct bus_output output(unsigned i)
{
    const struct bus_output o = {
        .topic = i % 3,
        .partition = (int32_t)(i % 5),
        .key = i % 7 == 0 ? NULL : bytes + i,
        .key_n = i % 7 == 0 ? 0 : i % 13,
        .value = i % 11 == 0 ? NULL : bytes + 2 * i,
        .value_n = i % 11 == 0 ? 0 : i * 7 % 1000,
        .timestamp_ms = 1700000000000 + i,
        .tag = i % 4,
        .headers = headers,
        .headers_n = i % (BUS_HEADERS_MAX + 1),
    };
    return o;
}

static size_t promised(const struct bus_output *o)
{
    size_t cost = o->key_n + o->value_n + BUS_OUTPUT_OVERHEAD;

    for (unsigned i = 0; i < o->headers_n; i++)
        cost += strlen(o->headers[i].name) + o->headers[i].value_n + BUS_HEADER_OVERHEAD;
    return cost;
}

static int setup(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (uint8_t)(i * 31);
    for (unsigned i = 0; i < BUS_HEADERS_MAX; i++) {
        names[i][0] = (char)('a' + i);
        headers[i] =
            (struct bus_header){.name = names[i], .value = bytes + 100 * i, .value_n = 17 * i};
    }
    return 0;
}

static void check(const struct buffer_record *r, const struct bus_output *o)
{
    size_t cursor = 0;

    assert_int_equal(r->topic, o->topic);
    assert_int_equal(r->partition, o->partition);
    assert_int_equal(r->timestamp_ms, o->timestamp_ms);
    assert_int_equal(r->tag, o->tag);
    assert_int_equal(r->offset, -1);
    assert_int_equal(r->key_n, o->key_n);
    assert_int_equal(r->value_n, o->value_n);
    assert_true((buffer_key(r) == NULL) == (o->key == NULL));
    assert_true((buffer_value(r) == NULL) == (o->value == NULL));
    if (o->key_n > 0)
        assert_memory_equal(buffer_key(r), o->key, o->key_n);
    if (o->value_n > 0)
        assert_memory_equal(buffer_value(r), o->value, o->value_n);
    assert_int_equal(r->headers_n, o->headers_n);
    for (unsigned i = 0; i < r->headers_n; i++) {
        const struct buffer_header h = buffer_header_at(r, &cursor);

        assert_string_equal(h.name, o->headers[i].name);
        assert_int_equal(h.value_n, o->headers[i].value_n);
        if (h.value_n > 0)
            assert_memory_equal(h.value, o->headers[i].value, h.value_n);
    }
}

/* Whatever goes in comes out, in order. Seen to fail with headers left out of payload's place. */
static void outputs_round_trip(void **state)
{
    struct buffer buffer;
    unsigned n = 0;
    unsigned tagged = 0;

    (void)state;
    assert_true(buffer_new(&buffer, 1 << 20));
    for (unsigned i = 0; i < OUTPUTS; i++) {
        const struct bus_output o = output(i);

        buffer_add(&buffer, &o);
        tagged += o.tag != 0;
    }
    for (struct buffer_record *r = buffer_first(&buffer); r != NULL; r = buffer_next(&buffer, r)) {
        const struct bus_output o = output(n++);

        check(r, &o);
    }
    assert_int_equal(n, OUTPUTS);
    assert_int_equal(buffer.tagged, tagged);
    buffer_clear(&buffer);
    assert_null(buffer_first(&buffer));
    buffer_free(&buffer);
}

/* bus.h's promise of what an output takes. Seen to fail with 20 bytes more a header. */
static void cost_is_as_promised(void **state)
{
    (void)state;
    for (unsigned i = 0; i < OUTPUTS; i++) {
        const struct bus_output o = output(i);

        assert_true(buffer_cost(&o) <= promised(&o));
        assert_int_equal(buffer_cost(&o) % BUFFER_ALIGN, 0);
    }
}

/* The last byte is used, and one more output is an assert. Seen to fail with <= taken for < in
 * buffer_add. */
static void buffer_fills_to_the_last_byte(void **state)
{
    const struct bus_output o = {.value = bytes, .value_n = 64};
    struct buffer buffer;

    (void)state;
    assert_true(buffer_new(&buffer, 10 * buffer_cost(&o)));
    for (unsigned i = 0; i < 10; i++)
        buffer_add(&buffer, &o);
    assert_int_equal(buffer.used, buffer.size);
    buffer_free(&buffer);
}

/* Only the revoked partition's outputs die. Seen to fail with the comparison left out. */
static void kill_takes_one_partition(void **state)
{
    struct buffer buffer;
    unsigned dead = 0;

    (void)state;
    assert_true(buffer_new(&buffer, 1 << 20));
    for (unsigned i = 0; i < OUTPUTS; i++) {
        const struct bus_output o = output(i);

        buffer_add(&buffer, &o);
    }
    buffer_kill(&buffer, 3);
    buffer_kill(&buffer, 77);
    for (struct buffer_record *r = buffer_first(&buffer); r != NULL; r = buffer_next(&buffer, r)) {
        assert_true(r->dead == (r->partition == 3));
        dead += r->dead;
    }
    assert_int_equal(dead, OUTPUTS / 5);
    buffer_free(&buffer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(outputs_round_trip),
        cmocka_unit_test(cost_is_as_promised),
        cmocka_unit_test(buffer_fills_to_the_last_byte),
        cmocka_unit_test(kill_takes_one_partition),
    };
    return cmocka_run_group_tests(tests, setup, NULL);
}
