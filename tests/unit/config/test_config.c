#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "config/config.h"

#include <assert.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct config_row rows[] = {
    {"CVN_L2_PURGE_BARS", CONFIG_UINT, "20", "0", "1000", "rows of shift | bars"},
    {"close_grace_seconds", CONFIG_UINT, "10", "1", "600", "silence before the clock closes a bar"},
    {"max_bytes", CONFIG_UINT, "1", "", "", "no bound but its type"},
    {"heartbeat", CONFIG_BOOL, "1", "", "", "whether to beat"},
    {"exchange", CONFIG_STRING, "binance", "1", "32", "one exchange"},
    {"note", CONFIG_STRING, "", "2", "8", "unset or 2 to 8"},
    {"server", CONFIG_URL, "", "", "40", "a server's address"},
    {"partitioner", CONFIG_ENUM, "murmur2", "", "murmur2|crc32|none", "the feed's"},
    {"kafka_sasl_password_file", CONFIG_SECRET, "", "", "", "holds the password"},
    {"kafka.", CONFIG_PREFIX, "", "", "", "passed to the client"},
    {NULL, CONFIG_UINT, NULL, NULL, NULL, NULL},
};

static char folder[64], config_path[96], secret_path[96];

static void write_bytes(const char *path, const char *bytes, size_t n)
{
    FILE *out = fopen(path, "w");

    assert(out != NULL); /* this one, since the analyser knows that it does not return */
    assert_int_equal(fwrite(bytes, 1, n, out), n);
    assert_int_equal(fclose(out), 0);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/test_config.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(config_path, sizeof config_path, "%s/conf", folder);
    (void)snprintf(secret_path, sizeof secret_path, "%s/secret", folder);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    (void)unlink(config_path);
    (void)unlink(secret_path);
    return rmdir(folder);
}

/* Loads rows with a file of that text (NULL: none). */
static enum err_class load(const char *text, struct config **ret_config, struct err *err)
{
    if (text != NULL)
        write_bytes(config_path, text, strlen(text));
    return config_load(rows, text != NULL ? config_path : NULL, ret_config, err);
}

static struct config *loaded(const char *text)
{
    struct config *config = NULL;
    struct err err = {0};

    if (load(text, &config, &err) != ERR_OK)
        fail_msg("%s: %s", text, err.text);
    return config;
}

/* Refused, with one line that holds every one of the words (ended by NULL). */
static void refused(const char *text, const char *word, ...)
{
    struct config *config = NULL;
    struct err err = {0};
    va_list words;

    if (load(text, &config, &err) != ERR_REJECT)
        fail_msg("not refused: %.60s", text != NULL ? text : "(no file)");
    assert_null(config);
    assert_null(strchr(err.text, '\n'));
    va_start(words, word);
    for (; word != NULL; word = va_arg(words, const char *))
        if (strstr(err.text, word) == NULL)
            fail_msg("'%s' is not in: %s", word, err.text);
    va_end(words);
}

static void set_env(const char *name, const char *value)
{
    assert_int_equal(value != NULL ? setenv(name, value, 1) : unsetenv(name), 0);
}

/* Seen to fail without the environment, and with an empty variable taken for a value. */
static void config_takes_environment_before_file_before_default(void **state)
{
    (void)state;
    struct config *config = loaded(NULL);

    assert_int_equal(config_uint(config, "close_grace_seconds"), 10);
    assert_true(config_bool(config, "heartbeat"));
    assert_string_equal(config_string(config, "partitioner"), "murmur2");
    assert_string_equal(config_string(config, "note"), "");
    assert_string_equal(config_secret(config, "kafka_sasl_password_file"), "");
    config_free(config);

    set_env("L2_CLOSE_GRACE_SECONDS", " 7 ");
    set_env("CVN_L2_PURGE_BARS", "3");
    set_env("L2_EXCHANGE", "");
    config =
        loaded("# a comment\n\n  close_grace_seconds=6\r\nexchange =  kraken # x \nheartbeat = 0\n"
               "CVN_L2_PURGE_BARS = 4\nmax_bytes = 18446744073709551615");
    assert_int_equal(config_uint(config, "close_grace_seconds"), 7);
    assert_int_equal(config_uint(config, "CVN_L2_PURGE_BARS"), 3);
    assert_string_equal(config_string(config, "exchange"),
                        "kraken # x"); /* comments have their own lines */
    assert_false(config_bool(config, "heartbeat"));
    assert_true(config_uint(config, "max_bytes") == UINT64_MAX);
    config_free(config);
    set_env("L2_CLOSE_GRACE_SECONDS", NULL);
    set_env("CVN_L2_PURGE_BARS", NULL);
    set_env("L2_EXCHANGE", NULL);
    config_free(NULL);
}

