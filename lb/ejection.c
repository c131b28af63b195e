/*
 * lb/ejection.c: see lb/ejection.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/ejection.h"

#define TIMES_SHIFT 2
#define TIMES_MAX   31 /* doubled so often, a millisecond is more than any max_ms */
#define TIMES_MASK  UINT64_C(31)

static uint64_t word_of(uint64_t flags, uint64_t times, uint64_t at_ms)
{
    return at_ms << LB_EJECT_AT_SHIFT | times << TIMES_SHIFT | flags;
}

uint32_t lb_eject_times(uint64_t word)
{
    return (uint32_t)(word >> TIMES_SHIFT & TIMES_MASK);
}

static uint32_t times_next(uint64_t word, const struct lb_eject_rule *rule, uint64_t now_ms)
{
    uint64_t well_ms = now_ms > lb_eject_at_ms(word) ? now_ms - lb_eject_at_ms(word) : 0;
    uint32_t times = lb_eject_times(word);
    if (!lb_eject_is_out(word) && well_ms >= rule->max_ms) {
        return 1;
    }
    return times < TIMES_MAX ? times + 1 : TIMES_MAX;
}

uint64_t lb_eject(uint64_t word, const struct lb_eject_rule *rule, uint64_t now_ms)
{
    uint32_t times = times_next(word, rule, now_ms);
    uint64_t ms = (uint64_t)rule->base_ms << (times - 1);
    return word_of(LB_EJECT_OUT, times, now_ms + (ms < rule->max_ms ? ms : rule->max_ms));
}

uint64_t lb_eject_return(uint64_t word, uint64_t now_ms)
{
    return word_of(0, lb_eject_times(word), now_ms);
}

uint32_t lb_eject_allowed(uint32_t n, const struct lb_eject_rule *rule)
{
    uint64_t share = (uint64_t)n * rule->max_percent / 100;
    uint64_t allowed = share > 0 ? share : 1;
    return (uint32_t)(allowed < n ? allowed : n > 0 ? n - 1 : 0);
}
