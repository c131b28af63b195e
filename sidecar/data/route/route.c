/*
 * sidecar/data/route/route.c: see sidecar/data/route/route.h.
 *
 * The cache holds one reference to each of its routes, each call that goes by one another. A
 * replaced route leaves the cache at once and lives until its last call ends; so does a route that
 * was made for one call because the cache was full.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/route.h"

#include "sidecar/data/route/stage.h"

#include <stdlib.h>
#include <string.h>

/* prefer_zone: a zone that has so much of its cluster's weight gets all calls from its own hosts. Below, each endpoint
 * there would get more than a zone's fair part among four (docs/specification.md, section 2). */
#define NEAR_SHARE_MIN_PERCENT 25

#define BUCKETS_MIN 64
#define BUCKETS_MAX (1u << 20)

struct route_cache {
    struct route_cache_options options;
    struct target_table *targets;
    uint64_t count;      /* routes in the buckets */
    uint64_t departures; /* routes that have left them */
    uint32_t mask;
    struct route **buckets;
    struct route *first; /* all cached routes, newest first */
    struct route *sweep; /* where the next sweep goes on; NULL: at first */
};

static void count_metric(struct route_cache *cache, enum metric metric)
{
    if (cache->options.counters) {
        counter_add(cache->options.counters, metric, 1);
    }
}

/* ---- the cache itself ------------------------------------------------------------------------ */

struct route_cache *route_cache_new(const struct route_cache_options *options)
{
    struct route_cache *cache = calloc(1, sizeof *cache);
    if (!cache) {
        return NULL;
    }
    /* All buckets at once: untouched pages cost nothing, and no call ever pays for a rehash. */
    uint64_t buckets = BUCKETS_MIN;
    while (buckets < options->limit && buckets < BUCKETS_MAX) {
        buckets *= 2;
    }
    cache->options = *options;
    cache->mask = (uint32_t)(buckets - 1);
    cache->buckets = calloc(buckets, sizeof(*cache->buckets));
    cache->targets = target_table_new(options->seed, options->host);
    if (!cache->buckets || !cache->targets) {
        return route_cache_free(cache);
    }
    return cache;
}

static void cache_link(struct route_cache *cache, struct route *route)
{
    struct route **home = &cache->buckets[route->hash & cache->mask];
    route->next = *home;
    *home = route;
    route->all_prev = NULL;
    route->all_next = cache->first;
    if (cache->first) {
        cache->first->all_prev = route;
    }
    cache->first = route;
    cache->count++;
    route->refs++;
    count_metric(cache, METRIC_ROUTES_CACHED);
}

static void cache_unlink(struct route_cache *cache, struct route *route)
{
    struct route **link = &cache->buckets[route->hash & cache->mask];
    while (*link != route) {
        link = &(*link)->next;
    }
    *link = route->next;
    if (route->all_prev) {
        route->all_prev->all_next = route->all_next;
    } else {
        cache->first = route->all_next;
    }
    if (route->all_next) {
        route->all_next->all_prev = route->all_prev;
    }
    if (cache->sweep == route) {
        cache->sweep = route->all_next;
    }
    route->next = route->all_prev = route->all_next = NULL;
    cache->count--;
    cache->departures++;
    if (cache->options.counters) {
        counter_sub(cache->options.counters, METRIC_ROUTES_CACHED, 1);
    }
    route_unref(cache, route);
}

struct route_cache *route_cache_free(struct route_cache *cache)
{
    if (cache) {
        while (cache->first) {
            cache_unlink(cache, cache->first);
        }
        target_table_free(cache->targets);
        free(cache->buckets);
        free(cache);
    }
    return NULL;
}

/* ---- one route -------------------------------------------------------------------------------- */

static void route_free(struct route_cache *cache, struct route *route)
{
    for (uint32_t i = 0; i < route->targets_len; i++) {
        target_set_unref(cache->targets, route->targets[i].zone_set);
        target_set_unref(cache->targets, route->targets[i].set);
    }
    target_set_unref(cache->targets, route->fallback);
    if (route->state) {
        tuple_state_unref(route->state);
    }
    disc_view_unref(route->callee);
    disc_view_unref(route->star);
    free(route->targets);
    free(route);
}

