/*
 * sidecar/data/route/stage.c: the table of stages, and what several of them need.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

#include <xxhash.h>

/* In the order of docs/specification.md, section 3. */
static const struct stage stages[] = {
    {.name = "access",
     .shadow = SHADOW_ACCESS,
     .concerns = stage_access_concerns,
     .decide = stage_access,
     .take = stage_access},
    {.name = "degrade",
     .concerns = stage_degrade_concerns,
     .decide = stage_degrade,
     .take = stage_degrade},
    {.name = "rate",
     .shadow = SHADOW_RATE,
     .concerns = stage_rate_concerns,
     .decide = stage_rate,
     .take = stage_rate_take},
    {.name = "concurrency",
     .shadow = SHADOW_CONCURRENCY,
     .decide = stage_concurrency,
     .take = stage_concurrency_take,
     .give = stage_concurrency_give},
    {.name = "breaker",
     .shadow = SHADOW_BREAKER,
     .concerns = stage_breaker_concerns,
     .decide = stage_breaker,
     .take = stage_breaker_take},
    {.name = "inflight", .take = stage_inflight_take, .give = stage_inflight_give},
    {.name = "split", .decide = stage_split, .take = stage_split},
    {.name = "balance", .decide = stage_balance, .take = stage_balance_take},
};
#define STAGES (sizeof stages / sizeof stages[0])
_Static_assert(STAGES <= 29, "a bit each in stage_ctx.taken");

static enum stage_verdict decide(const struct stage *stage, struct stage_ctx *ctx)
{
    return stage->decide ? stage->decide(ctx) : STAGE_GO_ON;
}

/* An answer of a stage in shadow is noted, and the call goes on. */
static bool is_shadowed(const struct stage *stage, struct stage_ctx *ctx)
{
    uint32_t bit = shadow_bit(stage->shadow) & ctx->route->config.shadow;
    ctx->shadowed |= bit;
    return bit != 0;
}

void stages_find(struct route *route)
{
    route->stages = route->holders = 0;
    for (size_t i = 0; i < STAGES; i++) {
        bool concerned = !stages[i].concerns || stages[i].concerns(route);
        route->stages |= concerned ? 1u << i : 0;
        route->holders |= concerned && stages[i].give ? 1u << i : 0;
    }
}

enum stage_verdict stages_decide(struct stage_ctx *ctx)
{
    for (uint32_t left = ctx->route->stages; left != 0; left &= left - 1) {
        const struct stage *stage = &stages[__builtin_ctz(left)];
        if (decide(stage, ctx) == STAGE_ANSWER && !is_shadowed(stage, ctx)) {
            return STAGE_ANSWER;
        }
    }
    return STAGE_GO_ON;
}

/* Those in front of the one that answered hold something, but for those that would have answered too. */
enum stage_verdict stages_run(struct stage_ctx *ctx)
{
    uint32_t holders = ctx->route->holders;
    for (uint32_t left = ctx->route->stages; left != 0; left &= left - 1) {
        const struct stage *stage = &stages[__builtin_ctz(left)];
        uint32_t bit = left & -left;
        if (__builtin_expect(stage->take(ctx) == STAGE_GO_ON, 1)) {
            continue;
        }
        if (!is_shadowed(stage, ctx)) {
            ctx->taken |= holders & (bit - 1);
            return STAGE_ANSWER;
        }
        holders &= ~bit;
    }
    ctx->taken |= holders;
    return STAGE_GO_ON;
}

void stages_give(const struct route *route, uint32_t taken)
{
    for (taken &= ~STAGE_FLAGS; taken != 0; taken &= taken - 1) {
        stages[__builtin_ctz(taken)].give(route);
    }
}

/* The resolved From; where that is "none" the call has no such value. */
static bool caller_of(const struct route *route, struct disc_str *ret_value)
{
    *ret_value = route->tuple.name[DISC_FROM];
    return !disc_str_eq(*ret_value, disc_str_of("none", 4));
}

/* The value that the call is split by, false where it has none. */
static bool by_value(const struct stage_ctx *ctx, const struct disc_by *by,
                     struct disc_str *ret_value)
{
    switch (by->kind) {
    case DISC_BY_LOG_ID:
        *ret_value = ctx->log_id;
        return ctx->log_id.len > 0;
    case DISC_BY_CALLER:
        return caller_of(ctx->route, ret_value);
    case DISC_BY_EXTRA:
        return ctx->extra && ctx->extra(ctx->extra_owner, by->extra_key, ret_value) &&
               ret_value->len > 0;
    case DISC_BY_RANDOM:
        break;
    }
    return false;
}

uint64_t stage_point(const struct stage_ctx *ctx, const struct disc_by *by, uint64_t seed)
{
    struct disc_str value;
    if (by_value(ctx, by, &value)) {
        return XXH3_64bits_withSeed(value.p, value.len, seed);
    }
    return lb_random_next(ctx->random);
}
