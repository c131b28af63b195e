/*
 * sidecar/data/call/call.c: the driver of a call's state machine, and the free list calls come from.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call.h"

#include "sidecar/data/session/session.h"
#include "sidecar/data/upstream/upstream_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

/* ---- the free list ------------------------------------------------------------------------- */

/* Calls are made in blocks and never given back to the system before the worker ends: there are no more at a
 * time than limits.calls, and one a connection that is refused. */
#define CALLS_PER_BLOCK 64

struct call_pool {
    struct worker *worker;
    struct call *free; /* linked through in_session.next, abused as a plain pointer */
    uint32_t slots;
    uint32_t blocks_len;
    struct call *blocks[CALL_SLOTS_MAX / CALLS_PER_BLOCK];
};

struct call_pool *call_pool_new(struct worker *worker)
{
    struct call_pool *pool = calloc(1, sizeof *pool);
    if (pool) {
        pool->worker = worker;
    }
    return pool;
}

struct call_pool *call_pool_free(struct call_pool *pool)
{
    if (pool) {
        for (uint32_t i = 0; i < pool->blocks_len; i++) {
            free(pool->blocks[i]);
        }
        free(pool);
    }
    return NULL;
}

static void put_free(struct call_pool *pool, struct call *call)
{
    call->in_session.next = (struct list *)(void *)pool->free;
    pool->free = call;
}

static bool grow(struct call_pool *pool)
{
    if (pool->slots + CALLS_PER_BLOCK > CALL_SLOTS_MAX) {
        return false;
    }
    struct call *block = calloc(CALLS_PER_BLOCK, sizeof *block);
    if (!block) {
        return false;
    }
    pool->blocks[pool->blocks_len++] = block;
    for (uint32_t i = CALLS_PER_BLOCK; i-- > 0;) {
        block[i].slot = pool->slots + i;
        put_free(pool, &block[i]);
    }
    pool->slots += CALLS_PER_BLOCK;
    return true;
}

/* Everything that a call may find of its predecessor, but for the scratch of its edits. */
static void clear(struct call *call, struct worker *worker)
{
    uint32_t slot = call->slot;
    uint32_t generation = call->generation + 1;
    memset(call, 0, offsetof(struct call, rewrite));
    call->slot = slot;
    call->generation = generation;
    call->worker = worker;
    call->timer.kind = WORKER_TIMER_CALL;
    call->arrived_budget_ms = -1;
    call->attempt.conn = NULL;
    list_init(&call->in_session);
    list_init(&call->waits);
    list_push_back(&worker->live, &call->live);
}

static struct call *call_new(struct worker *worker)
{
    struct call_pool *pool = worker->calls;
    if (!pool->free && !grow(pool)) {
        return NULL;
    }
    struct call *call = pool->free;
    pool->free = (struct call *)(void *)call->in_session.next;
    clear(call, worker);
    call->start_us = worker_now_us();
    counter_add(&worker->counters, METRIC_CALLS_INFLIGHT, 1);
    return call;
}

static void free_reply(struct call *call)
{
    if (call->reply && !call->reply_borrowed) {
        buffers_free(&call->worker->buffers, call->reply);
    }
    call->reply = NULL;
}

static void drop_request(struct call *call)
{
    if (call->block) {
        buffers_free(&call->worker->buffers, call->block);
        call->block = NULL;
    }
    call->frame = NULL;
}

static void call_release(struct call *call)
{
    struct worker *worker = call->worker;
    struct session *session = call->session;

    assert(!call->attempt.conn && !call->attempt.counted && !call->in_pool_queue);
    worker_timer_cancel(worker, &call->timer);
    drop_request(call);
    free_reply(call);
    if (call->route) {
        route_unref(worker->routes, call->route);
    }
    if (call->has_permit) {
        permit_give(&worker->env->calls, 1);
    } else if (session) {
        session->refused_calls--;
    }
    list_remove(&call->waits);
    list_remove(&call->in_session);
    list_remove(&call->live);
    counter_sub(&worker->counters, METRIC_CALLS_INFLIGHT, 1);
    put_free(worker->calls, call);
    if (session) {
        session_call_left(session);
    }
}

