/*
 * sidecar/data/upstream/pool_shared.c: connections with several leases at once: ONEWAY messages.
 *
 * A callee serves what one connection brings one after the other, and nothing tells when it has read a
 * ONEWAY message. So each caller's ONEWAY messages have a connection of their own while permits are to be
 * had, as if the caller were connected directly: a slow one delays its own caller alone, and one
 * caller's keep their order. Where no permit is left, callers share the connection used longest ago.
 * Once it has sent what it had, such a connection is idle: its permit is anybody's who waits for one.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"

static struct upstream_conn *conn_of(struct list *node)
{
    return container_of(node, struct upstream_conn, in_pool);
}

static bool speaks(const struct upstream_conn *conn, const struct lease *lease)
{
    return upstream_conn_speaks(conn, &lease->request->route->config.pool);
}

struct upstream_conn *pool_shared_find(struct pool *pool, const struct lease *lease)
{
    for (struct list *n = pool->shared.next; n != &pool->shared; n = n->next) {
        if (conn_of(n)->last_caller == lease->request->caller && speaks(conn_of(n), lease)) {
            return conn_of(n);
        }
    }
    return NULL;
}

struct upstream_conn *pool_shared_any(struct pool *pool, const struct lease *lease)
{
    struct upstream_conn *any = NULL;
    for (struct list *n = pool->shared.next; n != &pool->shared; n = n->next) {
        bool older = !any || conn_of(n)->last_used_ms < any->last_used_ms;
        if (older && speaks(conn_of(n), lease)) {
            any = conn_of(n);
        }
    }
    return any;
}
