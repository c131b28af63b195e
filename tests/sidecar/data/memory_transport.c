/*
 * tests/sidecar/data/memory_transport.c: see memory_transport.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/memory_transport.h"

#include "tests/sidecar/data/scarce.h"

#include <assert.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

struct room {
    struct memory_peer *peer;
};

static struct memory_peer *peer_of(const struct transport *transport)
{
    return ((const struct room *)(const void *)transport->room)->peer;
}

static struct memory_net *net_of(const struct worker *worker)
{
    const struct virtual_loop *loop = worker->driver_owner;
    return loop->sockets_owner;
}

static struct memory_peer *peer_at(struct list *node)
{
    return container_of(node, struct memory_peer, node);
}

static struct memory_peer *peer_new(struct memory_net *net)
{
    scarce_hold();
    struct memory_peer *peer = calloc(1, sizeof *peer);
    scarce_release();
    assert(peer);
    peer->net = net;
    peer->window = SIZE_MAX;
    peer->uid = -1;
    list_push_back(&net->peers, &peer->node);
    return peer;
}

static void attach(struct memory_peer *peer, struct transport *transport)
{
    ((struct room *)(void *)transport->room)->peer = peer;
    peer->transport = transport;
}

/* ---- opening and closing --------------------------------------------------------------------- */

static int open_caller(struct transport *transport, void *source)
{
    struct memory_peer *peer = source;
    attach(peer, transport);
    peer->state = peer->open_fails ? MEMORY_CLOSING : MEMORY_OPEN;
    return peer->open_fails ? -EMFILE : 0;
}

static uint16_t port_of(const struct sockaddr *address)
{
    const struct sockaddr_in *v4 = (const struct sockaddr_in *)(const void *)address;
    assert(address->sa_family == AF_INET);
    return ntohs(v4->sin_port);
}

static enum memory_policy policy_of(const struct memory_net *net, uint16_t port, int *ret_status)
{
    for (size_t i = 0; i < net->ports_len; i++) {
        if (net->ports[i].port == port) {
            *ret_status = net->ports[i].status;
            return net->ports[i].policy;
        }
    }
    return MEMORY_ACCEPT;
}

static int connect_callee(struct transport *transport, const struct sockaddr *address)
{
    struct memory_net *net = net_of(transport->worker);
    struct memory_peer *peer = peer_new(net);
    int status = 0;
    peer->port = port_of(address);
    enum memory_policy policy = policy_of(net, peer->port, &status);
    net->connects++;
    attach(peer, transport);
    peer->state = policy == MEMORY_FAIL ? MEMORY_CLOSING : MEMORY_CONNECTING;
    peer->is_self = policy == MEMORY_SELF;
    if (policy == MEMORY_ACCEPT || policy == MEMORY_SELF || policy == MEMORY_REFUSE) {
        memory_connected(peer, policy == MEMORY_REFUSE ? status : 0);
    }
    return policy == MEMORY_FAIL ? status : 0;
}

static bool is_self(struct transport *transport)
{
    return peer_of(transport)->is_self;
}

static int64_t peer_uid(struct transport *transport)
{
    return peer_of(transport)->uid;
}

static void forget_pending(struct memory_peer *peer)
{
    free((void *)(uintptr_t)peer->pending);
    peer->pending = NULL;
    peer->pending_n = peer->pending_len = peer->pending_taken = 0;
    peer->written_due = false;
}

static void close_transport(struct transport *transport, bool reset)
{
    struct memory_peer *peer = peer_of(transport);
    assert(peer->state == MEMORY_CONNECTING || peer->state == MEMORY_OPEN);
    peer->state = MEMORY_CLOSING;
    peer->was_reset = reset;
    peer->reading = false;
    forget_pending(peer);
}

/* ---- reading --------------------------------------------------------------------------------- */

static int read_start(struct transport *transport)
{
    struct memory_peer *peer = peer_of(transport);
    assert(peer->state == MEMORY_OPEN);
    if (peer->read_fails) {
        return -ENOMEM;
    }
    peer->reading = true;
    return 0;
}

static void read_stop(struct transport *transport)
{
    peer_of(transport)->reading = false;
}

static bool bytes_wait(struct transport *transport)
{
    const struct memory_peer *peer = peer_of(transport);
    return peer->in_read < peer->in.len;
}

