/*
 * sidecar/data/call/dispatch.c: a call's budget, its route, and the stages up to an endpoint.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call.h"
#include "sidecar/data/route/stage.h"
#include "sidecar/data/session/session.h"

#include <string.h>

/* Calls refused for their stamp alone: at most this share, within this window (contract, section 5). */
#define STAMP_REFUSED_PERCENT 20
#define STAMP_WINDOW_MS       5000 /* two of them make the 10 s */

#define SPENT_TEXT "the budget was spent before the call could be sent, %lld ms"

/* ---- the deadline -------------------------------------------------------------------------- */

static void stamp_turn_window(struct worker *worker, uint64_t now_ms)
{
    uint64_t passed = now_ms - worker->stamp.window_ms;
    if (passed < STAMP_WINDOW_MS) {
        return;
    }
    bool adjacent = passed < 2 * STAMP_WINDOW_MS;
    worker->stamp.calls_before = adjacent ? worker->stamp.calls : 0;
    worker->stamp.refused_before = adjacent ? worker->stamp.refused : 0;
    worker->stamp.calls = 0;
    worker->stamp.refused = 0;
    worker->stamp.window_ms = now_ms;
}

/* Whether one more call may be refused on account of clocks that may not agree after all. */
static bool stamp_may_refuse(struct worker *worker)
{
    uint64_t calls = (uint64_t)worker->stamp.calls + worker->stamp.calls_before;
    uint64_t refused = (uint64_t)worker->stamp.refused + worker->stamp.refused_before;
    return (refused + 1) * 100 <= calls * STAMP_REFUSED_PERCENT;
}

/* What is left of the chain's budget; 0: spent. -1: none arrived. */
static int64_t arrived_budget(struct call *call)
{
    struct worker *worker = call->worker;
    int64_t left = call->arrived_budget_ms;
    if (call->listener->deadline_shared_clock && left > 0) {
        stamp_turn_window(worker, worker_now_ms(worker));
        worker->stamp.calls++;
        if (call->stamp_age_ms < left) {
            left -= call->stamp_age_ms;
        } else if (stamp_may_refuse(worker)) {
            worker->stamp.refused++;
            left = 0;
        }
    }
    return left;
}

int64_t call_remaining_ms(const struct call *call)
{
    return (int64_t)(call->deadline_ms - worker_now_ms(call->worker));
}

/* The smaller of timeout_ms and what arrived. False: spent. */
static bool set_deadline(struct call *call)
{
    int64_t budget = call->route->config.timeout_ms;
    int64_t arrived = arrived_budget(call);
    if (arrived >= 0 && arrived < budget) {
        budget = arrived;
    }
    call->budget_ms = budget;
    call->deadline_ms = call->arrived_ms + (uint64_t)budget;
    return budget > 0 && call_remaining_ms(call) > 0;
}

/* ---- routing and stages -------------------------------------------------------------------- */

static bool find_extra(const void *owner, struct disc_str key, struct disc_str *ret_value)
{
    const struct call *call = owner;
    const uint8_t *body = call->frame + WIRE_FRAME_LEN_BYTES;
    struct wire_span span;
    if (!codec_extra_find(body, &call->base.extra, key.p, key.len, &span) || span.len == 0) {
        return false;
    }
    *ret_value = disc_str_of((const char *)body + span.off, span.len);
    return true;
}

static struct stage_ctx stage_ctx_of(struct call *call)
{
    const struct disc_str from = call->route->tuple.name[DISC_FROM];
    bool nobody = from.len == 4 && memcmp(from.p, "none", 4) == 0;
    return (struct stage_ctx){
        .route = call->route,
        .log_id = disc_str_of(call->log_id, call->log_id_len),
        .caller = nobody ? (struct disc_str){0} : from,
        .extra = call->message.has_base && call->base.extra.present ? find_extra : NULL,
        .extra_owner = call,
        .random = &call->worker->random,
        .exclude = &call->exclude,
        .now_ms = worker_now_ms(call->worker),
        .set = call->set,
    };
}

