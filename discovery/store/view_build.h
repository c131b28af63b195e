/*
 * discovery/store/view_build.h: how the store makes a view and gets rid of it. Control thread only.
 *
 *     view = view_new(&graveyard, seed, callee, keys);
 *     view_add_rule(view, ...);        each key once, any order
 *     view_add_endpoint(view, ...);    in bytewise order of the keys
 *     view_finish(view, previous, &cluster_id);          immutable from here on
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_VIEW_BUILD_H
#define TSIDE_DISCOVERY_STORE_VIEW_BUILD_H

#include "discovery/store/view.h"

/* The graveyard is borrowed for the view's life; rules_max bounds the calls of view_add_rule().
 * name: the callee, empty for `To = *`; copied. Counted 1. */
struct disc_view *view_new(struct graveyard *graveyard, uint64_t seed, struct disc_str name,
                           uint32_t rules_max);

/* rule (NULL: none in force) is ref'd, the rest copied. error (NULL: none) is why the value of
 * rejected_revision is not in force. */
void view_add_rule(struct disc_view *view, const struct disc_rule_key *key, const char *whole_key,
                   struct disc_rule *rule, const struct disc_error *error,
                   int64_t rejected_revision);
void view_add_endpoint(struct disc_view *view, struct disc_str cluster,
                       struct disc_endpoint *endpoint);

/* Clusters that are the same as in previous (NULL: none) keep their id. */
void view_finish(struct disc_view *view, const struct disc_view *previous,
                 uint64_t *last_cluster_id);

struct disc_str view_name(const struct disc_view *view);

/* Frees every view in the graveyard. */
void view_reap(struct graveyard *graveyard);

/* The seeded hash of a callee's name: views, buckets and the store's table use the same. */
uint64_t view_hash_name(uint64_t seed, struct disc_str name);

#endif
