/*
 * sidecar/data/upstream/upstream_conn.c: the driver of a connection to a callee; see upstream_conn.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_conn.h"

#include "sidecar/data/session/session.h"
#include "sidecar/data/upstream/endpoint_pool.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

static struct upstream_conn *conn_of_handle(uv_handle_t *handle)
{
    struct upstream_conn *conn = handle->data;
    assert(conn->magic == UPSTREAM_MAGIC);
    return conn;
}

static struct upstream_conn *conn_of_stream(struct stream *stream)
{
    struct upstream_conn *conn = container_of(stream, struct upstream_conn, stream);
    assert(conn->magic == UPSTREAM_MAGIC);
    return conn;
}

static struct call *call_of_wait(struct list *node)
{
    return container_of(node, struct call, waits);
}

/* ---- reading ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    intake_alloc(&conn_of_handle(handle)->intake, buf);
}

static void lost(struct upstream_conn *conn, int status)
{
    conn->status = status;
    upstream_conn_event(conn, UPSTREAM_EVENT_LOST);
}

static void stop_reading(struct upstream_conn *conn)
{
    if (conn->reading) {
        (void)uv_read_stop(&conn->stream.uv.stream); /* always 0 */
        conn->reading = false;
    }
}

static void on_read(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf)
{
    struct upstream_conn *conn = conn_of_handle((uv_handle_t *)handle);
    stream_catch_up(&conn->stream);
    if (nread > 0) {
        if (conn->state == UPSTREAM_STATE_BUSY) {
            intake_filled(&conn->intake, buf, (size_t)nread);
        } else {
            intake_unfilled(&conn->intake, buf);
            conn->dropped_bytes = (size_t)nread;
        }
        upstream_conn_event(conn, UPSTREAM_EVENT_BYTES);
    } else {
        intake_unfilled(&conn->intake, buf);
        if (nread == UV_ENOBUFS) {
            if (conn->intake.starving) {
                upstream_conn_pause(conn);
                intake_starve(&conn->intake);
            }
        } else if (nread < 0 && list_linked(&conn->intake.spin)) {
            conn->ended = (int)nread; /* what came whole counts first */
            stop_reading(conn);
        } else if (nread < 0) {
            lost(conn, (int)nread);
        }
    }
    worker_flush_early(conn->worker);
}

static void start_reading(struct upstream_conn *conn)
{
    if (!conn->reading && conn->state != UPSTREAM_STATE_CLOSED) {
        int r = uv_read_start(&conn->stream.uv.stream, on_alloc, on_read);
        conn->reading = r == 0;
        if (r) {
            lost(conn, r);
        }
    }
}

void upstream_conn_pause(struct upstream_conn *conn)
{
    if (conn->state == UPSTREAM_STATE_BUSY) {
        stop_reading(conn);
    }
}

void upstream_conn_resume(struct upstream_conn *conn)
{
    if (conn->state == UPSTREAM_STATE_BUSY && !list_linked(&conn->intake.starved)) {
        start_reading(conn);
    }
}

/* ---- replies ------------------------------------------------------------------------------- */

/* The method, bare or as it was sent. */
static bool name_matches(const struct call *call, const uint8_t *name, uint32_t len)
{
    struct disc_str method = call->route->tuple.name[DISC_METHOD];
    if (len == method.len && memcmp(name, method.p, len) == 0) {
        return true;
    }
    uint32_t prefix = call->prefix_len;
    return call->has_prefix && len == prefix + 1 + method.len &&
           memcmp(name, call->prefix, prefix) == 0 && name[prefix] == ':' &&
           memcmp(name + prefix + 1, method.p, method.len) == 0;
}

static void bad(struct upstream_conn *conn, enum reason reason, const char *detail, int64_t number)
{
    conn->reason = reason;
    conn->detail = detail;
    conn->detail_number = number;
    upstream_conn_event(conn, UPSTREAM_EVENT_BAD);
}

