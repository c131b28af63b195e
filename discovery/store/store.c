/*
 * discovery/store/store.c: see discovery/store/store.h; this file writes down what sources report.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/store.h"

#include "discovery/base/memory.h"
#include "discovery/store/store_internal.h"
#include "discovery/store/view_build.h"

#include <assert.h>

#define BLOCK_BYTES 65536

const char *disc_layer_str(enum disc_layer layer)
{
    static const char *const names[DISC_LAYERS] = {"file", "etcd"};
    return (unsigned)layer < DISC_LAYERS ? names[layer] : "?";
}

struct disc_store *disc_store_new(const struct disc_store_options *options)
{
    struct disc_store *store = memory_zalloc(sizeof *store);
    uint64_t seed = options->hash_seed;
    store->options = *options;
    for (int space = 0; space < DISC_SPACES; space++) {
        store->prefix_len[space] = strlen(options->prefix[space]);
        store->prefix[space] = memory_text(options->prefix[space], store->prefix_len[space]);
        store->options.prefix[space] = store->prefix[space];
        key_index_init(&store->records[space], seed + (uint64_t)space);
        key_index_init(&store->rejected[space], seed + 2 + (uint64_t)space);
        key_index_init(&store->held[space], seed + 5 + (uint64_t)space);
    }
    size_t longest = store->prefix_len[DISC_SPACE_RULES] > store->prefix_len[DISC_SPACE_SERVICES]
                         ? store->prefix_len[DISC_SPACE_RULES]
                         : store->prefix_len[DISC_SPACE_SERVICES];
    store->scratch = memory_alloc(longest + 1 + DISC_KEY_MAX_BYTES + 1);
    if (store->options.keys_max == 0) {
        store->options.keys_max = DISC_KEYS_MAX;
    }
    endpoint_table_init(&store->endpoints, &store->options, seed + 4);
    graveyard_init(&store->graveyard);
    store->queue_end = &store->queue;
    store->star = memory_zalloc(sizeof *store->star + 1);
    return store;
}

struct disc_store *disc_store_free(struct disc_store *store)
{
    if (store == NULL) {
        return NULL;
    }
    store_compile_drop(store);
    for (int layer = 0; layer < DISC_LAYERS; layer++) {
        store->open[layer] = store_txn_free(store->open[layer]);
    }
    while (store->queue != NULL) {
        struct store_txn *next = store->queue->next;
        store->queue = store_txn_free(store->queue);
        store->queue = next;
    }
    for (int space = 0; space < DISC_SPACES; space++) {
        struct key_index_node *node = key_index_after(&store->records[space], NULL);
        for (; node != NULL; node = node->next[0]) {
            store_record_free(store, node->value);
        }
        key_index_done(&store->records[space]);
        key_index_done(&store->rejected[space]);
        key_index_done(&store->held[space]);
        free(store->prefix[space]);
    }
    for (uint32_t b = 0; b < SNAPSHOT_BUCKETS; b++) {
        for (uint32_t i = 0; i < store->callees[b].n; i++) {
            store_callee_free(store->callees[b].items[i]);
        }
        free(store->callees[b].items);
        store->buckets[b] = snapshot_bucket_unref(store->buckets[b]);
    }
    store_callee_free(store->star);
    view_reap(&store->graveyard);
    endpoint_table_done(&store->endpoints);
    free(store->returned);
    free(store->scratch);
    free(store);
    return NULL;
}

const char *store_whole_key(const struct disc_store *store, enum disc_space space, const char *key,
                            size_t key_len)
{
    size_t prefix_len = store->prefix_len[space];
    assert(key_len <= DISC_KEY_MAX_BYTES);
    memcpy(store->scratch, store->prefix[space], prefix_len);
    store->scratch[prefix_len] = '/';
    memcpy(store->scratch + prefix_len + 1, key, key_len);
    store->scratch[prefix_len + 1 + key_len] = '\0';
    return store->scratch;
}

void disc_store_reap(struct disc_store *store)
{
    view_reap(&store->graveyard);
}

/* ---- transactions ---------------------------------------------------------------------------- */

