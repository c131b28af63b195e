/*
 * sidecar/data/session/session.c: the driver of a caller's connection; see session.h.
 *
 * Order of work in a read callback: bytes -> frames -> calls -> answers that are there at once ->
 * session_settle(), which alone decides about pausing, resuming and closing.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

#include "sidecar/data/upstream/upstream_conn.h"

#include <stdlib.h>
#include <sys/socket.h>

bool session_bytes_wait(struct session *session)
{
    uv_os_fd_t fd;
    char byte;
    return uv_fileno(&session->stream.uv.handle, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

void session_doom(struct session *session)
{
    if (!session->doomed && session->state != SESSION_STATE_CLOSED) {
        session->doomed = true;
        worker_timer_set(session->worker, &session->timer, worker_now_ms(session->worker));
    }
}

/* ---- pausing and settling ------------------------------------------------------------------ */

static void set_pause(struct session *session, enum session_pause pause, bool on,
                      enum metric metric)
{
    if (on && !(session->pauses & pause)) {
        session->pauses |= pause;
        counter_add(&session->worker->counters, metric, 1);
    } else if (!on) {
        session->pauses &= ~(uint32_t)pause;
    }
}

static void weigh_pauses(struct session *session)
{
    size_t unsent = stream_unsent(&session->stream) + session->held_bytes;
    bool was_unsent = session->pauses & SESSION_PAUSE_UNSENT;
    bool is_unsent = unsent > (was_unsent ? SESSION_UNSENT_LOW : SESSION_UNSENT_HIGH);
    set_pause(session, SESSION_PAUSE_PIPELINE,
              session->calls_len >= session_bootstrap(session)->limits.pipelined_calls,
              METRIC_READ_PAUSES_PIPELINE);
    set_pause(session, SESSION_PAUSE_CALLS, session->refused_calls > 0, METRIC_READ_PAUSES_CALLS);
    set_pause(session, SESSION_PAUSE_UNSENT, is_unsent, METRIC_READ_PAUSES_UNSENT);
    set_pause(session, SESSION_PAUSE_BUFFERS, session->intake.starving, METRIC_READ_PAUSES_BUFFERS);
    struct call *head = session_first_call(session);
    if (is_unsent != was_unsent) {
        session_hold_upstreams(session);
    } else if (is_unsent && head && head->state == CALL_STATE_SENT &&
               session_takes_reply(session, head)) {
        upstream_conn_resume(head->attempt.conn); /* it became the head meanwhile */
    }
}

static bool is_paused(const struct session *session)
{
    return session->state == SESSION_STATE_PAUSED || session->state == SESSION_STATE_DRAIN_PAUSED;
}

/* No call is under way and nothing has to be sent. */
static bool is_empty(const struct session *session)
{
    return session->calls_len == 0 && stream_unsent(&session->stream) == 0;
}
void session_settle(struct session *session)
{
    if (session->settling || session->state == SESSION_STATE_CLOSED) {
        return;
    }
    session->settling = true;
    weigh_pauses(session);
    if (session->pauses && session_may_parse(session)) {
        session_event(session, SESSION_EVENT_PAUSE);
    } else if (!session->pauses && is_paused(session)) {
        session_event(session, SESSION_EVENT_RESUME);
    }
    session->settling = false;
    bool last = session->state == SESSION_STATE_LAST;
    bool behind_reply = session->state == SESSION_STATE_DRAIN && session->answered &&
                        !intake_in_frame(&session->intake);
    if (is_empty(session) && (last || (behind_reply && !session_bytes_wait(session)))) {
        session_event(session, SESSION_EVENT_SETTLED);
    }
    if (session->state != SESSION_STATE_CLOSED) {
        session_arm(session);
    }
}

void session_call_left(struct session *session)
{
    session->calls_len--;
    session_settle(session);
}

/* ---- states -------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct session *session = session_of_handle(handle);
    session->magic = 0;
    free(session);
}

static void close_now(struct session *session)
{
    struct worker *worker = session->worker;
    struct list *node;
    while ((node = list_first(&session->calls))) {
        call_event(container_of(node, struct call, in_session), CALL_EVENT_CALLER_GONE);
    }
    while ((node = list_first(&session->oneways))) {
        /* Nobody waits for it: it goes on without its session. */
        container_of(node, struct call, in_session)->session = NULL;
        list_remove(node);
    }
    worker_timer_cancel(worker, &session->timer);
    intake_done(&session->intake);
    stream_done(&session->stream);
    list_remove(&session->all);
    counter_sub(&worker->counters, METRIC_CONNECTIONS, 1);
    permit_give(&worker->env->connections, 1);
    uv_close(&session->stream.uv.handle, on_closed);
}

static void pause_reading(struct session *session)
{
    session_stop_reading(session);
    session->paused_ms = worker_now_ms(session->worker);
    if (session->pauses & SESSION_PAUSE_BUFFERS) {
        intake_starve(&session->intake);
    }
}

/* frame_timeout_ms stood still while it was we who did not read. */
static void resume_reading(struct session *session)
{
    if (session->frame_begun_ms) {
        session->frame_begun_ms += worker_now_ms(session->worker) - session->paused_ms;
    }
    if (frame_reader_keeps(&session->intake.reader)) {
        intake_spin(&session->intake); /* not from within whoever made the room */
    }
    session_start_reading(session);
}

static void finish_reading(struct session *session)
{
    session_stop_reading(session);
    intake_done(&session->intake);
    session->frame_begun_ms = 0;
}

static void begin_drain(struct session *session)
{
    session->answered = false;
    session->last_byte_ms = worker_now_ms(session->worker);
    session_arm(session);
}

/* The one place that moves a session. */
void session_event(struct session *session, enum session_event event)
{
    struct fsm_step step = session_fsm_step(session->state, event);
    session->state = step.next;
    switch ((enum session_action)step.action) {
    case SESSION_ACTION_PARSE:
        session_take_frames(session);
        break;
    case SESSION_ACTION_STOP:
        pause_reading(session);
        break;
    case SESSION_ACTION_START:
        resume_reading(session);
        break;
    case SESSION_ACTION_FINISH:
        finish_reading(session);
        session_settle(session);
        break;
    case SESSION_ACTION_ARM_QUIET:
        begin_drain(session);
        break;
    case SESSION_ACTION_CLOSE_STALLED:
        counter_add(&session->worker->counters, METRIC_WRITE_STALLS, 1);
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
