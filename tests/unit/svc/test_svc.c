/* test_svc.c: svc_main as people and supervisors meet it: a process with options, signals, a port
 * and an exit code. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>

#include "clk/clk.h"

#include <assert.h>
#include <arpa/inet.h>
#include <fcntl.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define ARGS_MAX 12
#define TEXT_BYTES_MAX (64 * 1024)
#define WAIT_S_MAX 10
#define STALE_S 31 /* one more than /healthz allows */

struct child {
    pid_t pid;
    int out_fd, err_fd;
    char out[TEXT_BYTES_MAX], err[TEXT_BYTES_MAX]; /* all so far */
    size_t out_n, err_n;
    int port;
};

static struct child child, stalled, lively; /* too big for the stack */
static int64_t stalled_since_us;
static char folder[64], config_path[96];

/* args: probe's, ended by NULL. */
static void start(struct child *c, const char *const *args)
{
    int out[2], err[2];
    char *argv[ARGS_MAX + 2] = {(char *)(uintptr_t)"svc-probe"};

    for (int i = 0; args[i] != NULL; i++) {
        assert_true(i < ARGS_MAX);
        argv[i + 1] = (char *)(uintptr_t)args[i];
    }
    memset(c, 0, sizeof *c);
    assert_int_equal(pipe2(out, O_CLOEXEC | O_NONBLOCK), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC | O_NONBLOCK), 0);
    c->pid = fork();
    assert_true(c->pid >= 0);
    if (c->pid == 0) {
        (void)dup2(out[1], STDOUT_FILENO);
        (void)dup2(err[1], STDERR_FILENO);
        (void)execv(SVC_PROBE, argv);
        _exit(127);
    }
    (void)close(out[1]);
    (void)close(err[1]);
    c->out_fd = out[0];
    c->err_fd = err[0];
}

static void take(int fd, char *text, size_t *n)
{
    for (;;) {
        const ssize_t got = read(fd, text + *n, TEXT_BYTES_MAX - 1 - *n);

        if (got <= 0)
            return;
        *n += (size_t)got;
        text[*n] = '\0';
    }
}

/* Waits until the child's log holds `word`; fails after WAIT_S_MAX. */
static void wait_for(struct child *c, const char *word)
{
    const int64_t start_us = clk_mono_us();

    do {
        (void)poll(NULL, 0, 5);
        take(c->err_fd, c->err, &c->err_n);
        if (strstr(c->err, word) != NULL)
            return;
    } while (clk_mono_us() - start_us < WAIT_S_MAX * CLK_US_PER_S);
    fail_msg("'%s' was never said: %s", word, c->err);
}

/* Waits for its end: the exit code, or −signal. */
static int finish(struct child *c)
{
    const int64_t start_us = clk_mono_us();
    int status = 0;
    pid_t done = 0;

    while (done == 0 && clk_mono_us() - start_us < WAIT_S_MAX * CLK_US_PER_S) {
        take(c->out_fd, c->out, &c->out_n);
        take(c->err_fd, c->err, &c->err_n);
        (void)poll(NULL, 0, 5);
        done = waitpid(c->pid, &status, WNOHANG);
    }
    if (done == 0) {
        (void)kill(c->pid, SIGKILL);
        (void)waitpid(c->pid, &status, 0);
        fail_msg("it did not end: %s", c->err);
    }
    take(c->out_fd, c->out, &c->out_n);
    take(c->err_fd, c->err, &c->err_n);
    (void)close(c->out_fd);
    (void)close(c->err_fd);
    c->pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

#define ARGS(...) ((const char *const[]){__VA_ARGS__, NULL})

static int run_to_end(const char *const *args)
{
    start(&child, args);
    return finish(&child);
}

/* Up and listening; its port is known. */
static void start_service(struct child *c, const char *const *args)
{
    start(c, args);
    wait_for(c, "\"event\":\"started\"");
    wait_for(c, "}\n");
    const char *port = strstr(c->err, "\"port\":");

    assert_non_null(port);
    c->port = (int)strtol(port + strlen("\"port\":"), NULL, 10);
}

/* The body; the status in *ret_status. */
static const char *get(const struct child *c, const char *path, int *ret_status)
{
    static char answer[TEXT_BYTES_MAX];
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)c->port)};
    const struct timeval limit = {WAIT_S_MAX, 0};
    size_t n = 0;
    ssize_t got;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert(fd >= 0);
    assert_int_equal(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&to, sizeof to), 0);
    (void)dprintf(fd, "GET %s HTTP/1.1\r\nHost: x\r\n\r\n", path);
    while ((got = recv(fd, answer + n, sizeof answer - 1 - n, 0)) > 0)
        n += (size_t)got;
    (void)close(fd);
    answer[n] = '\0';
    const char *body = strstr(answer, "\r\n\r\n");

    assert_true(got == 0 && strncmp(answer, "HTTP/1.1 ", 9) == 0 && body != NULL);
    *ret_status = (int)strtol(answer + 9, NULL, 10);
    return body + 4;
}

