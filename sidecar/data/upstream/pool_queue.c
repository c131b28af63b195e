/*
 * sidecar/data/upstream/pool_queue.c: permits, and who waits for one; see pool.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/pool.h"

#include <stdlib.h>

/* How many waiters are looked at for one that may have a permit. */
#define LOOK_AHEAD 16

static const struct route_config *config_of(const struct lease *lease)
{
    return &lease->request->route->config;
}

/* ---- tenants --------------------------------------------------------------------------------- */

static struct pool_tenant **bucket_of(struct pool *pool, uint64_t tuple)
{
    return &pool->tenants[tuple % POOL_TENANT_BUCKETS];
}

/* Of the tenants that hold nothing, the one that called longest ago, taken out. NULL: all hold something. */
static struct pool_tenant *evict(struct pool *pool)
{
    struct pool_tenant **oldest = NULL;
    for (uint32_t i = 0; i < POOL_TENANT_BUCKETS; i++) {
        for (struct pool_tenant **link = &pool->tenants[i]; *link; link = &(*link)->next) {
            bool unused = (*link)->held == 0 && (*link)->queued == 0;
            if (unused && (!oldest || (*link)->last_ms < (*oldest)->last_ms)) {
                oldest = link;
            }
        }
    }
    struct pool_tenant *tenant = oldest ? *oldest : NULL;
    if (tenant) {
        *oldest = tenant->next;
    }
    return tenant;
}

/* Any one, where the table is full of tenants that hold something: then two tuples share a place. */
static struct pool_tenant *some_tenant(struct pool *pool)
{
    for (uint32_t i = 0; i < POOL_TENANT_BUCKETS; i++) {
        if (pool->tenants[i]) {
            return pool->tenants[i];
        }
    }
    return NULL;
}

static struct pool_tenant *add_tenant(struct pool *pool, uint64_t tuple)
{
    struct pool_tenant *tenant = NULL;
    if (pool->tenants_len < POOL_TENANTS_MAX) {
        tenant = malloc(sizeof *tenant);
        pool->tenants_len += tenant != NULL;
    } else {
        tenant = evict(pool);
    }
    if (!tenant) {
        return some_tenant(pool);
    }
    struct pool_tenant **bucket = bucket_of(pool, tuple);
    *tenant = (struct pool_tenant){.pool = pool, .tuple = tuple, .next = *bucket};
    *bucket = tenant;
    return tenant;
}

struct pool_tenant *pool_tenant_of(struct pool *pool, uint64_t tuple)
{
    struct pool_tenant *tenant = *bucket_of(pool, tuple);
    while (tenant && tenant->tuple != tuple) {
        tenant = tenant->next;
    }
    if (!tenant) {
        tenant = add_tenant(pool, tuple);
    }
    if (tenant) {
        tenant->last_ms = worker_now_ms(pool->worker);
    }
    return tenant;
}

void pool_tenants_free(struct pool *pool)
{
    for (uint32_t i = 0; i < POOL_TENANT_BUCKETS; i++) {
        while (pool->tenants[i]) {
            struct pool_tenant *tenant = pool->tenants[i];
            pool->tenants[i] = tenant->next;
            free(tenant);
        }
    }
}

/* ---- permits --------------------------------------------------------------------------------- */

/* More than a quarter of the permits, if the other workers hold as much for it as this one. */
static bool is_greedy(const struct pool *pool, const struct pool_tenant *tenant, uint32_t limit)
{
    return (uint64_t)tenant->held * pool->worker->env->workers_len > limit / 4;
}

/* Whether another tenant that is not greedy has called lately. */
static bool others_call(const struct pool *pool, const struct pool_tenant *tenant, uint32_t limit)
{
    uint64_t now_ms = worker_now_ms(pool->worker);
    for (uint32_t i = 0; i < POOL_TENANT_BUCKETS; i++) {
        for (const struct pool_tenant *other = pool->tenants[i]; other; other = other->next) {
            if (other != tenant && now_ms - other->last_ms < POOL_RESERVE_MS &&
                !is_greedy(pool, other, limit)) {
                return true;
            }
        }
    }
    return false;
}

uint32_t pool_share(const struct pool *pool, const struct pool_tenant *tenant, uint32_t limit)
{
    bool reserved = is_greedy(pool, tenant, limit) && others_call(pool, tenant, limit);
    return reserved ? limit - limit / 4 : limit;
}

static uint32_t share_of(const struct pool *pool, const struct lease *lease)
{
    return pool_share(pool, lease->tenant, config_of(lease)->pool.max_connections);
}

bool pool_take_permit(const struct pool *pool, const struct lease *lease)
{
    return permit_take(&pool->endpoint->connections, 1, share_of(pool, lease));
}

