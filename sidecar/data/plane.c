/*
 * sidecar/data/plane.c: see plane.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/plane.h"

#include "sidecar/data/session/listener.h"
#include "sidecar/data/session/session.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"

#include <assert.h>

static void on_mail(struct worker *worker, uint32_t mail)
{
    if (mail & WORKER_MAIL_PERMITS) {
        pool_serve_all(worker);
    }
    if (mail & WORKER_MAIL_IDLE_WANTED) {
        pool_give_idle(worker);
    }
    if (mail & WORKER_MAIL_DESCRIPTORS_WANTED) {
        pool_give_descriptors(worker);
    }
}

static void on_tick(struct worker *worker)
{
    pool_drop_gone(worker);
    route_cache_sweep(worker->routes, worker->snapshot, PLANE_SWEEP_ROUTES, worker_now_ms(worker),
                      PLANE_ROUTE_IDLE_MS);
}

static void close_listeners(struct worker *worker)
{
    struct list *node;
    worker->listeners_closed = true;
    while ((node = list_first(&worker->listeners))) {
        listener_close(container_of(node, struct listener, all));
    }
}

static void on_rest(struct worker *worker, bool on)
{
    for (struct list *n = worker->listeners.next; n != &worker->listeners; n = n->next) {
        listener_rest(container_of(n, struct listener, all), on);
    }
}

static void on_drain(struct worker *worker)
{
    for (struct list *n = worker->sessions.next, *next; n != &worker->sessions; n = next) {
        next = n->next; /* a session that ends takes no other out of the list */
        session_event(container_of(n, struct session, all), SESSION_EVENT_DRAIN);
    }
    close_listeners(worker);
}

static void fail_calls(struct worker *worker)
{
    call_fail_all(worker, REASON_DRAINING, "drain_timeout_ms %lld passed",
                  (int64_t)worker->env->drain_timeout_ms);
}

/* What is left is answered and closed. */
static void on_end(struct worker *worker)
{
    struct list *node;
    close_listeners(worker);
    fail_calls(worker);
    worker_before_poll(worker); /* the answers go out */
    while ((node = list_first(&worker->sessions))) {
        session_event(container_of(node, struct session, all), SESSION_EVENT_ERROR);
    }
    /* Behind answers, frames that were kept became calls: those that are ONEWAY are still here. */
    fail_calls(worker);
    while ((node = list_first(&worker->upstreams))) {
        upstream_conn_event(container_of(node, struct upstream_conn, all), UPSTREAM_EVENT_SHUT);
    }
}

static const struct worker_parts parts = {
    .rules = call_rules_came,
    .mail = on_mail,
    .tick = on_tick,
    .rest = on_rest,
    .drain = on_drain,
    .end = on_end,
};

struct worker *plane_new(struct worker_env *env, uint32_t index, uint64_t seed,
                         const struct worker_driver *driver, const struct transport_ops *dial)
{
    struct worker *worker = worker_new(env, index, seed, driver, &parts);
    if (!worker) {
        return NULL;
    }
    uint64_t routes = env->bootstrap->limits.tuples / env->workers_len;
    const struct route_cache_options options = {
        .limit = routes ? routes : 1,
        .seed = seed,
        .host = target_host(env->bootstrap->node_name ? env->bootstrap->node_name : ""),
        .zone = env->bootstrap->node_zone,
        .tuples = env->tuples,
        .worker = index,
        .counters = &worker->counters,
    };
    worker->dial = dial;
    worker->routes = route_cache_new(&options);
    slab_init(&worker->calls, sizeof(struct call));
    slab_init(&worker->attempts, sizeof(struct attempt));
    return worker->routes ? worker : plane_free(worker);
}

struct worker *plane_free(struct worker *worker)
{
    if (worker) {
        worker->routes = route_cache_free(worker->routes);
    }
    return worker_free(worker);
}

void plane_check(const struct worker *worker)
{
    uint64_t calls = 0;
    for (struct list *n = worker->live.next; n != &worker->live; n = n->next) {
        call_check(container_of(n, struct call, live));
        calls++;
    }
    for (struct list *n = worker->sessions.next; n != &worker->sessions; n = n->next) {
        session_check(container_of(n, struct session, all));
    }
    for (struct list *n = worker->upstreams.next; n != &worker->upstreams; n = n->next) {
        const struct upstream_conn *conn = container_of(n, struct upstream_conn, all);
        upstream_conn_check(conn);
        pool_check(conn->pool);
    }
    assert(event_queue_empty(&worker->events));
    assert(calls == worker->calls.taken);
    slab_check(&worker->calls);
    slab_check(&worker->attempts);
    timer_wheel_check(&worker->wheel);
}
