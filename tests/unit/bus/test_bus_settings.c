/* Settings are checked without a broker, and a key's partition is what the feeds' clients choose.
 */
#include "bus/bus.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define NOBODY "127.0.0.1:1"

static enum err_class check(const char *key, const char *value, struct err *err)
{
    const struct bus_setting settings[] = {{"bootstrap.servers", NOBODY}, {key, value}};

    return bus_settings_check(settings, 2, err);
}

/* Seen to fail with the list of fixed keys not asked. */
static void what_a_start_would_refuse_is_refused(void **state)
{
    static const char *const bad[][2] = {
        {"no.such.key", "1"},
        {"fetch.wait.max.ms", "-5"},
        {"isolation.level", "x"},
        {"acks", "1"},
        {"group.id", "mine"},
        {"transactional.id", "mine"},
        {"message.timeout.ms", "1000"},
        {"security.protocol", "tls"},
        {"message.max.bytes", "2000"},
        {"queue.buffering.max.messages", "1"},
        {"queue.buffering.max.kbytes", "1"},
    };
    struct err err;

    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(check(bad[i][0], bad[i][1], &err), ERR_REJECT);
        if (strstr(err.text, bad[i][0]) == NULL)
            fail_msg("'%s' does not name '%s'", err.text, bad[i][0]);
    }
    assert_int_equal(check("fetch.wait.max.ms", "5", &err), ERR_OK);
    assert_int_equal(check("receive.message.max.bytes", "200000000", &err), ERR_OK);
    assert_int_equal(check("linger.ms", "20", &err), ERR_OK);
    assert_int_equal(bus_settings_check(NULL, 0, &err), ERR_REJECT); /* no address */
}

/* What librdkafka sees only once it makes a handle. Seen to fail without make_handle, without the
 * consumer's, and with a producer's that has not the rows of a transactional one. */
static void contradictions_and_missing_files_are_refused(void **state)
{
    const struct bus_setting tls[] = {{"bootstrap.servers", NOBODY},
                                      {"security.protocol", "ssl"},
                                      {"ssl.ca.location", "/no/such/ca.pem"}};
    const struct bus_setting login[] = {{"bootstrap.servers", NOBODY},
                                        {"security.protocol", "sasl_plaintext"},
                                        {"sasl.mechanism", "SCRAM-SHA-512"}};
    static const char *const bad[][3] = {{"retries", "0", "retries"},
                                         {"message.send.max.retries", "0", "retries"},
                                         {"max.in.flight", "100", "max.in.flight"},
                                         {"linger.ms", "15000", "linger.ms"}};
    struct err err;

    (void)state;
    assert_int_equal(bus_settings_check(tls, 3, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "ssl.ca.location"));
    assert_int_equal(bus_settings_check(login, 3, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "sasl.username"));
    assert_int_equal(check("max.poll.interval.ms", "5000", &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "max.poll.interval.ms"));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (check(bad[i][0], bad[i][1], &err) != ERR_REJECT)
            fail_msg("%s = %s is taken", bad[i][0], bad[i][1]);
        assert_non_null(strstr(err.text, bad[i][2]));
    }
}

/* The numbers are those of Kafka's own test of its Java client (UtilsTest.testMurmur2), and the
 * check value of CRC-32. Seen to fail with the two partitioners changed for each other. */
static void keys_lie_where_java_and_librdkafka_put_them(void **state)
{
    static const struct {
        const char *key;
        int32_t murmur2;
    } java[] = {
        {"21", -973932308},
        {"foobar", -790332482},
        {"a-little-bit-long-string", -985981536},
        {"a-little-bit-longer-string", -1486304829},
        {"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971},
        {"abc", 479470107},
    };

    (void)state;
    for (size_t i = 0; i < sizeof java / sizeof java[0]; i++)
        for (unsigned n = 1; n <= 1000; n += 333)
            assert_int_equal(bus_partition_of(BUS_MURMUR2, java[i].key, strlen(java[i].key), n),
                             (java[i].murmur2 & INT32_MAX) % (int32_t)n);
    for (unsigned n = 1; n <= 1000; n += 333)
        assert_int_equal(bus_partition_of(BUS_CRC32, "123456789", 9, n), 0xcbf43926u % n);
}

/* librdkafka keeps a list of interceptors when rd_kafka_new refuses its settings: once in a program
 * that ends right after. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:rd_list_grow\nleak:rd_kafka_interceptor_method_add\n";
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_start_would_refuse_is_refused),
        cmocka_unit_test(contradictions_and_missing_files_are_refused),
        cmocka_unit_test(keys_lie_where_java_and_librdkafka_put_them),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
