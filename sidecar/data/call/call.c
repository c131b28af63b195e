/*
 * sidecar/data/call/call.c: the driver of a call's state machine; see call.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call.h"

#include "sidecar/data/call/header.h"
#include "sidecar/data/call/hedge.h"
#include "sidecar/data/call/retry.h"

#include <assert.h>
#include <string.h>

static struct attempt *attempt_at(struct list *node)
{
    return container_of(node, struct attempt, in_call);
}

static struct attempt *last_attempt(const struct call *call)
{
    return list_empty(&call->attempts) ? NULL : attempt_at(call->attempts.prev);
}

/* ---- the deadline ---------------------------------------------------------------------------- */

/* A ONEWAY message on its way is late rather than the end of the connection that it shares: only where that
 * is stuck (send_timeout_ms) it ends. */
static bool is_bound_by_deadline(const struct call *call)
{
    const struct attempt *attempt = last_attempt(call);
    return !(call->request.wire.oneway && attempt && attempt->state == ATTEMPT_STATE_SENDING);
}

static void fail_late(struct call *call)
{
    const struct attempt *attempt = last_attempt(call);
    if (attempt && lease_is_starved(&attempt->lease)) {
        call->outcome.cause = CALL_STARVED_HINT;
    }
    call_fail(call, REASON_TIMEOUT, CALL_LATE_TEXT, call->budget.total_ms);
}

static void on_deadline(struct timer_node *node)
{
    struct call *call = container_of(node, struct call, timer);
    if (is_bound_by_deadline(call)) {
        fail_late(call);
    }
}

/* The loop's time is cut to milliseconds: never early. Rules that a call waited for may move it. */
static void arm_deadline(struct call *call)
{
    uint64_t at = call->budget.deadline_ms + 1;
    if (!timer_node_armed(&call->timer) || call->timer.expires_ms != at) {
        worker_timer_set(call->worker, &call->timer, at);
    }
}

/* ---- birth and death ------------------------------------------------------------------------- */

static struct call *call_new(struct caller *caller)
{
    struct worker *worker = caller->worker;
    struct call *call = slab_take(&worker->calls);
    if (!call) {
        return NULL;
    }
    memset(call, 0, offsetof(struct call, request.log_id));
    memset(&call->budget, 0, sizeof *call - offsetof(struct call, budget));
    call->worker = worker;
    call->caller = caller;
    call->timer.fire = on_deadline;
    call->outcome.reason = REASON_DOWNSTREAM_GONE; /* until there is another outcome */
    call->budget.came_ms = -1;
    call->budget.start_us = worker_now_us(worker);
    list_init(&call->in_caller);
    list_init(&call->waits);
    list_init(&call->attempts);
    event_init(&call->ended, NULL);
    list_push_back(&worker->live, &call->live);
    counter_add(&worker->counters, METRIC_CALLS_INFLIGHT, 1);
    return call;
}

static void leave_caller(struct call *call)
{
    struct caller *caller = call->caller;
    list_remove(&call->in_caller);
    if (caller) {
        caller->calls_len--;
        caller->refused_calls -= !call->has_permit;
        call->caller = NULL;
        caller_post(caller);
    }
}

static void free_call(struct event *event)
{
    struct call *call = container_of(event, struct call, ended);
    slab_give(&call->worker->calls, call);
}

static void call_release(struct call *call)
{
    struct worker *worker = call->worker;
    worker_timer_cancel(worker, &call->timer);
    message_done(&call->request.wire.message, &worker->buffers);
    message_done(&call->outcome.reply, &worker->buffers);
    buffers_free(&worker->buffers, call->request.prefix_block);
    buffers_free(&worker->buffers, call->request.header);
    if (call->in_share) {
        caller_share_add(&worker->share, call->plan.route->caller_slot, -1);
    }
    if (call->has_permit) {
        permit_give(&worker->env->calls, 1);
    }
    if (call->plan.route) {
        route_unref(worker->routes, call->plan.route);
    }
    list_remove(&call->waits);
    list_remove(&call->live);
    leave_caller(call);
    counter_sub(&worker->counters, METRIC_CALLS_INFLIGHT, 1);
    event_retire(&worker->events, &call->ended, free_call);
}

/* ---- beginning ------------------------------------------------------------------------------- */

