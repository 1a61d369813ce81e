/* http.h: the only microhttpd.h (and, later, curl.h). The server half that probes and metrics need. */
#ifndef HTTP_H
#define HTTP_H

#include "base/err.h"

#include <stdint.h>
#include <stdio.h>

struct http_server;

/* A GET route: writes its body to `out` and returns the status. Runs on the server's own thread: reads atomics only. */
struct http_route {
    const char *path;
    const char *content_type;
    unsigned (*get)(void *user, FILE *out);
    void *user;
};

/*
 * Listens on `address` ("127.0.0.1:9101", "[::1]:0"; port 0 picks one). `routes` ends with path NULL and is borrowed.
 * Bounded: 16 connections, 10 s time-out, 8 KiB of request; other paths 404, other methods 405.
 */
enum err_class http_server_new(const char *address, const struct http_route *routes, struct http_server **ret_server, struct err *err) MUST_CHECK;
uint16_t http_server_port(const struct http_server *server);
void http_server_free(struct http_server *server);

#endif
