/*
 * sidecar/data/upstream/pool_warm.c: connections to endpoints that are new, made before their first call comes.
 *
 * When a cluster that this worker calls has got new endpoints, the next call to it makes a connection to each of them
 * (POOL_WARM_MAX at most), of the kind and by the rules of that call. They rest like any other that is idle: for
 * pool.idle_ms, and their permits and descriptors are anybody's who needs them. What cannot be made at once, or
 * fails, is left to the first call.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/pool.h"

#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/upstream_conn.h"

static bool open_warm(struct pool *pool, const struct route_config *config)
{
    struct worker *worker = pool->worker;
    struct upstream_conn *conn;
    if (!permit_take(&pool->endpoint->connections, 1, config->pool.max_connections)) {
        return false;
    }
    if (pool_take_descriptor(worker)) {
        if (upstream_conn_new(pool, pool_kind(config->pool.mode), config, &conn) == 0) {
            conn->rules = config->pool;
            return true;
        }
        permit_give(&worker->env->upstreams, 1);
    }
    pool_give_permit(pool);
    pool_wake_others(pool);
    return false;
}

static void warm(struct worker *worker, struct endpoint_state *endpoint,
                 const struct route_config *config)
{
    struct pool *pool = pool_get(worker, endpoint);
    if (!pool) {
        return;
    }
    if (open_warm(pool, config)) {
        counter_add(&worker->counters, METRIC_UPSTREAM_WARMED, 1);
    }
    pool_left(pool);
}

/* Whether it has just come, and has nothing of this worker yet. */
static bool is_cold(const struct worker *worker, const struct target_set *set, uint32_t i)
{
    const struct endpoint_state *endpoint = set->endpoints[i];
    return endpoint->born_in > set->warm_in && !endpoint->pool_of_worker[worker->index];
}

void pool_warm(struct worker *worker, struct target_set *set, uint32_t target,
               const struct route_config *config)
{
    uint32_t left = POOL_WARM_MAX;
    set->to_warm = false;
    if (config->pool.mode == DISC_POOL_MODE_SHORT || config->pool.max_idle == 0) {
        return;
    }
    for (uint32_t i = 0; i < set->n && left > 0; i++) {
        if (i != target && is_cold(worker, set, i)) {
            warm(worker, set->endpoints[i], config);
            left--;
        }
    }
}
