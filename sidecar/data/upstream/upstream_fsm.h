/*
 * sidecar/data/upstream/upstream_fsm.h: what a connection to a callee does about each event. Pure.
 *
 *     CONNECTING --> BUSY <--> IDLE         one lease at a time
 *         |           |          |
 *         +----> SHARED          |          several: ONEWAY messages, whose answers are dropped
 *         +----> MUX             |          several: calls, whose replies say by their seqid whose they are, or
 *                     |          |          come in the order of the calls
 *                     |          |
 *                     v          v
 *                      CLOSED               the permit is given back, the handle closes
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_FSM_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_FSM_H

#include "sidecar/base/fsm.h"

#define UPSTREAM_STATES(X) X(CONNECTING) X(IDLE) X(BUSY) X(SHARED) X(MUX) X(CLOSED)

#define UPSTREAM_EVENTS(X)                                                                         \
    X(CONNECTED)        /* and there is a lease for it */                                          \
    X(CONNECTED_SHARED) /* made for ONEWAY messages */                                             \
    X(CONNECTED_MUX)    /* made for several calls */                                               \
    X(CONNECTED_SPARE)  /* the lease that it was made for has ended */                             \
    X(FAILED)           /* could not be connected, or to itself, or not in time */                 \
    X(ASSIGN)           /* a lease takes it */                                                     \
    X(UNASKED)          /* bytes came, and nothing was asked */                                    \
    X(FREE)             /* it serves no lease any more, and is as good as before */                \
    X(ABANDON)          /* a lease has ended whose message, or a part of it, has left */           \
    X(BAD)              /* what came is no reply to the message sent */                            \
    X(LOST)             /* EOF or an error */                                                      \
    X(EXPIRED)          /* idle for too long, or the permit is wanted */                           \
    X(SHUT)             /* the worker ends */

#define UPSTREAM_ACTIONS(X)                                                                        \
    X(NONE)                                                                                        \
    X(START)        /* read, and say READY to the lease */                                         \
    X(START_SHARED) /* the same to all that gathered */                                            \
    X(PARK)         /* into the pool: to a lease that waits, the idle list, or out */              \
    X(CLOSE)        /* no lease is left */                                                         \
    X(CLOSE_FAIL)   /* its leases fail: connecting failed */                                       \
    X(CLOSE_LOST)   /* its leases fail: lost */                                                    \
    X(CLOSE_BAD)    /* its lease fails: upstream_protocol */

FSM_DECLARE(upstream, UPSTREAM)

#endif
