/*
 * sidecar/data/call/dispatch.c: a call's budget, its route, and the stages up to an endpoint.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/log.h"
#include "sidecar/data/call/call.h"
#include "sidecar/data/upstream/pool.h"

/* Calls refused for their stamp alone: at most this share, within this window (docs/specification.md, section 5). */
#define STAMP_REFUSED_PERCENT 20
#define STAMP_WINDOW_MS       UINT64_C(5000) /* two of them make the 10 s */

/* A set that fails open is named in the log so often at most, and so much of its tuple. */
#define FAIL_OPEN_SAID_MS     UINT64_C(10000)
#define FAIL_OPEN_TUPLE_BYTES 200

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

/* What is left of the chain's budget; 0: spent. -1: none came. */
static int64_t arrived_budget(struct call *call)
{
    struct worker *worker = call->worker;
    int64_t left = call->budget.came_ms;
    if (call->request.listener->deadline_shared_clock && left > 0) {
        stamp_turn_window(worker, worker_now_ms(worker));
        worker->stamp.calls++;
        if (call->budget.stamp_age_ms < left) {
            left -= call->budget.stamp_age_ms;
        } else if (stamp_may_refuse(worker)) {
            worker->stamp.refused++;
            left = 0;
        }
    }
    return left;
}

static void set_total(struct call *call, int64_t total_ms)
{
    call->budget.total_ms = total_ms;
    call->budget.deadline_ms = call->budget.arrived_ms + (uint64_t)total_ms;
}

/* The smaller of timeout_ms and what arrived. False: spent. */
static bool set_deadline(struct call *call)
{
    int64_t total_ms = call->plan.route->config.timeout_ms;
    int64_t came_ms = arrived_budget(call);
    set_total(call, came_ms >= 0 && came_ms < total_ms ? came_ms : total_ms);
    return call->budget.total_ms > 0 && call_remaining_ms(call) > 0;
}

/* ---- routing and stages -------------------------------------------------------------------- */

static bool find_extra(const void *owner, struct disc_str key, struct disc_str *ret_value)
{
    const struct call *call = owner;
    const uint8_t *body = call->request.wire.message.body;
    struct wire_span span;
    if (!codec_extra_find(body, &call->request.base.extra, key.p, key.len, &span) ||
        span.len == 0) {
        return false;
    }
    *ret_value = disc_str_of((const char *)body + span.off, span.len);
    return true;
}

static struct stage_ctx stage_ctx_of(struct call *call)
{
    return (struct stage_ctx){
        .route = call->plan.route,
        .log_id = disc_str_of(call->request.log_id, call->request.log_id_len),
        .extra =
            call->request.message.has_base && call->request.base.extra.present ? find_extra : NULL,
        .extra_owner = call,
        .random = &call->worker->random,
        .exclude = &call->plan.exclude,
        .now_ms = worker_now_ms(call->worker),
        .now_us = worker_now_us(call->worker),
        .set = call->plan.set,
    };
}

static const char *stage_text(enum reason reason)
{
    switch (reason) {
    case REASON_DENIED:
        return "access is deny";
    case REASON_DEGRADED:
        return "by the degrade rule, percent %lld";
    case REASON_RATE_LIMITED:
        return "over rate_per_s %lld of this tuple";
    case REASON_CONCURRENCY_LIMIT:
        return "max_concurrency %lld of this tuple are under way";
    case REASON_BREAKER_OPEN:
        return "the breaker of this tuple is open: %lld %% of %lld calls failed";
    case REASON_NO_ENDPOINT:
        return "the cluster has 0 endpoints with weight";
    default:
        return "";
    }
}

static void answer_stage(struct call *call, const struct stage_ctx *ctx)
{
    call->plan.cluster = ctx->cluster;
    call->number_of = ctx->of;
    call_fail(call, ctx->reason, stage_text(ctx->reason), ctx->number);
}

static void pick(struct call *call, const struct stage_ctx *ctx)
{
    call->plan.set = ctx->set;
    call->plan.cluster = ctx->cluster;
    call->plan.target = ctx->target;
    if (ctx->set->to_warm) {
        pool_warm(call->worker, ctx->set, ctx->target, &call->plan.route->config);
    }
    call_try(call);
}

/* A T_CALL that the rule says will get no answer: treated as ONEWAY from here on. */
static void make_oneway(struct call *call)
{
    call->request.wire.oneway = true;
    list_remove(&call->in_caller);
    list_push_back(&call->caller->oneways, &call->in_caller);
}

/* All endpoints are used though most are ejected: counted, and said at most once in a while per set. */
static void note_fail_open(struct call *call, struct target_set *set)
{
    struct worker *worker = call->worker;
    uint64_t now_ms = worker_now_ms(worker);
    counter_add(&worker->counters, METRIC_FAIL_OPEN, 1);
    if (set->said_ms != 0 && now_ms - set->said_ms < FAIL_OPEN_SAID_MS) {
        return;
    }
    set->said_ms = now_ms;
    char to[DISC_TUPLE_ENCODED_MAX_BYTES];
    size_t len = disc_tuple_encode(&call->plan.route->tuple, to, sizeof to);
    worker_log(worker, LOG_WARN, "call", "fail_open",
               "%.*s: %u of %u endpoints of its cluster are ejected: all are used",
               (int)(len < FAIL_OPEN_TUPLE_BYTES ? len : FAIL_OPEN_TUPLE_BYTES), to, set->out,
               set->n);
}

static void run_stages(struct call *call)
{
    struct stage_ctx ctx = stage_ctx_of(call);
    enum stage_verdict verdict = stages_run(&ctx);
    call->plan.taken = ctx.taken;
    call->plan.shadowed = ctx.shadowed;
    if (ctx.fails_open) {
        note_fail_open(call, ctx.set);
    }
    if (verdict == STAGE_ANSWER) {
        answer_stage(call, &ctx);
    } else {
        pick(call, &ctx);
    }
}

