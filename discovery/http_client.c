/*
 * discovery/http_client.c: curl_multi_socket_action on a libuv loop.
 *
 * Traps that cost others days, each with its answer here:
 *  - No easy handle is added, removed or freed while libcurl is on the stack (in_curl): calls wait
 *    in the list as NEW or CANCELED and settle() sees to them afterwards.
 *  - A resolver thread is never joined (QUICK_EXIT): with dead DNS that froze the loop for 9 s.
 *  - An address that is cached for a minute is a dead one for a minute: nothing is cached.
 *  - The environment's http_proxy must not hijack the sidecar (NOPROXY "*").
 *  - Sockets are found by descriptor, not by what curl_multi_assign remembers, and closed through
 *    us, so that a poll handle never outlives its descriptor.
 *  - curl_multi_cleanup still calls back: the loop lives on until every handle has closed.
 *  - LOW_SPEED limits kill idle watches: deadlines are the caller's.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/http_client.h"

#include <assert.h>
#include <curl/curl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <unistd.h>

#include "discovery/base/memory.h"

#define CONNECT_TIMEOUT_MS 2000
#define KEEPALIVE_IDLE_S   4
#define KEEPALIVE_PERIOD_S 2
#define USER_TIMEOUT_MS    8000 /* a host that is gone: found within this, whatever is unsent */
#define CONNECTION_AGE_S   30   /* an idle connection older than this is not used again */
#define CONNECTIONS_KEPT   4L

#define SOCKET_MAGIC 0x50c4e701u
#define CALL_MAGIC   0xca11e701u

enum call_state {
    CALL_NEW = 0, /* not libcurl's yet */
    CALL_ACTIVE,
    CALL_BROKEN,  /* libcurl did not take it: on_done is due */
    CALL_CANCELED /* to be freed by settle() */
};

struct http_call {
    uint32_t magic;
    enum call_state state;
    struct http_client *client;
    struct http_call *next;
    CURL *easy;
    struct curl_slist *headers;
    struct curl_slist *connect_to; /* NULL: none */
    struct http_callbacks callbacks;
    char error[CURL_ERROR_SIZE];
};

struct http_socket {
    uint32_t magic;
    curl_socket_t fd;
    uv_poll_t poll;
    struct http_client *client;
    struct http_socket *next;
};

struct http_client {
    uv_loop_t *loop;
    CURLM *multi;
    uv_timer_t timer; /* libcurl's */
    uv_timer_t soon;  /* ours: something is left to settle */
    bool in_curl;
    bool closing;
    bool want_close;
    uint32_t handles; /* open ones */
    struct http_call *calls;
    struct http_socket *sockets;
    void (*closed)(void *arg);
    void *closed_arg;
};

const char *http_error_str(enum http_error error)
{
    static const char *const names[HTTP_ERROR_MAX] = {
        "ok", "unresolved", "unreachable", "timeout", "broken", "tls", "failed"};
    return (unsigned)error < HTTP_ERROR_MAX ? names[error] : "?";
}

/* ---- handles ------------------------------------------------------------------------------ */

static void handle_gone(struct http_client *client)
{
    if (--client->handles > 0) {
        return;
    }
    void (*closed)(void *) = client->closed;
    void *arg = client->closed_arg;
    free(client);
    curl_global_cleanup();
    if (closed != NULL) {
        closed(arg);
    }
}

static void on_timer_closed(uv_handle_t *handle)
{
    handle_gone(handle->data);
}

static void on_poll_closed(uv_handle_t *handle)
{
    struct http_socket *socket = handle->data;
    struct http_client *client = socket->client;
    assert(socket->magic == SOCKET_MAGIC);
    free(socket);
    handle_gone(client);
}

/* ---- sockets ------------------------------------------------------------------------------ */

static void drive(struct http_client *client, curl_socket_t fd, int flags);
static void on_soon(uv_timer_t *timer);

static void on_poll(uv_poll_t *poll, int status, int events)
{
    struct http_socket *socket = poll->data;
    assert(socket->magic == SOCKET_MAGIC);
    int flags = status < 0 ? CURL_CSELECT_ERR : 0;
    flags |= events & UV_READABLE ? CURL_CSELECT_IN : 0;
    flags |= events & UV_WRITABLE ? CURL_CSELECT_OUT : 0;
    drive(socket->client, socket->fd, flags); /* the socket may be closing afterwards */
}

