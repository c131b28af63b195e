/*
 * sidecar/data/loop/uv_driver.h: a libuv loop, in a thread of its own, that drives a worker.
 *
 * Made and joined by the control thread; everything else happens on the worker's thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_UV_DRIVER_H
#define TSIDE_SIDECAR_DATA_LOOP_UV_DRIVER_H

#include "sidecar/data/loop/worker.h"

#include <uv.h>

/* Of a worker that was made with it; its driver_owner is set by uv_driver_open(). */
extern const struct worker_driver uv_worker_driver;

/* 0 or a libuv error: then the worker has no driver. The loop does not run yet. */
int uv_driver_open(struct worker *worker);
/* Starts the thread. 0 or a libuv error. */
int uv_driver_start(struct worker *worker);
/* Waits for the thread, which ends when the worker is STOPPED; at once where it was never started. */
void uv_driver_join(struct worker *worker);
/* When all workers have been joined. One that never ran is ended first. */
void uv_driver_close(struct worker *worker);

uv_loop_t *uv_driver_loop(const struct worker *worker);

/* Every callback of libuv begins and ends by these two. */
static inline void uv_driver_enter(struct worker *worker, const uv_loop_t *loop)
{
    worker_enter(worker, uv_now(loop));
}

#endif
