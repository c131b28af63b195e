/*
 * sidecar/data/upstream/pool_exclusive.c: connections with one lease at a time, and those kept idle.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"

/* The first, where all the callee's callers say alike what it speaks. */
static struct upstream_conn *first_that_speaks(const struct pool *pool,
                                               const struct route_pool *rules)
{
    for (struct list *n = pool->idle.next; n != &pool->idle; n = n->next) {
        struct upstream_conn *conn = container_of(n, struct upstream_conn, in_pool);
        if (upstream_conn_speaks(conn, rules)) {
            return conn;
        }
    }
    return NULL;
}

struct upstream_conn *pool_exclusive_find(struct pool *pool, const struct lease *lease)
{
    struct upstream_conn *conn = first_that_speaks(pool, &lease->request->route->config.pool);
    return conn && pool_may_use(pool, lease) ? conn : NULL;
}

static bool may_keep(const struct pool *pool, const struct upstream_conn *conn)
{
    return !conn->tainted && !pool_others_waiting(pool) &&
           worker_phase(pool->worker) < WORKER_ENDING &&
           !atomic_load_explicit(&pool->endpoint->gone, memory_order_relaxed);
}

/* Whether more are idle than are to be kept. */
static bool is_surplus(const struct pool *pool, const struct upstream_conn *conn)
{
    return permit_taken(&pool->endpoint->idle) > conn->rules.max_idle;
}

/* When it is to be closed, as things are now. */
static uint64_t idle_end_ms(const struct pool *pool, const struct upstream_conn *conn)
{
    uint32_t idle_ms = conn->rules.idle_ms;
    bool brief = idle_ms > POOL_SURPLUS_MS && is_surplus(pool, conn);
    uint64_t end_ms = conn->idle_since_ms + (brief ? POOL_SURPLUS_MS : idle_ms);
    uint64_t life_end_ms = conn_life_end_ms(&conn->life, &conn->rules);
    return end_ms < life_end_ms ? end_ms : life_end_ms;
}

/* A timer that is set for an earlier time stays: each call would set it and cancel it else. */
static void set_idle_timer(struct pool *pool, struct upstream_conn *conn)
{
    uint64_t end_ms = idle_end_ms(pool, conn);
    if (!timer_node_armed(&conn->timer) || conn->timer.expires_ms > end_ms) {
        worker_timer_set(pool->worker, &conn->timer, end_ms);
    }
}

bool pool_keep_idle(struct pool *pool, struct upstream_conn *conn)
{
    struct worker *worker = pool->worker;
    if (!may_keep(pool, conn) || conn->rules.max_idle == 0) {
        return false;
    }
    (void)permit_take(&pool->endpoint->idle, 1,
                      UINT64_MAX); /* counted, not limited: surplus goes later */
    /* One that began to wait after the first look may have looked for idle ones before this was counted. */
    if (pool_others_waiting(pool)) {
        permit_give(&pool->endpoint->idle, 1);
        return false;
    }
    conn->counted_idle = true;
    conn->idle_since_ms = worker_now_ms(worker);
    list_push_back(&worker->idle_upstreams, &conn->in_idle);
    if (!conn->shared) { /* a shared one stays in its list */
        list_push_front(&pool->idle, &conn->in_pool);
    }
    counter_add(&worker->counters, METRIC_UPSTREAM_IDLE, 1);
    set_idle_timer(pool, conn);
    return true;
}

bool pool_keep_longer(struct pool *pool, struct upstream_conn *conn)
{
    if (!conn->counted_idle) {
        return true; /* set when it was idle last */
    }
    if (worker_now_ms(pool->worker) >= idle_end_ms(pool, conn)) {
        return false;
    }
    set_idle_timer(pool, conn);
    return true;
}

void pool_leave_idle(struct pool *pool, struct upstream_conn *conn)
{
    if (conn->counted_idle) {
        conn->counted_idle = false;
        list_remove(&conn->in_idle);
        permit_give(&pool->endpoint->idle, 1);
        counter_sub(&pool->worker->counters, METRIC_UPSTREAM_IDLE, 1);
    }
    if (!conn->shared) {
        list_remove(&conn->in_pool);
    }
}

/* Of the shared ones that serve nothing, the one used longest ago; `spare` is one of another list. */
static struct upstream_conn *spare_shared(const struct list *shared, struct upstream_conn *spare)
{
    for (struct list *n = shared->next; n != shared; n = n->next) {
        struct upstream_conn *conn = container_of(n, struct upstream_conn, in_pool);
        if (conn->counted_idle && (!spare || conn->last_used_ms < spare->last_used_ms)) {
            spare = conn;
        }
    }
    return spare;
}

struct upstream_conn *pool_spare(const struct pool *pool)
{
    if (!list_empty(&pool->idle)) {
        return container_of(pool->idle.prev, struct upstream_conn, in_pool);
    }
    return spare_shared(&pool->mux, spare_shared(&pool->shared, NULL));
}
