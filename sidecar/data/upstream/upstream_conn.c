/*
 * sidecar/data/upstream/upstream_conn.c: the driver of a connection to a callee; see upstream_conn.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_conn.h"

#include "sidecar/data/route/route.h"
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_reply.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

static struct upstream_conn *conn_of(struct channel *channel)
{
    struct upstream_conn *conn = container_of(channel, struct upstream_conn, channel);
    assert(conn->magic == UPSTREAM_MAGIC);
    return conn;
}

/* ---- leases ---------------------------------------------------------------------------------- */

void upstream_conn_bind(struct upstream_conn *conn, struct lease *lease)
{
    list_push_back(&conn->leases, &lease->node);
    if (conn->mux) {
        upstream_mux_enter(conn->mux, lease);
    }
    lease->conn = conn;
    lease->tenant->held++;
    lease->state = LEASE_CONNECTING;
    lease->reused = conn->state != UPSTREAM_STATE_CONNECTING;
    conn->rules = lease->request->route->config.pool;
    conn->life.calls++;
    conn->last_caller = lease->request->caller;
    conn->last_used_ms = worker_now_ms(conn->worker);
}

void upstream_conn_unbind(struct lease *lease)
{
    assert(lease->conn && lease->tenant);
    list_remove(&lease->node);
    if (lease->conn->mux) {
        upstream_mux_leave(lease->conn->mux, lease);
    }
    lease->conn = NULL;
    lease->tenant->held--;
    lease->tenant = NULL;
    lease->state = LEASE_NONE;
}

static void say_ready(struct upstream_conn *conn, struct lease *lease)
{
    lease->state = LEASE_READY;
    if (conn->mux) {
        upstream_mux_number(conn->mux, lease);
    } else {
        lease->seqid = conn->last_seqid = conn->last_seqid < INT32_MAX ? conn->last_seqid + 1 : 1;
    }
    lease_post(lease, conn->worker, LEASE_NEWS_READY);
}

static void fail_lease(struct upstream_conn *conn, struct lease *lease,
                       struct lease_failure failure)
{
    failure.unsent = !upstream_lease_is_taken(conn, lease);
    if (failure.unsent && conn->mux && failure.fault == LEASE_FAULT_BAD_REPLY) {
        failure.fault = LEASE_FAULT_LOST; /* the bad reply is another's */
        failure.reason = REASON_UPSTREAM_RESET;
    }
    upstream_conn_unbind(lease);
    lease->news &= (uint8_t)~LEASE_NEWS_READY; /* that may not have been heard yet */
    lease->failure = failure;
    lease_post(lease, conn->worker, LEASE_NEWS_FAILED);
}

/* ---- sending --------------------------------------------------------------------------------- */

static void on_broken(struct event *event)
{
    struct upstream_conn *conn = container_of(event, struct upstream_conn, broken);
    conn->failure.cause = transport_strerror(-ENOMEM);
    upstream_conn_event(conn, UPSTREAM_EVENT_LOST);
}

void lease_break(struct lease *lease)
{
    lease->state = LEASE_SENDING;
    lease->out_start = channel_pushed_total(&lease->conn->channel);
    lease->out_end = UINT64_MAX; /* never sent */
    worker_event_post(lease->conn->worker, &lease->conn->broken);
}

void lease_send(struct lease *lease, const struct iovec iov[], size_t n, uint32_t len)
{
    struct upstream_conn *conn = lease->conn;
    lease->state = LEASE_SENDING;
    lease->out_start = channel_pushed_total(&conn->channel);
    lease->lent = !lease->request->message.block;
    outq_seal(&conn->channel.out);
    if (!channel_push_iov(&conn->channel, iov, n, len)) {
        lease_break(lease);
        return;
    }
    lease->out_end = channel_pushed_total(&conn->channel);
    if (conn->mux) {
        upstream_mux_sends(conn->mux, lease);
    }
}

/* One for ONEWAY messages that has sent everything holds its permit without use. */
static void sent_all(struct upstream_conn *conn)
{
    if (conn->state == UPSTREAM_STATE_SHARED && list_empty(&conn->leases)) {
        upstream_conn_event(conn, UPSTREAM_EVENT_FREE);
    }
}

