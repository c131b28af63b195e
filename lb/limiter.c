/*
 * lb/limiter.c: see lb/limiter.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/limiter.h"

#include <assert.h>

#define PER_S ((uint64_t)1000000 * LB_LIMITER_PER_US)

struct lb_rate lb_rate_of(uint32_t per_s, uint32_t burst)
{
    assert(per_s > 0 && per_s <= LB_RATE_MAX && burst <= LB_RATE_MAX);
    if (burst == 0) {
        burst = per_s >= 10 ? per_s / 10 : 1;
    }
    uint64_t token = (PER_S + per_s / 2) / per_s;
    return (struct lb_rate){.token = token, .depth = token * burst};
}

/* How long it takes until the bucket is full. */
static uint64_t missing(uint64_t full_at, uint64_t now)
{
    return full_at > now ? full_at - now : 0;
}

bool lb_limiter_take(uint64_t full_at, const struct lb_rate *rate, uint64_t now_us,
                     uint64_t *ret_full_at)
{
    uint64_t now = now_us * LB_LIMITER_PER_US;
    uint64_t after = missing(full_at, now) + rate->token;
    if (after > rate->depth) {
        return false;
    }
    *ret_full_at = now + after;
    return true;
}

uint64_t lb_limiter_change(uint64_t full_at, const struct lb_rate *from, const struct lb_rate *to,
                           uint64_t now_us)
{
    uint64_t now = now_us * LB_LIMITER_PER_US;
    uint64_t tokens = missing(full_at, now) / from->token;
    uint64_t holds = to->depth / to->token;
    return now + (tokens < holds ? tokens : holds) * to->token;
}
