/*
 * sidecar/data/route/stage.h: the governance of a call: a table of functions, run in order.
 *
 * Each stage says "go on" or "answer with this reason"; a new kind of governance is one file
 * (stage_*.c) and one line in the table in stage.c. explain runs the same table on the control
 * thread: a stage knows a route, the values that traffic and degrade may be split by, and a source
 * of randomness, and neither session nor socket.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_ROUTE_STAGE_H
#define TSIDE_SIDECAR_DATA_ROUTE_STAGE_H

#include "lb/random.h"
#include "sidecar/base/reason.h"
#include "sidecar/data/route/route.h"

enum stage_verdict {
    STAGE_GO_ON = 0,
    STAGE_ANSWER /* ctx->reason says why */
};

/* The value of an Extra entry of the call at hand; false where absent. */
typedef bool (*stage_extra_fn)(const void *owner, struct disc_str key, struct disc_str *ret_value);

struct stage_ctx {
    /* In. */
    const struct route *route;
    struct disc_str log_id; /* len 0: absent */
    struct disc_str caller; /* the resolved From; len 0 where it is "none" */
    stage_extra_fn extra;   /* NULL: no Extra */
    const void *extra_owner;
    struct lb_random *random;
    const struct lb_exclude *exclude; /* balance: endpoints already tried; NULL: none */
    uint64_t now_ms;

    /* Out. */
    enum reason reason;      /* where answered */
    struct target_set *set;  /* split: where it goes */
    struct disc_str cluster; /* the cluster chosen, fallback included */
    uint32_t target;         /* balance: index in set */
};

/* Runs access, degrade, split and balance. */
enum stage_verdict stages_run(struct stage_ctx *ctx);

/* balance alone: another endpoint of the same set (ctx->set, ctx->exclude). Where all are excluded it
 * answers no_endpoint; the reason of the attempt before tells the caller more. */
enum stage_verdict stage_balance(struct stage_ctx *ctx);

/* The others, for tests: each one file. */
enum stage_verdict stage_access(struct stage_ctx *ctx);
enum stage_verdict stage_degrade(struct stage_ctx *ctx);
enum stage_verdict stage_split(struct stage_ctx *ctx);

/*
 * The 64-bit point that decides a share: the hash of the value named by `by`, random where the call
 * has none. The seeds are fixed, so that one LogID goes one way on every host of a chain, and
 * differ, so that who is degraded says nothing about where the others go.
 */
#define STAGE_SEED_TRAFFIC UINT64_C(0x747369646574726b)
#define STAGE_SEED_DEGRADE UINT64_C(0x7473696465646567)
uint64_t stage_point(const struct stage_ctx *ctx, const struct disc_by *by, uint64_t seed);

#endif