static void on_progress(struct channel *channel)
{
    struct upstream_conn *conn = conn_of(channel);
    struct list *node = conn->leases.next, *next;
    for (; node != &conn->leases; node = next) {
        struct lease *lease = lease_at(node);
        next = node->next;
        if (lease->state != LEASE_SENDING || !upstream_lease_is_sent(conn, lease)) {
            break;
        }
        lease->state = LEASE_SENT;
        lease_post(lease, conn->worker, LEASE_NEWS_SENT);
        if (lease->request->oneway) {
            upstream_conn_unbind(lease);
        } else if (conn->mux) {
            list_remove(node);
            list_push_back(&conn->mux->sent, node);
        }
    }
    sent_all(conn);
}

/* Makes the request's bytes the call's own and lets the queue send them from there, so that they are copied
 * once and can be sent again. False without memory: the queue copies what is left. */
static bool pin_lease(struct upstream_conn *conn, struct lease *lease, struct outq_cursor *cursor)
{
    struct message *message = &lease->request->message;
    if (!message_own(message, &conn->worker->buffers)) {
        message->body = NULL; /* borrowed bytes end with the turn */
        return false;
    }
    /* Once, and in this turn: the next one may lend the same place to another message. */
    const struct outq_move move = {
        .from = message->lent, .to = message->body, .len = lease->lent ? message->len : 0};
    outq_rebase(&conn->channel.out, cursor, lease->out_end, &move);
    lease->lent = false;
    return true;
}

/* Those that got stuck before were seen to then; they stand in front, and there may be thousands. */
static struct list *first_unstuck(struct upstream_conn *conn)
{
    struct list *n = &conn->leases;
    while (n->prev != &conn->leases && !lease_at(n->prev)->stuck) {
        n = n->prev;
    }
    return n;
}

/* Of a connection whose leases may end before their bytes are sent: the queue copies them, for those that
 * wrote them may be gone by then. */
static void keep_requests(struct upstream_conn *conn)
{
    for (struct list *n = first_unstuck(conn); n != &conn->leases; n = n->next) {
        struct lease *lease = lease_at(n);
        if (lease->state == LEASE_SENDING && !upstream_lease_is_sent(conn, lease)) {
            struct message *message = &lease->request->message;
            if (!message_own(message, &conn->worker->buffers)) {
                message->body = NULL; /* borrowed bytes end with the turn */
            }
            lease->lent = false;
            lease->stuck = true;
            lease_post(lease, conn->worker, LEASE_NEWS_STUCK);
        }
    }
}

static bool on_pin(struct channel *channel)
{
    struct upstream_conn *conn = conn_of(channel);
    struct list *n = first_unstuck(conn);
    bool pinned = true;
    if (conn->mux) {
        keep_requests(conn);
        return false;
    }
    if (n == &conn->leases) {
        return true;
    }
    struct outq_cursor cursor = outq_find(&channel->out, lease_at(n)->out_start);
    for (; n != &conn->leases; n = n->next) {
        struct lease *lease = lease_at(n);
        if (lease->state == LEASE_SENDING && !upstream_lease_is_sent(conn, lease)) {
            pinned = pin_lease(conn, lease, &cursor) && pinned;
            lease->stuck = true;
            lease_post(lease, conn->worker, LEASE_NEWS_STUCK);
        }
    }
    return pinned;
}

/* ---- replies --------------------------------------------------------------------------------- */

void upstream_conn_left(struct upstream_conn *conn)
{
    if (conn->mux->leases == 0) {
        upstream_conn_event(conn, UPSTREAM_EVENT_FREE);
    } else {
        pool_has_room(conn->pool);
    }
}

/* Replies in whatever order; each finds its lease. */
static void take_frames(struct upstream_conn *conn)
{
    while (upstream_reply_take(conn)) {
    }
    if (conn->state == UPSTREAM_STATE_MUX) {
        upstream_conn_read(conn); /* it may have starved */
    }
}

void upstream_conn_read(struct upstream_conn *conn)
{
    if (!event_waits(&conn->channel.intake.starve)) {
        channel_read_start(&conn->channel);
    }
}

/* ---- what the channel reports ---------------------------------------------------------------- */

