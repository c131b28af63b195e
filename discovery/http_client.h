/*
 * discovery/http_client.h: HTTP POST in a libuv loop: short calls and endless streams alike.
 *
 * The one home of libcurl. Everything happens on the loop's thread. Callbacks may post, cancel and
 * close, also from within on_bytes: what libcurl forbids inside its callbacks is put off until it
 * has returned.
 *
 *     client = http_client_new(loop);
 *     call = http_client_post(client, &request, &callbacks);     on_bytes*, then on_done once
 *     http_call_cancel(call);                                    or this: no callback any more
 *     http_client_close(client, closed, arg);                    cancels what is left
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_HTTP_CLIENT_H
#define TSIDE_DISCOVERY_HTTP_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <uv.h>

enum http_error {
    HTTP_OK = 0, /* a whole reply, whatever its status */
    HTTP_UNRESOLVED,
    HTTP_UNREACHABLE,
    HTTP_TIMEOUT,
    HTTP_BROKEN, /* reset, or ended within the reply */
    HTTP_TLS,
    HTTP_FAILED, /* no HTTP, a bad URL, ... */
    HTTP_ERROR_MAX
};

const char *http_error_str(enum http_error error);

struct http_request { /* all of it is copied */
    const char *url;
    const char
        *connect_to; /* an IP address for the host of url, IPv6 in brackets; NULL: looked up */
    const char *body;
    size_t body_len;
    const char *const *headers;  /* "Name: value", NULL at the end; may be NULL */
    uint32_t timeout_ms;         /* the whole call; 0: none */
    uint32_t connect_timeout_ms; /* name and connection; 0: 2000 */
    bool own_connection;         /* neither taken from nor left to others: streams */
};

struct http_result {
    enum http_error error;
    int status;       /* 0: no reply */
    const char *text; /* for people; borrowed for the call */
};

struct http_callbacks {
    void (*on_bytes)(void *arg, const char *p, size_t len); /* of the body, as they come */
    void (*on_done)(void *arg, const struct http_result *result);
    void *arg;
};

struct http_client;
struct http_call;

/* Waits on loop, which must outlive the client. NULL where libcurl cannot be set up. */
struct http_client *http_client_new(uv_loop_t *loop);

/* Callbacks come from the loop, never from within this call. Valid until on_done begins. */
struct http_call *http_client_post(struct http_client *client, const struct http_request *request,
                                   const struct http_callbacks *callbacks);
void http_call_cancel(struct http_call *call);

/* Cancels every call, frees the client; closed (may be NULL) comes from the loop when all is gone.
 * */
void http_client_close(struct http_client *client, void (*closed)(void *arg), void *arg);

#endif
