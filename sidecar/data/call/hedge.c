/*
 * sidecar/data/call/hedge.c: see hedge.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/hedge.h"

#include "sidecar/data/call/call.h"
#include "sidecar/data/call/retry.h"
#include "sidecar/shared/latency_window.h"

static const struct route_retry *rules_of(const struct call *call)
{
    return &call->plan.route->config.retry;
}

bool hedge_may_come(const struct call *call)
{
    const struct route_retry *rules = rules_of(call);
    return rules->hedge_after != 0 && rules->idempotent && !call->hedged &&
           !call->request.wire.oneway;
}

/* The percentile in whole milliseconds, rounded up; 0: too few calls. */
static uint32_t percentile_ms(const struct route *route, uint64_t now_ms)
{
    struct latency_sum sum;
    tuple_state_latencies(route->state, now_ms, &sum);
    if (sum.samples < HEDGE_SAMPLES_MIN) {
        return 0;
    }
    unsigned percent = route->config.retry.hedge_after == DISC_DELAY_P95 ? 95 : 99;
    return (uint32_t)((latency_percentile(&sum, percent) + 999) / 1000);
}

uint32_t hedge_delay_ms(const struct call *call)
{
    struct route *route = call->plan.route;
    uint64_t now_ms = worker_now_ms(call->worker);
    if (rules_of(call)->hedge_after >= 0) {
        return (uint32_t)rules_of(call)->hedge_after;
    }
    if (route->hedge.until_ms <= now_ms) {
        route->hedge.delay_ms = percentile_ms(route, now_ms);
        route->hedge.until_ms = now_ms + HEDGE_DELAY_REFRESH_MS;
    }
    return route->hedge.delay_ms;
}

bool hedge_take(const struct call *call)
{
    bool others = call->plan.set->n > 1;
    if (call->state != CALL_STATE_TRYING || !call->request.wire.message.body || !others ||
        !hedge_may_come(call)) {
        return false;
    }
    struct outcome_counts recent =
        tuple_state_recent(call->plan.route->state, worker_now_ms(call->worker));
    bool failing = recent.failed * 100 > (recent.ok + recent.failed) * HEDGE_FAILED_MAX_PERCENT;
    return !failing && retry_take_budget(call);
}

void hedge_learn(const struct attempt *attempt, enum attempt_result result, uint64_t us)
{
    const struct call *call = attempt->call;
    bool measured = result == ATTEMPT_REPLIED || result == ATTEMPT_OVERTAKEN ||
                    (result == ATTEMPT_TIMED_OUT && attempt_is_sent(attempt));
    if (measured && !attempt->repeats) {
        latency_add(call->plan.route->hedge.latencies, us, worker_now_ms(call->worker));
    }
}