static void begin_dispatch(struct call *call)
{
    if (call->request.message.has_base) {
        codec_base_read(call->request.wire.message.body, call->request.message.base,
                        &call->request.base);
    }
    dispatch(call);
}

static void begin_bad(struct call *call, enum codec_error error, uint32_t error_off)
{
    struct disc_tuple tuple = {0};
    tuple.name[DISC_METHOD] = call_method(call);
    call_fail_unrouted(call, &tuple, REASON_BAD_REQUEST, codec_error_str(error), error_off);
}

bool call_begin(struct caller *caller, struct frame *frame, bool is_bad)
{
    struct worker *worker = caller->worker;
    struct codec_ttheader *header;
    struct call *call = header_keep(worker, frame->ttheader, &header) ? call_new(caller) : NULL;
    if (!call) {
        message_done(&frame->message, &worker->buffers);
        buffers_free(&worker->buffers, header);
        return false;
    }
    call->request.header = header;
    call->request.wire.message = frame->message;
    call->request.wire.caller = caller;
    call->request.wire.oneway = frame->scan->message.type == WIRE_ONEWAY;
    call->request.message = frame->scan->message;
    call->request.listener = caller->listener;
    call->request.uid = caller->uid;
    call->request.bytes = frame->message.head_room + frame->message.len;
    call->has_permit = permit_take(&worker->env->calls, 1, worker->env->bootstrap->limits.calls);
    caller->refused_calls += !call->has_permit;
    call->budget.arrived_ms = worker_now_ms(worker);
    call->budget.total_ms = disc_field_default(DISC_FIELD_TIMEOUT_MS).i;
    call->budget.deadline_ms = call->budget.arrived_ms + (uint64_t)call->budget.total_ms;
    list_push_back(call->request.wire.oneway ? &caller->oneways : &caller->calls, &call->in_caller);
    caller->calls_len++;
    if (is_bad) {
        begin_bad(call, frame->scan->error, frame->scan->error_off);
    } else {
        begin_dispatch(call);
    }
    return true;
}

void call_rules_came(struct worker *worker)
{
    struct list waiting, *node;
    list_take_all(&worker->rule_waits, &waiting);
    while ((node = list_first(&waiting))) {
        struct call *call = container_of(node, struct call, waits);
        list_remove(node); /* what becomes of it may link it elsewhere, or nowhere */
        call_event(call, CALL_EVENT_RULES);
        dispatch(call);
    }
}

/* ---- the outcome ----------------------------------------------------------------------------- */

static void settle(struct call *call)
{
    call_event(call, call->request.wire.oneway ? CALL_EVENT_ONEWAY_DONE : CALL_EVENT_OUTCOME);
}

static void set_outcome(struct call *call, enum reason reason, const char *detail, int64_t number)
{
    call->outcome.reason = (uint8_t)reason;
    call->outcome.detail = detail;
    call->outcome.number = number;
}

void call_fail(struct call *call, enum reason reason, const char *detail, int64_t number)
{
    set_outcome(call, reason, detail, number);
    settle(call);
}

/* In front of what tside answers itself. */
static uint8_t answer_head_bytes(const struct call *call)
{
    return call->caller ? call->caller->framing->head_bytes : 0;
}

/* Counts a call that has no route and encodes its answer, while its names are at hand. Where memory is
 * short there is no answer, and the session ends when it would be due (call_take_reply). */
static void settle_unrouted(struct call *call, const struct disc_tuple *tuple)
{
    const struct buffers *buffers = &call->worker->buffers;
    account_unrouted(call, tuple);
    if (call->request.wire.oneway) {
        return;
    }
    size_t head = answer_head_bytes(call);
    size_t len = answer_size(call, tuple);
    uint8_t *block = buffers_alloc(buffers, head + len);
    if (block) {
        answer_write(call, tuple, block + head);
        call->outcome.reply = (struct message){.body = block + head,
                                               .len = (uint32_t)len,
                                               .head_room = (uint32_t)head,
                                               .block = block};
    }
}

void call_fail_unrouted(struct call *call, const struct disc_tuple *tuple, enum reason reason,
                        const char *detail, int64_t number)
{
    set_outcome(call, reason, detail, number);
    settle_unrouted(call, tuple);
    settle(call);
}

