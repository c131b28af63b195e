/*
 * sidecar/server/worker_group.c: see worker_group.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/worker_group.h"

#include "sidecar/admin/admin.h"
#include "sidecar/base/random_seed.h"
#include "sidecar/data/io/transport_uv.h"
#include "sidecar/data/loop/uv_driver.h"
#include "sidecar/data/plane.h"
#include "sidecar/data/session/listener.h"
#include "sidecar/shared/record.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

static int open_sockets(struct worker_group *group, char *error, size_t error_cap)
{
    const struct bootstrap *bootstrap = group->env.bootstrap;
    for (size_t i = 0; i < bootstrap->listeners_len; i++) {
        const struct bootstrap_listener *listener = &bootstrap->listeners[i];
        int r = listen_sockets_open(listener, bootstrap->workers, &group->sockets[i]);
        if (r) {
            snprintf(error, error_cap, "%s: cannot listen: %s", listener->listen, strerror(-r));
            return r;
        }
    }
    return 0;
}

static bool make_workers(struct worker_group *group)
{
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        struct worker *worker =
            plane_new(&group->env, i, random_seed(), &uv_worker_driver, &transport_tcp);
        if (worker && uv_driver_open(worker)) {
            worker = plane_free(worker);
        }
        if (!worker) {
            group->env.workers_len = i;
            return false;
        }
        group->env.workers[i] = worker;
        group->counters[i] = &worker->counters;
        group->heartbeats[i] = &worker->heartbeat_ms;
    }
    return true;
}

/* The sockets are the workers' from then on, also where this fails. 0 or a libuv error. */
static int hand_out_sockets(struct worker_group *group)
{
    for (size_t i = 0; i < group->env.bootstrap->listeners_len; i++) {
        struct listen_sockets *sockets = &group->sockets[i];
        while (sockets->n > 0) {
            uint32_t w = --sockets->n;
            int r = listener_open(group->env.workers[w], &group->env.bootstrap->listeners[i],
                                  sockets->fds[w]);
            if (r) {
                return r;
            }
        }
    }
    return 0;
}

int worker_group_open(struct worker_group *group, char *error, size_t error_cap)
{
    group->env.workers_len = 0;
    int r = open_sockets(group, error, error_cap);
    if (r) {
        return r;
    }
    group->env.workers_len = group->env.bootstrap->workers;
    if (!make_workers(group)) {
        snprintf(error, error_cap, "out of memory or descriptors for a worker");
        return -ENOMEM;
    }
    r = hand_out_sockets(group);
    if (r) {
        snprintf(error, error_cap, "cannot listen: %s", uv_strerror(r));
    }
    return r;
}

int worker_group_start(struct worker_group *group)
{
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        int r = uv_driver_start(group->env.workers[i]);
        if (r) {
            worker_group_want_phase(group, WORKER_ENDING);
            return r;
        }
    }
    return 0;
}

void worker_group_offer(struct worker_group *group, const struct disc_snapshot *snapshot)
{
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        worker_offer_snapshot(group->env.workers[i], snapshot);
    }
}

void worker_group_want_phase(struct worker_group *group, enum worker_phase phase)
{
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        worker_want_phase(group->env.workers[i], phase);
    }
}

static void write_record(struct log *log, const uint32_t *record)
{
    if (*record == RECORD_CALL) {
        access_log_write(log, (const struct record_call *)(const void *)record);
    } else {
        const struct record_log *line = (const void *)record;
        log_printf(log, (enum log_level)line->level, line->component, line->event, "%.*s",
                   (int)line->len, line->message);
    }
}

void worker_group_write_records(struct worker_group *group, struct log *log)
{
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        struct ring *ring = &group->env.workers[i]->ring;
        const uint32_t *record;
        uint32_t len;
        while ((record = ring_peek(ring, &len))) {
            write_record(log, record);
            ring_next(ring);
        }
    }
}

uint64_t worker_group_seen(const struct worker_group *group)
{
    uint64_t seen = UINT64_MAX;
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        uint64_t one = atomic_load(&group->env.workers[i]->seen_generation);
        seen = one < seen ? one : seen;
    }
    return seen;
}

bool worker_group_stopped(const struct worker_group *group)
{
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        if (atomic_load(&group->env.workers[i]->phase) != WORKER_STOPPED) {
            return false;
        }
    }
    return true;
}

void worker_group_free(struct worker_group *group)
{
    /* Join all before freeing any: until they end, workers wake each other. */
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        uv_driver_join(group->env.workers[i]);
    }
    for (uint32_t i = 0; i < group->env.workers_len; i++) {
        uv_driver_close(group->env.workers[i]);
        group->env.workers[i] = plane_free(group->env.workers[i]);
    }
    for (size_t i = 0; i < group->env.bootstrap->listeners_len; i++) {
        listen_sockets_close(&group->env.bootstrap->listeners[i], &group->sockets[i]);
    }
}
