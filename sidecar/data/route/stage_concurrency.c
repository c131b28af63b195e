/*
 * sidecar/data/route/stage_concurrency.c: how many calls of a tuple may be under way on this host at once
 * (config `max_concurrency`).
 *
 * Calls without a limit are counted, too: a limit that is set later holds for what is under way then.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

static uint64_t limit_of(const struct route *route)
{
    return route->config.max_concurrency > 0 ? route->config.max_concurrency : UINT64_MAX;
}

static enum stage_verdict refuse(struct stage_ctx *ctx)
{
    ctx->reason = REASON_CONCURRENCY_LIMIT;
    ctx->number = ctx->route->config.max_concurrency;
    return STAGE_ANSWER;
}

enum stage_verdict stage_concurrency(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    bool full = route->counts_calls && permit_taken(&route->limits->calls) >= limit_of(route);
    return full ? refuse(ctx) : STAGE_GO_ON;
}

enum stage_verdict stage_concurrency_take(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    bool full = route->counts_calls && !permit_take(&route->limits->calls, 1, limit_of(route));
    return full ? refuse(ctx) : STAGE_GO_ON;
}

void stage_concurrency_give(const struct route *route)
{
    if (route->counts_calls) {
        permit_give(&route->limits->calls, 1);
    }
}