static int status_of(const struct child *c, const char *path)
{
    int status;

    (void)get(c, path, &status);
    return status;
}

static void assert_has(const char *text, const char *part)
{
    if (strstr(text, part) == NULL)
        fail_msg("no '%s' in: %s", part, text);
}

static int count_lines(const char *text)
{
    int n = 0;

    for (; *text != '\0'; text++)
        n += *text == '\n';
    return n;
}

static void write_config(const char *text)
{
    FILE *out = fopen(config_path, "w");

    assert(out != NULL); /* this one, since the analyser knows that it does not return */
    fputs(text, out);
    assert_int_equal(fclose(out), 0);
}

static void set_env(const char *name, const char *value)
{
    assert_int_equal(value != NULL ? setenv(name, value, 1) : unsetenv(name), 0);
}

static int setup(void **state)
{
    (void)state;
    set_env("L2_LISTEN", "127.0.0.1:0");
    set_env("L2_CLOCK", NULL);
    set_env("L2_PROFILE", NULL);
    set_env("L2_LOG_LEVEL", NULL);
    return 0;
}

static int teardown(void **state)
{
    (void)state;
    if (child.pid != 0) { /* a failed test left it */
        (void)kill(child.pid, SIGKILL);
        (void)waitpid(child.pid, NULL, 0);
        child.pid = 0;
    }
    return 0;
}

static void svc_help_teaches(void **state)
{
    (void)state;
    static const char *const parts[] = {
        "Turns a loop and counts.",
        "--check-config",
        "--unready-after=TURNS",
        "\n  period_ms = 20  (1 to 1000)\n      length of one turn",
        "\n  L2_PROFILE = development  (development or production)\n",
        "\n  listen = 127.0.0.1:9101  (",
        "\n  L2_CLOCK =  (",
        "\n  kafka.<key>  (",
        "/healthz /readyz /metrics",
        "\n  78   the configuration is at fault",
        "\n  130  ",
        "Examples:\n  svc-probe --config probe.conf\n",
    };

    assert_int_equal(run_to_end(ARGS("--help")), 0);
    for (size_t i = 0; i < sizeof parts / sizeof parts[0]; i++)
        assert_has(child.out, parts[i]);
    assert_null(strstr(child.out, "markdown")); /* hidden */
    for (const char *line = child.out; *line != '\0'; line = strchr(line, '\n') + 1)
        assert_true(strchr(line, '\n') - line <= 79);
    assert_int_equal(run_to_end(ARGS("--version")), 0);
    assert_string_equal(child.out, "svc-probe " L2FLOW_VERSION "\n");
}

static void svc_wrong_usage_is_64(void **state)
{
    (void)state;
    assert_int_equal(run_to_end(ARGS("--no-such-option")), 64);
    assert_has(child.err, "--no-such-option");
    assert_int_equal(run_to_end(ARGS("an-argument")), 64);
    assert_int_equal(run_to_end(ARGS("--config")), 64);
    assert_string_equal(child.out, "");
}

/* Refused with --check-config in one plain line, and at a start in one JSON line: 78, and nothing
 * was started. */
