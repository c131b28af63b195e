/*
 * sidecar/data/route/stage_balance.c: which endpoint of the chosen set gets the call (config `lb`).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

#include "lb/least_request.h"

/* A set, as of now. */
struct balance {
    struct target_set *set;
    uint64_t now_ms;
};

static struct lb_load endpoint_load(const void *owner, uint32_t index)
{
    const struct balance *balance = owner;
    const struct endpoint_state *state = balance->set->endpoints[index];
    if (!state) {
        return (struct lb_load){0};
    }
    return (struct lb_load){
        .ewma_us = endpoint_ewma_now_us(state, balance->now_ms),
        .inflight = atomic_load_explicit(&state->inflight, memory_order_relaxed),
    };
}

static const struct lb_set_load *set_load(const void *owner)
{
    const struct balance *balance = owner;
    return target_set_load(balance->set, balance->now_ms);
}

static uint32_t pick_target(const struct stage_ctx *ctx, struct target_set *set)
{
    const struct balance balance = {set, ctx->now_ms};
    const struct lb_pick pick = {ctx->exclude, ctx->random, endpoint_load, &balance};

    switch ((unsigned)ctx->route->config.lb) {
    case DISC_LB_ROUND_ROBIN:
        return lb_round_robin_pick(set->round_robin, &pick);
    case DISC_LB_HASH:
        return lb_maglev_pick(
            set->maglev, stage_point(ctx, &ctx->route->config.hash_by, STAGE_SEED_HASH), &pick);
    case DISC_LB_LEAST_REQUEST:
        return lb_least_request_pick(set->draw, &pick);
    case DISC_LB_RANDOM:
        return lb_draw_pick_other(set->draw, LB_NONE, &pick);
    default: /* the rule parser refuses what is not built */
        return lb_p2c_pick(set->draw, set_load, &pick);
    }
}

enum stage_verdict stage_balance(struct stage_ctx *ctx)
{
    ctx->target = pick_target(ctx, ctx->set);
    if (ctx->target == LB_NONE) {
        ctx->reason = REASON_NO_ENDPOINT;
        return STAGE_ANSWER;
    }
    return STAGE_GO_ON;
}
