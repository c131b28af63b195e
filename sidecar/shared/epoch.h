/*
 * sidecar/shared/epoch.h: from when on no worker can stand on what the control thread has unlinked.
 *
 * Workers walk shared tables without a lock, so what is unlinked may still be looked at. It may be
 * freed when every worker has since been at a point where it stands on nothing: the end of a turn,
 * which comes every WORKER_TICK_MS at the latest.
 *
 *     control: unlink(x); until = epoch_advance(epoch)
 *              later: if (epoch_passed(epoch, until)) free(x)
 *     worker:  at the end of a turn: epoch_pass(epoch, worker)
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_EPOCH_H
#define TSIDE_SIDECAR_SHARED_EPOCH_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define EPOCH_WORKERS_MAX 64

/* All zero is a good start; a worker that has not passed yet holds everything up. */
struct epoch {
    _Atomic uint64_t now; /* only the control thread writes */
    uint32_t workers;     /* 0: nobody to wait for */
    struct {
        _Atomic uint64_t passed;
        char pad[64]; /* keeps two workers' words off one cache line */
    } worker[EPOCH_WORKERS_MAX];
};

/* Control thread, after unlinking: what epoch_passed() is to be asked for. */
static inline uint64_t epoch_advance(struct epoch *epoch)
{
    return atomic_fetch_add_explicit(&epoch->now, 1, memory_order_release) + 1;
}

/* That worker, when it stands on nothing it has looked up and holds no reference to. What was
 * unlinked before the epoch that it reads here it does not meet again. */
static inline void epoch_pass(struct epoch *epoch, uint32_t worker)
{
    uint64_t now = atomic_load_explicit(&epoch->now, memory_order_acquire);
    atomic_store_explicit(&epoch->worker[worker].passed, now, memory_order_release);
}

/* Whether every worker has passed that epoch or a later one. */
static inline bool epoch_passed(const struct epoch *epoch, uint64_t until)
{
    for (uint32_t i = 0; i < epoch->workers; i++) {
        if (atomic_load_explicit(&epoch->worker[i].passed, memory_order_acquire) < until) {
            return false;
        }
    }
    return true;
}

#endif
