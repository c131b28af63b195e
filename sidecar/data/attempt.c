/*
 * sidecar/data/attempt.c: one try of a call on one endpoint.
 *
 * Routing and stages, then endpoint, connection, sending. What provably never left, or of which the
 * last byte was not taken by the kernel, is tried again for free: a framed callee cannot run half a
 * frame. What may have reached the callee is not (until `retry` is built).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call.h"

#include "sidecar/data/endpoint_pool.h"
#include "sidecar/data/session.h"
#include "sidecar/data/stage.h"
#include "sidecar/data/upstream_conn.h"

#include <assert.h>
#include <stdio.h>
#include <string.h>

/* Calls refused for their stamp alone: at most this share, within this window (contract, section 5). */
#define STAMP_REFUSED_PERCENT 20
#define STAMP_WINDOW_MS       5000 /* two of them make the 10 s */

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

static int64_t remaining_ms(const struct call *call)
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
    return budget > 0 && remaining_ms(call) > 0;
}

static void fail_late(struct call *call)
{
    call_fail(call, CALL_EVENT_TIMEOUT, REASON_TIMEOUT, "no answer within %lld ms",
              call->budget_ms);
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
        call_fail(call, CALL_EVENT_ANSWER, REASON_TIMEOUT,
                  "the budget was spent before the call could be sent, %lld ms", call->budget_ms);
        return;
    }
    run_stages(call);
}

