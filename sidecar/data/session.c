/*
 * sidecar/data/session.c: the driver of a caller's connection; see session.h.
 *
 * Order of work in a read callback: bytes -> frames -> calls -> answers that are there at once ->
 * session_settle(), which alone decides about pausing, resuming and closing.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session.h"

#include "sidecar/data/upstream_conn.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static struct session *session_of_handle(uv_handle_t *handle)
{
    struct session *session = handle->data;
    assert(session->magic == SESSION_MAGIC);
    return session;
}

static struct session *session_of_stream(struct stream *stream)
{
    struct session *session = container_of(stream, struct session, stream);
    assert(session->magic == SESSION_MAGIC);
    return session;
}

static const struct bootstrap *bootstrap_of(const struct session *session)
{
    return session->worker->env->bootstrap;
}

static bool is_draining(const struct session *session)
{
    return session->state == SESSION_STATE_DRAIN || session->state == SESSION_STATE_DRAIN_PAUSED;
}

static bool may_parse(const struct session *session)
{
    return session->state == SESSION_STATE_OPEN || session->state == SESSION_STATE_DRAIN;
}

/* ---- timers -------------------------------------------------------------------------------- */

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* When one of the session's clocks runs out, UINT64_MAX where none runs. */
static uint64_t next_deadline(const struct session *session)
{
    const struct bootstrap *bootstrap = bootstrap_of(session);
    uint64_t at = UINT64_MAX;
    bool reads = may_parse(session);
    if (session->unsent_since_ms) {
        /* Looked at four times a stall, so that it is found not much later than it is one. */
        uint64_t stall_ms = bootstrap->timeouts.write_stall_ms;
        at = earlier(session->unsent_since_ms + stall_ms,
                     worker_now_ms(session->worker) + stall_ms / 4 + 1);
    }
    if (reads && session->frame_begun_ms) {
        at = earlier(at, session->frame_begun_ms + bootstrap->timeouts.frame_timeout_ms);
    } else if (reads && session->calls_len == 0 && !session->unsent_since_ms) {
        if (is_draining(session)) {
            at = earlier(at, session->last_byte_ms + WORKER_DRAIN_QUIET_MS);
        } else if (bootstrap->timeouts.idle_ms > 0) {
            at = earlier(at, session->last_byte_ms + bootstrap->timeouts.idle_ms);
        }
    }
    return at;
}

/* Lazy: a timer that is armed too early finds out when it fires; one that would be late is moved. */
static void arm(struct session *session)
{
    if (session->doomed) {
        return; /* the timer is set for now */
    }
    uint64_t at = next_deadline(session);
    struct worker_timer *timer = &session->timer;
    if (at != UINT64_MAX && (!timer_node_armed(&timer->node) || timer->node.expires_ms > at)) {
        worker_timer_set(session->worker, timer, at);
    }
}

/* Whether bytes are there that were not read yet: then this is not the end. */
static bool bytes_wait(struct session *session)
{
    uv_os_fd_t fd;
    char byte;
    return uv_fileno(&session->stream.uv.handle, &fd) == 0 &&
           recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0;
}

/* Closes from the next turn: whoever is in our callers' stack may be busy with one of its calls. */
static void doom(struct session *session)
{
    if (!session->doomed && session->state != SESSION_STATE_CLOSED) {
        session->doomed = true;
        worker_timer_set(session->worker, &session->timer, worker_now_ms(session->worker));
    }
}

/* Notes what the kernel took of a long hand-over: a slow caller is not a stalled one. */
static void note_taken(struct session *session)
{
    uint64_t taken = stream_taken_total(&session->stream);
    if (session->unsent_since_ms && taken != session->unsent_seen) {
        session->unsent_seen = taken;
        session->unsent_since_ms = worker_now_ms(session->worker);
    }
}