static bool may_claim(const struct call *call)
{
    struct disc_str from = call->plan.route->tuple.name[DISC_FROM];
    return claims_allow(&call->request.listener->uids, call->request.uid, from.p, from.len);
}

static bool share_allows(const struct call *call, uint64_t taken)
{
    const struct worker_env *env = call->worker->env;
    const struct caller_share *shares[BOOTSTRAP_WORKERS_MAX];
    for (uint32_t i = 0; i < env->workers_len; i++) {
        shares[i] = &env->workers[i]->share;
    }
    return caller_share_allows(shares, env->workers_len, call->plan.route->caller_slot, taken,
                               worker_now_ms(call->worker));
}

/* Like one for which there was no permit: its answer may wait long for its turn, and its session pauses. */
static void give_permit_back(struct call *call)
{
    permit_give(&call->worker->env->calls, 1);
    call->has_permit = false;
    if (call->caller) {
        call->caller->refused_calls++;
    }
}

/* Counts the call in its From's share. False: the last quarter of limits.calls is not for this From. */
static bool take_share(struct call *call)
{
    struct worker *worker = call->worker;
    uint32_t slot = call->plan.route->caller_slot;
    uint64_t taken = permit_taken(&worker->env->calls);
    caller_share_called(&worker->share, slot, worker_now_ms(worker));
    if (caller_share_is_short(taken, worker->env->bootstrap->limits.calls) &&
        !share_allows(call, taken)) {
        counter_add(&worker->counters, METRIC_CALLS_UNFAIR, 1);
        give_permit_back(call);
        return false;
    }
    caller_share_add(&worker->share, slot, 1);
    call->in_share = true;
    return true;
}

/* What holds whatever the rules say. False: the call has failed. */
static bool admit(struct call *call)
{
    struct worker *worker = call->worker;
    if (!may_claim(call)) {
        call_fail(call, REASON_DENIED, "the listener's uids do not let uid %lld claim this From",
                  call->request.uid);
    } else if (!call->has_permit) {
        counter_add(&worker->counters, METRIC_CALLS_LIMITED, 1);
        call_fail(call, REASON_CONCURRENCY_LIMIT, "limits.calls %lld are under way",
                  (int64_t)worker->env->bootstrap->limits.calls);
    } else if (!take_share(call)) {
        call_fail(call, REASON_CONCURRENCY_LIMIT,
                  "the last quarter of limits.calls %lld is kept for callers that have fewer",
                  (int64_t)worker->env->bootstrap->limits.calls);
    } else if (worker_phase(worker) >= WORKER_ENDING) {
        call_fail(call, REASON_DRAINING, "the process ends", 0);
    } else if (!set_deadline(call)) {
        call_fail(call, REASON_TIMEOUT, SPENT_TEXT, call->budget.total_ms);
    } else {
        return true;
    }
    return false;
}

static void route(struct call *call, const struct disc_tuple *tuple)
{
    struct worker *worker = call->worker;
    struct route *route = route_get(worker->routes, worker->snapshot, tuple, worker_now_ms(worker),
                                    call->caller ? &call->caller->route : NULL);
    if (!route) {
        call_fail_unrouted(call, tuple, REASON_INTERNAL, "out of memory", 0);
        return;
    }
    call->plan.route = route;
    call->request.wire.route = route;
    if (route->config.oneway && !call->request.wire.oneway && call->caller) {
        make_oneway(call);
    }
    if (admit(call)) {
        run_stages(call);
    }
}

/* No longer than the budget that came, as far as it is known without a rule. */
static void wait_for_rules(struct call *call, const struct disc_tuple *tuple)
{
    int64_t came_ms = call->budget.came_ms;
    if (came_ms == 0) {
        call_fail_unrouted(call, tuple, REASON_TIMEOUT, SPENT_TEXT, 0);
        return;
    }
    if (!message_own(&call->request.wire.message, &call->worker->buffers)) {
        call_fail_unrouted(call, tuple, REASON_INTERNAL, "out of memory", 0);
        return;
    }
    if (came_ms > 0 && came_ms < call->budget.total_ms) {
        set_total(call, came_ms);
    }
    call_event(call, CALL_EVENT_NO_RULES);
}

/* Finagle's clients ask by this call whether the peer speaks their extension; a callee that does changes the
 * state of the connection, which others share. */
static bool is_upgrade_probe(const struct disc_tuple *tuple)
{
    static const char probe[] = "__can__finagle__trace__v3__";
    return disc_str_eq(tuple->name[DISC_METHOD], disc_str_of(probe, sizeof probe - 1));
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
    if (is_upgrade_probe(&identity.tuple)) {
        call->outcome.unknown_method = true;
        call_fail_unrouted(call, &identity.tuple, REASON_BAD_REQUEST,
                           "a Finagle upgrade probe is answered here", 0);
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

static bool pick_again(struct call *call)
{
    struct stage_ctx ctx = stage_ctx_of(call);
    if (stage_balance_take(&ctx) == STAGE_ANSWER) {
        return false;
    }
    call->plan.target = ctx.target;
    call->plan.taken |= ctx.taken;
    return true;
}

bool dispatch_other(struct call *call)
{
    struct lb_exclude *exclude = &call->plan.exclude;
    if (exclude->n >= LB_EXCLUDE_MAX) {
        return false;
    }
    exclude->index[exclude->n++] = call->plan.target;
    return pick_again(call);
}

bool dispatch_again(struct call *call)
{
    if (dispatch_other(call)) {
        return true;
    }
    call->plan.exclude.n = 0;
    return pick_again(call);
}
