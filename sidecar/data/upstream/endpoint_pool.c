/*
 * sidecar/data/upstream/endpoint_pool.c: mode `pool`: permits, idle connections, callers that wait.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/endpoint_pool.h"

#include <assert.h>
#include <stdlib.h>

/* From this try on a call wants a connection of its own making: idle ones have died under it. */
#define FRESH_FROM_TRY 3
/* How long a second tuple's call makes an endpoint a shared one. */
#define POOL_SHARED_MS 10000
/* How many waiters are looked at for one that may have a permit. */
#define POOL_LOOK_AHEAD 16

static struct endpoint_pool *pool_of(struct worker *worker, struct endpoint_state *endpoint)
{
    struct endpoint_pool *pool = endpoint->pool_of_worker[worker->index];
    if (pool) {
        return pool;
    }
    pool = calloc(1, sizeof *pool);
    if (pool) {
        pool->worker = worker;
        pool->endpoint = endpoint;
        endpoint_state_ref(endpoint);
        list_init(&pool->idle);
        list_init(&pool->waiters);
        list_init(&pool->waits);
        endpoint->pool_of_worker[worker->index] = pool;
    }
    return pool;
}

static void free_if_unused(struct endpoint_pool *pool)
{
    if (pool->conns == 0 && list_empty(&pool->waiters)) {
        pool->endpoint->pool_of_worker[pool->worker->index] = NULL;
        list_remove(&pool->waits);
        endpoint_state_unref(pool->endpoint);
        free(pool);
    }
}

static uint64_t own_bit(const struct endpoint_pool *pool)
{
    return UINT64_C(1) << pool->worker->index;
}

static uint64_t others_waiting(const struct endpoint_pool *pool)
{
    return atomic_load(&pool->endpoint->waiting_workers) & ~own_bit(pool);
}

static void wake_others(struct endpoint_pool *pool)
{
    uint64_t waiting = others_waiting(pool);
    for (uint32_t i = 0; waiting != 0; i++, waiting >>= 1) {
        if (waiting & 1) {
            worker_permits_came(pool->worker->env->workers[i]);
        }
    }
}

/* ---- the queue ----------------------------------------------------------------------------- */

static struct call *call_of_wait(struct list *node)
{
    return container_of(node, struct call, waits);
}

/* Tuples take turns: the n-th call of a tuple that waits stands behind the others' first n. So a caller that
 * pipelines a thousand calls, or opens a thousand connections, delays itself. */
static void insert_fairly(struct endpoint_pool *pool, struct call *call)
{
    struct list *head = &pool->waiters;
    struct list *at = head; /* goes in front of this */
    call->queue_turn = pool->turn + call->route->queued++;
    if (!list_empty(head) && call->queue_turn < call_of_wait(head->prev)->queue_turn) {
        for (at = head->next; call_of_wait(at)->queue_turn <= call->queue_turn; at = at->next) {
        }
    }
    list_push_back(at, &call->waits);
}

static void enqueue(struct endpoint_pool *pool, struct call *call)
{
    struct worker *worker = pool->worker;
    insert_fairly(pool, call);
    call->in_pool_queue = true;
    if (!list_linked(&pool->waits)) {
        list_push_back(&worker->pool_waits, &pool->waits);
        atomic_fetch_or(&pool->endpoint->waiting_workers, own_bit(pool));
    }
    counter_add(&worker->counters, METRIC_POOL_WAITS, 1);
    counter_add(&worker->counters, METRIC_POOL_WAITING, 1);
    call_arm(call, CALL_WAIT_POOL, call->route->config.pool.wait_ms);
}

static void dequeue(struct endpoint_pool *pool, struct call *call)
{
    list_remove(&call->waits);
    call->in_pool_queue = false;
    pool->turn = call->queue_turn > pool->turn ? call->queue_turn : pool->turn;
    call->route->queued--;
    permit_give(&pool->endpoint->waiting, 1);
    counter_sub(&pool->worker->counters, METRIC_POOL_WAITING, 1);
    if (list_empty(&pool->waiters)) {
        list_remove(&pool->waits);
        atomic_fetch_and(&pool->endpoint->waiting_workers, ~own_bit(pool));
    }
}

/* ---- handing connections to calls ---------------------------------------------------------- */

static void assign(struct upstream_conn *conn, struct call *call)
{
    upstream_conn_event(conn, UPSTREAM_EVENT_ASSIGN);
    upstream_conn_bind(conn, call);
    call->attempt.reused = true;
    call_event(call, CALL_EVENT_CONN);
}