/* Each with file and line, key, value, bound. Seen to fail without the upper bound, the lower, the
 * overflow check. */
static void config_refuses_values_out_of_bounds(void **state)
{
    (void)state;
    refused("\nclose_grace_seconds = 601\n", "conf:2:", "close_grace_seconds", "'601'", "1 to 600",
            NULL);
    refused("close_grace_seconds = 0\n", "conf:1:", "'0'", "1 to 600", NULL);
    refused("close_grace_seconds = -1\n", "'-1'", NULL);
    refused("close_grace_seconds =\n", "''", NULL);
    refused("close_grace_seconds = 0x10\n", "'0x10'", NULL);
    refused("close_grace_seconds = 5 # s\n", "'5 # s'", "its own line", NULL);
    refused("max_bytes = 18446744073709551616\n", "max_bytes", NULL);
    refused("heartbeat = 2\n", "0 or 1", NULL);
    refused("heartbeat = true\n", "0 or 1", NULL);
    refused("exchange =\n", "1 to 32 characters", NULL);
    refused("exchange = 123456789012345678901234567890123\n", "1 to 32 characters", NULL);
    refused("note = 1\n", "2 to 8", NULL);
    refused("partitioner = murmur\n", "murmur2, crc32 or none", NULL);
    refused("partitioner = murmur2|crc32\n", "murmur2, crc32 or none", NULL);
    refused("partitioner =\n", "murmur2, crc32 or none", NULL);
    refused("note = a\x01z\n", "control character", NULL);
    set_env("L2_CLOSE_GRACE_SECONDS", "601");
    refused(NULL, "L2_CLOSE_GRACE_SECONDS:", "close_grace_seconds", "'601'", "1 to 600", NULL);
    set_env("L2_CLOSE_GRACE_SECONDS", NULL);
}

/* Seen to fail without the suggestion, and with duplicates let through. */
static void config_refuses_unknown_and_doubled_keys(void **state)
{
    (void)state;
    refused("close_grace_second = 5\n", "conf:1:", "unknown key",
            "did you mean close_grace_seconds?", NULL);
    refused("L2_CLOSE_GRACE_SECONDS = 5\n", "did you mean close_grace_seconds?", NULL);
    refused("Partitioner = none\n", "did you mean partitioner?", NULL);
    refused("kafak.linger.ms = 5\n", "did you mean kafka.<key>?", NULL);
    refused("kafka. = 5\n", "did you mean kafka.<key>?", NULL);
    refused("colour = blue\n", "unknown key", "--help lists", NULL);
    refused("heartbeat = 1\nheartbeat = 1\n", "conf:2:", "line 1", NULL);
    refused("kafka.a = 1\n\nkafka.a = 1\n", "conf:3:", "line 1", NULL);
}

static void config_refuses_what_is_no_configuration(void **state)
{
    (void)state;
    struct config *config = NULL;
    struct err err = {0};
    static char big[CONFIG_FILE_BYTES_MAX + 2], value[CONFIG_VALUE_BYTES_MAX + 64];
    static const char nul[] = "heartbeat = 1\nnote = a\0b\n";

    refused("heartbeat\n", "conf:1:", "key = value", NULL);
    refused("= 1\n", "conf:1:", "key = value", NULL);
    write_bytes(config_path, nul, sizeof nul - 1);
    assert_int_equal(config_load(rows, config_path, &config, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, ":2: holds a NUL"));
    memset(big, '#', sizeof big - 1);
    refused(big, "longer than 65536", NULL);
    big[CONFIG_FILE_BYTES_MAX] = '\0';
    config_free(loaded(big)); /* exactly the bound */
    (void)snprintf(value, sizeof value, "note = %0*d\n", CONFIG_VALUE_BYTES_MAX + 1, 0);
    refused(value, "longer than 4096", NULL);
    (void)snprintf(value, sizeof value, "%0*d = 1\n", CONFIG_KEY_BYTES_MAX, 0);
    refused(value, "key longer than", NULL);
    assert_int_equal(config_load(rows, "/nonexistent/conf", &config, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "/nonexistent/conf: No such file"));
    assert_int_equal(config_load(rows, folder, &config, &err), ERR_REJECT);
    assert_null(config);
}

