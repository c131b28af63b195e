/*
 * sidecar/data/route/route.h: what one tuple's calls are done by: rules and targets, resolved once.
 *
 * A route is made from a snapshot and cached per worker; it is valid while its two views are the
 * snapshot's: two compares a call, no sweep when something else changes. The cache is bounded
 * (limits.tuples over all workers); tuples beyond the bound are resolved per call. Not thread-safe:
 * each worker, and explain, has a cache of its own. A call pins its route by route_ref().
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_ROUTE_ROUTE_H
#define TSIDE_SIDECAR_DATA_ROUTE_ROUTE_H

#include "discovery/store/snapshot.h"
#include "sidecar/base/shadow.h"
#include "sidecar/data/route/target_set.h"
#include "sidecar/shared/counters.h"
#include "sidecar/shared/tuple_state.h"

/* `pool` of `config`: how calls share connections. */
struct route_pool {
    enum disc_enum mode;
    enum disc_enum framing;
    uint32_t max_idle;
    uint32_t idle_ms;
    uint32_t max_connections;
    uint32_t max_age_ms; /* 0: no limit */
    uint32_t max_calls;  /* 0: no limit */
    uint32_t wait_ms;
    uint32_t max_waiting;
};

/* `retry` of `config`, and what draws from the same budget. */
enum route_retry_on { /* the bits of retry.on */
                      ROUTE_RETRY_CONNECT =
                          DISC_SET_BIT(DISC_RETRY_ON_CONNECT, DISC_RETRY_ON_CONNECT),
                      ROUTE_RETRY_RESET = DISC_SET_BIT(DISC_RETRY_ON_RESET, DISC_RETRY_ON_CONNECT),
                      ROUTE_RETRY_TIMEOUT =
                          DISC_SET_BIT(DISC_RETRY_ON_TIMEOUT, DISC_RETRY_ON_CONNECT),
                      ROUTE_RETRY_EXCEPTION =
                          DISC_SET_BIT(DISC_RETRY_ON_EXCEPTION, DISC_RETRY_ON_CONNECT),
                      /* Those that find the request with the callee. */
                      ROUTE_RETRY_SENT =
                          ROUTE_RETRY_RESET | ROUTE_RETRY_TIMEOUT | ROUTE_RETRY_EXCEPTION
};

struct route_retry {
    uint8_t attempts; /* extra ones */
    uint8_t on;       /* enum route_retry_on bits */
    bool idempotent;
    uint8_t budget_percent;
    uint32_t backoff_ms;
    int32_t hedge_after; /* ms, 0: off, or DISC_DELAY_P95, DISC_DELAY_P99 */
    bool sends_twice;    /* what a callee has may be sent again, as a retry or a hedge */
};

/* The fields of `config` as the call path wants them (built ones only). */
struct route_config {
    uint32_t timeout_ms;
    uint32_t connect_timeout_ms;
    uint32_t send_timeout_ms;
    uint32_t receive_timeout_ms; /* 0: none */
    enum disc_enum lb;
    struct disc_by hash_by;
    uint32_t subset;        /* endpoints of a cluster; 0: all */
    uint32_t slow_start_ms; /* 0: none */
    bool prefer_zone;
    struct route_pool pool;
    struct route_retry retry;
    bool exceptions_fail;
    const struct disc_ranges *base_resp_fail; /* NULL: none */
    bool deny;
    uint32_t shadow; /* shadow_bit() of each stage that is to refuse nothing */
    bool oneway;
    uint32_t max_concurrency; /* 0: none */
    uint32_t rate_per_s;      /* 0: none */
    uint32_t burst;           /* as written */
    struct lb_rate rate;      /* of the two */
    bool rate_is_shared;      /* rate_scope: fleet */
    struct lb_eject_rule eject;
    bool has_breaker;
    struct lb_breaker_rule breaker;
    struct disc_str fallback_cluster; /* "" none */
    double access_log;
};

