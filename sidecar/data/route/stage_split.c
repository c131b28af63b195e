/*
 * sidecar/data/route/stage_split.c: which cluster a call goes to (key `traffic`).
 *
 * Without a rule it is the call's ToCluster. A zone without a usable endpoint spills to its whole
 * cluster, a cluster without one to `fallback_cluster`.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

static uint32_t pick_target(const struct stage_ctx *ctx)
{
    const struct disc_rule *rule = ctx->route->traffic;
    if (!rule) {
        return 0;
    }
    uint64_t point = stage_point(ctx, &rule->traffic.by, STAGE_SEED_TRAFFIC);
    return lb_split_pick(&rule->traffic.split, point);
}

enum stage_verdict stage_split(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    const struct route_target *target = &route->targets[pick_target(ctx)];
    ctx->cluster = target->cluster;
    if (target->zone_set && target_set_usable(target->zone_set)) {
        ctx->set = target->zone_set;
        return STAGE_GO_ON;
    }
    if (target_set_usable(target->set)) {
        ctx->set = target->set;
        return STAGE_GO_ON;
    }
    if (route->fallback && target_set_usable(route->fallback)) {
        ctx->set = route->fallback;
        ctx->cluster = route->config.fallback_cluster;
        return STAGE_GO_ON;
    }
    ctx->set = NULL;
    ctx->reason = REASON_NO_ENDPOINT;
    return STAGE_ANSWER;
}
