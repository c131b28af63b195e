/*
 * sidecar/server/snapshots.h: the snapshots that some worker may still hold; control thread only.
 *
 * The newest is offered to the workers; an older one is freed when every worker has acknowledged a
 * newer one.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_SNAPSHOTS_H
#define TSIDE_SIDECAR_SERVER_SNAPSHOTS_H

#include "discovery/store/snapshot.h"

struct snapshots {
    struct disc_snapshot **held; /* oldest first; the last one is the newest */
    uint32_t n;
    uint32_t capacity;
};

/* Takes the snapshot. */
void snapshots_add(struct snapshots *snapshots, struct disc_snapshot *snapshot);
/* NULL: none yet. */
const struct disc_snapshot *snapshots_newest(const struct snapshots *snapshots);
/* The newest that every worker has taken up, where `seen` is the oldest that one may hold; NULL:
 * none. */
const struct disc_snapshot *snapshots_in_force(const struct snapshots *snapshots, uint64_t seen);
/* seen: the oldest generation that a worker may hold. The newest stays in any case. */
void snapshots_reclaim(struct snapshots *snapshots, uint64_t seen);
void snapshots_free_all(struct snapshots *snapshots);

#endif
