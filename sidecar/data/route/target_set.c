/*
 * sidecar/data/route/target_set.c: see sidecar/data/route/target_set.h.
 *
 * A set is found by names and version: an outdated one stays in the table for as long as a route
 * holds it and is simply not found any more. Nothing is kept that no route holds.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/target_set.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define TABLE_BUCKETS_MIN 64

/* Up to so many endpoints the load is exact at each call; above, it is a few milliseconds old. */
#define LOAD_EXACT_MAX  16
#define LOAD_REFRESH_MS 10
/* Endpoints looked at for one refresh: bounds the cache misses in a very large cluster. */
#define LOAD_SAMPLES_MAX 256

struct target_table {
    uint64_t seed;
    uint32_t count;
    uint32_t mask; /* buckets - 1 */
    struct target_set **buckets;
};

struct target_table *target_table_new(uint64_t seed)
{
    struct target_table *table = calloc(1, sizeof *table);
    if (!table) {
        return NULL;
    }
    table->seed = seed;
    table->mask = TABLE_BUCKETS_MIN - 1;
    table->buckets = calloc(TABLE_BUCKETS_MIN, sizeof(*table->buckets));
    if (!table->buckets) {
        free(table);
        return NULL;
    }
    return table;
}

struct target_table *target_table_free(struct target_table *table)
{
    if (table) {
        assert(table->count == 0); /* a route that outlives its table would free into it */
        free(table->buckets);
        free(table);
    }
    return NULL;
}

static uint64_t hash_names(uint64_t seed, struct disc_str service, struct disc_str cluster,
                           struct disc_str zone)
{
    uint64_t h = XXH3_64bits_withSeed(service.p, service.len, seed);
    h = XXH3_64bits_withSeed(cluster.p, cluster.len, h);
    return XXH3_64bits_withSeed(zone.p, zone.len, h);
}

static uint64_t hash_of(const struct target_table *table, const struct target_set *set)
{
    return hash_names(table->seed, set->service, set->cluster, set->zone);
}

/* Doubles the buckets; where memory is short the chains just grow. */
static void table_grow(struct target_table *table)
{
    uint32_t mask = table->mask * 2 + 1;
    struct target_set **buckets = calloc((size_t)mask + 1, sizeof(*buckets));
    if (!buckets) {
        return;
    }
    for (uint32_t i = 0; i <= table->mask; i++) {
        for (struct target_set *set = table->buckets[i], *next; set; set = next) {
            next = set->next;
            struct target_set **home = &buckets[hash_of(table, set) & mask];
            set->next = *home;
            *home = set;
        }
    }
    free(table->buckets);
    table->buckets = buckets;
    table->mask = mask;
}

static void set_free(struct target_set *set)
{
    for (uint32_t i = 0; i < set->n; i++) {
        if (set->endpoints[i]) {
            (void)endpoint_state_unref(set->endpoints[i]); /* NULL always */
        }
    }
    lb_draw_free(set->draw);
    lb_round_robin_free(set->round_robin);
    free(set->endpoints);
    free(set);
}

static struct disc_str copy_str(char **room, struct disc_str s)
{
    struct disc_str copy = disc_str_of(*room, s.len);
    if (s.len > 0) {
        memcpy(*room, s.p, s.len);
    }
    *room += s.len;
    return copy;
}

/* Whether calls may go to this endpoint: one of weight 0 drains and is no part of a set. */
static bool takes_calls(const struct disc_endpoint *endpoint, struct disc_str zone)
{
    return endpoint->weight > 0 &&
           (zone.len == 0 ||
            disc_str_eq(zone, disc_str_of(endpoint->zone, strlen(endpoint->zone))));
}

/* Fills endpoints, draw and round_robin; false when out of memory. */
static bool set_fill(struct target_set *set, const struct disc_cluster *cluster, uint64_t start)
{
    uint32_t n = cluster ? cluster->n : 0;
    uint32_t *weights = calloc((size_t)n + 1, sizeof(*weights));
    set->endpoints = calloc((size_t)n + 1, sizeof(*set->endpoints));
    if (!weights || !set->endpoints) {
        free(weights);
        return false;
    }
    for (uint32_t i = 0; i < n; i++) {
        const struct disc_endpoint *endpoint = cluster->endpoints[i];
        if (!takes_calls(endpoint, set->zone)) {
            continue;
        }
        weights[set->n] = endpoint->weight;
        set->endpoints[set->n] = endpoint->state;
        if (endpoint->state) {
            endpoint_state_ref(endpoint->state);
        }
        set->n++;
    }
    set->draw = lb_draw_new(weights, set->n);
    set->round_robin = lb_round_robin_new(weights, set->n, start);
    free(weights);
    return set->draw && set->round_robin;
}

