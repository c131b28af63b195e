/*
 * sidecar/data/call/attempt.c: see attempt.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/attempt.h"

#include "sidecar/base/log.h"
#include "sidecar/data/call/call.h"
#include "sidecar/data/call/edits.h"
#include "sidecar/data/call/header.h"
#include "sidecar/data/call/hedge.h"
#include "sidecar/data/call/retry.h"
#include "sidecar/data/route/ejection.h"

#include <assert.h>
#include <string.h>

static struct attempt *attempt_of(struct event *event)
{
    return container_of(event, struct attempt, lease.event);
}

static const struct route_config *config_of(const struct attempt *attempt)
{
    return &attempt->call->plan.route->config;
}

/* ---- timers ---------------------------------------------------------------------------------- */

/* The loop's time is cut to milliseconds: never early. 0 ms: no limit. */
static void arm(struct attempt *attempt, uint32_t ms)
{
    struct worker *worker = attempt->call->worker;
    if (ms > 0) {
        worker_timer_set(worker, &attempt->timer, worker_now_ms(worker) + ms + 1);
    }
}

static void watch_send(struct attempt *attempt)
{
    if (!timer_node_armed(&attempt->timer)) {
        arm(attempt, config_of(attempt)->send_timeout_ms);
    }
}

/* ---- sending --------------------------------------------------------------------------------- */

/* base.strip_service: the name goes out without its prefix and the colon. */
static uint16_t name_skip(const struct call *call)
{
    bool strip = call->request.listener->strip_service && call->request.wire.prefix.p;
    return strip ? (uint16_t)(call->request.wire.prefix.len + 1) : 0;
}

/* The block is the attempt's: it stays while the queue points to it. */
static HEADER_APART bool make_header(struct attempt *attempt, const struct edits *edits,
                                     uint32_t message_len, struct iovec *ret)
{
    struct header_out out = header_for_callee(attempt, edits, message_len);
    attempt->header = out.block;
    *ret = (struct iovec){out.block, out.len};
    return out.block != NULL;
}

static void send_message(struct attempt *attempt)
{
    struct call *call = attempt->call;
    struct worker *worker = call->worker;
    const struct message *message = &call->request.wire.message;
    const struct framing *framing = lease_framing(&attempt->lease);
    bool has_header = framing == &framing_ttheader;
    const struct codec_rewrite_to to = {
        .seqid = attempt->lease.seqid,
        .max_bytes = (uint32_t)worker->env->bootstrap->limits.frame_bytes,
        .name_skip = name_skip(call),
        .head_bytes = framing->head_bytes,
    };
    struct iovec iov[1 + CODEC_REWRITE_IOVS_MAX];
    struct edits edits;
    uint32_t len;

    worker_timer_cancel(worker, &attempt->timer);
    attempt->started_us = worker_now_us(worker);
    codec_rewrite_begin(&attempt->rewrite);
    if (has_header || call->request.message.has_base) {
        edits_decide(attempt, &edits);
    }
    if (call->request.message.has_base) {
        edits_write(attempt, &edits, has_header);
    }
    size_t n = codec_rewrite_finish(&attempt->rewrite, message->body, message->len,
                                    &call->request.message, &to, iov + 1, &len);
    if (attempt->rewrite.dropped) {
        counter_add(&worker->counters, METRIC_EDITS_DROPPED, 1);
    }
    if (!has_header) {
        lease_send(&attempt->lease, iov + 1, n, len);
    } else if (make_header(attempt, &edits, len, &iov[0])) {
        lease_send(&attempt->lease, iov, n + 1, len);
    } else {
        lease_break(&attempt->lease);
    }
}

/* It is not sent again, unless another attempt of the call has it in its queue, or is about to. */
static void let_go_of_request(struct call *call)
{
    for (struct list *n = call->attempts.next; n != &call->attempts; n = n->next) {
        if (container_of(n, struct attempt, in_call)->state < ATTEMPT_STATE_SENT) {
            return;
        }
    }
    message_done(&call->request.wire.message, &call->worker->buffers);
}