void pool_give_permit(struct pool *pool)
{
    permit_give(&pool->endpoint->connections, 1);
}

bool pool_may_use(const struct pool *pool, const struct lease *lease)
{
    uint32_t limit = config_of(lease)->pool.max_connections;
    uint32_t share = share_of(pool, lease);
    if (share == limit) {
        return true;
    }
    uint64_t open = permit_taken(&pool->endpoint->connections);
    uint64_t idle = permit_taken(&pool->endpoint->idle);
    return open <= idle + share;
}

/* ---- other workers --------------------------------------------------------------------------- */

static uint64_t own_bit(const struct pool *pool)
{
    return UINT64_C(1) << pool->worker->index;
}

uint64_t pool_others_waiting(const struct pool *pool)
{
    return atomic_load(&pool->endpoint->waiting_workers) & ~own_bit(pool);
}

void pool_wake_others(const struct pool *pool)
{
    uint64_t waiting = pool_others_waiting(pool);
    for (uint32_t i = 0; waiting != 0; i++, waiting >>= 1) {
        if (waiting & 1) {
            worker_post(pool->worker->env->workers[i], WORKER_MAIL_PERMITS);
        }
    }
}

void pool_want_idle(const struct pool *pool)
{
    if (permit_taken(&pool->endpoint->idle) > 0) {
        worker_post_others(pool->worker, WORKER_MAIL_IDLE_WANTED);
    }
}

/* ---- the queue ------------------------------------------------------------------------------- */

static void insert_fairly(struct pool *pool, struct lease *lease)
{
    struct list *head = &pool->waiters;
    struct list *at = head; /* goes in front of this */
    lease->turn = pool->turn + lease->tenant->queued++;
    if (!list_empty(head) && lease->turn < lease_at(head->prev)->turn) {
        for (at = head->next; lease_at(at)->turn <= lease->turn; at = at->next) {
        }
    }
    list_push_back(at, &lease->node);
}

static bool refuse(struct lease *lease, const char *detail, int64_t number)
{
    lease->failure = (struct lease_failure){.fault = LEASE_FAULT_NO_PERMIT,
                                            .reason = REASON_POOL_EXHAUSTED,
                                            .unsent = true,
                                            .detail = detail,
                                            .number = number};
    return false;
}

bool pool_enqueue(struct pool *pool, struct lease *lease)
{
    struct worker *worker = pool->worker;
    const struct route_config *config = config_of(lease);
    if (config->pool.wait_ms == 0) {
        return refuse(lease, "all connections are busy, pool.max_connections %lld",
                      config->pool.max_connections);
    }
    if (!permit_take(&pool->endpoint->waiting, 1, config->pool.max_waiting)) {
        return refuse(lease, "too many calls wait for a connection, pool.max_waiting %lld",
                      config->pool.max_waiting);
    }
    insert_fairly(pool, lease);
    lease->state = LEASE_QUEUED;
    if (!list_linked(&pool->waits)) {
        list_push_back(&worker->pool_waits, &pool->waits);
        atomic_fetch_or(&pool->endpoint->waiting_workers, own_bit(pool));
    }
    counter_add(&worker->counters, METRIC_POOL_WAITS, 1);
    counter_add(&worker->counters, METRIC_POOL_WAITING, 1);
    return true;
}

void pool_dequeue(struct pool *pool, struct lease *lease)
{
    list_remove(&lease->node);
    lease->state = LEASE_NONE;
    pool->turn = lease->turn > pool->turn ? lease->turn : pool->turn;
    lease->tenant->queued--;
    permit_give(&pool->endpoint->waiting, 1);
    counter_sub(&pool->worker->counters, METRIC_POOL_WAITING, 1);
    if (list_empty(&pool->waiters)) {
        list_remove(&pool->waits);
        atomic_fetch_and(&pool->endpoint->waiting_workers, ~own_bit(pool));
    }
}

typedef bool (*may_fn)(const struct pool *pool, const struct lease *lease);

/* Of the first that wait, the first one that may. */
static struct lease *first_that(const struct pool *pool, may_fn may)
{
    struct list *node = pool->waiters.next;
    for (int i = 0; i < LOOK_AHEAD && node != &pool->waiters; i++, node = node->next) {
        if (may(pool, lease_at(node))) {
            return lease_at(node);
        }
    }
    return NULL;
}

static bool may_share(const struct pool *pool, const struct lease *lease)
{
    return pool_mux_wants(lease) && pool_mux_any(pool, lease);
}

struct lease *pool_next_to_share(const struct pool *pool)
{
    return first_that(pool, may_share);
}

struct lease *pool_next_for_permit(const struct pool *pool)
{
    return first_that(pool, pool_take_permit);
}

struct lease *pool_next_for_conn(const struct pool *pool)
{
    return first_that(pool, pool_may_use);
}