static bool can_read(const struct memory_peer *peer)
{
    return peer->state == MEMORY_OPEN && peer->reading &&
           (peer->in_read < peer->in.len || (peer->end && !peer->end_read));
}

static void read_end(struct memory_peer *peer)
{
    const struct transport_events *events = peer->transport->events;
    struct iovec room = events->room(peer->transport);
    peer->end_read = true;
    events->read(peer->transport, room, peer->end);
}

/* One read. False: no more in this turn. */
static bool read_once(struct memory_peer *peer)
{
    const struct transport_events *events = peer->transport->events;
    size_t left = peer->in.len - peer->in_read;
    if (left == 0) {
        read_end(peer);
        return false;
    }
    struct iovec room = events->room(peer->transport);
    size_t n = left < room.iov_len ? left : room.iov_len;
    if (n > 0) {
        memcpy(room.iov_base, peer->in.p + peer->in_read, n);
        peer->in_read += n;
    }
    events->read(peer->transport, room, (ssize_t)n);
    return n > 0;
}

/* ---- writing --------------------------------------------------------------------------------- */

/* Takes bytes [from, from + window) of the vectors. */
static size_t take(struct memory_peer *peer, const struct iovec iov[], size_t n, size_t from)
{
    size_t before = peer->out.len;
    scarce_hold();
    for (size_t i = 0; i < n && peer->window > 0; i++) {
        size_t skip = from < iov[i].iov_len ? from : iov[i].iov_len;
        size_t len = iov[i].iov_len - skip;
        len = len < peer->window ? len : peer->window;
        bytes_put(&peer->out, (const uint8_t *)iov[i].iov_base + skip, len);
        peer->window -= peer->window == SIZE_MAX ? 0 : len;
        from -= skip;
    }
    scarce_release();
    return peer->out.len - before;
}

static bool is_dead(const struct memory_peer *peer)
{
    return peer->end && peer->end != TRANSPORT_EOF;
}

static ssize_t try_write(struct transport *transport, const struct iovec iov[], size_t n)
{
    struct memory_peer *peer = peer_of(transport);
    assert(peer->state == MEMORY_OPEN && !peer->pending);
    return is_dead(peer) ? -EPIPE : (ssize_t)take(peer, iov, n, 0);
}

/* Takes what it can of what was handed over. */
static void take_pending(struct memory_peer *peer)
{
    peer->pending_taken += take(peer, peer->pending, peer->pending_n, peer->pending_taken);
    peer->written_due = peer->pending_taken == peer->pending_len || is_dead(peer);
}

static int write_rest(struct transport *transport, const struct iovec iov[], size_t n)
{
    struct memory_peer *peer = peer_of(transport);
    scarce_hold();
    struct iovec *copy = malloc(n * sizeof *copy);
    scarce_release();
    assert(copy && peer->state == MEMORY_OPEN && !peer->pending);
    memcpy(copy, iov, n * sizeof *copy);
    peer->pending = copy;
    peer->pending_n = n;
    for (size_t i = 0; i < n; i++) {
        peer->pending_len += iov[i].iov_len;
    }
    take_pending(peer);
    return 0;
}

static size_t unwritten(const struct transport *transport)
{
    const struct memory_peer *peer = peer_of(transport);
    return peer->pending_len - peer->pending_taken;
}

static bool can_write(const struct memory_peer *peer)
{
    return peer->state == MEMORY_OPEN && peer->pending &&
           (peer->written_due || peer->window > 0 || is_dead(peer));
}

static void write_on(struct memory_peer *peer)
{
    take_pending(peer);
    if (peer->written_due) {
        int status = peer->pending_taken == peer->pending_len ? 0 : peer->end;
        forget_pending(peer);
        peer->transport->events->written(peer->transport, status);
    }
}

const struct transport_ops memory_transport = {
    .name = "memory",
    .open = open_caller,
    .connect = connect_callee,
    .is_self = is_self,
    .peer_uid = peer_uid,
    .read_start = read_start,
    .read_stop = read_stop,
    .bytes_wait = bytes_wait,
    .try_write = try_write,
    .write = write_rest,
    .unwritten = unwritten,
    .close = close_transport,
};

/* ---- the loop -------------------------------------------------------------------------------- */

static void report_connected(struct memory_peer *peer)
{
    peer->connected_due = false;
    peer->state = peer->connected_status ? peer->state : MEMORY_OPEN;
    peer->transport->events->connected(peer->transport, peer->connected_status);
}

