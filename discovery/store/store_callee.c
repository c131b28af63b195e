/*
 * discovery/store/store_callee.c: the records of one `To`, found by its decoded name.
 *
 * The table has the snapshot's buckets, so that a bucket of views is a walk over a bucket of
 * callees. `To = *` has a callee of its own outside the table.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/memory.h"
#include "discovery/store/store_internal.h"
#include "discovery/store/view_build.h"

#include <assert.h>

struct store_callee *store_callee_get(struct disc_store *store, struct disc_str name)
{
    if (name.len == 0) {
        return store->star;
    }
    uint64_t hash = view_hash_name(store->options.hash_seed, name);
    struct store_callees *bucket = &store->callees[snapshot_bucket_of(hash)];
    for (uint32_t i = 0; i < bucket->n; i++) {
        struct store_callee *callee = bucket->items[i];
        if (callee->hash == hash &&
            disc_str_eq(disc_str_of(callee->name, callee->name_len), name)) {
            return callee;
        }
    }
    struct store_callee *callee = memory_zalloc(sizeof *callee + name.len + 1);
    callee->hash = hash;
    callee->name_len = name.len;
    memcpy(callee->name, name.p, name.len);
    if (bucket->n == bucket->cap) {
        bucket->cap = 2 * bucket->cap + 2;
        bucket->items = memory_resize(bucket->items, bucket->cap, sizeof bucket->items[0]);
    }
    bucket->items[bucket->n++] = callee;
    store->callees_len++;
    return callee;
}

void store_callee_add_rule(struct store_callee *callee, struct store_record *record)
{
    if (callee->rules_len == callee->rules_cap) {
        callee->rules_cap = 2 * callee->rules_cap + 2;
        callee->rules = memory_resize(callee->rules, callee->rules_cap, sizeof callee->rules[0]);
    }
    record->callee_index = callee->rules_len;
    callee->rules[callee->rules_len++] = record;
}

void store_callee_remove_rule(struct store_callee *callee, struct store_record *record)
{
    struct store_record *last = callee->rules[--callee->rules_len];
    assert(callee->rules[record->callee_index] == record);
    callee->rules[record->callee_index] = last;
    last->callee_index = record->callee_index;
}

void store_callee_dirty(struct disc_store *store, struct store_callee *callee)
{
    store->changed = true;
    if (!callee->dirty) {
        callee->dirty = true;
        callee->next_dirty = store->dirty;
        store->dirty = callee;
    }
}

void store_callee_remove(struct disc_store *store, struct store_callee *callee)
{
    struct store_callees *bucket = &store->callees[snapshot_bucket_of(callee->hash)];
    for (uint32_t i = 0; i < bucket->n; i++) {
        if (bucket->items[i] == callee) {
            bucket->items[i] = bucket->items[--bucket->n];
            store->callees_len--;
            store_callee_free(callee);
            return;
        }
    }
    assert(!"a callee that is not in the table");
}

void store_callee_free(struct store_callee *callee)
{
    callee->view = disc_view_unref(callee->view);
    free(callee->rules);
    free(callee);
}