static void drop_frame(struct upstream_conn *conn, const struct frame *frame)
{
    buffers_free(&conn->worker->buffers, frame->block);
}

/* A proved message: the reply to the call in flight, or a reason to go. */
static void take_reply(struct upstream_conn *conn, struct frame *frame)
{
    struct call *call = conn->call;
    const struct codec_message *message = &frame->scan->message;
    const char *why = NULL;
    if (message->seqid != call_wire_seqid(call)) {
        why = "the reply has another seqid than was sent";
    } else if (!name_matches(call, frame->bytes + WIRE_FRAME_LEN_BYTES + message->name.off,
                             message->name.len)) {
        why = "the reply is to another method";
    } else if (call->state == CALL_STATE_SENDING) {
        why = "the reply came before the request was sent";
    }
    if (why) {
        drop_frame(conn, frame);
        bad(conn, REASON_UPSTREAM_PROTOCOL, why, 0);
        return;
    }
    conn->tainted = conn->ended || conn->intake.reader.window_len > 0 ||
                    frame_reader_keeps(&conn->intake.reader);
    call_reply(call, frame);
}

static void broken(struct upstream_conn *conn, enum frame_broken why)
{
    if (why == FRAME_BROKEN_TOO_LARGE) {
        bad(conn, REASON_FRAME_TOO_LARGE, "the reply is above limits.frame_bytes %lld",
            (int64_t)conn->worker->env->bootstrap->limits.frame_bytes);
    } else {
        conn->cause = frame_broken_str(why);
        bad(conn, REASON_UPSTREAM_PROTOCOL, "what came is no reply", 0);
    }
}

static void take_frames(struct upstream_conn *conn)
{
    struct frame frame;
    while (conn->state == UPSTREAM_STATE_BUSY) {
        switch (intake_next(&conn->intake, &frame)) {
        case FRAME_READY:
            take_reply(conn, &frame);
            return;
        case FRAME_BAD:
            bad(conn, REASON_UPSTREAM_PROTOCOL, codec_error_str(frame.scan->error), 0);
            return;
        case FRAME_BROKEN:
            broken(conn, frame.broken);
            return;
        case FRAME_NO_MEMORY:
            bad(conn, REASON_INTERNAL, "out of memory", 0);
            return;
        case FRAME_YIELD:
            intake_spin(&conn->intake);
            return;
        default:
            return;
        }
    }
}

/* A long reply goes on in the next turn, or buffers may be there again. */
static void on_resume(struct intake *intake)
{
    struct upstream_conn *conn = container_of(intake, struct upstream_conn, intake);
    assert(conn->magic == UPSTREAM_MAGIC);
    intake->starving = false;
    if (conn->state == UPSTREAM_STATE_BUSY) {
        take_frames(conn);
    }
    if (conn->ended && conn->state != UPSTREAM_STATE_CLOSED && !list_linked(&intake->spin)) {
        lost(conn, conn->ended);
        return;
    }
    if (conn->state == UPSTREAM_STATE_BUSY && conn->call && !conn->ended &&
        (!conn->call->session || session_takes_reply(conn->call->session, conn->call))) {
        start_reading(conn);
    }
}

/* ---- sending ------------------------------------------------------------------------------- */

static bool is_sent(const struct upstream_conn *conn, const struct call *call)
{
    return call->state == CALL_STATE_SENDING &&
           outq_sent_total(&conn->stream.out) >= call->attempt.out_end;
}

static void on_progress(struct stream *stream)
{
    struct upstream_conn *conn = conn_of_stream(stream);
    if (conn->call && is_sent(conn, conn->call)) {
        call_event(conn->call, CALL_EVENT_ALL_SENT);
    }
    struct list *node;
    while ((node = list_first(&conn->oneways)) && is_sent(conn, call_of_wait(node))) {
        call_event(call_of_wait(node), CALL_EVENT_ALL_SENT_ONEWAY);
    }
}

