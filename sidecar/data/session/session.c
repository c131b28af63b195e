/*
 * sidecar/data/session/session.c: the driver of a caller's connection; see session.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

/* ---- pausing --------------------------------------------------------------------------------- */

static void set_pause(struct session *session, enum session_pause pause, bool on,
                      enum metric metric)
{
    if (on && !(session->pauses & pause)) {
        session->pauses |= pause;
        counter_add(&session->caller.worker->counters, metric, 1);
    } else if (!on) {
        session->pauses &= ~(uint32_t)pause;
    }
}

void session_weigh(struct session *session)
{
    const struct caller *caller = &session->caller;
    size_t unsent = channel_unsent(&session->channel) + session->held_bytes;
    bool was_unsent = session->pauses & SESSION_PAUSE_UNSENT;
    bool is_light = caller->calls_len < session_bootstrap(session)->limits.pipelined_calls &&
                    caller->refused_calls == 0 && unsent <= SESSION_UNSENT_LOW &&
                    !session->channel.intake.starving;
    if (is_light && session->pauses == 0) {
        return; /* the usual case */
    }
    set_pause(session, SESSION_PAUSE_PIPELINE,
              caller->calls_len >= session_bootstrap(session)->limits.pipelined_calls,
              METRIC_READ_PAUSES_PIPELINE);
    set_pause(session, SESSION_PAUSE_CALLS, caller->refused_calls > 0, METRIC_READ_PAUSES_CALLS);
    set_pause(session, SESSION_PAUSE_UNSENT,
              unsent > (was_unsent ? SESSION_UNSENT_LOW : SESSION_UNSENT_HIGH),
              METRIC_READ_PAUSES_UNSENT);
    set_pause(session, SESSION_PAUSE_BUFFERS, session->channel.intake.starving,
              METRIC_READ_PAUSES_BUFFERS);
    if (session->pauses && session_may_parse(session)) {
        session_event(session, SESSION_EVENT_PAUSE);
    }
}

static bool is_paused(const struct session *session)
{
    return session->state == SESSION_STATE_PAUSED || session->state == SESSION_STATE_DRAIN_PAUSED;
}

/* ---- what is to be done ---------------------------------------------------------------------- */

/* No call is under way and nothing has to be sent. */
static bool is_empty(const struct session *session)
{
    return session->caller.calls_len == 0 && channel_unsent(&session->channel) == 0;
}

/* Whether the connection has served its time. */
static bool is_settled(struct session *session)
{
    if (!is_empty(session)) {
        return false;
    }
    bool behind_reply = session->state == SESSION_STATE_DRAIN && session->answered &&
                        !channel_in_frame(&session->channel);
    return session->state == SESSION_STATE_LAST ||
           (behind_reply && !channel_bytes_wait(&session->channel));
}

void session_run(struct event *event)
{
    struct session *session = container_of(event, struct session, caller.event);
    assert(session->magic == SESSION_MAGIC && session->state != SESSION_STATE_CLOSED);
    if (!session_push_replies(session)) {
        session_event(session, SESSION_EVENT_ERROR);
        return;
    }
    session_weigh(session);
    session_set_flow(session);
    if (!session->pauses && is_paused(session)) {
        session_event(session, SESSION_EVENT_RESUME);
    }
    if (session->go_on) {
        session->go_on = false;
        session_take_frames(session); /* posts the event where that has begun calls */
    }
    if (session->ended && session_may_parse(session) &&
        !event_waits(&session->channel.intake.spin)) {
        session_end_input(session);
    }
    if (session->state != SESSION_STATE_CLOSED && is_settled(session)) {
        session_event(session, SESSION_EVENT_SETTLED);
    }
    if (session->state != SESSION_STATE_CLOSED) {
        session_arm(session);
    }
}

/* ---- states ---------------------------------------------------------------------------------- */

static void close_now(struct session *session)
{
    struct worker *worker = session->caller.worker;
    struct list *node;
    while ((node = list_first(&session->caller.calls))) {
        call_caller_gone(session_call_at(node));
    }
    while ((node = list_first(&session->caller.oneways))) {
        call_caller_gone(session_call_at(node));
    }
    event_cancel(&session->caller.event);
    worker_timer_cancel(worker, &session->timer);
    channel_close(&session->channel, false);
    list_remove(&session->all);
    counter_sub(&worker->counters, METRIC_CONNECTIONS, 1);
    permit_give(&worker->env->connections, 1);
}

static void pause_reading(struct session *session)
{
    session->paused_ms = worker_now_ms(session->caller.worker);
    if (session->pauses & SESSION_PAUSE_BUFFERS) {
        channel_read_starve(&session->channel);
    } else {
        channel_read_stop(&session->channel);
    }
}

/* frame_timeout_ms stood still while it was this side that did not read. */
static void resume_reading(struct session *session)
{
    if (session->frame_begun_ms) {
        session->frame_begun_ms += worker_now_ms(session->caller.worker) - session->paused_ms;
    }
    session->go_on = channel_has_input(&session->channel);
    channel_read_start(&session->channel);
}

static void finish_reading(struct session *session)
{
    channel_read_stop(&session->channel);
    channel_input_done(&session->channel);
    session->go_on = false;
    session->frame_begun_ms = 0;
    caller_post(&session->caller);
}

static void begin_drain(struct session *session)
{
    session->answered = false;
    session->last_byte_ms = worker_now_ms(session->caller.worker);
    caller_post(&session->caller);
}

void session_event(struct session *session, enum session_event event)
{
    struct fsm_step step = session_fsm_step(session->state, event);
    session->state = step.next;
    switch ((enum session_action)step.action) {
    case SESSION_ACTION_STOP:
        pause_reading(session);
        break;
    case SESSION_ACTION_START:
        resume_reading(session);
        break;
    case SESSION_ACTION_FINISH:
        finish_reading(session);
        break;
    case SESSION_ACTION_ARM_QUIET:
        begin_drain(session);
        break;
    case SESSION_ACTION_CLOSE_STALLED:
        counter_add(&session->caller.worker->counters, METRIC_WRITE_STALLS, 1);
        close_now(session);
        break;
    case SESSION_ACTION_CLOSE:
        close_now(session);
        break;
    case SESSION_ACTION_NONE:
    case SESSION_ACTION_MAX:
        break;
    }
}

void session_check(const struct session *session)
{
    uint32_t calls = 0, held = 0;
    size_t held_bytes = 0;
    assert(session->magic == SESSION_MAGIC && session->state != SESSION_STATE_CLOSED);
    channel_check(&session->channel);
    for (struct list *n = session->caller.calls.next; n != &session->caller.calls; n = n->next) {
        const struct call *call = session_call_at(n);
        call_check(call);
        assert(call->caller == &session->caller && !call->request.wire.oneway);
        held += call->state == CALL_STATE_HELD;
        held_bytes += call->outcome.held_len;
        calls++;
    }
    for (struct list *n = session->caller.oneways.next; n != &session->caller.oneways;
         n = n->next) {
        call_check(session_call_at(n));
        calls++;
    }
    for (struct list *n = session->caller.finished.next; n != &session->caller.finished;
         n = n->next) {
        held--;
    }
    assert(calls == session->caller.calls_len && held == 0);
    assert(held_bytes == session->held_bytes);
    assert(!is_paused(session) || !session->channel.reading);
}
