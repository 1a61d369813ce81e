#include "http/client.h"

#include "clk/clk.h"

#include <assert.h>
#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { DEADLINE_MS = 10000, ANSWER_BYTES = 1 << 20, RETRY_AFTER_S_MAX = 3600, POLL_MS_MAX = 10000 };

struct http_client {
    CURL *easy;
    CURLM *multi; /* one transfer at most: it is there because its waits can be woken */
    char *base_url;
    unsigned deadline_ms, attempt_ms;
    size_t answer_bytes_max;
    atomic_bool cancelled;
    uint64_t chance;
    char *body;
    size_t n;
    bool too_long;
    int64_t asked_ms;
    char why[CURL_ERROR_SIZE];
};

static bool given(const char *text)
{
    return text != NULL && text[0] != '\0';
}

static void global_init(void)
{
    (void)curl_global_init(CURL_GLOBAL_DEFAULT);
}

static size_t take(char *data, size_t size, size_t n, void *user)
{
    struct http_client *c = user;
    const size_t more = size * n; /* size is 1, says curl */

    if (more > c->answer_bytes_max - c->n) {
        c->too_long = true;
        return 0; /* ends the transfer */
    }
    memcpy(c->body + c->n, data, more);
    c->n += more;
    return more;
}

static enum err_class check_file(const char *what, const char *path, struct err *err)
{
    if (given(path) && access(path, R_OK) != 0)
        return err_set(err, ERR_REJECT, "%s: %s: cannot be read: check the path and its rights",
                       what, path);
    return ERR_OK;
}

enum err_class http_client_check(const struct http_client_options *o, struct err *err)
{
    if (given(o->base_url) && strchr(o->base_url, '@') != NULL)
        return err_set(err, ERR_REJECT,
                       "the server's address names a user (not shown): give that apart");
    if (!given(o->base_url) ||
        (strncmp(o->base_url, "http://", 7) != 0 && strncmp(o->base_url, "https://", 8) != 0))
        return err_set(err, ERR_REJECT, "%s: no address: it starts with http:// or https://",
                       given(o->base_url) ? o->base_url : "(empty)");
    if (strlen(o->base_url) > HTTP_CLIENT_URL_BYTES_MAX / 2)
        return err_set(err, ERR_REJECT, "%.60s…: no address: it is too long", o->base_url);
    if (check_file("CA file", o->ca_file, err) != ERR_OK ||
        check_file("client certificate", o->cert_file, err) != ERR_OK ||
        check_file("client key", o->key_file, err) != ERR_OK)
        return err->class;
    return ERR_OK;
}

/* false: no memory, or a libcurl without TLS. */
static bool set_up(struct http_client *c, const struct http_client_options *o)
{
    CURL *e = c->easy;
    bool ok = true;

    ok &= curl_easy_setopt(e, CURLOPT_WRITEFUNCTION, take) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_WRITEDATA, c) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_ERRORBUFFER, c->why) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_NOSIGNAL, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_FOLLOWLOCATION, 0L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_PROXY, "") == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_PROTOCOLS_STR, "http,https") == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_SSL_VERIFYPEER, 1L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_SSL_VERIFYHOST, 2L) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_SSLVERSION, CURL_SSLVERSION_TLSv1_2) == CURLE_OK;
    ok &= curl_easy_setopt(e, CURLOPT_USERAGENT, given(o->user_agent) ? o->user_agent : "l2flow") ==
          CURLE_OK;
    if (given(o->ca_file))
        ok &= curl_easy_setopt(e, CURLOPT_CAINFO, o->ca_file) == CURLE_OK;
    if (given(o->cert_file))
        ok &= curl_easy_setopt(e, CURLOPT_SSLCERT, o->cert_file) == CURLE_OK;
    if (given(o->key_file))
        ok &= curl_easy_setopt(e, CURLOPT_SSLKEY, o->key_file) == CURLE_OK;
    if (given(o->key_password))
        ok &= curl_easy_setopt(e, CURLOPT_KEYPASSWD, o->key_password) == CURLE_OK;
    if (given(o->user)) {
        ok &= curl_easy_setopt(e, CURLOPT_HTTPAUTH, CURLAUTH_BASIC) == CURLE_OK;
        ok &= curl_easy_setopt(e, CURLOPT_USERNAME, o->user) == CURLE_OK;
        ok &= curl_easy_setopt(e, CURLOPT_PASSWORD, given(o->password) ? o->password : "") ==
              CURLE_OK;
    } else if (given(o->bearer)) {
        ok &= curl_easy_setopt(e, CURLOPT_HTTPAUTH, CURLAUTH_BEARER) == CURLE_OK;
        ok &= curl_easy_setopt(e, CURLOPT_XOAUTH2_BEARER, o->bearer) == CURLE_OK;
    }
    return ok;
}