static void on_failed(struct stream *stream, int status)
{
    lost(conn_of_stream(stream), status);
}

/* Makes the request the call's own and lets the queue send it from there, so that it is copied once
 * and can be sent again. */
static bool pin_call(struct upstream_conn *conn, struct call *call)
{
    const uint8_t *from = call->frame;
    if (call->state != CALL_STATE_SENDING || call->block) {
        return true;
    }
    if (!call_own_request(call)) {
        call->frame = NULL; /* the queue copies what is left; it cannot be sent again */
        return false;
    }
    outq_rebase(&conn->stream.out, from, call->frame_len, call->frame);
    return true;
}

static bool on_pin(struct stream *stream)
{
    struct upstream_conn *conn = conn_of_stream(stream);
    bool pinned = true;
    if (conn->call) {
        pinned = pin_call(conn, conn->call);
    }
    for (struct list *n = conn->oneways.next; n != &conn->oneways; n = n->next) {
        struct call *call = call_of_wait(n);
        if (call->attempt.out_end > outq_sent_total(&stream->out)) {
            pinned = pin_call(conn, call) && pinned;
        }
    }
    return pinned;
}

static const struct stream_ops stream_ops = {
    .progress = on_progress, .failed = on_failed, .pin = on_pin};

/* ---- connecting ---------------------------------------------------------------------------- */

/* A local port that nobody listens on can be "reached" from itself. */
static bool is_self_connected(const struct upstream_conn *conn)
{
    struct sockaddr_storage here, there;
    int here_len = sizeof here, there_len = sizeof there;
    memset(&here, 0, sizeof here);
    memset(&there, 0, sizeof there);
    return uv_tcp_getsockname(&conn->stream.uv.tcp, (struct sockaddr *)&here, &here_len) == 0 &&
           uv_tcp_getpeername(&conn->stream.uv.tcp, (struct sockaddr *)&there, &there_len) == 0 &&
           here_len == there_len && memcmp(&here, &there, (size_t)here_len) == 0;
}

static void on_connected(uv_connect_t *request, int status)
{
    struct upstream_conn *conn = request->data;
    assert(conn->magic == UPSTREAM_MAGIC);
    if (status == 0 && conn->state == UPSTREAM_STATE_CONNECTING && is_self_connected(conn)) {
        conn->reset = true;
        status = UV_ECONNREFUSED;
    }
    if (status < 0 || conn->state == UPSTREAM_STATE_CLOSED) {
        conn->status = status;
        conn->reason = REASON_CONNECT_FAILED;
        upstream_conn_event(conn, UPSTREAM_EVENT_FAILED);
        return;
    }
    (void)uv_tcp_nodelay(&conn->stream.uv.tcp, 1); /* slower without, not wrong */
    worker_timer_cancel(conn->worker, &conn->timer);
    upstream_conn_event(conn, conn->oneway ? UPSTREAM_EVENT_CONNECTED_ONEWAY
                              : conn->call ? UPSTREAM_EVENT_CONNECTED
                                           : UPSTREAM_EVENT_CONNECTED_SPARE);
}

static void on_closed(uv_handle_t *handle)
{
    struct upstream_conn *conn = conn_of_handle(handle);
    conn->magic = 0;
    free(conn);
}

