/*
 * sidecar/data/session/session_fsm.h: what a caller's connection does about each event. Pure.
 *
 *     OPEN <--> PAUSED          reading stops for back-pressure and goes on
 *       |  \
 *       |   \--------> LAST     EOF, a stream that cannot be followed, end of drain: no more reading,
 *       v              |        replies still due go out, then the connection closes
 *     DRAIN -----------+
 *       (SIGTERM: still reads; closes behind a reply or after a quiet while)
 *     every state: an error closes at once -> CLOSED
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_SESSION_SESSION_FSM_H
#define TSIDE_SIDECAR_DATA_SESSION_SESSION_FSM_H

#include "sidecar/base/fsm.h"

#define SESSION_STATES(X) X(OPEN) X(PAUSED) X(DRAIN) X(DRAIN_PAUSED) X(LAST) X(CLOSED)

#define SESSION_EVENTS(X)                                                                          \
    X(END)     /* the caller sends no more: EOF */                                                 \
    X(BROKEN)  /* the byte stream can no longer be followed */                                     \
    X(PAUSE)   /* too much is under way */                                                         \
    X(RESUME)  /* there is room again */                                                           \
    X(SETTLED) /* no call under way, nothing unsent, no frame begun */                             \
    X(QUIET)   /* idle timeout, or the quiet while of a drain */                                   \
    X(LATE)    /* a frame was not finished in time */                                              \
    X(STALLED) /* replies are not taken */                                                         \
    X(DRAIN)   /* the process is to end */                                                         \
    X(ERROR)   /* the connection failed, or no memory is left for it */

#define SESSION_ACTIONS(X)                                                                         \
    X(NONE)                                                                                        \
    X(STOP)      /* stop reading */                                                                \
    X(START)     /* read again, look at what was kept first */                                     \
    X(FINISH)    /* stop reading; close when the replies due are out */                            \
    X(ARM_QUIET) /* start the quiet while of a drain */                                            \
    X(CLOSE)     /* close now; calls under way lose their caller */                                \
    X(CLOSE_STALLED)

FSM_DECLARE(session, SESSION)

#endif
