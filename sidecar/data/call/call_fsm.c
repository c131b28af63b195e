/*
 * sidecar/data/call/call_fsm.c: the table of a call; see call_fsm.h for the drawing.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call_fsm.h"

#define GO(state, act)                                                                             \
    {                                                                                              \
        FSM_KIND_GO, CALL_STATE_##state, CALL_ACTION_##act                                         \
    }
#define NO                                                                                         \
    {                                                                                              \
        FSM_KIND_IMPOSSIBLE, 0, 0                                                                  \
    }

static const struct fsm_step table[CALL_STATE_MAX][CALL_EVENT_MAX] = {
    [CALL_STATE_NEW] =
        {
            [CALL_EVENT_NO_RULES] = GO(WAIT_RULES, HOLD),
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = GO(WAIT_CONN, GET_CONN),
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = NO,
            [CALL_EVENT_ANSWER] = GO(HELD, ANSWER),
            [CALL_EVENT_TIMEOUT] = NO, /* no timer runs yet */
            [CALL_EVENT_BACK_OFF] = NO,
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = NO, /* the session is in our callers' stack */
            [CALL_EVENT_TURN] = NO,
        },
    [CALL_STATE_WAIT_RULES] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = GO(NEW, ROUTE),
            [CALL_EVENT_PICKED] = NO,
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = NO,
            [CALL_EVENT_ANSWER] = GO(HELD, ANSWER),
            [CALL_EVENT_TIMEOUT] = GO(HELD, ANSWER),
            [CALL_EVENT_BACK_OFF] = NO,
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = GO(DONE, END),
            [CALL_EVENT_TURN] = NO,
        },
    [CALL_STATE_WAIT_CONN] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = GO(WAIT_CONN, GET_CONN), /* another endpoint, after a failure */
            [CALL_EVENT_CONN] = GO(SENDING, SEND),
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = NO,
            [CALL_EVENT_ANSWER] = GO(HELD, ANSWER_LEAVE),
            [CALL_EVENT_TIMEOUT] = GO(HELD, ANSWER_LEAVE),
            [CALL_EVENT_BACK_OFF] = GO(BACKOFF, PAUSE),
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = GO(DONE, END_LEAVE),
            [CALL_EVENT_TURN] = NO,
        },
    [CALL_STATE_SENDING] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = GO(WAIT_CONN, GET_CONN), /* lost before the last byte was taken */
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = GO(SENT, AWAIT),
            [CALL_EVENT_ALL_SENT_ONEWAY] = GO(DONE, FINISH_SENT),
            [CALL_EVENT_REPLY] = NO, /* the connection calls it upstream_protocol: ANSWER */
            [CALL_EVENT_ANSWER] = GO(HELD, ANSWER_DROP),
            [CALL_EVENT_TIMEOUT] = GO(HELD, ANSWER_DROP),
            [CALL_EVENT_BACK_OFF] = GO(BACKOFF, PAUSE),
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = GO(DONE, END_DROP),
            [CALL_EVENT_TURN] = NO,
        },
    [CALL_STATE_SENT] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = NO, /* may have run: only `idempotent` will allow it */
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = GO(HELD, FORWARD),
            [CALL_EVENT_ANSWER] = GO(HELD, ANSWER_DROP),
            [CALL_EVENT_TIMEOUT] = GO(HELD, ANSWER_DROP),
            [CALL_EVENT_BACK_OFF] = NO,
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = GO(ORPHAN, ORPHAN),
            [CALL_EVENT_TURN] = NO,
        },
    [CALL_STATE_BACKOFF] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = NO,
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = NO,
            [CALL_EVENT_ANSWER] = GO(HELD, ANSWER),
            [CALL_EVENT_TIMEOUT] = GO(HELD, ANSWER),
            [CALL_EVENT_BACK_OFF] = NO,
            [CALL_EVENT_BACKOFF_OVER] = GO(WAIT_CONN, GET_CONN),
            [CALL_EVENT_CALLER_GONE] = GO(DONE, END),
            [CALL_EVENT_TURN] = NO,
        },
    [CALL_STATE_ORPHAN] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = NO,
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = GO(DONE, END_KEEP),
            [CALL_EVENT_ANSWER] = GO(DONE, END_DROP),
            [CALL_EVENT_TIMEOUT] = GO(DONE, END_DROP),
            [CALL_EVENT_BACK_OFF] = NO,
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = NO,
            [CALL_EVENT_TURN] = NO,
        },
    [CALL_STATE_HELD] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = NO,
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = NO,
            [CALL_EVENT_ANSWER] = NO,
            [CALL_EVENT_TIMEOUT] = NO, /* the timer stopped when the outcome was known */
            [CALL_EVENT_BACK_OFF] = NO,
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = GO(DONE, END),
            [CALL_EVENT_TURN] = GO(DONE, RELEASE),
        },
    [CALL_STATE_DONE] =
        {
            [CALL_EVENT_NO_RULES] = NO,
            [CALL_EVENT_RULES] = NO,
            [CALL_EVENT_PICKED] = NO,
            [CALL_EVENT_CONN] = NO,
            [CALL_EVENT_ALL_SENT] = NO,
            [CALL_EVENT_ALL_SENT_ONEWAY] = NO,
            [CALL_EVENT_REPLY] = NO,
            [CALL_EVENT_ANSWER] = NO,
            [CALL_EVENT_TIMEOUT] = NO,
            [CALL_EVENT_BACK_OFF] = NO,
            [CALL_EVENT_BACKOFF_OVER] = NO,
            [CALL_EVENT_CALLER_GONE] = NO,
            [CALL_EVENT_TURN] = NO,
        },
};

FSM_DEFINE(call, CALL, table)
