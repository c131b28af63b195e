/*
 * tests/sim/sim_link.h: one connection between tside and a peer, and what the kernels at both ends
 * hold.
 *
 *     peer --sim_link_write()--> in  --transport's read()--> tside
 *     peer <--sim_link_take()--- out <--transport's writes-- tside
 *
 * `out` takes room bytes, as a socket's buffers do; both ends may close or reset at any time.
 * tside's end is transport_memory.c. The link goes when both ends have let go of it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_LINK_H
#define TSIDE_TESTS_SIM_LINK_H

#include "sidecar/base/list.h"
#include "tests/codec/random.h"
#include "tests/sim/sim_pipe.h"

#include <sys/types.h>
#include <sys/uio.h>

#define SIM_LINK_ROOM_BYTES 65536 /* of a socket, each way, unless a peer is slow */

struct sim_link;
struct sim_worker;
struct transport;

/* What a peer learns at once, ahead of what it takes: for the oracle. */
struct sim_peer_ops {
    /* tside's kernel took these bytes. */
    void (*sent)(void *owner, const uint8_t *bytes, size_t n);
    /* tside has read so many bytes of this connection in all. */
    void (*read)(void *owner, uint64_t total);
    /* tside let go of its end. */
    void (*closed)(void *owner);
};

enum sim_link_state {
    SIM_LINK_ACCEPTING = 0, /* in the listener's queue */
    SIM_LINK_CONNECTING,
    SIM_LINK_OPEN,
    SIM_LINK_CLOSING, /* tside has closed it: closed() is due */
    SIM_LINK_CLOSED   /* tside has let go */
};

struct sim_link {
    struct list in_worker; /* sim_worker.links */
    struct sim_worker *home;
    uint32_t number;
    struct transport *transport; /* from open() or connect() until closed() */
    enum sim_link_state state;
    struct random random;
    bool partial; /* reads and writes end at any byte */

    struct sim_pipe in;
    uint64_t read_total; /* of in, by tside */
    bool reading;
    uint64_t unread_since_us; /* in holds bytes that tside did not read; 0: none */
    uint64_t stopped_us;      /* tside stopped reading */
    uint64_t left_unread_us;  /* when it closed: for how long bytes had lain there to be read */
    bool end_told;            /* tside has read the end, or the error */
    bool peer_shut;           /* the peer sends no more */
    int broken;               /* the connection is reset: what both learn; 0: it is not */
    bool in_any_order;        /* the listener that it comes by */

    struct sim_pipe out;
    size_t room;
    struct iovec *pending; /* handed over by write(): [pending_len], from pending_at on */
    size_t pending_len, pending_at;
    bool writing;
    int write_status; /* of writing: an error that is still to be told */
    bool reset_by_tside;

    uint64_t connect_us; /* CONNECTING: when it is decided; UINT64_MAX: never */
    int connect_status;
    bool is_self;

    const struct sim_peer_ops *peer; /* NULL: gone */
    void *peer_owner;
};

struct sim_link *sim_link_new(struct sim_worker *home, uint64_t seed);

/* ---- the peer's ------------------------------------------------------------------------------ */

/* How many bytes the kernel takes now. */
size_t sim_link_write(struct sim_link *link, const void *bytes, size_t len);
/* Takes at most max of the bytes that tside sent, behind those in `into`. */
size_t sim_link_take(struct sim_link *link, struct sim_pipe *into, size_t max);
/* tside sends no more, and all was taken; or the connection is reset. */
bool sim_link_is_over(const struct sim_link *link);
static inline bool sim_link_has_bytes(const struct sim_link *link)
{
    return link->out.len > 0 && !link->broken;
}
static inline bool sim_link_has_room(const struct sim_link *link)
{
    return link->state <= SIM_LINK_OPEN && !link->broken && link->in.len < SIM_LINK_ROOM_BYTES;
}
/* Half-closes. */
void sim_link_shut(struct sim_link *link);
/* Lets go; what tside sends from now on meets nobody. */
void sim_link_close(struct sim_link *link, bool reset);

/* ---- tside's end (transport_memory.c, sim_worker.c) ------------------------------------------ */

/* Moves bytes into out. How many it took; an error where the peer is gone. */
ssize_t sim_link_send(struct sim_link *link, const struct iovec iov[], size_t n);
/* tside has let go; frees the link where the peer has, too. */
void sim_link_left(struct sim_link *link);

#endif
