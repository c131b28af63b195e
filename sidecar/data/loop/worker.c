/*
 * sidecar/data/loop/worker.c: the loop: turns, timers, snapshots, the end; see worker.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/worker.h"

#include "sidecar/data/call/call.h"
#include "sidecar/data/io/intake.h"
#include "sidecar/data/io/stream.h"
#include "sidecar/data/session/listener.h"
#include "sidecar/data/session/session.h"
#include "sidecar/data/upstream/endpoint_pool.h"
#include "sidecar/data/upstream/upstream_conn.h"
#include "sidecar/shared/record.h"

#include <assert.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

uint64_t worker_now_us(void)
{
    return uv_hrtime() / 1000;
}

uint64_t worker_unix_us(void)
{
    uv_timeval64_t now;
    return uv_gettimeofday(&now) ? 0 : (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_usec;
}

/* ---- what lives for a turn ------------------------------------------------------------------ */

static struct stream *first_dirty(struct worker *worker)
{
    struct list *node = list_first(&worker->dirty);
    return node ? container_of(node, struct stream, dirty) : NULL;
}

static void flush(struct worker *worker)
{
    struct stream *stream;
    while ((stream = first_dirty(worker))) {
        stream_flush(stream);
    }
}

void worker_flush_early(struct worker *worker)
{
    /* Long queues stand in front (stream.c); those that wait for the kernel have nothing to gain. */
    struct list *node = worker->dirty.next;
    while (node != &worker->dirty) {
        struct stream *stream = container_of(node, struct stream, dirty);
        if (stream_unsent(stream) < STREAM_EARLY_FLUSH_BYTES) {
            break;
        }
        node = node->next;
        if (!stream->writing) {
            stream_flush(stream);
            node = worker->dirty.next; /* what it told may have changed the list */
        }
    }
}

static void on_spin(uv_idle_t *handle)
{
    struct worker *worker = handle->data;
    struct list spinning, *node;
    list_take_all(&worker->spinning, &spinning);
    while ((node = list_first(&spinning))) {
        struct intake *intake = container_of(node, struct intake, spin);
        list_remove(node);
        intake->resume(intake);
    }
    if (list_empty(&worker->spinning)) {
        (void)uv_idle_stop(handle); /* always 0 */
    }
}

void worker_spin(struct worker *worker)
{
    (void)uv_idle_start(&worker->spin, on_spin); /* always 0, also where it runs already */
}

/* ---- timers -------------------------------------------------------------------------------- */

void worker_timer_set(struct worker *worker, struct worker_timer *timer, uint64_t expires_ms)
{
    timer_wheel_set(&worker->wheel, &timer->node, expires_ms);
}

void worker_timer_cancel(struct worker *worker, struct worker_timer *timer)
{
    timer_wheel_cancel(&worker->wheel, &timer->node);
}

/* Those who wait for buffers look again. */
static void feed_starved(struct worker *worker)
{
    struct list starved, *node;
    if (permit_taken(worker->buffers.permits) + WORKER_READ_BYTES > worker->buffers.limit &&
        list_first(&worker->starved) != NULL && list_empty(&worker->incomplete)) {
        return;
    }
    list_take_all(&worker->starved, &starved);
    while ((node = list_first(&starved))) {
        struct intake *intake = container_of(node, struct intake, starved);
        list_remove(node);
        intake->resume(intake);
    }
}

static void housekeep(struct worker *worker)
{
    uint64_t now_ms = worker_now_ms(worker);
    feed_starved(worker);
    if (worker->snapshot && now_ms >= worker->next_tick_ms) {
        endpoint_pool_drop_gone(worker);
        route_cache_sweep(worker->routes, worker->snapshot, WORKER_SWEEP_ROUTES, now_ms,
                          WORKER_ROUTE_IDLE_MS);
        worker->next_tick_ms = now_ms + WORKER_TICK_MS;
    }
    worker_timer_set(worker, &worker->housekeeping,
                     now_ms +
                         (list_empty(&worker->starved) ? WORKER_TICK_MS : WORKER_STARVED_POLL_MS));
}