static void pass_on(struct call *call, const struct attempt *attempt)
{
    const struct lease_reply *reply = &attempt->lease.reply;
    call->outcome.reason = (uint8_t)attempt_reply_reason(attempt);
    wire_put32(reply->body + reply->seqid_off, (uint32_t)call->request.message.seqid);
    call->outcome.reply = (struct message){.body = reply->body,
                                           .len = reply->len,
                                           .head_room = reply->head_room,
                                           .block = reply->block};
    call->outcome.has_header = reply->has_header;
    call->outcome.says_end = reply->says_end;
    call_event(call, CALL_EVENT_OUTCOME);
}

static void fail_by(struct call *call, const struct lease_failure *failure)
{
    bool ending = worker_phase(call->worker) >= WORKER_ENDING;
    if (ending && failure->fault == LEASE_FAULT_LOST) {
        call_fail(call, REASON_DRAINING, "the process ends", 0);
        return;
    }
    call->outcome.cause = failure->cause;
    call_fail(call, (enum reason)failure->reason, failure->detail, failure->number);
}

/* An attempt on the endpoint in plan.target. NULL: the call has failed. */
static struct attempt *begin_attempt(struct call *call)
{
    if (call_remaining_ms(call) <= 0) {
        fail_late(call);
        return NULL;
    }
    struct attempt *attempt = attempt_new(call, call->plan.target);
    if (!attempt) {
        call_fail(call, REASON_INTERNAL, "out of memory", 0);
        return NULL;
    }
    call_event(call, CALL_EVENT_PICKED);
    return attempt;
}

void call_try(struct call *call)
{
    struct attempt *attempt = begin_attempt(call);
    if (attempt) {
        attempt_start(attempt, 0);
    }
}

/* In place of one that did not leave: what that was, this one is. */
static void resend(struct call *call, const struct attempt *before)
{
    call->resends++;
    counter_add(&call->worker->counters, METRIC_RESENDS, 1);
    call->plan.target = before->target;
    if (before->is_trial && endpoint_trial_take(before->endpoint, worker_now_ms(call->worker))) {
        call->plan.taken |= STAGE_TRIAL;
    }
    struct attempt *attempt = begin_attempt(call);
    if (attempt) {
        attempt->repeats = before->repeats;
        attempt->is_hedge = before->is_hedge;
        attempt_start(attempt, 0);
    }
}

static void retry(struct call *call)
{
    call->retries++;
    counter_add(&call->worker->counters, METRIC_RETRIES, 1);
    struct attempt *attempt = begin_attempt(call);
    if (attempt) {
        attempt->repeats = true;
        attempt_start(attempt, call->plan.route->config.retry.backoff_ms);
    }
}

void call_hedge(struct call *call)
{
    if (!hedge_take(call) || !dispatch_other(call)) {
        return;
    }
    struct attempt *attempt = attempt_new(call, call->plan.target);
    if (!attempt) {
        return; /* the first one goes on */
    }
    call->hedged = true;
    counter_add(&call->worker->counters, METRIC_HEDGES, 1);
    attempt->repeats = attempt->is_hedge = true;
    attempt_start(attempt, 0);
}

/* One more attempt, where the verdict says so and there is an endpoint. */
static bool try_again(struct call *call, const struct attempt *attempt, enum attempt_result result)
{
    switch (retry_decide(call, attempt, result)) {
    case RETRY_RESEND:
        resend(call, attempt);
        return true;
    case RETRY_AGAIN:
        if (!dispatch_again(call)) {
            return false;
        }
        retry(call);
        return true;
    default:
        return false;
    }
}

/* Whether another attempt is under way that may do better. */
static bool others_may(const struct call *call, const struct attempt *attempt,
                       enum attempt_result result)
{
    return !list_empty(&call->attempts) &&
           (result == ATTEMPT_FAILED || result == ATTEMPT_TIMED_OUT ||
            (result == ATTEMPT_REPLIED && retry_wants_other_reply(call, attempt)));
}

static void drop_reply(const struct call *call, const struct attempt *attempt,
                       enum attempt_result result)
{
    if (result == ATTEMPT_REPLIED) {
        buffers_free(&call->worker->buffers, attempt->lease.reply.block);
    }
}