void session_on_timer(struct session *session)
{
    const struct bootstrap *bootstrap = bootstrap_of(session);
    uint64_t now_ms = worker_now_ms(session->worker);
    bool reads = may_parse(session);
    if (session->doomed) {
        session_event(session, SESSION_EVENT_ERROR);
        return;
    }
    note_taken(session);
    if (session->unsent_since_ms &&
        now_ms >= session->unsent_since_ms + bootstrap->timeouts.write_stall_ms) {
        session_event(session, SESSION_EVENT_STALLED);
    } else if (reads && session->frame_begun_ms &&
               now_ms >= session->frame_begun_ms + bootstrap->timeouts.frame_timeout_ms) {
        counter_add(&session->worker->counters, METRIC_REJECTED_TIMEOUT, 1);
        session_event(session, SESSION_EVENT_LATE);
    } else if (reads && now_ms >= next_deadline(session)) {
        if (is_draining(session) && bytes_wait(session)) {
            session->last_byte_ms = now_ms;
        } else {
            session_event(session, SESSION_EVENT_QUIET);
        }
    }
    if (session->state != SESSION_STATE_CLOSED) {
        arm(session);
    }
}

/* ---- reading ------------------------------------------------------------------------------- */

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    intake_alloc(&session_of_handle(handle)->intake, buf);
}

static void on_read(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf);

static void start_reading(struct session *session)
{
    if (!session->reading) {
        session->reading = uv_read_start(&session->stream.uv.stream, on_alloc, on_read) == 0;
        if (!session->reading) {
            doom(session);
        }
    }
}

static void stop_reading(struct session *session)
{
    if (session->reading) {
        (void)uv_read_stop(&session->stream.uv.stream); /* always 0 */
        session->reading = false;
    }
}

/* The stream cannot be followed; counted by what was wrong or, of a stranger, by what it speaks. */
static void reject(struct session *session, enum frame_broken broken)
{
    static const enum metric causes[FRAME_BROKEN_MAX] = {
        [FRAME_BROKEN_EMPTY] = METRIC_REJECTED_EMPTY,
        [FRAME_BROKEN_TOO_LARGE] = METRIC_REJECTED_TOO_LARGE,
        [FRAME_BROKEN_HEADER_SHORT] = METRIC_REJECTED_HEADER_SHORT,
        [FRAME_BROKEN_VERSION] = METRIC_REJECTED_VERSION,
        [FRAME_BROKEN_MESSAGE_TYPE] = METRIC_REJECTED_MESSAGE_TYPE,
        [FRAME_BROKEN_NAME_LENGTH] = METRIC_REJECTED_NAME_LENGTH,
    };
    counter_add(&session->worker->counters, causes[broken], 1);
    session_event(session, SESSION_EVENT_BROKEN);
}

/* Looks at a connection's first bytes. False: a stranger, sent away. */
static bool judge(struct session *session, const uint8_t *bytes, size_t n)
{
    size_t room = sizeof session->first - session->first_len;
    size_t take = n < room ? n : room;
    memcpy(session->first + session->first_len, bytes, take);
    session->first_len += (uint8_t)take;
    enum codec_protocol protocol = codec_protocol_sniff(
        session->first, session->first_len, (uint32_t)bootstrap_of(session)->limits.frame_bytes);
    session->judged = session->first_len == sizeof session->first;
    if (protocol == CODEC_PROTOCOL_FRAMED) {
        return true;
    }
    counter_add(&session->worker->counters,
                METRIC_FOREIGN_UNFRAMED + (enum metric)(protocol - CODEC_PROTOCOL_UNFRAMED), 1);
    session_event(session, SESSION_EVENT_BROKEN);
    return false;
}

static void note_frame_clock(struct session *session)
{
    if (!intake_in_frame(&session->intake)) {
        session->frame_begun_ms = 0;
    } else if (!session->frame_begun_ms) {
        session->frame_begun_ms = worker_now_ms(session->worker);
    }
}

/* Begins a call for every frame that may be taken up now. */
static void take_frames(struct session *session)
{
    struct frame frame;
    while (may_parse(session) && !session->doomed) {
        enum frame_verdict verdict = intake_next(&session->intake, &frame);
        if (verdict == FRAME_READY) {
            session->frame_begun_ms = 0;
            call_start(session, &frame);
        } else if (verdict == FRAME_BAD) {
            session->frame_begun_ms = 0;
            call_start_bad(session, &frame);
        } else if (verdict == FRAME_BROKEN) {
            reject(session, frame.broken);
        } else if (verdict == FRAME_NO_MEMORY) {
            session_event(session, SESSION_EVENT_ERROR);
        } else {
            if (verdict == FRAME_YIELD) {
                intake_spin(&session->intake);
            }
            break;
        }
        session_settle(session);
    }
    if (session->state != SESSION_STATE_CLOSED && !intake_keep(&session->intake)) {
        session_event(session, SESSION_EVENT_ERROR);
    }
    note_frame_clock(session);
}

