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

/* Housekeeping of the control thread. */
#define SERVER_TICK_MS 1000
/* Tuples without a call for this long leave the table (docs/specification.md, section 7). */
#define SERVER_TUPLE_IDLE_MS 3600000

struct server_options {
    const struct bootstrap *bootstrap; /* borrowed */
    uint64_t tick_ms;                  /* SERVER_TICK_MS; tests cut it short, and so below */
    uint64_t tuple_idle_ms;            /* SERVER_TUPLE_IDLE_MS */
};

/* Runs until drained. Returns the process's exit code; whatever failed at start was logged on standard
 * error. */
int server_run(const struct server_options *options);

#endif
