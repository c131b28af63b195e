/*
 * sidecar/data/session/session_reader.c: bytes -> frames -> calls; see session_internal.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

#include "sidecar/base/log.h"

#include <string.h>

#define REJECTED_LOG_EVERY_MS 1000

static void on_alloc(uv_handle_t *handle, size_t suggested, uv_buf_t *buf)
{
    (void)suggested;
    intake_alloc(&session_of_handle(handle)->intake, buf);
}

static void on_read(uv_stream_t *handle, ssize_t nread, const uv_buf_t *buf);

void session_start_reading(struct session *session)
{
    if (!session->reading) {
        session->reading = uv_read_start(&session->stream.uv.stream, on_alloc, on_read) == 0;
        if (!session->reading) {
            session_doom(session);
        }
    }
}

void session_stop_reading(struct session *session)
{
    if (session->reading) {
        (void)uv_read_stop(&session->stream.uv.stream); /* always 0 */
        session->reading = false;
    }
}

/* One line a second tells who has to mend a client; the counters have the others. */
static void log_rejected(struct session *session, const char *what)
{
    struct worker *worker = session->worker;
    uint64_t now_ms = worker_now_ms(worker);
    if (now_ms >= worker->next_rejected_log_ms) {
        worker->next_rejected_log_ms = now_ms + REJECTED_LOG_EVERY_MS;
        worker_log(worker, LOG_WARN, "session", "caller_rejected",
                   "connection on %s closed: it sent %s, no framed Thrift Binary call",
                   session->listener->listen, what);
    }
}

/* The stream cannot be followed; counted by what was wrong or, of a stranger, by what it speaks. */
static void reject(struct session *session, enum frame_broken broken)
{
    static const enum metric metrics[FRAME_BROKEN_MAX] = {
        [FRAME_BROKEN_EMPTY] = METRIC_REJECTED_EMPTY,
        [FRAME_BROKEN_TOO_LARGE] = METRIC_REJECTED_TOO_LARGE,
        [FRAME_BROKEN_HEADER_SHORT] = METRIC_REJECTED_HEADER_SHORT,
        [FRAME_BROKEN_VERSION] = METRIC_REJECTED_VERSION,
        [FRAME_BROKEN_MESSAGE_TYPE] = METRIC_REJECTED_MESSAGE_TYPE,
        [FRAME_BROKEN_NAME_LENGTH] = METRIC_REJECTED_NAME_LENGTH,
    };
    counter_add(&session->worker->counters, metrics[broken], 1);
    log_rejected(session, frame_broken_str(broken));
    session_event(session, SESSION_EVENT_BROKEN);
}

/* Looks at a connection's first bytes. False: a stranger, sent away. */
static bool judge(struct session *session, const uint8_t *bytes, size_t n)
{
    size_t room = sizeof session->first - session->first_len;
    size_t take = n < room ? n : room;
    memcpy(session->first + session->first_len, bytes, take);
    session->first_len += (uint8_t)take;
    enum codec_protocol protocol =
        codec_protocol_sniff(session->first, session->first_len,
                             (uint32_t)session_bootstrap(session)->limits.frame_bytes);
    session->judged = session->first_len == sizeof session->first;
    if (protocol == CODEC_PROTOCOL_FRAMED) {
        return true;
    }
    _Static_assert(METRIC_FOREIGN_UNKNOWN - METRIC_FOREIGN_UNFRAMED ==
                       CODEC_PROTOCOL_UNKNOWN - CODEC_PROTOCOL_UNFRAMED,
                   "a metric each, in the same order");
    counter_add(&session->worker->counters,
                METRIC_FOREIGN_UNFRAMED + (enum metric)(protocol - CODEC_PROTOCOL_UNFRAMED), 1);
    log_rejected(session, codec_protocol_str(protocol));
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

void session_take_frames(struct session *session)
{
    struct frame frame;
    while (session_may_parse(session) && !session->doomed) {
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
        session_stop_reading(session);
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

void session_on_resume(struct intake *intake)
{
    struct session *session = container_of(intake, struct session, intake);
    assert(session->magic == SESSION_MAGIC);
    intake->starving = false;
    if (session_may_parse(session)) {
        session_take_frames(session);
    }
    if (session->ended && !list_linked(&intake->spin) && session_may_parse(session)) {
        on_end(session);
    }
    session_settle(session);
}