static void join_oneway(struct endpoint_pool *pool, struct call *call)
{
    struct upstream_conn *conn = pool->oneway;
    list_push_back(&conn->oneways, &call->waits);
    call->attempt.conn = conn;
    conn->idle_ms = call->route->config.pool.idle_ms;
    if (conn->state == UPSTREAM_STATE_ONEWAY) {
        call->attempt.reused = true;
        call_event(call, CALL_EVENT_CONN);
    } else {
        call_arm(call, CALL_WAIT_NONE, 0);
    }
}

/* Makes a connection for the call; a permit was taken for it. */
static void connect_for(struct endpoint_pool *pool, struct call *call)
{
    struct upstream_conn *conn;
    int r = upstream_conn_new(pool, call->oneway, call->route->config.connect_timeout_ms, &conn);
    call->attempt.reused = false;
    if (r) {
        permit_give(&pool->endpoint->connections, 1);
        counter_add(&pool->worker->counters, METRIC_UPSTREAM_FAILED, 1);
        wake_others(pool);
        free_if_unused(pool);
        attempt_connect_failed(call, REASON_CONNECT_FAILED, r);
        return;
    }
    pool->conns++;
    if (call->oneway) {
        pool->oneway = conn;
        join_oneway(pool, call);
    } else {
        upstream_conn_bind(conn, call);
        call_arm(call, CALL_WAIT_NONE, 0);
    }
}

/* Whether several tuples have called this endpoint lately: then the connections are shared fairly. Told by the
 * tuple's hash: after a change of rules its route is another one. */
static void note_caller(struct endpoint_pool *pool, const struct call *call)
{
    if (pool->last_tuple != call->route->hash) {
        pool->shared_ms = pool->last_tuple ? worker_now_ms(pool->worker) : pool->shared_ms;
        pool->last_tuple = call->route->hash;
    }
}

/* The last quarter of a shared endpoint's connections is not for a tuple that has a quarter's worth of calls
 * under way (as many on the other workers assumed as here): there is room for other callers. */
static bool greedy(const struct endpoint_pool *pool, const struct call *call)
{
    bool shared = pool->shared_ms && worker_now_ms(pool->worker) - pool->shared_ms < POOL_SHARED_MS;
    uint64_t held = call->route->attempts - call->route->queued;
    return shared &&
           held * call->worker->env->workers_len > call->route->config.pool.max_connections / 4;
}

static uint32_t share_of(const struct endpoint_pool *pool, const struct call *call)
{
    uint32_t limit = call->route->config.pool.max_connections;
    return greedy(pool, call) ? limit - limit / 4 : limit;
}

static bool take_permit(struct endpoint_pool *pool, const struct call *call)
{
    return permit_take(&pool->endpoint->connections, 1, share_of(pool, call));
}

/* The same of a connection that is there already. */
static bool may_use(const struct endpoint_pool *pool, const struct call *call)
{
    uint64_t open = permit_taken(&pool->endpoint->connections);
    uint64_t idle = permit_taken(&pool->endpoint->idle);
    return !greedy(pool, call) || open <= idle + share_of(pool, call);
}

/* The first waiters, in order: one that may not have a permit does not hold up those close behind it, who
 * may (greedy() and rules with larger limits). */
static bool serve_one(struct endpoint_pool *pool)
{
    struct list *node = pool->waiters.next;
    for (int i = 0; i < POOL_LOOK_AHEAD && node != &pool->waiters; i++, node = node->next) {
        struct call *call = call_of_wait(node);
        if (call->oneway && pool->oneway) {
            dequeue(pool, call);
            join_oneway(pool, call);
            return true;
        }
        if (take_permit(pool, call)) {
            dequeue(pool, call);
            connect_for(pool, call);
            return true;
        }
    }
    return false;
}

/* Whoever waits here gets a connection while permits are to be had. May free the pool. */
static void retry(struct endpoint_pool *pool)
{
    pool->conns++; /* keeps the pool alive meanwhile */
    while (serve_one(pool)) {
    }
    pool->conns--;
    free_if_unused(pool);
}

/* A connection of this pool that nobody uses, but whose permit somebody wants: the idle one used
 * longest ago, or that of the oneways. */