/* Whether a BaseResp code counts as a failure of the callee. */
static inline bool route_config_fails(const struct route_config *config, int32_t code)
{
    const struct disc_ranges *failures = config->base_resp_fail;
    for (uint32_t i = 0; failures && i < failures->n; i++) {
        if (code >= failures->range[i].low && code <= failures->range[i].high) {
            return true;
        }
    }
    return false;
}

struct route_target {
    struct disc_str cluster;
    struct target_set *zone_set; /* NULL where no zone was asked for */
    struct target_set *set;      /* the whole cluster */
    bool is_near;                /* the zone is this host's own, by prefer_zone */
    uint32_t near_e2; /* then: so many of 10,000 calls stay in it, the others go to all */
};

struct route {
    uint32_t refs;
    uint64_t hash;
    struct route *next;                /* in the cache's bucket */
    struct route *all_prev, *all_next; /* among all cached routes */
    uint64_t generation;               /* of the newest snapshot that it is known to be valid in */
    uint64_t last_used_ms;
    struct disc_tuple tuple;                   /* points into names */
    struct disc_view *callee, *star;           /* referenced */
    const struct disc_rule *traffic, *degrade; /* borrowed from the views; NULL: none */
    const struct disc_rule *config_rule;
    struct route_config config;
    uint32_t targets_len; /* entry i of the traffic rule's split; 1 without a rule */
    struct route_target *targets;
    struct target_set *fallback;   /* NULL: none configured */
    struct tuple_state *state;     /* counted; NULL in explain's routes */
    struct tuple_counts *counts;   /* this worker's */
    struct tuple_limits *limits;   /* the state's; NULL likewise */
    uint32_t stages;               /* that its calls meet: stages_find() */
    uint32_t holders;              /* of them: hold something for a call */
    bool counts_calls;             /* in limits->calls */
    uint32_t caller_slot;          /* of its From, in struct caller_share */
    struct tuple_breaker *breaker; /* the state's; NULL likewise, and where it is off */
    struct {
        struct latency_window *latencies; /* this worker's; NULL: no percentile is wanted */
        uint64_t until_ms;                /* delay_ms holds */
        uint32_t delay_ms;                /* 0: too few calls for a percentile */
    } hedge;
    char names[];
};

struct route_cache;

struct route_cache_options {
    uint64_t limit; /* routes held at most */
    uint64_t seed;
    uint64_t host;              /* target_host() */
    const char *zone;           /* this host's; borrowed. NULL or "": none */
    struct tuple_table *tuples; /* NULL: nothing is counted (explain) */
    uint32_t worker;
    struct counters *counters; /* NULL likewise */
};

struct route_cache *route_cache_new(const struct route_cache_options *options);
/* No call may hold a route any more. */
struct route_cache *route_cache_free(struct route_cache *cache);

/* The route found last by the calls of one connection, which mostly are of one tuple: saves hashing five names.
 * Holds no reference: it is believed only while no route has left the cache. All zero: none. */
struct route_hint {
    struct route *route;
    uint64_t departures; /* of the cache, when it was found */
};

/* The route of this tuple under this snapshot; takes a reference. NULL when out of memory. hint may be NULL. */
struct route *route_get(struct route_cache *cache, const struct disc_snapshot *snapshot,
                        const struct disc_tuple *tuple, uint64_t now_ms, struct route_hint *hint);
void route_unref(struct route_cache *cache, struct route *route);

/* What bounds its calls, beyond its own rules: what all workers share. */
void route_set_limits(struct route *route, struct tuple_table *tuples, struct tuple_state *state);

/* Looks at n cached routes, going on where it stopped, and lets go of those whose views are outdated
 * or that were idle for idle_ms. Called once in a while, so that forgotten tuples do not pin old
 * views. */
void route_cache_sweep(struct route_cache *cache, const struct disc_snapshot *snapshot, uint32_t n,
                       uint64_t now_ms, uint64_t idle_ms);

#endif
