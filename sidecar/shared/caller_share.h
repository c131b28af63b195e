/*
 * sidecar/shared/caller_share.h: how many calls each From has under way, so that one application cannot
 * use up limits.calls for all others on the host.
 *
 * One per worker, written by its thread alone; any worker sums them up, and may miss what changes meanwhile.
 * A From is counted in one of CALLER_SLOTS places by a hash that callers cannot foresee: two that meet in one
 * are one to this rule. Plain stores: the usual call pays two additions.
 *
 * While the last quarter of the limit is in use, a From is refused that holds as much as the average of those
 * that called lately, or more. What is left is for the others. Where no other one has called lately there is
 * nobody to keep it for.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_CALLER_SHARE_H
#define TSIDE_SIDECAR_SHARED_CALLER_SHARE_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define CALLER_SLOTS 256
/* How long a From's last call keeps a part of the limit free for it. */
#define CALLER_LATELY_S 10

struct caller_share {
    _Atomic uint32_t calls[CALLER_SLOTS]; /* under way */
    _Atomic uint32_t
        called_s[CALLER_SLOTS]; /* when one came last, in seconds of the loop's clock; 0: never */
};

static inline void caller_share_called(struct caller_share *share, uint32_t slot, uint64_t now_ms)
{
    atomic_store_explicit(&share->called_s[slot], (uint32_t)(now_ms / 1000) + 1,
                          memory_order_relaxed);
}

static inline void caller_share_add(struct caller_share *share, uint32_t slot, int32_t n)
{
    uint32_t calls = atomic_load_explicit(&share->calls[slot], memory_order_relaxed);
    atomic_store_explicit(&share->calls[slot], calls + (uint32_t)n, memory_order_relaxed);
}

/* Whether the last quarter is in use. */
static inline bool caller_share_is_short(uint64_t taken, uint64_t limit)
{
    return taken > limit - limit / 4;
}

/* Then: whether this From may have one more of the `taken` calls that are under way. */
bool caller_share_allows(const struct caller_share *const shares[], uint32_t workers, uint32_t slot,
                         uint64_t taken, uint64_t now_ms);

#endif