static bool on_received(struct channel *channel, const uint8_t *bytes, size_t n)
{
    struct upstream_conn *conn = conn_of(channel);
    (void)bytes;
    if (conn->state == UPSTREAM_STATE_BUSY || conn->state == UPSTREAM_STATE_MUX) {
        return true;
    }
    if (conn->state ==
        UPSTREAM_STATE_SHARED) { /* answers to ONEWAY messages: drained and dropped */
        counter_add(&conn->worker->counters, METRIC_ONEWAY_ANSWER_BYTES, n);
    } else {
        upstream_conn_event(conn, UPSTREAM_EVENT_UNASKED);
    }
    return false;
}

static void on_input(struct channel *channel)
{
    struct upstream_conn *conn = conn_of(channel);
    struct lease *lease = upstream_first_lease(conn);
    if (conn->state == UPSTREAM_STATE_MUX) {
        take_frames(conn);
    } else if (conn->state == UPSTREAM_STATE_BUSY) {
        (void)upstream_reply_take(conn);
        if (conn->state == UPSTREAM_STATE_BUSY && upstream_first_lease(conn) == lease &&
            !lease->paused) {
            channel_read_start(channel); /* it may have starved */
        }
    }
}

static void on_ended(struct channel *channel, int status)
{
    struct upstream_conn *conn = conn_of(channel);
    conn->failure.cause = transport_strerror(status);
    upstream_conn_event(conn, UPSTREAM_EVENT_LOST);
}

static void on_connected(struct channel *channel, int status)
{
    struct upstream_conn *conn = conn_of(channel);
    if (status == 0 && channel_is_self(channel)) {
        conn->reset = true;
        status = -ECONNREFUSED;
    }
    if (status < 0) {
        conn->failure.reason = REASON_CONNECT_FAILED;
        conn->failure.cause = transport_strerror(status);
        upstream_conn_event(conn, UPSTREAM_EVENT_FAILED);
        return;
    }
    worker_timer_cancel(conn->worker, &conn->timer);
    upstream_conn_event(conn, conn->mux                   ? UPSTREAM_EVENT_CONNECTED_MUX
                              : conn->shared              ? UPSTREAM_EVENT_CONNECTED_SHARED
                              : list_empty(&conn->leases) ? UPSTREAM_EVENT_CONNECTED_SPARE
                                                          : UPSTREAM_EVENT_CONNECTED);
    sent_all(conn); /* all of a shared one's may have ended meanwhile */
    if (conn->mux) {
        upstream_conn_left(conn);
    }
}

static void on_closed(struct channel *channel)
{
    struct upstream_conn *conn = container_of(channel, struct upstream_conn, channel);
    conn->magic = 0;
    free(conn->mux);
    free(conn);
}

static const struct channel_ops channel_ops = {
    .received = on_received,
    .input = on_input,
    .ended = on_ended,
    .starved = channel_read_starve,
    .progress = on_progress,
    .pin = on_pin,
    .connected = on_connected,
    .closed = on_closed,
};

static void on_timer(struct timer_node *node)
{
    struct upstream_conn *conn = container_of(node, struct upstream_conn, timer);
    assert(conn->magic == UPSTREAM_MAGIC);
    if (conn->state == UPSTREAM_STATE_CONNECTING) {
        conn->failure.reason = REASON_CONNECT_TIMEOUT;
        conn->failure.cause = transport_strerror(-ETIMEDOUT);
        upstream_conn_event(conn, UPSTREAM_EVENT_FAILED);
        return;
    }
    if (!pool_keep_longer(conn->pool, conn)) {
        bool over = upstream_conn_is_over(conn, &conn->rules);
        counter_add(&conn->worker->counters,
                    over ? METRIC_UPSTREAM_RETIRED : METRIC_UPSTREAM_IDLE_CLOSED, 1);
        upstream_conn_event(conn, UPSTREAM_EVENT_EXPIRED);
    }
}

/* ---- birth ----------------------------------------------------------------------------------- */

void upstream_conn_refused(struct lease *lease, int status)
{
    lease->failure = (struct lease_failure){.fault = LEASE_FAULT_NO_CONNECTION,
                                            .reason = REASON_CONNECT_FAILED,
                                            .unsent = true,
                                            .detail = "connecting failed",
                                            .cause = transport_strerror(status)};
}

