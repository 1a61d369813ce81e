#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "log/log.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LINE_MAX_BYTES 4096

/* stderr is the sending end of a pair that keeps messages apart: one write is one message. */
static int tap[2], stderr_before;

static int setup(void **state)
{
    (void)state;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, tap) != 0)
        return -1;
    stderr_before = dup(STDERR_FILENO);
    log_init("test \"log\"", LOG_INFO);
    return dup2(tap[1], STDERR_FILENO) < 0 ? -1 : 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)dup2(stderr_before, STDERR_FILENO);
    (void)close(stderr_before);
    (void)close(tap[0]);
    (void)close(tap[1]);
    return 0;
}

/* The next message, one line of strict JSON; the caller frees. NULL when nothing was written. */
static json_t *take_line(size_t *ret_n)
{
    static char line[2 * LINE_MAX_BYTES];
    json_error_t error;
    const ssize_t n = recv(tap[0], line, sizeof line, MSG_DONTWAIT);

    if (n < 0)
        return NULL;
    assert_true(n > 1 && n <= LINE_MAX_BYTES);
    assert_true(line[n - 1] == '\n' && memchr(line, '\n', (size_t)n) == line + n - 1);
    json_t *json = json_loadb(line, (size_t)n, JSON_REJECT_DUPLICATES, &error);

    if (json == NULL)
        fail_msg("%s at %d of %.*s", error.text, error.position, (int)n, line);
    if (ret_n != NULL)
        *ret_n = (size_t)n;
    return json;
}

static const char *text_of(const json_t *json, const char *key)
{
    const char *text = json_string_value(json_object_get(json, key));

    return text != NULL ? text : "(absent)";
}

static void log_line_has_head_and_fields(void **state)
{
    (void)state;
    log_event(LOG_WARN, "bar_closed", "topic", LOG_STR, "l2.bars", "n", LOG_INT, INT64_MIN, "x",
              LOG_DOUBLE, 0.1, "late", LOG_BOOL, 1, "early", LOG_BOOL, 0, "none", LOG_STR,
              (const char *)NULL, NULL);
    json_t *json = take_line(NULL);

    assert_non_null(json);
    assert_string_equal(text_of(json, "level"), "warn");
    assert_string_equal(text_of(json, "service"), "test \"log\"");
    assert_string_equal(text_of(json, "event"), "bar_closed");
    assert_int_equal(strlen(text_of(json, "time")), strlen("2024-08-08T23:54:16.123456Z"));
    assert_string_equal(text_of(json, "topic"), "l2.bars");
    assert_true(json_integer_value(json_object_get(json, "n")) == INT64_MIN);
    assert_true(json_real_value(json_object_get(json, "x")) == 0.1);
    assert_true(json_is_true(json_object_get(json, "late")));
    assert_true(json_is_false(json_object_get(json, "early")));
    assert_string_equal(text_of(json, "none"), "(null)");
    assert_null(json_object_get(json, "cut"));
    json_decref(json);
}

/* JSON knows no NaN. Seen to fail with plain %g. */
static void log_doubles_stay_json(void **state)
{
    (void)state;
    log_event(LOG_INFO, "numbers", "a", LOG_DOUBLE, (double)NAN, "b", LOG_DOUBLE, (double)-INFINITY,
              "c", LOG_DOUBLE, 1.0 / 3, "d", LOG_DOUBLE, 1e300, NULL);
    json_t *json = take_line(NULL);

    assert_true(json_is_null(json_object_get(json, "a")));
    assert_true(json_is_null(json_object_get(json, "b")));
    assert_true(json_real_value(json_object_get(json, "c")) == 1.0 / 3);
    assert_true(json_real_value(json_object_get(json, "d")) == 1e300);
    json_decref(json);
}

/* Valid text comes back as it was. Seen to fail without the escape of \ and without that of control
 * characters. */
static void log_escapes(void **state)
{
    (void)state;
    static const char text[] = "a\"b\\c\n\t\r\x01\x1f\x7f/ é € 𝄞 \xF4\x8F\xBF\xBF";

    log_event(LOG_INFO, "text", "x", LOG_STR, text, NULL);
    json_t *json = take_line(NULL);

    assert_string_equal(text_of(json, "x"), text);
    json_decref(json);
}

/* Each bad byte becomes U+FFFD. Seen to fail without the checks of overlong forms and of
 * surrogates. */
