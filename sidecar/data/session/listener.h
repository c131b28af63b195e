/*
 * sidecar/data/session/listener.h: one worker's ear on one port or unix socket.
 *
 * A TCP listener is a socket of its own per worker (SO_REUSEPORT: the kernel spreads connections, and
 * unevenly); a unix or inherited socket is one descriptor duplicated into every worker. The sockets
 * are made by the control thread before the workers start (sidecar/server/sockets.h).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_SESSION_LISTENER_H
#define TSIDE_SIDECAR_DATA_SESSION_LISTENER_H

#include "sidecar/data/loop/worker.h"

struct listener {
    union {
        uv_handle_t handle;
        uv_stream_t stream;
        uv_tcp_t tcp;
        uv_pipe_t pipe;
    } uv;
    struct worker *worker;
    const struct bootstrap_listener *config;
    struct list all; /* worker->listeners */
    bool stuck;      /* a connection is still to be accepted: libuv offers no other before */
};

/* Takes fd, also on failure. 0 or a libuv error. */
int listener_open(struct worker *worker, const struct bootstrap_listener *config, int fd);

/* Takes up whoever is still in the queue (the kernel would reset them), then closes. */
void listener_close(struct listener *listener);

#endif
