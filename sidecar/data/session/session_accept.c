/*
 * sidecar/data/session/session_accept.c: a connection is taken up, or refused; see session.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

#include <stdlib.h>

static void on_closed(struct channel *channel)
{
    struct session *session = container_of(channel, struct session, channel);
    session->magic = 0;
    free(session);
}

static const struct channel_ops channel_ops = {
    .received = session_on_received,
    .input = session_on_input,
    .ended = session_on_ended,
    .starved = session_on_starved,
    .progress = session_on_progress,
    .pin = session_on_pin,
    .closed = on_closed,
};

static struct session *session_new(struct worker *worker, const struct transport_ops *transport,
                                   const struct bootstrap_listener *listener)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        return NULL;
    }
    session->magic = SESSION_MAGIC;
    session->timer.fire = session_on_timer;
    session->last_byte_ms = worker_now_ms(worker);
    list_init(&session->all);
    caller_init(&session->caller, worker, listener, session_run);
    channel_init(&session->channel, worker, &channel_ops, transport, &framing_framed,
                 CODEC_SCAN_REQUEST);
    return session;
}

static bool refuse(struct worker *worker)
{
    permit_give(&worker->env->connections, 1);
    counter_add(&worker->counters, METRIC_CONNECTIONS_REFUSED, 1);
    return false;
}

/* Counted, linked, read from. */
static void begin(struct session *session)
{
    struct worker *worker = session->caller.worker;
    counter_add(&worker->counters, METRIC_CONNECTIONS, 1);
    counter_add(&worker->counters, METRIC_CONNECTIONS_TOTAL, 1);
    list_push_back(&worker->sessions, &session->all);
    if (session->caller.listener->uids.set) {
        session->caller.uid = channel_peer_uid(&session->channel);
    }
    channel_read_start(&session->channel);
    if (worker->listeners_closed) {
        session_event(session, SESSION_EVENT_DRAIN);
    }
    session_arm(session);
}

bool session_accept(struct worker *worker, const struct transport_ops *transport, void *source,
                    const struct bootstrap_listener *listener)
{
    struct worker_env *env = worker->env;
    if (!permit_take(&env->connections, 1, env->bootstrap->limits.connections)) {
        counter_add(&worker->counters, METRIC_CONNECTIONS_REFUSED, 1);
        return false;
    }
    struct session *session = session_new(worker, transport, listener);
    if (!session) {
        return refuse(worker);
    }
    if (channel_open(&session->channel, source)) {
        (void)refuse(worker); /* the transport has closed it */
        return true;
    }
    begin(session);
    return true;
}
