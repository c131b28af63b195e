/*
 * sidecar/admin/http.c: see sidecar/admin/http.h.
 *
 *     listening socket --accept--> main    (up to options.connections)
 *                             \--> reserve (HTTP_RESERVE; oldest out first)
 *
 * Each daemon's epoll descriptor is watched by a uv_poll; after every MHD_run() a timer is armed
 * from MHD_get_timeout(), else idle connections would never be timed out. libmicrohttpd's own
 * connection limit acts before a path is known, hence the accepting by hand. Its timeout begins
 * anew with every byte, hence the sweep: a header byte a second would hold a connection for ever.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/http.h"

#include "sidecar/base/listen_socket.h"

#include <assert.h>
#include <errno.h>
#include <microhttpd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ACCEPTS_PER_TURN   16
#define ACCEPT_PAUSE_MS    100 /* out of descriptors: try again later instead of spinning */
#define CONNECTION_MEMORY  32768
#define STATUS_OF_NO_REPLY 500
#define SWEEP_MS           500

struct http_slot {
    int fd;
    uint64_t since_ms; /* of the connection's start, or of its last answer's end */
};

struct http_daemon {
    struct http_server *server;
    struct MHD_Daemon *mhd;
    uv_poll_t poll;
    uv_timer_t timer;
    bool reserve;
    unsigned open;
    struct http_slot slots[HTTP_CONNECTIONS_MAX]; /* [open], in the order of arrival */
};

struct http_server {
    struct http_options options;
    uv_poll_t accept;
    uv_timer_t pause;
    uv_timer_t sweep;
    struct http_daemon main, reserve;
    unsigned handles; /* not yet closed */
    void (*closed)(void *owner);
    void *closed_owner;
};

/* What is kept of a request while its body arrives. */
struct exchange {
    char *body;
    size_t len;
    bool too_large;
};

/* ---- one request ----------------------------------------------------------------------------- */

const char *http_query(const struct http_request *request, const char *key, size_t *ret_len)
{
    const char *value = NULL;
    size_t len = 0;
    /* libmicrohttpd declares its reading functions without const. */
    union {
        const void *in;
        struct MHD_Connection *out;
    } connection = {.in = request->connection};
    if (MHD_lookup_connection_value_n(connection.out, MHD_GET_ARGUMENT_KIND, key, strlen(key),
                                      &value, &len) != MHD_YES) {
        return NULL;
    }
    if (ret_len) {
        *ret_len = value ? len : 0;
    }
    return value ? value : "";
}

static enum http_method method_of(const char *method)
{
    static const char *const names[] = {"GET", "HEAD", "POST"};
    for (int i = 0; i < 3; i++) {
        if (strcmp(method, names[i]) == 0) {
            return (enum http_method)i;
        }
    }
    return HTTP_METHOD_OTHER;
}

static enum MHD_Result send_reply(struct MHD_Connection *connection, struct http_reply *reply,
                                  bool close)
{
    if (reply->status == 0) {
        reply->status = STATUS_OF_NO_REPLY;
    }
    struct MHD_Response *response = MHD_create_response_from_buffer(
        reply->body ? reply->body_len : 0, reply->body, MHD_RESPMEM_MUST_FREE);
    if (!response) {
        free(reply->body);
        return MHD_NO;
    }
    enum MHD_Result ok = MHD_add_response_header(response, "Cache-Control", "no-store");
    if (reply->content_type) {
        ok &= MHD_add_response_header(response, "Content-Type", reply->content_type);
        ok &= MHD_add_response_header(response, "X-Content-Type-Options", "nosniff");
    }
    if (reply->allow) {
        ok &= MHD_add_response_header(response, "Allow", reply->allow);
    }
    if (close) {
        ok &= MHD_add_response_header(response, "Connection", "close");
    }
    if (ok == MHD_YES) {
        ok = MHD_queue_response(connection, reply->status, response);
    }
    MHD_destroy_response(response);
    return ok;
}

