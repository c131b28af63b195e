/*
 * sidecar/data/plane.h: the layers of the call path, hung into a worker.
 *
 * The one place that knows all of them: what a worker does when rules come, mail is there, a second has
 * passed, and when it drains and ends.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_PLANE_H
#define TSIDE_SIDECAR_DATA_PLANE_H

#include "sidecar/data/loop/worker.h"

#define PLANE_SWEEP_ROUTES  256 /* cached routes looked at per tick */
#define PLANE_ROUTE_IDLE_MS 600000

/* A worker with all layers, that dials by this transport; NULL when out of memory. */
struct worker *plane_new(struct worker_env *env, uint32_t index, uint64_t seed,
                         const struct worker_driver *driver, const struct transport_ops *dial);
/* When it has ended. NULL. */
struct worker *plane_free(struct worker *worker);

/* The invariants of every object of the worker: for tests, between two callbacks. */
void plane_check(const struct worker *worker);

#endif
