/*
 * discovery/refcount.h: an atomic reference count for immutable objects.
 *
 * The one place below sidecar/shared with atomics: views and rules are built by the control thread
 * and let go by whichever thread held them last (a worker's cached route outlives the snapshot that
 * it was made from).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_REFCOUNT_H
#define TSIDE_DISCOVERY_REFCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct refcount {
    _Atomic uint32_t n;
};

static inline void refcount_init(struct refcount *refs)
{
    atomic_init(&refs->n, 1);
}

/* The caller holds a reference already, or something that holds one. */
static inline void refcount_ref(struct refcount *refs)
{
    atomic_fetch_add_explicit(&refs->n, 1, memory_order_relaxed);
}

/* True where this was the last one: the object is the caller's to free. */
static inline bool refcount_unref(struct refcount *refs)
{
    return atomic_fetch_sub_explicit(&refs->n, 1, memory_order_acq_rel) == 1;
}

#endif
