/*
 * sidecar/data/upstream/pool.h: one worker's connections to one endpoint.
 *
 *     pool.c            the pool itself, and which kind of connection a lease gets
 *     pool_queue.c      permits, and who waits for one: fairness
 *     pool_exclusive.c  connections with one lease at a time; idle ones are taken last in, first out
 *     pool_shared.c     connections with several leases: ONEWAY messages
 *     pool_mux.c        connections with several leases: calls of pool.mode mux, or of pipeline
 *     pool_warm.c       connections to endpoints that are new
 *     conn_life.h       for how long one of them serves: pool.mode short, pool.max_calls, pool.max_age_ms
 *
 * Permits of the endpoint are counted over all workers. Where none is left, leases wait in a queue
 * (pool.wait_ms, pool.max_waiting). A worker that is about to keep a connection idle while another one has
 * leases waiting closes it instead, so that the permit goes over.
 *
 * Descriptors of the process are counted over all workers and endpoints. Where none is left for a connection,
 * the worker's idle one that was used longest ago is closed for it, whichever its endpoint; where there is
 * none, connecting fails, and the other workers let some of theirs go: the next one finds a descriptor.
 *
 * The pool exists while it has connections or leases waiting; it hangs in endpoint_state's slot of its
 * worker, and is freed behind the events.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_POOL_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_POOL_H

#include "discovery/rules/rule.h"
#include "sidecar/data/route/target_set.h"
#include "sidecar/data/upstream/lease.h"
#include "sidecar/data/upstream/upstream_kind.h"
#include "sidecar/shared/endpoint_state.h"

struct route_config;

/* After so many hand-overs in a row to leases of this worker, one goes to another that waits. */
#define POOL_LOCAL_TURNS_MAX 16
/* Tuples that are told apart at one endpoint; those beyond share the last place. */
#define POOL_TENANTS_MAX    64
#define POOL_TENANT_BUCKETS 16
/* Idle connections above pool.max_idle are kept for so long: callers that pause together, as they do behind
 * one loop or one clock, do not make them anew each time. Where pool.max_idle is 0, none is. */
#define POOL_SURPLUS_MS 1000
/* How long a tuple's last call keeps a part of the permits free for it. */
#define POOL_RESERVE_MS 10000
/* Connections that are made ahead when a cluster gets new endpoints, by each worker. */
#define POOL_WARM_MAX 16
/* Idle connections that a worker closes for another one that has no descriptor left, at each asking. */
#define POOL_DESCRIPTORS_GIVEN 16
/* A connection that calls share is full, so that another one is made while permits are to be had, above so many
 * calls or bytes of their requests. Where replies come in order a call waits for all in front of it. */
#define POOL_MUX_CALLS      128
#define POOL_PIPELINE_CALLS 8
#define POOL_MUX_BYTES      ((uint64_t)256 * 1024)

/* One tuple's share of a pool. */
struct pool_tenant {
    struct pool *pool;
    struct pool_tenant *next; /* in its bucket */
    uint64_t tuple;   /* its route's hash: after a change of rules its route is another one */
    uint32_t held;    /* leases with a connection, or for which one is being made */
    uint32_t queued;  /* leases that wait */
    uint64_t last_ms; /* when it last asked */
};

struct pool {
    struct endpoint_state *endpoint; /* referenced */
    struct worker *worker;
    struct list idle;    /* upstream_conn.in_pool; the one used last in front */
    struct list shared;  /* upstream_conn.in_pool: for ONEWAY messages */
    struct list mux;     /* upstream_conn.in_pool: those that calls share; the oldest in front */
    struct list waiters; /* lease.node, by lease.turn */
    struct list waits;   /* worker->pool_waits */
    struct event tidy;   /* frees the pool where it is not used any more */
    struct event share;  /* places on shared connections are there for those that wait */
    uint64_t turn;       /* of the lease served last */
    uint32_t conns;
    uint32_t local_turns;
    uint64_t given; /* connections given up in one go, to another worker's leases */
    uint32_t tenants_len;
    struct pool_tenant *tenants[POOL_TENANT_BUCKETS]; /* by tuple */
};

/* ---- pool.c ---------------------------------------------------------------------------------- */

/* The worker's pool for the endpoint; NULL without memory. It goes behind the events where nothing comes to it. */
struct pool *pool_get(struct worker *worker, struct endpoint_state *endpoint);
/* Which kind of connection calls of this mode have. */
enum upstream_kind pool_kind(enum disc_enum mode);
/* A descriptor of the process for one more connection, where there is one. */
bool pool_take_descriptor(struct worker *worker) __attribute__((warn_unused_result));
/* After a connection or a lease has left: frees the pool behind the events where it was the last. */
void pool_left(struct pool *pool);

