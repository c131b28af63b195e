/*
 * sidecar/data/call/attempt_fsm.c: the table of an attempt; see attempt_fsm.h for the drawing.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/attempt_fsm.h"

#define ON(state, event, next, act)                                                                \
    [ATTEMPT_STATE_##                                                                              \
        state][ATTEMPT_EVENT_##event] = {true, ATTEMPT_STATE_##next, ATTEMPT_ACTION_##act}

static const struct fsm_step table[ATTEMPT_STATE_MAX][ATTEMPT_EVENT_MAX] = {
    ON(PICKED, WAIT, WAITING, WAIT),
    ON(PICKED, READY, SENDING, SEND),
    ON(PICKED, ENDED, DONE, END),

    ON(WAITING, READY, SENDING, SEND),
    ON(WAITING, ENDED, DONE, END),

    ON(SENDING, STUCK, SENDING, WATCH_SEND),
    ON(SENDING, SENT, SENT, AWAIT),
    ON(SENDING, ENDED, DONE, END),

    ON(SENT, ENDED, DONE, END),
};

FSM_DEFINE(attempt, ATTEMPT, table)
