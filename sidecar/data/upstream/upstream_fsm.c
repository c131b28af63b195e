/*
 * sidecar/data/upstream/upstream_fsm.c: the table of a connection to a callee; see upstream_fsm.h.
 *
 * What is not here cannot be. So a channel reports nothing of a connection that is CLOSED, and no lease
 * is bound to one; the worker ends its calls, and with them the leases, before it shuts the connections.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_fsm.h"

#define ON(state, event, next, act)                                                                \
    [UPSTREAM_STATE_##                                                                             \
        state][UPSTREAM_EVENT_##event] = {true, UPSTREAM_STATE_##next, UPSTREAM_ACTION_##act}

static const struct fsm_step table[UPSTREAM_STATE_MAX][UPSTREAM_EVENT_MAX] = {
    ON(CONNECTING, CONNECTED, BUSY, START),
    ON(CONNECTING, CONNECTED_SHARED, SHARED, START_SHARED),
    ON(CONNECTING, CONNECTED_MUX, MUX, START_SHARED),
    ON(CONNECTING, CONNECTED_SPARE, IDLE, PARK),
    ON(CONNECTING, FAILED, CLOSED, CLOSE_FAIL),
    ON(CONNECTING, ASSIGN, CONNECTING, NONE), /* one more message gathers */
    ON(CONNECTING, FREE, CONNECTING, NONE),   /* it may still serve another lease */
    ON(CONNECTING, SHUT, CLOSED, CLOSE),

    ON(IDLE, ASSIGN, BUSY, START),
    ON(IDLE, UNASKED, CLOSED, CLOSE),
    ON(IDLE, LOST, CLOSED, CLOSE),
    ON(IDLE, EXPIRED, CLOSED, CLOSE),
    ON(IDLE, SHUT, CLOSED, CLOSE),

    ON(BUSY, FREE, IDLE, PARK),
    ON(BUSY, ABANDON, CLOSED, CLOSE), /* a late reply must not meet a call */
    ON(BUSY, BAD, CLOSED, CLOSE_BAD),
    ON(BUSY, LOST, CLOSED, CLOSE_LOST),

    ON(SHARED, ASSIGN, SHARED, START_SHARED),
    ON(SHARED, FREE, SHARED, PARK),
    ON(SHARED, ABANDON, CLOSED, CLOSE_LOST), /* half a message may have left */
    ON(SHARED, LOST, CLOSED, CLOSE_LOST),
    ON(SHARED, EXPIRED, CLOSED, CLOSE),
    ON(SHARED, SHUT, CLOSED, CLOSE),

    ON(MUX, ASSIGN, MUX, START_SHARED),
    ON(MUX, FREE, MUX, PARK),
    ON(MUX, ABANDON, CLOSED, CLOSE_LOST), /* what had to be kept of a message was not */
    ON(MUX, BAD, CLOSED, CLOSE_BAD),
    ON(MUX, LOST, CLOSED, CLOSE_LOST),
    ON(MUX, EXPIRED, CLOSED, CLOSE),
    ON(MUX, SHUT, CLOSED, CLOSE),
};

FSM_DEFINE(upstream, UPSTREAM, table)
