/*
 * sidecar/data/session/session_internal.h: what the parts of a session ask of each other.
 *
 * session.c moves it and decides about pausing and closing; session_accept.c takes it up,
 * session_reader.c makes calls of its bytes, session_replies.c sends their answers in order,
 * session_clock.c knows when it is idle, late or stalled. No other file includes this.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_SESSION_SESSION_INTERNAL_H
#define TSIDE_SIDECAR_DATA_SESSION_SESSION_INTERNAL_H

#include "sidecar/data/session/session.h"

#include <assert.h>

static inline struct session *session_of(struct channel *channel)
{
    struct session *session = container_of(channel, struct session, channel);
    assert(session->magic == SESSION_MAGIC);
    return session;
}

static inline const struct bootstrap *session_bootstrap(const struct session *session)
{
    return session->caller.worker->env->bootstrap;
}

static inline bool session_is_draining(const struct session *session)
{
    return session->state == SESSION_STATE_DRAIN || session->state == SESSION_STATE_DRAIN_PAUSED;
}

static inline bool session_may_parse(const struct session *session)
{
    return session->state == SESSION_STATE_OPEN || session->state == SESSION_STATE_DRAIN;
}

static inline struct call *session_call_at(struct list *in_caller)
{
    return container_of(in_caller, struct call, in_caller);
}

/* The call whose answer is due first; NULL where none is. */
static inline struct call *session_first_call(const struct session *session)
{
    struct list *node = list_first(&session->caller.calls);
    return node ? session_call_at(node) : NULL;
}

/* ---- session.c ------------------------------------------------------------------------------- */

/* The caller's event: answers, pauses, goes on, closes. */
void session_run(struct event *event);
/* Pauses where too much is under way. */
void session_weigh(struct session *session);

/* ---- session_reader.c ------------------------------------------------------------------------ */

bool session_on_received(struct channel *channel, const uint8_t *bytes, size_t n);
void session_on_input(struct channel *channel);
void session_on_ended(struct channel *channel, int status);
void session_on_starved(struct channel *channel);
/* Begins a call for every frame that may be taken up now. */
void session_take_frames(struct session *session);
/* The caller sends no more: half-closed, it still gets its replies. */
void session_end_input(struct session *session);

/* ---- session_replies.c ----------------------------------------------------------------------- */

void session_on_progress(struct channel *channel);
bool session_on_pin(struct channel *channel);
/* Sends what may go, keeps what may not. False where memory is short: the session must end. */
bool session_push_replies(struct session *session) __attribute__((warn_unused_result));
/* Callees whose replies this caller does not take are not read from either, and again when it does. */
void session_set_flow(struct session *session);

/* ---- session_clock.c ------------------------------------------------------------------------- */

/* Sees to it that the timer fires when the next of the session's clocks runs out. */
void session_arm(struct session *session);
void session_on_timer(struct timer_node *node);

#endif
