/*
 * sidecar/shared/outcome_window.h: successes and failures of the last ten seconds, in slots of one second.
 *
 * One thread adds. Any thread sums, and may miss what is added meanwhile. Time is an argument: milliseconds
 * of a clock that all of them share. The second at hand counts as a whole one, so that what is summed up is
 * of the last nine to ten seconds.
 *
 *     slot: second, 16 bits | failures, 24 | successes, 24
 *
 * A slot whose second is another one holds nothing. Both counts stay where they are when they are full.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_OUTCOME_WINDOW_H
#define TSIDE_OUTCOME_WINDOW_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define OUTCOME_SLOTS     10
#define OUTCOME_COUNT_MAX UINT64_C(0xffffff)

struct outcome_window {
    _Atomic uint64_t slot[OUTCOME_SLOTS];
};

struct outcome_counts {
    uint64_t ok;
    uint64_t failed;
};

/* What a slot holds in this second. */
static inline uint64_t outcome_slot(uint64_t value, uint64_t second)
{
    return value >> 48 == (second & 0xffff) ? value : second << 48;
}

static inline void outcome_add(struct outcome_window *window, bool ok, uint64_t now_ms)
{
    uint64_t second = now_ms / 1000;
    _Atomic uint64_t *slot = &window->slot[second % OUTCOME_SLOTS];
    uint64_t value = outcome_slot(atomic_load_explicit(slot, memory_order_relaxed), second);
    unsigned shift = ok ? 0 : 24;
    bool full = (value >> shift & OUTCOME_COUNT_MAX) == OUTCOME_COUNT_MAX;
    atomic_store_explicit(slot, full ? value : value + (UINT64_C(1) << shift),
                          memory_order_relaxed);
}

/* Adds what the window holds. */
void outcome_sum(const struct outcome_window *window, uint64_t now_ms, struct outcome_counts *sum);

#endif
