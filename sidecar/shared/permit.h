/*
 * sidecar/shared/permit.h: a strict upper bound shared by threads.
 *
 * Compare-and-swap, never add-then-subtract: that would refuse wrongly while another thread is
 * between the two. A permit goes back to the count that it was taken from.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_PERMIT_H
#define TSIDE_SIDECAR_SHARED_PERMIT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

struct permits {
    _Atomic uint64_t taken;
};

/* Takes n where that stays within limit. */
static inline bool permit_take(struct permits *permits, uint64_t n, uint64_t limit)
{
    uint64_t now = atomic_load(&permits->taken);
    do {
        if (n > limit || now > limit - n) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&permits->taken, &now, now + n));
    return true;
}

static inline void permit_give(struct permits *permits, uint64_t n)
{
    atomic_fetch_sub(&permits->taken, n);
}

/* Sequentially consistent: a worker counts itself as waiting first, and looks here then. */
static inline uint64_t permit_taken(const struct permits *permits)
{
    return atomic_load(&permits->taken);
}

#endif