static struct target_set *set_new(const struct disc_cluster *version, struct disc_str service,
                                  struct disc_str cluster, struct disc_str zone, uint64_t hash)
{
    struct target_set *set =
        calloc(1, sizeof *set + (size_t)service.len + cluster.len + zone.len + 1);
    if (!set) {
        return NULL;
    }
    char *room = (char *)(set + 1);
    set->refs = 1;
    set->cluster_id = version ? version->id : 0;
    set->service = copy_str(&room, service);
    set->cluster = copy_str(&room, cluster);
    set->zone = copy_str(&room, zone);
    if (!set_fill(set, version, hash)) {
        set_free(set);
        return NULL;
    }
    return set;
}

struct target_set *target_table_get(struct target_table *table, const struct disc_view *view,
                                    struct disc_str service, struct disc_str cluster,
                                    struct disc_str zone)
{
    const struct disc_cluster *version = view ? disc_view_cluster(view, cluster) : NULL;
    uint64_t id = version ? version->id : 0;
    uint64_t hash = hash_names(table->seed, service, cluster, zone);
    struct target_set *set = table->buckets[hash & table->mask];
    for (; set; set = set->next) {
        if (set->cluster_id == id && disc_str_eq(set->service, service) &&
            disc_str_eq(set->cluster, cluster) && disc_str_eq(set->zone, zone)) {
            set->refs++;
            return set;
        }
    }
    set = set_new(version, service, cluster, zone, hash);
    if (!set) {
        return NULL;
    }
    if (table->count > table->mask) {
        table_grow(table);
    }
    struct target_set **home = &table->buckets[hash & table->mask];
    set->next = *home;
    *home = set;
    table->count++;
    return set;
}

void target_set_unref(struct target_table *table, struct target_set *set)
{
    if (!set || --set->refs > 0) {
        return;
    }
    struct target_set **link = &table->buckets[hash_of(table, set) & table->mask];
    while (*link != set) {
        link = &(*link)->next;
    }
    *link = set->next;
    table->count--;
    set_free(set);
}

/* ---- load --------------------------------------------------------------------------------- */

static int compare_doubles(const void *a, const void *b)
{
    double x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x > y) - (x < y);
}

static double median_of(double *values, uint32_t n)
{
    if (n == 0) {
        return 0;
    }
    if (n > LOAD_EXACT_MAX) {
        qsort(values, n, sizeof *values, compare_doubles);
    } else { /* at each call: insertion sort beats qsort's calls by far */
        for (uint32_t i = 1; i < n; i++) {
            double v = values[i];
            uint32_t k = i;
            for (; k > 0 && values[k - 1] > v; k--) {
                values[k] = values[k - 1];
            }
            values[k] = v;
        }
    }
    /* The lower middle: of two, the one that is well, not the one that fails. */
    return values[(n - 1) / 2];
}

/* Above LOAD_SAMPLES_MAX endpoints every (n / samples)-th is looked at, from another start each
 * time, and the calls in flight are scaled up. */
static void load_refresh(struct target_set *set, uint64_t now_ms)
{
    double ewma[LOAD_SAMPLES_MAX];
    uint32_t samples = set->n < LOAD_SAMPLES_MAX ? set->n : LOAD_SAMPLES_MAX;
    uint32_t measured = 0;
    uint64_t inflight = 0;
    for (uint32_t k = 0; k < samples; k++) {
        uint64_t i = (uint64_t)k * set->n / samples;
        if (set->n > LOAD_SAMPLES_MAX) {
            i = (i + now_ms) % set->n;
        }
        const struct endpoint_state *state = set->endpoints[i];
        if (!state) {
            continue;
        }
        inflight += atomic_load_explicit(&state->inflight, memory_order_relaxed);
        double us = endpoint_ewma_us(state);
        if (us > 0) {
            ewma[measured++] = us;
        }
    }
    set->load.inflight = samples > 0 ? inflight * set->n / samples : 0;
    set->load.median_ewma_us = median_of(ewma, measured);
    set->load_ms = now_ms;
}

const struct lb_set_load *target_set_load(struct target_set *set, uint64_t now_ms)
{
    if (set->n <= LOAD_EXACT_MAX || set->load_ms == 0 || now_ms < set->load_ms ||
        now_ms - set->load_ms >= LOAD_REFRESH_MS) {
        load_refresh(set, now_ms);
    }
    return &set->load;
}