/* ---- the request's bytes ------------------------------------------------------------------- */

bool call_own_request(struct call *call)
{
    if (call->block) {
        return true;
    }
    uint8_t *block = buffers_copy(&call->worker->buffers, call->frame, call->frame_len);
    if (!block) {
        return false;
    }
    call->frame = block;
    call->block = block;
    return true;
}

/* ---- timers -------------------------------------------------------------------------------- */

/* A oneway on its way is late rather than the end of the connection that it shares; only where that is
 * stuck, it ends. */
static bool is_bound_by_deadline(const struct call *call)
{
    return !(call->oneway && call->wait == CALL_WAIT_SEND);
}

void call_arm(struct call *call, enum call_wait wait, uint32_t wait_ms)
{
    uint64_t now_ms = worker_now_ms(call->worker);
    uint64_t at = call->deadline_ms;
    call->wait = wait_ms > 0 ? wait : CALL_WAIT_NONE;
    if (call->wait != CALL_WAIT_NONE) {
        call->wait_until_ms = now_ms + wait_ms;
        at = call->wait_until_ms < at || !is_bound_by_deadline(call) ? call->wait_until_ms : at;
    }
    /* The loop's time is cut to milliseconds: never early. */
    worker_timer_set(call->worker, &call->timer, at + 1);
}

void call_fail_all(struct worker *worker, enum reason reason, const char *detail, int64_t number)
{
    struct list live, *node;
    list_take_all(&worker->live, &live);
    while ((node = list_first(&live))) {
        struct call *call = container_of(node, struct call, live);
        list_remove(node);
        list_push_back(&worker->live, node);
        if (call->state != CALL_STATE_HELD) {
            call_fail(call, CALL_EVENT_ANSWER, reason, detail, number);
        }
    }
}

void call_fail_late(struct call *call)
{
    call_fail(call, CALL_EVENT_TIMEOUT, REASON_TIMEOUT, "no answer within %lld ms",
              call->budget_ms);
}

void call_on_timer(struct call *call)
{
    const struct route *route = call->route;
    if (is_bound_by_deadline(call) && worker_now_ms(call->worker) > call->deadline_ms) {
        call_fail_late(call);
        return;
    }
    switch (call->wait) {
    case CALL_WAIT_POOL:
        call_fail(call, CALL_EVENT_ANSWER, REASON_POOL_EXHAUSTED,
                  "no connection came free within pool.wait_ms %lld",
                  (int64_t)route->config.pool.wait_ms);
        break;
    case CALL_WAIT_SEND:
        call_fail(call, CALL_EVENT_TIMEOUT, REASON_SEND_TIMEOUT,
                  "bytes were unsent for send_timeout_ms %lld",
                  (int64_t)route->config.send_timeout_ms);
        break;
    case CALL_WAIT_RECEIVE:
        call_fail(call, CALL_EVENT_TIMEOUT, REASON_TIMEOUT,
                  "no answer within receive_timeout_ms %lld",
                  (int64_t)route->config.receive_timeout_ms);
        break;
    default:
        worker_timer_set(call->worker, &call->timer, call->deadline_ms + 1);
        break;
    }
}

/* ---- beginning ----------------------------------------------------------------------------- */