static void on_bytes(struct session *session, const uv_buf_t *buf, size_t n)
{
    session->last_byte_ms = worker_now_ms(session->worker);
    intake_filled(&session->intake, buf, n);
    if (session->judged || judge(session, (const uint8_t *)buf->base, n)) {
        session_event(session, SESSION_EVENT_BYTES);
    }
}

/* The caller sends no more. What is kept whole is still to be taken up. */
static void on_end(struct session *session)
{
    if (list_linked(&session->intake.spin)) {
        session->ended = true;
        stop_reading(session);
        return;
    }
    if (intake_in_frame(&session->intake)) {
        counter_add(&session->worker->counters, METRIC_REJECTED_CUT, 1);
    }
    session_event(session, SESSION_EVENT_END);
}

static void on_read(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf)
{
    struct session *session = session_of_handle((uv_handle_t *)handle);
    if (nread > 0) {
        on_bytes(session, buf, (size_t)nread);
    } else {
        intake_unfilled(&session->intake, buf);
        if (nread == UV_EOF) {
            on_end(session);
        } else if (nread == UV_ENOBUFS) {
            if (!session->intake.starving) {
                return; /* enough for this turn */
            }
        } else if (nread < 0) {
            session_event(session, SESSION_EVENT_ERROR);
        }
    }
    session_settle(session);
    worker_flush_early(session->worker);
}

/* A frame goes on in the next turn, or buffers may be there again. */
static void on_resume(struct intake *intake)
{
    struct session *session = container_of(intake, struct session, intake);
    assert(session->magic == SESSION_MAGIC);
    intake->starving = false;
    if (may_parse(session)) {
        take_frames(session);
    }
    if (session->ended && !list_linked(&intake->spin) && may_parse(session)) {
        on_end(session);
    }
    session_settle(session);
}

/* ---- answering ----------------------------------------------------------------------------- */

/* The reply of a call whose turn it is. */
static bool push_reply(struct session *session, struct call *call)
{
    if (!call->reply) {
        return answer_push(call);
    }
    uint8_t *reply = call->reply;
    if (call->reply_borrowed) {
        call->reply = NULL;
        return stream_push(&session->stream, reply, call->reply_len);
    }
    if (!stream_push_block(&session->stream, reply, 0, call->reply_len, call->reply_charged)) {
        return false;
    }
    call->reply = NULL;
    return true;
}

/* Its turn has not come: what was borrowed is kept. */
static bool keep_reply(struct call *call)
{
    if (!call->reply || !call->reply_borrowed) {
        return true;
    }
    uint8_t *block = buffers_copy(&call->worker->buffers, call->reply, call->reply_len);
    call->reply = block;
    call->reply_borrowed = false;
    call->reply_charged = call->reply_len;
    return block != NULL;
}

static bool push_in_turn(struct session *session, struct call *call)
{
    account_call(call);
    if (!push_reply(session, call)) {
        return false;
    }
    session->held_bytes -= call->held_len;
    session->answered = true;
    session->last_byte_ms = worker_now_ms(session->worker);
    call_event(call, CALL_EVENT_TURN);
    return true;
}

static struct call *first_call(const struct session *session)
{
    struct list *node = list_first(&session->calls);
    return node ? container_of(node, struct call, in_session) : NULL;
}

/* Whether more may be queued for a caller that has not taken what was queued before. */
static bool may_push(const struct session *session)
{
    return !session->doomed && stream_unsent(&session->stream) <= SESSION_UNSENT_HIGH;
}

