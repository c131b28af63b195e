/*
 * sidecar/data/upstream/pool_mux.c: connections that the calls of pool.mode mux share.
 *
 * Few of them: a call takes the oldest one that is not full, so that the youngest ones come to rest where there is
 * less to do, and go after pool.idle_ms. One that has served its time (pool.max_calls, pool.max_age_ms), or is
 * silent, gets no call any more and goes behind the last that it has.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"

static struct upstream_conn *conn_of(struct list *node)
{
    return container_of(node, struct upstream_conn, in_pool);
}

bool pool_mux_wants(const struct lease *lease)
{
    return lease->request->route->config.pool.mode == DISC_POOL_MODE_MUX && !lease->request->oneway;
}

static bool serves(const struct upstream_conn *conn, const struct lease *lease)
{
    return !conn->retiring && conn->mux->leases < UPSTREAM_MUX_CALLS_MAX &&
           !upstream_conn_is_over(conn, &lease->request->route->config.pool);
}

struct upstream_conn *pool_mux_find(const struct pool *pool, const struct lease *lease)
{
    for (struct list *n = pool->mux.next; n != &pool->mux; n = n->next) {
        const struct upstream_mux *mux = conn_of(n)->mux;
        bool full = mux->leases >= POOL_MUX_CALLS || mux->bytes >= POOL_MUX_BYTES;
        if (!full && serves(conn_of(n), lease)) {
            return conn_of(n);
        }
    }
    return NULL;
}

struct upstream_conn *pool_mux_any(const struct pool *pool, const struct lease *lease)
{
    struct upstream_conn *any = NULL;
    for (struct list *n = pool->mux.next; n != &pool->mux; n = n->next) {
        struct upstream_conn *conn = conn_of(n);
        if ((!any || conn->mux->leases < any->mux->leases) && serves(conn, lease)) {
            any = conn;
        }
    }
    return any;
}
