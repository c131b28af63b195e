/*
 * sidecar/data/session/session_clock.c: when a caller is idle, late with a frame, or stalled; see session_internal.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When one of the session's clocks runs out, UINT64_MAX where none runs. */
static uint64_t next_deadline(const struct session *session)
{
    const struct bootstrap *bootstrap = session_bootstrap(session);
    uint64_t at = UINT64_MAX;
    bool reads = session_may_parse(session);
    if (session->unsent_since_ms) {
        /* Looked at four times a stall, so that it is found not much later than it is one. */
        uint64_t stall_ms = bootstrap->timeouts.write_stall_ms;
        at = earlier(session->unsent_since_ms + stall_ms,
                     worker_now_ms(session->caller.worker) + stall_ms / 4 + 1);
    }
    if (reads && session->frame_begun_ms) {
        at = earlier(at, session->frame_begun_ms + bootstrap->timeouts.frame_timeout_ms);
    } else if (reads && session->caller.calls_len == 0 && !session->unsent_since_ms) {
        if (session_is_draining(session)) {
            at = earlier(at, session->last_byte_ms + WORKER_DRAIN_QUIET_MS);
        } else if (bootstrap->timeouts.idle_ms > 0) {
            at = earlier(at, session->last_byte_ms + bootstrap->timeouts.idle_ms);
        }
    }
    return at;
}

/* Lazy: a timer that is armed too early finds out when it fires; one that would be late is moved. */
void session_arm(struct session *session)
{
    bool no_clock_runs = session->state == SESSION_STATE_OPEN && !session->unsent_since_ms &&
                         !session->frame_begun_ms &&
                         session_bootstrap(session)->timeouts.idle_ms == 0;
    if (no_clock_runs) {
        return; /* the usual case */
    }
    uint64_t at = next_deadline(session);
    struct timer_node *timer = &session->timer;
    if (at != UINT64_MAX && (!timer_node_armed(timer) || timer->expires_ms > at)) {
        worker_timer_set(session->caller.worker, timer, at);
    }
}

/* Notes what the kernel took of a long hand-over: a slow caller is not a stalled one. */
static void note_taken(struct session *session)
{
    uint64_t taken = channel_taken_total(&session->channel);
    if (session->unsent_since_ms && taken != session->unsent_seen) {
        session->unsent_seen = taken;
        session->unsent_since_ms = worker_now_ms(session->caller.worker);
    }
}

static uint64_t put_off(uint64_t since_ms, uint64_t ms, uint64_t now_ms)
{
    return since_ms ? earlier(since_ms + ms, now_ms) : 0;
}

/* While the loop stood still (a timer fires that late) neither side could move: that is not the caller's time.
 * One look at the socket does not show it either, where the caller stood still, too. */
static void forgive_late(struct session *session, uint64_t late_ms)
{
    uint64_t now_ms = worker_now_ms(session->caller.worker);
    if (late_ms >= WORKER_LATE_MS) {
        session->unsent_since_ms = put_off(session->unsent_since_ms, late_ms, now_ms);
        session->frame_begun_ms = put_off(session->frame_begun_ms, late_ms, now_ms);
    }
}

void session_on_timer(struct timer_node *node)
{
    struct session *session = container_of(node, struct session, timer);
    const struct bootstrap *bootstrap = session_bootstrap(session);
    uint64_t now_ms = worker_now_ms(session->caller.worker);
    bool reads = session_may_parse(session);
    note_taken(session);
    forgive_late(session, now_ms - node->expires_ms);
    if (session->unsent_since_ms &&
        now_ms >= session->unsent_since_ms + bootstrap->timeouts.write_stall_ms) {
        session_event(session, SESSION_EVENT_STALLED);
    } else if (reads && session->frame_begun_ms &&
               now_ms >= session->frame_begun_ms + bootstrap->timeouts.frame_timeout_ms) {
        counter_add(&session->caller.worker->counters, METRIC_REJECTED_TIMEOUT, 1);
        session_event(session, SESSION_EVENT_LATE);
    } else if (reads && now_ms >= next_deadline(session)) {
        if (session_is_draining(session) && channel_bytes_wait(&session->channel)) {
            session->last_byte_ms = now_ms;
        } else {
            session_event(session, SESSION_EVENT_QUIET);
        }
    }
    if (session->state != SESSION_STATE_CLOSED) {
        session_arm(session);
    }
}
