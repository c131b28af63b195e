/*
 * sidecar/data/upstream/pool.c: see pool.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/pool.h"

#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/upstream_conn.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- life ------------------------------------------------------------------------------------ */

static void on_tidy(struct event *event)
{
    struct pool *pool = container_of(event, struct pool, tidy);
    if (pool->conns > 0 || !list_empty(&pool->waiters)) {
        return;
    }
    event_cancel(&pool->share);
    pool->endpoint->pool_of_worker[pool->worker->index] = NULL;
    list_remove(&pool->waits);
    pool_tenants_free(pool);
    (void)endpoint_state_unref(pool->endpoint); /* NULL always */
    free(pool);
}

static void on_share(struct event *event);

struct pool *pool_get(struct worker *worker, struct endpoint_state *endpoint)
{
    struct pool *pool = endpoint->pool_of_worker[worker->index];
    if (pool) {
        return pool;
    }
    pool = calloc(1, sizeof *pool);
    if (pool) {
        pool->worker = worker;
        pool->endpoint = endpoint;
        endpoint_state_ref(endpoint);
        list_init(&pool->idle);
        list_init(&pool->shared);
        list_init(&pool->mux);
        list_init(&pool->waiters);
        list_init(&pool->waits);
        event_init(&pool->tidy, on_tidy);
        event_init(&pool->share, on_share);
        endpoint->pool_of_worker[worker->index] = pool;
    }
    return pool;
}

void pool_left(struct pool *pool)
{
    if (pool->conns == 0 && list_empty(&pool->waiters)) {
        worker_event_post(pool->worker, &pool->tidy);
    }
}

/* ---- descriptors ----------------------------------------------------------------------------- */

/* Closes the worker's idle connection that was used longest ago. False: none is idle. */
static bool reclaim(struct worker *worker)
{
    struct list *oldest = list_first(&worker->idle_upstreams);
    if (!oldest) {
        return false;
    }
    counter_add(&worker->counters, METRIC_UPSTREAM_RECLAIMED, 1);
    upstream_conn_event(container_of(oldest, struct upstream_conn, in_idle),
                        UPSTREAM_EVENT_EXPIRED);
    return true;
}

/* Refused before the kernel would: that keeps descriptors for callers and everything else. */
bool pool_take_descriptor(struct worker *worker)
{
    struct worker_env *env = worker->env;
    return permit_take(&env->upstreams, 1, env->bootstrap->limits.upstream_connections);
}

/* Takes one, an idle connection's if need be. Where this worker has none, the others' are for the next that
 * asks. */
static bool find_descriptor(struct worker *worker)
{
    while (!pool_take_descriptor(worker)) {
        if (!reclaim(worker)) {
            worker_post_others(worker, WORKER_MAIL_DESCRIPTORS_WANTED);
            return false;
        }
    }
    return true;
}

void pool_give_descriptors(struct worker *worker)
{
    for (int i = 0; i < POOL_DESCRIPTORS_GIVEN && reclaim(worker); i++) {
    }
}

/* ---- a connection for a lease ---------------------------------------------------------------- */

static void take(struct pool *pool, struct lease *lease, struct upstream_conn *conn)
{
    pool_leave_idle(pool, conn);
    upstream_conn_bind(conn, lease);
    upstream_conn_event(conn, UPSTREAM_EVENT_ASSIGN);
}

enum upstream_kind pool_kind(enum disc_enum mode)
{
    switch (mode) {
    case DISC_POOL_MODE_MUX:
        return UPSTREAM_KIND_MUX;
    case DISC_POOL_MODE_PIPELINE:
        return UPSTREAM_KIND_PIPELINE;
    default:
        return UPSTREAM_KIND_ONE;
    }
}

static enum upstream_kind kind_of(const struct lease *lease)
{
    return lease->request->oneway ? UPSTREAM_KIND_ONEWAY
                                  : pool_kind(lease->request->route->config.pool.mode);
}