void route_unref(struct route_cache *cache, struct route *route)
{
    if (route && --route->refs == 0) {
        route_free(cache, route);
    }
}

static struct route_pool pool_from(const union disc_value *v)
{
    return (struct route_pool){
        .mode = (enum disc_enum)v[DISC_FIELD_POOL_MODE].i,
        .framing = (enum disc_enum)v[DISC_FIELD_POOL_FRAMING].i,
        .max_idle = (uint32_t)v[DISC_FIELD_POOL_MAX_IDLE].i,
        .idle_ms = (uint32_t)v[DISC_FIELD_POOL_IDLE_MS].i,
        .max_connections = (uint32_t)v[DISC_FIELD_POOL_MAX_CONNECTIONS].i,
        .max_age_ms = (uint32_t)v[DISC_FIELD_POOL_MAX_AGE_MS].i,
        .max_calls = (uint32_t)v[DISC_FIELD_POOL_MAX_CALLS].i,
        .wait_ms = (uint32_t)v[DISC_FIELD_POOL_WAIT_MS].i,
        .max_waiting = (uint32_t)v[DISC_FIELD_POOL_MAX_WAITING].i,
    };
}

static struct route_retry retry_from(const union disc_value *v)
{
    struct route_retry retry = {
        .attempts = (uint8_t)v[DISC_FIELD_RETRY_ATTEMPTS].i,
        .on = (uint8_t)v[DISC_FIELD_RETRY_ON].i,
        .idempotent = v[DISC_FIELD_RETRY_IDEMPOTENT].i != 0,
        .budget_percent = (uint8_t)v[DISC_FIELD_RETRY_BUDGET_PERCENT].i,
        .backoff_ms = (uint32_t)v[DISC_FIELD_RETRY_BACKOFF_MS].i,
        .hedge_after = (int32_t)v[DISC_FIELD_HEDGE_AFTER_MS].i,
    };
    bool retries = retry.attempts > 0 && (retry.on & ROUTE_RETRY_SENT) != 0;
    retry.sends_twice = retry.idempotent && (retries || retry.hedge_after != 0);
    return retry;
}

static struct lb_breaker_rule breaker_from(const union disc_value *v)
{
    return (struct lb_breaker_rule){
        .error_rate = v[DISC_FIELD_BREAKER_ERROR_RATE].d,
        .min_calls = (uint32_t)v[DISC_FIELD_BREAKER_MIN_CALLS].i,
        .consecutive = (uint32_t)v[DISC_FIELD_BREAKER_CONSECUTIVE].i,
        .cooling_ms = (uint32_t)v[DISC_FIELD_BREAKER_COOLING_MS].i,
        .probe_ms = (uint32_t)v[DISC_FIELD_BREAKER_PROBE_MS].i,
        .successes = (uint32_t)v[DISC_FIELD_BREAKER_SUCCESSES].i,
    };
}

static struct lb_eject_rule eject_from(const union disc_value *v)
{
    return (struct lb_eject_rule){
        .consecutive = (uint32_t)v[DISC_FIELD_EJECT_CONSECUTIVE].i,
        .base_ms = (uint32_t)v[DISC_FIELD_EJECT_BASE_MS].i,
        .max_ms = (uint32_t)v[DISC_FIELD_EJECT_MAX_MS].i,
        .max_percent = (uint32_t)v[DISC_FIELD_EJECT_MAX_PERCENT].i,
    };
}

static uint32_t shadow_from(const union disc_value *v)
{
    static const struct {
        enum disc_field field;
        enum shadow stage;
    } rows[] = {{DISC_FIELD_SHADOW_ACCESS, SHADOW_ACCESS},
                {DISC_FIELD_SHADOW_RATE, SHADOW_RATE},
                {DISC_FIELD_SHADOW_CONCURRENCY, SHADOW_CONCURRENCY},
                {DISC_FIELD_SHADOW_BREAKER, SHADOW_BREAKER}};
    uint32_t set = 0;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        set |= v[rows[i].field].i != 0 ? shadow_bit(rows[i].stage) : 0;
    }
    return set;
}