/* For its reply, or until a hedge is due. */
static void watch_reply(struct attempt *attempt)
{
    struct call *call = attempt->call;
    uint32_t limit_ms = config_of(attempt)->receive_timeout_ms;
    uint32_t hedge_ms = hedge_may_come(call) ? hedge_delay_ms(call) : 0;
    attempt->hedge_due = hedge_ms > 0 && (limit_ms == 0 || hedge_ms < limit_ms);
    arm(attempt, attempt->hedge_due ? hedge_ms : limit_ms);
}

/* The same of a call whose bytes may be wanted again. */
static void await_one_of_two(struct attempt *attempt)
{
    struct call *call = attempt->call;
    if (!retry_keeps_request(call) ||
        !message_own(&call->request.wire.message, &call->worker->buffers)) {
        let_go_of_request(call);
    }
    watch_reply(attempt);
}

static void await_reply(struct attempt *attempt)
{
    struct call *call = attempt->call;
    worker_timer_cancel(call->worker, &attempt->timer);
    if (config_of(attempt)->retry.sends_twice) {
        await_one_of_two(attempt);
    } else {
        let_go_of_request(call);
        arm(attempt, config_of(attempt)->receive_timeout_ms);
    }
    call_set_flow(call);
}

/* The hedge's time has come; what is left of receive_timeout_ms goes on. */
static void hedge(struct attempt *attempt)
{
    uint32_t limit_ms = config_of(attempt)->receive_timeout_ms;
    uint64_t passed_ms = (worker_now_us(attempt->call->worker) - attempt->started_us) / 1000;
    attempt->hedge_due = false;
    if (limit_ms > 0) {
        arm(attempt, passed_ms < limit_ms ? (uint32_t)(limit_ms - passed_ms) : 1);
    }
    call_hedge(attempt->call);
}

/* ---- the end --------------------------------------------------------------------------------- */

static void record_latency(struct attempt *attempt, bool success, uint64_t us)
{
    const struct call *call = attempt->call;
    struct endpoint_state *endpoint = attempt->endpoint;
    uint64_t now_ms = worker_now_ms(call->worker);
    double sample = (double)us;
    double ewma_us = endpoint_ewma_us(endpoint);
    if (success && !attempt->lease.reused && ewma_us == 0) {
        return; /* the first answer of all over a fresh connection measures how callees start up */
    }
    if (success) {
        sample = lb_success_sample(sample, ewma_us);
    } else {
        const struct lb_set_load *load = target_set_load(call->plan.set, now_ms);
        sample = lb_failure_sample(sample, call->plan.route->config.timeout_ms * 1000.0, ewma_us,
                                   load->median_ewma_us);
    }
    endpoint_ewma_record(endpoint, sample, now_ms);
}

enum reason attempt_reply_reason(const struct attempt *attempt)
{
    const struct lease_reply *reply = &attempt->lease.reply;
    if (reply->type == WIRE_EXCEPTION) {
        return REASON_APP_EXCEPTION;
    }
    bool fails = reply->has_code && route_config_fails(config_of(attempt), reply->code);
    return fails ? REASON_APP_FAILURE : REASON_OK;
}

/* The same for the endpoint: whether an exception is its fault is up to the rule. */
static bool reply_is_success(const struct attempt *attempt)
{
    enum reason reason = attempt_reply_reason(attempt);
    return reason == REASON_OK ||
           (reason == REASON_APP_EXCEPTION && !config_of(attempt)->exceptions_fail);
}

/* Whether a timeout is the endpoint's fault. A black hole must not stay attractive; a reply that is not read
 * stands still for the caller's sake. */
static bool is_blamed_for_time(const struct attempt *attempt)
{
    switch (attempt->lease.state) {
    case LEASE_CONNECTING:
        return true;
    case LEASE_SENDING:
    case LEASE_SENT:
        return lease_is_read(&attempt->lease);
    default:
        return false;
    }
}

/* Another one was quicker: what this one has taken so far says something where that is more than usual. */
static void record_overtaken(struct attempt *attempt, uint64_t us)
{
    if (attempt_is_sent(attempt) && lease_is_read(&attempt->lease) &&
        (double)us > endpoint_ewma_us(attempt->endpoint)) {
        record_latency(attempt, true, us);
    }
}