enum err_class http_client_new(const struct http_client_options *o, struct http_client **ret_client,
                               struct err *err)
{
    static pthread_once_t once = PTHREAD_ONCE_INIT;

    if (http_client_check(o, err) != ERR_OK)
        return err->class;
    (void)pthread_once(&once, global_init);
    struct http_client *c = calloc(1, sizeof *c);
    if (c == NULL)
        return err_set(err, ERR_FATAL, "%.100s: out of memory", o->base_url);
    c->deadline_ms = o->deadline_ms != 0 ? o->deadline_ms : DEADLINE_MS;
    c->attempt_ms = o->attempt_ms != 0 ? o->attempt_ms : c->deadline_ms;
    c->answer_bytes_max = o->answer_bytes_max != 0 ? o->answer_bytes_max : ANSWER_BYTES;
    c->chance = (uint64_t)clk_mono_us() ^ (uint64_t)(uintptr_t)c;
    c->base_url = strdup(o->base_url);
    c->body = malloc(c->answer_bytes_max + 1);
    c->easy = curl_easy_init();
    c->multi = curl_multi_init();
    if (c->base_url == NULL || c->body == NULL || c->easy == NULL || c->multi == NULL ||
        !set_up(c, o)) {
        http_client_free(c);
        return err_set(err, ERR_FATAL, "%.100s: out of memory", o->base_url);
    }
    *ret_client = c;
    return ERR_OK;
}

void http_client_cancel(struct http_client *c)
{
    atomic_store(&c->cancelled, true);
    (void)curl_multi_wakeup(c->multi);
}

void http_client_free(struct http_client *c)
{
    if (c == NULL)
        return;
    curl_easy_cleanup(c->easy);
    (void)curl_multi_cleanup(c->multi);
    free(c->base_url);
    free(c->body);
    free(c);
}

/* ---- one attempt ---- */

enum outcome { DONE, AGAIN, TOO_LONG, UNTRUSTED, CANCELLED };

/* Runs the transfer that is set up; its result, or CURLE_OPERATION_TIMEDOUT when cancelled. */
static CURLcode transfer(struct http_client *c)
{
    CURLcode result = CURLE_FAILED_INIT;
    int running = 1, left;

    if (curl_multi_add_handle(c->multi, c->easy) != CURLM_OK)
        return result;
    while (running > 0 && !atomic_load(&c->cancelled)) {
        if (curl_multi_perform(c->multi, &running) != CURLM_OK)
            break;
        if (running > 0 && curl_multi_poll(c->multi, NULL, 0, POLL_MS_MAX, NULL) != CURLM_OK)
            break;
    }
    if (running > 0)
        result = CURLE_OPERATION_TIMEDOUT;
    for (CURLMsg *m; (m = curl_multi_info_read(c->multi, &left)) != NULL;)
        if (m->msg == CURLMSG_DONE)
            result = m->data.result;
    (void)curl_multi_remove_handle(c->multi, c->easy);
    return result;
}

static enum outcome attempt(struct http_client *c, int64_t left_ms, unsigned *ret_status)
{
    const long ms = (long)(left_ms < c->attempt_ms ? left_ms : c->attempt_ms);
    long status = 0;
    curl_off_t retry_after_s = 0;

    c->n = 0;
    c->too_long = false;
    c->why[0] = '\0';
    c->asked_ms = 0;
    (void)curl_easy_setopt(c->easy, CURLOPT_TIMEOUT_MS, ms);
    const CURLcode result = transfer(c);
    c->body[c->n] = '\0';
    if (atomic_load(&c->cancelled))
        return CANCELLED;
    (void)curl_easy_getinfo(c->easy, CURLINFO_RESPONSE_CODE, &status);
    *ret_status = (unsigned)status;
    if (c->too_long)
        return TOO_LONG;
    if (result != CURLE_OK) {
        if (c->why[0] == '\0')
            (void)snprintf(c->why, sizeof c->why, "%s", curl_easy_strerror(result));
        return result == CURLE_PEER_FAILED_VERIFICATION ? UNTRUSTED : AGAIN;
    }
    if (status != 408 && status != 429 && status < 500)
        return DONE;
    (void)curl_easy_getinfo(c->easy, CURLINFO_RETRY_AFTER, &retry_after_s);
    if (retry_after_s > 0)
        c->asked_ms =
            (int64_t)(retry_after_s < RETRY_AFTER_S_MAX ? retry_after_s : RETRY_AFTER_S_MAX) * 1000;
    (void)snprintf(c->why, sizeof c->why, "it answered %ld", status);
    return AGAIN;
}

