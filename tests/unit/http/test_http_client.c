/*
 * The client against a server that follows a script: what is retried, what is not, and every bound.
 * Planted faults that these tests were seen to find: 5xx taken for an answer, Retry-After ignored,
 * FOLLOWLOCATION 1, the bound of the body off by one, cancel without the wake-up, the asked wait of
 * an earlier attempt told again, the old token kept.
 */
#include "clk/clk.h"
#include "http/client.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

#define STEPS_MAX 8
#define SEEN_BYTES 4096

/* A server that gives one answer a connection: NULL hangs until the client goes away, "" hangs up.
 */
struct server {
    int fd;
    uint16_t port;
    const char *const *script;
    unsigned steps;
    char seen[STEPS_MAX][SEEN_BYTES];
    int64_t at_us[STEPS_MAX];
    unsigned served;
    pthread_t thread;
};

static void read_request(int fd, char *seen)
{
    size_t n = 0, want = 0;

    while (n < SEEN_BYTES - 1) {
        const ssize_t got = read(fd, seen + n, SEEN_BYTES - 1 - n);
        if (got <= 0)
            break;
        n += (size_t)got;
        seen[n] = '\0';
        const char *end = strstr(seen, "\r\n\r\n");
        if (end == NULL)
            continue;
        const char *length = strstr(seen, "Content-Length: ");
        want = (size_t)(end + 4 - seen) + (length ? (size_t)strtoul(length + 16, NULL, 10) : 0);
        if (n >= want)
            break;
    }
    seen[n] = '\0';
}

static void *serve(void *user)
{
    struct server *s = user;
    char rest[64];

    for (unsigned i = 0; i < s->steps; i++) {
        const int fd = accept(s->fd, NULL, NULL);
        if (fd < 0)
            break;
        s->at_us[i] = clk_mono_us();
        read_request(fd, s->seen[i]);
        s->served = i + 1;
        if (s->script[i] == NULL)
            while (read(fd, rest, sizeof rest) > 0)
                continue;
        else if (write(fd, s->script[i], strlen(s->script[i])) < 0)
            break;
        close(fd);
    }
    return NULL;
}

static void start(struct server *s, const char *const *script, unsigned steps)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;

    memset(s, 0, sizeof *s);
    s->script = script;
    s->steps = steps;
    s->fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(s->fd, (struct sockaddr *)&a, sizeof a), 0);
    assert_int_equal(listen(s->fd, 8), 0);
    assert_int_equal(getsockname(s->fd, (struct sockaddr *)&a, &n), 0);
    s->port = ntohs(a.sin_port);
    assert_int_equal(pthread_create(&s->thread, NULL, serve, s), 0);
}

static void stop(struct server *s)
{
    shutdown(s->fd, SHUT_RDWR);
    pthread_join(s->thread, NULL);
    close(s->fd);
}

static struct http_client *client(const struct server *s, struct http_client_options o)
{
    struct http_client *c = NULL;
    struct err err;
    char url[64];

    (void)snprintf(url, sizeof url, "http://127.0.0.1:%u/base", s->port);
    o.base_url = url;
    assert_int_equal(http_client_new(&o, &c, &err), ERR_OK);
    return c;
}

#define ANSWER(status, headers, body)                                                              \
    "HTTP/1.1 " status " x\r\nConnection: close\r\n" headers "\r\n" body
static const struct http_request get = {.method = HTTP_GET, .path = "/x"};

