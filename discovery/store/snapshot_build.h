/*
 * discovery/store/snapshot_build.h: how the store makes snapshots. Control thread only.
 *
 * A snapshot is a table of buckets, a bucket a list of views. Both are immutable; a new snapshot
 * shares every bucket that did not change, so one changed key costs a view, a bucket and a table of
 * SNAPSHOT_BUCKETS pointers, however many callees there are.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_SNAPSHOT_BUILD_H
#define TSIDE_DISCOVERY_STORE_SNAPSHOT_BUILD_H

#include "discovery/store/snapshot.h"

#define SNAPSHOT_BUCKETS 1024u

struct snapshot_bucket {
    uint32_t refs; /* of snapshots and the store: all on the control thread */
    uint32_t n;
    struct {
        uint64_t hash;
        struct disc_view *view;
    } item[];
};

struct disc_snapshot {
    uint64_t generation;
    int64_t revision;
    enum disc_origin origin;
    uint64_t built_ms;
    uint64_t seed;
    uint32_t callees;
    struct graveyard *graveyard; /* the store's, borrowed */
    struct disc_view *star;
    struct snapshot_bucket *buckets[SNAPSHOT_BUCKETS]; /* NULL: empty */
};

static inline uint32_t snapshot_bucket_of(uint64_t hash)
{
    return (uint32_t)(hash >> 32) % SNAPSHOT_BUCKETS;
}

/* Room for n views; item[] and n are the caller's to fill (it gives its view references away). */
struct snapshot_bucket *snapshot_bucket_new(uint32_t n);
struct snapshot_bucket *snapshot_bucket_ref(struct snapshot_bucket *bucket);   /* NULL: NULL */
struct snapshot_bucket *snapshot_bucket_unref(struct snapshot_bucket *bucket); /* NULL */

#endif
