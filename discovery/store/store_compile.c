/*
 * discovery/store/store_compile.c: from commits to a snapshot, in slices.
 *
 * The one place below sidecar that reads a clock: a slice ends when its time is up, and only the
 * work itself knows how long its steps take. The clock decides when to pause, never what to build.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/memory.h"
#include "discovery/store/store_internal.h"
#include "discovery/store/view_build.h"

#include <assert.h>
#include <time.h>

static uint64_t now_us(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* cannot fail on Linux */
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

/* ---- phases: one step each, false where the phase is over ------------------------------------ */

static void txn_done(struct disc_store *store)
{
    struct store_txn *txn = store->queue;
    if (txn->layer == DISC_LAYER_ETCD && !txn->is_aside) {
        store->revision = txn->revision;
        store->origin = txn->origin;
    }
    store->built_ms = txn->is_aside ? store->built_ms : txn->now_ms;
    store->queue = txn->next;
    if (store->queue == NULL) {
        store->queue_end = &store->queue;
    }
    (void)store_txn_free(txn); /* NULL */
}

static void apply_begin(struct disc_store *store)
{
    struct store_txn *txn = store->queue;
    store->apply_block = txn->first;
    store->apply_off = 0;
    store->mark[txn->layer] += txn->full;
}

static bool step_apply(struct disc_store *store)
{
    const struct store_block *block = store->apply_block;
    if (block == NULL) {
        return false;
    }
    const struct store_op *op = store_txn_op(block, store->apply_off);
    store_apply(store, store->queue->layer, op);
    store->apply_off += store_op_size(op);
    if (store->apply_off >= block->used) {
        store->apply_block = block->next;
        store->apply_off = 0;
    }
    return true;
}

static void sweep_begin(struct disc_store *store)
{
    store->sweep_space = DISC_SPACE_RULES;
    store->cursor = key_index_after(&store->records[DISC_SPACE_RULES], NULL);
}

static bool step_sweep(struct disc_store *store)
{
    if (store->cursor != NULL) {
        struct key_index_node *node = store->cursor;
        store->cursor = node->next[0];
        store_sweep(store, store->queue, node);
        return true;
    }
    if (store->sweep_space == DISC_SPACE_RULES) {
        store->sweep_space = DISC_SPACE_SERVICES;
        store->cursor = key_index_after(&store->records[DISC_SPACE_SERVICES], NULL);
        return true;
    }
    return false;
}

static void add_rule(struct disc_store *store, const struct store_record *record)
{
    struct disc_rule_key key;
    struct disc_error error;
    const char *text = record->key + store->prefix_len[DISC_SPACE_RULES] + 1;
    enum disc_layer layer = store_record_layer(record);
    const struct store_side *good = layer != DISC_LAYERS ? record->side[layer] : NULL;
    /* Of a layer above the good value's, or the same. What lies beneath one that is in force has
     * no say. */
    const struct store_side *rejected = good;
    for (int above = DISC_LAYERS - 1; above > (good != NULL ? (int)layer : -1); above--) {
        const struct store_side *side = record->side[above];
        if (side != NULL && side->rejection != NULL) {
            rejected = side;
            break;
        }
    }
    (void)disc_rule_key_parse(text, strlen(text), &key, &error); /* OURS, or it had no callee */
    bool refused = rejected != NULL && rejected->rejection != NULL;
    view_add_rule(store->compiling, &key, record->key, good != NULL ? good->rule : NULL,
                  refused ? &rejected->rejection->error : NULL,
                  refused ? rejected->mod_revision : 0);
}

static void add_endpoint(struct disc_store *store, const struct store_record *record)
{
    struct disc_service_key key;
    struct disc_error error;
    const char *text = record->key + store->prefix_len[DISC_SPACE_SERVICES] + 1;
    enum disc_layer layer = store_record_layer(record);
    if (layer == DISC_LAYERS ||
        disc_service_key_parse(text, strlen(text), &key, &error) != DISC_KEY_OURS) {
        return; /* rejected without a last good value, or a refused address: only listed */
    }
    view_add_endpoint(store->compiling, key.cluster, record->side[layer]->endpoint);
}

static void compile_begin(struct disc_store *store, const struct store_callee *callee)
{
    store->compiling = view_new(&store->graveyard, store->options.hash_seed,
                                disc_str_of(callee->name, callee->name_len), callee->rules_len);
    store->compile_rule = 0;
    store->compile_services = NULL;
}

/* Services of one callee are neighbours in the index, in the order that clusters want. */
static void services_begin(struct disc_store *store, const struct store_callee *callee)
{
    char encoded[DISC_NAME_ENCODED_MAX_BYTES + 1];
    size_t len =
        disc_name_encode(disc_str_of(callee->name, callee->name_len), encoded, sizeof encoded - 1);
    encoded[len++] = '/';
    const char *prefix = store_whole_key(store, DISC_SPACE_SERVICES, encoded, len);
    store->compile_services = memory_text(prefix, strlen(prefix));
    store->cursor =
        callee->services > 0 ? key_index_after(&store->records[DISC_SPACE_SERVICES], prefix) : NULL;
}

static void bucket_dirty(struct disc_store *store, const struct store_callee *callee)
{
    if (callee != store->star) {
        store->callees[snapshot_bucket_of(callee->hash)].dirty = true;
    }
}

static void compile_end(struct disc_store *store, struct store_callee *callee)
{
    struct disc_view *before = callee->view;
    view_finish(store->compiling, before, &store->last_cluster_id);
    callee->view = store->compiling;
    store->compiling = NULL;
    free(store->compile_services);
    store->compile_services = NULL;
    (void)disc_view_unref(before); /* NULL */
    store->stats.views_built_total++;
    bucket_dirty(store, callee);
}

