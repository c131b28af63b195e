/*
 * sidecar/data/route/stage.h: the governance of a call: a table of functions, run in order.
 *
 * Each stage decides: "go on" or "answer with this reason". One that holds something while the call is
 * under way (a permit, a token, a probe's slot) takes it behind its decision and gets it back by give(),
 * once, whatever way the call ends. Where config `shadow` names a stage, its answer is noted and the call
 * goes on; what such a stage would have refused takes nothing. A new kind of governance is one file (stage_*.c) and one line in the
 * table in stage.c. explain decides by the same table on the control thread, and takes nothing: a stage
 * knows a route, the values that traffic and degrade may be split by, and a source of randomness, and
 * neither session nor socket.
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
    stage_extra_fn extra;   /* NULL: no Extra */
    const void *extra_owner;
    struct lb_random *random;
    const struct lb_exclude *exclude; /* balance: endpoints already tried; NULL: none */
    uint64_t now_ms;
    uint64_t now_us; /* the same clock, finer */

    /* Out. */
    enum reason reason;      /* where answered */
    int64_t number;          /* and what decided: a percentage, a limit */
    uint32_t of;             /* breaker: of how many calls */
    struct target_set *set;  /* split: where it goes */
    struct disc_str cluster; /* the cluster chosen, fallback included */
    uint32_t target;         /* balance: index in set */
    uint32_t taken;          /* a bit per stage that holds something for this call */
    uint32_t shadowed;       /* shadow_bit() of each stage that would have answered */
    bool fails_open;         /* balance: the set has more ejected endpoints than well ones */
};

/* In `taken` beside the stages' bits, what is not given back to a stage. */
#define STAGE_TELLS (UINT32_C(1) << 31) /* the route's breaker is to be told how the call ended */
#define STAGE_PROBE (UINT32_C(1) << 30) /* which is its probe */
/* It holds the slot of a trial of the endpoint picked, until an attempt takes that over. */
#define STAGE_TRIAL (UINT32_C(1) << 29)
#define STAGE_FLAGS (STAGE_TELLS | STAGE_PROBE | STAGE_TRIAL)

struct stage {
    const char *name;
    enum shadow shadow;                                  /* what config `shadow` calls it */
    bool (*concerns)(const struct route *route);         /* calls of this route; NULL: of all */
    enum stage_verdict (*decide)(struct stage_ctx *ctx); /* NULL: always goes on */
    /* Decides likewise and, in the same step, takes what the call holds while it is under way: between
     * two steps another worker could be quicker. Where there is nothing to take it is decide. */
    enum stage_verdict (*take)(struct stage_ctx *ctx);
    void (*give)(const struct route *route); /* NULL: nothing comes back, as a token does not */
};

/* Which stages its calls meet: route->stages, and holders. All else of the route must be there. */
void stages_find(struct route *route);

/* What the stages decide, in their order; nothing is taken. */
enum stage_verdict stages_decide(struct stage_ctx *ctx) __attribute__((warn_unused_result));
/* The same for a call: taken by ctx->taken, also where a later stage answers. */
enum stage_verdict stages_run(struct stage_ctx *ctx) __attribute__((warn_unused_result));
/* Gives back what was taken, once: when the outcome stands, or the call ends without one. */
void stages_give(const struct route *route, uint32_t taken);

/* balance alone: another endpoint of the same set (ctx->set, ctx->exclude). Where all are excluded it
 * answers no_endpoint; the reason of the attempt before tells the caller more. */
enum stage_verdict stage_balance(struct stage_ctx *ctx) __attribute__((warn_unused_result));
/* The same for an attempt: takes the slot of a trial where the endpoint comes back from an ejection. */
enum stage_verdict stage_balance_take(struct stage_ctx *ctx) __attribute__((warn_unused_result));

/* The others, for tests: each one file. */
enum stage_verdict stage_access(struct stage_ctx *ctx);
bool stage_access_concerns(const struct route *route);
enum stage_verdict stage_degrade(struct stage_ctx *ctx);
bool stage_degrade_concerns(const struct route *route);
bool stage_rate_concerns(const struct route *route);
enum stage_verdict stage_rate(struct stage_ctx *ctx);
enum stage_verdict stage_rate_take(struct stage_ctx *ctx);
enum stage_verdict stage_concurrency(struct stage_ctx *ctx);
enum stage_verdict stage_concurrency_take(struct stage_ctx *ctx);
void stage_concurrency_give(const struct route *route);
bool stage_breaker_concerns(const struct route *route);
enum stage_verdict stage_breaker(struct stage_ctx *ctx);
enum stage_verdict stage_breaker_take(struct stage_ctx *ctx);
enum stage_verdict stage_split(struct stage_ctx *ctx);
enum stage_verdict stage_inflight_take(struct stage_ctx *ctx);
void stage_inflight_give(const struct route *route);

/*
 * The 64-bit point that decides a share, or an endpoint: the hash of the value named by `by`, random where the call
 * has none. The seeds are fixed, so that one LogID goes one way on every host of a chain, and
 * differ, so that who is degraded says nothing about where the others go.
 */
#define STAGE_SEED_TRAFFIC UINT64_C(0x747369646574726b)
#define STAGE_SEED_DEGRADE UINT64_C(0x7473696465646567)
#define STAGE_SEED_ZONE    UINT64_C(0x747369646e656172)
#define STAGE_SEED_HASH    UINT64_C(0x7473696465686173)
uint64_t stage_point(const struct stage_ctx *ctx, const struct disc_by *by, uint64_t seed);

#endif
