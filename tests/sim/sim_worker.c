/*
 * tests/sim/sim_worker.c: see sim_worker.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_worker.h"

#include "sidecar/data/plane.h"
#include "sidecar/data/session/session.h"
#include "tests/sim/sim.h"
#include "tests/sim/transport_memory.h"

#include <stdlib.h>
#include <string.h>

/* Links that are looked at for the next callback of a poll. */
#define READY_MAX 256

static struct sim_worker *home_of(const struct worker *worker)
{
    return worker->driver_owner;
}

/* ---- what the worker asks for ---------------------------------------------------------------- */

static uint64_t now_us(const struct worker *worker)
{
    return home_of(worker)->sim->clock_us;
}

static uint64_t unix_us(const struct worker *worker)
{
    return SIM_UNIX_US + home_of(worker)->sim->clock_us;
}

static void wake(struct worker *worker)
{
    home_of(worker)->woken = true;
}

static void spin(struct worker *worker, bool on)
{
    home_of(worker)->spins = on;
}

static void close_loop(struct worker *worker)
{
    home_of(worker)->closed = true;
}

const struct worker_driver sim_driver = {
    .now_us = now_us, .unix_us = unix_us, .wake = wake, .spin = spin, .close = close_loop};

/* ---- birth and death ------------------------------------------------------------------------- */

static uint64_t clock_ms(const struct sim_worker *home)
{
    return home->sim->clock_us / 1000;
}

void sim_worker_open(struct sim_worker *home, struct sim *sim, uint32_t index, uint64_t seed)
{
    list_init(&home->links);
    home->sim = sim;
    home->armed_ms = UINT64_MAX;
    home->loop_ms = sim->clock_us / 1000;
    home->worker = plane_new(&sim->env, index, seed, &sim_driver, &transport_memory);
    home->worker->driver_owner = home;
    sim->env.workers[index] = home->worker;
    worker_begin(home->worker, home->loop_ms);
}

/* Those that came when the loop had ended. */
static void refuse_late(struct sim_worker *home)
{
    struct list *node;
    while ((node = list_first(&home->links))) {
        sim_link_left(
            container_of(node, struct sim_link, in_worker)); /* frees it: its peer has left */
    }
}

void sim_worker_free(struct sim_worker *home)
{
    refuse_late(home);
    home->worker = plane_free(home->worker);
}

/* ---- callbacks ------------------------------------------------------------------------------- */

static void begin(struct sim_worker *home)
{
    sim_alloc_enter();
    worker_enter(home->worker, home->loop_ms);
}

static void end(struct sim_worker *home)
{
    worker_leave(home->worker);
    sim_alloc_leave();
}

/* The loop's one timer; moved only when something earlier came. */
static void arm(struct sim_worker *home)
{
    uint64_t at = worker_next_timer_ms(home->worker);
    home->armed_ms = at < home->armed_ms ? at : home->armed_ms;
}

static void run_timers(struct sim_worker *home)
{
    home->loop_ms = clock_ms(home);
    home->timers_ran = false;
    if (home->armed_ms <= home->loop_ms && !home->closed) {
        home->armed_ms = UINT64_MAX;
        begin(home);
        worker_run_timers(home->worker);
        home->timers_ran = !home->worker->looked;
        end(home);
    }
    home->phase = SIM_PHASE_SPIN;
}

static void run_spinning(struct sim_worker *home)
{
    if (home->spins && !home->closed) {
        begin(home);
        worker_run_spinning(home->worker);
        end(home);
    }
    home->phase = SIM_PHASE_BEFORE_POLL;
}

static void run_before_poll(struct sim_worker *home)
{
    if (!home->closed) {
        begin(home);
        worker_before_poll(home->worker);
        arm(home);
        end(home);
        sim_oracle_check_deadlines(home->sim, home);
    }
    home->polled = false;
    home->phase = SIM_PHASE_POLL;
}

/* ---- the poll -------------------------------------------------------------------------------- */

static bool is_ready(const struct sim_worker *home, const struct sim_link *link)
{
    return link->state == SIM_LINK_ACCEPTING ? !home->closed
                                             : transport_memory_is_ready(link, home->sim->clock_us);
}

static uint32_t find_ready(struct sim_worker *home, struct sim_link *ready[READY_MAX])
{
    uint32_t n = 0;
    for (struct list *node = home->links.next; node != &home->links; node = node->next) {
        struct sim_link *link = container_of(node, struct sim_link, in_worker);
        if (n < READY_MAX && is_ready(home, link)) {
            ready[n++] = link;
        }
    }
    return n;
}

static bool has_ready(const struct sim_worker *home)
{
    for (struct list *node = home->links.next; node != &home->links; node = node->next) {
        if (is_ready(home, container_of(node, struct sim_link, in_worker))) {
            return true;
        }
    }
    return false;
}

static void accept_link(struct sim_worker *home, struct sim_link *link)
{
    const struct bootstrap_listener *listener =
        &home->sim->bootstrap.listeners[link->in_any_order ? 1 : 0];
    if (!session_accept(home->worker, &transport_memory, link, listener)) {
        sim_link_left(link); /* the listener closes it */
    }
}

