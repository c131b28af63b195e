/*
 * sidecar/shared/caller_share.c: see sidecar/shared/caller_share.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/caller_share.h"

static uint32_t load(const _Atomic uint32_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static bool called_lately(const struct caller_share *share, uint32_t slot, uint32_t now_s)
{
    uint32_t called_s = load(&share->called_s[slot]);
    return called_s != 0 && now_s - called_s <= CALLER_LATELY_S;
}

/* Places of Froms, this one among them, that have calls under way or had one lately. */
static uint32_t active(const struct caller_share *const shares[], uint32_t workers, uint32_t own,
                       uint32_t now_s)
{
    uint32_t n = 1;
    for (uint32_t slot = 0; slot < CALLER_SLOTS; slot++) {
        bool is_active = false;
        for (uint32_t w = 0; w < workers && !is_active && slot != own; w++) {
            is_active = load(&shares[w]->calls[slot]) > 0 || called_lately(shares[w], slot, now_s);
        }
        n += is_active;
    }
    return n;
}

bool caller_share_allows(const struct caller_share *const shares[], uint32_t workers, uint32_t slot,
                         uint64_t taken, uint64_t now_ms)
{
    uint32_t n = active(shares, workers, slot, (uint32_t)(now_ms / 1000) + 1);
    uint64_t held = 0;
    for (uint32_t w = 0; w < workers; w++) {
        held += load(&shares[w]->calls[slot]);
    }
    return n == 1 || held * n < taken;
}
