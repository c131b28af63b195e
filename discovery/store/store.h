/*
 * discovery/store/store.h: the keys as they stand in each source, and the snapshots compiled from
 * them.
 *
 * Control thread only. Sources (file_source, etcd_io, state_file) report a full list or changes
 * between begin and commit; build() compiles what changed, in slices, and publishes one snapshot: a
 * commit is atomic for every call. Where both sources hold a key, etcd's good value wins. A value
 * that does not parse keeps the key's last good one in force and is listed until it is mended.
 *
 *     disc_store_begin(store, DISC_LAYER_ETCD, true);      full list: what is not put, is deleted
 *     disc_store_put(store, ..., "a/default/b/default/Visit/traffic", value, len, rev, lease);
 *     disc_store_commit(store, DISC_LAYER_ETCD, revision, DISC_ORIGIN_ETCD, now_ms);
 *     while (!disc_store_build(store, budget_us)) { back to the loop }
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STORE_STORE_H
#define TSIDE_DISCOVERY_STORE_STORE_H

#include "discovery/store/snapshot.h"

#define DISC_KEY_MAX_BYTES 4096    /* a longer key is not ours */
#define DISC_KEYS_MAX      2000000 /* over all layers; further ones are rejected and listed */

enum disc_space { DISC_SPACE_RULES = 0, DISC_SPACE_SERVICES, DISC_SPACES };

struct disc_rejection {
    const char *key; /* whole */
    const char *field;
    const char *reason;
    int64_t mod_revision;
    uint64_t since_unix_ms;
    const char *in_force; /* value text, NULL: none */
};

struct disc_store_options {
    const char *prefix[DISC_SPACES]; /* "/tside/rules" (may be ""), "/tside/services"; copied */
    const struct codec_templates *templates; /* borrowed for the store's life */

    /* Called when an endpoint (service, cluster, address) is first seen, and when its last version
     * is freed; both on the control thread. NULL: no state is attached. Workers follow the state of
     * each endpoint that they know: out of memory the hook returns NULL, and the process ends, as
     * with all that the store cannot allocate (discovery/base/memory.h). */
    void *(*endpoint_attach)(void *owner, const char *key, const struct disc_endpoint *endpoint);
    void (*endpoint_detach)(void *owner, void *state);

    /* Takes the snapshot over (disc_snapshot_free later). */
    void (*publish)(void *owner, struct disc_snapshot *snapshot);

    /* A value was refused just now (for the log). Must not call the store. NULL: nobody listens. */
    void (*rejected)(void *owner, const struct disc_rejection *rejection);
    /* A new key of the etcd layer names an address that leads each host to itself: good for one
     * host, a mistake in a registry of many. Must not call the store. NULL: nobody listens. */
    void (*loopback)(void *owner, const char *key);
    void *owner;

    uint64_t hash_seed; /* must not be foreseeable from outside; any value will do */
    size_t keys_max;    /* 0: DISC_KEYS_MAX */
};

struct disc_store;

struct disc_store *disc_store_new(const struct disc_store_options *options);
struct disc_store *disc_store_free(struct disc_store *store); /* snapshots must be freed before */

/* Each layer may have one begun list of changes. Begun anew without a commit, what was reported
 * since is forgotten: a source that fails halfway starts over. */
void disc_store_begin(struct disc_store *store, enum disc_layer layer, bool full);

/* key is the part behind "<prefix>/" (behind "/" where the prefix is empty). Keys, values and
 * errors are copied; they are looked at by build. Keys that have not our form are counted and left
 * alone. text is the value as the source has it; where the source's own format is bad (a YAML value
 * that is no JSON) disc_store_reject() lists it instead. */
void disc_store_put(struct disc_store *store, enum disc_layer layer, enum disc_space space,
                    const char *key, size_t key_len, const char *text, size_t text_len,
                    int64_t mod_revision, int64_t lease, uint64_t now_unix_ms);
void disc_store_reject(struct disc_store *store, enum disc_layer layer, enum disc_space space,
                       const char *key, size_t key_len, int64_t mod_revision,
                       const struct disc_error *error, uint64_t now_unix_ms);
void disc_store_delete(struct disc_store *store, enum disc_layer layer, enum disc_space space,
                       const char *key, size_t key_len);

/* Ends what begin began. Nothing is visible before the build that follows. */
void disc_store_commit(struct disc_store *store, enum disc_layer layer, int64_t revision,
                       enum disc_origin origin, uint64_t now_ms);

