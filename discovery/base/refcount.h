/*
 * discovery/base/refcount.h: an atomic reference count for immutable objects, and where they go to
 * die.
 *
 * The one place below sidecar/shared with atomics: views and rules are built by the control thread
 * and let go by whichever thread held them last (a worker's cached route outlives the snapshot that
 * it was made from).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_REFCOUNT_H
#define TSIDE_DISCOVERY_BASE_REFCOUNT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
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

/*
 * A list of objects that any thread may add to and one thread empties: for objects that only that
 * thread may free. Taking is taking all, so that no pointer is ever compared after it was freed.
 */
struct graveyard_node {
    struct graveyard_node *next;
};

struct graveyard {
    _Atomic(struct graveyard_node *) top;
};

static inline void graveyard_init(struct graveyard *graveyard)
{
    atomic_init(&graveyard->top, NULL);
}

static inline void graveyard_push(struct graveyard *graveyard, struct graveyard_node *node)
{
    struct graveyard_node *top = atomic_load_explicit(&graveyard->top, memory_order_relaxed);
    do {
        node->next = top;
    } while (!atomic_compare_exchange_weak_explicit(&graveyard->top, &top, node,
                                                    memory_order_release, memory_order_relaxed));
}

/* NULL: nobody there. */
static inline struct graveyard_node *graveyard_take(struct graveyard *graveyard)
{
    return atomic_exchange_explicit(&graveyard->top, NULL, memory_order_acquire);
}

#endif