static void run_timer(struct worker *worker, struct worker_timer *timer)
{
    switch (timer->kind) {
    case WORKER_TIMER_CALL:
        call_on_timer(container_of(timer, struct call, timer));
        break;
    case WORKER_TIMER_SESSION:
        session_on_timer(container_of(timer, struct session, timer));
        break;
    case WORKER_TIMER_UPSTREAM:
        upstream_conn_on_timer(container_of(timer, struct upstream_conn, timer));
        break;
    case WORKER_TIMER_HOUSEKEEPING:
        housekeep(worker);
        break;
    }
}

static void on_timer(uv_timer_t *handle)
{
    struct worker *worker = handle->data;
    struct timer_node *node;
    worker->armed_ms = UINT64_MAX;
    while ((node = timer_wheel_expire(&worker->wheel, worker_now_ms(worker)))) {
        run_timer(worker, container_of(node, struct worker_timer, node));
    }
}

/* One uv_timer for the whole wheel; moved only when something earlier came. */
static void arm(struct worker *worker)
{
    uint64_t at = timer_wheel_next_ms(&worker->wheel);
    uint64_t now_ms = worker_now_ms(worker);
    if (at < worker->armed_ms) {
        worker->armed_ms = at;
        (void)uv_timer_start(&worker->timer, on_timer, at > now_ms ? at - now_ms : 0, 0);
    }
}

/* ---- turns --------------------------------------------------------------------------------- */

static void beat(struct worker *worker)
{
    atomic_store_explicit(&worker->heartbeat_ms, uv_hrtime() / 1000000, memory_order_relaxed);
}

static void advance_phase(struct worker *worker);

static void on_prepare(uv_prepare_t *handle)
{
    struct worker *worker = handle->data;
    flush(worker);
    arm(worker);
}

static void on_check(uv_check_t *handle)
{
    struct worker *worker = handle->data;
    flush(worker);
    buffers_pile_free(&worker->buffers, &worker->pile);
    arena_reset(&worker->arena);
    epoch_pass(&worker->env->epoch, worker->index);
    worker->turn++;
    beat(worker);
    advance_phase(worker);
}

/* ---- snapshots ----------------------------------------------------------------------------- */

void worker_offer_snapshot(struct worker *worker, const struct disc_snapshot *snapshot)
{
    atomic_store(&worker->next_snapshot, snapshot);
    (void)uv_async_send(
        &worker->wake); /* fails on a closed loop alone, and loops close when all have ended */
}

static void take_snapshot(struct worker *worker)
{
    const struct disc_snapshot *snapshot = atomic_exchange(&worker->next_snapshot, NULL);
    struct list waiting, *node;
    if (!snapshot) {
        return;
    }
    worker->snapshot = snapshot;
    atomic_store(&worker->seen_generation, disc_snapshot_generation(snapshot));
    counter_add(&worker->counters, METRIC_SNAPSHOTS_TAKEN, 1);
    list_take_all(&worker->rule_waits, &waiting);
    while ((node = list_first(&waiting))) {
        list_remove(node);
        call_event(container_of(node, struct call, waits), CALL_EVENT_RULES);
    }
    worker->env->notify_control(worker->env->owner);
}

/* ---- the end ------------------------------------------------------------------------------- */

void worker_want_phase(struct worker *worker, enum worker_phase phase)
{
    atomic_store(&worker->wanted_phase, phase);
    (void)uv_async_send(&worker->wake); /* as above */
}

void worker_permits_came(struct worker *worker)
{
    atomic_store(&worker->permits_came, true);
    (void)uv_async_send(&worker->wake); /* as above */
}

void worker_idle_wanted(struct worker *worker)
{
    atomic_store(&worker->idle_wanted, true);
    (void)uv_async_send(&worker->wake); /* as above */
}

static enum worker_phase phase_of(const struct worker *worker)
{
    return (enum worker_phase)atomic_load_explicit(&worker->phase, memory_order_relaxed);
}

static void set_phase(struct worker *worker, enum worker_phase phase)
{
    atomic_store(&worker->phase, phase);
    worker->env->notify_control(worker->env->owner);
}

static void close_listeners(struct worker *worker)
{
    struct list *node;
    worker->listeners_closed = true;
    while ((node = list_first(&worker->listeners))) {
        listener_close(container_of(node, struct listener, all));
    }
}