/* The first call that may be answered: the oldest or, in any order, the oldest that is ready. */
static struct call *next_ready(const struct session *session)
{
    for (struct list *n = session->calls.next; n != &session->calls; n = n->next) {
        struct call *call = container_of(n, struct call, in_session);
        if (call->ready) {
            return call;
        }
        if (!session->listener->any_order) {
            return NULL;
        }
    }
    return NULL;
}

static void push_ready(struct session *session)
{
    struct call *call;
    while (may_push(session) && (call = next_ready(session))) {
        if (!push_in_turn(session, call)) {
            doom(session);
        }
    }
}

void session_answered(struct session *session, struct call *call)
{
    bool in_turn = session->listener->any_order || call == first_call(session);
    if (!in_turn || !may_push(session)) {
        call->held_len = call->reply ? call->reply_len : 0;
        session->held_bytes += call->held_len;
        if (!keep_reply(call)) {
            doom(session);
        }
    } else if (!push_in_turn(session, call)) {
        doom(session);
    } else if (!session->listener->any_order) {
        push_ready(session);
    }
}

void session_call_left(struct session *session)
{
    session->calls_len--;
    session_settle(session);
}

static void on_progress(struct stream *stream)
{
    struct session *session = session_of_stream(stream);
    session->unsent_since_ms = stream_unsent(stream) > 0 ? worker_now_ms(session->worker) : 0;
    session->unsent_seen = stream_taken_total(stream);
    push_ready(session);
    session_settle(session);
}

static void on_failed(struct stream *stream, int status)
{
    (void)status; /* the caller is gone: accounted call by call */
    session_event(session_of_stream(stream), SESSION_EVENT_ERROR);
}

/* Something stays unsent beyond the turn: from now on the caller is expected to take it. */
static bool on_pin(struct stream *stream)
{
    struct session *session = session_of_stream(stream);
    if (!session->unsent_since_ms) {
        session->unsent_since_ms = worker_now_ms(session->worker);
        session->unsent_seen = stream_taken_total(stream);
    }
    arm(session);
    return false;
}

static const struct stream_ops stream_ops = {
    .progress = on_progress, .failed = on_failed, .pin = on_pin};

/* ---- pausing and settling ------------------------------------------------------------------ */

static void set_pause(struct session *session, enum session_pause pause, bool on,
                      enum metric metric)
{
    if (on && !(session->pauses & pause)) {
        session->pauses |= pause;
        counter_add(&session->worker->counters, metric, 1);
    } else if (!on) {
        session->pauses &= ~(uint32_t)pause;
    }
}

bool session_takes_reply(const struct session *session, const struct call *call)
{
    bool head =
        call == first_call(session) && stream_unsent(&session->stream) <= SESSION_UNSENT_HIGH;
    return head || !(session->pauses & SESSION_PAUSE_UNSENT);
}

/* Callees whose replies this caller does not take are not read from either, and again when it does. */
static void hold_upstreams(struct session *session)
{
    for (struct list *n = session->calls.next; n != &session->calls; n = n->next) {
        struct call *call = container_of(n, struct call, in_session);
        if (call->state != CALL_STATE_SENT) {
            continue;
        }
        if (session_takes_reply(session, call)) {
            upstream_conn_resume(call->attempt.conn);
        } else {
            upstream_conn_pause(call->attempt.conn);
        }
    }
}

static void weigh_pauses(struct session *session)
{
    size_t unsent = stream_unsent(&session->stream) + session->held_bytes;
    bool was_unsent = session->pauses & SESSION_PAUSE_UNSENT;
    bool is_unsent = unsent > (was_unsent ? SESSION_UNSENT_LOW : SESSION_UNSENT_HIGH);
    set_pause(session, SESSION_PAUSE_PIPELINE,
              session->calls_len >= bootstrap_of(session)->limits.pipelined_calls,
              METRIC_READ_PAUSES_PIPELINE);
    set_pause(session, SESSION_PAUSE_UNSENT, is_unsent, METRIC_READ_PAUSES_UNSENT);
    set_pause(session, SESSION_PAUSE_BUFFERS, session->intake.starving, METRIC_READ_PAUSES_BUFFERS);
    struct call *head = first_call(session);
    if (is_unsent != was_unsent) {
        hold_upstreams(session);
    } else if (is_unsent && head && head->state == CALL_STATE_SENT &&
               session_takes_reply(session, head)) {
        upstream_conn_resume(head->attempt.conn); /* it became the head meanwhile */
    }
}