void attempt_route(struct call *call)
{
    struct identity identity;
    const char *error;

    if (!identify(call, &identity, &error)) {
        for (int i = 0; i < DISC_NAMES; i++) {
            if (identity.tuple.name[i].len > DISC_NAME_MAX_BYTES) {
                /* Shown as unknown, but for the method: its client looks for it in the answer. */
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
        call_event(call, CALL_EVENT_NO_RULES);
        return;
    }
    route(call, &identity.tuple);
}

/* ---- the connection ------------------------------------------------------------------------ */

static void count_inflight(struct call *call)
{
    atomic_fetch_add_explicit(&call->attempt.endpoint->inflight, 1, memory_order_relaxed);
    call->route->attempts++;
    call->attempt.counted = true;
}

static void uncount_inflight(struct call *call)
{
    if (call->attempt.counted) {
        atomic_fetch_sub_explicit(&call->attempt.endpoint->inflight, 1, memory_order_relaxed);
        call->route->attempts--;
        call->attempt.counted = false;
    }
}

void attempt_get_conn(struct call *call)
{
    struct attempt *attempt = &call->attempt;
    uncount_inflight(call);
    if (remaining_ms(call) <= 0) {
        fail_late(call);
        return;
    }
    attempt->endpoint = call->set->endpoints[attempt->target];
    attempt->started_us = worker_now_us();
    attempt->conn = NULL;
    call->tries++;
    count_inflight(call);
    endpoint_pool_get(call);
}

/* Adds what the contract's section 5 writes into the forwarded frame. */
static void add_edits(struct call *call, const uint8_t *body)
{
    const struct bootstrap_listener *listener = call->listener;
    char text[24];
    if (!call->message.has_base) {
        return;
    }
    if (call->log_id_fresh) {
        codec_rewrite_log_id_set(&call->rewrite, &call->base, call->log_id, call->log_id_len);
    }
    if (!listener->deadline_rewrite) {
        return;
    }
    int len = snprintf(text, sizeof text, "%lld", (long long)remaining_ms(call));
    codec_rewrite_extra_set(&call->rewrite, body, &call->base, listener->extra_id,
                            listener->deadline_entry, strlen(listener->deadline_entry), text,
                            (size_t)len);
    if (listener->deadline_shared_clock) {
        len = snprintf(text, sizeof text, "%llu", (unsigned long long)(worker_unix_us() / 1000));
        codec_rewrite_extra_set(&call->rewrite, body, &call->base, listener->extra_id,
                                CALL_STAMP_ENTRY, sizeof CALL_STAMP_ENTRY - 1, text, (size_t)len);
    }
}

void attempt_send(struct call *call)
{
    struct worker *worker = call->worker;
    struct stream *stream = &call->attempt.conn->stream;
    struct iovec iov[CODEC_REWRITE_IOVS_MAX];
    uint32_t body_len = call->frame_len - WIRE_FRAME_LEN_BYTES;
    const struct codec_base *base = call->message.has_base ? &call->base : NULL;
    size_t total;

    call->attempt.started_us = worker_now_us();
    call->attempt.out_start = outq_pushed_total(&stream->out);
    call->attempt.out_end = call->attempt.out_start;
    if (remaining_ms(call) <= 0) {
        fail_late(call);
        return;
    }
    if (call->edited) {
        codec_rewrite_undo(&call->rewrite, call->frame, &call->message, base, body_len);
    }
    codec_rewrite_begin(&call->rewrite);
    add_edits(call, call->frame + WIRE_FRAME_LEN_BYTES);
    size_t n = codec_rewrite_finish(
        &call->rewrite, call->frame, &call->message, base, body_len, call_wire_seqid(call),
        (uint32_t)worker->env->bootstrap->limits.frame_bytes, iov, &total);
    call->edited = true;
    if (call->rewrite.dropped) {
        counter_add(&worker->counters, METRIC_EDITS_DROPPED, 1);
    }
    call->attempt.out_end = call->attempt.out_start + total;
    if (call->oneway) {
        /* Late is better than closing the connection that it shares; a stuck one is closed. */
        call->deadline_ms = worker_now_ms(worker) + call->route->config.send_timeout_ms;
    }
    call_arm(call, CALL_WAIT_SEND, call->route->config.send_timeout_ms);
    outq_seal(&stream->out);
    if (!stream_push_iov(stream, iov, n)) {
        upstream_conn_event(call->attempt.conn, UPSTREAM_EVENT_LOST);
    }
}

/* ---- how it ended -------------------------------------------------------------------------- */

static void record(struct call *call, bool success)
{
    struct worker *worker = call->worker;
    struct endpoint_state *endpoint = call->attempt.endpoint;
    uint64_t now_ms = worker_now_ms(worker);
    double sample = (double)call->upstream_us;
    if (success && !call->attempt.reused && endpoint_ewma_us(endpoint) == 0) {
        return; /* the first answer of all over a fresh connection measures how callees start up */
    }
    if (success) {
        sample = lb_success_sample(sample, endpoint_ewma_us(endpoint));
    } else {
        const struct lb_set_load *load = target_set_load(call->set, now_ms);
        sample = lb_failure_sample(sample, call->route->config.timeout_ms * 1000.0,
                                   endpoint_ewma_us(endpoint), load->median_ewma_us);
    }
    endpoint_ewma_record(endpoint, sample, now_ms);
}

static void measure(struct call *call)
{
    call->upstream_us = worker_now_us() - call->attempt.started_us;
}

void attempt_done(struct call *call, bool success)
{
    struct upstream_conn *conn = call->attempt.conn;
    measure(call);
    record(call, success);
    uncount_inflight(call);
    call->attempt.conn = NULL;
    if (conn->oneway) {
        list_remove(&call->waits);
        return;
    }
    conn->call = NULL;
    upstream_conn_event(conn, UPSTREAM_EVENT_FINISHED);
}

void attempt_leave(struct call *call)
{
    struct upstream_conn *conn = call->attempt.conn;
    uncount_inflight(call);
    if (call->reason == REASON_TIMEOUT && conn && conn->state == UPSTREAM_STATE_CONNECTING) {
        measure(call);
        record(call, false); /* a black hole must not stay attractive */
    }
    endpoint_pool_leave(call);
}

/* Whether nothing of the call has left: then its connection is as good as before. */
static bool take_back(struct call *call, struct upstream_conn *conn)
{
    struct stream *stream = &conn->stream;
    if (conn->oneway || stream->pending_len > 0 || intake_in_frame(&conn->intake) ||
        outq_sent_total(&stream->out) > call->attempt.out_start) {
        return false;
    }
    (void)outq_drop_unsent_from(&stream->out, call->attempt.out_start); /* all of it */
    return true;
}

void attempt_drop(struct call *call)
{
    struct upstream_conn *conn = call->attempt.conn;
    bool blame = call->reason == REASON_TIMEOUT || call->reason == REASON_SEND_TIMEOUT;
    uncount_inflight(call);
    if (!conn) {
        return; /* the connection told us that it is gone */
    }
    measure(call);
    if (blame) {
        record(call, false);
    }
    call->attempt.conn = NULL;
    if (conn->oneway) {
        list_remove(&call->waits);
        if (call->attempt.out_end == call->attempt.out_start) {
            return; /* nothing of it was queued */
        }
        conn->status = UV_ECANCELED;
        upstream_conn_event(conn, UPSTREAM_EVENT_ABANDON);
        return;
    }
    conn->call = NULL;
    upstream_conn_event(conn,
                        take_back(call, conn) ? UPSTREAM_EVENT_FINISHED : UPSTREAM_EVENT_ABANDON);
}

/* Another endpoint, while there is one and tries are left. */
static bool pick_another(struct call *call)
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

void attempt_connect_failed(struct call *call, enum reason reason, int status)
{
    measure(call);
    record(call, false);
    if (pick_another(call)) {
        counter_add(&call->worker->counters, METRIC_RESENDS, 1);
        call_event(call, CALL_EVENT_PICKED);
        return;
    }
    if (reason == REASON_CONNECT_TIMEOUT) {
        call_fail(call, CALL_EVENT_ANSWER, reason, "not connected within connect_timeout_ms %lld",
                  (int64_t)call->route->config.connect_timeout_ms);
    } else {
        call->cause = uv_strerror(status);
        call_fail(call, CALL_EVENT_ANSWER, reason, "connecting failed", 0);
    }
}

void attempt_lost(struct call *call, int status)
{
    struct attempt *attempt = &call->attempt;
    bool unsent = call->state == CALL_STATE_SENDING && call->frame;
    measure(call);
    bool ending = atomic_load_explicit(&call->worker->phase, memory_order_relaxed) >= WORKER_ENDING;
    if (unsent && !ending && call->tries < CALL_TRIES_MAX &&
        (attempt->reused || pick_another(call))) {
        counter_add(&call->worker->counters, METRIC_RESENDS, 1);
        call_event(call, CALL_EVENT_PICKED);
        return;
    }
    if (ending) {
        call_fail(call, CALL_EVENT_ANSWER, REASON_DRAINING, "the process ends", 0);
        return;
    }
    record(call, false);
    call->cause = status ? uv_strerror(status) : NULL;
    call_fail(call, CALL_EVENT_ANSWER, REASON_UPSTREAM_RESET,
              "the connection was lost before the reply was complete", 0);
}

void attempt_bad_reply(struct call *call, const struct upstream_conn *conn)
{
    measure(call);
    record(call, false);
    call->cause = conn->cause;
    call_fail(call, CALL_EVENT_ANSWER, conn->reason, conn->detail, conn->detail_number);
}