static void test_get_and_post(void **state)
{
    static const char *const script[] = {ANSWER("200", "", "hello"), ANSWER("201", "", ""),
                                         ANSWER("404", "", "none"), ANSWER("204", "", "")};
    static const char *const headers[] = {"X-One: 1"};
    struct server s;
    struct http_answer a;
    struct err err;

    (void)state;
    start(&s, script, 4);
    struct http_client *c =
        client(&s, (struct http_client_options){.user = "u", .password = "p:w"});
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.attempts, 1);
    assert_string_equal(a.body, "hello");
    assert_non_null(strstr(s.seen[0], "GET /base/x HTTP/1.1\r\n"));
    assert_non_null(strstr(s.seen[0], "Authorization: Basic dTpwOnc=\r\n"));
    assert_non_null(strstr(s.seen[0], "User-Agent: l2flow\r\n"));

    const struct http_request post = {.method = HTTP_POST,
                                      .path = "/y",
                                      .content_type = "application/json",
                                      .headers = headers,
                                      .headers_n = 1,
                                      .body = "{}",
                                      .body_n = 2};
    assert_int_equal(http_client_do(c, &post, &a, &err), ERR_OK);
    assert_int_equal(a.status, 201);
    assert_int_equal(a.n, 0);
    assert_non_null(strstr(s.seen[1], "POST /base/y HTTP/1.1\r\n"));
    assert_non_null(strstr(s.seen[1], "Content-Type: application/json\r\n"));
    assert_non_null(strstr(s.seen[1], "X-One: 1\r\n"));
    assert_non_null(strstr(s.seen[1], "\r\n\r\n{}"));

    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK); /* a GET after a POST is one */
    assert_int_equal(a.status, 404);
    assert_non_null(strstr(s.seen[2], "GET /base/x"));
    assert_null(strstr(s.seen[2], "X-One"));
    const struct http_request put = {.method = HTTP_PUT, .path = "", .body = "z", .body_n = 1};
    assert_int_equal(http_client_do(c, &put, &a, &err), ERR_OK);
    assert_non_null(strstr(s.seen[3], "PUT /base HTTP/1.1\r\n"));
    http_client_free(c);
    stop(&s);
}

static void test_bearer(void **state)
{
    static const char *const script[] = {ANSWER("200", "", ""), ANSWER("200", "", ""),
                                         ANSWER("200", "", "")};
    struct server s;
    struct http_answer a;
    struct err err;

    (void)state;
    start(&s, script, 3);
    struct http_client *c = client(&s, (struct http_client_options){.bearer = "tok"});
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK);
    assert_non_null(strstr(s.seen[0], "Authorization: Bearer tok\r\n"));
    assert_int_equal(http_client_set_bearer(c, "another", &err), ERR_OK);
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK);
    assert_non_null(strstr(s.seen[1], "Authorization: Bearer another\r\n"));
    assert_int_equal(http_client_set_bearer(c, "", &err), ERR_OK);
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK);
    assert_null(strstr(s.seen[2], "Authorization"));
    http_client_free(c);
    stop(&s);
}

static void test_retries(void **state)
{
    static const char *const script[] = {ANSWER("503", "", ""), "" /* hangs up */,
                                         ANSWER("429", "Retry-After: 1\r\n", ""),
                                         ANSWER("200", "", "ok")};
    struct server s;
    struct http_answer a;
    struct err err;

    (void)state;
    start(&s, script, 4);
    struct http_client *c = client(&s, (struct http_client_options){.deadline_ms = 20000});
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK);
    assert_int_equal(a.status, 200);
    assert_int_equal(a.attempts, 4);
    assert_true(s.at_us[1] - s.at_us[0] >= HTTP_CLIENT_BACKOFF_MS * 1000 / 2);
    assert_true(s.at_us[3] - s.at_us[2] >= 1000 * 1000); /* as it was asked */
    http_client_free(c);
    stop(&s);
}

static void test_attempts_and_late_retry_after(void **state)
{
    static const char *const script[] = {ANSWER("500", "", ""),
                                         ANSWER("429", "Retry-After: 60\r\n", "")};
    struct server s;
    struct http_answer a = {.status = 7};
    struct err err;

    (void)state;
    start(&s, script, 2);
    struct http_client *c = client(&s, (struct http_client_options){.deadline_ms = 5000});
    const struct http_request once = {.method = HTTP_GET, .path = "/x", .attempts_max = 1};
    assert_int_equal(http_client_do(c, &once, &a, &err), ERR_RETRY);
    assert_non_null(strstr(err.text, "it answered 500 (1 attempts)"));
    assert_int_equal(a.status, 7);
    const int64_t before = clk_mono_us();
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_RETRY); /* a minute is past it */
    assert_true(clk_mono_us() - before < 4 * CLK_US_PER_S);
    assert_int_equal(http_client_asked_wait_ms(c), 60000);
    stop(&s);
    assert_int_equal(http_client_do(c, &once, &a, &err), ERR_RETRY); /* nobody is there */
    assert_int_equal(http_client_asked_wait_ms(c), 0);
    http_client_free(c);
}