static bool is_paused(const struct session *session)
{
    return session->state == SESSION_STATE_PAUSED || session->state == SESSION_STATE_DRAIN_PAUSED;
}

/* No call is under way and nothing has to be sent. */
static bool is_empty(const struct session *session)
{
    return session->calls_len == 0 && stream_unsent(&session->stream) == 0;
}

void session_settle(struct session *session)
{
    if (session->settling || session->state == SESSION_STATE_CLOSED) {
        return;
    }
    session->settling = true;
    weigh_pauses(session);
    if (session->pauses && may_parse(session)) {
        session_event(session, SESSION_EVENT_PAUSE);
    } else if (!session->pauses && is_paused(session)) {
        session_event(session, SESSION_EVENT_RESUME);
    }
    session->settling = false;
    bool last = session->state == SESSION_STATE_LAST;
    bool behind_reply = session->state == SESSION_STATE_DRAIN && session->answered &&
                        !intake_in_frame(&session->intake);
    if (is_empty(session) && (last || (behind_reply && !bytes_wait(session)))) {
        session_event(session, SESSION_EVENT_SETTLED);
    }
    if (session->state != SESSION_STATE_CLOSED) {
        arm(session);
    }
}

/* ---- states -------------------------------------------------------------------------------- */

static void on_closed(uv_handle_t *handle)
{
    struct session *session = session_of_handle(handle);
    session->magic = 0;
    free(session);
}

static void close_now(struct session *session)
{
    struct worker *worker = session->worker;
    struct list *node;
    while ((node = list_first(&session->calls))) {
        call_event(container_of(node, struct call, in_session), CALL_EVENT_CALLER_GONE);
    }
    while ((node = list_first(&session->oneways))) {
        /* Nobody waits for it: it goes on without its session. */
        container_of(node, struct call, in_session)->session = NULL;
        list_remove(node);
    }
    worker_timer_cancel(worker, &session->timer);
    intake_done(&session->intake);
    stream_done(&session->stream);
    list_remove(&session->all);
    counter_sub(&worker->counters, METRIC_CONNECTIONS, 1);
    permit_give(&worker->env->connections, 1);
    uv_close(&session->stream.uv.handle, on_closed);
}

static void pause_reading(struct session *session)
{
    stop_reading(session);
    session->paused_ms = worker_now_ms(session->worker);
    if (session->pauses & SESSION_PAUSE_BUFFERS) {
        intake_starve(&session->intake);
    }
}

/* frame_timeout_ms stood still while it was we who did not read. */
static void resume_reading(struct session *session)
{
    if (session->frame_begun_ms) {
        session->frame_begun_ms += worker_now_ms(session->worker) - session->paused_ms;
    }
    if (frame_reader_keeps(&session->intake.reader)) {
        intake_spin(&session->intake); /* not from within whoever made the room */
    }
    start_reading(session);
}

static void finish_reading(struct session *session)
{
    stop_reading(session);
    intake_done(&session->intake);
    session->frame_begun_ms = 0;
}

static void begin_drain(struct session *session)
{
    session->answered = false;
    session->last_byte_ms = worker_now_ms(session->worker);
    arm(session);
}

/* The one place that moves a session. */
void session_event(struct session *session, enum session_event event)
{
    struct fsm_step step = session_fsm_step(session->state, event);
    session->state = step.next;
    switch ((enum session_action)step.action) {
    case SESSION_ACTION_PARSE:
        take_frames(session);
        break;
    case SESSION_ACTION_STOP:
        pause_reading(session);
        break;
    case SESSION_ACTION_START:
        resume_reading(session);
        break;
    case SESSION_ACTION_FINISH:
        finish_reading(session);
        session_settle(session);
        break;
    case SESSION_ACTION_ARM_QUIET:
        begin_drain(session);
        break;
    case SESSION_ACTION_CLOSE_STALLED:
        counter_add(&session->worker->counters, METRIC_WRITE_STALLS, 1);
        close_now(session);
        break;
    case SESSION_ACTION_CLOSE:
        close_now(session);
        break;
    case SESSION_ACTION_NONE:
    case SESSION_ACTION_MAX:
        break;
    }
}

