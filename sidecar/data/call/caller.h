/*
 * sidecar/data/call/caller.h: what a call must know of the connection that it came by.
 *
 * A session embeds it. Calls hang in its lists; one that has its outcome, or leaves, posts the event, and
 * the session looks after its calls when that runs. A call never calls its session.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_CALLER_H
#define TSIDE_SIDECAR_DATA_CALL_CALLER_H

#include "sidecar/data/io/framing.h"
#include "sidecar/data/loop/worker.h"
#include "sidecar/data/route/route.h"

/* Which replies the caller takes now. */
enum caller_flow {
    CALLER_FLOWS = 0, /* all */
    CALLER_HEAD_ONLY, /* that of the oldest call: the others wait for it */
    CALLER_STANDS     /* none: what it was sent is not taken */
};

struct caller {
    struct worker *worker;
    const struct bootstrap_listener *listener;
    const struct framing *framing; /* that its answers have */
    int64_t uid;                   /* the peer's, where the listener asks for it; -1: not known */
    struct event event;            /* run is the session's */
    struct list calls;             /* answers due, oldest first */
    struct list oneways;           /* under way, no answer due */
    uint32_t calls_len;            /* of both */
    uint32_t refused_calls;        /* of them: without a permit of limits.calls */
    struct list
        finished; /* struct call.waits: calls with an outcome, not answered yet, first come first */
    enum caller_flow flow;
    struct route_hint route; /* of its last call */
};

static inline void caller_init(struct caller *caller, struct worker *worker,
                               const struct bootstrap_listener *listener, event_fn run)
{
    *caller = (struct caller){
        .worker = worker, .listener = listener, .framing = &framing_framed, .uid = -1};
    event_init(&caller->event, run);
    list_init(&caller->calls);
    list_init(&caller->oneways);
    list_init(&caller->finished);
}

static inline void caller_post(struct caller *caller)
{
    worker_event_post(caller->worker, &caller->event);
}

#endif
