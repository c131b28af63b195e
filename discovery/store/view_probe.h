/*
 * discovery/store/view_probe.h: looking one tuple up under many patterns, hashing each name once.
 * Private to view.c and rule_merge.c.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_VIEW_PROBE_H
#define TSIDE_DISCOVERY_STORE_VIEW_PROBE_H

#include "discovery/store/view.h"

struct view_hashes {
    uint64_t seed;
    uint64_t name[DISC_NAMES];
};

/* Both views of a snapshot have the store's seed. */
void view_hash_tuple(const struct disc_view *view, const struct disc_tuple *tuple,
                     struct view_hashes *ret);
const struct disc_entry *view_probe(const struct disc_view *view, const struct disc_tuple *tuple,
                                    const struct view_hashes *hashes, uint32_t pattern);

#endif
