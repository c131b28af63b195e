/*
 * tests/sidecar/world.h: a store filled from a few lines of text, for tests that need snapshots.
 *
 *     struct world world;
 *     world_init(&world);
 *     world_put(&world, DISC_SPACE_RULES, "a/default/b/default/M/traffic", "{}");
 *     world_commit(&world);                      world.snapshot is the newest
 *     world_done(&world);
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_WORLD_H
#define TSIDE_TESTS_SIDECAR_WORLD_H

#include "discovery/store/store.h"
#include "sidecar/shared/endpoint_state.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define WORLD_SNAPSHOTS_MAX 64
#define WORLD_ENDPOINTS_MAX 64
#define WORLD_NOW_MS        UINT64_C(1700000000000)

struct world {
    struct codec_templates *templates;
    struct disc_store *store;
    struct disc_snapshot *snapshot; /* the newest */
    uint32_t old_len;
    struct disc_snapshot *old[WORLD_SNAPSHOTS_MAX];
    bool begun;
    uint64_t now_ms; /* endpoints that are put now are born then */
    int64_t revision;
    uint32_t workers;                                      /* that endpoints are for; 0: one */
    struct endpoint_state *endpoints[WORLD_ENDPOINTS_MAX]; /* the first ones; NULL: detached */
    uint32_t endpoints_len;
};

/* libthrift_c_glib loses some bytes per object that it encodes (only the templates do, once per
 * process); tside's own code never calls g_malloc(). Read by the leak sanitizer alone. */
const char *__lsan_default_suppressions(void);
const char *__lsan_default_suppressions(void)
{
    return "leak:g_malloc\n";
}

static inline void *world_attach(void *owner, const char *key, const struct disc_endpoint *endpoint)
{
    struct world *world = owner;
    struct endpoint_state *state = endpoint_state_new(
        endpoint->address, endpoint->host, endpoint->port, world->workers ? world->workers : 1);
    state->born_ms = world->now_ms;
    state->born_in = world->snapshot ? disc_snapshot_generation(world->snapshot) : 0;
    if (world->endpoints_len < WORLD_ENDPOINTS_MAX) {
        world->endpoints[world->endpoints_len++] = state;
    }
    return state;
}

/* By its address, as keys have it. */
static inline struct endpoint_state *world_endpoint_state(const struct world *world,
                                                          const char *address)
{
    for (uint32_t i = 0; i < world->endpoints_len; i++) {
        if (world->endpoints[i] && strcmp(world->endpoints[i]->address, address) == 0) {
            return world->endpoints[i];
        }
    }
    return NULL;
}

static inline void world_detach(void *owner, void *state)
{
    struct world *world = owner;
    struct endpoint_state *endpoint = state;
    for (uint32_t i = 0; i < world->endpoints_len; i++) {
        world->endpoints[i] = world->endpoints[i] == state ? NULL : world->endpoints[i];
    }
    atomic_store(&endpoint->gone, true);
    (void)endpoint_state_unref(endpoint); /* always NULL */
}

static inline void world_publish(void *owner, struct disc_snapshot *snapshot)
{
    struct world *world = owner;
    if (world->snapshot) {
        assert_true(world->old_len < WORLD_SNAPSHOTS_MAX);
        world->old[world->old_len++] = world->snapshot;
    }
    world->snapshot = snapshot;
}

static inline void world_init(struct world *world)
{
    memset(world, 0, sizeof *world);
    world->templates = codec_templates_new();
    assert_non_null(world->templates);
    world->revision = 100;
    world->store = disc_store_new(&(struct disc_store_options){
        .prefix = {"/tside/rules", "/tside/services"},
        .templates = world->templates,
        .endpoint_attach = world_attach,
        .endpoint_detach = world_detach,
        .publish = world_publish,
        .owner = world,
    });
    assert_non_null(world->store);
}

/* Frees the snapshots but the newest, as server.c does once every worker has moved on. */
static inline void world_forget_old(struct world *world)
{
    for (uint32_t i = 0; i < world->old_len; i++) {
        disc_snapshot_free(world->old[i]);
    }
    world->old_len = 0;
}

static inline void world_done(struct world *world)
{
    world_forget_old(world);
    disc_snapshot_free(world->snapshot);
    disc_store_free(world->store);
    codec_templates_free(world->templates);
}

static inline void world_begin(struct world *world)
{
    if (!world->begun) {
        disc_store_begin(world->store, DISC_LAYER_ETCD, false);
        world->begun = true;
    }
}

static inline void world_put(struct world *world, enum disc_space space, const char *key,
                             const char *text)
{
    world_begin(world);
    disc_store_put(world->store, DISC_LAYER_ETCD, space, key, strlen(key), text, strlen(text),
                   ++world->revision, 0, WORLD_NOW_MS);
}

static inline void world_delete(struct world *world, enum disc_space space, const char *key)
{
    world_begin(world);
    world->revision++;
    disc_store_delete(world->store, DISC_LAYER_ETCD, space, key, strlen(key));
}

static inline void world_commit(struct world *world)
{
    world_begin(world);
    disc_store_commit(world->store, DISC_LAYER_ETCD, world->revision, DISC_ORIGIN_ETCD,
                      WORLD_NOW_MS);
    world->begun = false;
    while (!disc_store_build(world->store, 100000)) {
    }
    assert_non_null(world->snapshot);
}

static inline void world_rule(struct world *world, const char *key, const char *text)
{
    world_put(world, DISC_SPACE_RULES, key, text);
}

static inline void world_endpoint(struct world *world, const char *key, const char *text)
{
    world_put(world, DISC_SPACE_SERVICES, key, text);
}

static inline struct disc_str world_str(const char *s)
{
    return disc_str_of(s, strlen(s));
}

static inline struct disc_tuple world_tuple(const char *from, const char *from_cluster,
                                            const char *to, const char *to_cluster,
                                            const char *method)
{
    return (struct disc_tuple){{world_str(from), world_str(from_cluster), world_str(to),
                                world_str(to_cluster), world_str(method)}};
}

#endif
