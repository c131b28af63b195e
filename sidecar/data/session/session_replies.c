/*
 * sidecar/data/session/session_replies.c: answers go out in request order, or in any; see session_internal.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

#include "sidecar/data/upstream/upstream_conn.h"

static struct session *session_of_stream(struct stream *stream)
{
    struct session *session = container_of(stream, struct session, stream);
    assert(session->magic == SESSION_MAGIC);
    return session;
}

/* The reply of a call whose turn it is. */
static bool push_reply(struct session *session, struct call *call)
{
    if (!call->reply) {
        return answer_push(call);
    }
    uint8_t *reply = call->reply;
    if (call->reply_borrowed) {
        call->reply = NULL;
        return stream_push(&session->stream, reply, call->reply_len);
    }
    if (!stream_push_block(&session->stream, reply, 0, call->reply_len)) {
        return false;
    }
    call->reply = NULL;
    return true;
}

/* Its turn has not come: what was borrowed is kept. */
static bool keep_reply(struct call *call)
{
    if (!call->reply || !call->reply_borrowed) {
        return true;
    }
    uint8_t *block = buffers_copy(&call->worker->buffers, call->reply, call->reply_len);
    call->reply = block;
    call->reply_borrowed = false;
    return block != NULL;
}

static bool push_in_turn(struct session *session, struct call *call)
{
    account_call(call);
    if (!push_reply(session, call)) {
        return false;
    }
    session->held_bytes -= call->held_len;
    session->answered = true;
    session->last_byte_ms = worker_now_ms(session->worker);
    call_event(call, CALL_EVENT_TURN);
    return true;
}

/* Whether more may be queued for a caller that has not taken what was queued before. */
static bool may_push(const struct session *session)
{
    return !session->doomed && stream_unsent(&session->stream) <= SESSION_UNSENT_HIGH;
}

/* The first call that may be answered: the oldest or, in any order, the oldest that is ready. */
static struct call *next_ready(const struct session *session)
{
    for (struct list *n = session->calls.next; n != &session->calls; n = n->next) {
        struct call *call = container_of(n, struct call, in_session);
        if (call->ready) {
            return call;
        }
        if (!session->listener->any_order) {
            return NULL;
        }
    }
    return NULL;
}

static void push_ready(struct session *session)
{
    struct call *call;
    while (may_push(session) && (call = next_ready(session))) {
        if (!push_in_turn(session, call)) {
            session_doom(session);
        }
    }
}

void session_answered(struct session *session, struct call *call)
{
    bool in_turn = session->listener->any_order || call == session_first_call(session);
    if (!in_turn || !may_push(session)) {
        call->held_len = call->reply ? call->reply_len : 0;
        session->held_bytes += call->held_len;
        if (!keep_reply(call)) {
            session_doom(session);
        }
    } else if (!push_in_turn(session, call)) {
        session_doom(session);
    } else if (!session->listener->any_order) {
        push_ready(session);
    }
}

static void on_progress(struct stream *stream)
{
    struct session *session = session_of_stream(stream);
    session->unsent_since_ms = stream_unsent(stream) > 0 ? worker_now_ms(session->worker) : 0;
    session->unsent_seen = stream_taken_total(stream);
    push_ready(session);
    session_settle(session);
}

static void on_failed(struct stream *stream, int status)
{
    (void)status; /* the caller is gone: accounted call by call */
    session_event(session_of_stream(stream), SESSION_EVENT_ERROR);
}

/* Something stays unsent beyond the turn: from now on the caller is expected to take it. */
static bool on_pin(struct stream *stream)
{
    struct session *session = session_of_stream(stream);
    if (!session->unsent_since_ms) {
        session->unsent_since_ms = worker_now_ms(session->worker);
        session->unsent_seen = stream_taken_total(stream);
    }
    session_arm(session);
    return false;
}

const struct stream_ops session_stream_ops = {
    .progress = on_progress, .failed = on_failed, .pin = on_pin};

bool session_takes_reply(const struct session *session, const struct call *call)
{
    bool head = call == session_first_call(session) &&
                stream_unsent(&session->stream) <= SESSION_UNSENT_HIGH;
    return head || !(session->pauses & SESSION_PAUSE_UNSENT);
}

void session_hold_upstreams(struct session *session)
{
    for (struct list *n = session->calls.next; n != &session->calls; n = n->next) {
        struct call *call = container_of(n, struct call, in_session);
        if (call->state != CALL_STATE_SENT) {
            continue;
        }
        if (session_takes_reply(session, call)) {
            upstream_conn_resume(call->attempt.conn);
        } else {
            upstream_conn_pause(call->attempt.conn);
        }
    }
}
