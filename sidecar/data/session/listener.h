/*
 * sidecar/data/session/listener.h: one worker's ear on one port or unix socket.
 *
 * A TCP listener is a socket of its own per worker (SO_REUSEPORT: the kernel spreads connections, and
 * unevenly); a unix or inherited socket is one descriptor duplicated into every worker. The sockets
 * are made by the control thread before the workers start (sidecar/server/sockets.h).
 *
 * It accepts by itself: where accept() fails, libuv's own loop asks again until it works, and neither
 * calls nor timers run meanwhile. Out of descriptors or memory the listener rests instead, callers
 * wait in the kernel's queue, and a timer opens it again.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_SESSION_LISTENER_H
#define TSIDE_SIDECAR_DATA_SESSION_LISTENER_H

#include "sidecar/data/loop/worker.h"

#include <uv.h>

struct listener {
    uv_poll_t poll;
    uv_timer_t rest; /* active while the listener rests after an error */
    int fd;
    unsigned handles; /* not closed yet */
    struct worker *worker;
    const struct bootstrap_listener *config;
    struct list all; /* worker->listeners */
    uint64_t next_log_ms;
    uint64_t unlogged; /* rests since the last line in the log */
};

/* Takes fd, also on failure. 0 or a libuv error. */
int listener_open(struct worker *worker, const struct bootstrap_listener *config, int fd);

/* Takes up none for now: they wait in the kernel's queue; or takes them up again. */
void listener_rest(struct listener *listener, bool on);

/* Takes up the connections that are still in the queue (the kernel would reset them), then closes. */
void listener_close(struct listener *listener);

#endif