static int open_for(struct pool *pool, const struct lease *lease, struct upstream_conn **ret)
{
    int r = upstream_conn_new(pool, kind_of(lease), &lease->request->route->config, ret);
    if (r) {
        permit_give(&pool->worker->env->upstreams, 1);
    }
    return r;
}

/* Makes a connection for the lease; a permit was taken for it, and a descriptor where there was one. False where
 * that fails at once: the failure is set, both are given back. */
static bool connect_for(struct pool *pool, struct lease *lease, bool has_descriptor)
{
    struct upstream_conn *conn;
    int r = has_descriptor ? open_for(pool, lease, &conn) : -EMFILE;
    if (r) {
        counter_add(&pool->worker->counters, METRIC_UPSTREAM_FAILED, 1);
        counter_add(&pool->worker->counters, METRIC_UPSTREAM_LIMITED, !has_descriptor);
        pool_give_permit(pool);
        pool_wake_others(pool);
        upstream_conn_refused(lease, r);
        return false;
    }
    lease->reused = false;
    upstream_conn_bind(conn, lease);
    return true;
}

static const struct route_pool *rules_of(const struct lease *lease)
{
    return &lease->request->route->config.pool;
}

static void retire(struct pool *pool, struct upstream_conn *conn)
{
    counter_add(&pool->worker->counters, METRIC_UPSTREAM_RETIRED, 1);
    upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
}

/* Whatever connection the lease may use at once, or one that is being made. NULL: it needs a permit. */
static struct upstream_conn *find_conn(struct pool *pool, const struct lease *lease)
{
    if (rules_of(lease)->mode == DISC_POOL_MODE_SHORT) {
        return NULL;
    }
    switch (kind_of(lease)) {
    case UPSTREAM_KIND_ONEWAY:
        return pool_shared_find(pool, lease);
    case UPSTREAM_KIND_MUX:
    case UPSTREAM_KIND_PIPELINE:
        return pool_mux_find(pool, lease);
    default:
        return pool_exclusive_find(pool, lease);
    }
}

/* The same, where those that have served long enough are closed first. One that still sends ONEWAY messages
 * takes its caller's next one all the same: they keep their order. */
static struct upstream_conn *find_lasting(struct pool *pool, const struct lease *lease)
{
    struct upstream_conn *conn;
    while ((conn = find_conn(pool, lease)) && conn->counted_idle &&
           upstream_conn_is_over(conn, rules_of(lease))) {
        retire(pool, conn);
    }
    return conn;
}

/* A ONEWAY message rather shares a connection than waits, and so does a call that may. */
static struct upstream_conn *share_conn(struct pool *pool, const struct lease *lease)
{
    if (pool_mux_wants(lease)) {
        return pool_mux_any(pool, lease);
    }
    bool shares = lease->request->oneway && rules_of(lease)->mode != DISC_POOL_MODE_SHORT;
    return shares ? pool_shared_any(pool, lease) : NULL;
}

/* A connection that is always busy keeps its permit from the leases that wait on other workers: after some turns
 * it gets no more, and goes behind its last. */
static void count_turn(struct pool *pool, struct upstream_conn *conn)
{
    if (conn->mux && pool_others_waiting(pool) && ++pool->local_turns == POOL_LOCAL_TURNS_MAX) {
        conn->retiring = true;
    }
}

static void serve(struct pool *pool);

/* Nothing is free: the lease waits, and what holds a permit without use is asked for it. */
static bool wait_for_permit(struct pool *pool, struct lease *lease)
{
    if (!pool_enqueue(pool, lease)) {
        return false;
    }
    uint32_t limit = lease->request->route->config.pool.max_connections;
    struct upstream_conn *spare =
        pool_share(pool, lease->tenant, limit) == limit ? pool_spare(pool) : NULL;
    if (spare) {
        upstream_conn_event(spare,
                            UPSTREAM_EVENT_EXPIRED); /* its permit goes to the first waiter */
    } else {
        pool_want_idle(pool);
        serve(pool); /* a permit that came free before our bit was set woke nobody */
    }
    return true;
}

