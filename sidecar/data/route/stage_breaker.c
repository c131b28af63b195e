/*
 * sidecar/data/route/stage_breaker.c: the circuit breaker of a tuple (config `breaker`).
 *
 * The breaker is told how every call ended that it let in (call/account.c), of a probe also where that says
 * nothing of the callee.
 * Tuples that share "_other" have none: one of them could shut off the others.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

static enum stage_verdict refuse(struct stage_ctx *ctx)
{
    struct lb_breaker_cause cause = tuple_breaker_cause(ctx->route->breaker);
    ctx->reason = REASON_BREAKER_OPEN;
    ctx->number = cause.calls > 0 ? (int64_t)cause.errors * 100 / cause.calls : 0;
    ctx->of = cause.calls;
    return STAGE_ANSWER;
}

bool stage_breaker_concerns(const struct route *route)
{
    return route->breaker != NULL;
}

enum stage_verdict stage_breaker(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    enum breaker_entry entry =
        tuple_breaker_ask(route->breaker, &route->config.breaker, ctx->now_ms);
    return entry == BREAKER_REFUSED ? refuse(ctx) : STAGE_GO_ON;
}

enum stage_verdict stage_breaker_take(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    switch (tuple_breaker_enter(route->breaker, &route->config.breaker, ctx->now_ms)) {
    case BREAKER_REFUSED:
        return refuse(ctx);
    case BREAKER_PROBE:
        ctx->taken |= STAGE_TELLS | STAGE_PROBE;
        break;
    case BREAKER_PASSED:
        ctx->taken |= STAGE_TELLS;
        break;
    }
    return STAGE_GO_ON;
}