static void config_from(struct route_config *config, const struct disc_resolution *resolution)
{
    const union disc_value *v = resolution->value;
    config->timeout_ms = (uint32_t)v[DISC_FIELD_TIMEOUT_MS].i;
    config->connect_timeout_ms = (uint32_t)v[DISC_FIELD_CONNECT_TIMEOUT_MS].i;
    config->send_timeout_ms = (uint32_t)v[DISC_FIELD_SEND_TIMEOUT_MS].i;
    config->receive_timeout_ms = (uint32_t)v[DISC_FIELD_RECEIVE_TIMEOUT_MS].i;
    config->lb = (enum disc_enum)v[DISC_FIELD_LB].i;
    if (!disc_by_parse(v[DISC_FIELD_HASH_BY].s, &config->hash_by)) {
        config->hash_by.kind = DISC_BY_RANDOM; /* the rule parser has checked: never */
    }
    config->subset = (uint32_t)v[DISC_FIELD_SUBSET].i;
    config->slow_start_ms = (uint32_t)v[DISC_FIELD_SLOW_START_MS].i;
    config->prefer_zone = v[DISC_FIELD_PREFER_ZONE].i != 0;
    config->pool = pool_from(v);
    config->retry = retry_from(v);
    config->exceptions_fail = v[DISC_FIELD_FAILURES_EXCEPTIONS].i != 0;
    config->base_resp_fail = v[DISC_FIELD_FAILURES_BASE_RESP].ranges;
    config->deny = v[DISC_FIELD_ACCESS].i == DISC_ACCESS_DENY;
    config->shadow = shadow_from(v);
    config->oneway = v[DISC_FIELD_ONEWAY].i != 0;
    config->max_concurrency = (uint32_t)v[DISC_FIELD_MAX_CONCURRENCY].i;
    config->rate_per_s = (uint32_t)v[DISC_FIELD_RATE_PER_S].i;
    config->burst = (uint32_t)v[DISC_FIELD_BURST].i;
    config->rate_is_shared = v[DISC_FIELD_RATE_SCOPE].i == DISC_RATE_SCOPE_FLEET;
    if (config->rate_per_s > 0) {
        config->rate = lb_rate_of(config->rate_per_s, config->burst);
    }
    config->eject = eject_from(v);
    config->has_breaker = v[DISC_FIELD_BREAKER_ENABLE].i != 0;
    config->breaker = breaker_from(v);
    config->fallback_cluster = v[DISC_FIELD_FALLBACK_CLUSTER].s;
    config->access_log = v[DISC_FIELD_ACCESS_LOG].d;
}

static struct target_set *target_get(struct route_cache *cache, const struct route *route,
                                     struct disc_str cluster, struct disc_str zone)
{
    const struct target_key key = {
        .name = {route->tuple.name[DISC_TO], cluster, zone},
        .lb = route->config.lb,
        .subset = route->config.subset,
    };
    return target_table_get(cache->targets, route->callee, &key);
}

/* This host's zone, where calls that name none are to stay in it; else "". */
static struct disc_str near_zone(const struct route_cache *cache, const struct route *route)
{
    const char *zone = route->config.prefer_zone && cache->options.zone ? cache->options.zone : "";
    return disc_str_of(zone, strlen(zone));
}

/* As much as the near endpoints' share of the weight allows; what is missing is spread over all. */
static uint32_t near_part(const struct route_target *target)
{
    uint64_t near = target->zone_set->weight;
    uint64_t all = target->set->weight;
    uint64_t part = all > 0 ? near * 10000 * 100 / (all * NEAR_SHARE_MIN_PERCENT) : 0;
    return part < 10000 ? (uint32_t)part : 10000;
}

