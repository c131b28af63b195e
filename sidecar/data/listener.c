/*
 * sidecar/data/listener.c: see listener.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/listener.h"

#include "sidecar/data/session.h"

#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_BACKLOG 4096
/* Connections taken up from a queue that is being closed. */
#define LISTENER_LAST_ACCEPTS 4096

static void on_connection(uv_stream_t *server, int status)
{
    struct listener *listener = server->data;
    if (status < 0) {
        counter_add(&listener->worker->counters, METRIC_CONNECTIONS_REFUSED, 1);
        return; /* no descriptors: libuv has let one go, and goes on */
    }
    session_accept(listener->worker, server, -1, listener->config);
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
            session_accept(listener->worker, NULL, peer, listener->config);
        }
    }
    uv_close(&listener->uv.handle, on_closed);
}
