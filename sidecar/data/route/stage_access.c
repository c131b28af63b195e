/*
 * sidecar/data/route/stage_access.c: who may call at all (config `access`).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

bool stage_access_concerns(const struct route *route)
{
    return route->config.deny;
}

enum stage_verdict stage_access(struct stage_ctx *ctx)
{
    ctx->reason = REASON_DENIED;
    return STAGE_ANSWER;
}
