/*
 * client.h: the only curl.h. Blocking HTTP requests with a deadline, for worker threads; never for
 * a loop that must not wait.
 *
 * One client is one server: its address, its credentials, its TLS. It keeps its connection. Used by
 * one thread at a time; only http_client_cancel may come from another. Redirects are not followed
 * (credentials go nowhere but to the server that was configured), proxies of the environment are
 * not looked at.
 */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "base/err.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct http_client;

#define HTTP_CLIENT_URL_BYTES_MAX 2048
#define HTTP_CLIENT_HEADERS_MAX 16
#define HTTP_CLIENT_HEADER_BYTES_MAX 1023
#define HTTP_CLIENT_ATTEMPTS_MAX 64     /* of one request, whatever its deadline */
#define HTTP_CLIENT_BACKOFF_MS 100 /* before the second attempt; doubles, half of it by chance */
#define HTTP_CLIENT_BACKOFF_MS_MAX 5000 /* Retry-After may ask for more, up to the deadline */

/* Strings are copied; NULL and "" both mean: none. */
struct http_client_options {
    const char *base_url; /* "https://host:port/path", without a slash at the end */
    const char *user, *password; /* basic authentication */
    const char *bearer; /* or a token */
    const char *ca_file; /* PEM; none: the system's certificates */
    const char *cert_file, *key_file, *key_password; /* the client's own certificate */
    const char *user_agent; /* none: "l2flow" */
    unsigned deadline_ms; /* of a request with all its retries; 0: 10,000 */
    unsigned attempt_ms; /* of one attempt; 0: the deadline */
    size_t answer_bytes_max; /* 0: 1 MiB */
};

enum http_method { HTTP_GET, HTTP_POST, HTTP_PUT };

struct http_request {
    enum http_method method;
    const char *path; /* goes behind base_url; "" or "/…", escaped already */
    const char *content_type, *accept; /* NULL: none, any */
    const char *const *headers; /* "Name: value" */
    unsigned headers_n;
    const void *body;
    size_t body_n;
    unsigned attempts_max; /* 0: as many as the deadline allows; 1: no retry */
};

struct http_answer {
    unsigned status;
    const char *body; /* ends with a zero that is not counted; valid until the next request */
    size_t n;
    unsigned attempts;
};

/* What http_client_new looks at, alone. ERR_REJECT: the address or a file is at fault (a file that
 * is missing or unreadable is named). */
enum err_class http_client_check(const struct http_client_options *options,
                                 struct err *err) MUST_CHECK;
enum err_class http_client_new(const struct http_client_options *options,
                               struct http_client **ret_client, struct err *err) MUST_CHECK;

/*
 * OK: an answer came, of any status but those below (4xx are the caller's to judge).
 * Tried again until the deadline: no connection or a broken one, 408, 429 (after its Retry-After in
 * seconds), 5xx. A request may so arrive twice: send only what may.
 * ERR_RETRY: still so at the deadline (the text has the last reason), or cancelled.
 * ERR_REJECT: an answer longer than answer_bytes_max (ret_answer has its status), a server whose
 * certificate is not trusted. *ret_answer stays as it was but for these.
 */
enum err_class http_client_do(struct http_client *client, const struct http_request *request,
                              struct http_answer *ret_answer, struct err *err) MUST_CHECK;
/* How long the server asked to wait (Retry-After) in the last attempt of the last request; 0: it
 * did not. For callers that repeat a request themselves. */
int64_t http_client_asked_wait_ms(const struct http_client *client);
/* Another token from the next request on, as logins give them; "" or NULL: none. ERR_FATAL: no
 * memory. */
enum err_class http_client_set_bearer(struct http_client *client, const char *token,
                                      struct err *err) MUST_CHECK;

/* From any thread: the request under way and every later one end at once with ERR_RETRY. */
void http_client_cancel(struct http_client *client);
void http_client_free(struct http_client *client); /* NULL-safe */

/* What this address is asked never leaves the machine. */
bool http_is_loopback(const char *url);
/* One segment of a path, percent-escaped; false when it does not fit. */
bool http_escape(const char *segment, char *buf, size_t cap);

#endif
