/*
 * sidecar/data/call/retry.c: see retry.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/retry.h"

#include "sidecar/base/extra_key.h"
#include "sidecar/data/call/call.h"
#include "sidecar/data/call/hedge.h"

static const struct route_retry *rules_of(const struct call *call)
{
    return &call->plan.route->config.retry;
}

/* What `on` calls an end like this. 0: nothing that is tried again. */
static unsigned kind_of(const struct attempt *attempt, enum attempt_result result)
{
    const struct lease_failure *failure = &attempt->lease.failure;
    switch (result) {
    case ATTEMPT_REPLIED:
        return attempt_reply_reason(attempt) == REASON_APP_EXCEPTION ? ROUTE_RETRY_EXCEPTION : 0;
    case ATTEMPT_TIMED_OUT:
        return failure->reason == REASON_POOL_EXHAUSTED ? 0 : ROUTE_RETRY_TIMEOUT;
    case ATTEMPT_FAILED:
        return failure->fault == LEASE_FAULT_NO_CONNECTION ? ROUTE_RETRY_CONNECT
               : failure->fault == LEASE_FAULT_LOST        ? ROUTE_RETRY_RESET
                                                           : 0;
    default:
        return 0;
    }
}

/* Whether sending it again cannot run it twice, or may. */
static bool is_safe(const struct call *call, const struct attempt *attempt, unsigned kind)
{
    bool failed = kind == ROUTE_RETRY_CONNECT || kind == ROUTE_RETRY_RESET;
    return rules_of(call)->idempotent || (failed && attempt->lease.failure.unsent);
}

/* Whether the call came from another hop's retry. */
static bool is_stopped(const struct call *call)
{
    struct wire_span span;
    const struct codec_base *base = &call->request.base;
    if (!call->request.listener->deadline_chain_stop) {
        return false;
    }
    return call->request.is_repeated ||
           (call->request.message.has_base && base->extra.present &&
            codec_extra_find(call->request.wire.message.body, &base->extra,
                             EXTRA_KEY_AND_LEN(EXTRA_KEY_RETRY), &span));
}

bool retry_take_budget(const struct call *call)
{
    struct worker *worker = call->worker;
    const struct route *route = call->plan.route;
    struct outcome_counts recent = tuple_state_recent(route->state, worker_now_ms(worker));
    bool taken = retry_budget_take(&route->limits->retries, route->config.retry.budget_percent,
                                   recent.ok, worker_now_us(worker));
    counter_add(&worker->counters, METRIC_RETRY_BUDGET_EMPTY, !taken);
    return taken;
}

static bool has_time(const struct call *call)
{
    return call_remaining_ms(call) > (int64_t)rules_of(call)->backoff_ms;
}

static bool may_try_again(const struct call *call, const struct attempt *attempt, unsigned kind)
{
    const struct route_retry *rules = rules_of(call);
    return (rules->on & kind) && call->retries < rules->attempts && is_safe(call, attempt, kind) &&
           has_time(call) && !is_stopped(call);
}

static bool is_free(const struct call *call, const struct attempt *attempt,
                    enum attempt_result result)
{
    const struct lease_failure *failure = &attempt->lease.failure;
    return result == ATTEMPT_FAILED && failure->fault == LEASE_FAULT_LOST && failure->unsent &&
           attempt->lease.reused && call->resends < RETRY_RESENDS_MAX;
}

enum retry_verdict retry_decide(const struct call *call, const struct attempt *attempt,
                                enum attempt_result result)
{
    if (!call->request.wire.message.body || call->state != CALL_STATE_TRYING ||
        worker_phase(call->worker) >= WORKER_ENDING) {
        return RETRY_NO;
    }
    if (is_free(call, attempt, result)) {
        return RETRY_RESEND;
    }
    return may_try_again(call, attempt, kind_of(attempt, result)) && retry_take_budget(call)
               ? RETRY_AGAIN
               : RETRY_NO;
}

bool retry_wants_other_reply(const struct call *call, const struct attempt *attempt)
{
    return (rules_of(call)->on & kind_of(attempt, ATTEMPT_REPLIED)) != 0 &&
           rules_of(call)->idempotent;
}

bool retry_keeps_request(const struct call *call)
{
    const struct route_retry *rules = rules_of(call);
    bool again = (rules->on & ROUTE_RETRY_SENT) != 0 && call->retries < rules->attempts;
    return call->request.wire.message.body && /* else memory was short while it was sent */
           rules->sends_twice && (again || hedge_may_come(call)) && !is_stopped(call);
}
