/*
 * sidecar/data/upstream/upstream_conn.h: one connection to a callee.
 *
 * Made by the pool for a lease, or for several that share it: ONEWAY messages, or calls of pool.mode mux
 * (upstream_mux.h). upstream_fsm.h says what it does about each event. It holds one permit of its endpoint's connections and one of the process's descriptors
 * from birth to close; its memory goes when the channel has closed. To leases it says everything as news.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_CONN_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_UPSTREAM_CONN_H

#include "sidecar/data/io/channel.h"
#include "sidecar/data/upstream/conn_life.h"
#include "sidecar/data/upstream/lease.h"
#include "sidecar/data/upstream/upstream_fsm.h"
#include "sidecar/data/upstream/upstream_kind.h"
#include "sidecar/data/upstream/upstream_mux.h"

#define UPSTREAM_MAGIC 0x09577ea3u

struct upstream_conn {
    uint32_t magic;
    enum upstream_state state;
    enum upstream_kind kind;
    struct worker *worker;
    struct pool *pool;
    struct channel channel;
    struct list all;     /* worker->upstreams */
    struct list in_pool; /* pool->idle, pool->shared or pool->mux */
    struct list in_idle; /* worker->idle_upstreams, while counted_idle */
    struct list leases;  /* struct lease.node, in the order in which they send; see mux->sent */
    struct upstream_mux *mux; /* of the last two kinds */
    struct event broken;      /* sending failed for want of memory: closes from the queue */
    bool shared;              /* several leases at once */
    bool retiring;            /* gets no lease any more: closed behind the last */
    bool counted_idle;        /* in endpoint->idle */
    bool tainted;             /* more came than was asked for: not to be used again */
    bool answered;            /* counted in endpoint->answered */
    bool reset;               /* to be closed with a reset */
    int32_t last_seqid;       /* of the message sent last; counts up; without mux */
    struct conn_life life;
    struct route_pool rules; /* the last lease's */
    const void *last_caller; /* shared: whose message it took last */
    uint64_t last_used_ms;
    uint64_t idle_since_ms;       /* while counted_idle */
    struct lease_failure failure; /* what its leases are to hear when it closes */
    struct timer_node timer;      /* connecting, then idle: no later than it is to be closed */
};

/* Begins connecting, for a call of this configuration; the permits, of the endpoint's connections and of the
 * process's descriptors, are the connection's from now on. 0, or an error where that fails at once: then they are
 * still the caller's. */
int upstream_conn_new(struct pool *pool, enum upstream_kind kind, const struct route_config *config,
                      struct upstream_conn **ret) __attribute__((warn_unused_result));
/* The failure of a lease for which that failed. */
void upstream_conn_refused(struct lease *lease, int status);

/* What the callee speaks, by these rules. */
const struct framing *upstream_framing(const struct route_pool *rules);
/* Whether it speaks what these rules say. */
static inline bool upstream_conn_speaks(const struct upstream_conn *conn,
                                        const struct route_pool *rules)
{
    return conn->channel.intake.framing == upstream_framing(rules);
}

/* A lease takes it; its configuration holds from now on. */
void upstream_conn_bind(struct upstream_conn *conn, struct lease *lease);
/* The lease holds nothing any more; the connection stays as it is. */
void upstream_conn_unbind(struct lease *lease);
/* A lease has left a connection that others may share: it is free, or has room for one that waits. */
void upstream_conn_left(struct upstream_conn *conn);
/* Reads again, unless it waits for buffers. */
void upstream_conn_read(struct upstream_conn *conn);

/* Whether these rules give it no lease any more. */
static inline bool upstream_conn_is_over(const struct upstream_conn *conn,
                                         const struct route_pool *rules)
{
    return conn_life_is_over(&conn->life, rules, worker_now_ms(conn->worker));
}

/* The one place that moves a connection. */
void upstream_conn_event(struct upstream_conn *conn, enum upstream_event event);

void upstream_conn_check(const struct upstream_conn *conn);

#endif
