/*
 * sidecar/data/loop/worker.c: turns, timers, mail, phases; see worker.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/worker.h"

#include "discovery/store/snapshot.h"
#include "sidecar/shared/record.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- what is to be sent ---------------------------------------------------------------------- */

void worker_flush_early(struct worker *worker)
{
    event_run_all(&worker->early);
}

/* ---- what goes on later ---------------------------------------------------------------------- */

void worker_spin(struct worker *worker, struct event *event)
{
    if (!event_waits(event)) {
        list_push_back(&worker->spinning, &event->node);
        worker->driver->spin(worker, true);
    }
}

void worker_run_spinning(struct worker *worker)
{
    event_run_present(&worker->spinning);
    if (list_empty(&worker->spinning)) {
        worker->driver->spin(worker, false);
    }
}

void worker_starve(struct worker *worker, struct event *event)
{
    uint64_t at = worker->now_ms + WORKER_STARVED_POLL_MS;
    if (event_waits(event)) {
        return;
    }
    list_push_back(&worker->starved, &event->node);
    if (!timer_node_armed(&worker->housekeeping) || worker->housekeeping.expires_ms > at) {
        worker_timer_set(worker, &worker->housekeeping, at);
    }
}

/* Those who wait for buffers look again. */
static void feed_starved(struct worker *worker)
{
    if (permit_taken(worker->buffers.permits) + WORKER_READ_BYTES > worker->buffers.limit &&
        !list_empty(&worker->starved) && list_empty(&worker->incomplete)) {
        return;
    }
    event_run_present(&worker->starved);
}

/* ---- timers ---------------------------------------------------------------------------------- */

static void on_housekeeping(struct timer_node *node)
{
    struct worker *worker = container_of(node, struct worker, housekeeping);
    feed_starved(worker);
    if (worker->snapshot && worker->now_ms >= worker->next_tick_ms) {
        worker->parts->tick(worker);
        slab_trim(&worker->calls);
        slab_trim(&worker->attempts);
        block_cache_trim(&worker->blocks);
        worker->next_tick_ms = worker->now_ms + WORKER_TICK_MS;
    }
    worker_timer_set(worker, &worker->housekeeping,
                     worker->now_ms +
                         (list_empty(&worker->starved) ? WORKER_TICK_MS : WORKER_STARVED_POLL_MS));
}

/* Whether the loop stood still (a stopped process, a suspended machine, a starved one): then what waits in
 * the sockets is read first, or connections would be closed for silence with a call unread behind them. */
static bool stood_still(struct worker *worker)
{
    uint64_t next_ms = timer_wheel_next_ms(&worker->wheel);
    bool late = next_ms != UINT64_MAX && worker->now_ms >= next_ms + WORKER_LATE_MS;
    worker->looked = late && !worker->looked; /* the timer that is due lets no poll wait */
    return worker->looked;
}

/* Events between two timers: what a timer causes comes before what the next one does. */
void worker_run_timers(struct worker *worker)
{
    struct timer_node *node;
    if (stood_still(worker)) {
        return;
    }
    while ((node = timer_wheel_expire(&worker->wheel, worker->now_ms))) {
        node->fire(node);
        worker_leave(worker);
    }
}

/* ---- mail ------------------------------------------------------------------------------------ */

void worker_post(struct worker *worker, enum worker_mail mail)
{
    atomic_fetch_or(&worker->mail, (uint32_t)mail);
    worker->driver->wake(worker);
}

void worker_post_others(const struct worker *worker, enum worker_mail mail)
{
    const struct worker_env *env = worker->env;
    for (uint32_t i = 0; i < env->workers_len; i++) {
        if (i != worker->index) {
            worker_post(env->workers[i], mail);
        }
    }
}

void worker_offer_snapshot(struct worker *worker, const struct disc_snapshot *snapshot)
{
    atomic_store(&worker->next_snapshot, snapshot);
    worker_post(worker, WORKER_MAIL_RULES);
}

void worker_want_phase(struct worker *worker, enum worker_phase phase)
{
    atomic_store(&worker->wanted_phase, phase);
    worker_post(worker, WORKER_MAIL_PHASE);
}

void worker_notify_control(const struct worker *worker)
{
    worker->env->notify_control(worker->env->owner);
}

static void take_snapshot(struct worker *worker)
{
    const struct disc_snapshot *snapshot = atomic_exchange(&worker->next_snapshot, NULL);
    if (!snapshot) {
        return;
    }
    worker->snapshot = snapshot;
    atomic_store(&worker->seen_generation, disc_snapshot_generation(snapshot));
    counter_add(&worker->counters, METRIC_SNAPSHOTS_TAKEN, 1);
    worker->parts->rules(worker);
    worker_notify_control(worker);
}

void worker_read_mail(struct worker *worker)
{
    uint32_t mail = atomic_exchange(&worker->mail, 0);
    if (mail & WORKER_MAIL_RULES) {
        take_snapshot(worker);
    }
    worker->parts->mail(worker, mail);
}