/* ---- accepting ----------------------------------------------------------------------------- */

static void on_refused(uv_handle_t *handle)
{
    free(handle->data);
}

static struct session *session_new(struct worker *worker, bool is_unix,
                                   const struct bootstrap_listener *listener)
{
    struct session *session = calloc(1, sizeof *session);
    if (!session) {
        return NULL;
    }
    session->magic = SESSION_MAGIC;
    session->worker = worker;
    session->listener = listener;
    session->timer.kind = WORKER_TIMER_SESSION;
    session->last_byte_ms = worker_now_ms(worker);
    list_init(&session->all);
    list_init(&session->calls);
    list_init(&session->oneways);
    stream_init(&session->stream, &stream_ops, &worker->buffers, &worker->dirty);
    intake_init(&session->intake, worker, CODEC_SCAN_REQUEST, on_resume);
    int r = is_unix ? uv_pipe_init(&worker->loop, &session->stream.uv.pipe, 0)
                    : uv_tcp_init(&worker->loop, &session->stream.uv.tcp);
    if (r) {
        free(session);
        return NULL;
    }
    session->stream.uv.handle.data = session;
    return session;
}

static void on_refused_closed(uv_handle_t *handle)
{
    *(bool *)handle->data = false;
}

/* libuv stops listening until somebody accepts: the worker's own handles do, and close again. Two at once
 * leave the second to the next connection's turn. */
static void refuse(struct worker *worker, uv_stream_t *server, bool is_unix)
{
    uv_handle_t *handle =
        is_unix ? (uv_handle_t *)&worker->refused_pipe : (uv_handle_t *)&worker->refused_tcp;
    bool *busy = &worker->refusing[is_unix];
    if (*busy || (is_unix ? uv_pipe_init(&worker->loop, &worker->refused_pipe, 0)
                          : uv_tcp_init(&worker->loop, &worker->refused_tcp))) {
        return;
    }
    *busy = true;
    handle->data = busy;
    (void)uv_accept(server, (uv_stream_t *)handle); /* closed either way */
    uv_close(handle, on_refused_closed);
}

static bool open_handle(struct session *session, uv_stream_t *server, int fd)
{
    struct stream *stream = &session->stream;
    if (server) {
        return uv_accept(server, &stream->uv.stream) == 0;
    }
    return (session->listener->is_unix ? uv_pipe_open(&stream->uv.pipe, fd)
                                       : uv_tcp_open(&stream->uv.tcp, fd)) == 0;
}

void session_accept(struct worker *worker, uv_stream_t *server, int fd,
                    const struct bootstrap_listener *listener)
{
    struct session *session = session_new(worker, listener->is_unix, listener);
    if (!session) {
        counter_add(&worker->counters, METRIC_CONNECTIONS_REFUSED, 1);
        if (server) {
            refuse(worker, server, listener->is_unix);
        } else {
            close(fd);
        }
        return;
    }
    bool accepted = open_handle(session, server, fd);
    if (!accepted && !server) {
        close(fd);
    }
    bool room =
        permit_take(&worker->env->connections, 1, worker->env->bootstrap->limits.connections);
    if (!accepted || !room) {
        if (room) {
            permit_give(&worker->env->connections, 1);
        }
        counter_add(&worker->counters, METRIC_CONNECTIONS_REFUSED, 1);
        uv_close(&session->stream.uv.handle, on_refused);
        return;
    }
    if (!listener->is_unix) {
        (void)uv_tcp_nodelay(&session->stream.uv.tcp, 1); /* slower without, not wrong */
    }
    counter_add(&worker->counters, METRIC_CONNECTIONS, 1);
    counter_add(&worker->counters, METRIC_CONNECTIONS_TOTAL, 1);
    list_push_back(&worker->sessions, &session->all);
    start_reading(session);
    if (worker->listeners_closed) {
        session_event(session, SESSION_EVENT_DRAIN);
    }
    arm(session);
}
