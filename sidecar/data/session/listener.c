/*
 * sidecar/data/session/listener.c: see listener.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/listener.h"

#include "sidecar/base/listen_socket.h"
#include "sidecar/base/log.h"
#include "sidecar/data/io/transport_uv.h"
#include "sidecar/data/loop/uv_driver.h"
#include "sidecar/data/session/session.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define LISTENER_BACKLOG 4096
/* What is in the queue beyond waits for the next turn: calls go on between. */
#define LISTENER_ACCEPTS_PER_TURN 64
#define LISTENER_REST_MS          100
#define LISTENER_LOG_MS           10000 /* at most one line in so long */
/* Connections taken up from a queue that is being closed. */
#define LISTENER_LAST_ACCEPTS 4096

static void on_acceptable(uv_poll_t *poll, int status, int events);

static void listen_again(struct listener *listener)
{
    (void)uv_poll_start(&listener->poll, UV_READABLE,
                        on_acceptable); /* fails on closed ones alone */
}

static void on_rested(uv_timer_t *timer)
{
    listen_again(timer->data);
}

static void log_rest(struct listener *listener, int error)
{
    struct worker *worker = listener->worker;
    uint64_t now_ms = worker_now_ms(worker);
    listener->unlogged++;
    if (now_ms < listener->next_log_ms) {
        return;
    }
    worker_log(worker, LOG_WARN, "listener", "accept_failed",
               "%s: %s: callers wait, tried again every %d ms (%llu times since the last line)",
               listener->config->listen, strerror(error), LISTENER_REST_MS,
               (unsigned long long)listener->unlogged);
    listener->next_log_ms = now_ms + LISTENER_LOG_MS;
    listener->unlogged = 0;
}

static void rest(struct listener *listener, int error)
{
    (void)uv_poll_stop(&listener->poll); /* always 0, likewise below */
    (void)uv_timer_start(&listener->rest, on_rested, LISTENER_REST_MS, 0);
    counter_add(&listener->worker->counters, METRIC_ACCEPT_RESTS, 1);
    log_rest(listener, error);
}

static void take_up(struct listener *listener, int fd)
{
    bool is_unix = listener->config->is_unix;
    if (!session_accept(listener->worker, is_unix ? &transport_unix : &transport_tcp, &fd,
                        listener->config)) {
        close(fd);
    }
}

/* Takes up at most so many connections; 0, or the error that ended it. */
static int accept_some(struct listener *listener, int most)
{
    for (int i = 0; i < most; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            take_up(listener, fd);
        } else if (!accept_error_is_of_one(errno)) {
            return errno;
        }
    }
    return 0;
}

static void on_acceptable(uv_poll_t *poll, int status, int events)
{
    struct listener *listener = poll->data;
    (void)events;
    uv_driver_enter(listener->worker, poll->loop);
    int error = accept_some(listener, LISTENER_ACCEPTS_PER_TURN);
    if (status < 0) {
        error = -status; /* libuv has stopped the handle */
    }
    if (error != 0 && error != EAGAIN) {
        rest(listener, error);
    }
    worker_leave(listener->worker);
}

static void on_closed(uv_handle_t *handle)
{
    struct listener *listener = handle->data;
    if (--listener->handles == 0) {
        free(listener);
    }
}

int listener_open(struct worker *worker, const struct bootstrap_listener *config, int fd)
{
    struct listener *listener = calloc(1, sizeof *listener);
    int r = listener ? uv_poll_init(uv_driver_loop(worker), &listener->poll, fd) : UV_ENOMEM;
    if (r) {
        close(fd);
        free(listener);
        return r;
    }
    (void)uv_timer_init(uv_driver_loop(worker), &listener->rest); /* always 0 */
    listener->poll.data = listener;
    listener->rest.data = listener;
    listener->handles = 2;
    listener->fd = fd;
    listener->worker = worker;
    listener->config = config;
    list_push_back(&worker->listeners, &listener->all);
    if (listen(fd, LISTENER_BACKLOG)) { /* an inherited one may have had a shorter queue */
        return -errno;
    }
    listen_again(listener);
    return 0;
}

void listener_rest(struct listener *listener, bool on)
{
    (void)uv_timer_stop(&listener->rest); /* always 0, likewise below */
    if (on) {
        (void)uv_poll_stop(&listener->poll);
    } else {
        listen_again(listener);
    }
}

void listener_close(struct listener *listener)
{
    list_remove(&listener->all);
    (void)accept_some(listener, LISTENER_LAST_ACCEPTS); /* an error: the others are reset */
    uv_close((uv_handle_t *)&listener->poll, on_closed);
    uv_close((uv_handle_t *)&listener->rest, on_closed);
    close(listener->fd); /* behind uv_close(): libuv lets go of it first */
}
