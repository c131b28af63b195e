/*
 * sidecar/shared/outcome_window.c: see sidecar/shared/outcome_window.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/outcome_window.h"

void outcome_sum(const struct outcome_window *window, uint64_t now_ms, struct outcome_counts *sum)
{
    uint64_t last = now_ms / 1000;
    uint64_t first = last >= OUTCOME_SLOTS ? last - OUTCOME_SLOTS + 1 : 0;
    for (uint64_t second = first; second <= last; second++) {
        const _Atomic uint64_t *slot = &window->slot[second % OUTCOME_SLOTS];
        uint64_t value = outcome_slot(atomic_load_explicit(slot, memory_order_relaxed), second);
        sum->ok += value & OUTCOME_COUNT_MAX;
        sum->failed += value >> 24 & OUTCOME_COUNT_MAX;
    }
}
