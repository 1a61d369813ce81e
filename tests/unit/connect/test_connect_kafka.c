/* How a program's configuration becomes Kafka's settings. No connection is made. */
#include "connect/connect.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define TLS "kafka.security.protocol = ssl\n"

static const struct config_row rows[] = {
    CONNECT_KAFKA_ROWS,
    {"L2_PROFILE", CONFIG_ENUM, "development", "", "development|production", "who may do what"},
    {.name = NULL},
};

static const struct config_row rows_without_profile[] = {CONNECT_KAFKA_ROWS, {.name = NULL}};

static char folder[64], path[96], secret[96];

static void write_text(const char *name, const char *text)
{
    FILE *out = fopen(name, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

static struct config *loaded(const struct config_row *table, const char *text)
{
    struct config *config = NULL;
    struct err err;

    write_text(path, text);
    if (config_load(table, path, &config, &err) != ERR_OK)
        fail_msg("%s", err.text);
    return config;
}

static const char *value_of(const struct connect_kafka *kafka, const char *key)
{
    for (unsigned i = 0; i < kafka->n; i++)
        if (strcmp(kafka->v[i].key, key) == 0)
            return kafka->v[i].value;
    return "";
}

static void refused(const char *text, const char *word)
{
    struct config *config = loaded(rows, text);
    struct connect_kafka kafka = {.n = 77};
    struct err err;

    if (connect_kafka_load(config, NULL, NULL, &kafka, &err) != ERR_REJECT)
        fail_msg("taken: %s", text);
    if (strstr(err.text, word) == NULL)
        fail_msg("'%s' does not name '%s'", err.text, word);
    assert_int_equal(kafka.n, 77);
    config_free(config);
}

static void taken(const char *text)
{
    struct config *config = loaded(rows, text);
    struct connect_kafka kafka;
    struct err err;

    if (connect_kafka_load(config, NULL, NULL, &kafka, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    config_free(config);
}

/* Seen to fail with the configuration's address before the command line's. */
static void addresses_go_before_each_other(void **state)
{
    struct config *config = loaded(rows, "kafka.bootstrap.servers = conf:1\n");
    struct connect_kafka kafka;
    struct err err;

    (void)state;
    assert_int_equal(connect_kafka_load(config, "line:1", "default:1", &kafka, &err), ERR_OK);
    assert_string_equal(kafka.bootstrap, "line:1");
    assert_string_equal(value_of(&kafka, "bootstrap.servers"), "line:1");
    assert_int_equal(connect_kafka_load(config, NULL, "default:1", &kafka, &err), ERR_OK);
    assert_string_equal(kafka.bootstrap, "conf:1");
    config_free(config);
    config = loaded(rows_without_profile, "kafka.client.id = me\n");
    assert_int_equal(connect_kafka_load(config, NULL, "default:1", &kafka, &err), ERR_OK);
    assert_string_equal(kafka.bootstrap, "default:1");
    assert_string_equal(value_of(&kafka, "client.id"), "me");
    config_free(config);
    refused("kafka.client.id = me\n", "kafka.bootstrap.servers = 127.0.0.1:9092");
}

static void secrets_come_from_files(void **state)
{
    char text[512];
    struct connect_kafka kafka;
    struct err err;

    (void)state;
    write_text(secret, "hunter2\n");
    (void)snprintf(text, sizeof text,
                   "kafka.bootstrap.servers = a:1\nkafka.security.protocol = sasl_plaintext\n"
                   "kafka.sasl.mechanism = SCRAM-SHA-512\nkafka.sasl.username = me\n"
                   "sasl_password_file = %s\n",
                   secret);
    struct config *config = loaded(rows, text);

    assert_int_equal(connect_kafka_load(config, NULL, NULL, &kafka, &err), ERR_OK);
    assert_string_equal(value_of(&kafka, "sasl.password"), "hunter2");
    config_free(config);
}

/* Seen to fail without bus_settings_check. */
static void what_librdkafka_refuses_is_refused(void **state)
{
    (void)state;
    refused("kafka.bootstrap.servers = a:1\nkafka.no.such.key = 1\n", "no.such.key");
    refused("kafka.bootstrap.servers = a:1\nkafka.acks = 1\n", "acks");
    refused("kafka.bootstrap.servers = a:1\nkafka.security.protocol = ssl\n"
            "kafka.ssl.ca.location = /no/such/file\n",
            "ssl.ca.location");
}

/* Seen to fail with is_loopback true for every address that begins like one, with the profile not
 * looked at, and with "false" and "0" alone taken for switched-off verification. */
static void production_refuses_what_can_be_read_or_forged_on_the_way(void **state)
{
    static const char *const here[] = {"127.0.0.1:9092", "localhost:9092", "[::1]:9092",
                                       "127.0.0.1:9092, localhost", "PLAINTEXT://127.0.0.1:1"};
    static const char *const there[] = {"kafka:9092",
                                        "127.0.0.1:9092,kafka:9092",
                                        "127.0.0.1.example.com:9092",
                                        "localhost.example.com",
                                        "10.0.0.1:9092",
                                        "[::1].example.com:9092"};
    static const char *const weak[][2] = {
        {"enable.ssl.certificate.verification", "false"},
        {"enable.ssl.certificate.verification", "FALSE"},
        {"enable.ssl.certificate.verification", "0"},
        {"enable.ssl.certificate.verification", "f"},
        {"enable.ssl.certificate.verification", "F"},
        {"enable.ssl.certificate.verification", "maybe"},
        {"ssl.endpoint.identification.algorithm", "none"},
        {"ssl.endpoint.identification.algorithm", "None"},
        {"security.protocol", "SASL_PLAINTEXT"},
        {"security.protocol", "Plaintext"},
    };
    static const char *const strict[][2] = {
        {"enable.ssl.certificate.verification", "True"},
        {"enable.ssl.certificate.verification", "T"},
        {"enable.ssl.certificate.verification", "1"},
        {"ssl.endpoint.identification.algorithm", "HTTPS"},
        {"security.protocol", "SSL"},
    };
    char text[512];

    (void)state;
    for (size_t i = 0; i < sizeof here / sizeof here[0]; i++) {
        (void)snprintf(text, sizeof text, "L2_PROFILE = production\nkafka.bootstrap.servers = %s\n",
                       here[i]);
        taken(text);
    }
    for (size_t i = 0; i < sizeof there / sizeof there[0]; i++) {
        (void)snprintf(text, sizeof text, "L2_PROFILE = production\nkafka.bootstrap.servers = %s\n",
                       there[i]);
        refused(text, "kafka.security.protocol");
        (void)snprintf(text, sizeof text, "kafka.bootstrap.servers = %s\n", there[i]);
        taken(text);
        (void)snprintf(text, sizeof text,
                       "L2_PROFILE = production\nkafka.bootstrap.servers = %s\n"
                       "kafka.security.protocol = ssl\n",
                       there[i]);
        taken(text);
    }
    for (size_t i = 0; i < sizeof weak / sizeof weak[0]; i++) {
        (void)snprintf(text, sizeof text,
                       "L2_PROFILE = production\nkafka.bootstrap.servers = a:1\n%skafka.%s = %s\n",
                       strstr(weak[i][0], "protocol") != NULL ? "" : TLS, weak[i][0], weak[i][1]);
        refused(text, weak[i][0]);
    }
    for (size_t i = 0; i < sizeof strict / sizeof strict[0]; i++) {
        (void)snprintf(text, sizeof text,
                       "L2_PROFILE = production\nkafka.bootstrap.servers = a:1\n%skafka.%s = %s\n",
                       strstr(strict[i][0], "protocol") != NULL ? "" : TLS, strict[i][0],
                       strict[i][1]);
        taken(text);
    }
}

static void there_is_a_bound(void **state)
{
    char text[4096];
    size_t n = (size_t)snprintf(text, sizeof text, "kafka.bootstrap.servers = a:1\n");

    (void)state;
    for (int i = 0; i < 60; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "kafka.k%d = 1\n", i);
    refused(text, "settings");
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/test_connect.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(path, sizeof path, "%s/conf", folder);
    (void)snprintf(secret, sizeof secret, "%s/secret", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(path);
    (void)unlink(secret);
    return rmdir(folder);
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
        cmocka_unit_test(addresses_go_before_each_other),
        cmocka_unit_test(secrets_come_from_files),
        cmocka_unit_test(what_librdkafka_refuses_is_refused),
        cmocka_unit_test(production_refuses_what_can_be_read_or_forged_on_the_way),
        cmocka_unit_test(there_is_a_bound),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