static struct upstream_conn *spare_conn(const struct endpoint_pool *pool)
{
    struct upstream_conn *oneway = pool->oneway;
    if (!list_empty(&pool->idle)) {
        return container_of(pool->idle.prev, struct upstream_conn, idle);
    }
    bool unused = oneway && oneway->state == UPSTREAM_STATE_ONEWAY && list_empty(&oneway->oneways);
    return unused ? oneway : NULL;
}

/* A spare connection of a pool where others wait, and that has not given as many as wait. */
static struct upstream_conn *next_to_give(struct worker *worker)
{
    for (struct list *n = worker->upstreams.next; n != &worker->upstreams; n = n->next) {
        struct endpoint_pool *pool = container_of(n, struct upstream_conn, all)->pool;
        if (others_waiting(pool) && pool->given < permit_taken(&pool->endpoint->waiting) &&
            spare_conn(pool)) {
            pool->given++;
            return spare_conn(pool);
        }
    }
    return NULL;
}

void endpoint_pool_give_idle(struct worker *worker)
{
    struct upstream_conn *conn;
    for (struct list *n = worker->upstreams.next; n != &worker->upstreams; n = n->next) {
        container_of(n, struct upstream_conn, all)->pool->given = 0;
    }
    while ((conn = next_to_give(worker))) {
        upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
    }
}

void endpoint_pool_drop_gone(struct worker *worker)
{
    struct list *node = worker->upstreams.next;
    while (node != &worker->upstreams) {
        struct endpoint_pool *pool = container_of(node, struct upstream_conn, all)->pool;
        bool gone = atomic_load_explicit(&pool->endpoint->gone, memory_order_relaxed);
        struct upstream_conn *spare = gone ? spare_conn(pool) : NULL;
        node = node->next;
        if (spare) {
            upstream_conn_event(spare, UPSTREAM_EVENT_EXPIRED);
            node = worker->upstreams.next; /* what it told may have changed the list */
        }
    }
}

/* Idle connections hold permits, too: another worker's are asked for. */
static void want_idle(struct endpoint_pool *pool)
{
    const struct worker_env *env = pool->worker->env;
    if (permit_taken(&pool->endpoint->idle) == 0) {
        return;
    }
    for (uint32_t i = 0; i < env->workers_len; i++) {
        if (i != pool->worker->index) {
            worker_idle_wanted(env->workers[i]);
        }
    }
}

static void wait_for_permit(struct endpoint_pool *pool, struct call *call)
{
    uint32_t max_waiting = call->route->config.pool.max_waiting;
    if (call->route->config.pool.wait_ms == 0) {
        free_if_unused(pool);
        call_fail(call, CALL_EVENT_ANSWER, REASON_POOL_EXHAUSTED,
                  "all connections are busy, pool.max_connections %lld",
                  call->route->config.pool.max_connections);
        return;
    }
    if (!permit_take(&pool->endpoint->waiting, 1, max_waiting)) {
        free_if_unused(pool);
        call_fail(call, CALL_EVENT_ANSWER, REASON_POOL_EXHAUSTED,
                  "too many calls wait for a connection, pool.max_waiting %lld", max_waiting);
        return;
    }
    enqueue(pool, call);
    struct upstream_conn *spare = greedy(pool, call) ? NULL : spare_conn(pool);
    if (spare) {
        /* Its permit goes to the first waiter. */
        upstream_conn_event(spare, UPSTREAM_EVENT_EXPIRED);
        return;
    }
    want_idle(pool);
    /* A permit that came free before our bit was set woke nobody. */
    retry(pool);
}

void endpoint_pool_get(struct call *call)
{
    struct endpoint_pool *pool = pool_of(call->worker, call->attempt.endpoint);
    if (!pool) {
        call_fail(call, CALL_EVENT_ANSWER, REASON_INTERNAL, "out of memory", 0);
        return;
    }
    note_caller(pool, call);
    if (call->oneway && pool->oneway && pool->oneway->state == UPSTREAM_STATE_ONEWAY) {
        join_oneway(pool, call);
        return;
    }
    struct list *idle = call->tries < FRESH_FROM_TRY ? list_first(&pool->idle) : NULL;
    if (idle && !call->oneway && may_use(pool, call)) {
        assign(container_of(idle, struct upstream_conn, idle), call);
        return;
    }
    if (!call_own_request(call)) { /* it will not leave within this turn */
        free_if_unused(pool);
        call_fail(call, CALL_EVENT_ANSWER, REASON_INTERNAL, "out of memory", 0);
        return;
    }
    if (call->oneway && pool->oneway) {
        join_oneway(pool, call);
    } else if (list_empty(&pool->waiters) && take_permit(pool, call)) {
        connect_for(pool, call);
    } else {
        wait_for_permit(pool, call);
    }
}

