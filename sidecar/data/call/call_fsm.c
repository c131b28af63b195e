/*
 * sidecar/data/call/call_fsm.c: the table of a call; see call_fsm.h for the drawing.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call_fsm.h"

#define ON(state, event, next, act)                                                                \
    [CALL_STATE_##state][CALL_EVENT_##event] = {true, CALL_STATE_##next, CALL_ACTION_##act}

static const struct fsm_step table[CALL_STATE_MAX][CALL_EVENT_MAX] = {
    ON(NEW, NO_RULES, WAIT_RULES, HOLD),
    ON(NEW, PICKED, TRYING, TRY),
    ON(NEW, OUTCOME, HELD, FINISH),
    ON(NEW, ONEWAY_DONE, DONE, RELEASE),

    ON(WAIT_RULES, RULES, NEW, NONE),
    ON(WAIT_RULES, OUTCOME, HELD, FINISH),
    ON(WAIT_RULES, ONEWAY_DONE, DONE, RELEASE),
    ON(WAIT_RULES, GONE, DONE, END),

    ON(TRYING, PICKED, TRYING, TRY),
    ON(TRYING, OUTCOME, HELD, FINISH),
    ON(TRYING, ONEWAY_DONE, DONE, RELEASE),
    ON(TRYING, GONE, DONE, END),
    ON(TRYING, GONE_SENT, ORPHAN, ORPHAN),

    ON(ORPHAN, OUTCOME, DONE, END),

    ON(HELD, GONE, DONE, END),
    ON(HELD, TURN, DONE, FREE),
};

FSM_DEFINE(call, CALL, table)