/* ---- retries ---- */

/* Full waits in step would let many clients come back at once: half of each is chance. */
static int64_t backoff_ms(struct http_client *c, unsigned attempts)
{
    const unsigned shift = attempts - 1 < 16 ? attempts - 1 : 16;
    int64_t ms = (int64_t)HTTP_CLIENT_BACKOFF_MS << shift;

    if (ms > HTTP_CLIENT_BACKOFF_MS_MAX)
        ms = HTTP_CLIENT_BACKOFF_MS_MAX;
    c->chance = c->chance * 6364136223846793005U + 1442695040888963407U; /* Knuth's MMIX */
    return ms / 2 + (int64_t)((c->chance >> 33) % (uint64_t)(ms / 2 + 1));
}

/* Waits, or less when cancelled. */
static void wait_ms(struct http_client *c, int64_t ms)
{
    const int64_t until = clk_mono_us() + ms * 1000;

    for (int64_t left = ms; left > 0 && !atomic_load(&c->cancelled);
         left = (until - clk_mono_us() + 999) / 1000)
        (void)curl_multi_poll(c->multi, NULL, 0, (int)(left < POLL_MS_MAX ? left : POLL_MS_MAX),
                              NULL);
}

/* false: no memory */
static bool add_header(struct curl_slist **list, const char *name, const char *value)
{
    char line[HTTP_CLIENT_HEADER_BYTES_MAX + 1];
    const int n = snprintf(line, sizeof line, "%s%s", name, value);

    if (n < 0 || (size_t)n >= sizeof line)
        return false;
    struct curl_slist *longer = curl_slist_append(*list, line);
    if (longer == NULL)
        return false;
    *list = longer;
    return true;
}

/* The handle for this request; *ret_list is the caller's, also on failure. */
static bool prepare(struct http_client *c, const struct http_request *r, struct curl_slist **list)
{
    char url[HTTP_CLIENT_URL_BYTES_MAX];
    const int n = snprintf(url, sizeof url, "%s%s", c->base_url, r->path);
    CURL *e = c->easy;
    /* without a hundred-continue dance, which costs a second where the server knows none */
    bool ok = n > 0 && (size_t)n < sizeof url && add_header(list, "Expect:", "");

    if (r->content_type != NULL)
        ok = ok && add_header(list, "Content-Type: ", r->content_type);
    if (r->accept != NULL)
        ok = ok && add_header(list, "Accept: ", r->accept);
    assert(r->headers_n <= HTTP_CLIENT_HEADERS_MAX);
    for (unsigned i = 0; i < r->headers_n; i++)
        ok = ok && add_header(list, r->headers[i], "");
    if (!ok || curl_easy_setopt(e, CURLOPT_URL, url) != CURLE_OK ||
        curl_easy_setopt(e, CURLOPT_HTTPHEADER, *list) != CURLE_OK)
        return false;
    if (r->method == HTTP_GET) {
        ok = curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, NULL) == CURLE_OK;
        return ok && curl_easy_setopt(e, CURLOPT_HTTPGET, 1L) == CURLE_OK;
    }
    ok = curl_easy_setopt(e, CURLOPT_POST, 1L) == CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_CUSTOMREQUEST, r->method == HTTP_PUT ? "PUT" : NULL) ==
                   CURLE_OK;
    ok = ok && curl_easy_setopt(e, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)r->body_n) == CURLE_OK;
    return ok && curl_easy_setopt(e, CURLOPT_POSTFIELDS, r->body_n > 0 ? r->body : "") == CURLE_OK;
}