static enum MHD_Result refuse_body(struct MHD_Connection *connection)
{
    static const char text[] =
        "{\"error\":{\"code\":\"too_large\",\"message\":\"the request's body is over 64 KiB\","
        "\"hint\":\"\"}}\n";
    struct http_reply reply = {
        .status = 413, .content_type = "application/json", .body = strdup(text)};
    reply.body_len = reply.body ? sizeof text - 1 : 0;
    return send_reply(connection, &reply, true);
}

/* First call of a request: its headers are known. */
static enum MHD_Result exchange_begin(struct MHD_Connection *connection, void **ret)
{
    const char *length =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_CONTENT_LENGTH);
    if (length && strtoull(length, NULL, 10) > HTTP_BODY_MAX_BYTES) {
        return refuse_body(connection);
    }
    *ret = calloc(1, sizeof(struct exchange));
    return *ret ? MHD_YES : MHD_NO;
}

/* Takes a piece of the body in; false when out of memory. */
static bool exchange_add(struct exchange *exchange, const char *data, size_t len)
{
    if (exchange->too_large || exchange->len + len > HTTP_BODY_MAX_BYTES) {
        exchange->too_large = true;
        return true;
    }
    char *body = realloc(exchange->body, exchange->len + len + 1);
    if (!body) {
        return false;
    }
    memcpy(body + exchange->len, data, len);
    exchange->body = body;
    exchange->len += len;
    body[exchange->len] = '\0';
    return true;
}

static enum MHD_Result on_request(void *arg, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_len, void **state)
{
    struct http_daemon *daemon = arg;
    const struct http_options *options = &daemon->server->options;
    if (!*state) {
        return exchange_begin(connection, state);
    }
    struct exchange *exchange = *state;
    if (*data_len > 0) {
        size_t len = *data_len;
        *data_len = 0;
        return exchange_add(exchange, data, len) ? MHD_YES : MHD_NO;
    }
    if (exchange->too_large) {
        return refuse_body(connection);
    }
    struct http_request request = {
        .method = method_of(method),
        .path = url,
        .host = MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_HOST),
        .reserve = daemon->reserve,
        .body = exchange->body ? exchange->body : "",
        .body_len = exchange->len,
        .connection = connection,
    };
    struct http_reply reply = {0};
    options->handler(options->owner, &request, &reply);
    return send_reply(connection, &reply, daemon->reserve);
}

/* ---- connections ----------------------------------------------------------------------------- */

static int connection_fd(struct MHD_Connection *connection)
{
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info ? info->connect_fd : -1;
}

/* NULL: not among them, which libmicrohttpd's connection limit rules out. */
static struct http_slot *slot_of(struct http_daemon *daemon, struct MHD_Connection *connection)
{
    int fd = connection_fd(connection);
    for (unsigned i = 0; i < daemon->open; i++) {
        if (daemon->slots[i].fd == fd) {
            return &daemon->slots[i];
        }
    }
    return NULL;
}

static void slot_add(struct http_daemon *daemon, struct MHD_Connection *connection)
{
    if (daemon->open < HTTP_CONNECTIONS_MAX) {
        daemon->slots[daemon->open++] = (struct http_slot){
            .fd = connection_fd(connection), .since_ms = uv_now(daemon->server->options.loop)};
    }
}

static void slot_remove(struct http_daemon *daemon, struct http_slot *slot)
{
    daemon->open--;
    memmove(slot, slot + 1, (size_t)(&daemon->slots[daemon->open] - slot) * sizeof *slot);
}

/* A descriptor is in its slot for as long as it is open: it is closed behind this. */
static void on_connection(void *arg, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code)
{
    struct http_daemon *daemon = arg;
    struct http_slot *slot = slot_of(daemon, connection);
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        slot_add(daemon, connection);
    } else if (slot) {
        slot_remove(daemon, slot);
    }
}