static void begin_drain(struct worker *worker)
{
    struct list *node = worker->sessions.next;
    set_phase(worker, WORKER_DRAINING);
    while (node != &worker->sessions) {
        struct session *session = container_of(node, struct session, all);
        node = node->next;
        session_event(session, SESSION_EVENT_DRAIN);
    }
    close_listeners(worker);
}

/* What is left is answered and closed. */
static void end_all(struct worker *worker)
{
    struct list *node;
    set_phase(worker, WORKER_ENDING);
    close_listeners(worker);
    call_fail_all(worker, REASON_DRAINING, "drain_timeout_ms %lld passed",
                  (int64_t)worker->env->drain_timeout_ms);
    flush(worker);
    while ((node = list_first(&worker->sessions))) {
        session_event(container_of(node, struct session, all), SESSION_EVENT_ERROR);
    }
    while ((node = list_first(&worker->upstreams))) {
        upstream_conn_event(container_of(node, struct upstream_conn, all), UPSTREAM_EVENT_SHUT);
    }
    timer_wheel_cancel(&worker->wheel, &worker->housekeeping.node);
    uv_close((uv_handle_t *)&worker->wake, NULL);
    uv_close((uv_handle_t *)&worker->prepare, NULL);
    uv_close((uv_handle_t *)&worker->check, NULL);
    uv_close((uv_handle_t *)&worker->spin, NULL);
    uv_close((uv_handle_t *)&worker->timer, NULL);
}

static void advance_phase(struct worker *worker)
{
    enum worker_phase wanted = (enum worker_phase)atomic_load(&worker->wanted_phase);
    if (phase_of(worker) == WORKER_SERVING && wanted >= WORKER_DRAINING) {
        begin_drain(worker);
    }
    bool drained = phase_of(worker) == WORKER_DRAINING && list_empty(&worker->sessions) &&
                   list_empty(&worker->live);
    if (phase_of(worker) < WORKER_ENDING && (drained || wanted >= WORKER_ENDING)) {
        end_all(worker);
    }
}

static void on_wake(uv_async_t *handle)
{
    struct worker *worker = handle->data;
    take_snapshot(worker);
    if (atomic_exchange(&worker->permits_came, false)) {
        endpoint_pool_retry(worker);
    }
    if (atomic_exchange(&worker->idle_wanted, false)) {
        endpoint_pool_give_idle(worker);
    }
}

/* ---- log ----------------------------------------------------------------------------------- */

void worker_log(struct worker *worker, int level, const char *component, const char *event,
                const char *format, ...)
{
    char message[512];
    va_list args;
    va_start(args, format);
    int n = vsnprintf(message, sizeof message, format, args);
    va_end(args);
    uint32_t len = n < 0 ? 0 : (uint32_t)n < sizeof message ? (uint32_t)n : sizeof message - 1;
    struct record_log *record = ring_reserve(&worker->ring, (uint32_t)sizeof *record + len);
    if (!record) {
        counter_add(&worker->counters, METRIC_LOG_DROPPED, 1);
        return;
    }
    record->type = RECORD_LOG;
    record->level = (uint32_t)level;
    snprintf(record->event, sizeof record->event, "%s", event);
    snprintf(record->component, sizeof record->component, "%s", component);
    record->len = len;
    memcpy(record->message, message, len);
    ring_commit(&worker->ring, (uint32_t)sizeof *record + len);
    worker->env->notify_control(worker->env->owner);
}

/* ---- birth and death ----------------------------------------------------------------------- */

static void init_lists(struct worker *worker)
{
    list_init(&worker->dirty);
    list_init(&worker->spinning);
    list_init(&worker->starved);
    list_init(&worker->incomplete);
    list_init(&worker->sessions);
    list_init(&worker->listeners);
    list_init(&worker->upstreams);
    list_init(&worker->pool_waits);
    list_init(&worker->rule_waits);
    list_init(&worker->live);
}