static int open_conn(struct endpoint_pool *pool, bool oneway, uint32_t connect_timeout_ms,
                     struct upstream_conn **ret)
{
    struct worker *worker = pool->worker;
    struct upstream_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        return UV_ENOMEM;
    }
    conn->magic = UPSTREAM_MAGIC;
    conn->worker = worker;
    conn->pool = pool;
    conn->oneway = oneway;
    conn->timer.kind = WORKER_TIMER_UPSTREAM;
    conn->connect.data = conn;
    list_init(&conn->all);
    list_init(&conn->idle);
    list_init(&conn->oneways);
    stream_init(&conn->stream, &stream_ops, &worker->buffers, &worker->dirty);
    intake_init(&conn->intake, worker, CODEC_SCAN_REPLY, on_resume);
    int r = uv_tcp_init(&worker->loop, &conn->stream.uv.tcp);
    if (r) {
        free(conn);
        return r;
    }
    conn->stream.uv.handle.data = conn;
    r = uv_tcp_connect(&conn->connect, &conn->stream.uv.tcp, &pool->endpoint->addr.any,
                       on_connected);
    if (r) {
        uv_close(&conn->stream.uv.handle, on_closed);
        return r;
    }
    list_push_back(&worker->upstreams, &conn->all);
    counter_add(&worker->counters, METRIC_UPSTREAM_CONNECTIONS, 1);
    counter_add(&worker->counters, METRIC_UPSTREAM_CREATED, 1);
    worker_timer_set(worker, &conn->timer, worker_now_ms(worker) + connect_timeout_ms);
    *ret = conn;
    return 0;
}

/* UV_EMFILE: refused before the kernel would, which keeps descriptors for callers and everything else. */
int upstream_conn_new(struct endpoint_pool *pool, bool oneway, uint32_t connect_timeout_ms,
                      struct upstream_conn **ret)
{
    struct worker_env *env = pool->worker->env;
    if (!permit_take(&env->upstreams, 1, env->bootstrap->limits.upstream_connections)) {
        counter_add(&pool->worker->counters, METRIC_UPSTREAM_LIMITED, 1);
        return UV_EMFILE;
    }
    int r = open_conn(pool, oneway, connect_timeout_ms, ret);
    if (r) {
        permit_give(&env->upstreams, 1);
    }
    return r;
}

void upstream_conn_bind(struct upstream_conn *conn, struct call *call)
{
    conn->call = call;
    conn->idle_ms = call->route->config.pool.idle_ms;
    conn->max_idle = call->route->config.pool.max_idle;
    call->attempt.conn = conn;
}

void upstream_conn_on_timer(struct upstream_conn *conn)
{
    if (conn->state == UPSTREAM_STATE_CONNECTING) {
        conn->reason = REASON_CONNECT_TIMEOUT;
        conn->status = UV_ETIMEDOUT;
    } else if (conn->state == UPSTREAM_STATE_ONEWAY && !list_empty(&conn->oneways)) {
        worker_timer_set(conn->worker, &conn->timer, worker_now_ms(conn->worker) + conn->idle_ms);
        return;
    } else {
        counter_add(&conn->worker->counters, METRIC_UPSTREAM_IDLE_CLOSED, 1);
    }
    upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
}

/* ---- states -------------------------------------------------------------------------------- */

static void leave_idle(struct upstream_conn *conn)
{
    if (conn->counted_idle) {
        conn->counted_idle = false;
        list_remove(&conn->idle);
        permit_give(&conn->pool->endpoint->idle, 1);
        counter_sub(&conn->worker->counters, METRIC_UPSTREAM_IDLE, 1);
    }
    worker_timer_cancel(conn->worker, &conn->timer);
}

static void start_oneways(struct upstream_conn *conn)
{
    struct list waiting, *node;
    start_reading(conn);
    list_take_all(&conn->oneways, &waiting);
    while ((node = list_first(&waiting))) {
        list_remove(node);
        list_push_back(&conn->oneways, node);
        call_event(call_of_wait(node), CALL_EVENT_CONN);
        if (conn->state != UPSTREAM_STATE_ONEWAY) {
            break; /* memory was short; the others are told below */
        }
    }
    while ((node = list_first(&waiting))) {
        struct call *call = call_of_wait(node);
        list_remove(node);
        call->attempt.conn = NULL;
        attempt_connect_failed(call, REASON_INTERNAL, UV_ENOMEM);
    }
    if (conn->state == UPSTREAM_STATE_ONEWAY) {
        worker_timer_set(conn->worker, &conn->timer, worker_now_ms(conn->worker) + conn->idle_ms);
    }
}

