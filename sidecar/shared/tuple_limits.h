/*
 * sidecar/shared/tuple_limits.h: what bounds the calls of one tuple, exactly, over all workers.
 *
 * Part of struct tuple_state, so that it outlives every snapshot; which numbers hold is up to the
 * route of each call.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_TUPLE_LIMITS_H
#define TSIDE_SIDECAR_SHARED_TUPLE_LIMITS_H

#include "lb/fleet_share.h"
#include "sidecar/shared/permit.h"
#include "sidecar/shared/retry_budget.h"

/* A token bucket. Any thread. */
struct token_bucket {
    _Atomic uint64_t full_at; /* lb/limiter.h */
    _Atomic uint64_t rule;    /* rate_per_s and burst that full_at was made by; 0: none yet */
};

/* A part of a rate that hosts share (config rate_scope: fleet). Workers count, the control thread sets the part. */
struct fleet_part {
    _Atomic uint32_t per_s; /* of the whole fleet; 0: the rate is this host's alone */
    _Atomic uint64_t taken; /* calls that got a token */
    _Atomic uint64_t
        token; /* the time that brings one here; 0: not known yet, as if it was alone */
};

/* Before tokens are taken by a route with other numbers: what is missing is carried over. */
void token_bucket_adopt(struct token_bucket *bucket, uint32_t per_s, uint32_t burst,
                        uint64_t now_us);
bool token_bucket_has(const struct token_bucket *bucket, const struct lb_rate *rate,
                      uint64_t now_us);
bool token_bucket_take(struct token_bucket *bucket, const struct lb_rate *rate, uint64_t now_us)
    __attribute__((warn_unused_result));

/* Worker. A route's rule: 0 where the rate is not shared. */
void fleet_part_adopt(struct fleet_part *part, uint32_t per_s);
/* Worker. The bucket that holds here now; a call has got a token of it. */
struct lb_rate fleet_part_rate(const struct fleet_part *part, const struct lb_rate *whole);
void fleet_part_count(struct fleet_part *part);
/* Control thread. */
uint32_t fleet_part_per_s(const struct fleet_part *part);
uint64_t fleet_part_taken(const struct fleet_part *part);
void fleet_part_set(struct fleet_part *part, uint64_t token);
/* In calls per second. */
double fleet_part_share(const struct fleet_part *part);

struct tuple_limits {
    char pad[64]; /* every call writes what is next, other tuples' look-ups read what is before */
    struct permits calls; /* under way */
    struct token_bucket bucket;
    struct fleet_part part;
    struct retry_budget retries;
    char pad_behind[64];
};

#endif