static void on_completed(void *arg, struct MHD_Connection *connection, void **state,
                         enum MHD_RequestTerminationCode code)
{
    struct http_daemon *daemon = arg;
    struct exchange *exchange = *state;
    struct http_slot *slot = slot_of(daemon, connection);
    if (slot) {
        slot->since_ms = uv_now(daemon->server->options.loop);
    }
    if (exchange) {
        free(exchange->body);
        free(exchange);
        *state = NULL;
    }
}

static void on_timeout(uv_timer_t *timer);

static void daemon_run(struct http_daemon *daemon)
{
    MHD_UNSIGNED_LONG_LONG ms = 0;
    (void)MHD_run(daemon->mhd); /* it fails only where epoll does; the timer comes again */
    uv_timer_stop(&daemon->timer);
    if (MHD_get_timeout(daemon->mhd, &ms) == MHD_YES) {
        uv_timer_start(&daemon->timer, on_timeout, ms, 0);
    }
}

static void on_timeout(uv_timer_t *timer)
{
    daemon_run(timer->data);
}

static void on_poll(uv_poll_t *poll, int status, int events)
{
    daemon_run(poll->data);
}

/* Takes the connection over. */
static void daemon_add(struct http_daemon *daemon, int fd, const struct sockaddr *addr,
                       socklen_t addr_len)
{
    (void)MHD_add_connection(daemon->mhd, fd, addr, addr_len); /* closes fd where it fails */
    daemon_run(daemon);
}

static void reserve_add(struct http_daemon *reserve, int fd, const struct sockaddr *addr,
                        socklen_t addr_len)
{
    if (reserve->open >= HTTP_RESERVE) {
        (void)shutdown(reserve->slots[0].fd, SHUT_RDWR); /* fails where the peer was first */
        daemon_run(reserve);
    }
    daemon_add(reserve, fd, addr, addr_len);
}

/* Ends connections whose request takes too long; libmicrohttpd sees it and lets go of them. */
static void daemon_sweep(struct http_daemon *daemon, uint64_t begun_before_ms)
{
    bool any = false;
    for (unsigned i = 0; i < daemon->open; i++) {
        if (daemon->slots[i].since_ms < begun_before_ms) {
            (void)shutdown(daemon->slots[i].fd, SHUT_RDWR); /* fails where the peer was first */
            any = true;
        }
    }
    if (any) {
        daemon_run(daemon);
    }
}

static void on_sweep(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    uint64_t now_ms = uv_now(timer->loop);
    if (now_ms > server->options.request_ms) {
        daemon_sweep(&server->main, now_ms - server->options.request_ms);
        daemon_sweep(&server->reserve, now_ms - server->options.request_ms);
    }
}

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void on_pause_over(uv_timer_t *timer)
{
    struct http_server *server = timer->data;
    (void)uv_poll_start(&server->accept, UV_READABLE, on_acceptable); /* it worked before */
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct http_server *server = poll->data;
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        struct sockaddr_storage addr = {0};
        socklen_t addr_len = sizeof addr;
        int fd = accept4(server->options.fd, (struct sockaddr *)&addr, &addr_len,
                         SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (accept_error_is_of_one(errno)) {
                continue;
            }
            if (errno != EAGAIN) {
                uv_poll_stop(poll);
                uv_timer_start(&server->pause, on_pause_over, ACCEPT_PAUSE_MS, 0);
            }
            return;
        }
        if (server->main.open < server->options.connections) {
            daemon_add(&server->main, fd, (struct sockaddr *)&addr, addr_len);
        } else {
            reserve_add(&server->reserve, fd, (struct sockaddr *)&addr, addr_len);
        }
    }
}

/* ---- life ------------------------------------------------------------------------------------ */

static struct MHD_Daemon *mhd_start(struct http_daemon *daemon, unsigned connections,
                                    unsigned timeout_s)
{
    return MHD_start_daemon(
        MHD_USE_EPOLL | MHD_USE_NO_LISTEN_SOCKET, 0, NULL, NULL, on_request, daemon,
        MHD_OPTION_CONNECTION_LIMIT, connections, MHD_OPTION_CONNECTION_TIMEOUT, timeout_s,
        MHD_OPTION_CONNECTION_MEMORY_LIMIT, (size_t)CONNECTION_MEMORY, MHD_OPTION_NOTIFY_COMPLETED,
        on_completed, daemon, MHD_OPTION_NOTIFY_CONNECTION, on_connection, daemon, MHD_OPTION_END);
}