/* Takes the connection apart. Its permit is given back first: who is told may want it. */
static void close_conn(struct upstream_conn *conn)
{
    struct worker *worker = conn->worker;
    struct endpoint_pool *pool = conn->pool;
    leave_idle(conn);
    intake_done(&conn->intake);
    stream_done(&conn->stream);
    list_remove(&conn->all);
    counter_sub(&worker->counters, METRIC_UPSTREAM_CONNECTIONS, 1);
    if (!conn->reset || uv_tcp_close_reset(&conn->stream.uv.tcp, on_closed)) {
        uv_close(&conn->stream.uv.handle, on_closed);
    }
    permit_give(&worker->env->upstreams, 1); /* the descriptor is closed */
    conn->pool = NULL;
    endpoint_pool_closed(pool, conn);
}

/* Tells the calls of a connection that is no more. */
static void close_and_tell(struct upstream_conn *conn, enum upstream_action action)
{
    struct call *call = conn->call;
    struct list oneways, *node;
    conn->call = NULL;
    list_take_all(&conn->oneways, &oneways);
    if (call) {
        call->attempt.conn = NULL;
    }
    for (node = oneways.next; node != &oneways; node = node->next) {
        call_of_wait(node)->attempt.conn = NULL;
    }
    close_conn(conn);
    if (call && action == UPSTREAM_ACTION_CLOSE_FAIL) {
        attempt_connect_failed(call, conn->reason, conn->status);
    } else if (call && action == UPSTREAM_ACTION_CLOSE_BAD) {
        attempt_bad_reply(call, conn);
    } else if (call) {
        attempt_lost(call, conn->status);
    }
    while ((node = list_first(&oneways))) {
        list_remove(node);
        if (action == UPSTREAM_ACTION_CLOSE_FAIL) {
            attempt_connect_failed(call_of_wait(node), conn->reason, conn->status);
        } else {
            attempt_lost(call_of_wait(node), conn->status);
        }
    }
}

/* The one place that moves a connection. */
void upstream_conn_event(struct upstream_conn *conn, enum upstream_event event)
{
    struct fsm_step step = upstream_fsm_step(conn->state, event);
    conn->state = step.next;
    switch ((enum upstream_action)step.action) {
    case UPSTREAM_ACTION_START_CALL:
        start_reading(conn);
        if (conn->state == UPSTREAM_STATE_BUSY) {
            call_event(conn->call, CALL_EVENT_CONN);
        }
        break;
    case UPSTREAM_ACTION_START_ONEWAY:
        start_oneways(conn);
        break;
    case UPSTREAM_ACTION_PARK:
        start_reading(conn); /* an idle connection that dies is to be noticed */
        if (conn->state == UPSTREAM_STATE_IDLE) {
            endpoint_pool_park(conn->pool, conn);
        }
        break;
    case UPSTREAM_ACTION_TAKE:
        leave_idle(conn);
        break;
    case UPSTREAM_ACTION_PARSE:
        take_frames(conn);
        break;
    case UPSTREAM_ACTION_DROP:
        counter_add(&conn->worker->counters, METRIC_ONEWAY_ANSWER_BYTES, conn->dropped_bytes);
        break;
    case UPSTREAM_ACTION_CLOSE:
        close_conn(conn);
        break;
    case UPSTREAM_ACTION_CLOSE_FAIL:
        counter_add(&conn->worker->counters, METRIC_UPSTREAM_FAILED, 1);
        close_and_tell(conn, UPSTREAM_ACTION_CLOSE_FAIL);
        break;
    case UPSTREAM_ACTION_CLOSE_LOST:
        close_and_tell(conn, UPSTREAM_ACTION_CLOSE_LOST);
        break;
    case UPSTREAM_ACTION_CLOSE_BAD:
        close_and_tell(conn, UPSTREAM_ACTION_CLOSE_BAD);
        break;
    case UPSTREAM_ACTION_NONE:
    case UPSTREAM_ACTION_MAX:
        break;
    }
}
