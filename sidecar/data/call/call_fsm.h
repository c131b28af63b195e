/*
 * sidecar/data/call/call_fsm.h: what a call does about each event, in each state. Pure.
 *
 *            rules there             an attempt brought the outcome
 *     NEW -------------> TRYING ------------------------------------> HELD
 *      | no rules yet    |   \  another attempt: stays                  | its turn
 *      +--> WAIT_RULES   |    \ caller gone, sent                       v
 *            -> NEW      |     +-> ORPHAN ----- outcome ------------> DONE
 *                        + caller gone, not sent -------------------> DONE
 *     any of them: OUTCOME (tside answers itself) -> HELD
 *
 * TRYING: one attempt or several are under way (attempt.h).
 * HELD: the outcome is known, the reply waits for the replies in front of it, and for a caller that takes
 * what is sent already; accounted when it goes out (downstream_gone where it never does).
 * ORPHAN: sent, but the caller is gone: the connection is kept until the reply came or the deadline.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_CALL_FSM_H
#define TSIDE_SIDECAR_DATA_CALL_CALL_FSM_H

#include "sidecar/base/fsm.h"

#define CALL_STATES(X) X(NEW) X(WAIT_RULES) X(TRYING) X(ORPHAN) X(HELD) X(DONE)

#define CALL_EVENTS(X)                                                                             \
    X(NO_RULES)    /* no snapshot yet */                                                           \
    X(RULES)       /* the first snapshot came */                                                   \
    X(PICKED)      /* an endpoint was picked: try it */                                            \
    X(OUTCOME)     /* a reply, or what tside answers itself */                                     \
    X(ONEWAY_DONE) /* the outcome of a call that is not answered */                                \
    X(GONE)        /* the caller is gone, and nothing, or not all, was sent */                     \
    X(GONE_SENT)   /* the caller is gone, and the callee has the request */                        \
    X(TURN)        /* all replies in front are out */

#define CALL_ACTIONS(X)                                                                            \
    X(NONE)                                                                                        \
    X(HOLD)    /* wait for the first rules */                                                      \
    X(TRY)     /* an attempt begins: start the deadline */                                         \
    X(FINISH)  /* end what is under way, answer in its turn */                                     \
    X(RELEASE) /* end what is under way, account, free */                                          \
    X(END)     /* the same, as downstream_gone */                                                  \
    X(ORPHAN)  /* forget the session, keep connection and deadline */                              \
    X(FREE)    /* its reply is out */

FSM_DECLARE(call, CALL)

#endif
