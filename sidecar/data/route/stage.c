/*
 * sidecar/data/route/stage.c: the table of stages, and what several of them need.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/stage.h"

#include <xxhash.h>

typedef enum stage_verdict (*stage_fn)(struct stage_ctx *ctx);

/* In the order of the contract, section 3. */
static const stage_fn stages[] = {
    stage_access,
    stage_degrade,
    stage_split,
    stage_balance,
};

enum stage_verdict stages_run(struct stage_ctx *ctx)
{
    for (size_t i = 0; i < sizeof stages / sizeof stages[0]; i++) {
        if (stages[i](ctx) == STAGE_ANSWER) {
            return STAGE_ANSWER;
        }
    }
    return STAGE_GO_ON;
}

/* The value that the call is split by, false where it has none. */
static bool by_value(const struct stage_ctx *ctx, const struct disc_by *by,
                     struct disc_str *ret_value)
{
    switch (by->kind) {
    case DISC_BY_LOG_ID:
        *ret_value = ctx->log_id;
        return ctx->log_id.len > 0;
    case DISC_BY_CALLER:
        *ret_value = ctx->caller;
        return ctx->caller.len > 0;
    case DISC_BY_EXTRA:
        return ctx->extra && ctx->extra(ctx->extra_owner, by->extra_key, ret_value) &&
               ret_value->len > 0;
    case DISC_BY_RANDOM:
        break;
    }
    return false;
}

uint64_t stage_point(const struct stage_ctx *ctx, const struct disc_by *by, uint64_t seed)
{
    struct disc_str value;
    if (by_value(ctx, by, &value)) {
        return XXH3_64bits_withSeed(value.p, value.len, seed);
    }
    return lb_random_next(ctx->random);
}
