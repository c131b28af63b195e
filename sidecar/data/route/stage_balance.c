/*
 * sidecar/data/route/stage_balance.c: which endpoint of the chosen set gets the call (config `lb`).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

/* A set, as of now. */
struct balance {
    const struct target_set *set;
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

enum stage_verdict stage_balance(struct stage_ctx *ctx)
{
    struct target_set *set = ctx->set;
    uint32_t target = LB_NONE;
    if (set->n == 1 && !lb_is_excluded(ctx->exclude, 0)) {
        target = 0; /* nothing to weigh */
    } else if (ctx->route->config.lb == DISC_LB_ROUND_ROBIN) {
        target = lb_round_robin_pick(set->round_robin, ctx->exclude);
    } else { /* the other values are refused by the rule parser until they are built */
        const struct balance balance = {set, ctx->now_ms};
        const struct lb_pick pick = {ctx->exclude, ctx->random, endpoint_load, &balance};
        target = lb_p2c_pick(set->draw, target_set_load(set, ctx->now_ms), &pick);
    }
    if (target == LB_NONE) {
        ctx->reason = REASON_NO_ENDPOINT;
        return STAGE_ANSWER;
    }
    ctx->target = target;
    return STAGE_GO_ON;
}