static void log_replaces_invalid_utf8(void **state)
{
    (void)state;
    static const char *const bad[] = {"\x80",
                                      "\xC0\xAF",
                                      "\xC3",
                                      "\xE0\x80\x80",
                                      "\xED\xA0\x80",
                                      "\xF0\x80\x80\x80",
                                      "\xF4\x90\x80\x80",
                                      "\xF5\x80",
                                      "\xFF",
                                      "\xE2\x82"};

    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        char want[64] = "<", given[64];

        for (size_t n = 0; n < strlen(bad[i]); n++)
            memcpy(want + strlen(want), "\xEF\xBF\xBD", sizeof "\xEF\xBF\xBD");
        memcpy(want + strlen(want), ">", sizeof ">");
        (void)snprintf(given, sizeof given, "<%s>", bad[i]);
        log_event(LOG_INFO, "text", "x", LOG_STR, given, NULL);
        json_t *json = take_line(NULL);

        assert_string_equal(text_of(json, "x"), want);
        json_decref(json);
    }
}

/* Any bytes give one line of JSON within 4 KiB. Seen to fail without the bound on a string, and
 * without room kept for the closing quote. */
static void log_survives_any_bytes(void **state)
{
    (void)state;
    static char text[3][6000];
    uint32_t x = 1;

    for (int turn = 0; turn < 2000; turn++) {
        for (size_t i = 0; i < 3; i++) {
            x = x * 1664525 + 1013904223;
            const size_t n = (x >> 8) % (turn % 2 == 0 ? 60 : sizeof text[i]);

            for (size_t at = 0; at < n; at++) {
                x = x * 1664525 + 1013904223;
                text[i][at] = (char)((x >> 16) | ((x & 0x300) == 0 ? 0x80 : 1));
                if (text[i][at] == '\0')
                    text[i][at] = 'a';
            }
            text[i][n] = '\0';
        }
        log_event(LOG_INFO, text[0], "a", LOG_STR, text[1], "b", LOG_STR, text[2], "c", LOG_STR,
                  text[1], "n", LOG_INT, (int64_t)turn, NULL);
        json_t *json = take_line(NULL);

        assert_non_null(json);
        json_decref(json);
    }
}

/* A cut line says so, and one long string leaves room for what follows. Seen to fail without "cut".
 */
static void log_says_that_it_cut(void **state)
{
    (void)state;
    static char text[8000];

    memset(text, 'x', sizeof text - 1);
    log_event(LOG_INFO, "long", "a", LOG_STR, text, "code", LOG_INT, (int64_t)78, NULL);
    json_t *json = take_line(NULL);

    assert_true(json_is_true(json_object_get(json, "cut")));
    assert_true(json_integer_value(json_object_get(json, "code")) == 78);
    assert_true(strlen(text_of(json, "a")) > 1000);
    json_decref(json);

    size_t n = 0;
    log_event(LOG_INFO, "long", "a", LOG_STR, text, "b", LOG_STR, text, "c", LOG_STR, text, "d",
              LOG_STR, text, "e", LOG_STR, text, "n", LOG_INT, INT64_MAX, NULL);
    json = take_line(&n);
    assert_true(json_is_true(json_object_get(json, "cut")));
    assert_true(n > 4000);
    json_decref(json);
}

/* Seen to fail with the comparison the other way round. */
static void log_drops_what_is_below_the_level(void **state)
{
    (void)state;
    log_event(LOG_DEBUG, "quiet", NULL);
    assert_null(take_line(NULL));
    log_init("test", LOG_ERROR);
    log_event(LOG_WARN, "quiet", NULL);
    assert_null(take_line(NULL));
    log_event(LOG_ERROR, "loud", NULL);
    json_t *json = take_line(NULL);

    assert_string_equal(text_of(json, "event"), "loud");
    json_decref(json);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(log_line_has_head_and_fields, setup, teardown),
        cmocka_unit_test_setup_teardown(log_doubles_stay_json, setup, teardown),
        cmocka_unit_test_setup_teardown(log_escapes, setup, teardown),
        cmocka_unit_test_setup_teardown(log_replaces_invalid_utf8, setup, teardown),
        cmocka_unit_test_setup_teardown(log_survives_any_bytes, setup, teardown),
        cmocka_unit_test_setup_teardown(log_says_that_it_cut, setup, teardown),
        cmocka_unit_test_setup_teardown(log_drops_what_is_below_the_level, setup, teardown),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
