/*
 * sidecar/server/worker_group.h: all workers of the process, and the sockets they listen on.
 *
 * Control thread. Wakes from the workers come through env.notify_control.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_WORKER_GROUP_H
#define TSIDE_SIDECAR_SERVER_WORKER_GROUP_H

#include "sidecar/data/loop/worker.h"
#include "sidecar/server/sockets.h"

struct log; /* sidecar/base/log.h */

struct worker_group {
    struct worker_env env; /* workers_len counts those that were made */
    struct listen_sockets sockets[BOOTSTRAP_LISTENERS_MAX];
    const struct counters *counters[BOOTSTRAP_WORKERS_MAX];
    const _Atomic uint64_t *heartbeats[BOOTSTRAP_WORKERS_MAX];
};

/* Opens the sockets and makes bootstrap->workers workers that own them; group->env is filled in but
 * for its workers. 0, or -errno with error (a sentence) saying what; worker_group_free() is due
 * either way. */
int worker_group_open(struct worker_group *group, char *error, size_t error_cap)
    __attribute__((warn_unused_result));
/* Starts all workers. 0 or a libuv error: then those that run have been asked to end. */
int worker_group_start(struct worker_group *group) __attribute__((warn_unused_result));

void worker_group_offer(struct worker_group *group, const struct disc_snapshot *snapshot);
void worker_group_want_phase(struct worker_group *group, enum worker_phase phase);
/* Writes what the workers' rings hold to the log. */
void worker_group_write_records(struct worker_group *group, struct log *log);

/* The oldest generation that a worker may hold. */
uint64_t worker_group_seen(const struct worker_group *group);
bool worker_group_stopped(const struct worker_group *group);

/* Waits until those that run have ended; the files of unix sockets go. */
void worker_group_free(struct worker_group *group);

#endif
