/*
 * sidecar/data/session/session_reader.c: bytes -> frames -> calls; see session_internal.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/session/session_internal.h"

#include "codec/sniff.h"
#include "sidecar/base/log.h"

#include <string.h>

#define REJECTED_LOG_EVERY_MS 1000

/* "framed", "framed, unframed", ... */
static const char *accepted_text(uint32_t accept)
{
    static const char *const texts[] = {
        "",         "framed",           "unframed",           "framed, unframed",
        "TTHeader", "framed, TTHeader", "unframed, TTHeader", "framed, unframed, TTHeader"};
    return texts[accept % (sizeof texts / sizeof texts[0])];
}

/* One line a second names a client that has to be mended; the counters have the others. */
static void log_rejected(struct session *session, const char *what)
{
    const struct bootstrap_listener *listener = session->caller.listener;
    struct worker *worker = session->caller.worker;
    uint64_t now_ms = worker_now_ms(worker);
    if (now_ms >= worker->next_rejected_log_ms) {
        worker->next_rejected_log_ms = now_ms + REJECTED_LOG_EVERY_MS;
        worker_log(worker, LOG_WARN, "session", "caller_rejected",
                   "connection on %s closed: it sent %s, no %s Thrift Binary call",
                   listener->listen, what, accepted_text(listener->accept));
    }
}

/* The stream cannot be followed; counted by what was wrong or, of a stranger, by what it speaks. */
static void reject(struct session *session, enum frame_broken broken)
{
    static const enum metric metrics[FRAME_BROKEN_MAX] = {
        [FRAME_BROKEN_EMPTY] = METRIC_REJECTED_EMPTY,
        [FRAME_BROKEN_TOO_LARGE] = METRIC_REJECTED_TOO_LARGE,
        [FRAME_BROKEN_HEAD] = METRIC_REJECTED_HEAD,
        [FRAME_BROKEN_HEADER_SHORT] = METRIC_REJECTED_HEADER_SHORT,
        [FRAME_BROKEN_VERSION] = METRIC_REJECTED_VERSION,
        [FRAME_BROKEN_MESSAGE_TYPE] = METRIC_REJECTED_MESSAGE_TYPE,
        [FRAME_BROKEN_NAME_LENGTH] = METRIC_REJECTED_NAME_LENGTH,
    };
    counter_add(&session->caller.worker->counters, metrics[broken], 1);
    log_rejected(session, frame_broken_str(broken));
    session_event(session, SESSION_EVENT_BROKEN);
}

static void reject_stranger(struct session *session, enum codec_protocol protocol)
{
    _Static_assert(METRIC_FOREIGN_UNKNOWN - METRIC_FOREIGN_FRAMED ==
                       CODEC_PROTOCOL_UNKNOWN - CODEC_PROTOCOL_FRAMED,
                   "a metric each, in the same order");
    counter_add(&session->caller.worker->counters,
                METRIC_FOREIGN_FRAMED + (enum metric)(protocol - CODEC_PROTOCOL_FRAMED), 1);
    log_rejected(session, codec_protocol_str(protocol));
    session_event(session, SESSION_EVENT_BROKEN);
}

static void speak(struct session *session, enum codec_protocol protocol)
{
    session->judged = true;
    session->caller.framing = protocol == CODEC_PROTOCOL_UNFRAMED   ? &framing_unframed
                              : protocol == CODEC_PROTOCOL_TTHEADER ? &framing_ttheader
                                                                    : &framing_framed;
    channel_speak(&session->channel, session->caller.framing);
}

