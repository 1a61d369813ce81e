#include "http/http.h"

#include "clk/clk.h"

#include <arpa/inet.h>
#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define ADDRESS_BYTES_MAX 64
#define BACKLOG 512
#define WAKE_MS_MAX 1000 /* with nobody connected */
#define LOOK_MS_MAX 200  /* how late an overdue connection may be seen */
#define ERRNO_BYTES 64

struct slot {
    int fd;
    int64_t opened_us; /* monotonic; 0: free */
    bool has_asked;    /* its headers are there */
    bool is_cut;       /* MHD closes it in its next turn */
};

struct http_server {
    const struct http_route *routes;
    struct MHD_Daemon *daemon;
    pthread_t thread;
    int stop_fd; /* an eventfd: readable when the thread shall end */
    uint16_t port;
    struct slot slots[HTTP_CONNECTIONS_MAX]; /* the thread's own */
};

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
};

static bool parse_port(const char *text, uint16_t *ret_port)
{
    unsigned port = 0, digits = 0;

    for (; text[digits] >= '0' && text[digits] <= '9' && digits < 6; digits++)
        port = port * 10 + (unsigned)(text[digits] - '0');
    if (digits == 0 || text[digits] != '\0' || port > UINT16_MAX)
        return false;
    *ret_port = (uint16_t)port;
    return true;
}

static bool parse_address(const char *text, union address *ret_address, socklen_t *ret_size)
{
    char host[ADDRESS_BYTES_MAX];
    union address address = {0};
    const char *colon = strrchr(text, ':');
    uint16_t port;

    if (colon == NULL || (size_t)(colon - text) >= sizeof host || !parse_port(colon + 1, &port))
        return false;
    const size_t n = (size_t)(colon - text);

    memcpy(host, text, n);
    host[n] = '\0';
    if (n > 2 && host[0] == '[' && host[n - 1] == ']') {
        host[n - 1] = '\0';
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        if (inet_pton(AF_INET6, host + 1, &address.v6.sin6_addr) != 1)
            return false;
        *ret_size = sizeof address.v6;
    } else {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        if (inet_pton(AF_INET, host, &address.v4.sin_addr) != 1)
            return false;
        *ret_size = sizeof address.v4;
    }
    *ret_address = address;
    return true;
}

static enum err_class take_address(const char *address, union address *ret_address,
                                   socklen_t *ret_size, struct err *err)
{
    if (!parse_address(address, ret_address, ret_size))
        return err_set(
            err, ERR_REJECT,
            "listen = '%.64s': is not an address: give one as 127.0.0.1:9101 or [::1]:9101",
            address);
    return ERR_OK;
}

enum err_class http_address_check(const char *address, struct err *err)
{
    union address parsed;
    socklen_t size;

    return take_address(address, &parsed, &size, err);
}

static enum err_class socket_failed(const char *address, struct err *err)
{
    char text[ERRNO_BYTES];
    const int why = errno;
    const char *what = strerror_r(why, text, sizeof text);

    if (why == EADDRINUSE)
        return err_set(err, ERR_RETRY,
                       "listen = '%s': %s: end what listens there, or give another port", address,
                       what);
    if (why == EADDRNOTAVAIL || why == EACCES || why == EAFNOSUPPORT)
        return err_set(err, ERR_REJECT,
                       "listen = '%s': %s: give an address of this machine, port > 1023", address,
                       what);
    return err_set(err, ERR_FATAL, "listen = '%s': %s: see the limits of the process", address,
                   what);
}

/* A socket that listens on `address`; the caller closes it. */
static enum err_class open_socket(const char *address, int *ret_fd, uint16_t *ret_port,
                                  struct err *err)
{
    union address bound = {0};
    socklen_t size = 0;
    const int yes = 1;
    const enum err_class e = take_address(address, &bound, &size, err);

    if (e != ERR_OK)
        return e;
    const int fd = socket(bound.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return socket_failed(address, err);
    /* REUSEADDR: a restart need not wait for the old connections' TIME_WAIT */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof yes) != 0 ||
        bind(fd, &bound.any, size) != 0 || listen(fd, BACKLOG) != 0 ||
        getsockname(fd, &bound.any, &size) != 0) {
        const enum err_class failed = socket_failed(address, err);

        (void)close(fd);
        return failed;
    }
    *ret_port = ntohs(bound.any.sa_family == AF_INET6 ? bound.v6.sin6_port : bound.v4.sin_port);
    *ret_fd = fd;
    return ERR_OK;
}

static const struct http_route *find_route(const struct http_server *server, const char *path)
{
    for (const struct http_route *route = server->routes; route->path != NULL; route++)
        if (strcmp(route->path, path) == 0)
            return route;
    return NULL;
}

