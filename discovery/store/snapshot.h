/*
 * discovery/store/snapshot.h: what is in force at one instant, for all threads.
 *
 * Immutable. Built by the control thread's store (discovery/store/store.h), handed to the workers
 * by one pointer, freed by the control thread after every worker has acknowledged a newer one.
 * Snapshots share what did not change.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_SNAPSHOT_H
#define TSIDE_DISCOVERY_STORE_SNAPSHOT_H

#include "discovery/store/view.h"

/* Where the rules of the etcd layer came from last. */
enum disc_origin {
    DISC_ORIGIN_NONE = 0, /* no etcd, or nothing from it yet: the embedded file alone */
    DISC_ORIGIN_DISK,     /* the last good state, etcd not reached yet */
    DISC_ORIGIN_ETCD
};

struct disc_snapshot;

uint64_t disc_snapshot_generation(const struct disc_snapshot *snapshot); /* 1, 2, ... */
int64_t disc_snapshot_revision(const struct disc_snapshot *snapshot);    /* etcd's; 0: none */
enum disc_origin disc_snapshot_origin(const struct disc_snapshot *snapshot);
uint64_t disc_snapshot_built_ms(const struct disc_snapshot *snapshot); /* the store's clock */

/* The callee's view, NULL where no key names it. Borrowed for as long as the snapshot is held;
 * disc_view_ref() keeps it longer. Any thread. */
struct disc_view *disc_snapshot_view(const struct disc_snapshot *snapshot, struct disc_str to);
struct disc_view *disc_snapshot_star(const struct disc_snapshot *snapshot);

uint32_t disc_snapshot_callee_count(const struct disc_snapshot *snapshot); /* "*" aside */

/* Control thread only. */
struct disc_snapshot *disc_snapshot_free(struct disc_snapshot *snapshot);

#endif
