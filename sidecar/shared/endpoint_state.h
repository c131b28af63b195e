/*
 * sidecar/shared/endpoint_state.h: the state of one endpoint on this host, for all workers.
 *
 * One per (service, cluster, address), found by the control thread when a snapshot is compiled
 * (hook endpoint_attach of discovery/store/store.h) and kept alive by a count: the snapshot's, and
 * one of each worker that still has connections or a target set with it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_ENDPOINT_STATE_H
#define TSIDE_SIDECAR_SHARED_ENDPOINT_STATE_H

#include "lb/breaker.h"
#include "lb/ejection.h"
#include "sidecar/shared/permit.h"

#include <netinet/in.h>
#include <sys/socket.h>

struct endpoint_state {
    _Atomic uint32_t refs;
    _Atomic bool gone; /* in no snapshot any more: nothing needs to be kept for it */
    char *address;     /* "10.0.0.1:8888" */
    uint64_t
        born_ms; /* when it was first seen, on the loops' clock; as of the next, the control thread's */
    uint64_t
        born_in; /* the generation that was in force then; 0: none, the process had just begun */
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } addr;

    struct permits connections;       /* open or opening, over all workers */
    struct permits idle;              /* kept idle, over all workers */
    struct permits waiting;           /* calls that wait for a connection, over all workers */
    _Atomic uint64_t waiting_workers; /* bit per worker that has such calls */
    _Atomic uint32_t answered;        /* open connections that have brought a reply */
    _Atomic bool has_answered;        /* any connection has, ever */
    _Atomic uint32_t inflight;        /* calls sent or about to be, over all workers */
    _Atomic uint64_t ewma;            /* packed: see endpoint_ewma_* */
    _Atomic uint64_t health;          /* a word of lb/ejection.h */
    _Atomic uint32_t failures;        /* in a row */

    /* Slot i belongs to worker i and is touched by no one else: its pool for this endpoint. */
    uint32_t workers;
    void *pool_of_worker[];
};

/* host is an IP literal. NULL when out of memory or host is none. Counted 1. */
struct endpoint_state *endpoint_state_new(const char *address, const char *host, uint16_t port,
                                          uint32_t workers) __attribute__((warn_unused_result));
void endpoint_state_ref(struct endpoint_state *state);
struct endpoint_state *endpoint_state_unref(struct endpoint_state *state); /* NULL */

/* Peak EWMA of the latency in microseconds, as of its last sample; 0: never answered. */
double endpoint_ewma_us(const struct endpoint_state *state);
/* The same as balancing weighs it: faded by the time since that sample, so that a barred endpoint
 * is tried again. */
double endpoint_ewma_now_us(const struct endpoint_state *state, uint64_t now_ms);
/* Records a sample (of a failure: what lb_failure_sample() made of it). Two workers that collide
 * lose one of the samples, never the value. */
void endpoint_ewma_record(struct endpoint_state *state, double sample_us, uint64_t now_ms);

/* Ejection. Any thread; what it takes to be ejected is up to who asks (data/route/ejection.h). */
static inline uint64_t endpoint_health(const struct endpoint_state *state)
{
    return atomic_load_explicit(&state->health, memory_order_relaxed);
}
/* False where the word has changed since it was read. */
bool endpoint_health_change(struct endpoint_state *state, uint64_t seen, uint64_t next)
    __attribute__((warn_unused_result));
/* Takes the slot of a trial of one that is ejected, where its time is over and nobody has it. */
bool endpoint_trial_take(struct endpoint_state *state, uint64_t now_ms)
    __attribute__((warn_unused_result));
/* Gives it back: the next call may be the trial. */
void endpoint_trial_give(struct endpoint_state *state);

#endif