/* Takes `body` (malloc'd, or NULL for none). */
static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, const char *type,
                              char *body, size_t n)
{
    struct MHD_Response *response = MHD_create_response_from_buffer(n, body, MHD_RESPMEM_MUST_FREE);

    if (response == NULL) {
        free(body);
        return MHD_NO; /* out of memory: the connection is closed */
    }
    /* One request a connection: what is open for longer than its bound is slow, never merely idle.
     */
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONNECTION, "close");
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, type);
    (void)MHD_add_response_header(response, MHD_HTTP_HEADER_CACHE_CONTROL, "no-store");
    (void)MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        (void)MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    const enum MHD_Result result = MHD_queue_response(connection, status, response);

    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    char *body = strdup(text);

    return answer(connection, status, "text/plain; charset=utf-8", body,
                  body != NULL ? strlen(body) : 0);
}

static enum MHD_Result answer_route(struct MHD_Connection *connection,
                                    const struct http_route *route)
{
    char *body = NULL;
    size_t n = 0;
    FILE *out = open_memstream(&body, &n);

    if (out == NULL)
        return MHD_NO;
    const unsigned status = route->get(route->user, out);
    const bool failed = ferror(out) != 0;

    assert(status >= 200 && status <= 599);
    if (fclose(out) != 0 || failed || n > HTTP_BODY_BYTES_MAX) {
        free(body);
        return answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the answer is too long\n");
    }
    return answer(connection, status, route->content_type, body, n);
}

static void note_asked(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    struct slot *slot = info != NULL ? info->socket_context : NULL;

    if (slot != NULL)
        slot->has_asked = true;
}

/* MHD calls it once when the headers are there, for a body's pieces, and once when all is read. */
static enum MHD_Result handle(void *user, struct MHD_Connection *connection, const char *path,
                              const char *method, const char *version, const char *upload,
                              size_t *upload_n, void **request)
{
    static const int headers_seen;
    const struct http_server *server = user;

    (void)version;
    (void)upload;
    note_asked(connection);
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "only GET and HEAD\n");
    if (*request == NULL) {
        *request = (void *)(uintptr_t)&headers_seen;
        return MHD_YES;
    }
    if (*upload_n > 0) {
        *upload_n = 0; /* a body nobody asked for is dropped as it comes */
        return MHD_YES;
    }
    const struct http_route *route = find_route(server, path);

    return route != NULL ? answer_route(connection, route)
                         : answer_text(connection, MHD_HTTP_NOT_FOUND, "no such page\n");
}

static void note_connection(void *user, struct MHD_Connection *connection, void **context,
                            enum MHD_ConnectionNotificationCode code)
{
    struct http_server *server = user;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);

    if (code == MHD_CONNECTION_NOTIFY_CLOSED) {
        struct slot *slot = *context;

        if (slot != NULL)
            slot->opened_us = 0;
        return;
    }
    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX && info != NULL; i++) {
        if (server->slots[i].opened_us == 0) {
            server->slots[i] = (struct slot){.fd = info->connect_fd, .opened_us = clk_mono_us()};
            *context = &server->slots[i];
            return;
        }
    }
    *context = NULL; /* MHD's own limit makes this unreachable; its idle time-out is left then */
}

/* A shut-down socket is closed by MHD in its next turn. */
static void cut(struct slot *slot)
{
    slot->is_cut = true;
    (void)shutdown(slot->fd, SHUT_RDWR);
}

/* With nothing left to read. MHD, which hears of each event once, misses the end of a stream that
 * came with the last of its bytes. */
static bool has_hung_up(const struct slot *slot)
{
    struct pollfd p = {slot->fd, POLLRDHUP, 0};
    int unread = 0;

    return poll(&p, 1, 0) == 1 && ioctl(slot->fd, FIONREAD, &unread) == 0 && unread == 0;
}

/* Who has asked may have shut its half of the connection, and still read. */
static bool is_overdue(const struct slot *slot, int64_t now_us)
{
    const int64_t age_us = now_us - slot->opened_us;

    return age_us > HTTP_CONNECTION_S_MAX * CLK_US_PER_S ||
           (!slot->has_asked && (age_us > HTTP_REQUEST_S_MAX * CLK_US_PER_S || has_hung_up(slot)));
}

/* Leaves `kept` of those that have (not) asked: the oldest go. */
static void cut_oldest(struct http_server *server, bool has_asked, unsigned kept)
{
    for (;;) {
        struct slot *oldest = NULL;
        unsigned n = 0;

        for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
            struct slot *slot = &server->slots[i];

            if (slot->opened_us == 0 || slot->is_cut || slot->has_asked != has_asked)
                continue;
            n++;
            if (oldest == NULL || slot->opened_us < oldest->opened_us)
                oldest = slot;
        }
        if (n <= kept)
            return;
        cut(oldest);
    }
}

