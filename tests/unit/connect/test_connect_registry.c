/*
 * What of a registry's configuration is refused before anything connects. Seen to fail: without
 * http_client_check, without the profile looked at, and with every http:// address taken for
 * loopback's.
 */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "connect/connect.h"

#include <stdlib.h>
#include <string.h>

static const struct config_row rows[] = {
    {"L2_PROFILE", CONFIG_ENUM, "development", "", "development|production", "strictness"},
    CONNECT_REGISTRY_ROWS,
    {.name = NULL}};

/* The text of what it is refused with; "" when it is taken. */
static const char *load(const char *url, const char *variable, const char *value)
{
    static struct err err;
    struct config *config = NULL;
    struct http_client_options http;

    assert_int_equal(setenv("L2_SCHEMA_REGISTRY_URL", url, 1), 0);
    assert_int_equal(setenv(variable, value, 1), 0);
    enum err_class e = config_load(rows, NULL, &config, &err);
    if (e == ERR_OK)
        e = connect_registry_load(config, &http, &err);
    config_free(config);
    assert_int_equal(unsetenv(variable), 0);
    if (e == ERR_OK)
        return "";
    assert_int_equal(e, ERR_REJECT);
    return err.text;
}

static void refuses(const char *url, const char *variable, const char *value, const char *word)
{
    const char *const text = load(url, variable, value);

    if (strstr(text, word) == NULL)
        fail_msg("%s, %s = %s: '%s' does not say '%s'", url, variable, value, text, word);
}

static void what_a_start_would_refuse_is_refused(void **state)
{
    static const char *const files[] = {"L2_SCHEMA_REGISTRY_CA_FILE",
                                        "L2_SCHEMA_REGISTRY_CERT_FILE",
                                        "L2_SCHEMA_REGISTRY_KEY_FILE"};

    (void)state;
    assert_string_equal(load("https://reg:8081/api", "L2_SCHEMA_REGISTRY_USER", "me"), "");
    for (unsigned i = 0; i < sizeof files / sizeof *files; i++)
        refuses("https://reg:8081", files[i], "/no/such/file", "/no/such/file");
    refuses("nonsense", "L2_SCHEMA_REGISTRY_USER", "me", "https://");
    refuses("http://reg:8081/", "L2_SCHEMA_REGISTRY_USER", "me", "no / at its end");
}

static void production_wants_tls(void **state)
{
    (void)state;
    refuses("http://reg:8081", "L2_PROFILE", "production", "not encrypted");
    refuses("http://127.0.0.1.example.com", "L2_PROFILE", "production", "not encrypted");
    assert_string_equal(load("http://reg:8081", "L2_PROFILE", "development"), "");
    assert_string_equal(load("https://reg:8081", "L2_PROFILE", "production"), "");
    assert_string_equal(load("http://127.0.0.1:8081", "L2_PROFILE", "production"), "");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_a_start_would_refuse_is_refused),
        cmocka_unit_test(production_wants_tls),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
