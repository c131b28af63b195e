/*
 * sidecar/data/session/session.h: one caller's connection.
 *
 * Reads frames, begins calls, and passes their answers on in request order (or in any, where the
 * listener says so). session_fsm.h says what it does about each event. Lives on the worker that
 * accepted it; its memory goes in the handle's close callback.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_SESSION_SESSION_H
#define TSIDE_SIDECAR_DATA_SESSION_SESSION_H

#include "sidecar/data/call/call.h"
#include "sidecar/data/io/intake.h"
#include "sidecar/data/io/stream.h"
#include "sidecar/data/session/session_fsm.h"

#define SESSION_MAGIC       0x5e551011u
#define SESSION_UNSENT_HIGH (256 * 1024) /* above: the caller is not read from */
#define SESSION_UNSENT_LOW  (64 * 1024)  /* below: again */

/* Why reading is paused; several may hold at once. */
enum session_pause {
    SESSION_PAUSE_PIPELINE = 1, /* limits.pipelined_calls under way */
    SESSION_PAUSE_UNSENT = 2,   /* replies are not taken fast enough, or many wait for their turn */
    SESSION_PAUSE_BUFFERS = 4,  /* limits.buffered_bytes */
    SESSION_PAUSE_CALLS = 8     /* limits.calls: a refused call waits for its turn to be answered */
};

struct session {
    uint32_t magic;
    enum session_state state;
    struct worker *worker;
    const struct bootstrap_listener *listener;
    struct stream stream;
    struct intake intake;
    struct list all;        /* worker->sessions */
    struct list calls;      /* answers due, oldest first */
    struct list oneways;    /* under way, no answer due */
    uint32_t calls_len;     /* of both */
    uint32_t refused_calls; /* of them: without a permit of limits.calls */
    uint32_t pauses;        /* enum session_pause bits */
    bool reading;
    bool judged; /* the first bytes were of our kind */
    uint8_t first_len;
    uint8_t first[8];
    bool ended;               /* EOF was seen, but frames are still to be taken up */
    bool answered;            /* something was answered since the drain began */
    bool settling;            /* inside session_settle(): no recursion */
    bool doomed;              /* memory is short: closes in the next turn, from its timer */
    uint64_t last_byte_ms;    /* read or, of an answer, queued */
    uint64_t frame_begun_ms;  /* 0: no frame is under way */
    uint64_t paused_ms;       /* since when reading is paused */
    uint64_t unsent_since_ms; /* last progress while something is unsent; 0: nothing is */
    uint64_t unsent_seen;     /* what the kernel had taken by then */
    size_t held_bytes;        /* replies kept until their turn comes */
    struct worker_timer timer;
};

/* Takes up a connection. fd is taken, and closed at once where memory or permits are short. */
void session_accept(struct worker *worker, int fd, const struct bootstrap_listener *listener);

void session_event(struct session *session, enum session_event event);

/* The call has its outcome (HELD): it goes out with all that waited for it, or is kept until its turn
 * comes. */
void session_answered(struct session *session, struct call *call);
/* A call has left the session's lists. */
void session_call_left(struct session *session);
/* After calls were begun or ended: pauses, resumes or settles. */
void session_settle(struct session *session);

void session_on_timer(struct session *session);

/* Whether the reply to this call may be read from its upstream now. The call at the head may go on
 * while others are held behind it: it is what they wait for. */
bool session_takes_reply(const struct session *session, const struct call *call);

#endif
