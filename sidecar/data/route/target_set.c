/*
 * sidecar/data/route/target_set.c: see sidecar/data/route/target_set.h.
 *
 * A set is found by names and version: an outdated one stays in the table for as long as a route
 * holds it and is simply not found any more. Nothing is kept that no route holds.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/target_set.h"

#include "lb/subset.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>
#include <xxhash.h>

#define TABLE_BUCKETS_MIN 64

/* Part of what all hosts must agree on: never change it. */
#define TARGET_SEED_ADDRESS UINT64_C(0x7473696465616464)
/* Subsets change where this does. */
#define TARGET_SEED_HOST UINT64_C(0x7473696465686f73)

/* Up to so many endpoints the load is exact at each call; above, it is a few milliseconds old. */
#define LOAD_EXACT_MAX  16
#define LOAD_REFRESH_MS 10
/* Endpoints looked at for one refresh: bounds the cache misses in a very large cluster. */
#define LOAD_SAMPLES_MAX 256

struct target_table {
    uint64_t seed;
    uint64_t host;
    uint64_t built; /* sets, ever */
    uint32_t count;
    uint32_t mask; /* buckets - 1 */
    struct target_set **buckets;
};

uint64_t target_host(const char *name)
{
    return XXH3_64bits_withSeed(name, strlen(name), TARGET_SEED_HOST);
}