static bool step_compile(struct disc_store *store)
{
    struct store_callee *callee = store->dirty;
    if (callee == NULL) {
        return false;
    }
    if (store->compiling == NULL) {
        if (callee->rules_len > 0 || callee->services > 0 || callee == store->star) {
            compile_begin(store, callee);
            return true;
        }
        store->dirty = callee->next_dirty;
        bucket_dirty(store, callee);
        store_callee_remove(store, callee);
        return true;
    }
    if (store->compile_rule < callee->rules_len) {
        add_rule(store, callee->rules[store->compile_rule++]);
        return true;
    }
    if (store->compile_services == NULL) {
        services_begin(store, callee);
        return true;
    }
    struct key_index_node *node = store->cursor;
    if (node != NULL &&
        strncmp(node->key, store->compile_services, strlen(store->compile_services)) == 0) {
        add_endpoint(store, node->value);
        store->cursor = node->next[0];
        return true;
    }
    store->dirty = callee->next_dirty;
    callee->dirty = false;
    compile_end(store, callee);
    return true;
}

static bool step_bucket(struct disc_store *store)
{
    if (store->bucket == SNAPSHOT_BUCKETS) {
        return false;
    }
    uint32_t b = store->bucket++;
    struct store_callees *callees = &store->callees[b];
    if (!callees->dirty) {
        return true;
    }
    callees->dirty = false;
    struct snapshot_bucket *bucket = callees->n > 0 ? snapshot_bucket_new(callees->n) : NULL;
    for (uint32_t i = 0; i < callees->n; i++) {
        struct store_callee *callee = callees->items[i];
        assert(bucket != NULL);
        bucket->item[bucket->n].hash = callee->hash;
        bucket->item[bucket->n].view = disc_view_ref(callee->view);
        bucket->n++;
    }
    (void)snapshot_bucket_unref(store->buckets[b]); /* NULL */
    store->buckets[b] = bucket;
    return true;
}

/* A file that was read again without a change, say, is no news to the workers. */
static bool is_news(const struct disc_store *store)
{
    return store->changed || store->generation == 0 ||
           store->revision != store->published_revision || store->origin != store->published_origin;
}

static void publish(struct disc_store *store)
{
    if (!is_news(store)) {
        return;
    }
    store->changed = false;
    store->published_revision = store->revision;
    store->published_origin = store->origin;
    struct disc_snapshot *snapshot = memory_zalloc(sizeof *snapshot);
    snapshot->generation = ++store->generation;
    snapshot->revision = store->revision;
    snapshot->origin = store->origin;
    snapshot->built_ms = store->built_ms;
    snapshot->seed = store->options.hash_seed;
    snapshot->callees = store->callees_len;
    snapshot->graveyard = &store->graveyard;
    snapshot->star = disc_view_ref(store->star->view);
    for (uint32_t b = 0; b < SNAPSHOT_BUCKETS; b++) {
        snapshot->buckets[b] = snapshot_bucket_ref(store->buckets[b]);
    }
    store->stats.snapshots_total++;
    if (store->options.publish != NULL) {
        store->options.publish(store->options.owner, snapshot);
    } else {
        (void)disc_snapshot_free(snapshot); /* NULL: nobody reads it */
    }
}

/* ---- the machine ----------------------------------------------------------------------------- */

static void enter(struct disc_store *store, enum store_phase phase)
{
    store->phase = phase;
    switch (phase) {
    case STORE_APPLY:
        apply_begin(store);
        break;
    case STORE_SWEEP:
        sweep_begin(store);
        break;
    case STORE_BUCKETS:
        store->bucket = 0;
        break;
    case STORE_PUBLISH:
        publish(store);
        break;
    default:
        break;
    }
}

/* One step; false where there is nothing left to do. */
static bool step(struct disc_store *store)
{
    switch (store->phase) {
    case STORE_IDLE:
        if (store->queue == NULL) {
            return false;
        }
        enter(store, STORE_APPLY);
        break;
    case STORE_APPLY:
        if (!step_apply(store)) {
            bool full = store->queue->full;
            if (!full) {
                txn_done(store);
            }
            enter(store, full ? STORE_SWEEP : store->queue != NULL ? STORE_APPLY : STORE_COMPILE);
        }
        break;
    case STORE_SWEEP:
        if (!step_sweep(store)) {
            txn_done(store);
            enter(store, store->queue != NULL ? STORE_APPLY : STORE_COMPILE);
        }
        break;
    case STORE_COMPILE:
        if (!step_compile(store)) {
            enter(store, STORE_BUCKETS);
        }
        break;
    case STORE_BUCKETS:
        if (!step_bucket(store)) {
            enter(store, STORE_PUBLISH);
        }
        break;
    case STORE_PUBLISH:
        enter(store, STORE_IDLE);
        break;
    default:
        assert(!"no such phase");
    }
    return true;
}

bool disc_store_is_built(const struct disc_store *store)
{
    return store->phase == STORE_IDLE && store->queue == NULL;
}

bool disc_store_build(struct disc_store *store, uint64_t budget_us)
{
    uint64_t start = now_us();
    bool more = true;
    disc_store_reap(store);
    while ((more = step(store)) && now_us() - start < budget_us) {
    }
    disc_store_reap(store);
    return !more || disc_store_is_built(store);
}

void store_compile_drop(struct disc_store *store)
{
    store->compiling = disc_view_unref(store->compiling);
    free(store->compile_services);
    store->compile_services = NULL;
}
