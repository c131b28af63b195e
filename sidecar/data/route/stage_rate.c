/*
 * sidecar/data/route/stage_rate.c: how many calls of a tuple a second (config `rate_per_s`, `burst`).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

static enum stage_verdict refuse(struct stage_ctx *ctx)
{
    ctx->reason = REASON_RATE_LIMITED;
    ctx->number = ctx->route->config.rate_per_s;
    return STAGE_ANSWER;
}

bool stage_rate_concerns(const struct route *route)
{
    return route->config.rate_per_s > 0 && route->limits;
}

/* The whole rate, or this host's part of it. */
static struct lb_rate rate_of(const struct route *route)
{
    const struct route_config *config = &route->config;
    return config->rate_is_shared ? fleet_part_rate(&route->limits->part, &config->rate)
                                  : config->rate;
}

enum stage_verdict stage_rate(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    const struct lb_rate rate = rate_of(route);
    bool empty = !token_bucket_has(&route->limits->bucket, &rate, ctx->now_us);
    return empty ? refuse(ctx) : STAGE_GO_ON;
}

enum stage_verdict stage_rate_take(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    const struct lb_rate rate = rate_of(route);
    if (!token_bucket_take(&route->limits->bucket, &rate, ctx->now_us)) {
        return refuse(ctx);
    }
    if (route->config.rate_is_shared) {
        fleet_part_count(&route->limits->part);
    }
    return STAGE_GO_ON;
}