/* Whether a failure is the endpoint's. A connection that had served before may die between two calls: that is no
 * fault. */
static bool is_blamed_for_failure(const struct attempt *attempt)
{
    const struct lease_failure *failure = &attempt->lease.failure;
    bool ending = worker_phase(attempt->call->worker) >= WORKER_ENDING;
    bool own = failure->fault == LEASE_FAULT_NO_PERMIT || failure->reason == REASON_INTERNAL;
    return !ending && !own &&
           !(failure->fault == LEASE_FAULT_LOST && failure->unsent && attempt->lease.reused);
}

/* What the end says about the endpoint. */
static enum lb_result judge(const struct attempt *attempt, enum attempt_result result)
{
    switch (result) {
    case ATTEMPT_REPLIED:
        return reply_is_success(attempt) ? LB_RESULT_SUCCESS : LB_RESULT_FAILURE;
    case ATTEMPT_SENT:
        return LB_RESULT_SUCCESS;
    case ATTEMPT_FAILED:
        if (!is_blamed_for_failure(attempt)) {
            return LB_RESULT_NONE;
        }
        return attempt->lease.failure.reason == REASON_CONNECT_TIMEOUT ? LB_RESULT_TIMEOUT
                                                                       : LB_RESULT_FAILURE;
    case ATTEMPT_TIMED_OUT:
        return is_blamed_for_time(attempt) ? LB_RESULT_TIMEOUT : LB_RESULT_NONE;
    case ATTEMPT_OVERTAKEN:
    case ATTEMPT_UNWANTED:
        break;
    }
    return LB_RESULT_NONE;
}

static void tell_ejection_news(const struct attempt *attempt, enum ejection_news news)
{
    struct worker *worker = attempt->call->worker;
    const struct endpoint_state *endpoint = attempt->endpoint;
    uint64_t word = endpoint_health(endpoint);
    if (news == EJECTION_BACK) {
        worker_log(worker, LOG_INFO, "call", "endpoint_back", "%s answers again",
                   endpoint->address);
        return;
    }
    counter_add(&worker->counters, METRIC_EJECTIONS, 1);
    worker_log(worker, LOG_WARN, "call", "endpoint_ejected",
               "%s gets no calls for %lld ms: ejected, time %u in a row", endpoint->address,
               (long long)(lb_eject_at_ms(word) - worker_now_ms(worker)), lb_eject_times(word));
}

static void tell_ejection(const struct attempt *attempt, enum lb_result said)
{
    const struct call *call = attempt->call;
    const struct ejection_told told = {said, attempt->is_trial, worker_now_ms(call->worker)};
    if (said == LB_RESULT_SUCCESS && !attempt->is_trial) {
        ejection_tell_success(attempt->endpoint);
        return;
    }
    enum ejection_news news =
        ejection_tell(call->plan.set, attempt->target, &config_of(attempt)->eject, &told);
    if (news != EJECTION_NO_NEWS) {
        tell_ejection_news(attempt, news);
    }
}

static void record(struct attempt *attempt, enum attempt_result result, uint64_t us)
{
    enum lb_result said = judge(attempt, result);
    tell_ejection(attempt, said);
    if (said != LB_RESULT_NONE) {
        attempt->call->result = (uint8_t)said;
        record_latency(attempt, said == LB_RESULT_SUCCESS, us);
    } else if (result == ATTEMPT_OVERTAKEN) {
        record_overtaken(attempt, us);
    }
}

static void free_attempt(struct event *event)
{
    struct attempt *attempt = attempt_of(event);
    buffers_free(&attempt->call->worker->buffers, attempt->header);
    slab_give(&attempt->call->worker->attempts, attempt);
}

/* ---- the driver ------------------------------------------------------------------------------ */

