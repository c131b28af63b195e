/*
 * sidecar/data/session/session_accept.c: a connection is taken up, or refused; see session.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

#include <stdlib.h>
#include <unistd.h>

static void on_refused(uv_handle_t *handle)
{
    free(handle->data);
}

static struct session *session_new(struct worker *worker, bool is_unix,
                                   const struct bootstrap_listener *listener)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        return NULL;
    }
    session->magic = SESSION_MAGIC;
    session->worker = worker;
    session->listener = listener;
    session->timer.kind = WORKER_TIMER_SESSION;
    session->last_byte_ms = worker_now_ms(worker);
    list_init(&session->all);
    list_init(&session->calls);
    list_init(&session->oneways);
    stream_init(&session->stream, &session_stream_ops, &worker->buffers, &worker->dirty);
    intake_init(&session->intake, worker, CODEC_SCAN_REQUEST, session_on_resume);
    int r = is_unix ? uv_pipe_init(&worker->loop, &session->stream.uv.pipe, 0)
                    : uv_tcp_init(&worker->loop, &session->stream.uv.tcp);
    if (r) {
        free(session);
        return NULL;
    }
    session->stream.uv.handle.data = session;
    return session;
}

static int open_handle(struct session *session, int fd)
{
    struct stream *stream = &session->stream;
    return session->listener->is_unix ? uv_pipe_open(&stream->uv.pipe, fd)
                                      : uv_tcp_open(&stream->uv.tcp, fd);
}

/* Counted, linked, read from. */
static void begin(struct session *session)
{
    struct worker *worker = session->worker;
    counter_add(&worker->counters, METRIC_CONNECTIONS, 1);
    counter_add(&worker->counters, METRIC_CONNECTIONS_TOTAL, 1);
    list_push_back(&worker->sessions, &session->all);
    session_start_reading(session);
    if (worker->listeners_closed) {
        session_event(session, SESSION_EVENT_DRAIN);
    }
    session_arm(session);
}

static void refuse(struct worker *worker, int fd)
{
    counter_add(&worker->counters, METRIC_CONNECTIONS_REFUSED, 1);
    close(fd);
}

void session_accept(struct worker *worker, int fd, const struct bootstrap_listener *listener)
{
    struct worker_env *env = worker->env;
    if (!permit_take(&env->connections, 1, env->bootstrap->limits.connections)) {
        refuse(worker, fd);
        return;
    }
    struct session *session = session_new(worker, listener->is_unix, listener);
    if (!session || open_handle(session, fd)) {
        permit_give(&env->connections, 1);
        refuse(worker, fd);
        if (session) {
            uv_close(&session->stream.uv.handle, on_refused);
        }
        return;
    }
    if (!listener->is_unix) {
        (void)uv_tcp_nodelay(&session->stream.uv.tcp, 1); /* slower without, not wrong */
    }
    begin(session);
}