void call_attempt_ended(struct call *call, const struct attempt *attempt,
                        enum attempt_result result)
{
    if (others_may(call, attempt, result) || try_again(call, attempt, result)) {
        drop_reply(call, attempt, result);
        return;
    }
    switch (result) {
    case ATTEMPT_REPLIED:
        counter_add(&call->worker->counters, METRIC_HEDGES_WON, attempt->is_hedge);
        pass_on(call, attempt);
        break;
    case ATTEMPT_SENT:
        call->outcome.reason = REASON_OK;
        settle(call);
        break;
    case ATTEMPT_FAILED:
    case ATTEMPT_TIMED_OUT:
        fail_by(call, &attempt->lease.failure);
        break;
    case ATTEMPT_OVERTAKEN:
    case ATTEMPT_UNWANTED:
        break;
    }
}

/* Counted under its names: those of its route or, where it waited for rules in vain, read again. */
static void account(struct call *call)
{
    struct identity identity;
    const char *error;
    if (call->plan.route) {
        account_call(call);
    } else if (!call->outcome.accounted) {
        (void)identify(call, &identity, &error); /* it went well before */
        settle_unrouted(call, &identity.tuple);
    }
}

/* ---- actions --------------------------------------------------------------------------------- */

/* How the attempts end that the outcome leaves without work. */
static enum attempt_result result_of_others(const struct call *call)
{
    switch ((enum reason)call->outcome.reason) {
    case REASON_TIMEOUT:
    case REASON_SEND_TIMEOUT:
        return ATTEMPT_TIMED_OUT;
    case REASON_OK:
    case REASON_APP_EXCEPTION:
    case REASON_APP_FAILURE:
        return call->outcome.reply.body ? ATTEMPT_OVERTAKEN : ATTEMPT_UNWANTED;
    default:
        return ATTEMPT_UNWANTED;
    }
}

static void end_attempts(struct call *call)
{
    enum attempt_result result = result_of_others(call);
    struct list *node;
    while ((node = list_first(&call->attempts))) {
        attempt_end(attempt_at(node), result);
    }
}

/* Nothing of it is under way any more. What the stages hold goes back now: a reply that waits behind others
 * for its turn holds up no call of its tuple. */
static void end_work(struct call *call)
{
    end_attempts(call);
    account_stages(call);
}

/* The outcome stands; the answer goes when its turn comes. */
static void finish(struct call *call)
{
    end_work(call);
    worker_timer_cancel(call->worker, &call->timer);
    list_remove(&call->waits);
    if (!call->plan.route) {
        account(call); /* with the names at hand */
    }
    message_done(&call->request.wire.message, &call->worker->buffers);
    list_push_back(&call->caller->finished, &call->waits);
    caller_post(call->caller);
}

static void release(struct call *call)
{
    end_work(call);
    account(call);
    call_release(call);
}

static void end_gone(struct call *call)
{
    end_work(call);
    call->outcome.reason = REASON_DOWNSTREAM_GONE;
    account(call);
    call_release(call);
}

static void hold(struct call *call)
{
    list_push_back(&call->worker->rule_waits, &call->waits);
    arm_deadline(call);
}

static struct attempt *first_unsent(const struct call *call)
{
    for (struct list *n = call->attempts.next; n != &call->attempts; n = n->next) {
        if (!attempt_is_sent(attempt_at(n))) {
            return attempt_at(n);
        }
    }
    return NULL;
}

/* Its caller is gone, the callee has it: it goes on alone, and its reply is read in any case. */
static void orphan(struct call *call)
{
    struct attempt *unsent;
    while ((unsent = first_unsent(call))) {
        attempt_end(unsent, ATTEMPT_UNWANTED);
    }
    leave_caller(call);
    call_set_flow(call);
}

void call_event(struct call *call, enum call_event event)
{
    struct fsm_step step = call_fsm_step((enum call_state)call->state, event);
    call->state = step.next;
    switch ((enum call_action)step.action) {
    case CALL_ACTION_HOLD:
        hold(call);
        break;
    case CALL_ACTION_TRY:
        arm_deadline(call);
        break;
    case CALL_ACTION_FINISH:
        finish(call);
        break;
    case CALL_ACTION_RELEASE:
        release(call);
        break;
    case CALL_ACTION_END:
        end_gone(call);
        break;
    case CALL_ACTION_ORPHAN:
        orphan(call);
        break;
    case CALL_ACTION_FREE:
        call_release(call);
        break;
    case CALL_ACTION_NONE:
    case CALL_ACTION_MAX:
        break;
    }
}

