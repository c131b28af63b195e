/*
 * sidecar/server/server.h: the running process: start, drain, end.
 *
 * Wires the control loop (sources, store, admin, log), the workers and the signals together. Called
 * by cli/run.c on the main thread, which becomes the control thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_SERVER_H
#define TSIDE_SIDECAR_SERVER_SERVER_H

#include "sidecar/base/bootstrap.h"

/* Runs until drained; the bootstrap is borrowed. Returns the process's exit code; whatever failed at
 * start was logged on standard error. */
int server_run(const struct bootstrap *bootstrap);

#endif
