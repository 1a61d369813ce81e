/*
 * What fires, the waits between attempts, and what of a configuration is refused before anything
 * connects. Seen to fail: with a grouped alert that fires on, a key equal to its beginning,
 * resolved ones dropped early, bytes not given back; with waits that grow without bound; with the
 * profile taken the wrong way round, a password without a user, a user beside a token, a sweep that
 * is a byte longer or another value.
 */
#include "alerts/sink_thread.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#define RESOLVED_US 300

/* ---- what fires ---- */

static struct firing firing;

static void put(const char *key, enum codec_alert_state state, enum codec_delivery delivery,
                int64_t time_us)
{
    const struct codec_alert alert = {.key = codec_str(key),
                                      .state = state,
                                      .delivery = delivery,
                                      .version = time_us,
                                      .exchange = codec_str("e"),
                                      .symbol = codec_str("s")};

    firing_put(&firing, &alert, time_us, 3, RESOLVED_US);
}

static void fires(const char *key, int64_t time_us)
{
    put(key, CODEC_ALERT_STATE_P2, CODEC_DELIVERY_SEND, time_us);
}

/* The keys in their order, and that the records are those that were put in. */
static void holds(const char *keys)
{
    char found[64] = "";
    struct codec_alert alert;

    for (unsigned i = 0; i < firing.n; i++) {
        firing_get(firing.v[i], &alert);
        assert_int_equal(alert.version, firing.v[i]->time_us);
        assert_int_equal(firing.v[i]->partition, 3);
        (void)snprintf(found + strlen(found), sizeof found - strlen(found), "%.*s ",
                       (int)alert.key.n, alert.key.data);
    }
    assert_string_equal(found, keys);
}

static void what_fires_is_kept_until_it_is_over(void **state)
{
    (void)state;
    assert_true(firing_init(&firing, 8, 4096));
    fires("b", 1);
    fires("a", 2);
    fires("aa", 3);
    holds("a aa b ");
    fires("a", 4); /* the newest */
    holds("a aa b ");
    assert_true(firing_has(&firing, codec_str("aa")));
    assert_false(firing_has(&firing, codec_str("ab")));
    put("aa", CODEC_ALERT_STATE_OK, CODEC_DELIVERY_SEND, 10);
    put("zz", CODEC_ALERT_STATE_OK, CODEC_DELIVERY_SEND, 10); /* never fired: nothing to tell */
    put("yy", CODEC_ALERT_STATE_P2, CODEC_DELIVERY_GROUPED, 10);
    firing_expire(&firing, 10 + RESOLVED_US - 1);
    holds("a aa b ");
    firing_expire(&firing, 10 + RESOLVED_US);
    holds("a b ");
    put("b", CODEC_ALERT_STATE_P2, CODEC_DELIVERY_INHIBITED, 20); /* another speaks for it now */
    assert_true(firing_has(&firing, codec_str("b")));
    firing_expire(&firing, 20 + RESOLVED_US);
    holds("a ");
    firing_remove(&firing, codec_str("x"));
    firing_remove(&firing, codec_str("a"));
    holds("");
    assert_int_equal(firing.bytes, 0);
    assert_int_equal(firing.lost, 0);
    firing_free(&firing);
}

static void it_is_bounded_and_says_so(void **state)
{
    char key[16];

    (void)state;
    assert_true(firing_init(&firing, 4, 1 << 20));
    for (int i = 0; i < 6; i++) {
        (void)snprintf(key, sizeof key, "%d", i);
        fires(key, i);
    }
    holds("0 1 2 3 ");
    assert_int_equal(firing.lost, 2);
    fires("2", 9); /* one that is there has its place */
    assert_int_equal(firing.lost, 2);
    firing_clear(&firing);
    holds("");
    const size_t one = (fires("0", 1), firing.bytes);
    firing_free(&firing);
    assert_true(firing_init(&firing, 4, 2 * one));
    fires("0", 1);
    fires("1", 2);
    fires("2", 3);
    holds("0 1 ");
    assert_int_equal(firing.lost, 1);
    firing_free(&firing);
}

/* ---- waits ---- */

static void waits_double_to_a_bound(void **state)
{
    int64_t full_ms = SINK_BACKOFF_MS_MIN;

    (void)state;
    for (unsigned n = 1; n < 40; n++) {
        assert_int_equal(sink_backoff_ms(n, 0, 0), full_ms / 2);
        for (uint32_t chance = 1; chance < UINT32_MAX / 3; chance = chance * 3 + 1)
            assert_in_range(sink_backoff_ms(n, chance, 0), full_ms / 2, full_ms);
        full_ms = full_ms * 2 > SINK_BACKOFF_MS_MAX ? SINK_BACKOFF_MS_MAX : full_ms * 2;
    }
    assert_int_equal(sink_backoff_ms(1, 0, 60000), 60000); /* as it was asked */
    assert_in_range(sink_backoff_ms(40, 7, 5), SINK_BACKOFF_MS_MAX / 2, SINK_BACKOFF_MS_MAX);
}

