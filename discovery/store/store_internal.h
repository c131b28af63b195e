/*
 * discovery/store/store_internal.h: the store's insides, for the store_*.c files alone.
 *
 *     put, delete --> open[layer] --commit--> queue --APPLY--> records --COMPILE--> views
 *                                                              --BUCKETS, PUBLISH--> snapshot
 *
 * What a source reports is only written down (struct store_txn) until its commit, and looked at by
 * build alone, in slices. Records change in APPLY only; COMPILE reads them, and commits that arrive
 * meanwhile wait in the queue: so a snapshot holds whole commits.
 *
 *     record  one key of one space: what each layer holds of it (struct store_side)
 *     callee  the records of one `To`: what a view is compiled from
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_STORE_INTERNAL_H
#define TSIDE_DISCOVERY_STORE_STORE_INTERNAL_H

#include "discovery/store/endpoint.h"
#include "discovery/store/snapshot_build.h"
#include "discovery/store/store.h"

/* ---- what sources reported ------------------------------------------------------------------- */

enum store_op_kind {
    STORE_OP_PUT = 0,
    STORE_OP_REJECT,
    STORE_OP_DELETE,
    STORE_OP_HOLD,
    STORE_OP_RELEASE /* deletes the key where it is held */
};

struct store_op {
    enum store_op_kind kind;
    enum disc_space space;
    uint32_t key_len;
    uint32_t text_len; /* of REJECT: sizeof(struct disc_error) */
    size_t source_len; /* PUT: what the source has; text is cut where that is over the limit */
    int64_t mod_revision;
    int64_t lease;
    uint64_t now_unix_ms;
    char bytes[]; /* key, NUL, text, NUL */
};

struct store_block {
    struct store_block *next;
    size_t used;
    size_t cap;
    _Alignas(max_align_t) char bytes[];
};

struct store_txn {
    struct store_txn *next;
    enum disc_layer layer;
    bool full;
    bool is_aside;          /* no source's word: says nothing about revision and origin */
    bool hold[DISC_SPACES]; /* what the full list lacks of the space is held, not deleted */
    int64_t revision;
    enum disc_origin origin;
    uint64_t now_ms;
    struct store_block *first;
    struct store_block *last;
};

/* ---- what is known --------------------------------------------------------------------------- */

struct store_rejection {
    struct disc_error error;
    uint64_t since_unix_ms; /* of the first value refused in a row */
    char *text;             /* the value refused, NUL-terminated */
    size_t text_len;
    bool again; /* the same value may be good next time: the reason is not in it */
};

/* What one layer holds of a key. */
struct store_side {
    int64_t mod_revision; /* of the last value seen */
    int64_t lease;
    uint32_t mark;                     /* the last full list that had the key */
    struct disc_rule *rule;            /* the good value, NULL: none; of a rule, or */
    struct disc_endpoint *endpoint;    /* of a service */
    bool is_loopback;                  /* counted in stats.loopback */
    struct store_rejection *rejection; /* NULL: the last value seen is the good one */
    bool held;                         /* by the etcd layer alone: its record is in held[space] */
    uint64_t back_ms; /* held: since when half of the cluster is etcd's own; 0: it is not */
};

struct store_record {
    struct store_side *side[DISC_LAYERS]; /* NULL: the layer has no such key */
    struct store_callee *callee;          /* NULL where the key is foreign or refused */
    uint32_t callee_index;                /* in callee->rules, rules only */
    enum disc_key_verdict verdict;
    enum disc_space space;
    bool listed; /* is in rejected[space] */
    char key[];  /* whole */
};

struct store_callee {
    uint64_t hash;
    struct store_record **rules; /* unordered */
    uint32_t rules_len;
    uint32_t rules_cap;
    uint32_t services; /* number of records; they are found by walking the index */
    bool dirty;
    struct store_callee *next_dirty;
    struct disc_view *view; /* NULL before the first compile */
    uint32_t name_len;
    char name[]; /* decoded */
};

struct store_callees { /* one bucket of the table, same as the snapshot's */
    struct store_callee **items;
    uint32_t n;
    uint32_t cap;
    bool dirty;
};

enum store_phase {
    STORE_IDLE = 0, /* nothing to do, or commits wait in the queue */
    STORE_APPLY,    /* operations of queue's first transaction */
    STORE_SWEEP,    /* it was a full list: what it has not is deleted */
    STORE_COMPILE,
    STORE_BUCKETS,
    STORE_PUBLISH,
    STORE_PHASE_MAX
};

