/*
 * sidecar/data/call/call_fsm.h: what a call does about each event, in each state. Pure.
 *
 * The driver (call.c) reports events; the table says which state follows and which action to run.
 *
 *            rules there                    connection      last byte taken      reply
 *     NEW ---------------> WAIT_CONN -------------> SENDING --------------> SENT -------> HELD
 *      | no rules yet         ^  ^                     |                      |             |
 *      +--> WAIT_RULES ->NEW  |  +---- try again ------+          caller gone |      its turn
 *                          BACKOFF                                            v             v
 *     any of them: ANSWER (tside answers itself) -> HELD                   ORPHAN -------> DONE
 *
 * HELD: the outcome is known, the reply waits for the replies in front of it, and for a caller that takes
 * what is sent already; accounted when it goes out (downstream_gone where it never does).
 * ORPHAN: sent, but the caller is gone: the connection is kept until the reply came or the deadline.
 * BACKOFF is for retries with a pause; no configuration leads there yet.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_CALL_FSM_H
#define TSIDE_SIDECAR_DATA_CALL_CALL_FSM_H

#include "sidecar/base/fsm.h"

#define CALL_STATES(X)                                                                             \
    X(NEW) X(WAIT_RULES) X(WAIT_CONN) X(SENDING) X(SENT) X(BACKOFF) X(ORPHAN) X(HELD) X(DONE)

#define CALL_EVENTS(X)                                                                             \
    X(NO_RULES)        /* no snapshot yet */                                                       \
    X(RULES)           /* the first snapshot came */                                               \
    X(PICKED)          /* an endpoint was picked: get a connection to it */                        \
    X(CONN)            /* here is the connection */                                                \
    X(ALL_SENT)        /* the kernel took the last byte */                                         \
    X(ALL_SENT_ONEWAY) /* the same, and nothing will come back */                                  \
    X(REPLY)           /* a proved and matched reply */                                            \
    X(ANSWER)          /* tside answers itself: a stage, the pool, a failure that ends the call */ \
    X(TIMEOUT)         /* deadline, wait, send or receive timeout */                               \
    X(BACK_OFF)        /* try again after a pause */                                               \
    X(BACKOFF_OVER)                                                                                \
    X(CALLER_GONE) /* nobody is left to answer */                                                  \
    X(TURN)        /* all replies in front are out */

#define CALL_ACTIONS(X)                                                                            \
    X(NONE)                                                                                        \
    X(HOLD)         /* own the request's bytes and wait */                                         \
    X(ROUTE)        /* identify is done: find the route and run the stages */                      \
    X(GET_CONN)     /* ask the pool */                                                             \
    X(SEND)         /* edit the frame and queue it */                                              \
    X(AWAIT)        /* start receive_timeout_ms, let go of the request */                          \
    X(FINISH_SENT)  /* a oneway is over: account it, keep the connection */                        \
    X(FORWARD)      /* give the connection back, pass the reply on in its turn */                  \
    X(ANSWER)       /* answer in its turn; no connection is held */                                \
    X(ANSWER_LEAVE) /* the same; leave the pool's queue or the connection being made */            \
    X(ANSWER_DROP)  /* the same; the connection goes: a reply may still come on it */              \
    X(PAUSE)        /* start the backoff timer */                                                  \
    X(END)          /* account as downstream_gone, release everything */                           \
    X(END_LEAVE)    /* the same; leave the pool's queue */                                         \
    X(END_DROP)     /* the same; the connection goes, or is given back where no byte left */       \
    X(ORPHAN)       /* forget the session, keep connection and deadline */                         \
    X(END_KEEP)     /* account as downstream_gone, give the connection back */                     \
    X(RELEASE)      /* back to the free list */

FSM_DECLARE(call, CALL)

#endif
