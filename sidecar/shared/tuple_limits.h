/*
 * sidecar/shared/tuple_limits.h: what bounds the calls of one tuple, exactly, over all workers.
 *
 * Part of struct tuple_state, so that it outlives every snapshot; which numbers hold is up to the
 * route of each call.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_TUPLE_LIMITS_H
#define TSIDE_SIDECAR_SHARED_TUPLE_LIMITS_H

#include "lb/limiter.h"
#include "sidecar/shared/permit.h"
#include "sidecar/shared/retry_budget.h"

/* A token bucket. Any thread. */
struct token_bucket {
    _Atomic uint64_t full_at; /* lb/limiter.h */
    _Atomic uint64_t rule;    /* rate_per_s and burst that full_at was made by; 0: none yet */
};

/* Before tokens are taken by a route with other numbers: what is missing is carried over. */
void token_bucket_adopt(struct token_bucket *bucket, uint32_t per_s, uint32_t burst,
                        uint64_t now_us);
bool token_bucket_has(const struct token_bucket *bucket, const struct lb_rate *rate,
                      uint64_t now_us);
bool token_bucket_take(struct token_bucket *bucket, const struct lb_rate *rate, uint64_t now_us)
    __attribute__((warn_unused_result));

struct tuple_limits {
    char pad[64]; /* every call writes what is next, other tuples' look-ups read what is before */
    struct permits calls; /* under way */
    struct token_bucket bucket;
    struct retry_budget retries;
    char pad_behind[64];
};

#endif