static int init_loop(struct worker *worker)
{
    uv_loop_t *loop = &worker->loop;
    int r = uv_loop_init(loop);
    if (r) {
        return r;
    }
    /* These cannot fail on a fresh loop, but for the async's descriptor. */
    r = uv_async_init(loop, &worker->wake, on_wake);
    if (r) {
        (void)uv_loop_close(loop); /* nothing is open */
        return r;
    }
    (void)uv_prepare_init(loop, &worker->prepare);
    (void)uv_check_init(loop, &worker->check);
    (void)uv_idle_init(loop, &worker->spin);
    (void)uv_timer_init(loop, &worker->timer);
    (void)uv_prepare_start(&worker->prepare, on_prepare);
    (void)uv_check_start(&worker->check, on_check);
    loop->data = worker;
    worker->wake.data = worker;
    worker->prepare.data = worker;
    worker->check.data = worker;
    worker->spin.data = worker;
    worker->timer.data = worker;
    return 0;
}

static int init_parts(struct worker *worker, uint64_t seed)
{
    const struct bootstrap *bootstrap = worker->env->bootstrap;
    uint64_t routes = bootstrap->limits.tuples / worker->env->workers_len;
    const struct route_cache_options options = {
        .limit = routes ? routes : 1,
        .seed = seed,
        .tuples = worker->env->tuples,
        .worker = worker->index,
        .counters = &worker->counters,
    };
    int r = arena_init(&worker->arena, WORKER_ARENA_BYTES);
    if (r == 0) {
        r = ring_init(&worker->ring, WORKER_RING_BYTES);
    }
    worker->routes = route_cache_new(&options);
    worker->calls = call_pool_new(worker);
    return r ? r : worker->routes && worker->calls ? 0 : UV_ENOMEM;
}

struct worker *worker_new(struct worker_env *env, uint32_t index, uint64_t seed)
{
    /* Its ring's ends stand on cache lines of their own. */
    struct worker *worker = aligned_alloc(_Alignof(struct worker), sizeof *worker);
    if (!worker) {
        return NULL;
    }
    memset(worker, 0, sizeof *worker);
    worker->env = env;
    worker->index = index;
    worker->armed_ms = UINT64_MAX;
    worker->buffers = (struct buffers){.permits = &env->buffered,
                                       .limit = env->bootstrap->limits.buffered_bytes,
                                       .connections = &env->connections,
                                       .counters = &worker->counters};
    worker->housekeeping.kind = WORKER_TIMER_HOUSEKEEPING;
    init_lists(worker);
    lb_random_init(&worker->random, seed);
    if (init_loop(worker)) {
        free(worker);
        return NULL;
    }
    worker->has_loop = true;
    if (init_parts(worker, seed)) {
        return worker_free(worker);
    }
    timer_wheel_init(&worker->wheel, worker_now_ms(worker));
    worker_timer_set(worker, &worker->housekeeping, worker_now_ms(worker) + WORKER_TICK_MS);
    beat(worker);
    return worker;
}

int worker_listen(struct worker *worker, const struct bootstrap_listener *config, int fd)
{
    return listener_open(worker, config, fd);
}

static void run(void *arg)
{
    struct worker *worker = arg;
    (void)uv_run(&worker->loop, UV_RUN_DEFAULT); /* ends when end_all() has closed everything */
    buffers_pile_free(&worker->buffers, &worker->pile);
    set_phase(worker, WORKER_STOPPED);
}

int worker_start(struct worker *worker)
{
    uv_update_time(&worker->loop);
    int r = uv_thread_create(&worker->thread, run, worker);
    worker->started = r == 0;
    return r;
}

void worker_join(struct worker *worker)
{
    if (worker->started) {
        (void)uv_thread_join(&worker->thread); /* it is ours to join, once */
        worker->started = false;
        worker->ran = true;
    }
}

struct worker *worker_free(struct worker *worker)
{
    if (!worker) {
        return NULL;
    }
    if (worker->has_loop && !worker->ran) {
        end_all(worker);
        (void)uv_run(&worker->loop, UV_RUN_DEFAULT);
    }
    if (worker->has_loop) {
        int r = uv_loop_close(&worker->loop);
        assert(r == 0);
        (void)r;
    }
    route_cache_free(worker->routes);
    call_pool_free(worker->calls);
    ring_done(&worker->ring);
    arena_done(&worker->arena);
    free(worker);
    return NULL;
}