/* Entry i: the sets of the cluster (and zone) that calls may be sent to. */
static bool target_fill(struct route_cache *cache, struct route *route, uint32_t i,
                        struct disc_str cluster, struct disc_str zone)
{
    struct route_target *target = &route->targets[i];
    target->cluster = cluster;
    target->is_near = zone.len == 0;
    zone = target->is_near ? near_zone(cache, route) : zone;
    if (zone.len > 0) {
        target->zone_set = target_get(cache, route, cluster, zone);
        if (!target->zone_set) {
            return false;
        }
    }
    target->set = target_get(cache, route, cluster, disc_str_of("", 0));
    if (target->set && target->zone_set && target->is_near) {
        target->near_e2 = near_part(target);
    }
    return target->set != NULL;
}

static bool targets_fill(struct route_cache *cache, struct route *route)
{
    const struct disc_traffic *traffic = route->traffic ? &route->traffic->traffic : NULL;
    uint32_t n = traffic ? traffic->n : 1;
    route->targets = calloc(n, sizeof(*route->targets));
    if (!route->targets) {
        return false;
    }
    route->targets_len = n;
    if (!traffic &&
        !target_fill(cache, route, 0, route->tuple.name[DISC_TO_CLUSTER], disc_str_of("", 0))) {
        return false;
    }
    for (uint32_t i = 0; traffic && i < n; i++) {
        if (!target_fill(cache, route, i, traffic->targets[i].cluster, traffic->targets[i].zone)) {
            return false;
        }
    }
    if (route->config.fallback_cluster.len > 0) {
        route->fallback =
            target_get(cache, route, route->config.fallback_cluster, disc_str_of("", 0));
        return route->fallback != NULL;
    }
    return true;
}

static struct route *route_alloc(const struct disc_tuple *tuple)
{
    size_t len = disc_names_bytes(tuple->name, DISC_NAMES);
    struct route *route = calloc(1, sizeof *route + len + 1);
    if (!route) {
        return NULL;
    }
    disc_names_copy(tuple->name, DISC_NAMES, route->names, route->tuple.name);
    route->refs = 1;
    return route;
}

/* Calls without a limit are counted, too, but where they would use up the limit of another tuple. */
void route_set_limits(struct route *route, struct tuple_table *tuples, struct tuple_state *state)
{
    route->limits = tuple_table_limits(tuples, state, &route->tuple);
    route->caller_slot = tuple_table_caller_slot(tuples, route->tuple.name[DISC_FROM]);
    route->counts_calls = route->config.max_concurrency > 0 || !tuple_state_is_other(state);
    route->breaker = route->config.has_breaker ? tuple_state_breaker(state) : NULL;
    stages_find(route);
}

static struct route *route_new(struct route_cache *cache, const struct disc_tuple *tuple,
                               uint64_t hash, struct disc_view *callee, struct disc_view *star)
{
    struct route *route = route_alloc(tuple);
    if (!route) {
        return NULL;
    }
    route->hash = hash;
    route->callee = disc_view_ref(callee);
    route->star = disc_view_ref(star);

    struct disc_resolution resolution;
    disc_resolve(callee, star, &route->tuple, &resolution);
    route->traffic = resolution.traffic;
    route->degrade = resolution.degrade;
    route->config_rule = resolution.config;
    config_from(&route->config, &resolution);
    if (!targets_fill(cache, route)) {
        route_free(cache, route);
        return NULL;
    }
    stages_find(route);
    if (cache->options.tuples) {
        route->state = tuple_table_get(cache->options.tuples, &route->tuple);
        route->counts = tuple_state_counts(route->state, cache->options.worker);
        route_set_limits(route, cache->options.tuples, route->state);
        if (route->config.retry.hedge_after < 0) {
            route->hedge.latencies = tuple_state_measure(route->state, cache->options.worker);
        }
    }
    return route;
}

/* ---- looking up ------------------------------------------------------------------------------ */

static struct route *cache_find(const struct route_cache *cache, uint64_t hash,
                                const struct disc_tuple *tuple)
{
    struct route *route = cache->buckets[hash & cache->mask];
    while (route && (route->hash != hash || !disc_tuple_eq(&route->tuple, tuple))) {
        route = route->next;
    }
    return route;
}