static void refused(const char *config, const char *a, const char *b)
{
    write_config(config);
    assert_int_equal(run_to_end(ARGS("--config", config_path, "--check-config")), 78);
    assert_string_equal(child.out, "");
    assert_int_equal(count_lines(child.err), 1);
    assert_true(strncmp(child.err, "svc-probe: ", 11) == 0);
    assert_has(child.err, a);
    assert_has(child.err, b);

    assert_int_equal(run_to_end(ARGS("--config", config_path)), 78);
    assert_int_equal(count_lines(child.err), 1);
    assert_has(child.err, "\"event\":\"failed\"");
    assert_has(child.err, "\"exit_code\":78");
    assert_has(child.err, a);
    assert_has(child.err, b);
}

/* Seen to fail without desc->check, and without the check of the address. */
static void svc_bad_configuration_is_78(void **state)
{
    (void)state;
    set_env("L2_LISTEN", NULL);
    write_config("period_ms = 5\n");
    assert_int_equal(run_to_end(ARGS("--check-config", "-c", config_path)), 0);
    assert_string_equal(child.out, "configuration ok\n");
    assert_string_equal(child.err, "");
    refused("\nperiod_m = 5\n", "conf:2: period_m: unknown key", "did you mean period_ms?");
    refused("period_ms = 1001\n", "conf:1: period_ms = '1001'", "1 to 1000");
    refused("token_file = /nonexistent/token\n", "token_file = /nonexistent/token", "No such file");
    refused("low = 11\n", "low: is above high", "lower it");
    refused("listen = here\n", "listen = 'here'", "127.0.0.1:9101");
    refused("L2_CLOCK = 5\n", "L2_CLOCK = '5'", "<real start>");
    refused("log_level = loud\n", "log_level = 'loud'", "debug, info, warn or error");
    assert_int_equal(run_to_end(ARGS("--check-config", "--config", "/nonexistent/conf")), 78);
    assert_has(child.err, "/nonexistent/conf");
}

/* Seen to fail without the refusal. */
static void svc_production_refuses_the_rehearsal_clock(void **state)
{
    (void)state;
    set_env("L2_CLOCK", "1767225600/1723161256/480");
    assert_int_equal(run_to_end(ARGS("--check-config")), 0);
    set_env("L2_PROFILE", "production");
    assert_int_equal(run_to_end(ARGS("--check-config")), 78);
    assert_has(child.err, "L2_CLOCK");
    assert_has(child.err, "unset");
    assert_int_equal(run_to_end(ARGS("--offline", "--return=ok")), 78);
    set_env("L2_CLOCK", NULL);
    assert_int_equal(run_to_end(ARGS("--check-config")), 0);
}

static void svc_print_config_reads_back(void **state)
{
    (void)state;
    static char first[TEXT_BYTES_MAX];

    set_env("L2_LISTEN", NULL);
    write_config("period_ms = 7\nkafka.linger.ms = 5\nlisten = off\n");
    assert_int_equal(run_to_end(ARGS("--config", config_path, "--print-config")), 0);
    assert_has(child.out, "period_ms = 7\n");
    assert_has(child.out, "kafka.linger.ms = 5\n");
    assert_has(child.out, "L2_PROFILE = development\n");
    write_config(child.out);
    assert_int_equal(run_to_end(ARGS("--config", config_path, "--print-config")), 0);
    memcpy(first, child.out, sizeof first);
    write_config(first);
    assert_int_equal(run_to_end(ARGS("--config", config_path, "--print-config")), 0);
    assert_has(child.out, "listen = off\n");
    assert_has(child.out, "kafka.linger.ms = 5\n");
    assert_int_equal(run_to_end(ARGS("--print-config-markdown")), 0);
    assert_has(child.out, "| `period_ms` | `L2_PERIOD_MS` | `20` | 1 to 1000 | length of one turn");
}

/* Started, ready, counting, drained. Seen to fail without the handler of SIGINT, and with
 * SIGPIPE not ignored. */
