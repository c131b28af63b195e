/*
 * sidecar/data/route/stage_split.c: which cluster a call goes to (key `traffic`), and which zone of it
 * (config `prefer_zone`).
 *
 * Without a rule it is the call's ToCluster. A zone without a usable endpoint spills to its whole
 * cluster, a cluster without one to `fallback_cluster`. The own zone gets as many calls as its weight allows, and none
 * while most of it is ejected: there all would be used, while others are well.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

#include "sidecar/data/route/ejection.h"

static uint32_t pick_target(const struct stage_ctx *ctx)
{
    const struct disc_rule *rule = ctx->route->traffic;
    if (!rule) {
        return 0;
    }
    uint64_t point = stage_point(ctx, &rule->traffic.by, STAGE_SEED_TRAFFIC);
    return lb_split_pick(&rule->traffic.split, point);
}

/* A key that hash goes by decides this, too, so that it stays with one endpoint. */
static uint64_t near_point(const struct stage_ctx *ctx)
{
    const struct route_config *config = &ctx->route->config;
    return config->lb == DISC_LB_HASH ? stage_point(ctx, &config->hash_by, STAGE_SEED_ZONE)
                                      : lb_random_next(ctx->random);
}

static bool stays_in_zone(const struct stage_ctx *ctx, const struct route_target *target)
{
    if (!target_set_usable(target->zone_set)) {
        return false;
    }
    if (!target->is_near) {
        return true;
    }
    bool is_well = ctx->route->config.eject.consecutive == 0 ||
                   !ejection_fails_open(target->zone_set, ctx->now_ms);
    return is_well && (target->near_e2 == 10000 || lb_share_hit(target->near_e2, near_point(ctx)));
}

enum stage_verdict stage_split(struct stage_ctx *ctx)
{
    const struct route *route = ctx->route;
    const struct route_target *target = &route->targets[pick_target(ctx)];
    ctx->cluster = target->cluster;
    if (target->zone_set && stays_in_zone(ctx, target)) {
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