/* ---- configuration ---- */

static const struct config_row rows[] = {
    {"L2_PROFILE", CONFIG_ENUM, "development", "", "development|production", "strictness"},
    SINKS_CONFIG_ROWS,
    {.name = NULL},
};

static char folder[] = "/tmp/l2flow-sinks-XXXXXX", path[64], file[64];

static const char *written(const char *text)
{
    FILE *out = fopen(file, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    return file;
}

/* The text of what it is refused with; "" when it is taken. */
static const char *check(const char *text)
{
    static struct err err;
    struct config *config = NULL;
    FILE *out = fopen(path, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
    enum err_class e = config_load(rows, path, &config, &err);
    if (e == ERR_OK)
        e = sinks_config_check(config, &err);
    config_free(config);
    assert_true(e == ERR_OK || e == ERR_REJECT);
    return e == ERR_OK ? "" : err.text;
}

static void refuses(const char *text, const char *word)
{
    const char *said = check(text);

    if (strstr(said, word) == NULL || said[0] == '\0')
        fail_msg("%s: '%s' does not say '%s'", text, said, word);
}

static void what_a_start_would_refuse_is_refused(void **state)
{
    char text[512];

    (void)state;
    assert_string_equal(check(""), "");
    for (unsigned k = 0; k < SINK_KINDS; k++) {
        (void)snprintf(text, sizeof text, "sink_%s_url = http://h.example:1\nsink_%s_user = me\n",
                       sink_names[k], sink_names[k]);
        assert_string_equal(check(text), "");
        (void)snprintf(text, sizeof text,
                       "sink_%s_url = http://h.example:1\nL2_PROFILE = "
                       "production\n",
                       sink_names[k]);
        refuses(text, "_url: http://h.example:1: not encrypted");
        (void)snprintf(text, sizeof text,
                       "sink_%s_url = http://127.0.0.1:1\nL2_PROFILE = "
                       "production\n",
                       sink_names[k]);
        assert_string_equal(check(text), "");
        (void)snprintf(text, sizeof text, "sink_%s_url = https://h\nsink_%s_ca_file = /no/such\n",
                       sink_names[k], sink_names[k]);
        refuses(text, "/no/such");
        (void)snprintf(text, sizeof text, "sink_%s_url = https://h\nsink_%s_password_file = %s\n",
                       sink_names[k], sink_names[k], written("hunter2\n"));
        refuses(text, "_user: not set");
        (void)snprintf(text, sizeof text,
                       "sink_%s_url = https://h\nsink_%s_user = me\nsink_%s_token_file = %s\n",
                       sink_names[k], sink_names[k], sink_names[k], file);
        refuses(text, "give one of them");
    }
    refuses("sink_loki_path = loki\n", "sink_loki_path");
    refuses("sink_loki_path = /a b\n", "sink_loki_path");
    refuses("sink_loki_tenant = a b\n", "sink_loki_tenant");
    refuses("sink_timeout_ms = 8001\n", "8000");
    refuses("sink_retrain_sweep_file = /no/such\n", "cannot be read");
    (void)snprintf(text, sizeof text, "sink_retrain_sweep_file = %s\n", written("{\"a\": 1}"));
    assert_string_equal(check(text), "");
    (void)written("[1]");
    refuses(text, "no JSON object");
    (void)written("{");
    refuses(text, "no JSON object");
    char *long_text = malloc(SINKS_SWEEP_BYTES_MAX + 2);
    memset(long_text, ' ', SINKS_SWEEP_BYTES_MAX + 1);
    long_text[SINKS_SWEEP_BYTES_MAX + 1] = '\0';
    (void)written(long_text);
    refuses(text, "65,536");
    memcpy(long_text, "{}", 2);
    long_text[SINKS_SWEEP_BYTES_MAX] = '\0';
    (void)written(long_text);
    assert_string_equal(check(text), "");
    free(long_text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_fires_is_kept_until_it_is_over),
        cmocka_unit_test(it_is_bounded_and_says_so),
        cmocka_unit_test(waits_double_to_a_bound),
        cmocka_unit_test(what_a_start_would_refuse_is_refused),
    };

    if (mkdtemp(folder) == NULL)
        return 1;
    (void)snprintf(path, sizeof path, "%s/conf", folder);
    (void)snprintf(file, sizeof file, "%s/file", folder);
    const int failed = cmocka_run_group_tests(tests, NULL, NULL);
    (void)unlink(path);
    (void)unlink(file);
    (void)rmdir(folder);
    return failed;
}
