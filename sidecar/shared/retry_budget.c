/*
 * sidecar/shared/retry_budget.c: see sidecar/shared/retry_budget.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/retry_budget.h"

#include "lb/limiter.h"

#define COUNT UINT64_C(0xffffffff)

static bool swap(_Atomic uint64_t *p, uint64_t *seen, uint64_t next)
{
    return atomic_compare_exchange_weak_explicit(p, seen, next, memory_order_relaxed,
                                                 memory_order_relaxed);
}

/* What a slot holds in this second. */
static uint64_t slot_in(uint64_t value, uint64_t second)
{
    return value >> 32 == (second & COUNT) ? value : second << 32;
}

static uint64_t drawn_in_window(const struct retry_budget *budget, uint64_t last)
{
    uint64_t sum = 0;
    uint64_t first = last >= RETRY_BUDGET_SLOTS ? last - RETRY_BUDGET_SLOTS + 1 : 0;
    for (uint64_t second = first; second <= last; second++) {
        const _Atomic uint64_t *slot = &budget->drawn[second % RETRY_BUDGET_SLOTS];
        sum += slot_in(atomic_load_explicit(slot, memory_order_relaxed), second) & COUNT;
    }
    return sum;
}

/* Counted first, looked at then: of two that draw at once neither misses the other. */
static bool take_of_share(struct retry_budget *budget, uint64_t share, uint64_t second)
{
    _Atomic uint64_t *slot = &budget->drawn[second % RETRY_BUDGET_SLOTS];
    uint64_t seen = atomic_load_explicit(slot, memory_order_relaxed);
    if (share == 0) {
        return false;
    }
    while (!swap(slot, &seen, slot_in(seen, second) + 1)) {
    }
    if (drawn_in_window(budget, second) <= share) {
        return true;
    }
    seen = atomic_load_explicit(slot, memory_order_relaxed);
    while (seen >> 32 == (second & COUNT) && !swap(slot, &seen, seen - 1)) {
    }
    return false;
}

static bool take_of_floor(struct retry_budget *budget, uint64_t now_us)
{
    const struct lb_rate floor = lb_rate_of(RETRY_BUDGET_FLOOR_PER_S, RETRY_BUDGET_FLOOR_PER_S);
    uint64_t full_at = atomic_load_explicit(&budget->floor_full_at, memory_order_relaxed);
    uint64_t next;
    do {
        if (!lb_limiter_take(full_at, &floor, now_us, &next)) {
            return false;
        }
    } while (!swap(&budget->floor_full_at, &full_at, next));
    return true;
}

bool retry_budget_take(struct retry_budget *budget, uint32_t percent, uint64_t successes,
                       uint64_t now_us)
{
    return take_of_share(budget, successes * percent / 100, now_us / 1000000) ||
           take_of_floor(budget, now_us);
}