static void answer_stage(struct call *call, const struct stage_ctx *ctx)
{
    const char *detail = "";
    call->cluster = ctx->cluster;
    if (ctx->reason == REASON_DENIED) {
        detail = "access is deny";
    } else if (ctx->reason == REASON_NO_ENDPOINT) {
        detail = "the cluster has 0 endpoints with weight";
    } else if (ctx->reason == REASON_DEGRADED) {
        detail = "by the degrade rule, percent %lld";
    }
    int64_t number = ctx->reason == REASON_DEGRADED && call->route->degrade
                         ? (int64_t)call->route->degrade->degrade.percent_e2 / 100
                         : 0;
    call_fail(call, CALL_EVENT_ANSWER, ctx->reason, detail, number);
}

static void pick(struct call *call, const struct stage_ctx *ctx)
{
    call->set = ctx->set;
    call->cluster = ctx->cluster;
    call->attempt.target = ctx->target;
    call_event(call, CALL_EVENT_PICKED);
}

/* A T_CALL that the rule says will get no answer: treated as ONEWAY from here on. */
static void make_oneway(struct call *call)
{
    call->oneway = true;
    list_remove(&call->in_session);
    list_push_back(&call->session->oneways, &call->in_session);
}

static void run_stages(struct call *call)
{
    struct stage_ctx ctx = stage_ctx_of(call);
    if (stages_run(&ctx) == STAGE_ANSWER) {
        answer_stage(call, &ctx);
    } else {
        pick(call, &ctx);
    }
}

static void route(struct call *call, const struct disc_tuple *tuple)
{
    struct worker *worker = call->worker;
    call->route = route_get(worker->routes, worker->snapshot, tuple, worker_now_ms(worker));
    if (!call->route) {
        call_fail_unrouted(call, tuple, REASON_INTERNAL, "out of memory", 0);
        return;
    }
    counter_own_add(&call->route->counts->inflight, 1);
    if (call->route->config.oneway && !call->oneway) {
        make_oneway(call);
    }
    if (!call->has_permit) {
        counter_add(&worker->counters, METRIC_CALLS_LIMITED, 1);
        call_fail(call, CALL_EVENT_ANSWER, REASON_CONCURRENCY_LIMIT,
                  "limits.calls %lld are under way", (int64_t)worker->env->bootstrap->limits.calls);
        return;
    }
    if (!set_deadline(call)) {
        call_fail(call, CALL_EVENT_ANSWER, REASON_TIMEOUT, SPENT_TEXT, call->budget_ms);
        return;
    }
    run_stages(call);
}

/* No longer than the budget that arrived, as far as it is known without a rule. */
static void wait_for_rules(struct call *call, const struct disc_tuple *tuple)
{
    if (call->arrived_budget_ms == 0) {
        call_fail_unrouted(call, tuple, REASON_TIMEOUT, SPENT_TEXT, 0);
        return;
    }
    if (call->arrived_budget_ms > 0 && call->arrived_budget_ms < call->budget_ms) {
        call->budget_ms = call->arrived_budget_ms;
        call->deadline_ms = call->arrived_ms + (uint64_t)call->budget_ms;
    }
    call_event(call, CALL_EVENT_NO_RULES);
}

void dispatch(struct call *call)
{
    struct identity identity;
    const char *error;

    if (!identify(call, &identity, &error)) {
        for (int i = 0; i < DISC_NAMES; i++) {
            if (identity.tuple.name[i].len > DISC_NAME_MAX_BYTES) {
                identity.tuple.name[i].len = i == DISC_METHOD ? DISC_NAME_MAX_BYTES : 0;
            }
        }
        call_fail_unrouted(call, &identity.tuple, REASON_BAD_REQUEST, error, 0);
        return;
    }
    if (identity.tuple.name[DISC_TO].len == 0) {
        call_fail_unrouted(call, &identity.tuple, REASON_NO_ROUTE,
                           "neither Base, nor the method's name, nor the listener names a callee",
                           0);
        return;
    }
    if (!call->worker->snapshot) {
        wait_for_rules(call, &identity.tuple);
        return;
    }
    route(call, &identity.tuple);
}

bool dispatch_again(struct call *call)
{
    if (call->tries >= CALL_TRIES_MAX || call->exclude.n >= LB_EXCLUDE_MAX) {
        return false;
    }
    call->exclude.index[call->exclude.n++] = call->attempt.target;
    struct stage_ctx ctx = stage_ctx_of(call);
    if (stage_balance(&ctx) == STAGE_ANSWER) {
        return false;
    }
    call->attempt.target = ctx.target;
    return true;
}