static struct call *call_begin(struct session *session, struct frame *frame)
{
    struct worker *worker = session->worker;
    struct call *call = call_new(worker);
    if (!call) {
        buffers_free(&worker->buffers, frame->block);
        session_event(session, SESSION_EVENT_ERROR);
        return NULL;
    }
    call->session = session;
    call->listener = session->listener;
    call->frame = frame->bytes;
    call->frame_len = frame->len;
    call->block = frame->block;
    call->message = frame->scan->message;
    call->oneway = call->message.type == WIRE_ONEWAY;
    call->has_permit = permit_take(&worker->env->calls, 1, worker->env->bootstrap->limits.calls);
    session->refused_calls += !call->has_permit;
    call->arrived_ms = worker_now_ms(worker);
    call->deadline_ms = call->arrived_ms + disc_field_default(DISC_FIELD_TIMEOUT_MS).i;
    call->budget_ms = disc_field_default(DISC_FIELD_TIMEOUT_MS).i;
    list_push_back(call->oneway ? &session->oneways : &session->calls, &call->in_session);
    session->calls_len++;
    return call;
}

void call_start_bad(struct session *session, struct frame *frame)
{
    enum codec_error error = frame->scan->error;
    uint32_t error_off = frame->scan->error_off;
    struct call *call = call_begin(session, frame);
    if (!call) {
        return;
    }
    struct disc_tuple tuple = {0};
    tuple.name[DISC_METHOD] = call_method(call);
    call_fail_unrouted(call, &tuple, REASON_BAD_REQUEST, codec_error_str(error), error_off);
}

void call_start(struct session *session, struct frame *frame)
{
    struct call *call = call_begin(session, frame);
    if (!call) {
        return;
    }
    if (call->message.has_base) {
        codec_base_read(call->frame + WIRE_FRAME_LEN_BYTES, call->message.base, &call->base);
    }
    dispatch(call);
}

/* ---- the outcome --------------------------------------------------------------------------- */

void call_fail(struct call *call, enum call_event event, enum reason reason, const char *detail,
               int64_t number)
{
    call->reason = reason;
    call->detail = detail;
    call->detail_number = number;
    call_event(call, event);
}

/* Counts a call that has no route and encodes its answer, while its names are at hand. Where memory is
 * short there is no answer, and the session ends when it would be due (answer_push). */
static void settle_unrouted(struct call *call, const struct disc_tuple *tuple)
{
    account_unrouted(call, tuple);
    if (call->oneway) {
        return;
    }
    size_t len = answer_size(call, tuple);
    call->reply = buffers_alloc(&call->worker->buffers, len);
    if (call->reply) {
        answer_write(call, tuple, call->reply);
        call->reply_len = (uint32_t)len;
    }
}

void call_fail_unrouted(struct call *call, const struct disc_tuple *tuple, enum reason reason,
                        const char *detail, int64_t number)
{
    call->reason = reason;
    call->detail = detail;
    call->detail_number = number;
    settle_unrouted(call, tuple);
    call_event(call, CALL_EVENT_ANSWER);
}

/* What the reply says of the call, by the rule's own list of failures. */
static enum reason outcome(const struct call *call, const uint8_t *body,
                           const struct codec_message *message)
{
    const struct disc_ranges *failures = call->route->config.base_resp_fail;
    int32_t code;
    if (message->type == WIRE_EXCEPTION) {
        return REASON_APP_EXCEPTION;
    }
    if (failures && codec_base_resp_code(body, message, &code)) {
        for (uint32_t i = 0; i < failures->n; i++) {
            if (code >= failures->range[i].low && code <= failures->range[i].high) {
                return REASON_APP_FAILURE;
            }
        }
    }
    return REASON_OK;
}

void call_reply(struct call *call, struct frame *frame)
{
    uint8_t *body = frame->bytes + WIRE_FRAME_LEN_BYTES;
    const struct codec_message *message = &frame->scan->message;
    call->reason = outcome(call, body, message);
    wire_put32(body + message->seqid_off, (uint32_t)call->message.seqid);
    call->reply = frame->bytes;
    call->reply_len = frame->len;
    call->reply_borrowed = frame->block == NULL;
    call_event(call, CALL_EVENT_REPLY);
}