static void put_secret(const char *text, size_t n, mode_t mode)
{
    (void)unlink(secret_path);
    write_bytes(secret_path, text, n);
    assert_int_equal(chmod(secret_path, mode), 0);
    set_env("L2_KAFKA_SASL_PASSWORD_FILE", secret_path);
}

/* The first line, whatever follows. Seen to fail when the newline stays. */
static void config_reads_secrets_from_files(void **state)
{
    (void)state;
    static char long_line[CONFIG_VALUE_BYTES_MAX + 10];
    struct config *config;

    put_secret("hunter2\nsecond line\n", 20, 0444);
    config = loaded(NULL);
    assert_string_equal(config_secret(config, "kafka_sasl_password_file"), "hunter2");
    config_free(config);
    put_secret("no newline", 10, 0600);
    config = loaded(NULL);
    assert_string_equal(config_secret(config, "kafka_sasl_password_file"), "no newline");
    config_free(config);
    put_secret("dos\r\n", 5, 0600);
    config = loaded(NULL);
    assert_string_equal(config_secret(config, "kafka_sasl_password_file"), "dos");
    config_free(config);
    memset(long_line, 'x', sizeof long_line);
    put_secret(long_line, CONFIG_VALUE_BYTES_MAX, 0600);
    config = loaded(NULL);
    assert_int_equal(strlen(config_secret(config, "kafka_sasl_password_file")),
                     CONFIG_VALUE_BYTES_MAX);
    config_free(config);
    long_line[CONFIG_VALUE_BYTES_MAX] = '\n';
    put_secret(long_line, sizeof long_line, 0600);
    config = loaded(NULL);
    config_free(config);
    set_env("L2_KAFKA_SASL_PASSWORD_FILE", NULL);
}

/* Seen to fail without each check: mode, kind of file, empty, too long, NUL. */
static void config_refuses_bad_secret_files(void **state)
{
    (void)state;
    static char long_line[CONFIG_VALUE_BYTES_MAX + 1];

    put_secret("hunter2\n", 8, 0620);
    refused(NULL, "L2_KAFKA_SASL_PASSWORD_FILE:", "kafka_sasl_password_file", secret_path,
            "chmod go-w", NULL);
    put_secret("hunter2\n", 8, 0602);
    refused(NULL, "chmod go-w", NULL);
    put_secret("", 0, 0600);
    refused(NULL, "first line is empty", NULL);
    put_secret("\nx\n", 3, 0600);
    refused(NULL, "first line is empty", NULL);
    put_secret("a\0b\n", 4, 0600);
    refused(NULL, "NUL", NULL);
    memset(long_line, 'x', sizeof long_line);
    put_secret(long_line, sizeof long_line, 0600);
    refused(NULL, "longer than 4096", NULL);
    assert_int_equal(unlink(secret_path), 0);
    refused(NULL, secret_path, "No such file", "give the path", NULL);
    assert_int_equal(mkfifo(secret_path, 0600), 0);
    refused(NULL, "not a regular file", NULL); /* and does not wait for a writer */
    set_env("L2_KAFKA_SASL_PASSWORD_FILE", NULL);
}

/* A password typed where its file or nothing belongs must not reach a log. Seen to fail with the
 * value shown, with every path shown that holds a '/', and without config_check_login. */
static void config_never_shows_a_secret(void **state)
{
    (void)state;
    static const char *const texts[] = {
        "kafka_sasl_password_file = hunter2\n",
        "kafka_sasl_password_file = aG/hunter2\n",
        "kafka_sasl_password_file = a:hunter2@b\n",
        "server = https://u:hunter2@reg:8081\n",
        "server = https://u:hun/hunter2@reg:8081/path\n",
        "server = https://hunter2@reg\n",
        "server = u:hunter2@reg:8081\n",
        "exchange = postgresql://u:hunter2@db/x\n",
        "exchange = host=db Password = hunter2\n",
        "partitioner = u:hunter2@reg\n",
        "kafka.bootstrap.servers = SASL_SSL://u:hunter2@a:1\n",
        "kafka.sasl.jaas.config = Login required password=\"hunter2\";\n",
        "kafka.sasl.password = hunter2\n",
        "kafka.ssl.key.password = hunter2\n",
        "kafka.SASL.Password = hunter2\n",
        "kafka.sasl.oauthbearer.client.secret = hunter2\n",
        "kafka.ssl.key.pem = hunter2\n",
        "kafka_sasl_password = hunter2\n",
        "hunter2\n",
    };

    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        struct config *config = NULL;
        struct err err = {0};

        assert_int_equal(load(texts[i], &config, &err), ERR_REJECT);
        if (strstr(err.text, "hunter2") != NULL)
            fail_msg("%s", err.text);
    }
    refused("kafka.sasl.password = x\n", "conf:1:", "kafka.sasl.password", "is a secret",
            "set kafka_sasl_password_file to its path", NULL);
    set_env("L2_KAFKA_SASL_PASSWORD", "hunter2");
    refused(NULL, "L2_KAFKA_SASL_PASSWORD:", "set kafka_sasl_password_file to its path", NULL);
    set_env("L2_KAFKA_SASL_PASSWORD", NULL);
}