static void test_bounds(void **state)
{
    static const char *const script[] = {ANSWER("200", "", "12345"), ANSWER("200", "", "123456"),
                                         ANSWER("302", "Location: http://127.0.0.1:1/\r\n", "")};
    struct server s;
    struct http_answer a;
    struct err err;

    (void)state;
    start(&s, script, 3);
    struct http_client *c = client(&s, (struct http_client_options){.answer_bytes_max = 5});
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK);
    assert_string_equal(a.body, "12345");
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_REJECT);
    assert_non_null(strstr(err.text, "more than 5 bytes"));
    assert_int_equal(a.status, 200);
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_OK); /* not followed */
    assert_int_equal(a.status, 302);
    http_client_free(c);
    stop(&s);
}

static void test_deadline(void **state)
{
    static const char *const script[] = {NULL, NULL, NULL, NULL};
    struct server s;
    struct http_answer a;
    struct err err;

    (void)state;
    start(&s, script, 4);
    struct http_client *c =
        client(&s, (struct http_client_options){.deadline_ms = 600, .attempt_ms = 200});
    const int64_t before = clk_mono_us();
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_RETRY);
    const int64_t took_ms = (clk_mono_us() - before) / 1000;
    assert_in_range(took_ms, 200, 1500);
    assert_true(s.served >= 2);
    http_client_free(c);
    stop(&s);
}

static void *cancel_soon(void *user)
{
    usleep(200 * 1000);
    http_client_cancel(user);
    return NULL;
}

static void test_cancel(void **state)
{
    static const char *const script[] = {NULL, NULL};
    struct server s;
    struct http_answer a;
    struct err err;
    pthread_t thread;

    (void)state;
    start(&s, script, 2);
    struct http_client *c = client(&s, (struct http_client_options){.deadline_ms = 30000});
    pthread_create(&thread, NULL, cancel_soon, c);
    const int64_t before = clk_mono_us();
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_RETRY);
    assert_true(clk_mono_us() - before < 900 * 1000); /* woken: curl alone looks once a second */
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_RETRY);
    pthread_join(thread, NULL);
    http_client_free(c);
    stop(&s);
}

static void test_unreachable_and_wrong(void **state)
{
    struct server s;
    struct http_answer a;
    struct err err;
    struct http_client *c = NULL;

    (void)state;
    start(&s, NULL, 0);
    stop(&s); /* its port is closed now */
    c = client(&s, (struct http_client_options){.deadline_ms = 300});
    assert_int_equal(http_client_do(c, &get, &a, &err), ERR_RETRY);
    http_client_free(c);
    c = NULL;
    static const struct http_client_options wrong[] = {{.base_url = ""},
                                                       {.base_url = "ftp://x"},
                                                       {.base_url = "http://u:p@x"},
                                                       {.base_url = "https://x", .ca_file = "/no"}};
    for (unsigned i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
        assert_int_equal(http_client_new(&wrong[i], &c, &err), ERR_REJECT);
    assert_null(c);
    http_client_free(NULL);
}

static void test_escape(void **state)
{
    char buf[16];

    (void)state;
    assert_true(http_escape("a/b c.d-e", buf, sizeof buf));
    assert_string_equal(buf, "a%2Fb%20c.d-e");
    assert_false(http_escape("//////", buf, sizeof buf));
    assert_true(http_escape("/////", buf, sizeof buf)); /* 15 and a zero */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_get_and_post), cmocka_unit_test(test_bearer),
        cmocka_unit_test(test_retries),      cmocka_unit_test(test_attempts_and_late_retry_after),
        cmocka_unit_test(test_bounds),       cmocka_unit_test(test_deadline),
        cmocka_unit_test(test_cancel),       cmocka_unit_test(test_unreachable_and_wrong),
        cmocka_unit_test(test_escape),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
