/*
 * lb/limiter.h: a token bucket as one number, the moment at which it will be full again (GCRA).
 *
 * A call takes a token: the moment moves away by the time that brings one. The bucket is empty where
 * the moment is its depth away. So there is nothing to refill, and threads that share a bucket need no
 * lock: they compute the next moment here, and put it in place by compare-and-swap. Time is an
 * argument. A thread whose clock is behind the others' sees fewer tokens, never more.
 *
 * Moments are in LB_LIMITER_PER_US parts of a microsecond, which are 36 years in 64 bits; a rate is
 * exact to 0.04 %, as the time of a token is a whole number of them.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_LIMITER_H
#define TSIDE_LB_LIMITER_H

#include <stdbool.h>
#include <stdint.h>

#define LB_LIMITER_PER_US 16000
#define LB_RATE_MAX       10000000 /* of per_s and burst */

struct lb_rate {
    uint64_t token; /* the time that brings one */
    uint64_t depth; /* the time that fills the empty bucket */
};

/* per_s at least 1. burst 0: as many as come in a tenth of a second, at least 1; with a depth of one,
 * calls that arrive together would be refused at a tenth of the rate. */
struct lb_rate lb_rate_of(uint32_t per_s, uint32_t burst);

/* Whether there is a token; then *ret_full_at is the moment without it. A new bucket is full: 0. */
bool lb_limiter_take(uint64_t full_at, const struct lb_rate *rate, uint64_t now_us,
                     uint64_t *ret_full_at) __attribute__((warn_unused_result));

/* The moment under another rate: as many tokens are missing as before, but no more than it holds. */
uint64_t lb_limiter_change(uint64_t full_at, const struct lb_rate *from, const struct lb_rate *to,
                           uint64_t now_us);

#endif