/* The one place that moves an attempt. */
static void attempt_event(struct attempt *attempt, enum attempt_event event)
{
    struct fsm_step step = attempt_fsm_step((enum attempt_state)attempt->state, event);
    attempt->state = step.next;
    switch ((enum attempt_action)step.action) {
    case ATTEMPT_ACTION_WAIT:
        arm(attempt, attempt->lease.state == LEASE_QUEUED ? config_of(attempt)->pool.wait_ms : 0);
        break;
    case ATTEMPT_ACTION_SEND:
        send_message(attempt);
        break;
    case ATTEMPT_ACTION_WATCH_SEND:
        watch_send(attempt);
        break;
    case ATTEMPT_ACTION_AWAIT:
        await_reply(attempt);
        break;
    case ATTEMPT_ACTION_END:
    case ATTEMPT_ACTION_NONE:
    case ATTEMPT_ACTION_MAX:
        break;
    }
}

/* A reply that came, but that the attempt has not been told of. */
static void drop_unheard_reply(const struct attempt *attempt)
{
    if (attempt->lease.news & LEASE_NEWS_REPLY) {
        buffers_free(&attempt->call->worker->buffers, attempt->lease.reply.block);
    }
}

void attempt_end(struct attempt *attempt, enum attempt_result result)
{
    struct call *call = attempt->call;
    struct worker *worker = call->worker;
    uint64_t us = worker_now_us(worker) - attempt->started_us;
    if (call->plan.route->hedge.latencies) {
        hedge_learn(attempt, result, us);
    }
    record(attempt, result, us);
    attempt_event(attempt, ATTEMPT_EVENT_ENDED);
    worker_timer_cancel(worker, &attempt->timer);
    if (result != ATTEMPT_OVERTAKEN) {
        call->outcome.upstream_us = us;
        call->outcome.endpoint = attempt->endpoint;
    }
    drop_unheard_reply(attempt);
    lease_end(&attempt->lease, result == ATTEMPT_TIMED_OUT);
    atomic_fetch_sub_explicit(&attempt->endpoint->inflight, 1, memory_order_relaxed);
    list_remove(&attempt->in_call);
    event_retire(&worker->events, &attempt->lease.event, free_attempt);
}

/* It has ended by itself: the call decides what follows. */
static void end_and_report(struct attempt *attempt, enum attempt_result result)
{
    attempt_end(attempt, result);
    call_attempt_ended(attempt->call, attempt, result);
}

/* Which limit it was that let it wait. */
static const char *pool_wait_text(const struct attempt *attempt)
{
    return lease_is_reserved(&attempt->lease)
               ? "no connection came free within pool.wait_ms %lld: the last quarter of "
                 "pool.max_connections is kept for other callers"
               : "no connection came free within pool.wait_ms %lld: pool.max_connections are busy";
}

static void time_out(struct attempt *attempt, enum reason reason, const char *detail,
                     int64_t number)
{
    bool starved = lease_is_starved(&attempt->lease);
    attempt->lease.failure = (struct lease_failure){
        .reason = (uint8_t)reason,
        .detail = detail,
        .cause = starved ? CALL_STARVED_HINT : NULL,
        .number = number,
    };
    end_and_report(attempt, ATTEMPT_TIMED_OUT);
}

/* The loop reads before its timers fire when it stood still: a deadline stays a deadline then, too. */
static void take_reply(struct attempt *attempt)
{
    struct call *call = attempt->call;
    if (call_remaining_ms(call) >= -WORKER_LATE_MS) {
        end_and_report(attempt, ATTEMPT_REPLIED);
        return;
    }
    buffers_free(&call->worker->buffers, attempt->lease.reply.block);
    time_out(attempt, REASON_TIMEOUT, CALL_LATE_TEXT, call->budget.total_ms);
}

/* News of the lease. */
static void on_news(struct event *event)
{
    struct attempt *attempt = attempt_of(event);
    unsigned news = attempt->lease.news;
    attempt->lease.news = 0;
    if ((news & LEASE_NEWS_READY) && call_remaining_ms(attempt->call) <= 0) {
        time_out(attempt, REASON_TIMEOUT, CALL_LATE_TEXT, attempt->call->budget.total_ms);
        return;
    }
    if (news & LEASE_NEWS_READY) {
        attempt_event(attempt, ATTEMPT_EVENT_READY);
    }
    if (news & LEASE_NEWS_STUCK) {
        attempt_event(attempt, ATTEMPT_EVENT_STUCK);
    }
    if (news & LEASE_NEWS_SENT) {
        if (attempt->lease.request->oneway) {
            end_and_report(attempt, ATTEMPT_SENT);
            return;
        }
        attempt_event(attempt, ATTEMPT_EVENT_SENT);
    }
    if (news & LEASE_NEWS_REPLY) {
        take_reply(attempt);
    } else if (news & LEASE_NEWS_FAILED) {
        end_and_report(attempt, ATTEMPT_FAILED);
    }
}

