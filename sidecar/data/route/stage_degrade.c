/*
 * sidecar/data/route/stage_degrade.c: the share of calls that tside answers itself (key `degrade`).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

bool stage_degrade_concerns(const struct route *route)
{
    return route->degrade != NULL;
}

enum stage_verdict stage_degrade(struct stage_ctx *ctx)
{
    const struct disc_rule *rule = ctx->route->degrade;
    uint64_t point = stage_point(ctx, &rule->degrade.by, STAGE_SEED_DEGRADE);
    if (lb_share_hit(rule->degrade.percent_e2, point)) {
        ctx->reason = REASON_DEGRADED;
        ctx->number = rule->degrade.percent_e2 / 100;
        return STAGE_ANSWER;
    }
    return STAGE_GO_ON;
}