struct target_table *target_table_new(uint64_t seed, uint64_t host)
{
    struct target_table *table = calloc(1, sizeof *table);
    if (!table) {
        return NULL;
    }
    table->seed = seed;
    table->host = host;
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

static uint64_t hash_key(const struct target_table *table, const struct target_key *key)
{
    return disc_names_hash(table->seed, key->name, TARGET_NAMES) + key->lb +
           ((uint64_t)key->subset << 8);
}

static bool key_eq(const struct target_key *a, const struct target_key *b)
{
    bool equal = a->lb == b->lb && a->subset == b->subset;
    for (int i = 0; equal && i < TARGET_NAMES; i++) {
        equal = disc_str_eq(a->name[i], b->name[i]);
    }
    return equal;
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
            struct target_set **home = &buckets[hash_key(table, &set->key) & mask];
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
    lb_maglev_free(set->maglev);
    free(set->endpoints);
    free(set);
}

/* Whether calls may go to this endpoint: one of weight 0 drains and is no part of a set. */
static bool takes_calls(const struct disc_endpoint *endpoint, struct disc_str zone)
{
    return endpoint->weight > 0 &&
           (zone.len == 0 ||
            disc_str_eq(zone, disc_str_of(endpoint->zone, strlen(endpoint->zone))));
}

/* A set while it is built. */
struct building {
    struct target_set *set;
    const struct target_set *before; /* the version before; NULL: none is left */
    uint64_t host;                   /* by which a subset is chosen */
    uint64_t least;                  /* score that is in it; 0: all are */
    uint64_t start;                  /* of round_robin, where there is none */
    uint32_t *weights;               /* [n] */
    uint32_t *was;                   /* [n] index in `before`, LB_NONE: new */
    uint64_t *names;                 /* [n] what the address hashes to on every host */
};

static uint64_t name_of(const struct disc_endpoint *endpoint)
{
    return XXH3_64bits_withSeed(endpoint->address, strlen(endpoint->address), TARGET_SEED_ADDRESS);
}

static void take_endpoint(struct building *building, const struct disc_endpoint *endpoint)
{
    struct target_set *set = building->set;
    uint32_t i = set->n++;

    building->weights[i] = endpoint->weight;
    building->names[i] = name_of(endpoint);
    set->endpoints[i] = endpoint->state;
    if (endpoint->state) {
        endpoint_state_ref(endpoint->state);
    }
}

/* Both are sorted by address, and all versions of an endpoint have one state. */
static void find_in_before(struct building *building)
{
    const struct target_set *set = building->set, *before = building->before;
    uint32_t k = 0;

    for (uint32_t i = 0; i < set->n; i++) {
        const struct endpoint_state *state = set->endpoints[i];
        building->was[i] = LB_NONE;
        while (state && k < before->n &&
               strcmp(before->endpoints[k]->address, state->address) < 0) {
            k++;
        }
        if (state && k < before->n && before->endpoints[k] == state) {
            building->was[i] = k++;
        }
    }
}

/* Which of them came to others that were there. */
static void find_new(struct target_set *set)
{
    set->oldest_in = UINT64_MAX;
    for (uint32_t i = 0; i < set->n; i++) {
        const struct endpoint_state *state = set->endpoints[i];
        if (state && state->born_in < set->oldest_in) {
            set->oldest_in = state->born_in;
        }
        if (state && state->born_in > set->newest_in) {
            set->newest_in = state->born_in;
        }
    }
    for (uint32_t i = 0; i < set->n; i++) {
        const struct endpoint_state *state = set->endpoints[i];
        if (state && state->born_in > set->oldest_in && state->born_ms > set->newest_ms) {
            set->newest_ms = state->born_ms;
        }
    }
}

/* Builds what the policy picks by; false when out of memory. */
static bool build_policy(struct building *building)
{
    struct target_set *set = building->set;

    set->draw = lb_draw_new(building->weights, set->n);
    if (!set->draw) {
        return false;
    }
    if (set->key.lb == DISC_LB_HASH) {
        set->maglev = lb_maglev_new(building->names, building->weights, set->n);
        return set->maglev != NULL;
    }
    if (set->key.lb == DISC_LB_ROUND_ROBIN) {
        set->round_robin = lb_round_robin_new(building->weights, set->n, building->start);
        if (set->round_robin && building->before) {
            find_in_before(building);
            lb_round_robin_follow(set->round_robin, building->before->round_robin, building->was);
        }
        return set->round_robin != NULL;
    }
    return true;
}

static bool is_in(const struct building *building, const struct disc_endpoint *endpoint)
{
    return takes_calls(endpoint, building->set->key.name[TARGET_ZONE]) &&
           (building->least == 0 ||
            lb_subset_score(building->host, name_of(endpoint)) >= building->least);
}

/* Finds the least score that is in the subset. names is room for the scores. */
static void choose_subset(struct building *building, const struct disc_cluster *cluster, size_t n)
{
    uint32_t scores = 0;
    building->least = 0;
    if (building->set->key.subset == 0) {
        return;
    }
    for (size_t i = 0; i < n; i++) {
        if (is_in(building, cluster->endpoints[i])) {
            building->names[scores++] =
                lb_subset_score(building->host, name_of(cluster->endpoints[i]));
        }
    }
    building->least = lb_subset_least(building->names, scores, building->set->key.subset);
}

static uint64_t weight_of(const struct disc_cluster *cluster, size_t n, struct disc_str zone)
{
    uint64_t weight = 0;
    for (size_t i = 0; i < n; i++) {
        weight += takes_calls(cluster->endpoints[i], zone) ? cluster->endpoints[i]->weight : 0;
    }
    return weight;
}

/* Fills endpoints and what picks among them; false when out of memory. */
static bool set_fill(struct building *building, const struct disc_cluster *cluster)
{
    struct target_set *set = building->set;
    size_t n = cluster ? cluster->n : 0;
    bool ok = false;

    building->weights = calloc(n + 1, sizeof(*building->weights));
    building->was = calloc(n + 1, sizeof(*building->was));
    building->names = calloc(n + 1, sizeof(*building->names));
    set->endpoints = calloc(n + 1, sizeof(*set->endpoints));
    if (building->weights && building->was && building->names && set->endpoints) {
        set->weight = weight_of(cluster, n, set->key.name[TARGET_ZONE]);
        choose_subset(building, cluster, n);
        for (size_t i = 0; i < n; i++) {
            if (is_in(building, cluster->endpoints[i])) {
                take_endpoint(building, cluster->endpoints[i]);
            }
        }
        find_new(set);
        set->warm_in = building->before ? building->before->newest_in : UINT64_MAX;
        set->to_warm = set->newest_in > set->warm_in;
        ok = build_policy(building);
    }
    free(building->weights);
    free(building->was);
    free(building->names);
    return ok;
}

/* Where nothing is left to go on from, each round_robin begins somewhere else. */
static uint64_t fresh_start(struct target_table *table)
{
    table->built++;
    return XXH3_64bits_withSeed(&table->built, sizeof table->built, table->seed);
}

static struct target_set *set_new(struct target_table *table, const struct target_key *key,
                                  const struct disc_cluster *version,
                                  const struct target_set *before)
{
    struct target_set *set = calloc(1, sizeof *set + disc_names_bytes(key->name, TARGET_NAMES) + 1);
    if (!set) {
        return NULL;
    }
    set->refs = 1;
    set->cluster_id = version ? version->id : 0;
    set->key.lb = key->lb;
    set->key.subset = key->subset;
    disc_names_copy(key->name, TARGET_NAMES, (char *)(set + 1), set->key.name);
    struct building building = {
        .set = set, .before = before, .host = table->host, .start = fresh_start(table)};
    if (!set_fill(&building, version)) {
        set_free(set);
        return NULL;
    }
    return set;
}

static void table_add(struct target_table *table, struct target_set *set, uint64_t hash)
{
    if (table->count > table->mask) {
        table_grow(table);
    }
    struct target_set **home = &table->buckets[hash & table->mask];
    set->next = *home;
    *home = set;
    table->count++;
}

struct target_set *target_table_get(struct target_table *table, const struct disc_view *view,
                                    const struct target_key *key)
{
    const struct disc_cluster *version =
        view ? disc_view_cluster(view, key->name[TARGET_CLUSTER]) : NULL;
    const struct target_set *before = NULL;
    uint64_t id = version ? version->id : 0;
    uint64_t hash = hash_key(table, key);
    for (struct target_set *set = table->buckets[hash & table->mask]; set; set = set->next) {
        if (!key_eq(&set->key, key)) {
            continue;
        }
        if (set->cluster_id == id) {
            set->refs++;
            return set;
        }
        before = before ? before : set; /* the newest stands first, but for a table that grew */
    }
    struct target_set *set = set_new(table, key, version, before);
    if (set) {
        table_add(table, set, hash);
    }
    return set;
}

void target_set_unref(struct target_table *table, struct target_set *set)
{
    if (!set || --set->refs > 0) {
        return;
    }
    struct target_set **link = &table->buckets[hash_key(table, &set->key) & table->mask];
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