static struct http_socket **socket_find(struct http_client *client, curl_socket_t fd)
{
    struct http_socket **at = &client->sockets;
    while (*at != NULL && (*at)->fd != fd) {
        at = &(*at)->next;
    }
    return at;
}

static void socket_forget(struct http_client *client, curl_socket_t fd)
{
    struct http_socket **at = socket_find(client, fd);
    struct http_socket *socket = *at;
    if (socket != NULL) {
        *at = socket->next;
        (void)uv_poll_stop(&socket->poll); /* always 0 */
        uv_close((uv_handle_t *)&socket->poll, on_poll_closed);
    }
}

static struct http_socket *socket_add(struct http_client *client, curl_socket_t fd)
{
    struct http_socket *socket = memory_zalloc(sizeof *socket);
    if (uv_poll_init_socket(client->loop, &socket->poll, fd) != 0) {
        free(socket); /* the call's own deadline ends it */
        return NULL;
    }
    socket->magic = SOCKET_MAGIC;
    socket->fd = fd;
    socket->client = client;
    socket->poll.data = socket;
    socket->next = client->sockets;
    client->sockets = socket;
    client->handles++;
    return socket;
}

static int on_socket(CURL *easy, curl_socket_t fd, int what, void *arg, void *socket_arg)
{
    struct http_client *client = arg;
    (void)easy;
    (void)socket_arg;
    if (what == CURL_POLL_REMOVE) {
        socket_forget(client, fd);
        return 0;
    }
    struct http_socket *socket = *socket_find(client, fd);
    if (socket == NULL) {
        socket = socket_add(client, fd);
    }
    if (socket != NULL) {
        int events = what & CURL_POLL_IN ? UV_READABLE : 0;
        events |= what & CURL_POLL_OUT ? UV_WRITABLE : 0;
        (void)uv_poll_start(&socket->poll, events, on_poll); /* the deadline again */
    }
    return 0;
}

/* The client outlives every connection: it goes after curl_multi_cleanup. */
static int on_close_socket(void *arg, curl_socket_t fd)
{
    socket_forget(arg, fd);
    return close(fd);
}

static int on_new_socket(void *arg, curl_socket_t fd, curlsocktype purpose)
{
    unsigned timeout_ms = USER_TIMEOUT_MS;
    (void)arg;
    (void)purpose;
    /* Without it a dead host is found later; no reason to fail. */
    (void)setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &timeout_ms, sizeof timeout_ms);
    return CURL_SOCKOPT_OK;
}

/* ---- calls -------------------------------------------------------------------------------- */

static void call_unlink(struct http_client *client, const struct http_call *call)
{
    struct http_call **at = &client->calls;
    while (*at != call) {
        at = &(*at)->next;
    }
    *at = call->next;
}

/* Not while libcurl is on the stack. */
static void call_free(struct http_client *client, struct http_call *call)
{
    assert(call->magic == CALL_MAGIC && call->client == client && !client->in_curl);
    call_unlink(client, call);
    call->magic = 0;
    /* Removing a handle that was never added is an error without consequence. */
    (void)curl_multi_remove_handle(client->multi, call->easy);
    curl_easy_cleanup(call->easy);
    curl_slist_free_all(call->headers);
    curl_slist_free_all(call->connect_to);
    free(call);
}

static enum http_error error_of(CURLcode code)
{
    switch (code) {
    case CURLE_OK:
        return HTTP_OK;
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return HTTP_UNRESOLVED;
    case CURLE_COULDNT_CONNECT:
        return HTTP_UNREACHABLE;
    case CURLE_OPERATION_TIMEDOUT:
        return HTTP_TIMEOUT;
    case CURLE_PARTIAL_FILE:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_GOT_NOTHING:
        return HTTP_BROKEN;
    case CURLE_SSL_CONNECT_ERROR:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CIPHER:
    case CURLE_PEER_FAILED_VERIFICATION:
        return HTTP_TLS;
    default:
        return HTTP_FAILED;
    }
}

