/*
 * sidecar/data/session/session_replies.c: answers go out in request order, or in any; see session_internal.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

#include "sidecar/data/call/header.h"

/* Whether more may be queued for a caller that has not taken what was queued before. */
static bool may_push(const struct session *session)
{
    return channel_unsent(&session->channel) <= SESSION_UNSENT_HIGH;
}

/* The call that may be answered next: the oldest where it is ready or, in any order, the one that was
 * finished first. */
static struct call *next_ready(const struct session *session)
{
    const struct caller *caller = &session->caller;
    struct list *node = list_first(&caller->finished);
    if (!node) {
        return NULL;
    }
    if (caller->listener->any_order) {
        return container_of(node, struct call, waits);
    }
    struct call *head = session_first_call(session);
    return head->state == CALL_STATE_HELD ? head : NULL;
}

/* The reply's TTHeader, to a caller whose call had one. */
static HEADER_APART bool push_header(struct session *session, const struct call *call,
                                     const struct message *reply)
{
    struct header_out header = header_for_caller(call, reply, session_is_draining(session));
    if (!header.block) {
        return false;
    }
    if (!channel_push_block(&session->channel, header.block, header.len)) {
        buffers_free(&session->caller.worker->buffers, header.block);
        return false;
    }
    return true;
}

static bool push(struct session *session, struct call *call)
{
    const struct buffers *buffers = &session->caller.worker->buffers;
    struct message reply;
    if (!call_take_reply(call, &reply)) {
        return false;
    }
    if (call->request.header && !header_passes(call, &reply, session_is_draining(session)) &&
        !push_header(session, call, &reply)) {
        message_done(&reply, buffers);
        return false;
    }
    if (!channel_push_message(&session->channel, &reply)) {
        message_done(&reply, buffers);
        return false;
    }
    session->held_bytes -= call->outcome.held_len;
    call->outcome.held_len = 0;
    session->answered = true;
    session->last_byte_ms = worker_now_ms(session->caller.worker);
    call_answered(call);
    return true;
}

/* Replies whose turn has not come: what was borrowed is copied. Those kept before stand in front. */
static bool keep_replies(struct session *session)
{
    struct list *finished = &session->caller.finished;
    for (struct list *n = finished->prev; n != finished; n = n->prev) {
        struct call *call = container_of(n, struct call, waits);
        if (call->outcome.kept) {
            break;
        }
        call->outcome.held_len = call->outcome.reply.body ? call->outcome.reply.len : 0;
        session->held_bytes += call->outcome.held_len;
        if (!call_keep_reply(call)) {
            return false;
        }
    }
    return true;
}

bool session_push_replies(struct session *session)
{
    struct call *call;
    while (may_push(session) && (call = next_ready(session))) {
        if (!push(session, call)) {
            return false;
        }
    }
    return keep_replies(session);
}

void session_on_progress(struct channel *channel)
{
    struct session *session = session_of(channel);
    uint64_t now_ms = worker_now_ms(session->caller.worker);
    session->unsent_since_ms = channel_unsent(channel) > 0 ? now_ms : 0;
    session->unsent_seen = channel_taken_total(channel);
    if (session->state != SESSION_STATE_OPEN || !list_empty(&session->caller.finished) ||
        channel_unsent(channel) > 0) {
        caller_post(&session->caller);
    } else {
        session_arm(session); /* it may be idle from now on */
    }
}

/* Something stays unsent beyond the turn: from now on the caller is expected to take it. */
bool session_on_pin(struct channel *channel)
{
    struct session *session = session_of(channel);
    if (!session->unsent_since_ms) {
        session->unsent_since_ms = worker_now_ms(session->caller.worker);
        session->unsent_seen = channel_taken_total(channel);
    }
    caller_post(&session->caller);
    return false;
}

static enum caller_flow flow_of(const struct session *session)
{
    if (!(session->pauses & SESSION_PAUSE_UNSENT)) {
        return CALLER_FLOWS;
    }
    return may_push(session) ? CALLER_HEAD_ONLY : CALLER_STANDS;
}

void session_set_flow(struct session *session)
{
    struct caller *caller = &session->caller;
    enum caller_flow flow = flow_of(session);
    if (flow != caller->flow) {
        caller->flow = flow;
        for (struct list *n = caller->calls.next; n != &caller->calls; n = n->next) {
            call_set_flow(session_call_at(n));
        }
    } else if (flow == CALLER_HEAD_ONLY && !list_empty(&caller->calls)) {
        call_set_flow(session_first_call(session)); /* it became the head meanwhile */
    }
}