static void assert_pair(const struct config *config, unsigned i, const char *key, const char *value)
{
    const char *got_key = NULL, *got_value = NULL;

    assert_true(config_pair(config, "kafka.", i, &got_key, &got_value));
    assert_string_equal(got_key, key);
    assert_string_equal(got_value, value);
}

/* In the order of the file; the environment overrides in place and appends by name. Seen to fail
 * unsorted (a new variable first), and with L2_KAFKA_SASL_PASSWORD_FILE, a row's own, taken for one
 * of the family. */
static void config_keeps_a_family_in_order(void **state)
{
    (void)state;
    const char *key = "untouched", *value = "untouched";

    put_secret("hunter2\n", 8, 0600);
    set_env("L2_KAFKA_ZZZ", "9");
    set_env("L2_KAFKA_AAA_BBB", "8");
    set_env("L2_KAFKA_LINGER_MS", "7");
    struct config *config = loaded("kafka.linger.ms = 5\nheartbeat = 0\nkafka.acks = all\n");

    assert_pair(config, 0, "linger.ms", "7");
    assert_pair(config, 1, "acks", "all");
    assert_pair(config, 2, "aaa.bbb", "8");
    assert_pair(config, 3, "zzz", "9");
    assert_false(config_pair(config, "kafka.", 4, &key, &value));
    assert_string_equal(key, "untouched");
    assert_string_equal(config_secret(config, "kafka_sasl_password_file"), "hunter2");
    config_free(config);
    set_env("L2_KAFKA_ZZZ", NULL);
    set_env("L2_KAFKA_AAA_BBB", NULL);
    set_env("L2_KAFKA_LINGER_MS", NULL);
    set_env("L2_KAFKA_SASL_PASSWORD_FILE", NULL);
}

static void config_bounds_its_families(void **state)
{
    (void)state;
    char text[CONFIG_PAIRS_MAX * 32];
    size_t n = 0;

    for (int i = 0; i < CONFIG_PAIRS_MAX; i++)
        n += (size_t)snprintf(text + n, sizeof text - n, "kafka.k%d = 1\n", i);
    config_free(loaded(text));
    (void)snprintf(text + n, sizeof text - n, "kafka.more = 1\n");
    refused(text, "more than 64", NULL);
}

