/*
 * sidecar/server/sockets.h: a listener's sockets, one per worker, made by the control thread before
 * they start.
 *
 * TCP: one socket each on the same port (SO_REUSEPORT; port 0: the kernel chooses it with the
 * first). Unix sockets, and what the service manager hands over: one socket, duplicated for every
 * worker.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_SOCKETS_H
#define TSIDE_SIDECAR_SERVER_SOCKETS_H

#include "sidecar/base/bootstrap.h"
#include "sidecar/base/listen_socket.h"

/* The sockets of one listener; all of them listen. */
struct listen_sockets {
    int fds[BOOTSTRAP_WORKERS_MAX];
    uint32_t n;
    char address[SOCKET_ADDRESS_TEXT_MAX]; /* as bound */
    struct socket_file file;               /* of a unix socket that was made here */
};

/* Fills ret with one descriptor per worker. 0, or -errno with everything closed again. */
int listen_sockets_open(const struct bootstrap_listener *listener, uint32_t workers,
                        struct listen_sockets *ret) __attribute__((warn_unused_result));
/* Those that were not handed out, and the file. */
void listen_sockets_close(const struct bootstrap_listener *listener,
                          struct listen_sockets *sockets);

#endif