static void call_done(struct http_client *client, struct http_call *call, CURLcode code)
{
    long status = 0;
    char text[CURL_ERROR_SIZE];
    struct http_callbacks callbacks = call->callbacks;
    (void)curl_easy_getinfo(call->easy, CURLINFO_RESPONSE_CODE, &status); /* stays 0 */
    snprintf(text, sizeof text, "%s",
             call->error[0] != '\0' ? call->error : curl_easy_strerror(code));
    const struct http_result result = {error_of(code), (int)status, text};
    call_free(client, call);
    callbacks.on_done(callbacks.arg, &result);
}

static void call_start(struct http_call *call)
{
    call->state = CALL_ACTIVE;
    if (curl_multi_add_handle(call->client->multi, call->easy) != CURLM_OK) {
        call->state = CALL_BROKEN;
        uv_timer_start(&call->client->soon, on_soon, 0, 0);
    }
}

static void close_now(struct http_client *client);

/* Sees to what could not be done inside libcurl. Each callback may change the list: begin anew. */
static void settle(struct http_client *client)
{
    CURLMsg *message;
    int left;
    while (!client->closing && !client->want_close &&
           (message = curl_multi_info_read(client->multi, &left)) != NULL) {
        struct http_call *call = NULL;
        CURLcode code = message->data.result; /* the message goes with its handle */
        (void)curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&call);
        assert(call->magic == CALL_MAGIC);
        if (call->state == CALL_CANCELED) {
            call_free(client, call);
        } else {
            call_done(client, call, code);
        }
    }
    if (client->want_close && !client->closing) {
        close_now(client);
    }
    for (struct http_call *call = client->calls; call != NULL && !client->closing;) {
        struct http_call *next = call->next;
        if (call->state == CALL_CANCELED) {
            call_free(client, call);
        } else if (call->state == CALL_NEW) {
            call_start(call);
        } else if (call->state == CALL_BROKEN) {
            call_done(client, call, CURLE_FAILED_INIT);
            next = client->calls;
        }
        call = next;
    }
}

static void drive(struct http_client *client, curl_socket_t fd, int flags)
{
    int running;
    client->in_curl = true;
    (void)curl_multi_socket_action(client->multi, fd, flags, &running); /* errors come per call */
    client->in_curl = false;
    settle(client);
}

static void on_timer(uv_timer_t *timer)
{
    drive(timer->data, CURL_SOCKET_TIMEOUT, 0);
}

static void on_soon(uv_timer_t *timer)
{
    settle(timer->data);
}

static int on_timeout_change(CURLM *multi, long timeout_ms, void *arg)
{
    struct http_client *client = arg;
    (void)multi;
    if (client->closing) {
        return 0;
    }
    if (timeout_ms < 0) {
        uv_timer_stop(&client->timer);
    } else {
        uv_update_time(client->loop); /* or a long turn makes the timer fire early */
        uv_timer_start(&client->timer, on_timer, (uint64_t)timeout_ms, 0);
    }
    return 0;
}

static size_t on_write(char *p, size_t size, size_t n, void *arg)
{
    struct http_call *call = arg;
    assert(call->magic == CALL_MAGIC);
    if (call->state != CALL_CANCELED && !call->client->want_close) {
        call->callbacks.on_bytes(call->callbacks.arg, p, size * n);
    }
    /* 0 aborts the transfer. */
    return call->state == CALL_CANCELED || call->client->want_close ? 0 : size * n;
}

/* ---- posting ------------------------------------------------------------------------------ */

static void set_transport(struct http_call *call, const struct http_request *request)
{
    CURL *easy = call->easy;
    uint32_t connect_ms = request->connect_timeout_ms;
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_NOPROXY, "*");
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS,
                     (long)(connect_ms > 0 ? connect_ms : CONNECT_TIMEOUT_MS));
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, (long)request->timeout_ms);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPALIVE, 1L);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
    curl_easy_setopt(easy, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_PERIOD_S);
    curl_easy_setopt(easy, CURLOPT_MAXAGE_CONN, (long)CONNECTION_AGE_S);
    curl_easy_setopt(easy, CURLOPT_SOCKOPTFUNCTION, on_new_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETFUNCTION, on_close_socket);
    curl_easy_setopt(easy, CURLOPT_CLOSESOCKETDATA, call->client);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, (long)request->own_connection);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, (long)request->own_connection);
}

