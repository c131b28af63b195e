/*
 * sidecar/data/route/stage_inflight.c: how many calls of the tuple are under way on this worker.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

enum stage_verdict stage_inflight_take(struct stage_ctx *ctx)
{
    counter_own_add(&ctx->route->counts->inflight, 1);
    return STAGE_GO_ON;
}

void stage_inflight_give(const struct route *route)
{
    counter_own_add(&route->counts->inflight, (uint64_t)-1);
}