/* ---- for the session ------------------------------------------------------------------------- */

/* Whether a callee has the whole request. */
static bool is_sent(const struct call *call)
{
    for (struct list *n = call->attempts.next; n != &call->attempts; n = n->next) {
        if (attempt_is_sent(attempt_at(n))) {
            return true;
        }
    }
    return false;
}

void call_caller_gone(struct call *call)
{
    if (call->request.wire.oneway) {
        leave_caller(call); /* nobody waits for it: it goes on alone */
    } else if (call->state == CALL_STATE_TRYING && is_sent(call)) {
        call_event(call, CALL_EVENT_GONE_SENT);
    } else {
        call_event(call, CALL_EVENT_GONE);
    }
}

bool call_keep_reply(struct call *call)
{
    struct message *reply = &call->outcome.reply;
    call->outcome.kept = !reply->body || message_own(reply, &call->worker->buffers);
    return call->outcome.kept;
}

/* tside's own answer, in the turn's memory where that has room. */
static bool make_answer(struct call *call, struct message *ret)
{
    struct worker *worker = call->worker;
    uint8_t head = answer_head_bytes(call);
    size_t len = answer_size(call, NULL);
    uint8_t *block = NULL;
    uint8_t *room = arena_take(&worker->arena, head + len);
    if (!room) {
        room = block = buffers_alloc(&worker->buffers, head + len);
    }
    if (!room) {
        return false;
    }
    answer_write(call, NULL, room + head);
    *ret = (struct message){
        .body = room + head, .len = (uint32_t)len, .head_room = head, .block = block};
    return true;
}

bool call_take_reply(struct call *call, struct message *ret)
{
    struct message *reply = &call->outcome.reply;
    if (call->plan.route) {
        account_call(call);
    }
    if (reply->body) {
        *ret = *reply;
        *reply = (struct message){0};
        return true;
    }
    /* Without a route it should have been encoded before: memory was short. */
    return call->plan.route && make_answer(call, ret);
}

void call_answered(struct call *call)
{
    call_event(call, CALL_EVENT_TURN);
}

static bool flows(const struct call *call)
{
    const struct caller *caller = call->caller;
    if (!caller || caller->flow == CALLER_FLOWS) {
        return true;
    }
    return caller->flow == CALLER_HEAD_ONLY && list_first(&caller->calls) == &call->in_caller;
}

void call_set_flow(struct call *call)
{
    bool on = flows(call);
    for (struct list *n = call->attempts.next; n != &call->attempts; n = n->next) {
        struct attempt *attempt = attempt_at(n);
        if (attempt_is_sent(attempt) && on) {
            lease_resume(&attempt->lease);
        } else if (attempt_is_sent(attempt)) {
            lease_pause(&attempt->lease);
        }
    }
}

/* ---- for the worker -------------------------------------------------------------------------- */

void call_fail_all(struct worker *worker, enum reason reason, const char *detail, int64_t number)
{
    for (struct list *n = worker->live.next, *next; n != &worker->live; n = next) {
        struct call *call = container_of(n, struct call, live);
        next = n->next; /* a call that ends takes no other out of the list */
        if (call->state != CALL_STATE_HELD) {
            call_fail(call, reason, detail, number);
        }
    }
}

void call_check(const struct call *call)
{
    uint32_t attempts = 0;
    for (struct list *n = call->attempts.next; n != &call->attempts; n = n->next) {
        attempt_check(attempt_at(n));
        assert(attempt_at(n)->call == call);
        attempts++;
    }
    assert(!call->plan.route || call->retries <= call->plan.route->config.retry.attempts);
    bool trying = call->state == CALL_STATE_TRYING || call->state == CALL_STATE_ORPHAN;
    assert(trying == (attempts > 0));
    assert(trying || call->plan.taken == 0);
    assert(!trying || call->request.wire.oneway || timer_node_armed(&call->timer));
    assert(call->state != CALL_STATE_HELD || (call->caller && !timer_node_armed(&call->timer)));
    assert(list_linked(&call->waits) ==
           (call->state == CALL_STATE_WAIT_RULES || call->state == CALL_STATE_HELD));
    assert(list_linked(&call->live));
    assert((call->caller != NULL) == list_linked(&call->in_caller));
}
