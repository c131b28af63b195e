/*
 * sidecar/data/loop/event.h: what is to be done next, embedded in what it is to be done to.
 *
 * An object of the call path never calls back into the one whose stack it stands on: it posts an event,
 * and the worker runs it before the libuv callback at hand returns (worker_leave()). So nothing changes
 * under a function's feet, and a connection that dies under 500 calls is a loop, not a recursion.
 *
 *     event_init(&call->event, call_run);         once
 *     event_post(&worker->events, &call->event);  any number of times: it is in the queue once
 *     event_retire(&worker->events, &call->event, call_free);
 *                                                 the object has ended: an event of it that waits is
 *                                                 dropped, and call_free() runs behind the drain
 *
 * Posting cannot fail, and takes no memory. One worker's; not thread-safe.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_EVENT_H
#define TSIDE_SIDECAR_DATA_LOOP_EVENT_H

#include "sidecar/base/list.h"

struct event;
typedef void (*event_fn)(struct event *event);

struct event {
    struct list node;
    event_fn run;
};

struct event_queue {
    struct list pending; /* first in, first out */
    struct list ended;   /* run when nothing is pending */
};

static inline void event_queue_init(struct event_queue *queue)
{
    list_init(&queue->pending);
    list_init(&queue->ended);
}

static inline void event_init(struct event *event, event_fn run)
{
    list_init(&event->node);
    event->run = run;
}

static inline bool event_waits(const struct event *event)
{
    return list_linked(&event->node);
}

/* Behind what waits already; where it waits itself it keeps its place. */
static inline void event_post(struct event_queue *queue, struct event *event)
{
    if (!event_waits(event)) {
        list_push_back(&queue->pending, &event->node);
    }
}

/* Takes it out of whatever list it waits in. */
static inline void event_cancel(struct event *event)
{
    list_remove(&event->node);
}

static inline void event_retire(struct event_queue *queue, struct event *event, event_fn free_fn)
{
    event_cancel(event);
    event->run = free_fn;
    list_push_back(&queue->ended, &event->node);
}

static inline bool event_queue_empty(const struct event_queue *queue)
{
    return list_empty(&queue->pending) && list_empty(&queue->ended);
}

/* Runs what waits in the list, and what is posted to it meanwhile, until it is empty. */
static inline void event_run_all(struct list *events)
{
    struct list *node;
    while ((node = list_first(events))) {
        list_remove(node);
        struct event *event = container_of(node, struct event, node);
        event->run(event);
    }
}

/* Runs what waits in the list now; what is put there meanwhile waits for the next time. */
static inline void event_run_present(struct list *events)
{
    struct list present;
    list_take_all(events, &present);
    event_run_all(&present);
}

/* Runs everything, then frees what has ended. */
static inline void event_drain(struct event_queue *queue)
{
    do {
        event_run_all(&queue->pending);
        event_run_all(&queue->ended);
    } while (!event_queue_empty(queue));
}

#endif
