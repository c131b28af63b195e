/*
 * sidecar/data/route/target_set.h: one cluster (or one zone of it) as one thread balances over it.
 *
 * Built from a version of a disc_cluster, replaced when that version is; what is learnt of an
 * endpoint lives in shared/endpoint_state.h and survives. One table per worker, and one of explain's.
 * Not thread-safe; counted by the routes that hold it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_ROUTE_TARGET_SET_H
#define TSIDE_SIDECAR_DATA_ROUTE_TARGET_SET_H

#include "discovery/store/view.h"
#include "lb/maglev.h"
#include "lb/p2c.h"
#include "lb/round_robin.h"
#include "sidecar/shared/endpoint_state.h"

enum target_name {
    TARGET_SERVICE = 0,
    TARGET_CLUSTER,
    TARGET_ZONE, /* "": all */
    TARGET_NAMES
};

/* What a set is found by, besides its version. */
struct target_key {
    struct disc_str name[TARGET_NAMES];
    enum disc_enum lb; /* what is built besides the draw */
    uint32_t subset;   /* so many of the endpoints, by lb/subset.h; 0: all */
};

struct target_set {
    uint32_t refs;
    uint64_t cluster_id;   /* of the disc_cluster it was built from; 0: an empty cluster */
    struct target_key key; /* names are its own */
    uint64_t weight;       /* of all there are, those too that are not in the subset */
    uint32_t n;
    struct endpoint_state **endpoints; /* [n], those with weight, referenced, sorted by address;
                                          NULL where the store attaches no state (explain) */
    struct lb_draw *draw;
    struct lb_round_robin *round_robin; /* lb round_robin; else NULL */
    struct lb_maglev *maglev;           /* lb hash; else NULL */
    struct lb_set_load load;            /* refreshed now and then */
    uint64_t load_ms;
    uint64_t oldest_in; /* the smallest born_in: what was born later is new here */
    uint64_t newest_ms; /* when the last one that is new was born; 0: none is */
    uint64_t newest_in; /* the largest born_in */
    uint64_t
        warm_in;  /* of the version before, which was in use: what was born later has just come */
    bool to_warm; /* there are some, and pool_warm() has not seen them */
    uint32_t out; /* ejected, as of out_ms: ejection.h */
    uint64_t out_ms;
    uint64_t full_ms;        /* when one more could not go */
    uint64_t said_ms;        /* when the log was told last that it fails open; 0: never */
    struct target_set *next; /* in the table's bucket */
};

struct target_table;

/* host: target_host() of this host's name, by which subsets are chosen. */
struct target_table *target_table_new(uint64_t seed, uint64_t host);
struct target_table *target_table_free(struct target_table *table);

/* The same on every start, and by explain. */
uint64_t target_host(const char *name);

/*
 * The set of this cluster in the version that view holds, built where missing or outdated. An unknown
 * cluster gives an empty set. round_robin goes on where the version before was. NULL when out of
 * memory. Takes a reference.
 */
struct target_set *target_table_get(struct target_table *table, const struct disc_view *view,
                                    const struct target_key *key);
void target_set_unref(struct target_table *table, struct target_set *set);

/* Whether anything can be picked: an endpoint with weight. */
static inline bool target_set_usable(const struct target_set *set)
{
    return lb_draw_total_weight(set->draw) > 0;
}

/* The set's load, at most some milliseconds old (exact for small sets). */
const struct lb_set_load *target_set_load(struct target_set *set, uint64_t now_ms);

#endif
