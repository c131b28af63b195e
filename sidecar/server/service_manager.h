/*
 * sidecar/server/service_manager.h: sockets that a service manager hands over, and its
 * notifications.
 *
 * The protocols are those of sd_listen_fds(3) and sd_notify(3), without libsystemd.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_SERVICE_MANAGER_H
#define TSIDE_SIDECAR_SERVER_SERVICE_MANAGER_H

#include "sidecar/base/listen_socket.h"

#define SERVICE_MANAGER_FDS_MAX 1024 /* of LISTEN_FDS are looked at */

/* The stream socket among LISTEN_FDS that is bound to this address; -1: none, or they are for
 * another process (LISTEN_PID). */
int service_manager_socket(const union socket_address *address) __attribute__((warn_unused_result));

/* Sends "READY=1", ... to the socket in NOTIFY_SOCKET; nothing where it names none. */
void service_manager_notify(const char *state);

#endif
