/*
 * sidecar/data/session/session_fsm.c: the table of a caller's connection; see session_fsm.h.
 *
 * What is not here cannot be: a session that is CLOSED gets no event, its clocks only run while it reads or
 * sends, and it pauses only what it reads. An end that is read before a pause counts when that is over.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_fsm.h"

#define ON(state, event, next, act)                                                                \
    [SESSION_STATE_##                                                                              \
        state][SESSION_EVENT_##event] = {true, SESSION_STATE_##next, SESSION_ACTION_##act}

static const struct fsm_step table[SESSION_STATE_MAX][SESSION_EVENT_MAX] = {
    ON(OPEN, END, LAST, FINISH),
    ON(OPEN, BROKEN, LAST, FINISH),
    ON(OPEN, PAUSE, PAUSED, STOP),
    ON(OPEN, QUIET, CLOSED, CLOSE),
    ON(OPEN, LATE, LAST, FINISH),
    ON(OPEN, STALLED, CLOSED, CLOSE_STALLED),
    ON(OPEN, DRAIN, DRAIN, ARM_QUIET),
    ON(OPEN, ERROR, CLOSED, CLOSE),

    ON(PAUSED, RESUME, OPEN, START),
    ON(PAUSED, STALLED, CLOSED, CLOSE_STALLED),
    ON(PAUSED, DRAIN, DRAIN_PAUSED, ARM_QUIET),
    ON(PAUSED, ERROR, CLOSED, CLOSE),

    ON(DRAIN, END, LAST, FINISH),
    ON(DRAIN, BROKEN, LAST, FINISH),
    ON(DRAIN, PAUSE, DRAIN_PAUSED, STOP),
    ON(DRAIN, SETTLED, LAST, FINISH), /* directly behind a reply */
    ON(DRAIN, QUIET, LAST, FINISH),
    ON(DRAIN, LATE, LAST, FINISH),
    ON(DRAIN, STALLED, CLOSED, CLOSE_STALLED),
    ON(DRAIN, ERROR, CLOSED, CLOSE),

    ON(DRAIN_PAUSED, RESUME, DRAIN, START),
    ON(DRAIN_PAUSED, STALLED, CLOSED, CLOSE_STALLED),
    ON(DRAIN_PAUSED, ERROR, CLOSED, CLOSE),

    ON(LAST, SETTLED, CLOSED, CLOSE),
    ON(LAST, STALLED, CLOSED, CLOSE_STALLED),
    ON(LAST, DRAIN, LAST, NONE),
    ON(LAST, ERROR, CLOSED, CLOSE),
};

FSM_DEFINE(session, SESSION, table)
