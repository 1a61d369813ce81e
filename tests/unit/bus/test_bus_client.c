/* What needs no broker: settings that are refused, and brokers that are not there. */
#include "bus/client.h"
#include "clk/clk.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOBODY "127.0.0.1:1" /* tcpmux: nothing listens there */

static const char *const outputs[] = {"out"};

static struct bus_options options_of(const struct bus_setting *settings, unsigned n)
{
    return (struct bus_options){.settings = settings,
                                .settings_n = n,
                                .group_id = "g",
                                .group_instance_id = "0",
                                .transactional_id = "t",
                                .input_topic = "in",
                                .output_topics = outputs,
                                .output_topics_n = 1,
                                .buffer_bytes_max = 1 << 16,
                                .session_timeout_ms = 10000,
                                .transaction_timeout_ms = 10000};
}

static void assert_names(const struct err *err, const char *word)
{
    if (strstr(err->text, word) == NULL)
        fail_msg("'%s' does not name '%s'", err->text, word);
}

/* What exactly once depends on cannot be set. Seen to fail with names_row answering false. */
static void fixed_settings_are_refused(void **state)
{
    static const char *const keys[] = {"isolation.level",
                                       "enable.auto.commit",
                                       "auto.offset.reset",
                                       "group.id",
                                       "partition.assignment.strategy",
                                       "session.timeout.ms",
                                       "group.protocol",
                                       "auto.commit.enable",
                                       "enable.partition.eof"};
    struct bus *bus = NULL;

    (void)state;
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        const struct bus_setting settings[] = {{"bootstrap.servers", NOBODY}, {keys[i], "x"}};
        const struct bus_options o = options_of(settings, 2);
        struct err err;

        assert_int_equal(bus_new(&o, &bus, &err), ERR_REJECT);
        assert_names(&err, keys[i]);
        assert_null(bus);
    }
}

static void bad_settings_are_named(void **state)
{
    static const struct bus_setting bad[][2] = {
        {{"bootstrap.servers", NOBODY}, {"no.such.key", "1"}},
        {{"bootstrap.servers", NOBODY}, {"fetch.wait.max.ms", "-5"}},
        {{"client.id", "me"}, {"fetch.wait.max.ms", "5"}},
    };
    static const char *const words[] = {"no.such.key", "fetch.wait.max.ms", "bootstrap.servers"};
    struct bus_producer *producer = NULL;
    struct bus_reader *reader = NULL;
    struct bus *bus = NULL;
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        const struct bus_options o = options_of(bad[i], 2);

        assert_int_equal(bus_new(&o, &bus, &err), ERR_REJECT);
        assert_names(&err, words[i]);
        assert_int_equal(bus_producer_new(bad[i], 2, NULL, NULL, &producer, &err), ERR_REJECT);
        assert_names(&err, words[i]);
        assert_int_equal(bus_reader_new(bad[i], 2, "t", -1, 0, false, &reader, &err), ERR_REJECT);
        assert_names(&err, words[i]);
        assert_null(bus);
        assert_null(producer);
        assert_null(reader);
    }
}

/* Bounded by the session time-out, and the reason is told. Seen to fail without rd_kafka_poll in
 * client_err, and with librdkafka's whole text, of which the end was cut in the middle of a word.
 */
static void absent_broker_is_told_in_time(void **state)
{
    const struct bus_setting settings[] = {{"bootstrap.servers", NOBODY}};
    struct bus_options o = options_of(settings, 1);
    struct bus_topic topic = {.name = "in"};
    const int64_t begin_us = clk_mono_us();
    struct bus *bus = NULL;
    struct err err;

    (void)state;
    o.session_timeout_ms = 1500;
    assert_int_equal(bus_new(&o, &bus, &err), ERR_RETRY);
    assert_names(&err, NOBODY);
    assert_names(&err, "refused: no broker in 2 s"); /* librdkafka's "(after …" cut off */
    assert_names(&err, "kafka.bootstrap.servers");
    assert_null(bus);
    assert_true(clk_mono_us() - begin_us < 5 * CLK_US_PER_S);
    assert_int_equal(bus_topics_describe(settings, 1, &topic, 1, 1000, &err), ERR_RETRY);
    assert_names(&err, NOBODY);
    assert_true(clk_mono_us() - begin_us < 10 * CLK_US_PER_S);
}

