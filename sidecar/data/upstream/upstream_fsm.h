/*
 * sidecar/data/upstream/upstream_fsm.h: what a connection to a callee does about each event. Pure.
 *
 *     CONNECTING --> BUSY <--> IDLE         mode `pool`: one call in flight
 *         |           |          |
 *         +----> ONEWAY          |          shared by ONEWAY messages, its answers are dropped
 *                     |          |
 *                     v          v
 *                      CLOSED               the handle closes, the permit is given back
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_FSM_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_FSM_H

#include "sidecar/base/fsm.h"

#define UPSTREAM_STATES(X) X(CONNECTING) X(IDLE) X(BUSY) X(ONEWAY) X(CLOSED)

#define UPSTREAM_EVENTS(X)                                                                         \
    X(CONNECTED)        /* for the call that it was made for */                                    \
    X(CONNECTED_ONEWAY) /* made for ONEWAY messages */                                             \
    X(CONNECTED_SPARE)  /* the call that it was made for is gone */                                \
    X(FAILED)           /* could not be connected, or to ourselves */                              \
    X(ABANDON)          /* its call timed out or lost its caller */                                \
    X(ASSIGN)           /* a call takes it */                                                      \
    X(BYTES)                                                                                       \
    X(FINISHED) /* the reply is complete and matched */                                            \
    X(BAD)      /* what came is no reply to the call */                                            \
    X(LOST)     /* EOF or an error */                                                              \
    X(EXPIRED)  /* idle for too long, or somebody else waits for the permit */                     \
    X(SHUT)     /* the worker ends */

#define UPSTREAM_ACTIONS(X)                                                                        \
    X(NONE)                                                                                        \
    X(START_CALL)   /* read, and hand it to its call */                                            \
    X(START_ONEWAY) /* read, and send what gathered */                                             \
    X(PARK)         /* into the pool: a waiter, the idle list, or out */                           \
    X(TAKE)         /* out of the idle list */                                                     \
    X(PARSE)                                                                                       \
    X(DROP)       /* answers to ONEWAY messages */                                                 \
    X(CLOSE)      /* nobody has to be told */                                                      \
    X(CLOSE_FAIL) /* its calls are told: connecting failed */                                      \
    X(CLOSE_LOST) /* its calls are told: lost */                                                   \
    X(CLOSE_BAD)  /* its call is told: upstream_protocol */

FSM_DECLARE(upstream, UPSTREAM)

#endif
