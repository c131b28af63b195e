/*
 * sidecar/data/upstream/upstream_reply.h: what a callee sends: proved, matched with what was asked, handed to its lease.
 *
 * For the driver of the connection alone. Anything that is no reply ends the connection (UPSTREAM_EVENT_BAD).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_REPLY_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_REPLY_H

#include "sidecar/data/upstream/upstream_conn.h"

/* Takes up one frame. Whether there may be another one. */
bool upstream_reply_take(struct upstream_conn *conn);

static inline struct lease *upstream_first_lease(const struct upstream_conn *conn)
{
    struct list *node = list_first(&conn->leases);
    return node ? lease_at(node) : NULL;
}

static inline bool upstream_lease_is_sent(const struct upstream_conn *conn,
                                          const struct lease *lease)
{
    return lease->state == LEASE_SENT ||
           (lease->state == LEASE_SENDING && channel_sent_total(&conn->channel) >= lease->out_end);
}

/* Whether the kernel may have its last byte: of what several leases have handed over together, a part may be
 * taken before that is said. */
static inline bool upstream_lease_is_taken(const struct upstream_conn *conn,
                                           const struct lease *lease)
{
    return upstream_lease_is_sent(conn, lease) ||
           (lease->state == LEASE_SENDING && channel_taken_total(&conn->channel) >= lease->out_end);
}

#endif
