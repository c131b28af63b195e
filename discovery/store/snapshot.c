/*
 * discovery/store/snapshot.c: see discovery/store/snapshot.h and snapshot_build.h.
 *
 * Lookups run on worker threads, on a route cache miss; they touch nothing but constant memory.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/snapshot.h"

#include "discovery/base/memory.h"
#include "discovery/store/snapshot_build.h"
#include "discovery/store/view_build.h"

uint64_t disc_snapshot_generation(const struct disc_snapshot *snapshot)
{
    return snapshot->generation;
}

int64_t disc_snapshot_revision(const struct disc_snapshot *snapshot)
{
    return snapshot->revision;
}

enum disc_origin disc_snapshot_origin(const struct disc_snapshot *snapshot)
{
    return snapshot->origin;
}

uint64_t disc_snapshot_built_ms(const struct disc_snapshot *snapshot)
{
    return snapshot->built_ms;
}

struct disc_view *disc_snapshot_view(const struct disc_snapshot *snapshot, struct disc_str to)
{
    uint64_t hash = view_hash_name(snapshot->seed, to);
    const struct snapshot_bucket *bucket = snapshot->buckets[snapshot_bucket_of(hash)];
    for (uint32_t i = 0; bucket != NULL && i < bucket->n; i++) {
        if (bucket->item[i].hash == hash && disc_str_eq(view_name(bucket->item[i].view), to)) {
            return bucket->item[i].view;
        }
    }
    return NULL;
}

struct disc_view *disc_snapshot_star(const struct disc_snapshot *snapshot)
{
    return snapshot->star;
}

uint32_t disc_snapshot_callee_count(const struct disc_snapshot *snapshot)
{
    return snapshot->callees;
}

struct disc_snapshot *disc_snapshot_free(struct disc_snapshot *snapshot)
{
    if (snapshot == NULL) {
        return NULL;
    }
    struct graveyard *graveyard = snapshot->graveyard;
    for (uint32_t b = 0; b < SNAPSHOT_BUCKETS; b++) {
        snapshot->buckets[b] = snapshot_bucket_unref(snapshot->buckets[b]);
    }
    snapshot->star = disc_view_unref(snapshot->star);
    free(snapshot);
    view_reap(graveyard);
    return NULL;
}

struct snapshot_bucket *snapshot_bucket_new(uint32_t n)
{
    struct snapshot_bucket *bucket = memory_alloc(sizeof *bucket + n * sizeof bucket->item[0]);
    bucket->refs = 1;
    bucket->n = 0;
    return bucket;
}

struct snapshot_bucket *snapshot_bucket_ref(struct snapshot_bucket *bucket)
{
    if (bucket != NULL) {
        bucket->refs++;
    }
    return bucket;
}

struct snapshot_bucket *snapshot_bucket_unref(struct snapshot_bucket *bucket)
{
    if (bucket != NULL && --bucket->refs == 0) {
        for (uint32_t i = 0; i < bucket->n; i++) {
            bucket->item[i].view = disc_view_unref(bucket->item[i].view);
        }
        free(bucket);
    }
    return NULL;
}
