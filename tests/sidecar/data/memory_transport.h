/*
 * tests/sidecar/data/memory_transport.h: connections in memory, of which the test is the other
 * side.
 *
 * Nothing moves by itself: a connect succeeds, waits or fails as the port's policy says, bytes are
 * taken while the peer has a window for them, and all is reported from the loop's poll in the order
 * in which the connections were made. So a test is the same on every run.
 *
 *     memory_net_open(&net, &loop);
 *     peer = memory_caller(&net);             a caller: the source of memory_transport's open()
 *     peer = memory_callee(&net, port);       the newest connection to that port
 *     memory_send(peer, bytes, n); memory_end(peer); memory_reset(peer);
 *     peer->out                               all that the worker has sent there
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_MEMORY_TRANSPORT_H
#define TSIDE_TESTS_SIDECAR_DATA_MEMORY_TRANSPORT_H

#include "sidecar/data/io/transport.h"
#include "tests/codec/bytes.h"
#include "tests/sidecar/data/virtual_loop.h"

#define MEMORY_PORTS_MAX 8

/* What becomes of a connect() to a port. */
enum memory_policy {
    MEMORY_ACCEPT = 0,
    MEMORY_HOLD,   /* until memory_connected() */
    MEMORY_REFUSE, /* reported from the loop */
    MEMORY_FAIL,   /* connect() itself fails */
    MEMORY_SELF    /* connected to itself */
};

enum memory_state {
    MEMORY_NEW = 0, /* a caller that is not taken up yet */
    MEMORY_CONNECTING,
    MEMORY_OPEN,
    MEMORY_CLOSING, /* by the worker; closed() is due */
    MEMORY_CLOSED
};

/* The other side of one connection, and the wire in between. */
struct memory_peer {
    struct list node; /* net->peers */
    struct memory_net *net;
    struct transport *transport; /* NULL: NEW or CLOSED */
    enum memory_state state;
    uint16_t port; /* that was dialed; 0: a caller */
    bool connected_due;
    int connected_status; /* of connected_due */
    bool is_self;
    bool open_fails; /* taking it up fails */
    bool read_fails; /* reading cannot begin */
    int64_t uid;     /* of the other side's process; -1 */

    struct bytes in; /* to the worker */
    size_t in_read;  /* of it */
    int end;         /* behind it: TRANSPORT_EOF or an error; 0: none */
    bool end_read;
    bool reading;

    struct bytes out;            /* from the worker */
    size_t out_seen;             /* of it, by the test */
    size_t window;               /* how many more bytes are taken */
    bool was_reset;              /* by the worker */
    const struct iovec *pending; /* handed over; a copy */
    size_t pending_n, pending_len, pending_taken;
    bool written_due;
};

struct memory_net {
    struct virtual_loop *loop;
    struct list peers;
    struct {
        uint16_t port;
        enum memory_policy policy;
        int status; /* of REFUSE and FAIL */
    } ports[MEMORY_PORTS_MAX];
    size_t ports_len;
    unsigned connects; /* how often one was tried */
};

extern const struct transport_ops memory_transport;

/* The loop's worker dials and is called through this net. */
void memory_net_open(struct memory_net *net, struct virtual_loop *loop);
/* Every connection has closed. */
void memory_net_close(struct memory_net *net);

void memory_policy(struct memory_net *net, uint16_t port, enum memory_policy policy, int status);

/* A connection that is to be taken up; owned by the net, as they all are. */
struct memory_peer *memory_caller(struct memory_net *net);
/* The n-th connection to that port that is not closed, from 0 in the order of their making; NULL:
 * none. */
struct memory_peer *memory_callee(const struct memory_net *net, uint16_t port, unsigned n);
/* How many connections to that port are open or opening. */
unsigned memory_callees(const struct memory_net *net, uint16_t port);

/* HOLD: it is connected now, or fails with this status. */
void memory_connected(struct memory_peer *peer, int status);
void memory_send(struct memory_peer *peer, const void *bytes, size_t n);
/* Sends no more. */
void memory_end(struct memory_peer *peer);
/* Is gone: what was not read is lost, and what is written fails. */
void memory_reset(struct memory_peer *peer);

/* Whether the worker has closed it, or is about to. */
static inline bool memory_is_closed(const struct memory_peer *peer)
{
    return peer->state >= MEMORY_CLOSING;
}

#endif