static bool is_valid(struct route *route, const struct disc_snapshot *snapshot)
{
    uint64_t generation = disc_snapshot_generation(snapshot);
    if (route->generation == generation) {
        return true;
    }
    if (route->star != disc_snapshot_star(snapshot) ||
        route->callee != disc_snapshot_view(snapshot, route->tuple.name[DISC_TO])) {
        return false;
    }
    route->generation = generation; /* the next call looks nothing up */
    return true;
}

static struct route *use(struct route *route, uint64_t now_ms)
{
    route->last_used_ms = now_ms;
    route->refs++;
    return route;
}

/* Takes the old route's place, or stays beside the cache where that is full. */
static void replace(struct route_cache *cache, struct route *old, struct route *route)
{
    /* The old one goes last: sets and counters that both use are kept, not made again. */
    if (old) {
        cache_unlink(cache, old);
    }
    if (route && cache->count < cache->options.limit) {
        cache_link(cache, route);
    } else if (route) {
        count_metric(cache, METRIC_ROUTES_UNCACHED);
    }
}

/* Calls of this route may take tokens from now on. */
static void adopt_rate(struct route *route, uint64_t now_ms)
{
    const struct route_config *config = &route->config;
    if (route->limits) {
        fleet_part_adopt(&route->limits->part, config->rate_is_shared ? config->rate_per_s : 0);
    }
    if (route->limits && config->rate_per_s > 0) {
        token_bucket_adopt(&route->limits->bucket, config->rate_per_s, config->burst,
                           now_ms * 1000);
    }
}

static struct route *find_or_make(struct route_cache *cache, const struct disc_snapshot *snapshot,
                                  const struct disc_tuple *tuple, uint64_t now_ms)
{
    uint64_t hash = disc_names_hash(cache->options.seed, tuple->name, DISC_NAMES);
    struct route *old = cache_find(cache, hash, tuple);
    if (old && is_valid(old, snapshot)) {
        return use(old, now_ms);
    }
    count_metric(cache, METRIC_ROUTE_MISSES);
    struct route *route =
        route_new(cache, tuple, hash, disc_snapshot_view(snapshot, tuple->name[DISC_TO]),
                  disc_snapshot_star(snapshot));
    if (route) {
        route->generation = disc_snapshot_generation(snapshot);
        route->last_used_ms = now_ms;
        adopt_rate(route, now_ms);
    }
    replace(cache, old, route);
    return route;
}

static bool is_hinted(const struct route_cache *cache, const struct route_hint *hint,
                      const struct disc_snapshot *snapshot, const struct disc_tuple *tuple)
{
    return hint->route && hint->departures == cache->departures &&
           disc_tuple_eq(&hint->route->tuple, tuple) && is_valid(hint->route, snapshot);
}

struct route *route_get(struct route_cache *cache, const struct disc_snapshot *snapshot,
                        const struct disc_tuple *tuple, uint64_t now_ms, struct route_hint *hint)
{
    if (hint && is_hinted(cache, hint, snapshot, tuple)) {
        return use(hint->route, now_ms);
    }
    struct route *route = find_or_make(cache, snapshot, tuple, now_ms);
    if (hint) {
        bool is_cached = route && route->refs > 1;
        *hint = (struct route_hint){is_cached ? route : NULL, cache->departures};
    }
    return route;
}

void route_cache_sweep(struct route_cache *cache, const struct disc_snapshot *snapshot, uint32_t n,
                       uint64_t now_ms, uint64_t idle_ms)
{
    if (n > cache->count) {
        n = (uint32_t)cache->count;
    }
    while (n-- > 0) {
        struct route *route = cache->sweep ? cache->sweep : cache->first;
        cache->sweep = route->all_next;
        bool idle = now_ms > route->last_used_ms && now_ms - route->last_used_ms >= idle_ms;
        if (idle || !is_valid(route, snapshot)) {
            cache_unlink(cache, route);
        }
    }
}
