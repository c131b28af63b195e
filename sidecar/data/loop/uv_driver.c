/*
 * sidecar/data/loop/uv_driver.c: see uv_driver.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/uv_driver.h"

#include <assert.h>
#include <stdlib.h>

struct uv_driver {
    struct worker *worker;
    uv_loop_t loop;
    uv_thread_t thread;
    uv_async_t wake;
    uv_prepare_t prepare;
    uv_check_t check;
    uv_idle_t spin; /* active while something must go on in the next turn */
    uv_timer_t timer;
    uint64_t armed_ms; /* what timer is set for; UINT64_MAX: off */
    bool started;
    bool ran;
};

static struct uv_driver *driver_of(const struct worker *worker)
{
    return worker->driver_owner;
}

uv_loop_t *uv_driver_loop(const struct worker *worker)
{
    return &driver_of(worker)->loop;
}

/* ---- turns ----------------------------------------------------------------------------------- */

static void on_timer(uv_timer_t *handle)
{
    struct uv_driver *driver = handle->data;
    driver->armed_ms = UINT64_MAX;
    uv_driver_enter(driver->worker, handle->loop);
    worker_run_timers(driver->worker);
    worker_leave(driver->worker);
}

/* One uv_timer for the whole wheel; moved only when something earlier came. */
static void arm(struct uv_driver *driver)
{
    uint64_t at = worker_next_timer_ms(driver->worker);
    uint64_t now_ms = driver->worker->now_ms;
    if (at < driver->armed_ms) {
        driver->armed_ms = at;
        (void)uv_timer_start(&driver->timer, on_timer, at > now_ms ? at - now_ms : 0, 0);
    }
}

static void on_prepare(uv_prepare_t *handle)
{
    struct uv_driver *driver = handle->data;
    uv_driver_enter(driver->worker, handle->loop);
    worker_before_poll(driver->worker);
    arm(driver);
}

static void on_check(uv_check_t *handle)
{
    struct uv_driver *driver = handle->data;
    uv_driver_enter(driver->worker, handle->loop);
    worker_after_poll(driver->worker);
}

static void on_spin(uv_idle_t *handle)
{
    struct uv_driver *driver = handle->data;
    uv_driver_enter(driver->worker, handle->loop);
    worker_run_spinning(driver->worker);
    worker_leave(driver->worker);
}

static void on_wake(uv_async_t *handle)
{
    struct uv_driver *driver = handle->data;
    uv_driver_enter(driver->worker, handle->loop);
    worker_read_mail(driver->worker);
    worker_leave(driver->worker);
}

/* ---- what the worker asks for ---------------------------------------------------------------- */

static uint64_t now_us(const struct worker *worker)
{
    (void)worker;
    return uv_hrtime() / 1000;
}

static uint64_t unix_us(const struct worker *worker)
{
    uv_timeval64_t now;
    (void)worker;
    return uv_gettimeofday(&now) ? 0 : (uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_usec;
}

static void wake(struct worker *worker)
{
    /* Fails on a closed loop alone, and loops are closed when all workers have ended. */
    (void)uv_async_send(&driver_of(worker)->wake);
}

static void spin(struct worker *worker, bool on)
{
    struct uv_driver *driver = driver_of(worker);
    if (on) {
        (void)uv_idle_start(&driver->spin, on_spin); /* always 0, also where it runs already */
    } else {
        (void)uv_idle_stop(&driver->spin); /* always 0 */
    }
}

static void close_handles(struct worker *worker)
{
    struct uv_driver *driver = driver_of(worker);
    uv_close((uv_handle_t *)&driver->wake, NULL);
    uv_close((uv_handle_t *)&driver->prepare, NULL);
    uv_close((uv_handle_t *)&driver->check, NULL);
    uv_close((uv_handle_t *)&driver->spin, NULL);
    uv_close((uv_handle_t *)&driver->timer, NULL);
}

const struct worker_driver uv_worker_driver = {
    .now_us = now_us, .unix_us = unix_us, .wake = wake, .spin = spin, .close = close_handles};

/* ---- birth and death ------------------------------------------------------------------------- */

static int init_loop(struct uv_driver *driver)
{
    uv_loop_t *loop = &driver->loop;
    int r = uv_loop_init(loop);
    if (r) {
        return r;
    }
    r = uv_async_init(loop, &driver->wake, on_wake);
    if (r) {
        (void)uv_loop_close(loop); /* nothing is open */
        return r;
    }
    /* These cannot fail on a fresh loop. */
    (void)uv_prepare_init(loop, &driver->prepare);
    (void)uv_check_init(loop, &driver->check);
    (void)uv_idle_init(loop, &driver->spin);
    (void)uv_timer_init(loop, &driver->timer);
    (void)uv_prepare_start(&driver->prepare, on_prepare);
    (void)uv_check_start(&driver->check, on_check);
    loop->data = driver->worker;
    driver->wake.data = driver->prepare.data = driver->check.data = driver;
    driver->spin.data = driver->timer.data = driver;
    return 0;
}

int uv_driver_open(struct worker *worker)
{
    struct uv_driver *driver = calloc(1, sizeof *driver);
    if (!driver) {
        return UV_ENOMEM;
    }
    driver->worker = worker;
    driver->armed_ms = UINT64_MAX;
    int r = init_loop(driver);
    if (r) {
        free(driver);
        return r;
    }
    worker->driver_owner = driver;
    worker_begin(worker, uv_now(&driver->loop));
    return 0;
}

static void run(void *arg)
{
    struct uv_driver *driver = arg;
    (void)uv_run(&driver->loop, UV_RUN_DEFAULT); /* ends when everything is closed */
    worker_stopped(driver->worker);
}

int uv_driver_start(struct worker *worker)
{
    struct uv_driver *driver = driver_of(worker);
    uv_update_time(&driver->loop);
    int r = uv_thread_create(&driver->thread, run, driver);
    driver->started = r == 0;
    return r;
}

void uv_driver_join(struct worker *worker)
{
    struct uv_driver *driver = driver_of(worker);
    if (driver && driver->started) {
        (void)uv_thread_join(&driver->thread); /* it is ours to join, once */
        driver->started = false;
        driver->ran = true;
    }
}

void uv_driver_close(struct worker *worker)
{
    struct uv_driver *driver = driver_of(worker);
    if (!driver) {
        return;
    }
    if (!driver->ran) {
        worker_end(worker);
        (void)uv_run(&driver->loop, UV_RUN_DEFAULT);
        worker_stopped(worker);
    }
    int r = uv_loop_close(&driver->loop);
    assert(r == 0);
    (void)r;
    free(driver);
    worker->driver_owner = NULL;
}