static char *printed(const struct config *config)
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    assert_non_null(out);
    config_print(config, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* Seen to fail with a server's slash, its scheme and its length not looked at. */
static void config_takes_addresses(void **state)
{
    (void)state;
    static const char *const good[] = {"server = http://a\n", "server = https://a.b:8081/api\n",
                                       "server =\n", "kafka.ssl.cipher.suites = A:!B@SECLEVEL=2\n"};

    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        config_free(loaded(good[i]));
    refused("server = nonsense\n", "conf:1: server = 'nonsense'", "https:// address", NULL);
    refused("server = ftp://a\n", "https:// address", NULL);
    refused("server = http://a/\n", "no / at its end", NULL);
    refused("server = https://\n", "no / at its end", NULL);
    refused("server = http://0123456789012345678901234567890123456789\n", "server", NULL);
}

/* Whose value holds more than a secret is taken, and not shown. Seen to fail with
 * config_may_hide_secret false. */
static void config_print_hides_what_may_hold_a_secret(void **state)
{
    (void)state;
    struct config *config = loaded("kafka.sasl.oauthbearer.config = principal=me extension_k=hush\n"
                                   "kafka.sasl.kerberos.kinit.cmd = login me hush\n");
    char *text = printed(config);

    assert_pair(config, 1, "sasl.kerberos.kinit.cmd", "login me hush");
    assert_null(strstr(text, "hush"));
    assert_non_null(strstr(text, "conf:1: kafka.sasl.oauthbearer.config is set"));
    assert_non_null(strstr(text, "conf:2: kafka.sasl.kerberos.kinit.cmd is set"));
    config_free(loaded(text));
    config_free(config);
    free(text);
}

/* print → load → print says the same, and no secret. Seen to fail with families left out of the
 * print. */
static void config_print_reads_back(void **state)
{
    (void)state;
    put_secret("hunter2\n", 8, 0600);
    set_env("L2_KAFKA_LINGER_MS", "7");
    struct config *config =
        loaded("exchange = a # b = c\nkafka.client.id = x y\nclose_grace_seconds = 60\n");
    char *first = printed(config);

    set_env("L2_KAFKA_LINGER_MS", NULL);
    set_env("L2_KAFKA_SASL_PASSWORD_FILE", NULL);
    assert_null(strstr(first, "hunter2"));
    assert_non_null(strstr(first, secret_path));
    assert_non_null(strstr(first, "# from L2_KAFKA_LINGER_MS\nkafka.linger.ms = 7\n"));
    struct config *again = loaded(first);

    assert_string_equal(config_string(again, "exchange"), "a # b = c");
    assert_int_equal(config_uint(again, "close_grace_seconds"), 60);
    assert_string_equal(config_secret(again, "kafka_sasl_password_file"), "hunter2");
    assert_pair(again, 0, "client.id", "x y");
    assert_pair(again, 1, "linger.ms", "7");
    assert_string_equal(config_string(again, "note"), "");
    config_free(config);
    config_free(again);
    free(first);
}

static char *table(void (*print)(const struct config_row *, FILE *))
{
    char *text = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&text, &n);

    assert_non_null(out);
    print(rows, out);
    assert_int_equal(fclose(out), 0);
    return text;
}

/* Seen to fail with the wrap one column later than it must be, and without the escape of '|'. */
static void config_tables_say_all(void **state)
{
    (void)state;
    char *help = table(config_help), *markdown = table(config_markdown);

    for (const struct config_row *row = rows; row->name != NULL; row++) {
        assert_non_null(strstr(help, row->name));
        assert_non_null(strstr(markdown, row->name));
    }
    assert_non_null(strstr(help, "close_grace_seconds = 10  (1 to 600)\n      silence before"));
    assert_non_null(strstr(
        markdown, "| `close_grace_seconds` | `L2_CLOSE_GRACE_SECONDS` | `10` | 1 to 600 | "));
    assert_non_null(strstr(markdown, "| `CVN_L2_PURGE_BARS` | `CVN_L2_PURGE_BARS` | `20` | 0 to "
                                     "1000 | rows of shift \\| bars |"));
    assert_non_null(strstr(markdown, "| `kafka.<key>` | `L2_KAFKA_<KEY>` |"));
    for (const char *line = help; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(strchr(line, '\n') - line <= 78);
    free(help);
    free(markdown);
}

static void config_help_wraps_at_78(void **state)
{
    (void)state;
    static const struct config_row wide[] = {
        {"x", CONFIG_UINT, "1", "", "",
         "12345678 12345678 12345678 12345678 12345678 12345678 12345678 12345678 1 12345678"},
        {NULL, CONFIG_UINT, NULL, NULL, NULL, NULL},
    };
    char text[400] = "";
    FILE *out = fmemopen(text, sizeof text, "w");

    assert_non_null(out);
    config_help(wide, out);
    assert_int_equal(fclose(out), 0);
    const char *line = strchr(text, '\n') + 1;

    assert_int_equal(strchr(line, '\n') - line, 6 + 8 * 8 + 7); /* 77: "1" would make it 79 */
    line = strchr(line, '\n') + 1;
    assert_string_equal(line, "      1 12345678\n");
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(config_takes_environment_before_file_before_default),
        TEST(config_refuses_values_out_of_bounds),
        TEST(config_refuses_unknown_and_doubled_keys),
        TEST(config_refuses_what_is_no_configuration),
        TEST(config_reads_secrets_from_files),
        TEST(config_refuses_bad_secret_files),
        TEST(config_never_shows_a_secret),
        TEST(config_keeps_a_family_in_order),
        TEST(config_bounds_its_families),
        TEST(config_takes_addresses),
        TEST(config_print_hides_what_may_hold_a_secret),
        TEST(config_print_reads_back),
        TEST(config_tables_say_all),
        TEST(config_help_wraps_at_78),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
