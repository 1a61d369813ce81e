/* connect_pg_load: what a configuration becomes, and what it refuses before anything connects. Seen
 * to fail: with production's rule left out; with is_port taking 0; with the key not asked for; with
 * libpq's environment left in place, and with PGHOSTADDR alone taken out of it. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "connect/connect.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define PRODUCTION "L2_PROFILE = production\n"

static const struct config_row service_rows[] = {
    {"L2_PROFILE", CONFIG_ENUM, "development", "", "development|production", "strictness"},
    CONNECT_PG_ROWS,
    {.name = NULL}};
static const struct config_row tool_rows[] = {CONNECT_PG_ROWS, {.name = NULL}};

static char folder[64], path[96], secret[96];

static void write_text(const char *to, const char *text)
{
    FILE *const out = fopen(to, "w");

    assert_non_null(out);
    assert_true(fputs(text, out) >= 0);
    assert_int_equal(fclose(out), 0);
}

/* config stays the caller's: the options borrow from it. */
static enum err_class load(const struct config_row *rows, const char *text, struct config **config,
                           struct pgc_options *options, struct err *err)
{
    write_text(path, text);
    *config = NULL;
    const enum err_class class = config_load(rows, path, config, err);
    return class != ERR_OK ? class : connect_pg_load(*config, "test", options, err);
}

static void accepts(const struct config_row *rows, const char *text)
{
    struct config *config;
    struct pgc_options options;
    struct err err = {0};

    assert_int_equal(load(rows, text, &config, &options, &err), ERR_OK);
    config_free(config);
}

static void refuses(const struct config_row *rows, const char *text, const char *why)
{
    struct config *config;
    struct pgc_options options = {.host = "untouched"};
    struct err err = {0};

    assert_int_equal(load(rows, text, &config, &options, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, why));
    assert_string_equal(options.host, "untouched");
    config_free(config);
}

static void test_what_it_becomes(void **state)
{
    char text[512];
    struct config *config;
    struct pgc_options o;
    struct err err = {0};

    (void)state;
    write_text(secret, "hunter2 with blanks\n");
    (void)snprintf(text, sizeof text,
                   "pg_host = db.example.com\npg_port = 6543\npg_user = archiver\n"
                   "pg_password_file = %s\npg_sslrootcert = %s\n",
                   secret, secret);
    assert_int_equal(load(tool_rows, text, &config, &o, &err), ERR_OK);
    assert_string_equal(o.host, "db.example.com");
    assert_string_equal(o.port, "6543");
    assert_string_equal(o.dbname, "l2flow");
    assert_string_equal(o.user, "archiver");
    assert_string_equal(o.password, "hunter2 with blanks");
    assert_string_equal(o.sslmode, "verify-full");
    assert_string_equal(o.sslrootcert, secret);
    assert_string_equal(o.sslcert, "");
    assert_string_equal(o.application_name, "test");
    assert_int_equal(o.connect_timeout_s, 0);
    config_free(config);
}

static void test_ports(void **state)
{
    (void)state;
    accepts(tool_rows, "pg_port = 1\n");
    accepts(tool_rows, "pg_port = 65535\n");
    refuses(tool_rows, "pg_port = 0\n", "pg_port");
    refuses(tool_rows, "pg_port = 65536\n", "pg_port");
    refuses(tool_rows, "pg_port = 54a\n", "pg_port");
    refuses(tool_rows, "pg_port = -1\n", "pg_port");
}

static void test_files(void **state)
{
    char text[256];

    (void)state;
    refuses(tool_rows, "pg_sslrootcert = /nowhere/ca.crt\n", "pg_sslrootcert = /nowhere/ca.crt");
    refuses(tool_rows, "pg_password_file = /nowhere/pw\n", "pg_password_file");
    (void)snprintf(text, sizeof text, "pg_sslcert = %s\n", path);
    refuses(tool_rows, text, "without pg_sslkey");
    (void)snprintf(text, sizeof text, "pg_sslkey = %s\n", path);
    refuses(tool_rows, text, "without pg_sslcert");
}

static void test_production_verifies_the_server(void **state)
{
    static const char *const weak[] = {"disable", "allow", "prefer", "require", "verify-ca"};
    char text[256];

    (void)state;
    accepts(service_rows, PRODUCTION "pg_host = db.example.com\n");
    accepts(service_rows, PRODUCTION "pg_host = /run/postgresql\npg_sslmode = disable\n");
    for (unsigned i = 0; i < sizeof weak / sizeof *weak; i++) {
        (void)snprintf(text, sizeof text, PRODUCTION "pg_host = 127.0.0.1\npg_sslmode = %s\n",
                       weak[i]);
        refuses(service_rows, text, "pg_sslmode");
        (void)snprintf(text, sizeof text, "pg_host = 127.0.0.1\npg_sslmode = %s\n", weak[i]);
        accepts(service_rows, text);
        accepts(tool_rows, text);
    }
    /* no host is libpq's choice, PGHOST's too */
    refuses(service_rows, PRODUCTION "pg_sslmode = disable\n", "pg_sslmode");
    refuses(service_rows, PRODUCTION "pg_sslmode = none\n", "pg_sslmode");
}

/* A socket that listens on this machine; nobody shall come. */
static int listener(char *port, size_t size)
{
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof at;

    assert_int_equal(bind(fd, (struct sockaddr *)&at, n), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &n), 0);
    (void)snprintf(port, size, "%u", (unsigned)ntohs(at.sin_port));
    return fd;
}

/* What production lets through as a socket stays one, whatever the environment says. */
static void test_the_environment_says_nothing(void **state)
{
    static const char *const names[] = {"PGHOST",     "PGHOSTADDR",   "PGSERVICE",
                                        "PGOPTIONS",  "PGSSLMODE",    "PGSERVICEFILE",
                                        "PGPASSFILE", "PGREQUIRESSL", "PGSYSCONFDIR",
                                        "PGPASSWORD", "PGTZ",         "PGCHANNELBINDING"};
    char port[8], text[256];
    const int fd = listener(port, sizeof port);
    struct config *config;
    struct pgc_options o;
    struct pgc *pgc = NULL;
    struct err err = {0};

    (void)state;
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        assert_int_equal(setenv(names[i], "127.0.0.1", 1), 0);
    (void)snprintf(text, sizeof text,
                   PRODUCTION "pg_host = %s\npg_port = %s\npg_sslmode = disable\n", folder, port);
    assert_int_equal(load(service_rows, text, &config, &o, &err), ERR_OK);
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i]) != NULL)
            fail_msg("%s is left", names[i]);
    assert_non_null(getenv("PATH"));
    o.connect_timeout_s = 1;
    assert_int_not_equal(pgc_open(&o, &pgc, &err), ERR_OK);
    assert_non_null(strstr(err.text, folder));
    assert_int_equal(accept(fd, NULL, NULL), -1);
    (void)close(fd);
    config_free(config);
}

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/test_connect_pg.XXXXXX");
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_it_becomes),
        cmocka_unit_test(test_ports),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_production_verifies_the_server),
        cmocka_unit_test(test_the_environment_says_nothing),
    };

    return cmocka_run_group_tests(tests, setup, teardown);
}
