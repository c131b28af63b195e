/*
 * sidecar/data/session/session_fsm.c: the table of a caller's connection; see session_fsm.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_fsm.h"

#define GO(state, act)                                                                             \
    {                                                                                              \
        FSM_KIND_GO, SESSION_STATE_##state, SESSION_ACTION_##act                                   \
    }
#define NO                                                                                         \
    {                                                                                              \
        FSM_KIND_IMPOSSIBLE, 0, 0                                                                  \
    }

static const struct fsm_step table[SESSION_STATE_MAX][SESSION_EVENT_MAX] =
    {
        [SESSION_STATE_OPEN] =
            {
                [SESSION_EVENT_BYTES] = GO(OPEN, PARSE),
                [SESSION_EVENT_END] = GO(LAST, FINISH),
                [SESSION_EVENT_BROKEN] = GO(LAST, FINISH),
                [SESSION_EVENT_PAUSE] = GO(PAUSED, STOP),
                [SESSION_EVENT_RESUME] = GO(OPEN, NONE),
                [SESSION_EVENT_SETTLED] = GO(OPEN, NONE),
                [SESSION_EVENT_QUIET] = GO(CLOSED, CLOSE),
                [SESSION_EVENT_LATE] = GO(LAST, FINISH),
                [SESSION_EVENT_STALLED] = GO(CLOSED, CLOSE_STALLED),
                [SESSION_EVENT_DRAIN] = GO(DRAIN, ARM_QUIET),
                [SESSION_EVENT_ERROR] = GO(CLOSED, CLOSE),
            },
        [SESSION_STATE_PAUSED] =
            {
                [SESSION_EVENT_BYTES] = GO(PAUSED, NONE), /* kept unread by the frame reader */
                [SESSION_EVENT_END] = GO(LAST, FINISH),
                [SESSION_EVENT_BROKEN] = GO(LAST, FINISH),
                [SESSION_EVENT_PAUSE] = GO(PAUSED, NONE),
                [SESSION_EVENT_RESUME] = GO(OPEN, START),
                [SESSION_EVENT_SETTLED] = GO(PAUSED, NONE),
                [SESSION_EVENT_QUIET] = GO(PAUSED, NONE), /* it is we who do not read */
                [SESSION_EVENT_LATE] = GO(PAUSED, NONE),
                [SESSION_EVENT_STALLED] = GO(CLOSED, CLOSE_STALLED),
                [SESSION_EVENT_DRAIN] = GO(DRAIN_PAUSED, ARM_QUIET),
                [SESSION_EVENT_ERROR] = GO(CLOSED, CLOSE),
            },
        [SESSION_STATE_DRAIN] =
            {
                [SESSION_EVENT_BYTES] = GO(DRAIN, PARSE),
                [SESSION_EVENT_END] = GO(LAST, FINISH),
                [SESSION_EVENT_BROKEN] = GO(LAST, FINISH),
                [SESSION_EVENT_PAUSE] = GO(DRAIN_PAUSED, STOP),
                [SESSION_EVENT_RESUME] = GO(DRAIN, NONE),
                [SESSION_EVENT_SETTLED] = GO(LAST, FINISH), /* directly behind a reply */
                [SESSION_EVENT_QUIET] = GO(LAST, FINISH),
                [SESSION_EVENT_LATE] = GO(LAST, FINISH),
                [SESSION_EVENT_STALLED] = GO(CLOSED, CLOSE_STALLED),
                [SESSION_EVENT_DRAIN] = GO(DRAIN, NONE),
                [SESSION_EVENT_ERROR] = GO(CLOSED, CLOSE),
            },
        [SESSION_STATE_DRAIN_PAUSED] =
            {
                [SESSION_EVENT_BYTES] = GO(DRAIN_PAUSED, NONE),
                [SESSION_EVENT_END] = GO(LAST, FINISH),
                [SESSION_EVENT_BROKEN] = GO(LAST, FINISH),
                [SESSION_EVENT_PAUSE] = GO(DRAIN_PAUSED, NONE),
                [SESSION_EVENT_RESUME] = GO(DRAIN, START),
                [SESSION_EVENT_SETTLED] = GO(DRAIN_PAUSED, NONE),
                [SESSION_EVENT_QUIET] = GO(DRAIN_PAUSED, NONE),
                [SESSION_EVENT_LATE] = GO(DRAIN_PAUSED, NONE),
                [SESSION_EVENT_STALLED] = GO(CLOSED, CLOSE_STALLED),
                [SESSION_EVENT_DRAIN] = GO(DRAIN_PAUSED, NONE),
                [SESSION_EVENT_ERROR] = GO(CLOSED, CLOSE),
            },
        [SESSION_STATE_LAST] =
            {
                [SESSION_EVENT_BYTES] = GO(LAST, NONE),
                [SESSION_EVENT_END] = GO(LAST, NONE),
                [SESSION_EVENT_BROKEN] = GO(LAST, NONE),
                [SESSION_EVENT_PAUSE] = GO(LAST, NONE),
                [SESSION_EVENT_RESUME] = GO(LAST, NONE),
                [SESSION_EVENT_SETTLED] = GO(CLOSED, CLOSE),
                [SESSION_EVENT_QUIET] = GO(LAST, NONE),
                [SESSION_EVENT_LATE] = GO(LAST, NONE),
                [SESSION_EVENT_STALLED] = GO(CLOSED, CLOSE_STALLED),
                [SESSION_EVENT_DRAIN] = GO(LAST, NONE),
                [SESSION_EVENT_ERROR] = GO(CLOSED, CLOSE),
            },
        [SESSION_STATE_CLOSED] =
            {
                [SESSION_EVENT_BYTES] = GO(CLOSED, NONE),
                [SESSION_EVENT_END] = GO(CLOSED, NONE),
                [SESSION_EVENT_BROKEN] = GO(CLOSED, NONE),
                [SESSION_EVENT_PAUSE] = GO(CLOSED, NONE),
                [SESSION_EVENT_RESUME] = GO(CLOSED, NONE),
                [SESSION_EVENT_SETTLED] = GO(CLOSED, NONE),
                [SESSION_EVENT_QUIET] = NO, /* its timer is off */
                [SESSION_EVENT_LATE] = NO,
                [SESSION_EVENT_STALLED] = NO,
                [SESSION_EVENT_DRAIN] = GO(CLOSED, NONE),
                [SESSION_EVENT_ERROR] = GO(CLOSED, NONE),
            },
};

FSM_DEFINE(session, SESSION, table)
