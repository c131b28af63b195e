/*
 * tests/sim/transport_memory.h: the product's transport, over links in memory instead of sockets.
 *
 * Its operations do what libuv's do; what becomes ready is reported by transport_memory_run(),
 * from the poll of the worker whose link it is.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_TRANSPORT_MEMORY_H
#define TSIDE_TESTS_SIM_TRANSPORT_MEMORY_H

#include "sidecar/data/io/transport.h"

struct sim_link;

/* The source of open() is a struct sim_link that was ACCEPTING. */
extern const struct transport_ops transport_memory;

/* Whether the poll has something to report of this link. */
bool transport_memory_is_ready(const struct sim_link *link, uint64_t now_us);
/* Reports what it is. Within a callback of the worker. */
void transport_memory_run(struct sim_link *link);
/* Reports that it has closed. */
void transport_memory_closed(struct sim_link *link);

#endif