static bool refuse_no_memory(struct lease *lease)
{
    lease->failure = (struct lease_failure){
        .reason = REASON_INTERNAL, .unsent = true, .detail = "out of memory"};
    return false;
}

static bool keep_request(const struct pool *pool, struct lease *lease)
{
    return message_own(&lease->request->message, &pool->worker->buffers) || refuse_no_memory(lease);
}

/* A permit was taken for a connection of its own. Where none can be made at once, a call shares another one. */
static bool get_own(struct pool *pool, struct lease *lease)
{
    if (!keep_request(pool, lease)) {
        pool_give_permit(pool);
        pool_wake_others(pool);
        return false;
    }
    if (connect_for(pool, lease, find_descriptor(pool->worker))) {
        return true;
    }
    struct upstream_conn *conn = pool_mux_wants(lease) ? pool_mux_any(pool, lease) : NULL;
    if (conn) {
        take(pool, lease, conn);
    }
    return conn != NULL;
}

static bool get(struct pool *pool, struct lease *lease, bool fresh)
{
    struct upstream_conn *conn =
        fresh && !lease->request->oneway ? NULL : find_lasting(pool, lease);
    if (!conn && list_empty(&pool->waiters) && pool_take_permit(pool, lease)) {
        return get_own(pool, lease);
    }
    conn = conn ? conn : share_conn(pool, lease);
    bool at_once = conn && conn->state != UPSTREAM_STATE_CONNECTING;
    if (!at_once && !keep_request(pool, lease)) {
        return false; /* it will not leave within this turn */
    }
    if (conn) {
        take(pool, lease, conn);
        count_turn(pool, conn);
        return true;
    }
    return wait_for_permit(pool, lease);
}

static enum lease_state fail_now(struct lease *lease, struct worker *worker)
{
    lease->state = LEASE_NONE;
    lease->tenant = NULL;
    lease_post(lease, worker, LEASE_NEWS_FAILED);
    return LEASE_NONE;
}

enum lease_state lease_get(struct lease *lease, struct worker *worker,
                           struct endpoint_state *endpoint, bool fresh)
{
    struct pool *pool = pool_get(worker, endpoint);
    lease->tenant = pool ? pool_tenant_of(pool, lease->request->route->hash) : NULL;
    bool got = lease->tenant ? get(pool, lease, fresh) : refuse_no_memory(lease);
    if (got) {
        return lease->state;
    }
    if (pool) {
        pool_left(pool);
    }
    return fail_now(lease, worker);
}

/* ---- what waits ------------------------------------------------------------------------------ */

/* One lease that waits gets a connection. False: none may have one. */
static bool serve_one(struct pool *pool)
{
    struct lease *lease = pool_next_for_permit(pool);
    if (!lease) {
        return false;
    }
    pool_dequeue(pool, lease);
    if (!connect_for(pool, lease, pool_take_descriptor(pool->worker))) {
        (void)fail_now(lease, pool->worker);
    }
    return true;
}

static void on_share(struct event *event)
{
    struct pool *pool = container_of(event, struct pool, share);
    struct lease *lease;
    while ((lease = pool_next_to_share(pool))) {
        struct upstream_conn *conn = pool_mux_any(pool, lease);
        pool_dequeue(pool, lease);
        take(pool, lease, conn);
        count_turn(pool, conn);
    }
}

static void serve(struct pool *pool)
{
    while (serve_one(pool)) {
    }
    pool_has_room(pool); /* others may share what was made for one */
    pool_left(pool);
}

void pool_serve_all(struct worker *worker)
{
    for (struct list *n = worker->pool_waits.next, *next; n != &worker->pool_waits; n = next) {
        next = n->next; /* serving takes this pool alone out of the list */
        serve(container_of(n, struct pool, waits));
    }
}

/* ---- connections that come free -------------------------------------------------------------- */

/* Whether the lease may have the connection as it is. */
static bool suits(const struct upstream_conn *conn, const struct lease *lease)
{
    return conn->kind != UPSTREAM_KIND_ONEWAY && kind_of(lease) == conn->kind && !conn->tainted &&
           upstream_conn_speaks(conn, rules_of(lease)) &&
           !upstream_conn_is_over(conn, rules_of(lease));
}