struct store_op *store_txn_op(const struct store_block *block, size_t off)
{
    return (struct store_op *)(uintptr_t)(block->bytes + off);
}

size_t store_op_size(const struct store_op *op)
{
    size_t size = sizeof *op + op->key_len + 1 + op->text_len + 1;
    return (size + _Alignof(max_align_t) - 1) & ~(_Alignof(max_align_t) - 1);
}

struct store_txn *store_txn_free(struct store_txn *txn)
{
    while (txn != NULL && txn->first != NULL) {
        struct store_block *next = txn->first->next;
        free(txn->first);
        txn->first = next;
    }
    free(txn);
    return NULL;
}

void store_txn_add(struct store_txn *txn, const struct store_op *head, const char *key,
                   const char *text)
{
    assert((unsigned)head->space < DISC_SPACES);
    assert((key != NULL || head->key_len == 0) && (text != NULL || head->text_len == 0));
    size_t size = store_op_size(head);
    if (txn->last == NULL || txn->last->cap - txn->last->used < size) {
        size_t cap = size > BLOCK_BYTES ? size : txn->first == NULL ? 4 * size : BLOCK_BYTES;
        struct store_block *block = memory_alloc(sizeof *block + cap);
        block->next = NULL;
        block->used = 0;
        block->cap = cap;
        if (txn->last == NULL) {
            txn->first = block;
        } else {
            txn->last->next = block;
        }
        txn->last = block;
    }
    struct store_op *op = store_txn_op(txn->last, txn->last->used);
    *op = *head;
    if (head->key_len > 0) {
        memcpy(op->bytes, key, head->key_len);
    }
    op->bytes[head->key_len] = '\0';
    if (head->text_len > 0) {
        memcpy(op->bytes + head->key_len + 1, text, head->text_len);
    }
    op->bytes[head->key_len + 1 + head->text_len] = '\0';
    txn->last->used += size;
}

static void add_op(struct disc_store *store, enum disc_layer layer, const struct store_op *head,
                   const char *key, const char *text)
{
    assert((unsigned)layer < DISC_LAYERS && store->open[layer] != NULL); /* begin comes first */
    store_txn_add(store->open[layer], head, key, text);
}

static void enqueue(struct disc_store *store, struct store_txn *txn)
{
    *store->queue_end = txn;
    store->queue_end = &txn->next;
}

struct store_txn *store_txn_aside(struct disc_store *store, enum disc_layer layer)
{
    struct store_txn *txn = memory_zalloc(sizeof *txn);
    txn->layer = layer;
    txn->is_aside = true;
    enqueue(store, txn);
    return txn;
}

/* Longer keys are not ours, and a NUL cannot stand in a key of ours: such are not even counted. */
static bool key_fits(const char *key, size_t len)
{
    return len <= DISC_KEY_MAX_BYTES && memchr(key, '\0', len) == NULL;
}

void disc_store_begin(struct disc_store *store, enum disc_layer layer, bool full)
{
    assert((unsigned)layer < DISC_LAYERS);
    store->open[layer] = store_txn_free(store->open[layer]);
    store->open[layer] = memory_zalloc(sizeof *store->open[layer]);
    store->open[layer]->layer = layer;
    store->open[layer]->full = full;
}

void disc_store_put(struct disc_store *store, enum disc_layer layer, enum disc_space space,
                    const char *key, size_t key_len, const char *text, size_t text_len,
                    int64_t mod_revision, int64_t lease, uint64_t now_unix_ms)
{
    /* Of a value over the limit only its being too long matters. */
    size_t kept = text_len > DISC_VALUE_MAX_BYTES ? DISC_VALUE_MAX_BYTES + 1 : text_len;
    const struct store_op op = {.kind = STORE_OP_PUT,
                                .space = space,
                                .key_len = (uint32_t)key_len,
                                .text_len = (uint32_t)kept,
                                .source_len = text_len,
                                .mod_revision = mod_revision,
                                .lease = lease,
                                .now_unix_ms = now_unix_ms};
    if (key_fits(key, key_len)) {
        add_op(store, layer, &op, key, text);
    }
}

