/*
 * sidecar/data/session/session.h: one caller's connection.
 *
 * Reads frames, begins calls, and passes their answers on in request order (or in any, where the
 * listener says so). session_fsm.h says what it does about each event. Lives on the worker that
 * accepted it; its memory goes when the channel has closed.
 *
 * Bytes, timers and its calls' outcomes only mark what is to be done and post the session's event;
 * session_run() then answers what may be answered, and decides about pausing, going on and closing.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_SESSION_SESSION_H
#define TSIDE_SIDECAR_DATA_SESSION_SESSION_H

#include "sidecar/data/call/call.h"
#include "sidecar/data/io/channel.h"
#include "sidecar/data/session/session_fsm.h"

#define SESSION_MAGIC       0x5e551011u
#define SESSION_UNSENT_HIGH ((size_t)256 * 1024) /* above: the caller is not read from */
#define SESSION_UNSENT_LOW  ((size_t)64 * 1024)  /* below: again */

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
    struct caller caller; /* its calls; its event is session_run() */
    struct channel channel;
    struct list all; /* worker->sessions */
    uint32_t pauses; /* enum session_pause bits */
    bool judged;     /* the first bytes were of our kind */
    bool go_on;      /* reading has begun again: what was kept is to be looked at */
    bool ended;      /* EOF was read, but what came before it may not be taken up yet */
    bool answered;   /* something was answered since the drain began */
    uint8_t first_len;
    uint8_t first[8];
    uint64_t last_byte_ms;    /* read or, of an answer, queued */
    uint64_t frame_begun_ms;  /* 0: no frame is under way */
    uint64_t paused_ms;       /* since when reading is paused */
    uint64_t unsent_since_ms; /* last progress while something is unsent; 0: nothing is */
    uint64_t unsent_seen;     /* what the kernel had taken by then */
    size_t held_bytes;        /* replies kept until their turn comes */
    struct timer_node timer;
};

/* Takes up a connection from this source (of the transport's type). False where memory or permits are short: then
 * the source is still the caller's. */
bool session_accept(struct worker *worker, const struct transport_ops *transport, void *source,
                    const struct bootstrap_listener *listener) __attribute__((warn_unused_result));

/* The one place that moves a session. */
void session_event(struct session *session, enum session_event event);

void session_check(const struct session *session);

#endif
