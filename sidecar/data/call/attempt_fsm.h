/*
 * sidecar/data/call/attempt_fsm.h: what one try of a call does about each event. Pure.
 *
 *     PICKED --> WAITING --> SENDING --> SENT --> DONE
 *         \__________________^ (a connection is there at once)
 *     any of them: ended --> DONE
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_ATTEMPT_FSM_H
#define TSIDE_SIDECAR_DATA_CALL_ATTEMPT_FSM_H

#include "sidecar/base/fsm.h"

#define ATTEMPT_STATES(X) X(PICKED) X(WAITING) X(SENDING) X(SENT) X(DONE)

#define ATTEMPT_EVENTS(X)                                                                          \
    X(WAIT)  /* it has asked for a connection, and there is none yet */                            \
    X(READY) /* a connection is there */                                                           \
    X(STUCK) /* the kernel did not take all within the turn */                                     \
    X(SENT)  /* it has taken the last byte */                                                      \
    X(ENDED) /* a reply, a failure, a timeout, or nobody wants it any more */

#define ATTEMPT_ACTIONS(X)                                                                         \
    X(NONE)                                                                                        \
    X(WAIT)       /* start pool.wait_ms */                                                         \
    X(SEND)       /* lay the message out and queue it */                                           \
    X(WATCH_SEND) /* start send_timeout_ms */                                                      \
    X(AWAIT)      /* start receive_timeout_ms */                                                   \
    X(END)        /* give everything back */

FSM_DECLARE(attempt, ATTEMPT)

#endif
