/*
 * tests/sidecar/data/virtual_loop.c: see virtual_loop.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/virtual_loop.h"

#include <assert.h>

/* ---- the driver ------------------------------------------------------------------------------ */

static struct virtual_loop *loop_of(const struct worker *worker)
{
    return worker->driver_owner;
}

static uint64_t now_us(const struct worker *worker)
{
    return loop_of(worker)->now_us;
}

static uint64_t unix_us(const struct worker *worker)
{
    return loop_of(worker)->now_us - VIRTUAL_START_MS * 1000 + (uint64_t)VIRTUAL_UNIX_MS * 1000;
}

static void wake(struct worker *worker)
{
    loop_of(worker)->woken = true;
}

static void spin(struct worker *worker, bool on)
{
    loop_of(worker)->spinning = on;
}

static void close_loop(struct worker *worker)
{
    loop_of(worker)->closed = true;
}

const struct worker_driver virtual_driver = {
    .now_us = now_us, .unix_us = unix_us, .wake = wake, .spin = spin, .close = close_loop};

void virtual_loop_open(struct virtual_loop *loop, struct worker *worker)
{
    *loop = (struct virtual_loop){.worker = worker, .now_us = VIRTUAL_START_MS * 1000};
    worker->driver = &virtual_driver;
    worker->driver_owner = loop;
    worker_begin(worker, VIRTUAL_START_MS);
}

/* ---- one turn -------------------------------------------------------------------------------- */

void virtual_loop_enter(struct virtual_loop *loop)
{
    worker_enter(loop->worker, virtual_loop_now_ms(loop));
}

static void check(const struct virtual_loop *loop)
{
    if (loop->check) {
        loop->check(loop->worker);
    }
}

void virtual_loop_leave(struct virtual_loop *loop)
{
    worker_leave(loop->worker);
    check(loop);
}

static void read_mail(struct virtual_loop *loop)
{
    if (loop->woken && !loop->closed) {
        loop->woken = false;
        virtual_loop_enter(loop);
        worker_read_mail(loop->worker);
        virtual_loop_leave(loop);
    }
}

static void run_worker(struct virtual_loop *loop)
{
    virtual_loop_enter(loop);
    worker_run_timers(loop->worker);
    virtual_loop_leave(loop);
    if (loop->spinning) {
        worker_run_spinning(loop->worker);
        virtual_loop_leave(loop);
    }
    worker_before_poll(loop->worker);
    check(loop);
}

/* A worker that has ended still hears of what closes. */
void virtual_loop_turn(struct virtual_loop *loop)
{
    const struct virtual_sockets *sockets = loop->sockets;
    if (!loop->closed) {
        run_worker(loop);
        read_mail(loop);
        if (sockets) {
            sockets->poll(loop);
        }
        worker_after_poll(loop->worker);
        check(loop);
    }
    if (sockets) {
        sockets->close(loop);
    }
}

/* ---- many turns ------------------------------------------------------------------------------ */

static bool is_busy(const struct virtual_loop *loop)
{
    bool busy = loop->sockets && loop->sockets->busy(loop);
    return busy || (!loop->closed && (loop->spinning || loop->woken));
}

void virtual_rest(struct virtual_loop *loops, size_t n)
{
    unsigned turns = 0;
    bool busy = true;
    while (busy) {
        assert(turns++ < VIRTUAL_TURNS_MAX);
        for (size_t i = 0; i < n; i++) {
            virtual_loop_turn(&loops[i]);
        }
        busy = false;
        for (size_t i = 0; i < n; i++) {
            busy = busy || is_busy(&loops[i]);
        }
    }
}

static uint64_t next_timer_ms(const struct virtual_loop *loops, size_t n)
{
    uint64_t next_ms = UINT64_MAX;
    for (size_t i = 0; i < n; i++) {
        uint64_t at = loops[i].closed ? UINT64_MAX : worker_next_timer_ms(loops[i].worker);
        next_ms = at < next_ms ? at : next_ms;
    }
    return next_ms;
}

static void set_time(struct virtual_loop *loops, size_t n, uint64_t now)
{
    for (size_t i = 0; i < n; i++) {
        loops[i].now_us = now > loops[i].now_us ? now : loops[i].now_us;
    }
}

void virtual_pass(struct virtual_loop *loops, size_t n, uint64_t ms)
{
    uint64_t until_us = loops[0].now_us + ms * 1000;
    uint64_t next_ms;
    virtual_rest(loops, n);
    while ((next_ms = next_timer_ms(loops, n)) <= until_us / 1000) {
        set_time(loops, n, next_ms * 1000);
        virtual_rest(loops, n);
    }
    set_time(loops, n, until_us);
    virtual_rest(loops, n);
}