/* Compiles for about budget_us; true when all commits so far are published (at once where nothing
 * changed but the revision: then a snapshot with the new revision is published too; where nothing
 * at all changed there is none). */
bool disc_store_build(struct disc_store *store, uint64_t budget_us);

/* Nothing is left to build. */
bool disc_store_is_built(const struct disc_store *store);

/* Frees what readers have let go since: build does the same, this is for quiet times. */
void disc_store_reap(struct disc_store *store);

/* What would become of a key and its value, for findings with line and column; text NULL: of the
 * key alone. *ret_error is filled where the answer is not GOOD. */
enum disc_check { DISC_CHECK_GOOD = 0, DISC_CHECK_BAD_KEY, DISC_CHECK_BAD_VALUE };
enum disc_check disc_store_check(const struct disc_store *store, enum disc_space space,
                                 const char *key, size_t key_len, const char *text,
                                 struct disc_error *ret_error);

/* ---- what is held ----------------------------------------------------------------------------
 *
 * A key is held where etcd lost it without anybody's word: a wiped etcd, one that was set back, a
 * stranger's cluster, an empty list. Its last good value stays in force until the key itself is put
 * or deleted or is released, or, an endpoint, half of its cluster is etcd's own again. */

/* Of the full list of the etcd layer that is open: what it lacks of the space is held. */
void disc_store_hold_missing(struct disc_store *store, enum disc_space space);

/* The key, put just before, is held already: a state from disk. Between begin and commit. */
void disc_store_hold(struct disc_store *store, enum disc_space space, const char *key,
                     size_t key_len);

/* Lets one held key go, by its whole name; build is due. False: no such key is held. Not part of a
 * list of changes: one may be open meanwhile. */
bool disc_store_release(struct disc_store *store, const char *whole_key);

/* Lets the held endpoints of each cluster go of which at least half of all endpoints have been
 * etcd's own at every look since release_ms ago; to be called every second or so. Visits a bounded
 * number of keys and goes on from there the next time. Returns the number let go: then build is
 * due. */
size_t disc_store_release_returned(struct disc_store *store, uint64_t now_ms, uint64_t release_ms);

/* Visits held keys in bytewise order from the first one > after (NULL: all) until fn says false. */
typedef bool (*disc_held_fn)(void *arg, const char *whole_key);
void disc_store_each_held(const struct disc_store *store, const char *after, disc_held_fn fn,
                          void *arg);

/* ---- looking inside (admin, state file, tests): as far as build has come -------------------- */

struct disc_store_stats {
    uint64_t keys[DISC_LAYERS][DISC_SPACES]; /* held now, rejected ones included */
    uint64_t rejected;                       /* keys listed now */
    uint64_t rejections_total;
    uint64_t foreign;           /* keys below a prefix that are not ours, now */
    uint64_t loopback;          /* endpoints of the etcd layer with a loopback address, now */
    uint64_t held[DISC_SPACES]; /* keys of the etcd layer that are held, now */
    uint64_t views_built_total;
    uint64_t snapshots_total;
};
void disc_store_stats(const struct disc_store *store, struct disc_store_stats *ret);

/* Visits rejected keys in bytewise order from the first key > after (NULL: from the start) until fn
 * returns false. */
typedef bool (*disc_rejection_fn)(void *arg, const struct disc_rejection *rejection);
void disc_store_each_rejection(const struct disc_store *store, const char *after,
                               disc_rejection_fn fn, void *arg);

/* One key of one layer as the source has it, foreign ones excepted; `text` is the last value seen,
 * `good_*` the one in force where that one was rejected (NULL: none, or the same). */
struct disc_raw {
    enum disc_space space;
    const char *key; /* behind the prefix */
    const char *text;
    size_t text_len;
    int64_t mod_revision;
    int64_t lease;
    bool rejected;
    bool held;
    const char *good_text;
    size_t good_text_len;
    int64_t good_revision;
};
typedef bool (*disc_raw_fn)(void *arg, const struct disc_raw *raw);
void disc_store_each_raw(const struct disc_store *store, enum disc_layer layer,
                         const char *after_whole_key, disc_raw_fn fn, void *arg);

/* The lease a key of the etcd layer is known to have (0: none or no such key); knows of what was
 * put but not built yet, too. */
int64_t disc_store_lease(const struct disc_store *store, enum disc_space space, const char *key,
                         size_t key_len);

#endif
