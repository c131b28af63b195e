/*
 * sidecar/data/session/listener.c: see listener.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/listener.h"

#include "sidecar/data/session/session.h"

#include <assert.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_BACKLOG 4096
/* Connections taken up from a queue that is being closed. */
#define LISTENER_LAST_ACCEPTS 4096

static void on_connection(uv_stream_t *server, int status);

static void on_refused_closed(uv_handle_t *handle)
{
    struct worker *worker = handle->loop->data;
    *(bool *)handle->data = false;
    for (struct list *n = worker->listeners.next; n != &worker->listeners; n = n->next) {
        struct listener *listener = container_of(n, struct listener, all);
        if (listener->stuck) {
            listener->stuck = false;
            on_connection(&listener->uv.stream, 0);
        }
    }
}

/* libuv stops listening until somebody accepts: one of the worker's own two handles does, and closes it
 * again. A second one waits until that handle is free. */
static void refuse(struct listener *listener)
{
    struct worker *worker = listener->worker;
    bool is_unix = listener->config->is_unix;
    bool *busy = &worker->refusing[is_unix];
    uv_handle_t *handle =
        is_unix ? (uv_handle_t *)&worker->refused_pipe : (uv_handle_t *)&worker->refused_tcp;
    listener->stuck = *busy;
    if (*busy) {
        return;
    }
    *busy = true;
    int r = is_unix ? uv_pipe_init(&worker->loop, &worker->refused_pipe, 0)
                    : uv_tcp_init(&worker->loop, &worker->refused_tcp);
    assert(r == 0); /* neither makes a socket */
    (void)r;
    handle->data = busy;
    (void)uv_accept(&listener->uv.stream, (uv_stream_t *)handle); /* closed either way */
    uv_close(handle, on_refused_closed);
}

static void on_connection(uv_stream_t *server, int status)
{
    struct listener *listener = server->data;
    if (status < 0) {
        counter_add(&listener->worker->counters, METRIC_CONNECTIONS_REFUSED, 1);
        return; /* no descriptors: libuv has let one go, and goes on */
    }
    if (!session_accept(listener->worker, server, -1, listener->config)) {
        refuse(listener);
    }
}

static void on_closed(uv_handle_t *handle)
{
    free(handle->data);
}

int listener_open(struct worker *worker, const struct bootstrap_listener *config, int fd)
{
    struct listener *listener = calloc(1, sizeof *listener);
    if (!listener) {
        close(fd);
        return UV_ENOMEM;
    }
    listener->worker = worker;
    listener->config = config;
    int r = config->is_unix ? uv_pipe_init(&worker->loop, &listener->uv.pipe, 0)
                            : uv_tcp_init(&worker->loop, &listener->uv.tcp);
    if (r) {
        close(fd);
        free(listener);
        return r;
    }
    listener->uv.handle.data = listener;
    list_push_back(&worker->listeners, &listener->all);
    r = config->is_unix ? uv_pipe_open(&listener->uv.pipe, fd) : uv_tcp_open(&listener->uv.tcp, fd);
    if (r) {
        close(fd);
        return r;
    }
    return uv_listen(&listener->uv.stream, LISTENER_BACKLOG, on_connection);
}

void listener_close(struct listener *listener)
{
    uv_os_fd_t fd;
    list_remove(&listener->all);
    if (uv_fileno(&listener->uv.handle, &fd) == 0) {
        for (int i = 0; i < LISTENER_LAST_ACCEPTS; i++) {
            int peer = accept4(fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
            if (peer < 0) {
                break;
            }
            (void)session_accept(listener->worker, NULL, peer, listener->config);
        }
    }
    uv_close(&listener->uv.handle, on_closed);
}
