/*
 * sidecar/data/upstream/upstream_fsm.c: the table of a connection to a callee; see upstream_fsm.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_fsm.h"

#define GO(state, act)                                                                             \
    {                                                                                              \
        FSM_KIND_GO, UPSTREAM_STATE_##state, UPSTREAM_ACTION_##act                                 \
    }
#define NO                                                                                         \
    {                                                                                              \
        FSM_KIND_IMPOSSIBLE, 0, 0                                                                  \
    }

static const struct fsm_step table[UPSTREAM_STATE_MAX][UPSTREAM_EVENT_MAX] = {
    [UPSTREAM_STATE_CONNECTING] =
        {
            [UPSTREAM_EVENT_CONNECTED] = GO(BUSY, START_CALL),
            [UPSTREAM_EVENT_CONNECTED_ONEWAY] = GO(ONEWAY, START_ONEWAY),
            [UPSTREAM_EVENT_CONNECTED_SPARE] = GO(IDLE, PARK),
            [UPSTREAM_EVENT_FAILED] = GO(CLOSED, CLOSE_FAIL),
            [UPSTREAM_EVENT_ABANDON] = GO(CONNECTING, NONE), /* may still serve another call */
            [UPSTREAM_EVENT_ASSIGN] = NO,
            [UPSTREAM_EVENT_BYTES] = NO, /* not read before connected */
            [UPSTREAM_EVENT_FINISHED] = NO,
            [UPSTREAM_EVENT_BAD] = NO,
            [UPSTREAM_EVENT_LOST] = NO,
            [UPSTREAM_EVENT_EXPIRED] = GO(CLOSED, CLOSE_FAIL), /* connect_timeout_ms */
            [UPSTREAM_EVENT_SHUT] = GO(CLOSED, CLOSE),
        },
    [UPSTREAM_STATE_IDLE] =
        {
            [UPSTREAM_EVENT_CONNECTED] = NO,
            [UPSTREAM_EVENT_CONNECTED_ONEWAY] = NO,
            [UPSTREAM_EVENT_CONNECTED_SPARE] = NO,
            [UPSTREAM_EVENT_FAILED] = NO,
            [UPSTREAM_EVENT_ABANDON] = NO,
            [UPSTREAM_EVENT_ASSIGN] = GO(BUSY, TAKE),
            [UPSTREAM_EVENT_BYTES] = GO(CLOSED, CLOSE), /* nobody asked */
            [UPSTREAM_EVENT_FINISHED] = NO,
            [UPSTREAM_EVENT_BAD] = NO,
            [UPSTREAM_EVENT_LOST] = GO(CLOSED, CLOSE),
            [UPSTREAM_EVENT_EXPIRED] = GO(CLOSED, CLOSE),
            [UPSTREAM_EVENT_SHUT] = GO(CLOSED, CLOSE),
        },
    [UPSTREAM_STATE_BUSY] =
        {
            [UPSTREAM_EVENT_CONNECTED] = NO,
            [UPSTREAM_EVENT_CONNECTED_ONEWAY] = NO,
            [UPSTREAM_EVENT_CONNECTED_SPARE] = NO,
            [UPSTREAM_EVENT_FAILED] = NO,
            [UPSTREAM_EVENT_ABANDON] = GO(CLOSED, CLOSE), /* a late reply must not meet a call */
            [UPSTREAM_EVENT_ASSIGN] = NO,
            [UPSTREAM_EVENT_BYTES] = GO(BUSY, PARSE),
            [UPSTREAM_EVENT_FINISHED] = GO(IDLE, PARK),
            [UPSTREAM_EVENT_BAD] = GO(CLOSED, CLOSE_BAD),
            [UPSTREAM_EVENT_LOST] = GO(CLOSED, CLOSE_LOST),
            [UPSTREAM_EVENT_EXPIRED] = NO,
            [UPSTREAM_EVENT_SHUT] = GO(CLOSED, CLOSE_LOST),
        },
    [UPSTREAM_STATE_ONEWAY] =
        {
            [UPSTREAM_EVENT_CONNECTED] = NO,
            [UPSTREAM_EVENT_CONNECTED_ONEWAY] = NO,
            [UPSTREAM_EVENT_CONNECTED_SPARE] = NO,
            [UPSTREAM_EVENT_FAILED] = NO,
            [UPSTREAM_EVENT_ABANDON] = GO(CLOSED, CLOSE_LOST), /* half a frame may have left */
            [UPSTREAM_EVENT_ASSIGN] = GO(ONEWAY, NONE),
            [UPSTREAM_EVENT_BYTES] = GO(ONEWAY, DROP),
            [UPSTREAM_EVENT_FINISHED] = NO,
            [UPSTREAM_EVENT_BAD] = NO,
            [UPSTREAM_EVENT_LOST] = GO(CLOSED, CLOSE_LOST),
            [UPSTREAM_EVENT_EXPIRED] = GO(CLOSED, CLOSE),
            [UPSTREAM_EVENT_SHUT] = GO(CLOSED, CLOSE_LOST),
        },
    [UPSTREAM_STATE_CLOSED] =
        {
            [UPSTREAM_EVENT_CONNECTED] = NO, /* libuv reports ECANCELED */
            [UPSTREAM_EVENT_CONNECTED_ONEWAY] = NO,
            [UPSTREAM_EVENT_CONNECTED_SPARE] = NO,
            [UPSTREAM_EVENT_FAILED] = GO(CLOSED, NONE),
            [UPSTREAM_EVENT_ABANDON] = GO(CLOSED, NONE),
            [UPSTREAM_EVENT_ASSIGN] = NO,
            [UPSTREAM_EVENT_BYTES] = GO(CLOSED, NONE),
            [UPSTREAM_EVENT_FINISHED] = GO(CLOSED, NONE),
            [UPSTREAM_EVENT_BAD] = GO(CLOSED, NONE),
            [UPSTREAM_EVENT_LOST] = GO(CLOSED, NONE),
            [UPSTREAM_EVENT_EXPIRED] = NO,
            [UPSTREAM_EVENT_SHUT] = GO(CLOSED, NONE),
        },
};

FSM_DEFINE(upstream, UPSTREAM, table)