static enum err_class say(const struct http_client *c, const struct http_request *r,
                          enum outcome outcome, unsigned attempts, struct err *err)
{
    switch (outcome) {
    case TOO_LONG:
        return err_set(err, ERR_REJECT, "%.80s%.60s: an answer of more than %zu bytes", c->base_url,
                       r->path, c->answer_bytes_max);
    case UNTRUSTED:
        return err_set(err, ERR_REJECT, "%.80s: %.90s: check the CA file and the server's name",
                       c->base_url, c->why);
    case CANCELLED:
        return err_set(err, ERR_RETRY, "%.80s: given up: the process ends", c->base_url);
    case DONE:
    case AGAIN:
        break;
    }
    return err_set(err, ERR_RETRY, "%.80s%.60s: %.60s (%u attempts)", c->base_url, r->path, c->why,
                   attempts);
}

static enum err_class attempts(struct http_client *c, const struct http_request *r,
                               struct http_answer *ret_answer, struct err *err)
{
    const int64_t until = clk_mono_us() + (int64_t)c->deadline_ms * 1000;
    const unsigned most = r->attempts_max != 0 ? r->attempts_max : HTTP_CLIENT_ATTEMPTS_MAX;

    for (unsigned n = 1;; n++) {
        unsigned status = 0;
        const int64_t left_ms = (until - clk_mono_us()) / 1000;
        const enum outcome outcome = attempt(c, left_ms > 0 ? left_ms : 1, &status);
        if (outcome == TOO_LONG)
            *ret_answer = (struct http_answer){.status = status};
        if (outcome == DONE) {
            *ret_answer = (struct http_answer){status, c->body, c->n, n};
            return ERR_OK;
        }
        const int64_t own_ms = backoff_ms(c, n);
        const int64_t pause_ms = c->asked_ms > own_ms ? c->asked_ms : own_ms;
        /* a wait that ends after the deadline is not begun */
        if (outcome != AGAIN || n >= most || clk_mono_us() + pause_ms * 1000 >= until)
            return say(c, r, outcome, n, err);
        wait_ms(c, pause_ms);
    }
}

enum err_class http_client_do(struct http_client *c, const struct http_request *r,
                              struct http_answer *ret_answer, struct err *err)
{
    struct curl_slist *list = NULL;
    enum err_class e;

    if (prepare(c, r, &list))
        e = attempts(c, r, ret_answer, err);
    else
        e = err_set(err, ERR_REJECT, "%.80s%.60s: out of memory, or a header or path is too long",
                    c->base_url, r->path);
    (void)curl_easy_setopt(c->easy, CURLOPT_HTTPHEADER, NULL);
    (void)curl_easy_setopt(c->easy, CURLOPT_POSTFIELDS, NULL);
    curl_slist_free_all(list);
    return e;
}

int64_t http_client_asked_wait_ms(const struct http_client *c)
{
    return c->asked_ms;
}

enum err_class http_client_set_bearer(struct http_client *c, const char *token, struct err *err)
{
    const bool has = given(token);

    if (curl_easy_setopt(c->easy, CURLOPT_HTTPAUTH, has ? CURLAUTH_BEARER : CURLAUTH_NONE) !=
            CURLE_OK ||
        curl_easy_setopt(c->easy, CURLOPT_XOAUTH2_BEARER, has ? token : NULL) != CURLE_OK)
        return err_set(err, ERR_FATAL, "%.100s: out of memory", c->base_url);
    return ERR_OK;
}

bool http_is_loopback(const char *url)
{
    static const char *const hosts[] = {"//127.0.0.1", "//localhost", "//[::1]"};
    const char *at = strstr(url, "//");

    for (size_t i = 0; at != NULL && i < sizeof hosts / sizeof hosts[0]; i++) {
        const size_t n = strlen(hosts[i]);
        if (strncmp(at, hosts[i], n) == 0 && (at[n] == '\0' || strchr(":/", at[n]) != NULL))
            return true;
    }
    return false;
}

bool http_escape(const char *segment, char *buf, size_t cap)
{
    static const char plain[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~";
    size_t n = 0;

    for (; *segment != '\0'; segment++) {
        const bool as_is = strchr(plain, *segment) != NULL;
        const size_t more = as_is ? 1 : 3;
        if (cap <= n + more)
            return false;
        if (as_is)
            buf[n] = *segment;
        else
            (void)snprintf(buf + n, 4, "%%%02X", (unsigned)(unsigned char)*segment);
        n += more;
    }
    if (n >= cap)
        return false;
    buf[n] = '\0';
    return true;
}
