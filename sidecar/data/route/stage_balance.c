/*
 * sidecar/data/route/stage_balance.c: which endpoint of the chosen set gets the call (config `lb`, `eject`,
 * `slow_start_ms`).
 *
 * A policy picks among all of the set. Where what it finds is ejected, it picks once more and passes over what
 * is: weights hold among the others, a key goes on along its own way, and while nothing is ejected nobody asks.
 * While an endpoint of the set is new it has a share of its weight; `hash` takes no notice, for then keys would move.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

#include "lb/least_request.h"
#include "lb/ramp.h"
#include "sidecar/data/route/ejection.h"

/* Times that another worker may take a trial first before the call does without. */
#define TRIES_MAX 4

/* A set, as of now. */
struct balance {
    struct target_set *set;
    uint64_t now_ms;
    uint32_t slow_start_ms;
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

static bool is_barred(const void *owner, uint32_t index)
{
    const struct balance *balance = owner;
    return ejection_is_barred(balance->set->endpoints[index], balance->now_ms);
}

/* Clocks of two threads may differ by a little: one that is not born yet is just born. */
static uint32_t share(const void *owner, uint32_t index)
{
    const struct balance *balance = owner;
    const struct endpoint_state *state = balance->set->endpoints[index];
    if (!state || state->born_in == balance->set->oldest_in) {
        return LB_SHARE_ALL;
    }
    uint64_t age_ms = balance->now_ms > state->born_ms ? balance->now_ms - state->born_ms : 0;
    return lb_ramp_share(age_ms, balance->slow_start_ms);
}

static bool has_new(const struct stage_ctx *ctx)
{
    uint32_t slow_start_ms = ctx->route->config.slow_start_ms;
    return slow_start_ms > 0 && ctx->now_ms < ctx->set->newest_ms + slow_start_ms &&
           ctx->set->newest_ms > 0;
}

typedef bool (*is_out_fn)(const void *owner, uint32_t index);
typedef uint32_t (*share_fn)(const void *owner, uint32_t index);

/* Inlined where nothing is asked about ejection: 16 instructions a call. */
static inline __attribute__((always_inline)) uint32_t
pick_target(const struct stage_ctx *ctx, is_out_fn is_out, share_fn share_now)
{
    struct target_set *set = ctx->set;
    const struct balance balance = {set, ctx->now_ms, ctx->route->config.slow_start_ms};
    const struct lb_pick pick = {ctx->exclude, ctx->random, endpoint_load,
                                 &balance,     is_out,      share_now};

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

static __attribute__((noinline)) uint32_t pick_around(const struct stage_ctx *ctx)
{
    return pick_target(ctx, is_barred, has_new(ctx) ? share : NULL);
}

static __attribute__((noinline)) uint32_t pick_by_age(const struct stage_ctx *ctx)
{
    return pick_target(ctx, NULL, share);
}

static struct endpoint_state *picked(const struct stage_ctx *ctx)
{
    return ctx->set->endpoints[ctx->target];
}

/* Picks among all. False: the endpoint is ejected, or there is none. */
static bool pick_any(struct stage_ctx *ctx)
{
    ctx->target =
        __builtin_expect(has_new(ctx), 0) ? pick_by_age(ctx) : pick_target(ctx, NULL, NULL);
    return ctx->target != LB_NONE && !ejection_is_out(picked(ctx));
}

/* Looks closer at an ejected endpoint: whether it can have the call after all, be it as a trial. Else it picks
 * another one. */
static void look_again(struct stage_ctx *ctx)
{
    if (ctx->target == LB_NONE || ctx->route->config.eject.consecutive == 0) {
        return;
    }
    ctx->fails_open = ejection_fails_open(ctx->set, ctx->now_ms);
    if (!ctx->fails_open && ejection_is_barred(picked(ctx), ctx->now_ms)) {
        ctx->target = pick_around(ctx);
    }
}

static enum stage_verdict verdict(struct stage_ctx *ctx)
{
    if (ctx->target == LB_NONE) {
        ctx->reason = REASON_NO_ENDPOINT;
        return STAGE_ANSWER;
    }
    return STAGE_GO_ON;
}

enum stage_verdict stage_balance(struct stage_ctx *ctx)
{
    if (!pick_any(ctx)) {
        look_again(ctx);
    }
    return verdict(ctx);
}

/* Whether the endpoint can have the call; takes the slot of a trial where that is what it is. */
static bool enter(struct stage_ctx *ctx)
{
    if (ctx->target == LB_NONE || !ejection_is_out(picked(ctx)) ||
        ctx->route->config.eject.consecutive == 0) {
        return true;
    }
    if (endpoint_trial_take(picked(ctx), ctx->now_ms)) {
        ctx->taken |= STAGE_TRIAL;
        return true;
    }
    return ctx->fails_open;
}

enum stage_verdict stage_balance_take(struct stage_ctx *ctx)
{
    if (pick_any(ctx)) {
        return STAGE_GO_ON;
    }
    look_again(ctx);
    for (int i = 0; i < TRIES_MAX && !enter(ctx); i++) {
        ctx->target = pick_around(ctx); /* another worker was quicker */
    }
    return verdict(ctx);
}