static void drains_on(int number, const char *name)
{
    int status;
    char reason[64];

    write_config("period_ms = 20\n");
    start_service(&child, ARGS("--config", config_path));
    assert_has(child.err, "\"version\":\"" L2FLOW_VERSION "\"");
    assert_has(child.err, config_path);
    assert_has(child.err, "\"clock\":\"wall clock\"");
    assert_null(strstr(child.err, "rehearsal"));
    assert_int_equal(status_of(&child, "/healthz"), 200);
    assert_int_equal(status_of(&child, "/readyz"), 200);
    assert_int_equal(status_of(&child, "/nothing"), 404);
    const char *metrics = get(&child, "/metrics", &status);

    assert_int_equal(status, 200);
    assert_has(metrics, "\nl2flow_ready 1\n");
    assert_has(metrics, "\nl2flow_rehearsal_speed 0\n");
    assert_has(metrics, "\nl2flow_build_info{version=\"" L2FLOW_VERSION "\"} 1\n");
    assert_has(metrics, "\nprocess_resident_memory_bytes ");
    const char *turns = strstr(metrics, "\nprobe_turns_total ");

    assert_non_null(turns);
    assert_true(strtol(turns + strlen("\nprobe_turns_total "), NULL, 10) > 0);
    assert_int_equal(kill(child.pid, SIGPIPE), 0); /* ignored */
    assert_int_equal(kill(child.pid, number), 0);
    assert_int_equal(finish(&child), 0);
    (void)snprintf(reason, sizeof reason, "\"event\":\"stopping\",\"reason\":\"%s\"", name);
    assert_has(child.err, reason);
    assert_has(child.err, "\"event\":\"stopped\",\"exit_code\":0}\n");
    assert_int_equal(count_lines(child.err), 3);
}

static void svc_drains_on_sigterm_and_sigint(void **state)
{
    (void)state;
    drains_on(SIGTERM, "SIGTERM");
    drains_on(SIGINT, "SIGINT");
}

/* A drain that hangs is not ready any more, and a second signal ends it. Seen to fail with /readyz
 * of svc_ready alone. */
static void svc_second_signal_is_130(void **state)
{
    (void)state;
    int status;

    start_service(&child, ARGS("--hang"));
    assert_int_equal(status_of(&child, "/readyz"), 200);
    assert_int_equal(kill(child.pid, SIGTERM), 0);
    wait_for(&child, "\"event\":\"stopping\"");
    assert_string_equal(get(&child, "/readyz", &status), "stopping\n");
    assert_int_equal(status, 503);
    assert_has(get(&child, "/metrics", &status), "\nl2flow_ready 0\n");
    assert_int_equal(kill(child.pid, SIGINT), 0);
    assert_int_equal(finish(&child), 130);
}

/* Seen to fail with was_ready in place of ready. */
static void svc_readyz_flips(void **state)
{
    (void)state;
    int status = 200;

    start_service(&child, ARGS("--never-ready"));
    assert_string_equal(get(&child, "/readyz", &status), "not ready\n");
    assert_int_equal(status, 503);
    assert_int_equal(kill(child.pid, SIGTERM), 0);
    assert_int_equal(finish(&child), 0);

    start_service(&child, ARGS("--unready-after=100")); /* two seconds */
    assert_int_equal(status_of(&child, "/readyz"), 200);
    for (int i = 0; i < 500 && status_of(&child, "/readyz") == 200; i++)
        (void)poll(NULL, 0, 20);
    assert_int_equal(status_of(&child, "/readyz"), 503);
    assert_int_equal(status_of(&child, "/healthz"), 200);
    assert_int_equal(kill(child.pid, SIGTERM), 0);
    assert_int_equal(finish(&child), 0);
}

static void svc_exit_codes_follow_the_class(void **state)
{
    (void)state;
    set_env("L2_LISTEN", "off");
    assert_int_equal(run_to_end(ARGS("--return=ok")), 0);
    assert_has(child.err, "\"port\":0");
    assert_int_equal(run_to_end(ARGS("--return=retry")), 75);
    assert_int_equal(run_to_end(ARGS("--return=fatal")), 75);
    assert_int_equal(run_to_end(ARGS("--return=reject")), 70);
    assert_has(child.err,
               "\"event\":\"failed\",\"error\":\"probe: told to reject: do\",\"class\":\"reject\"");
    assert_int_equal(run_to_end(ARGS("--never-ready", "--return=retry")), 69);
    assert_int_equal(run_to_end(ARGS("--never-ready", "--return=reject")), 78);
    assert_int_equal(run_to_end(ARGS("--never-ready", "--return=fatal")), 75);
    assert_int_equal(run_to_end(ARGS("--never-ready", "--return=reject", "--exit-code=66")), 66);
    assert_int_equal(run_to_end(ARGS("--return=ok", "--exit-code=66")), 66);
}