/* What libuv does for one socket in one turn: reads come before writes. */
static void poll_peer(struct memory_peer *peer)
{
    struct virtual_loop *loop = peer->net->loop;
    bool more = true;
    if (peer->state == MEMORY_CONNECTING && peer->connected_due) {
        virtual_loop_enter(loop);
        report_connected(peer);
        virtual_loop_leave(loop);
        return;
    }
    while (more && can_read(peer)) {
        virtual_loop_enter(loop);
        more = read_once(peer);
        virtual_loop_leave(loop);
    }
    if (can_write(peer)) {
        virtual_loop_enter(loop);
        write_on(peer);
        virtual_loop_leave(loop);
    }
}

static void poll(struct virtual_loop *loop)
{
    struct memory_net *net = loop->sockets_owner;
    for (struct list *n = net->peers.next; n != &net->peers; n = n->next) {
        poll_peer(peer_at(n));
    }
}

static void close_peers(struct virtual_loop *loop)
{
    struct memory_net *net = loop->sockets_owner;
    for (struct list *n = net->peers.next; n != &net->peers; n = n->next) {
        struct memory_peer *peer = peer_at(n);
        if (peer->state == MEMORY_CLOSING) {
            struct transport *transport = peer->transport;
            peer->state = MEMORY_CLOSED;
            peer->transport = NULL;
            virtual_loop_enter(loop);
            transport->events->closed(transport); /* frees it */
            virtual_loop_leave(loop);
        }
    }
}

static bool is_busy(const struct virtual_loop *loop)
{
    const struct memory_net *net = loop->sockets_owner;
    for (struct list *n = net->peers.next; n != &net->peers; n = n->next) {
        const struct memory_peer *peer = peer_at(n);
        bool polls = !loop->closed && ((peer->state == MEMORY_CONNECTING && peer->connected_due) ||
                                       can_read(peer) || can_write(peer));
        if (polls || peer->state == MEMORY_CLOSING) {
            return true;
        }
    }
    return false;
}

static const struct virtual_sockets sockets = {.poll = poll, .close = close_peers, .busy = is_busy};

/* ---- for the test ---------------------------------------------------------------------------- */

void memory_net_open(struct memory_net *net, struct virtual_loop *loop)
{
    *net = (struct memory_net){.loop = loop};
    list_init(&net->peers);
    loop->sockets = &sockets;
    loop->sockets_owner = net;
}

void memory_net_close(struct memory_net *net)
{
    struct list *node;
    while ((node = list_first(&net->peers))) {
        struct memory_peer *peer = peer_at(node);
        assert(peer->state == MEMORY_CLOSED || peer->state == MEMORY_NEW);
        list_remove(node);
        bytes_done(&peer->in);
        bytes_done(&peer->out);
        free(peer);
    }
}

void memory_policy(struct memory_net *net, uint16_t port, enum memory_policy policy, int status)
{
    size_t i = 0;
    while (i < net->ports_len && net->ports[i].port != port) {
        i++;
    }
    assert(i < MEMORY_PORTS_MAX);
    net->ports_len = i == net->ports_len ? i + 1 : net->ports_len;
    net->ports[i].port = port;
    net->ports[i].policy = policy;
    net->ports[i].status = status;
}

struct memory_peer *memory_caller(struct memory_net *net)
{
    return peer_new(net);
}

struct memory_peer *memory_callee(const struct memory_net *net, uint16_t port, unsigned n)
{
    for (struct list *node = net->peers.next; node != &net->peers; node = node->next) {
        struct memory_peer *peer = peer_at(node);
        if (peer->port == port && !memory_is_closed(peer) && n-- == 0) {
            return peer;
        }
    }
    return NULL;
}

unsigned memory_callees(const struct memory_net *net, uint16_t port)
{
    unsigned n = 0;
    while (memory_callee(net, port, n)) {
        n++;
    }
    return n;
}

void memory_connected(struct memory_peer *peer, int status)
{
    peer->connected_due = true;
    peer->connected_status = status;
}

void memory_send(struct memory_peer *peer, const void *bytes, size_t n)
{
    bytes_put(&peer->in, bytes, n);
}

void memory_end(struct memory_peer *peer)
{
    peer->end = TRANSPORT_EOF;
}

void memory_reset(struct memory_peer *peer)
{
    peer->end = -ECONNRESET;
    peer->in_read = peer->in.len;
}
