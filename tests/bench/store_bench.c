/*
 * store_bench.c: what loading a fleet's keys costs, and what one changed key does afterwards.
 *
 *     store_bench            everything
 *
 * Keys are spread over callees as in production: many callees with few keys, each a third traffic,
 * degrade and config. Meaningful with the release preset.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/tuple.h"
#include "discovery/store/store.h"

#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define KEYS_A_CALLEE 20
#define SLICE_US      5000

static struct disc_snapshot *current;

static void publish(void *owner, struct disc_snapshot *snapshot)
{
    struct disc_snapshot *before = current;
    (void)owner;
    current = snapshot;
    (void)disc_snapshot_free(before); /* NULL */
}

static double now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail */
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static void put_rule(struct disc_store *store, int i, int64_t revision)
{
    static const char *const values[] = {"{\"default\": 90, \"canary\": 10}", "{\"percent\": 0.5}",
                                         "{\"timeout_ms\": 300, \"pool\": {\"max_idle\": 10}}"};
    static const char *const kinds[] = {"traffic", "degrade", "config"};
    char key[128];
    int len = snprintf(key, sizeof key, "caller.service.%d/default/callee.service.%d/default/%s/%s",
                       i % KEYS_A_CALLEE / 3, i / KEYS_A_CALLEE, i % 2 == 0 ? "*" : "Visit",
                       kinds[i % 3]);
    disc_store_put(store, DISC_LAYER_ETCD, DISC_SPACE_RULES, key, (size_t)len, values[i % 3],
                   strlen(values[i % 3]), revision, 0, 1);
}

static void put_endpoint(struct disc_store *store, int i)
{
    char key[128];
    int len = snprintf(key, sizeof key, "callee.service.%d/default/10.%d.%d.%d:8888", i / 100,
                       i >> 16, i >> 8 & 255, i & 255);
    disc_store_put(store, DISC_LAYER_ETCD, DISC_SPACE_SERVICES, key, (size_t)len, "{\"weight\":10}",
                   13, 1, 7, 1);
}

static struct disc_store *store_new(void)
{
    const struct disc_store_options options = {
        .prefix = {"/tside/rules", "/tside/services"}, .publish = publish, .hash_seed = 1};
    return disc_store_new(&options);
}

/* Commits and builds; returns the longest slice. */
static double commit(struct disc_store *store, int64_t revision)
{
    double longest = 0;
    bool done = false;
    disc_store_commit(store, DISC_LAYER_ETCD, revision, DISC_ORIGIN_ETCD, 1);
    while (!done) {
        double start = now_us();
        done = disc_store_build(store, SLICE_US);
        longest = now_us() - start > longest ? now_us() - start : longest;
    }
    return longest;
}

static void load(struct disc_store *store, int keys, int endpoints, const char *what)
{
    double start = now_us();
    size_t before = mallinfo2().uordblks;
    disc_store_begin(store, DISC_LAYER_ETCD, true);
    for (int i = 0; i < keys; i++) {
        put_rule(store, i, 1);
    }
    for (int i = 0; i < endpoints; i++) {
        put_endpoint(store, i);
    }
    double put_us = now_us() - start;
    double longest_us = commit(store, 1);
    printf("%-10s %7d keys %6d endpoints: %7.1f ms (putting %.1f), longest slice %.1f ms, "
           "%.1f MiB\n",
           what, keys, endpoints, (now_us() - start) / 1e3, put_us / 1e3, longest_us / 1e3,
           (double)(mallinfo2().uordblks - before) / 1048576);
}

static void change(struct disc_store *store, int keys)
{
    const int rounds = 2000;
    double start = now_us();
    for (int i = 0; i < rounds; i++) {
        disc_store_begin(store, DISC_LAYER_ETCD, false);
        put_rule(store, (int)((long)i * 7919 % keys), i + 2);
        (void)commit(store, i + 2); /* the slice's length matters when loading */
    }
    printf("%-10s %7d keys: %.2f us a changed key\n", "change", keys, (now_us() - start) / rounds);
}

static void resolve(int keys)
{
    const int rounds = 200000;
    double start = now_us();
    uint64_t found = 0;
    for (int i = 0; i < rounds; i++) {
        char to[64];
        struct disc_resolution resolution;
        struct disc_tuple tuple = {
            {{"caller.service.1", 16}, {"default", 7}, {to, 0}, {"default", 7}, {"Visit", 5}}};
        tuple.name[DISC_TO].len =
            (uint32_t)snprintf(to, sizeof to, "callee.service.%d", i % (keys / KEYS_A_CALLEE));
        disc_resolve(disc_snapshot_view(current, tuple.name[DISC_TO]), disc_snapshot_star(current),
                     &tuple, &resolution);
        found += resolution.candidates_len;
    }
    printf("%-10s %7d keys: %.2f us a route (%.1f candidates)\n", "resolve", keys,
           (now_us() - start) / rounds, (double)found / rounds);
}

int main(void)
{
    static const struct {
        int keys;
        int endpoints;
    } sizes[] = {{1000, 100}, {10000, 1000}, {100000, 10000}};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        struct disc_store *store = store_new();
        load(store, sizes[i].keys, sizes[i].endpoints, "load");
        load(store, sizes[i].keys, sizes[i].endpoints, "list again");
        change(store, sizes[i].keys);
        resolve(sizes[i].keys);
        current = disc_snapshot_free(current);
        store = disc_store_free(store);
    }
    return 0;
}
