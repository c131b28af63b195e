/*
 * discovery/etcd/etcd_apply.c: see discovery/etcd/etcd_apply.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_apply.h"

#include "discovery/base/memory.h"

void etcd_apply_init(struct etcd_apply *apply, struct disc_store *store,
                     const struct etcd_ranges *ranges)
{
    *apply = (struct etcd_apply){.store = store, .ranges = ranges};
}

void etcd_apply_done(struct etcd_apply *apply)
{
    etcd_apply_changes_drop(apply);
    for (int w = 0; w < ETCD_RANGES_MAX; w++) {
        free(apply->kept[w].kv);
        apply->kept[w] = (struct etcd_kept){0};
    }
}

/* Keys below no prefix of ours are passed over. */
static void put(struct etcd_apply *apply, const struct etcd_kv *kv, uint64_t now_unix_ms)
{
    enum disc_space space;
    struct etcd_bytes rest;
    if (!etcd_ranges_locate(apply->ranges, kv->key, &space, &rest)) {
        return;
    }
    if (kv->deleted) {
        /* At once, whatever deleted it; the key's lease stays known until here. */
        disc_store_delete(apply->store, DISC_LAYER_ETCD, space, rest.p, rest.len);
    } else {
        disc_store_put(apply->store, DISC_LAYER_ETCD, space, rest.p, rest.len, kv->value.p,
                       kv->value.len, kv->mod_revision, kv->lease, now_unix_ms);
    }
}

void etcd_apply_put_raw(struct etcd_apply *apply, const struct disc_raw *raw, uint64_t now_unix_ms)
{
    size_t key_len = strlen(raw->key);
    if (raw->rejected && raw->good_text != NULL) {
        disc_store_put(apply->store, DISC_LAYER_ETCD, raw->space, raw->key, key_len, raw->good_text,
                       raw->good_text_len, raw->good_revision, raw->lease, now_unix_ms);
    }
    disc_store_put(apply->store, DISC_LAYER_ETCD, raw->space, raw->key, key_len, raw->text,
                   raw->text_len, raw->mod_revision, raw->lease, now_unix_ms);
    if (raw->held) {
        disc_store_hold(apply->store, raw->space, raw->key, key_len);
    }
}

/* ---- lists -------------------------------------------------------------------------------- */

void etcd_apply_list_reset(struct etcd_apply *apply)
{
    disc_store_begin(apply->store, DISC_LAYER_ETCD, true);
}

void etcd_apply_list_page(struct etcd_apply *apply, const struct etcd_kvs *kvs,
                          uint64_t now_unix_ms)
{
    for (size_t i = 0; i < kvs->n; i++) {
        put(apply, &kvs->kv[i], now_unix_ms);
    }
}

void etcd_apply_list_commit(struct etcd_apply *apply, int64_t revision,
                            const bool hold[DISC_SPACES], uint64_t now_ms)
{
    for (int s = 0; s < DISC_SPACES; s++) {
        if (hold[s]) {
            disc_store_hold_missing(apply->store, (enum disc_space)s);
        }
    }
    disc_store_commit(apply->store, DISC_LAYER_ETCD, revision, DISC_ORIGIN_ETCD, now_ms);
}

/* ---- changes ------------------------------------------------------------------------------ */

static void keep(struct etcd_kept *kept, const struct etcd_kv *kv)
{
    if (kept->n == kept->cap) {
        kept->cap = kept->cap > 0 ? 2 * kept->cap : 16;
        kept->kv = memory_resize(kept->kv, kept->cap, sizeof *kept->kv);
    }
    struct etcd_kv *copy = &kept->kv[kept->n++];
    *copy = *kv;
    copy->key.p = memory_text(kv->key.p, kv->key.len);
    copy->value.p = memory_text(kv->value.p, kv->value.len);
}

static void drop(struct etcd_kept *kept)
{
    for (size_t i = 0; i < kept->n; i++) {
        free((void *)(uintptr_t)kept->kv[i].key.p); /* ours: keep() made it */
        free((void *)(uintptr_t)kept->kv[i].value.p);
    }
    kept->n = 0;
}

void etcd_apply_changes_drop(struct etcd_apply *apply)
{
    for (int w = 0; w < ETCD_RANGES_MAX; w++) {
        drop(&apply->kept[w]);
    }
}

void etcd_apply_changes(struct etcd_apply *apply, uint32_t watch, const struct etcd_kvs *events,
                        int64_t above, int64_t through, int64_t revision, uint64_t now_ms,
                        uint64_t now_unix_ms)
{
    struct etcd_kept *kept = &apply->kept[watch];
    disc_store_begin(apply->store, DISC_LAYER_ETCD, false);
    if (kept->n > 0 && kept->kv[0].mod_revision <= through) { /* all of one revision */
        for (size_t i = 0; i < kept->n; i++) {
            put(apply, &kept->kv[i], now_unix_ms);
        }
        drop(kept);
    }
    for (size_t i = 0; i < events->n; i++) {
        if (events->kv[i].mod_revision > through) {
            keep(kept, &events->kv[i]);
        } else if (events->kv[i].mod_revision > above) {
            put(apply, &events->kv[i], now_unix_ms);
        }
    }
    disc_store_commit(apply->store, DISC_LAYER_ETCD, revision, DISC_ORIGIN_ETCD, now_ms);
}

void etcd_apply_revision(struct etcd_apply *apply, int64_t revision, uint64_t now_ms)
{
    disc_store_begin(apply->store, DISC_LAYER_ETCD, false);
    disc_store_commit(apply->store, DISC_LAYER_ETCD, revision, DISC_ORIGIN_ETCD, now_ms);
}