/* Mail: permits may have come free elsewhere. */
void pool_serve_all(struct worker *worker);
/* Mail: another worker's leases wait while connections are idle here: lets as many go as wait. */
void pool_give_idle(struct worker *worker);
/* Mail: another worker has no descriptor for a connection: lets some of the idle ones go. */
void pool_give_descriptors(struct worker *worker);
/* Closes idle connections to endpoints that are in no snapshot any more. */
void pool_drop_gone(struct worker *worker);

/* The connection serves no lease now: to one that waits, to the idle list, or out. */
void pool_park(struct pool *pool, struct upstream_conn *conn);
/* A place on a connection that calls share has come free: to those that wait for one, before the callback returns. */
static inline void pool_has_room(struct pool *pool)
{
    if (!list_empty(&pool->waiters)) {
        worker_event_post(pool->worker, &pool->share);
    }
}
/* It has closed: its permit is given back, and what waits is served. */
void pool_closed(struct pool *pool, struct upstream_conn *conn);

/* ---- pool_queue.c ---------------------------------------------------------------------------- */

/* The tenant of this tuple, noted as calling now. NULL without memory. */
struct pool_tenant *pool_tenant_of(struct pool *pool, uint64_t tuple);
void pool_tenants_free(struct pool *pool);
/* How many of the endpoint's connections this tenant may have open. The last quarter is not for one that
 * has a quarter's worth of leases (as many on the other workers assumed as here) while another one, that has
 * less, has called lately: then there is room for it. */
uint32_t pool_share(const struct pool *pool, const struct pool_tenant *tenant, uint32_t limit);
bool pool_take_permit(const struct pool *pool, const struct lease *lease);
void pool_give_permit(struct pool *pool);
/* Whether the lease may use a connection that is there already. */
bool pool_may_use(const struct pool *pool, const struct lease *lease);

/* Tenants take turns: the n-th lease of a tenant that waits stands behind the others' first n. So a caller
 * that pipelines a thousand calls, or opens a thousand connections, delays itself. False where pool.wait_ms
 * or pool.max_waiting forbid it: the failure is set. */
bool pool_enqueue(struct pool *pool, struct lease *lease) __attribute__((warn_unused_result));
void pool_dequeue(struct pool *pool, struct lease *lease);
/* The first of the queue that may have a permit (taken) or NULL; the same of one that may have a connection
 * that comes free. One that may not does not hold up those close behind it. */
struct lease *pool_next_for_permit(const struct pool *pool);
struct lease *pool_next_for_conn(const struct pool *pool);
/* The same of one that may share a connection that is there. */
struct lease *pool_next_to_share(const struct pool *pool);

/* Workers that wait, this one not among them: one bit each. */
uint64_t pool_others_waiting(const struct pool *pool);
void pool_wake_others(const struct pool *pool);
/* Idle connections hold permits, too: another worker's are asked for. */
void pool_want_idle(const struct pool *pool);

/* ---- pool_warm.c ----------------------------------------------------------------------------- */

/* set->to_warm: a call of this configuration, which goes to `target`, meets endpoints that are new. */
void pool_warm(struct worker *worker, struct target_set *set, uint32_t target,
               const struct route_config *config);

/* ---- pool_exclusive.c, pool_shared.c, pool_mux.c --------------------------------------------- */

/* A connection that is there for the lease; NULL: none may be used. */
struct upstream_conn *pool_exclusive_find(struct pool *pool, const struct lease *lease);
struct upstream_conn *pool_shared_find(struct pool *pool, const struct lease *lease);
/* The same where no permit is left for one of its own: one that others use, and may be busy with. */
struct upstream_conn *pool_shared_any(struct pool *pool, const struct lease *lease);
/* Whether the lease is a call that may share its connection. */
bool pool_mux_wants(const struct lease *lease);
/* Of the connections for such calls one that is not full. */
struct upstream_conn *pool_mux_find(const struct pool *pool, const struct lease *lease);
/* The one with fewest calls, full or not, that may carry one more. */
struct upstream_conn *pool_mux_any(const struct pool *pool, const struct lease *lease);
/* Keeps it for later; false where limits or another worker's leases forbid it. */
bool pool_keep_idle(struct pool *pool, struct upstream_conn *conn);
/* Its timer has run out, which may have been set before it served another call: whether it stays. */
bool pool_keep_longer(struct pool *pool, struct upstream_conn *conn);
void pool_leave_idle(struct pool *pool, struct upstream_conn *conn);
/* A connection that serves nothing, but whose permit is wanted: the one used longest ago. NULL: none. */
struct upstream_conn *pool_spare(const struct pool *pool);

void pool_check(const struct pool *pool);

#endif
