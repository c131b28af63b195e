/*
 * tests/sidecar/admin/admin_world.h: a world with what admin looks at: workers' counters, tuples, a
 * log.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_ADMIN_ADMIN_WORLD_H
#define TSIDE_TESTS_SIDECAR_ADMIN_ADMIN_WORLD_H

#include "tests/sidecar/world.h"

#include "sidecar/admin/admin.h"

#include <fcntl.h>
#include <unistd.h>

#define ADMIN_WORKERS 2

struct admin_world {
    struct world world;
    uv_loop_t loop;
    struct bootstrap bootstrap;
    struct log *log;
    int null_fd;
    struct tuple_table *tuples;
    struct counters counters[ADMIN_WORKERS];
    const struct counters *counter_list[ADMIN_WORKERS];
    _Atomic uint64_t heartbeat_ms[ADMIN_WORKERS];
    const _Atomic uint64_t *heartbeat_list[ADMIN_WORKERS];
    struct admin_listener_info listeners[1];
    atomic_bool draining, listening, no_snapshot;
    atomic_int drains;
    struct admin_context context;
};

static inline const struct disc_snapshot *admin_world_snapshot(void *owner)
{
    struct admin_world *w = owner;
    return w->no_snapshot ? NULL : w->world.snapshot;
}

static inline bool admin_world_draining(void *owner)
{
    return ((struct admin_world *)owner)->draining;
}

static inline bool admin_world_listening(void *owner)
{
    return ((struct admin_world *)owner)->listening;
}

static inline void admin_world_drain(void *owner)
{
    struct admin_world *w = owner;
    w->drains++;
    w->draining = true;
}

static inline struct tuple_state *admin_world_tuple(struct admin_world *w, const char *from,
                                                    const char *to, const char *method)
{
    struct disc_tuple tuple = world_tuple(from, "default", to, "default", method);
    struct tuple_state *state = tuple_table_get(w->tuples, &tuple);
    assert_non_null(state);
    return state;
}

/* The bootstrap's strings are static: nothing frees them. */
static inline void admin_world_init(struct admin_world *w)
{
    static char node[] = "host-17", empty[] = "", rules[] = "/tside/rules",
                services[] = "/tside/services";
    memset(w, 0, sizeof *w);
    world_init(&w->world);
    world_endpoint(&w->world, "b/default/127.0.0.1:9101", "{\"weight\": 1}");
    world_endpoint(&w->world, "b/canary/127.0.0.1:9103", "");
    world_rule(&w->world, "*/*/b/*/*/config", "{\"timeout_ms\": 300}");
    world_commit(&w->world);
    assert_int_equal(uv_loop_init(&w->loop), 0);
    w->bootstrap.node_name = node;
    w->bootstrap.node_zone = empty;
    w->bootstrap.etcd.rules_prefix = rules;
    w->bootstrap.etcd.services_prefix = services;
    w->null_fd = open("/dev/null", O_WRONLY | O_CLOEXEC);
    w->log = log_new(w->null_fd, LOG_INFO, false, "host-17");
    w->tuples = tuple_table_new(1000, ADMIN_WORKERS);
    for (int i = 0; i < ADMIN_WORKERS; i++) {
        w->counter_list[i] = &w->counters[i];
        w->heartbeat_list[i] = &w->heartbeat_ms[i];
        w->heartbeat_ms[i] = uv_now(&w->loop);
    }
    w->listeners[0].configured = "127.0.0.1:0";
    strcpy(w->listeners[0].address, "127.0.0.1:40001");
    w->listening = true;
    w->context = (struct admin_context){
        .loop = &w->loop,
        .bootstrap = &w->bootstrap,
        .log = w->log,
        .store = w->world.store,
        .tuples = w->tuples,
        .workers = ADMIN_WORKERS,
        .worker_counters = w->counter_list,
        .worker_heartbeat_ms = w->heartbeat_list,
        .listeners_len = 1,
        .listeners = w->listeners,
        .started_unix_ms = WORLD_NOW_MS,
        .owner = w,
        .snapshot = admin_world_snapshot,
        .draining = admin_world_draining,
        .listening = admin_world_listening,
        .drain = admin_world_drain,
    };
}

static inline void admin_world_done(struct admin_world *w)
{
    assert_int_equal(uv_loop_close(&w->loop), 0);
    tuple_table_free(w->tuples);
    log_free(w->log);
    close(w->null_fd);
    world_done(&w->world);
}

#endif
