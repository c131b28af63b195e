/*
 * sidecar/shared/tuple_limits.c: see sidecar/shared/tuple_limits.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/tuple_limits.h"

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *p, uint64_t *seen, uint64_t next)
{
    return atomic_compare_exchange_weak_explicit(p, seen, next, memory_order_relaxed,
                                                 memory_order_relaxed);
}

/* One thread wins and carries the bucket over. Another that takes a token in between does so by the new
 * numbers from the old moment: once, and by less than a bucket. */
void token_bucket_adopt(struct token_bucket *bucket, uint32_t per_s, uint32_t burst,
                        uint64_t now_us)
{
    uint64_t rule = (uint64_t)per_s << 32 | burst;
    uint64_t before = load(&bucket->rule);
    do {
        if (before == rule) {
            return;
        }
    } while (!swap(&bucket->rule, &before, rule));
    if (before == 0) {
        return;
    }
    struct lb_rate from = lb_rate_of((uint32_t)(before >> 32), (uint32_t)before);
    struct lb_rate to = lb_rate_of(per_s, burst);
    uint64_t full_at = load(&bucket->full_at);
    while (!swap(&bucket->full_at, &full_at, lb_limiter_change(full_at, &from, &to, now_us))) {
    }
}

bool token_bucket_has(const struct token_bucket *bucket, const struct lb_rate *rate,
                      uint64_t now_us)
{
    uint64_t next;
    return lb_limiter_take(load(&bucket->full_at), rate, now_us, &next);
}

bool token_bucket_take(struct token_bucket *bucket, const struct lb_rate *rate, uint64_t now_us)
{
    uint64_t full_at = load(&bucket->full_at);
    uint64_t next;
    do {
        if (!lb_limiter_take(full_at, rate, now_us, &next)) {
            return false;
        }
    } while (!swap(&bucket->full_at, &full_at, next));
    return true;
}

struct lb_rate fleet_part_rate(const struct fleet_part *part, const struct lb_rate *whole)
{
    uint64_t token = load(&part->token);
    return token > 0 ? lb_fleet_rate(whole, token) : *whole;
}

void fleet_part_adopt(struct fleet_part *part, uint32_t per_s)
{
    atomic_store_explicit(&part->per_s, per_s, memory_order_relaxed);
}

void fleet_part_count(struct fleet_part *part)
{
    atomic_fetch_add_explicit(&part->taken, 1, memory_order_relaxed);
}

uint32_t fleet_part_per_s(const struct fleet_part *part)
{
    return atomic_load_explicit(&part->per_s, memory_order_relaxed);
}

uint64_t fleet_part_taken(const struct fleet_part *part)
{
    return load(&part->taken);
}

void fleet_part_set(struct fleet_part *part, uint64_t token)
{
    atomic_store_explicit(&part->token, token, memory_order_relaxed);
}

double fleet_part_share(const struct fleet_part *part)
{
    uint64_t token = load(&part->token);
    return token > 0 ? 1e6 * LB_LIMITER_PER_US / (double)token : fleet_part_per_s(part);
}