static void count_lines(void *user, int level, const char *text)
{
    atomic_uint *n = user;

    (void)level, (void)text;
    (void)atomic_fetch_add(n, 1);
}

/* Seen to fail (22 lines) with limit_pass answering true. */
static void an_outage_is_not_told_over_and_over(void **state)
{
    const struct bus_setting settings[] = {{"bootstrap.servers", NOBODY}};
    const struct bus_output o = {.partition = -1, .value = "v", .value_n = 1};
    const int64_t begin_us = clk_mono_us();
    struct bus_producer *p;
    atomic_uint lines = 0;
    struct err err;

    (void)state;
    assert_int_equal(bus_producer_new(settings, 1, count_lines, &lines, &p, &err), ERR_OK);
    assert_int_equal(bus_producer_send(p, "t", &o, &err), ERR_OK);
    while (clk_mono_us() - begin_us < 3 * CLK_US_PER_S)
        assert_int_equal(bus_producer_poll(p, 50, &err), ERR_OK);
    assert_in_range(atomic_load(&lines), 1, 4); /* one of each kind */
    bus_producer_free(p);
}

/* A full queue takes nothing; a record that times out is told once. Seen to fail with failed_told
 * never moved on. */
static void producer_says_when_it_is_full_and_what_failed(void **state)
{
    const struct bus_setting settings[] = {{"bootstrap.servers", NOBODY},
                                           {"queue.buffering.max.messages", "10"},
                                           {"message.timeout.ms", "1000"}};
    const struct bus_output o = {.partition = -1, .value = "v", .value_n = 1};
    const int64_t begin_us = clk_mono_us();
    struct bus_producer *p;
    struct err err;
    enum err_class e = ERR_OK;
    unsigned taken = 0;

    (void)state;
    assert_int_equal(bus_producer_new(settings, 3, NULL, NULL, &p, &err), ERR_OK);
    while (bus_producer_send(p, "t", &o, &err) == ERR_OK)
        taken++;
    assert_int_equal(err.class, ERR_RETRY);
    assert_int_equal(taken, 10);
    assert_int_equal(bus_producer_flush(p, 10, &err), ERR_RETRY);
    while (e == ERR_OK && clk_mono_us() - begin_us < 20 * CLK_US_PER_S)
        e = bus_producer_poll(p, 100, &err);
    assert_int_equal(e, ERR_REJECT);
    assert_names(&err, "topic t");
    while (bus_producer_flush(p, 100, &err) != ERR_OK)
        assert_true(clk_mono_us() - begin_us < 20 * CLK_US_PER_S);
    assert_int_equal(bus_producer_delivered(p), 0);
    assert_int_equal(bus_producer_poll(p, 0, &err), ERR_OK);
    bus_producer_free(p);
}

static void destructors_take_null(void **state)
{
    (void)state;
    bus_free(NULL);
    bus_producer_free(NULL);
    bus_reader_free(NULL);
}

/* The build accepts any librdkafka from 2.14.2 on. */
static void version_is_new_enough(void **state)
{
    char *dot;

    (void)state;
    assert_int_equal(strncmp(bus_version(), "librdkafka ", 11), 0);
    const long major = strtol(bus_version() + 11, &dot, 10);
    assert_int_equal(*dot, '.');
    const long minor = strtol(dot + 1, NULL, 10);
    assert_true(major > 2 || (major == 2 && minor >= 14));
}

static void classes(void **state)
{
    (void)state;
    assert_int_equal(client_class(RD_KAFKA_RESP_ERR_NO_ERROR), ERR_OK);
    assert_int_equal(client_class(RD_KAFKA_RESP_ERR__TRANSPORT), ERR_RETRY);
    assert_int_equal(client_class(RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS), ERR_RETRY);
    assert_int_equal(client_class(RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS), ERR_REJECT);
    assert_int_equal(client_class(RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED), ERR_REJECT);
    assert_int_equal(client_class(RD_KAFKA_RESP_ERR__FENCED), ERR_FATAL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(fixed_settings_are_refused),
        cmocka_unit_test(bad_settings_are_named),
        cmocka_unit_test(absent_broker_is_told_in_time),
        cmocka_unit_test(an_outage_is_not_told_over_and_over),
        cmocka_unit_test(producer_says_when_it_is_full_and_what_failed),
        cmocka_unit_test(destructors_take_null),
        cmocka_unit_test(version_is_new_enough),
        cmocka_unit_test(classes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
