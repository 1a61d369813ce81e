/* http.h: the only microhttpd.h: the server that probes and metrics need. Its client: client.h. */
#ifndef HTTP_H
#define HTTP_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct http_server;

#define HTTP_CONNECTIONS_MAX 128
#define HTTP_CONNECTIONS_KEPT 96 /* past these, the oldest that has not asked yet is cut */
#define HTTP_ANSWERS_MAX 16      /* past these, the oldest that is still read is cut */
#define HTTP_REQUEST_BYTES_MAX 8192 /* request line and headers */
#define HTTP_BODY_BYTES_MAX 4194304
#define HTTP_REQUEST_S_MAX 2 /* from accept to the headers' end, however busy the client looks */
#define HTTP_CONNECTION_S_MAX 10 /* from accept to close */

/*
 * A GET route: writes its body to `out` and returns the status (200 to 599). Runs on the server's
 * own thread, which serves all clients: reads atomics only, never waits. HEAD works too.
 */
struct http_route {
    const char *path;
    const char *content_type;
    unsigned (*get)(void *user, FILE *out);
    void *user;
};

/* ERR_REJECT unless `address` is "1.2.3.4:port" or "[v6]:port"; names are not looked up. */
enum err_class http_address_check(const char *address, struct err *err) MUST_CHECK;

/*
 * Listens on `address` ("127.0.0.1:9101", "[::1]:0"; port 0 picks one). `routes` ends with path
 * NULL and is borrowed. One thread, no blocking: a slow client delays nobody, nor do a thousand:
 * there is always room for a new connection, and who takes it longest loses it. Bounded as above;
 * one request a connection; a longer body than HTTP_BODY_BYTES_MAX becomes a 500; other paths 404,
 * other methods than GET and HEAD 405.
 * ERR_REJECT: the address cannot be used; ERR_RETRY: it is in use; ERR_FATAL: out of resources.
 */
enum err_class http_server_new(const char *address, const struct http_route *routes,
                               struct http_server **ret_server, struct err *err) MUST_CHECK;
uint16_t http_server_port(const struct http_server *server);
/* Stops listening, cuts the open connections and waits for the thread; NULL-safe. */
void http_server_free(struct http_server *server);

#endif