void pool_park(struct pool *pool, struct upstream_conn *conn)
{
    if (conn->retiring) {
        upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
        return;
    }
    if (upstream_conn_is_over(conn, &conn->rules)) {
        retire(pool, conn);
        return;
    }
    struct lease *waiter = pool_next_for_conn(pool);
    bool ours = !pool_others_waiting(pool) || pool->local_turns < POOL_LOCAL_TURNS_MAX;
    if (waiter && ours && suits(conn, waiter)) {
        pool->local_turns++;
        pool_dequeue(pool, waiter);
        take(pool, waiter, conn);
        pool_has_room(pool);
        return;
    }
    pool->local_turns = POOL_LOCAL_TURNS_MAX; /* the others' turn, where any wait */
    if (waiter || !pool_keep_idle(pool, conn)) {
        upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
    }
}

void pool_closed(struct pool *pool, struct upstream_conn *conn)
{
    pool_leave_idle(pool, conn);
    list_remove(&conn->in_pool);
    /* The permit first: what is served or woken may need it. */
    pool_give_permit(pool);
    bool others_first = pool_others_waiting(pool) && pool->local_turns >= POOL_LOCAL_TURNS_MAX;
    pool->local_turns = others_first ? 0 : pool->local_turns + 1;
    pool_wake_others(pool);
    pool->conns--;
    if (!others_first) {
        serve(pool);
    } else if (!list_empty(&pool->waiters)) {
        worker_post(pool->worker, WORKER_MAIL_PERMITS); /* in the next turn, behind the others */
    }
    pool_left(pool);
}

static struct pool *pool_of_conn(struct list *all)
{
    return container_of(all, struct upstream_conn, all)->pool;
}

/* A pool where others wait, that has something to spare and has not given as many as wait. */
static struct upstream_conn *next_to_give(struct worker *worker)
{
    for (struct list *n = worker->upstreams.next; n != &worker->upstreams; n = n->next) {
        struct pool *pool = pool_of_conn(n);
        if (pool_others_waiting(pool) && pool->given < permit_taken(&pool->endpoint->waiting)) {
            struct upstream_conn *spare = pool_spare(pool);
            pool->given += spare != NULL;
            if (spare) {
                return spare;
            }
        }
    }
    return NULL;
}

void pool_give_idle(struct worker *worker)
{
    struct upstream_conn *conn;
    for (struct list *n = worker->upstreams.next; n != &worker->upstreams; n = n->next) {
        pool_of_conn(n)->given = 0;
    }
    while ((conn = next_to_give(worker))) {
        upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
    }
}

void pool_drop_gone(struct worker *worker)
{
    for (struct list *n = worker->upstreams.next, *next; n != &worker->upstreams; n = next) {
        struct upstream_conn *conn = container_of(n, struct upstream_conn, all);
        next = n->next; /* closing one takes no other out of the list */
        if (conn->counted_idle &&
            atomic_load_explicit(&conn->pool->endpoint->gone, memory_order_relaxed)) {
            upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
        }
    }
}

void pool_check(const struct pool *pool)
{
    uint32_t queued = 0;
    uint32_t waiters = 0;
    for (uint32_t i = 0; i < POOL_TENANT_BUCKETS; i++) {
        for (const struct pool_tenant *tenant = pool->tenants[i]; tenant; tenant = tenant->next) {
            assert(tenant->pool == pool);
            queued += tenant->queued;
        }
    }
    uint64_t turn = 0;
    for (struct list *n = pool->waiters.next; n != &pool->waiters; n = n->next) {
        const struct lease *lease = lease_at(n);
        assert(lease->state == LEASE_QUEUED && lease->turn >= turn);
        turn = lease->turn;
        waiters++;
    }
    assert(queued == waiters);
    assert(list_linked(&pool->waits) == (waiters > 0));
    assert(permit_taken(&pool->endpoint->connections) >= pool->conns);
    assert(permit_taken(&pool->endpoint->waiting) >= waiters);
}
