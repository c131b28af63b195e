/*
 * sidecar/server/snapshots.c: see snapshots.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/snapshots.h"

#include <stdlib.h>
#include <string.h>

void snapshots_add(struct snapshots *snapshots, struct disc_snapshot *snapshot)
{
    if (snapshots->n == snapshots->capacity) {
        uint32_t capacity = snapshots->capacity ? 2 * snapshots->capacity : 8;
        struct disc_snapshot **held = realloc(snapshots->held, capacity * sizeof *held);
        if (!held) {
            abort(); /* a few words; without them the snapshot could never be freed */
        }
        snapshots->held = held;
        snapshots->capacity = capacity;
    }
    snapshots->held[snapshots->n++] = snapshot;
}

const struct disc_snapshot *snapshots_newest(const struct snapshots *snapshots)
{
    return snapshots->n ? snapshots->held[snapshots->n - 1] : NULL;
}

const struct disc_snapshot *snapshots_in_force(const struct snapshots *snapshots, uint64_t seen)
{
    for (uint32_t i = snapshots->n; i > 0; i--) {
        if (disc_snapshot_generation(snapshots->held[i - 1]) <= seen) {
            return snapshots->held[i - 1];
        }
    }
    return NULL;
}

void snapshots_reclaim(struct snapshots *snapshots, uint64_t seen)
{
    uint32_t gone = 0;
    while (gone + 1 < snapshots->n && disc_snapshot_generation(snapshots->held[gone]) < seen) {
        disc_snapshot_free(snapshots->held[gone++]);
    }
    if (gone > 0) {
        snapshots->n -= gone;
        memmove(snapshots->held, snapshots->held + gone, snapshots->n * sizeof *snapshots->held);
    }
}

void snapshots_free_all(struct snapshots *snapshots)
{
    for (uint32_t i = 0; i < snapshots->n; i++) {
        disc_snapshot_free(snapshots->held[i]);
    }
    free(snapshots->held);
    memset(snapshots, 0, sizeof *snapshots);
}