/*
 * MHD's time-out starts anew with each byte, and at its limit it accepts nobody: clients who send a
 * byte now and then would keep everybody else out. True: somebody is connected.
 */
static bool make_room(struct http_server *server)
{
    const int64_t now_us = clk_mono_us();
    bool is_used = false;

    for (unsigned i = 0; i < HTTP_CONNECTIONS_MAX; i++) {
        struct slot *slot = &server->slots[i];

        is_used |= slot->opened_us != 0;
        if (slot->opened_us != 0 && !slot->is_cut && is_overdue(slot, now_us))
            cut(slot);
    }
    cut_oldest(server, true, HTTP_ANSWERS_MAX);
    cut_oldest(server, false, HTTP_CONNECTIONS_KEPT - HTTP_ANSWERS_MAX);
    return is_used;
}

static int wait_ms(struct MHD_Daemon *daemon, bool is_used)
{
    const int ms_max = is_used ? LOOK_MS_MAX : WAKE_MS_MAX;
    MHD_UNSIGNED_LONG_LONG ms;

    if (MHD_get_timeout(daemon, &ms) == MHD_YES && ms < (unsigned)ms_max)
        return (int)ms;
    return ms_max;
}

static void *serve(void *user)
{
    struct http_server *server = user;
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(server->daemon, MHD_DAEMON_INFO_EPOLL_FD);
    struct pollfd fds[] = {{info->epoll_fd, POLLIN, 0}, {server->stop_fd, POLLIN, 0}};
    bool is_used = false;

    for (;;) {
        (void)poll(fds, 2, wait_ms(server->daemon, is_used));
        if (fds[1].revents != 0)
            return NULL;
        (void)MHD_run(server->daemon);
        is_used = make_room(server);
    }
}

/* Signals belong to the main thread, which is the one that may be waiting for them. */
static bool start_thread(struct http_server *server)
{
    sigset_t all, before;

    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    const int rc = pthread_create(&server->thread, NULL, serve, server);

    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (rc == 0)
        (void)pthread_setname_np(server->thread, "http");
    return rc == 0;
}

enum err_class http_server_new(const char *address, const struct http_route *routes,
                               struct http_server **ret_server, struct err *err)
{
    struct http_server *server = calloc(1, sizeof *server);
    int fd = -1;
    enum err_class e;

    if (server == NULL)
        return err_set(err, ERR_FATAL, "http: out of memory: give the process more");
    server->routes = routes;
    server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    e = server->stop_fd < 0 ? socket_failed(address, err)
                            : open_socket(address, &fd, &server->port, err);
    if (e != ERR_OK)
        goto failed;
    server->daemon =
        MHD_start_daemon(MHD_USE_EPOLL, 0, NULL, NULL, handle, server, MHD_OPTION_LISTEN_SOCKET, fd,
                         MHD_OPTION_CONNECTION_LIMIT, (unsigned)HTTP_CONNECTIONS_MAX,
                         MHD_OPTION_CONNECTION_TIMEOUT, (unsigned)HTTP_CONNECTION_S_MAX,
                         MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)HTTP_REQUEST_BYTES_MAX,
                         MHD_OPTION_NOTIFY_CONNECTION, note_connection, server, MHD_OPTION_END);
    if (server->daemon == NULL) {
        /* MHD may have closed the socket already: left to the end of the process. */
        e = err_set(err, ERR_FATAL,
                    "listen = '%s': the HTTP server did not start: see the limits of "
                    "the process (open files)",
                    address);
        goto failed;
    }
    if (!start_thread(server)) {
        MHD_stop_daemon(server->daemon);
        e = err_set(err, ERR_FATAL, "http: no thread: see the limits of the process (threads)");
        goto failed;
    }
    *ret_server = server;
    return ERR_OK;

failed:
    if (server->stop_fd >= 0)
        (void)close(server->stop_fd);
    free(server);
    return e;
}

uint16_t http_server_port(const struct http_server *server)
{
    return server->port;
}

void http_server_free(struct http_server *server)
{
    const uint64_t one = 1;

    if (server == NULL)
        return;
    const ssize_t n = write(server->stop_fd, &one, sizeof one);

    assert(n == (ssize_t)sizeof one);
    (void)pthread_join(server->thread, NULL);
    MHD_stop_daemon(server->daemon); /* closes the listening socket too */
    (void)close(server->stop_fd);
    free(server);
}