struct disc_store {
    struct disc_store_options options;
    char *prefix[DISC_SPACES];
    size_t prefix_len[DISC_SPACES];
    char *scratch; /* a whole key */

    struct store_txn *open[DISC_LAYERS];
    struct store_txn *queue;
    struct store_txn **queue_end;

    enum store_phase phase;
    const struct store_block *apply_block; /* APPLY: next operation of the queue's first */
    size_t apply_off;
    enum disc_space sweep_space;   /* SWEEP */
    struct key_index_node *cursor; /* SWEEP, COMPILE: next node of an index */
    struct disc_view *compiling;   /* COMPILE: the view of `dirty` under construction */
    uint32_t compile_rule;         /* COMPILE: next of its rules */
    char *compile_services;        /* COMPILE: "<prefix>/<service>/", NULL: rules first */
    uint32_t bucket;               /* BUCKETS: next */

    uint32_t mark[DISC_LAYERS];
    struct key_index records[DISC_SPACES];
    struct key_index rejected[DISC_SPACES];
    struct key_index held[DISC_SPACES];
    char *returned; /* the prefix of the cluster that was looked at last; NULL: begin anew */
    struct endpoint_table endpoints;
    struct store_callees callees[SNAPSHOT_BUCKETS];
    uint32_t callees_len;
    struct store_callee *star; /* `To = *`, never removed */
    struct store_callee *dirty;
    bool changed;               /* something was dirty since the last snapshot */
    int64_t published_revision; /* of the last snapshot; likewise origin */
    enum disc_origin published_origin;

    struct graveyard graveyard;
    struct snapshot_bucket *buckets[SNAPSHOT_BUCKETS]; /* as last built */
    uint64_t last_cluster_id;
    uint64_t generation;
    int64_t revision;
    enum disc_origin origin;
    uint64_t built_ms;

    size_t sides;   /* over all layers and spaces: what keys_max bounds */
    size_t foreign; /* records */
    struct disc_store_stats stats;
};

/* store.c */
/* "<prefix>/<key>", good until the next call; key_len is at most DISC_KEY_MAX_BYTES. */
const char *store_whole_key(const struct disc_store *store, enum disc_space space, const char *key,
                            size_t key_len);
struct store_op *store_txn_op(const struct store_block *block, size_t off);
size_t store_op_size(const struct store_op *op);
struct store_txn *store_txn_free(struct store_txn *txn); /* NULL */

/* A list of changes of its own, at the end of the queue. */
struct store_txn *store_txn_aside(struct disc_store *store, enum disc_layer layer);
/* key and text of op->key_len and op->text_len bytes are copied. */
void store_txn_add(struct store_txn *txn, const struct store_op *op, const char *key,
                   const char *text);

/* store_held.c */
/* The record's side of the etcd layer; keeps the index and the number of held keys. */
void store_set_held(struct disc_store *store, struct store_record *record, bool held);

/* store_apply.c */
void store_apply(struct disc_store *store, enum disc_layer layer, const struct store_op *op);
/* Deletes or holds the node's key where the full list did not mark it. The node may be gone
 * afterwards. */
void store_sweep(struct disc_store *store, const struct store_txn *txn,
                 const struct key_index_node *node);
void store_record_free(struct disc_store *store, struct store_record *record);
/* The layer whose value is in force; DISC_LAYERS: none. */
enum disc_layer store_record_layer(const struct store_record *record);
/* A rejected record as the list shows it; *ret is borrowed from it. */
void store_record_rejection(const struct store_record *record, struct disc_rejection *ret);

/* store_callee.c */
struct store_callee *store_callee_get(struct disc_store *store, struct disc_str name);
void store_callee_add_rule(struct store_callee *callee, struct store_record *record);
void store_callee_remove_rule(struct store_callee *callee, struct store_record *record);
void store_callee_dirty(struct disc_store *store, struct store_callee *callee);
/* Takes it out of the table and frees it; it has no keys left. */
void store_callee_remove(struct disc_store *store, struct store_callee *callee);
void store_callee_free(struct store_callee *callee);

/* store_compile.c */
void store_compile_drop(struct disc_store *store); /* what is half built */

#endif
