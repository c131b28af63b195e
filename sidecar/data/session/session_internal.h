/*
 * sidecar/data/session/session_internal.h: what the parts of a session ask of each other.
 *
 * session.c moves it and decides about pausing and closing; session_accept.c takes it up,
 * session_reader.c makes calls of its bytes, session_replies.c sends their answers in order,
 * session_clock.c knows when it is idle, late or stalled. Nobody else includes this.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_SESSION_SESSION_INTERNAL_H
#define TSIDE_SIDECAR_DATA_SESSION_SESSION_INTERNAL_H

#include "sidecar/data/session/session.h"

#include <assert.h>

static inline struct session *session_of_handle(uv_handle_t *handle)
{
    struct session *session = handle->data;
    assert(session->magic == SESSION_MAGIC);
    return session;
}

static inline const struct bootstrap *session_bootstrap(const struct session *session)
{
    return session->worker->env->bootstrap;
}

static inline bool session_is_draining(const struct session *session)
{
    return session->state == SESSION_STATE_DRAIN || session->state == SESSION_STATE_DRAIN_PAUSED;
}

static inline bool session_may_parse(const struct session *session)
{
    return session->state == SESSION_STATE_OPEN || session->state == SESSION_STATE_DRAIN;
}

/* The call whose answer is due first; NULL where none is. */
static inline struct call *session_first_call(const struct session *session)
{
    struct list *node = list_first(&session->calls);
    return node ? container_of(node, struct call, in_session) : NULL;
}

/* ---- session.c ----------------------------------------------------------------------------- */

/* Closes from the next turn: whoever is in our callers' stack may be busy with one of its calls. */
void session_doom(struct session *session);
/* Whether bytes are there that were not read yet: then this is not the end. */
bool session_bytes_wait(struct session *session);

/* ---- session_reader.c ---------------------------------------------------------------------- */

void session_start_reading(struct session *session);
void session_stop_reading(struct session *session);
/* Begins a call for every frame that may be taken up now. */
void session_take_frames(struct session *session);
/* The intake's: a frame goes on in the next turn, or buffers may be there again. */
void session_on_resume(struct intake *intake);

/* ---- session_replies.c --------------------------------------------------------------------- */

extern const struct stream_ops session_stream_ops;

/* Callees whose replies this caller does not take are not read from either, and again when it does. */
void session_hold_upstreams(struct session *session);

/* ---- session_clock.c ----------------------------------------------------------------------- */

/* Sees to it that session_on_timer() runs when the next of the session's clocks does. */
void session_arm(struct session *session);

#endif
