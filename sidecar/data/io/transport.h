/*
 * sidecar/data/io/transport.h: the two ways of bytes through one connection.
 *
 * A channel moves bytes through these operations and knows no socket: TCP and unix sockets are in
 * transport_uv.c; a simulator brings its own. Sizes are bytes; errors are negative errnos, libuv's codes
 * among them. What a transport reports, it reports from the loop, never from within an operation, and
 * between worker_enter() and worker_leave().
 *
 *     open() or connect() ... close() -> closed()        whatever happened in between
 *
 * After open() or connect() has failed it is closing already: closed() comes.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_TRANSPORT_H
#define TSIDE_SIDECAR_DATA_IO_TRANSPORT_H

#include "sidecar/data/loop/worker.h"

#include <sys/socket.h>
#include <sys/uio.h>

/* The peer sends no more; libuv's UV_EOF. */
#define TRANSPORT_EOF (-4095)
/* What the operations keep in the transport; transport_uv.c asserts that its handles fit. */
#define TRANSPORT_ROOM_BYTES 480

struct transport;

struct transport_ops {
    const char *name;
    /* Takes up a connection that was accepted; source is the transport's own type. */
    int (*open)(struct transport *transport, void *source) __attribute__((warn_unused_result));
    /* Begins connecting: connected() comes, unless it fails at once or is closed before. */
    int (*connect)(struct transport *transport, const struct sockaddr *address)
        __attribute__((warn_unused_result));
    /* Connected to itself: a local port without a listener can be "reached" from its own number. */
    bool (*is_self)(struct transport *transport);
    /* Of a connection that was taken up: the uid of the process that made it; -1: none, or not known. */
    int64_t (*peer_uid)(struct transport *transport);
    int (*read_start)(struct transport *transport) __attribute__((warn_unused_result));
    void (*read_stop)(struct transport *transport);
    /* Whether bytes are there that were not read yet. */
    bool (*bytes_wait)(struct transport *transport);
    /* How many bytes the kernel takes now: 0 where none. */
    ssize_t (*try_write)(struct transport *transport, const struct iovec iov[], size_t n);
    /* Hands bytes over, which stay where they are until written() comes. */
    int (*write)(struct transport *transport, const struct iovec iov[], size_t n)
        __attribute__((warn_unused_result));
    /* Of what was handed over: not taken yet. */
    size_t (*unwritten)(const struct transport *transport);
    void (*close)(struct transport *transport, bool reset);
};

/* What it reports to its channel. */
struct transport_events {
    /* Room for one read; length 0: none now, read() comes with 0. */
    struct iovec (*room)(struct transport *transport);
    /* n > 0 bytes of the room; 0: none, the room is given back; TRANSPORT_EOF or an error: the last. */
    void (*read)(struct transport *transport, struct iovec room, ssize_t n);
    void (*written)(struct transport *transport, int status);
    void (*connected)(struct transport *transport, int status);
    void (*closed)(struct transport *transport); /* its memory may go */
};

/* What went wrong, for messages; static. */
const char *transport_strerror(int status);

struct transport {
    const struct transport_ops *ops;
    const struct transport_events *events;
    struct worker *worker;
    _Alignas(16) char room[TRANSPORT_ROOM_BYTES];
};

#endif