/* Four seconds of rehearsal, two thousand of market. Seen to fail with clk_is_over left out of
 * svc_stopping. */
static void svc_rehearsal_drains_at_its_end(void **state)
{
    (void)state;
    char clock[128];
    const int64_t now_s = clk_wall_us() / CLK_US_PER_S;
    int status;

    (void)snprintf(clock, sizeof clock, "%" PRId64 "/%" PRId64 "/500", now_s, now_s - 2000);
    set_env("L2_CLOCK", clock);
    start_service(&child, (const char *const[]){NULL});
    const char *metrics = get(&child, "/metrics", &status);

    assert_has(metrics, "\nl2flow_rehearsal_speed 500\n");
    wait_for(&child, "\"event\":\"rehearsal_clock\"");
    assert_has(child.err, "rehearsal clock: virtual ");
    assert_int_equal(finish(&child), 0);
    assert_has(child.err, "\"reason\":\"the rehearsal is over: ");
    assert_has(child.err, "\"event\":\"stopped\"");
}

/* Another process has the port: 75, and one line that names it. Offline work does not care. */
static void svc_port_in_use_is_75(void **state)
{
    (void)state;
    const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    char listen_on[32];

    assert(fd >= 0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    (void)snprintf(listen_on, sizeof listen_on, "127.0.0.1:%u", (unsigned)ntohs(at.sin_port));
    set_env("L2_LISTEN", listen_on);
    assert_int_equal(run_to_end(ARGS("--return=ok")), 75);
    assert_int_equal(count_lines(child.err), 1);
    assert_has(child.err, listen_on);
    assert_int_equal(run_to_end(ARGS("--return=ok", "--offline")), 0);
    (void)close(fd);
}

/* Seen to fail with svc_alive called by the HTTP thread. */
static void svc_healthz_misses_a_stalled_loop(void **state)
{
    (void)state;
    int status;

    while (clk_mono_us() - stalled_since_us < STALE_S * CLK_US_PER_S)
        (void)poll(NULL, 0, 100);
    assert_int_equal(status_of(&stalled, "/metrics"), 200); /* no sign of life of the loop's */
    assert_int_equal(status_of(&stalled, "/readyz"), 200);
    assert_has(get(&stalled, "/healthz", &status), "the loop has not turned for");
    assert_int_equal(status, 503);
    assert_int_equal(status_of(&lively, "/healthz"), 200);
}

static int group_setup(void **state)
{
    (void)snprintf(folder, sizeof folder, "/tmp/test_svc.XXXXXX");
    if (mkdtemp(folder) == NULL)
        return -1;
    (void)snprintf(config_path, sizeof config_path, "%s/conf", folder);
    (void)setup(state);
    start_service(&stalled, ARGS("--stall"));
    start_service(&lively, ARGS("--never-ready"));
    stalled_since_us = clk_mono_us();
    return 0;
}

static int group_teardown(void **state)
{
    (void)state;
    (void)kill(stalled.pid, SIGTERM);
    (void)kill(lively.pid, SIGTERM);
    const int codes = finish(&stalled) + finish(&lively);

    (void)unlink(config_path);
    return rmdir(folder) + codes;
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(svc_help_teaches),
        TEST(svc_wrong_usage_is_64),
        TEST(svc_bad_configuration_is_78),
        TEST(svc_production_refuses_the_rehearsal_clock),
        TEST(svc_print_config_reads_back),
        TEST(svc_drains_on_sigterm_and_sigint),
        TEST(svc_second_signal_is_130),
        TEST(svc_readyz_flips),
        TEST(svc_exit_codes_follow_the_class),
        TEST(svc_rehearsal_drains_at_its_end),
        TEST(svc_port_in_use_is_75),
        TEST(svc_healthz_misses_a_stalled_loop),
    };

    return cmocka_run_group_tests(tests, group_setup, group_teardown);
}
