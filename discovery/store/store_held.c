/*
 * discovery/store/store_held.c: keys that etcd lost without anybody's word, until they may go.
 *
 * A held key is its record's side of the etcd layer as it was last good, marked. Endpoints go when
 * half of their cluster is etcd's own again and stays so for a while: then the cluster has come
 * back with other members. The time is kept in each held side; looking is a walk over the cluster's
 * records, which are neighbours in the index. Rules have no such sign: they wait for a word.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/memory.h"
#include "discovery/store/store_internal.h"

#include <assert.h>
#include <string.h>

/* Of one call: tens of thousands of keys are a few milliseconds. A cluster is always looked at
 * whole. */
#define VISITS_MAX 20000

void store_set_held(struct disc_store *store, struct store_record *record, bool held)
{
    struct store_side *side = record->side[DISC_LAYER_ETCD];
    if (side->held == held) {
        return;
    }
    side->held = held;
    side->back_ms = 0;
    if (held) {
        key_index_insert(&store->held[record->space], record->key, record);
        store->stats.held[record->space]++;
    } else {
        (void)key_index_remove(&store->held[record->space], record->key); /* the record */
        store->stats.held[record->space]--;
    }
}

static void release(struct disc_store *store, struct store_txn *txn,
                    const struct store_record *record)
{
    const char *key = record->key + store->prefix_len[record->space] + 1;
    const struct store_op op = {
        .kind = STORE_OP_RELEASE, .space = record->space, .key_len = (uint32_t)strlen(key)};
    store_txn_add(txn, &op, key, NULL);
}

bool disc_store_release(struct disc_store *store, const char *whole_key)
{
    for (int space = 0; space < DISC_SPACES; space++) {
        const struct store_record *record = key_index_find(&store->held[space], whole_key);
        if (record != NULL) {
            release(store, store_txn_aside(store, DISC_LAYER_ETCD), record);
            return true;
        }
    }
    return false;
}

/* ---- clusters that have come back ----------------------------------------------------------- */

struct cluster {
    const struct key_index_node *first; /* of its records */
    size_t prefix_len;                  /* of their keys, with the last '/' */
    size_t held;
    size_t own; /* endpoints in force that etcd has */
};

static bool is_in(const struct cluster *cluster, const struct key_index_node *node)
{
    return node != NULL && strncmp(node->key, cluster->first->key, cluster->prefix_len) == 0;
}

/* The cluster of a held endpoint. */
static struct cluster count_cluster(const struct disc_store *store, const char *held_key)
{
    struct cluster cluster = {.prefix_len = (size_t)(strrchr(held_key, '/') + 1 - held_key)};
    char *prefix = memory_text(held_key, cluster.prefix_len);
    cluster.first = key_index_after(&store->records[DISC_SPACE_SERVICES], prefix);
    free(prefix);
    for (const struct key_index_node *node = cluster.first; is_in(&cluster, node);
         node = node->next[0]) {
        const struct store_record *record = node->value;
        const struct store_side *side = record->side[DISC_LAYER_ETCD];
        cluster.held += side != NULL && side->held;
        cluster.own += side != NULL && !side->held && side->endpoint != NULL;
    }
    return cluster;
}

/* Keeps the time of each held endpoint, and lets those go whose time has come. */
static size_t look_at(struct disc_store *store, const struct cluster *cluster, uint64_t now_ms,
                      uint64_t release_ms)
{
    struct store_txn *txn = NULL;
    size_t released = 0;
    for (const struct key_index_node *node = cluster->first; is_in(cluster, node);
         node = node->next[0]) {
        const struct store_record *record = node->value;
        struct store_side *side = record->side[DISC_LAYER_ETCD];
        if (side == NULL || !side->held) {
            continue;
        }
        if (cluster->own < cluster->held) {
            side->back_ms = 0;
        } else if (side->back_ms == 0) {
            side->back_ms = now_ms > 0 ? now_ms : 1;
        } else if (now_ms - side->back_ms >= release_ms) {
            txn = txn != NULL ? txn : store_txn_aside(store, DISC_LAYER_ETCD);
            release(store, txn, record);
            released++;
        }
    }
    return released;
}

size_t disc_store_release_returned(struct disc_store *store, uint64_t now_ms, uint64_t release_ms)
{
    const struct key_index *held = &store->held[DISC_SPACE_SERVICES];
    const struct key_index_node *node = key_index_after(held, store->returned);
    size_t visits = 0;
    size_t released = 0;
    free(store->returned);
    store->returned = NULL;
    while (node != NULL && visits < VISITS_MAX) {
        struct cluster cluster = count_cluster(store, node->key);
        released += look_at(store, &cluster, now_ms, release_ms);
        visits += cluster.held + cluster.own;
        const struct key_index_node *last = node;
        for (; is_in(&cluster, node); node = node->next[0]) {
            last = node;
        }
        if (node != NULL && visits >= VISITS_MAX) {
            store->returned = memory_text(last->key, strlen(last->key));
        }
    }
    return released;
}