void endpoint_pool_leave(struct call *call)
{
    struct upstream_conn *conn = call->attempt.conn;
    if (call->in_pool_queue) {
        struct endpoint_pool *pool = call->attempt.endpoint->pool_of_worker[call->worker->index];
        dequeue(pool, call);
        free_if_unused(pool);
        return;
    }
    if (!conn) {
        return; /* it failed and told us */
    }
    call->attempt.conn = NULL;
    if (conn->oneway) {
        list_remove(&call->waits);
        return;
    }
    conn->call = NULL;
    upstream_conn_event(conn, UPSTREAM_EVENT_ABANDON);
}

/* ---- connections that come free ------------------------------------------------------------ */

static bool keep_idle(struct endpoint_pool *pool, struct upstream_conn *conn)
{
    struct worker *worker = pool->worker;
    if (conn->tainted || others_waiting(pool) ||
        atomic_load_explicit(&worker->phase, memory_order_relaxed) >= WORKER_ENDING ||
        !permit_take(&pool->endpoint->idle, 1, conn->max_idle)) {
        return false;
    }
    /* Who began to wait after the first look may have looked for idle ones before the permit was taken. */
    if (others_waiting(pool)) {
        permit_give(&pool->endpoint->idle, 1);
        return false;
    }
    conn->counted_idle = true;
    list_push_front(&pool->idle, &conn->idle);
    counter_add(&worker->counters, METRIC_UPSTREAM_IDLE, 1);
    worker_timer_set(worker, &conn->timer, worker_now_ms(worker) + conn->idle_ms);
    return true;
}

/* Who may have a connection that comes free: the first waiter or, where that is greedy, one close behind
 * it. NULL: nobody may. */
static struct call *waiter_for(const struct endpoint_pool *pool)
{
    struct list *node = pool->waiters.next;
    for (int i = 0; i < POOL_LOOK_AHEAD && node != &pool->waiters; i++, node = node->next) {
        if (may_use(pool, call_of_wait(node))) {
            return call_of_wait(node);
        }
    }
    return NULL;
}

/* Those whose deadline came before their timer ran are told here: given the connection, each would give it
 * back at once, one inside the other. */
static struct call *punctual_waiter(const struct endpoint_pool *pool)
{
    struct call *waiter;
    while ((waiter = waiter_for(pool)) && call_remaining_ms(waiter) <= 0) {
        call_fail_late(waiter);
    }
    return waiter;
}

void endpoint_pool_park(struct endpoint_pool *pool, struct upstream_conn *conn)
{
    struct call *waiter = punctual_waiter(pool);
    bool ours = others_waiting(pool) == 0 || pool->local_turns < POOL_LOCAL_TURNS_MAX;
    if (waiter && !waiter->oneway && !conn->tainted && ours) {
        pool->local_turns++;
        dequeue(pool, waiter);
        assign(conn, waiter);
        return;
    }
    pool->local_turns = POOL_LOCAL_TURNS_MAX; /* the others' turn, where any wait */
    if (waiter || !keep_idle(pool, conn)) {
        upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
    }
}

void endpoint_pool_closed(struct endpoint_pool *pool, struct upstream_conn *conn)
{
    if (pool->oneway == conn) {
        pool->oneway = NULL;
    }
    permit_give(&pool->endpoint->connections, 1);
    bool others_first = others_waiting(pool) != 0 && pool->local_turns >= POOL_LOCAL_TURNS_MAX;
    pool->local_turns = others_first ? 0 : pool->local_turns + 1;
    wake_others(pool);
    pool->conns--;
    if (others_first) {
        if (!list_empty(&pool->waiters)) {
            worker_permits_came(pool->worker); /* in the next turn, behind the others */
        }
        free_if_unused(pool);
    } else {
        retry(pool);
    }
}

void endpoint_pool_retry(struct worker *worker)
{
    struct list waiting, *node;
    list_take_all(&worker->pool_waits, &waiting);
    while ((node = list_first(&waiting))) {
        struct endpoint_pool *pool = container_of(node, struct endpoint_pool, waits);
        list_remove(node);
        list_push_back(&worker->pool_waits, node);
        retry(pool);
    }
}