static void read_mail(struct sim_worker *home)
{
    begin(home);
    home->woken = false;
    sim_count(SIM_EVENT_MAIL);
    worker_read_mail(home->worker);
    end(home);
}

static void run_link(struct sim_worker *home, struct sim_link *link)
{
    begin(home);
    if (link->state == SIM_LINK_ACCEPTING) {
        accept_link(home, link);
    } else {
        transport_memory_run(link);
    }
    end(home);
}

static void run_callback(struct sim_worker *home)
{
    struct sim_link *ready[READY_MAX];
    uint32_t n = find_ready(home, ready);
    uint32_t pick = random_below(&home->sim->random, n + home->woken);
    if (pick == n) {
        read_mail(home);
    } else {
        run_link(home, ready[pick]);
    }
}

/* One poll brings everything that is there: who looks at the sockets once, sees all of it. */
static void run_every_callback(struct sim_worker *home)
{
    struct sim_link *ready[READY_MAX];
    uint32_t n = find_ready(home, ready);
    for (uint32_t i = 0; i < n; i++) {
        if (is_ready(home, ready[i])) { /* one before may have closed it */
            run_link(home, ready[i]);
        }
    }
}

/* The loop does not wait for events. */
static bool is_due(const struct sim_worker *home)
{
    return home->spins || home->armed_ms <= clock_ms(home) || home->closed;
}

static void run_poll(struct sim_worker *home)
{
    bool events = !home->closed && (home->woken || has_ready(home));
    if (!home->polled) {
        home->loop_ms = clock_ms(home); /* the wait is over */
        if (home->worker->looked && !home->closed) {
            run_every_callback(home);
        }
    }
    if (events && (!home->polled || !random_one_in(&home->sim->random, 4))) {
        home->polled = true;
        run_callback(home);
    } else {
        home->phase = SIM_PHASE_AFTER_POLL;
    }
}

/* What the arena gave this turn is nobody's now; also where the product does not fill it. */
static void spoil(struct worker *worker, size_t used)
{
#ifndef __SANITIZE_ADDRESS__
    memset(worker->arena.base, 0xdd, used);
#endif
    (void)worker;
    (void)used;
}

static void run_after_poll(struct sim_worker *home)
{
    if (!home->closed) {
        size_t used = home->worker->arena.used;
        begin(home);
        worker_after_poll(home->worker);
        end(home);
        spoil(home->worker, used);
    }
    home->phase = SIM_PHASE_CLOSE;
}

static void end_loop(struct sim_worker *home)
{
    begin(home);
    worker_stopped(home->worker);
    end(home);
    home->phase = SIM_PHASE_ENDED;
}

/* What the listener's queue still holds when the loop ends is reset by the kernel. */
static void refuse_rest(struct sim_link *link)
{
    if (link->state == SIM_LINK_ACCEPTING) {
        sim_link_left(link);
    }
}

static bool holds_links(const struct sim_worker *home)
{
    for (struct list *node = home->links.next; node != &home->links; node = node->next) {
        if (container_of(node, struct sim_link, in_worker)->transport) {
            return true;
        }
    }
    return false;
}

static void run_close(struct sim_worker *home)
{
    for (struct list *node = home->links.next, *next; node != &home->links; node = next) {
        struct sim_link *link = container_of(node, struct sim_link, in_worker);
        next = node->next;
        if (link->state == SIM_LINK_CLOSING) {
            begin(home);
            transport_memory_closed(link);
            end(home);
        } else if (home->closed) {
            refuse_rest(link);
        }
    }
    home->phase = SIM_PHASE_TIMERS;
    if (home->closed && !holds_links(home)) {
        end_loop(home);
    }
}

/* ---- the turn -------------------------------------------------------------------------------- */

bool sim_worker_can_run(const struct sim_worker *home)
{
    if (home->phase != SIM_PHASE_POLL) {
        return home->phase != SIM_PHASE_ENDED;
    }
    return home->polled || is_due(home) || home->woken || has_ready(home);
}

void sim_worker_step(struct sim_worker *home)
{
    static void (*const phases[])(struct sim_worker *) = {
        [SIM_PHASE_TIMERS] = run_timers,           [SIM_PHASE_SPIN] = run_spinning,
        [SIM_PHASE_BEFORE_POLL] = run_before_poll, [SIM_PHASE_POLL] = run_poll,
        [SIM_PHASE_AFTER_POLL] = run_after_poll,   [SIM_PHASE_CLOSE] = run_close,
    };
    phases[home->phase](home);
}

uint64_t sim_worker_next_us(const struct sim_worker *home)
{
    uint64_t next = home->armed_ms == UINT64_MAX ? UINT64_MAX : home->armed_ms * 1000;
    for (struct list *node = home->links.next; node != &home->links; node = node->next) {
        const struct sim_link *link = container_of(node, struct sim_link, in_worker);
        if (link->state == SIM_LINK_CONNECTING && link->connect_us < next) {
            next = link->connect_us;
        }
    }
    return next;
}
