/*
 * sidecar/sockets.h: the listening sockets, made by the control thread before the workers start.
 *
 * TCP: one socket per worker on the same port (SO_REUSEPORT; port 0: the kernel chooses it with the
 * first). Unix sockets, and sockets inherited through LISTEN_FDS (sd_listen_fds(3)) that are bound to
 * a listener's address: one socket, duplicated for every worker.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SOCKETS_H
#define TSIDE_SIDECAR_SOCKETS_H

#include "sidecar/bootstrap.h"

#define SOCKETS_ADDRESS_MAX 128

/* The sockets of one listener; fds[0 .. n) listen not yet (TCP) or share one queue (the others). */
struct listen_sockets {
    int fds[BOOTSTRAP_WORKERS_MAX];
    uint32_t n;
    char address[SOCKETS_ADDRESS_MAX]; /* as bound */
    bool inherited;
};

/* Fills ret with one descriptor per worker. On failure everything is closed again, and error (a
 * sentence) says why. */
bool listen_sockets_open(const struct bootstrap_listener *listener, uint32_t workers,
                         struct listen_sockets *ret, char *error, size_t error_cap);
void listen_sockets_close(struct listen_sockets *sockets);
/* At the end: removes the file of a unix socket that was made here. */
void listen_sockets_unlink(const struct bootstrap_listener *listener,
                           const struct listen_sockets *sockets);

/* Tells the service manager, where NOTIFY_SOCKET names one (sd_notify(3)): "READY=1", ... */
void notify_service_manager(const char *state);

#endif