static int daemon_watch(struct http_daemon *daemon, uv_loop_t *loop)
{
    int epoll_fd = MHD_get_daemon_info(daemon->mhd, MHD_DAEMON_INFO_EPOLL_FD)->epoll_fd;
    int err = uv_poll_init(loop, &daemon->poll, epoll_fd);
    if (err) {
        return err;
    }
    daemon->server->handles++;
    daemon->poll.data = daemon;
    uv_timer_init(loop, &daemon->timer);
    daemon->server->handles++;
    daemon->timer.data = daemon;
    return uv_poll_start(&daemon->poll, UV_READABLE, on_poll);
}

static void on_closed(uv_handle_t *handle)
{
    struct http_server *server = handle->data;
    if (--server->handles > 0) {
        return;
    }
    if (server->closed) {
        server->closed(server->closed_owner);
    }
    free(server);
}

static void close_handle(struct http_server *server, uv_handle_t *handle)
{
    if (handle->type != UV_UNKNOWN_HANDLE) { /* initialised */
        handle->data = server;
        uv_close(handle, on_closed);
    }
}

/* The handles first: libuv must let go of a descriptor before it is closed. */
static void server_stop(struct http_server *server)
{
    struct http_daemon *const daemons[] = {&server->main, &server->reserve};
    close_handle(server, (uv_handle_t *)&server->accept);
    close_handle(server, (uv_handle_t *)&server->pause);
    close_handle(server, (uv_handle_t *)&server->sweep);
    for (int i = 0; i < 2; i++) {
        close_handle(server, (uv_handle_t *)&daemons[i]->poll);
        close_handle(server, (uv_handle_t *)&daemons[i]->timer);
        if (daemons[i]->mhd) {
            MHD_stop_daemon(daemons[i]->mhd);
            daemons[i]->mhd = NULL;
        }
    }
    if (server->handles == 0) {
        free(server);
    }
}

static bool server_watch(struct http_server *server)
{
    uv_loop_t *loop = server->options.loop;
    if (daemon_watch(&server->main, loop) || daemon_watch(&server->reserve, loop) ||
        uv_poll_init(loop, &server->accept, server->options.fd)) {
        return false;
    }
    server->handles++;
    server->accept.data = server;
    uv_timer_init(loop, &server->pause);
    server->handles++;
    server->pause.data = server;
    uv_timer_init(loop, &server->sweep);
    server->handles++;
    server->sweep.data = server;
    return uv_timer_start(&server->sweep, on_sweep, SWEEP_MS, SWEEP_MS) == 0 &&
           uv_poll_start(&server->accept, UV_READABLE, on_acceptable) == 0;
}

struct http_server *http_server_new(const struct http_options *options)
{
    struct http_server *server = calloc(1, sizeof *server);
    if (!server) {
        return NULL;
    }
    assert(options->connections <= HTTP_CONNECTIONS_MAX);
    server->options = *options;
    server->main.server = server->reserve.server = server;
    server->reserve.reserve = true;
    server->main.mhd = mhd_start(&server->main, options->connections, options->timeout_s);
    server->reserve.mhd = mhd_start(&server->reserve, HTTP_RESERVE, HTTP_RESERVE_TIMEOUT_S);
    if (!server->main.mhd || !server->reserve.mhd || !server_watch(server)) {
        server_stop(server);
        return NULL;
    }
    return server;
}

void http_server_close(struct http_server *server, void (*closed)(void *owner), void *owner)
{
    server->closed = closed;
    server->closed_owner = owner;
    int fd = server->options.fd;
    server_stop(server);
    close(fd);
}