/* ---- phases ---------------------------------------------------------------------------------- */

static void set_phase(struct worker *worker, enum worker_phase phase)
{
    atomic_store(&worker->phase, phase);
    worker_notify_control(worker);
}

void worker_end(struct worker *worker)
{
    set_phase(worker, WORKER_ENDING);
    worker->parts->end(worker);
    worker_leave(worker);
    worker_timer_cancel(worker, &worker->housekeeping);
    worker->driver->close(worker);
}

static void advance_phase(struct worker *worker)
{
    enum worker_phase wanted = (enum worker_phase)atomic_load(&worker->wanted_phase);
    if (worker_phase(worker) < WORKER_DRAINING && wanted < WORKER_DRAINING &&
        worker_phase(worker) != wanted) {
        set_phase(worker, wanted);
        worker->parts->rest(worker, wanted == WORKER_RESTING);
    }
    if (worker_phase(worker) < WORKER_DRAINING && wanted >= WORKER_DRAINING) {
        set_phase(worker, WORKER_DRAINING);
        worker->parts->drain(worker);
        worker_leave(worker);
    }
    bool drained = worker_phase(worker) == WORKER_DRAINING && list_empty(&worker->sessions) &&
                   list_empty(&worker->live);
    if (worker_phase(worker) < WORKER_ENDING && (drained || wanted >= WORKER_ENDING)) {
        worker_end(worker);
    }
}

void worker_stopped(struct worker *worker)
{
    buffers_pile_free(&worker->buffers, &worker->pile);
    set_phase(worker, WORKER_STOPPED);
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void beat(struct worker *worker)
{
    atomic_store_explicit(&worker->heartbeat_ms, worker_now_us(worker) / 1000,
                          memory_order_relaxed);
}

/* What is sent causes events, and those may put more there. */
void worker_before_poll(struct worker *worker)
{
    do {
        event_run_all(&worker->early);
        event_run_all(&worker->dirty);
        worker_leave(worker);
    } while (!list_empty(&worker->early) || !list_empty(&worker->dirty));
}

void worker_after_poll(struct worker *worker)
{
    worker_before_poll(worker);
    buffers_pile_free(&worker->buffers, &worker->pile);
    arena_reset(&worker->arena);
    epoch_pass(&worker->env->epoch, worker->index);
    worker->turn++;
    beat(worker);
    advance_phase(worker);
}

/* ---- log ------------------------------------------------------------------------------------- */

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
    worker_notify_control(worker);
}

/* ---- birth and death ------------------------------------------------------------------------- */

static void init_lists(struct worker *worker)
{
    event_queue_init(&worker->events);
    list_init(&worker->early);
    list_init(&worker->dirty);
    list_init(&worker->spinning);
    list_init(&worker->starved);
    list_init(&worker->incomplete);
    list_init(&worker->sessions);
    list_init(&worker->listeners);
    list_init(&worker->upstreams);
    list_init(&worker->idle_upstreams);
    list_init(&worker->pool_waits);
    list_init(&worker->rule_waits);
    list_init(&worker->live);
}

struct worker *worker_new(struct worker_env *env, uint32_t index, uint64_t seed,
                          const struct worker_driver *driver, const struct worker_parts *parts)
{
    /* Its ring's ends stand on cache lines of their own. */
    struct worker *worker = aligned_alloc(_Alignof(struct worker), sizeof *worker);
    if (!worker) {
        return NULL;
    }
    memset(worker, 0, sizeof *worker);
    worker->env = env;
    worker->index = index;
    worker->driver = driver;
    worker->parts = parts;
    worker->buffers = (struct buffers){.permits = &env->buffered,
                                       .limit = env->bootstrap->limits.buffered_bytes,
                                       .connections = &env->connections,
                                       .cache = &worker->blocks,
                                       .counters = &worker->counters};
    worker->housekeeping.fire = on_housekeeping;
    init_lists(worker);
    lb_random_init(&worker->random, seed);
    if (arena_init(&worker->arena, WORKER_ARENA_BYTES) ||
        ring_init(&worker->ring, WORKER_RING_BYTES)) {
        return worker_free(worker);
    }
    return worker;
}

void worker_begin(struct worker *worker, uint64_t now_ms)
{
    worker->now_ms = now_ms;
    timer_wheel_init(&worker->wheel, now_ms);
    worker_timer_set(worker, &worker->housekeeping, now_ms + WORKER_TICK_MS);
    beat(worker);
}

struct worker *worker_free(struct worker *worker)
{
    if (worker) {
        slab_done(&worker->calls);
        slab_done(&worker->attempts);
        block_cache_done(&worker->blocks);
        ring_done(&worker->ring);
        arena_done(&worker->arena);
        free(worker);
    }
    return NULL;
}
