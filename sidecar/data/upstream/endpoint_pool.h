/*
 * sidecar/data/upstream/endpoint_pool.h: one worker's connections to one endpoint (mode `pool`).
 *
 * One call in flight a connection; idle ones are taken last in, first out. Permits of the endpoint
 * are counted over all workers: when none is left, calls wait in a queue (pool.wait_ms,
 * pool.max_waiting). A worker that is about to park a connection while another one has callers waiting
 * closes it instead, so that the permit goes over.
 *
 * The pool exists while it has connections or callers waiting; it hangs in endpoint_state's slot of
 * its worker.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_ENDPOINT_POOL_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_ENDPOINT_POOL_H

#include "sidecar/data/upstream/upstream_conn.h"

/* After so many hand-overs in a row to callers of this worker, one goes to another that waits. */
#define POOL_LOCAL_TURNS_MAX 16

struct endpoint_pool {
    struct endpoint_state *endpoint; /* referenced */
    struct worker *worker;
    struct list idle;    /* upstream_conn.idle; the one used last in front */
    struct list waiters; /* call.waits, by call.queue_turn */
    uint64_t turn;       /* of the caller served last */
    struct list waits;   /* worker->pool_waits */
    struct upstream_conn *oneway;
    uint32_t conns;
    uint32_t local_turns;
    uint64_t last_tuple; /* of the last call: its route's hash; 0: none yet */
    uint64_t shared_ms;  /* when a call of another tuple came last; 0: never */
    uint64_t given;      /* idle connections given up in one go, to another worker's callers */
};

/* Finds a connection for the call: reports CONN (at once or later), or fails it. */
void endpoint_pool_get(struct call *call);
/* The call stops waiting, or gives up the connection that is being made for it. */
void endpoint_pool_leave(struct call *call);

/* A connection is free: to whoever waits, to the idle list, or out. */
void endpoint_pool_park(struct endpoint_pool *pool, struct upstream_conn *conn);
/* A connection has closed: its permit is given back, whoever waits is told. */
void endpoint_pool_closed(struct endpoint_pool *pool, struct upstream_conn *conn);
/* Another worker's callers wait while connections are idle here: lets one go. */
void endpoint_pool_give_idle(struct worker *worker);
/* Closes idle connections to endpoints that are in no snapshot any more. */
void endpoint_pool_drop_gone(struct worker *worker);
/* Permits may have come free elsewhere: serves who waits here. */
void endpoint_pool_retry(struct worker *worker);

#endif
