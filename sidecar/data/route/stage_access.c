/*
 * sidecar/data/route/stage_access.c: who may call at all (config `access`).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

enum stage_verdict stage_access(struct stage_ctx *ctx)
{
    if (ctx->route->config.deny) {
        ctx->reason = REASON_DENIED;
        return STAGE_ANSWER;
    }
    return STAGE_GO_ON;
}
