/*
 * sidecar/admin/http.h: a small HTTP server on the control loop, over libmicrohttpd.
 *
 * One server per listening socket. It accepts connections itself and hands them to one of two
 * daemons: the main one, and once that is full a reserve of a few connections. The reserve closes
 * after each answer and, when full, lets its oldest connection go: a client that merely occupies
 * connections cannot keep a probe out. What the reserve answers is the handler's choice
 * (request.reserve).
 *
 * Control thread only; the handler runs inside the loop's callbacks and must not close the server.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_ADMIN_HTTP_H
#define TSIDE_SIDECAR_ADMIN_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <uv.h>

#define HTTP_BODY_MAX_BYTES 65536

enum http_method { HTTP_GET = 0, HTTP_HEAD, HTTP_POST, HTTP_METHOD_OTHER, HTTP_METHOD_MAX };

struct http_request {
    enum http_method method;
    const char *path; /* decoded, without the query */
    const char *host; /* the Host header, NULL: none */
    bool reserve;     /* on one of the reserve's connections */
    const char *body; /* NUL-terminated; "" where none */
    size_t body_len;
    const void *connection; /* for http_query() */
};

struct http_reply {
    unsigned status;          /* 0: the server answers 500 */
    const char *content_type; /* static */
    const char *allow;        /* the Allow header, static; NULL: none */
    char *body;               /* from malloc(); taken */
    size_t body_len;
};

/* Called once per request, when its body is complete; *reply is zeroed. */
typedef void (*http_handler_fn)(void *owner, const struct http_request *request,
                                struct http_reply *reply);

/* A query argument, decoded; NULL where absent. Valid during the handler. */
const char *http_query(const struct http_request *request, const char *key, size_t *ret_len);

struct http_options {
    uv_loop_t *loop;
    int fd;               /* listening, non-blocking; closed by the server */
    unsigned connections; /* at most HTTP_CONNECTIONS_MAX */
    unsigned timeout_s;   /* without a byte; the reserve's is HTTP_RESERVE_TIMEOUT_S */
    unsigned request_ms;  /* from a connection's start, or the answer before, to an answer's end */
    http_handler_fn handler;
    void *owner;
};

#define HTTP_CONNECTIONS_MAX   64
#define HTTP_RESERVE           8
#define HTTP_RESERVE_TIMEOUT_S 2

struct http_server;

/* NULL where libmicrohttpd or memory refused; then fd is still the caller's. */
struct http_server *http_server_new(const struct http_options *options)
    __attribute__((warn_unused_result));
/* Cuts all connections; the memory goes in a later turn of the loop, after closed(). */
void http_server_close(struct http_server *server, void (*closed)(void *owner), void *owner);

#endif