/* For a connection. */
static void ask(struct attempt *attempt)
{
    struct call *call = attempt->call;
    bool fresh = call->resends >= RETRY_FRESH_FROM;
    if (lease_get(&attempt->lease, call->worker, attempt->endpoint, fresh) != LEASE_READY) {
        attempt_event(attempt, ATTEMPT_EVENT_WAIT);
    }
}

static void on_timer(struct timer_node *node)
{
    struct attempt *attempt = container_of(node, struct attempt, timer);
    const struct route_config *config = config_of(attempt);
    switch ((enum attempt_state)attempt->state) {
    case ATTEMPT_STATE_PICKED: /* the pause is over */
        ask(attempt);
        break;
    case ATTEMPT_STATE_WAITING:
        if (attempt->lease.state ==
            LEASE_QUEUED) { /* else it is being connected: that has a timer */
            time_out(attempt, REASON_POOL_EXHAUSTED, pool_wait_text(attempt), config->pool.wait_ms);
        }
        break;
    case ATTEMPT_STATE_SENDING:
        time_out(attempt, REASON_SEND_TIMEOUT, "bytes were unsent for send_timeout_ms %lld",
                 config->send_timeout_ms);
        break;
    case ATTEMPT_STATE_SENT:
        if (attempt->hedge_due) {
            hedge(attempt);
            break;
        }
        time_out(attempt, REASON_TIMEOUT, "no answer within receive_timeout_ms %lld",
                 config->receive_timeout_ms);
        break;
    default:
        break;
    }
}

/* Of an attempt that is none: another one of the call may be on another endpoint. */
static void give_trial(const struct call *call, uint32_t target, bool is_trial)
{
    if (is_trial) {
        endpoint_trial_give(call->plan.set->endpoints[target]);
    }
}

struct attempt *attempt_new(struct call *call, uint32_t target)
{
    struct worker *worker = call->worker;
    struct attempt *attempt = slab_take(&worker->attempts);
    bool is_trial = (call->plan.taken & STAGE_TRIAL) != 0;
    call->plan.taken &= ~STAGE_TRIAL;
    if (!attempt) {
        give_trial(call, target, is_trial);
        return NULL;
    }
    lease_init(&attempt->lease, &call->request.wire, on_news);
    attempt->call = call;
    list_push_back(&call->attempts, &attempt->in_call);
    attempt->endpoint = call->plan.set->endpoints[target];
    attempt->started_us = worker_now_us(worker);
    attempt->timer = (struct timer_node){.fire = on_timer};
    attempt->target = target;
    attempt->state = ATTEMPT_STATE_PICKED;
    attempt->repeats = attempt->is_hedge = attempt->hedge_due = false;
    attempt->is_trial = is_trial;
    attempt->header = NULL;
    atomic_fetch_add_explicit(&attempt->endpoint->inflight, 1, memory_order_relaxed);
    call->outcome.endpoint = attempt->endpoint;
    call->tries++;
    return attempt;
}

void attempt_start(struct attempt *attempt, uint32_t pause_ms)
{
    if (pause_ms > 0) {
        arm(attempt, pause_ms);
    } else {
        ask(attempt);
    }
}

void attempt_check(const struct attempt *attempt)
{
    lease_check(&attempt->lease);
    assert(attempt->state != ATTEMPT_STATE_DONE);
    assert(list_linked(&attempt->in_call));
    assert(attempt->lease.request == &attempt->call->request.wire);
    assert((attempt->state == ATTEMPT_STATE_SENT) <=
           (attempt->lease.state == LEASE_SENT || attempt->lease.news != 0));
}
