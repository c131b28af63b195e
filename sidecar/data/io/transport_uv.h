/*
 * sidecar/data/io/transport_uv.h: TCP and unix sockets on the worker's libuv loop.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_TRANSPORT_UV_H
#define TSIDE_SIDECAR_DATA_IO_TRANSPORT_UV_H

#include "sidecar/data/io/transport.h"

/* The source of open(): an int, the descriptor of a connection that was accepted. It is taken, and closed where
 * that fails. */
extern const struct transport_ops transport_tcp;
extern const struct transport_ops transport_unix; /* does not connect() */

#endif