/* By CONNECT_TO, not RESOLVE: that would go into a cache that all calls share. */
static void set_address(struct http_call *call, const char *address)
{
    char entry[128];
    if (address == NULL) {
        return;
    }
    (void)snprintf(entry, sizeof entry,
                   "::%s:", address); /* any host, any port: this one, that port */
    call->connect_to = curl_slist_append(NULL, entry);
    curl_easy_setopt(call->easy, CURLOPT_CONNECT_TO, call->connect_to);
}

static void set_message(struct http_call *call, const struct http_request *request)
{
    CURL *easy = call->easy;
    call->headers = curl_slist_append(NULL, "Content-Type: application/json");
    call->headers = curl_slist_append(call->headers, "Expect:"); /* would cost a second */
    for (size_t i = 0; request->headers != NULL && request->headers[i] != NULL; i++) {
        call->headers = curl_slist_append(call->headers, request->headers[i]);
    }
    curl_easy_setopt(easy, CURLOPT_URL, request->url);
    curl_easy_setopt(easy, CURLOPT_USERAGENT, "tside/" TSIDE_VERSION);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, call->headers);
    curl_easy_setopt(easy, CURLOPT_POST, 1L);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)request->body_len);
    curl_easy_setopt(easy, CURLOPT_COPYPOSTFIELDS, request->body);
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, 65536L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_write);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, call);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, call->error);
    curl_easy_setopt(easy, CURLOPT_PRIVATE, call);
}

struct http_call *http_client_post(struct http_client *client, const struct http_request *request,
                                   const struct http_callbacks *callbacks)
{
    assert(!client->closing && !client->want_close);
    struct http_call *call = memory_zalloc(sizeof *call);
    call->magic = CALL_MAGIC;
    call->client = client;
    call->callbacks = *callbacks;
    call->easy = memory_check(curl_easy_init());
    set_transport(call, request);
    set_address(call, request->connect_to);
    set_message(call, request);
    call->next = client->calls;
    client->calls = call;
    if (!client->in_curl) {
        call_start(call);
    }
    return call;
}

void http_call_cancel(struct http_call *call)
{
    assert(call->magic == CALL_MAGIC && call->state != CALL_CANCELED);
    call->state = CALL_CANCELED;
    if (!call->client->in_curl) {
        call_free(call->client, call);
    }
}

/* ---- life --------------------------------------------------------------------------------- */

struct http_client *http_client_new(uv_loop_t *loop)
{
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != 0) {
        return NULL;
    }
    struct http_client *client = memory_zalloc(sizeof *client);
    client->loop = loop;
    client->multi = curl_multi_init();
    if (client->multi == NULL) {
        free(client);
        curl_global_cleanup();
        return NULL;
    }
    (void)uv_timer_init(loop, &client->timer); /* always 0 */
    (void)uv_timer_init(loop, &client->soon);
    client->timer.data = client->soon.data = client;
    client->handles = 2;
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETFUNCTION, on_socket);
    curl_multi_setopt(client->multi, CURLMOPT_SOCKETDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERFUNCTION, on_timeout_change);
    curl_multi_setopt(client->multi, CURLMOPT_TIMERDATA, client);
    curl_multi_setopt(client->multi, CURLMOPT_MAXCONNECTS, CONNECTIONS_KEPT);
    return client;
}

static void close_now(struct http_client *client)
{
    client->closing = true;
    while (client->calls != NULL) {
        call_free(client, client->calls);
    }
    /* Closes the kept connections, through on_close_socket. */
    (void)curl_multi_cleanup(client->multi); /* nothing is left to fail */
    while (client->sockets != NULL) {
        socket_forget(client, client->sockets->fd);
    }
    uv_close((uv_handle_t *)&client->timer, on_timer_closed);
    uv_close((uv_handle_t *)&client->soon, on_timer_closed);
}

void http_client_close(struct http_client *client, void (*closed)(void *arg), void *arg)
{
    assert(!client->closing && !client->want_close);
    client->closed = closed;
    client->closed_arg = arg;
    client->want_close = true;
    if (!client->in_curl) {
        close_now(client);
    }
}