/* A connection that is not opened yet. NULL without memory. */
static struct upstream_conn *alloc(struct pool *pool, enum upstream_kind kind,
                                   const struct framing *framing)
{
    struct worker *worker = pool->worker;
    struct upstream_conn *conn = calloc(1, sizeof *conn);
    if (!conn) {
        return NULL;
    }
    conn->magic = UPSTREAM_MAGIC;
    conn->worker = worker;
    conn->pool = pool;
    conn->kind = kind;
    conn->shared = kind != UPSTREAM_KIND_ONE;
    conn->timer.fire = on_timer;
    conn->life = (struct conn_life){.born_ms = worker_now_ms(worker),
                                    .early = (uint32_t)lb_random_next(&worker->random)};
    /* From another number on each: a reply that a callee sends on the wrong connection does not match. */
    conn->last_seqid = (int32_t)(lb_random_next(&worker->random) >> 34);
    if (kind == UPSTREAM_KIND_MUX || kind == UPSTREAM_KIND_PIPELINE) {
        conn->mux = upstream_mux_new(conn->last_seqid, kind == UPSTREAM_KIND_PIPELINE);
        if (!conn->mux) {
            free(conn);
            return NULL;
        }
    }
    conn->failure.detail = "the connection was lost before the reply was complete";
    list_init(&conn->all);
    list_init(&conn->in_pool);
    list_init(&conn->in_idle);
    list_init(&conn->leases);
    event_init(&conn->broken, on_broken);
    channel_init(&conn->channel, worker, &channel_ops, worker->dial, framing, CODEC_SCAN_REPLY);
    return conn;
}

const struct framing *upstream_framing(const struct route_pool *rules)
{
    switch (rules->framing) {
    case DISC_POOL_FRAMING_UNFRAMED:
        return &framing_unframed;
    case DISC_POOL_FRAMING_TTHEADER:
    case DISC_POOL_FRAMING_TTHEADER_FRAMED:
        return &framing_ttheader;
    default:
        return &framing_framed;
    }
}

int upstream_conn_new(struct pool *pool, enum upstream_kind kind, const struct route_config *config,
                      struct upstream_conn **ret)
{
    struct worker *worker = pool->worker;
    struct upstream_conn *conn = alloc(pool, kind, upstream_framing(&config->pool));
    int r = conn ? channel_connect(&conn->channel, &pool->endpoint->addr.any) : -ENOMEM;
    if (r) {
        return r;
    }
    pool->conns++;
    list_push_back(&worker->upstreams, &conn->all);
    if (conn->shared) {
        list_push_back(conn->mux ? &pool->mux : &pool->shared, &conn->in_pool);
    }
    counter_add(&worker->counters, METRIC_UPSTREAM_CONNECTIONS, 1);
    counter_add(&worker->counters, METRIC_UPSTREAM_CREATED, 1);
    worker_timer_set(worker, &conn->timer, worker_now_ms(worker) + config->connect_timeout_ms);
    *ret = conn;
    return 0;
}

/* ---- states ---------------------------------------------------------------------------------- */

static void start(struct upstream_conn *conn)
{
    channel_read_start(&conn->channel);
    say_ready(conn, upstream_first_lease(conn));
}

/* Those that gathered while it was being connected, or the one that came last: they stand behind those that
 * are being sent. */
static void start_shared(struct upstream_conn *conn)
{
    struct list *n = &conn->leases;
    channel_read_start(&conn->channel);
    while (n->prev != &conn->leases && lease_at(n->prev)->state == LEASE_CONNECTING) {
        n = n->prev;
    }
    for (; n != &conn->leases; n = n->next) {
        say_ready(conn, lease_at(n));
    }
}

/* An idle connection that dies is to be noticed: it is read from. */
static void park(struct upstream_conn *conn)
{
    channel_read_start(&conn->channel);
    pool_park(conn->pool, conn);
}

static void fail_leases(struct upstream_conn *conn, enum lease_fault fault)
{
    struct list *node;
    conn->failure.fault = (uint8_t)fault;
    while (conn->mux && (node = list_first(&conn->mux->sent))) {
        fail_lease(conn, lease_at(node), conn->failure);
    }
    while ((node = list_first(&conn->leases))) {
        fail_lease(conn, lease_at(node), conn->failure);
    }
}

