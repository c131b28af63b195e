/*
 * sidecar/data/upstream/pool_mux.c: connections that the calls of pool.mode mux share, or those of pipeline.
 *
 * Few of them: in mode mux a call takes the oldest one that is not full, so that the youngest ones come to rest
 * where there is less to do, and go after pool.idle_ms. In mode pipeline a call waits for those in front of it: it
 * takes the one with the fewest calls, and one is full much sooner. One that has served its time (pool.max_calls,
 * pool.max_age_ms), is silent, or has a call in front that timed out, gets no call any more and goes behind the last
 * that it has.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"

static struct upstream_conn *conn_of(struct list *node)
{
    return container_of(node, struct upstream_conn, in_pool);
}

static bool is_ordered(const struct lease *lease)
{
    return lease->request->route->config.pool.mode == DISC_POOL_MODE_PIPELINE;
}

bool pool_mux_wants(const struct lease *lease)
{
    bool shares =
        is_ordered(lease) || lease->request->route->config.pool.mode == DISC_POOL_MODE_MUX;
    return shares && !lease->request->oneway;
}

static bool serves(const struct upstream_conn *conn, const struct lease *lease)
{
    const struct route_pool *rules = &lease->request->route->config.pool;
    return !conn->retiring && conn->mux->ordered == is_ordered(lease) &&
           upstream_mux_has_room(conn->mux) && upstream_conn_speaks(conn, rules) &&
           !upstream_conn_is_over(conn, rules);
}

static bool is_full(const struct upstream_mux *mux)
{
    return mux->leases >= (mux->ordered ? POOL_PIPELINE_CALLS : POOL_MUX_CALLS) ||
           mux->bytes >= POOL_MUX_BYTES;
}

static struct upstream_conn *oldest_with_room(const struct pool *pool, const struct lease *lease)
{
    for (struct list *n = pool->mux.next; n != &pool->mux; n = n->next) {
        if (!is_full(conn_of(n)->mux) && serves(conn_of(n), lease)) {
            return conn_of(n);
        }
    }
    return NULL;
}

struct upstream_conn *pool_mux_find(const struct pool *pool, const struct lease *lease)
{
    if (!is_ordered(lease)) {
        return oldest_with_room(pool, lease);
    }
    struct upstream_conn *conn = pool_mux_any(pool, lease);
    return conn && !is_full(conn->mux) ? conn : NULL;
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