/* Looks at a connection's first bytes: what it speaks. False: a stranger, sent away. */
static bool judge(struct session *session, const uint8_t *bytes, size_t n)
{
    const uint32_t accept = session->caller.listener->accept;
    const struct codec_sniff sniff = {
        .accepts_framed = accept & LISTENER_ACCEPT_FRAMED,
        .accepts_unframed = accept & LISTENER_ACCEPT_UNFRAMED,
        .accepts_ttheader = accept & LISTENER_ACCEPT_TTHEADER,
        .max_bytes = (uint32_t)session_bootstrap(session)->limits.frame_bytes,
    };
    enum codec_protocol protocol;
    size_t room = sizeof session->first - session->first_len;
    size_t take = n < room ? n : room;
    memcpy(session->first + session->first_len, bytes, take);
    session->first_len += (uint8_t)take;
    switch (codec_sniff(&sniff, session->first, session->first_len, &protocol)) {
    case CODEC_SNIFF_ACCEPTED:
        speak(session, protocol);
        return true;
    case CODEC_SNIFF_FOREIGN:
        reject_stranger(session, protocol);
        return false;
    default:
        return true;
    }
}

static void note_frame_clock(struct session *session)
{
    if (!channel_in_frame(&session->channel)) {
        session->frame_begun_ms = 0;
    } else if (!session->frame_begun_ms) {
        session->frame_begun_ms = worker_now_ms(session->caller.worker);
    }
}

static void begin_call(struct session *session, struct frame *frame, bool is_bad)
{
    session->frame_begun_ms = 0;
    if (!call_begin(&session->caller, frame, is_bad)) {
        session_event(session, SESSION_EVENT_ERROR);
        return;
    }
    if (is_bad && session->caller.framing == &framing_unframed) {
        session_event(session, SESSION_EVENT_BROKEN); /* nothing says where it ends */
    }
    session_weigh(session);
}

/* Whether what has come may be taken for frames, or for messages without one. Where all callers send frames,
 * fewer bytes are enough to see what is none. */
static bool is_known(const struct session *session)
{
    return session->judged || session->caller.listener->accept == LISTENER_ACCEPT_FRAMED;
}

void session_take_frames(struct session *session)
{
    struct frame frame;
    enum frame_verdict verdict = FRAME_READY;
    while (session_may_parse(session) && is_known(session) && verdict >= FRAME_READY &&
           channel_has_input(&session->channel)) {
        verdict = channel_next(&session->channel, &frame);
        if (verdict == FRAME_READY || verdict == FRAME_BAD) {
            begin_call(session, &frame, verdict == FRAME_BAD);
        } else if (verdict == FRAME_BROKEN) {
            reject(session, frame.broken);
        } else if (verdict == FRAME_NO_MEMORY) {
            session_event(session, SESSION_EVENT_ERROR);
        }
    }
    if (session->state != SESSION_STATE_CLOSED) {
        note_frame_clock(session);
    }
}

/* ---- what the channel reports ---------------------------------------------------------------- */

bool session_on_received(struct channel *channel, const uint8_t *bytes, size_t n)
{
    struct session *session = session_of(channel);
    session->last_byte_ms = worker_now_ms(session->caller.worker);
    return session->judged || judge(session, bytes, n);
}

void session_on_input(struct channel *channel)
{
    struct session *session = session_of(channel);
    session_take_frames(session);
    if (session->state == SESSION_STATE_OPEN) {
        session_arm(session); /* calls that have ended already have posted the event */
    } else if (session->state != SESSION_STATE_CLOSED) {
        caller_post(&session->caller);
    }
}

/* Reading has stopped with the pause that session_run() sets. */
void session_on_starved(struct channel *channel)
{
    caller_post(&session_of(channel)->caller);
}

void session_end_input(struct session *session)
{
    session->ended = false;
    if (channel_in_frame(&session->channel)) {
        counter_add(&session->caller.worker->counters, METRIC_REJECTED_CUT, 1);
    }
    session_event(session, SESSION_EVENT_END);
}

void session_on_ended(struct channel *channel, int status)
{
    struct session *session = session_of(channel);
    if (status != TRANSPORT_EOF) {
        session_event(session, SESSION_EVENT_ERROR);
    } else if (session_may_parse(session)) {
        session_end_input(session);
    } else {
        session->ended = true;
    }
}