/* Counted under its names: those of its route or, where it waited for rules in vain, read again. */
static void account(struct call *call)
{
    struct identity identity;
    const char *error;
    if (call->route) {
        account_call(call);
    } else if (!call->accounted) {
        (void)identify(call, &identity, &error); /* it went well before */
        settle_unrouted(call, &identity.tuple);
    }
}

/* The outcome stands: no more timers; the answer goes when its turn comes. */
static void finish(struct call *call)
{
    worker_timer_cancel(call->worker, &call->timer);
    if (call->oneway || !call->route) {
        account(call); /* with the names at hand */
    }
    drop_request(call);
    if (call->oneway) {
        call_event(call, CALL_EVENT_TURN);
    } else {
        call->ready = true;
        session_answered(call->session, call);
    }
}

static bool attempt_succeeded(const struct call *call)
{
    return call->reason == REASON_OK ||
           (call->reason == REASON_APP_EXCEPTION && !call->route->config.exceptions_fail);
}

static void end_gone(struct call *call)
{
    call->reason = REASON_DOWNSTREAM_GONE;
    account(call);
    call_release(call);
}

static void hold(struct call *call)
{
    if (!call_own_request(call)) {
        call_fail(call, CALL_EVENT_ANSWER, REASON_INTERNAL, "out of memory", 0);
        return;
    }
    list_push_back(&call->worker->rule_waits, &call->waits);
    call_arm(call, CALL_WAIT_NONE, 0);
}

static void await(struct call *call)
{
    drop_request(call);
    call_arm(call, CALL_WAIT_RECEIVE, call->route->config.receive_timeout_ms);
    if (!session_takes_reply(call->session, call)) {
        upstream_conn_pause(call->attempt.conn);
    }
}

static void orphan(struct call *call)
{
    struct session *session = call->session;
    list_remove(&call->in_session);
    call->session = NULL;
    session->calls_len--;
    if (call->attempt.conn) {
        upstream_conn_resume(call->attempt.conn); /* nobody holds the reply up any more */
    }
}

/* The one place that moves a call. */
void call_event(struct call *call, enum call_event event)
{
    struct fsm_step step = call_fsm_step(call->state, event);
    call->state = step.next;
    switch ((enum call_action)step.action) {
    case CALL_ACTION_HOLD:
        hold(call);
        break;
    case CALL_ACTION_ROUTE:
        list_remove(&call->waits);
        dispatch(call);
        break;
    case CALL_ACTION_GET_CONN:
        attempt_get_conn(call);
        break;
    case CALL_ACTION_SEND:
        attempt_send(call);
        break;
    case CALL_ACTION_AWAIT:
        await(call);
        break;
    case CALL_ACTION_FINISH_SENT:
        call->reason = REASON_OK;
        attempt_done(call, true);
        account_call(call);
        call_release(call);
        break;
    case CALL_ACTION_FORWARD:
        attempt_done(call, attempt_succeeded(call));
        finish(call);
        break;
    case CALL_ACTION_ANSWER:
        list_remove(&call->waits);
        finish(call);
        break;
    case CALL_ACTION_ANSWER_LEAVE:
        attempt_leave(call);
        finish(call);
        break;
    case CALL_ACTION_ANSWER_DROP:
        attempt_drop(call);
        finish(call);
        break;
    case CALL_ACTION_PAUSE:
        call_arm(call, CALL_WAIT_NONE, 0);
        break;
    case CALL_ACTION_END:
        end_gone(call);
        break;
    case CALL_ACTION_END_LEAVE:
        attempt_leave(call);
        end_gone(call);
        break;
    case CALL_ACTION_END_DROP:
        attempt_drop(call);
        end_gone(call);
        break;
    case CALL_ACTION_ORPHAN:
        orphan(call);
        break;
    case CALL_ACTION_END_KEEP:
        attempt_done(call, attempt_succeeded(call));
        end_gone(call);
        break;
    case CALL_ACTION_RELEASE:
        call_release(call);
        break;
    case CALL_ACTION_NONE:
    case CALL_ACTION_MAX:
        break;
    }
}