void disc_store_reject(struct disc_store *store, enum disc_layer layer, enum disc_space space,
                       const char *key, size_t key_len, int64_t mod_revision,
                       const struct disc_error *error, uint64_t now_unix_ms)
{
    const struct store_op op = {.kind = STORE_OP_REJECT,
                                .space = space,
                                .key_len = (uint32_t)key_len,
                                .text_len = sizeof *error,
                                .mod_revision = mod_revision,
                                .now_unix_ms = now_unix_ms};
    if (key_fits(key, key_len)) {
        add_op(store, layer, &op, key, (const char *)error);
    }
}

void disc_store_delete(struct disc_store *store, enum disc_layer layer, enum disc_space space,
                       const char *key, size_t key_len)
{
    const struct store_op op = {
        .kind = STORE_OP_DELETE, .space = space, .key_len = (uint32_t)key_len};
    if (key_fits(key, key_len)) {
        add_op(store, layer, &op, key, NULL);
    }
}

void disc_store_hold_missing(struct disc_store *store, enum disc_space space)
{
    struct store_txn *txn = store->open[DISC_LAYER_ETCD];
    assert(txn != NULL && txn->full);
    txn->hold[space] = true;
}

void disc_store_hold(struct disc_store *store, enum disc_space space, const char *key,
                     size_t key_len)
{
    const struct store_op op = {
        .kind = STORE_OP_HOLD, .space = space, .key_len = (uint32_t)key_len};
    if (key_fits(key, key_len)) {
        add_op(store, DISC_LAYER_ETCD, &op, key, NULL);
    }
}

void disc_store_commit(struct disc_store *store, enum disc_layer layer, int64_t revision,
                       enum disc_origin origin, uint64_t now_ms)
{
    assert((unsigned)layer < DISC_LAYERS && store->open[layer] != NULL);
    struct store_txn *txn = store->open[layer];
    store->open[layer] = NULL;
    txn->revision = revision;
    txn->origin = origin;
    txn->now_ms = now_ms;
    enqueue(store, txn);
}

/* ---- leases ---------------------------------------------------------------------------------- */

static void lease_from_txn(const struct store_txn *txn, enum disc_space space, const char *key,
                           size_t key_len, int64_t *lease)
{
    for (const struct store_block *block = txn->first; block != NULL; block = block->next) {
        for (size_t off = 0; off < block->used;) {
            const struct store_op *op = store_txn_op(block, off);
            if (op->space == space && op->key_len == key_len &&
                memcmp(op->bytes, key, key_len) == 0) {
                *lease = op->kind == STORE_OP_HOLD ? *lease : op->lease; /* 0 in a delete */
            }
            off += store_op_size(op);
        }
    }
}

int64_t disc_store_lease(const struct disc_store *store, enum disc_space space, const char *key,
                         size_t key_len)
{
    int64_t lease = 0;
    if (!key_fits(key, key_len)) {
        return 0;
    }
    const struct store_record *record =
        key_index_find(&store->records[space], store_whole_key(store, space, key, key_len));
    if (record != NULL && record->side[DISC_LAYER_ETCD] != NULL) {
        lease = record->side[DISC_LAYER_ETCD]->lease;
    }
    /* While a big list waits to be built this walks over it: a millisecond for 100,000 keys. */
    for (const struct store_txn *txn = store->queue; txn != NULL; txn = txn->next) {
        if (txn->layer == DISC_LAYER_ETCD) {
            lease = txn->full ? 0 : lease;
            lease_from_txn(txn, space, key, key_len, &lease);
        }
    }
    if (store->open[DISC_LAYER_ETCD] != NULL) {
        lease_from_txn(store->open[DISC_LAYER_ETCD], space, key, key_len, &lease);
    }
    return lease;
}