static void fail_unconnected(struct upstream_conn *conn)
{
    bool late = conn->failure.reason == REASON_CONNECT_TIMEOUT;
    struct lease *lease = upstream_first_lease(conn);
    counter_add(&conn->worker->counters, METRIC_UPSTREAM_FAILED, 1);
    conn->failure.detail =
        late ? "not connected within connect_timeout_ms %lld" : "connecting failed";
    if (late) {
        conn->failure.cause = NULL;
        conn->failure.number = lease ? lease->request->route->config.connect_timeout_ms : 0;
    }
    fail_leases(conn, LEASE_FAULT_NO_CONNECTION);
}

static void fail_lost(struct upstream_conn *conn)
{
    conn->failure.reason = REASON_UPSTREAM_RESET;
    fail_leases(conn, LEASE_FAULT_LOST);
}

static void close_conn(struct upstream_conn *conn)
{
    struct worker *worker = conn->worker;
    struct pool *pool = conn->pool;
    worker_timer_cancel(worker, &conn->timer);
    event_cancel(&conn->broken);
    channel_close(&conn->channel, conn->reset);
    permit_give(&worker->env->upstreams, 1); /* the descriptor is closed */
    list_remove(&conn->all);
    counter_sub(&worker->counters, METRIC_UPSTREAM_CONNECTIONS, 1);
    if (conn->answered) {
        atomic_fetch_sub_explicit(&pool->endpoint->answered, 1, memory_order_relaxed);
    }
    conn->pool = NULL;
    pool_closed(pool, conn);
}

void upstream_conn_event(struct upstream_conn *conn, enum upstream_event event)
{
    struct fsm_step step = upstream_fsm_step(conn->state, event);
    conn->state = step.next;
    switch ((enum upstream_action)step.action) {
    case UPSTREAM_ACTION_START:
        start(conn);
        break;
    case UPSTREAM_ACTION_START_SHARED:
        start_shared(conn);
        break;
    case UPSTREAM_ACTION_PARK:
        park(conn);
        break;
    case UPSTREAM_ACTION_CLOSE_FAIL:
        fail_unconnected(conn);
        close_conn(conn);
        break;
    case UPSTREAM_ACTION_CLOSE_LOST:
        fail_lost(conn);
        close_conn(conn);
        break;
    case UPSTREAM_ACTION_CLOSE_BAD:
        fail_leases(conn, LEASE_FAULT_BAD_REPLY);
        close_conn(conn);
        break;
    case UPSTREAM_ACTION_CLOSE:
        close_conn(conn);
        break;
    case UPSTREAM_ACTION_NONE:
    case UPSTREAM_ACTION_MAX:
        break;
    }
}

static uint32_t check_leases(const struct upstream_conn *conn, const struct list *leases)
{
    uint32_t n = 0;
    for (struct list *node = leases->next; node != leases; node = node->next, n++) {
        const struct lease *lease = lease_at(node);
        lease_check(lease);
        assert(lease->conn == conn && lease->tenant->pool == conn->pool);
        assert(!conn->mux || (lease->state == LEASE_SENT) == (leases == &conn->mux->sent));
    }
    return n;
}

void upstream_conn_check(const struct upstream_conn *conn)
{
    assert(conn->magic == UPSTREAM_MAGIC);
    channel_check(&conn->channel);
    uint32_t leases = check_leases(conn, &conn->leases);
    if (conn->mux) {
        leases += check_leases(conn, &conn->mux->sent);
        upstream_mux_check(conn->mux);
        assert(leases == conn->mux->leases);
        assert(leases > 0 || conn->mux->bytes == 0);
        assert(conn->state != UPSTREAM_STATE_MUX || leases > 0 || conn->counted_idle);
    }
    assert(conn->shared || leases <= 1);
    assert((conn->state == UPSTREAM_STATE_BUSY) <= (leases == 1));
    assert(conn->state != UPSTREAM_STATE_IDLE || (leases == 0 && conn->counted_idle));
    assert(!conn->counted_idle || leases == 0);
    assert(conn->counted_idle == list_linked(&conn->in_idle));
}
