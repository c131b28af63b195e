/*
 * sidecar/data/call/attempt.c: one try of a call on one endpoint.
 *
 * Endpoint, connection, sending, and how it ended. What provably never left, or of which the
 * last byte was not taken by the kernel, is tried again for free: a framed callee cannot run half a
 * frame. What may have reached the callee is not (until `retry` is built).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call.h"

#include "sidecar/data/session/session.h"
#include "sidecar/data/upstream/endpoint_pool.h"
#include "sidecar/data/upstream/upstream_conn.h"

#include <stdio.h>
#include <string.h>

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
    if (call_remaining_ms(call) <= 0) {
        call_fail_late(call);
        return;
    }
    attempt->endpoint = call->set->endpoints[attempt->target];
    attempt->started_us = worker_now_us();
    attempt->conn = NULL;
    call->tries++;
    count_inflight(call);
    endpoint_pool_get(call);
}

/* The name's prefix goes first (codec/rewrite.h); then what the contract's section 5 writes into the
 * forwarded frame. */
static void add_edits(struct call *call, const uint8_t *body)
{
    const struct bootstrap_listener *listener = call->listener;
    char text[24];
    if (listener->strip_service && call->has_prefix) {
        codec_rewrite_name_strip(&call->rewrite, &call->message, call->prefix_len + 1u);
    }
    if (!call->message.has_base) {
        return;
    }
    if (call->log_id_fresh) {
        codec_rewrite_log_id_set(&call->rewrite, &call->base, call->log_id, call->log_id_len);
    }
    if (!listener->deadline_rewrite) {
        return;
    }
    int len = snprintf(text, sizeof text, "%lld", (long long)call_remaining_ms(call));
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
    if (call_remaining_ms(call) <= 0) {
        call_fail_late(call);
        return;
    }
    codec_rewrite_begin(&call->rewrite);
    add_edits(call, call->frame + WIRE_FRAME_LEN_BYTES);
    size_t n = codec_rewrite_finish(
        &call->rewrite, call->frame, &call->message, base, body_len, call_wire_seqid(call),
        (uint32_t)worker->env->bootstrap->limits.frame_bytes, iov, &total);
    if (call->rewrite.dropped) {
        counter_add(&worker->counters, METRIC_EDITS_DROPPED, 1);
    }
    call->attempt.out_end = call->attempt.out_start + total;
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
    bool late = call->reason == REASON_TIMEOUT || call->reason == REASON_SEND_TIMEOUT;
    uncount_inflight(call);
    if (!conn) {
        return; /* the connection told us that it is gone */
    }
    measure(call);
    if (late && conn->reading) { /* else it is we, for a caller's sake, who do not read */
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

void attempt_connect_failed(struct call *call, enum reason reason, int status)
{
    measure(call);
    record(call, false);
    if (dispatch_again(call)) {
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
        (attempt->reused || dispatch_again(call))) {
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
