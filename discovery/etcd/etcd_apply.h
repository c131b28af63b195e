/*
 * discovery/etcd/etcd_apply.h: carries lists and changes into the store.
 *
 * Control thread, no I/O. The store keeps what is between begin and commit aside, so pages of a
 * list go straight in and half a list is forgotten by beginning anew.
 *
 * What a list lacks is deleted or, where the machine does not take its word, held
 * (etcd_fsm_held.c).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_APPLY_H
#define TSIDE_DISCOVERY_ETCD_ETCD_APPLY_H

#include "discovery/etcd/etcd_codec.h"

/* Events of a revision whose rest is not here yet. */
struct etcd_kept {
    size_t n;
    size_t cap;
    struct etcd_kv *kv; /* key and value in one allocation each, owned */
};

struct etcd_apply {
    struct disc_store *store;         /* borrowed */
    const struct etcd_ranges *ranges; /* borrowed */
    struct etcd_kept kept[ETCD_RANGES_MAX];
};

void etcd_apply_init(struct etcd_apply *apply, struct disc_store *store,
                     const struct etcd_ranges *ranges);
void etcd_apply_done(struct etcd_apply *apply);

void etcd_apply_list_reset(struct etcd_apply *apply);
void etcd_apply_list_page(struct etcd_apply *apply, const struct etcd_kvs *kvs,
                          uint64_t now_unix_ms);
/* hold: what the list lacks of the space is held. */
void etcd_apply_list_commit(struct etcd_apply *apply, int64_t revision,
                            const bool hold[DISC_SPACES], uint64_t now_ms);

/* Keeps the events above `above`, applies what is kept of this watch up to `through`, as one commit
 * at `revision`. */
void etcd_apply_changes(struct etcd_apply *apply, uint32_t watch, const struct etcd_kvs *events,
                        int64_t above, int64_t through, int64_t revision, uint64_t now_ms,
                        uint64_t now_unix_ms);
void etcd_apply_changes_drop(struct etcd_apply *apply);

/* Nothing has changed up to this revision. */
void etcd_apply_revision(struct etcd_apply *apply, int64_t revision, uint64_t now_ms);

/* Puts a key as another process or another time saw it: the good text first, then the refused one.
 * */
void etcd_apply_put_raw(struct etcd_apply *apply, const struct disc_raw *raw, uint64_t now_unix_ms);

#endif
