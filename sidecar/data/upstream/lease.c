/*
 * sidecar/data/upstream/lease.c: how a lease begins, stands still and ends; see lease.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/lease.h"

#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_conn.h"

#include <assert.h>

void lease_init(struct lease *lease, struct upstream_request *request, event_fn run)
{
    *lease = (struct lease){.request = request};
    event_init(&lease->event, run);
    list_init(&lease->node);
}

const struct framing *lease_framing(const struct lease *lease)
{
    return lease->conn->channel.intake.framing;
}

/* ---- the end --------------------------------------------------------------------------------- */

static void leave_queue(struct lease *lease)
{
    struct pool *pool = lease->tenant->pool;
    pool_dequeue(pool, lease);
    lease->tenant = NULL;
    pool_left(pool);
}

/* Whether nothing of it has left, nor ever will: the connection is as good as before. */
static bool take_back(struct lease *lease)
{
    struct upstream_conn *conn = lease->conn;
    if (lease->state < LEASE_SENDING) {
        return true;
    }
    bool last = lease->out_end == channel_pushed_total(&conn->channel);
    bool answers = !conn->mux && channel_in_frame(&conn->channel);
    bool back = lease->state == LEASE_SENDING && last && !answers &&
                channel_take_back(&conn->channel, lease->out_start);
    if (back && conn->mux) {
        upstream_mux_takes_back(conn->mux);
    }
    return back;
}

/* What is queued of it goes out: others' messages may stand behind it, and its place is known. False without
 * memory. */
static bool leave_bytes(struct lease *lease)
{
    return lease->state == LEASE_SENT || lease->stuck || channel_own(&lease->conn->channel);
}

/* Its reply will come late, or never. Where replies come in order, what is sent behind it waits for it, too: the
 * connection gets no more calls. */
static void leave_unanswered(struct upstream_conn *conn, bool timed_out)
{
    struct upstream_mux *mux = conn->mux;
    mux->unanswered++;
    if (timed_out && mux->ordered) {
        conn->retiring = true;
    }
    if (timed_out && ++mux->silent == UPSTREAM_MUX_SILENT_MAX) {
        conn->retiring = true;
        counter_add(&conn->worker->counters, METRIC_UPSTREAM_SILENT, 1);
    }
}

static void leave_mux(struct lease *lease, bool timed_out)
{
    struct upstream_conn *conn = lease->conn;
    bool clean = take_back(lease);
    bool left = clean || leave_bytes(lease);
    if (!clean) {
        leave_unanswered(conn, timed_out);
    }
    upstream_conn_unbind(lease);
    if (left) {
        upstream_conn_left(conn);
    } else {
        upstream_conn_event(conn, UPSTREAM_EVENT_ABANDON);
    }
}

static void leave_conn(struct lease *lease)
{
    struct upstream_conn *conn = lease->conn;
    bool clean = take_back(lease);
    upstream_conn_unbind(lease);
    if (!clean) {
        upstream_conn_event(conn, UPSTREAM_EVENT_ABANDON);
    } else if (list_empty(&conn->leases)) {
        upstream_conn_event(conn, UPSTREAM_EVENT_FREE);
    }
}

void lease_end(struct lease *lease, bool timed_out)
{
    event_cancel(&lease->event);
    lease->news = 0;
    if (lease->state == LEASE_QUEUED) {
        leave_queue(lease);
    } else if (lease->state != LEASE_NONE && lease->conn->mux) {
        leave_mux(lease, timed_out);
    } else if (lease->state != LEASE_NONE) {
        leave_conn(lease);
    }
}

/* ---- back-pressure --------------------------------------------------------------------------- */

void lease_pause(struct lease *lease)
{
    if (lease->conn && !lease->conn->shared && lease->state >= LEASE_READY) {
        lease->paused = true;
        channel_read_stop(&lease->conn->channel);
    }
}

void lease_resume(struct lease *lease)
{
    if (lease->paused && lease->conn) {
        lease->paused = false;
        upstream_conn_read(lease->conn);
    }
}

bool lease_is_read(const struct lease *lease)
{
    return lease->conn && lease->conn->channel.reading;
}

bool lease_is_starved(const struct lease *lease)
{
    const struct upstream_conn *conn = lease->conn;
    const struct endpoint_state *endpoint = conn ? conn->pool->endpoint : NULL;
    return conn && lease->state == LEASE_SENT && !conn->answered &&
           atomic_load_explicit(&endpoint->answered, memory_order_relaxed) == 1 &&
           permit_taken(&endpoint->connections) > 1;
}

bool lease_is_reserved(const struct lease *lease)
{
    const struct pool *pool = lease->state == LEASE_QUEUED ? lease->tenant->pool : NULL;
    uint32_t limit = lease->request->route->config.pool.max_connections;
    return pool && permit_taken(&pool->endpoint->connections) < limit &&
           pool_share(pool, lease->tenant, limit) < limit;
}

void lease_check(const struct lease *lease)
{
    assert((lease->state == LEASE_NONE) == (lease->tenant == NULL));
    assert((lease->conn != NULL) == (lease->state >= LEASE_CONNECTING));
    assert(list_linked(&lease->node) == (lease->state != LEASE_NONE));
    assert(lease->state != LEASE_SENDING || lease->out_start < lease->out_end);
}
