/*
 * discovery/store/store_inspect.c: what the store holds, for admin, the state file and tests.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/store_internal.h"

#include <string.h>

void disc_store_stats(const struct disc_store *store, struct disc_store_stats *ret)
{
    *ret = store->stats;
    ret->foreign = store->foreign;
    ret->rejected = store->rejected[DISC_SPACE_RULES].n + store->rejected[DISC_SPACE_SERVICES].n;
}

/* A walk over both spaces in bytewise order of whole keys: their prefixes may interleave. */
struct walk {
    struct key_index_node *next[DISC_SPACES];
};

static void walk_begin(struct walk *walk, const struct key_index indexes[], const char *after)
{
    for (int space = 0; space < DISC_SPACES; space++) {
        walk->next[space] = key_index_after(&indexes[space], after);
    }
}

static const struct store_record *walk_next(struct walk *walk)
{
    struct key_index_node **next = &walk->next[DISC_SPACE_RULES];
    struct key_index_node **other = &walk->next[DISC_SPACE_SERVICES];
    if (*next == NULL || (*other != NULL && strcmp((*other)->key, (*next)->key) < 0)) {
        next = other;
    }
    if (*next == NULL) {
        return NULL;
    }
    const struct store_record *record = (*next)->value;
    *next = (*next)->next[0];
    return record;
}

void disc_store_each_rejection(const struct disc_store *store, const char *after,
                               disc_rejection_fn fn, void *arg)
{
    struct walk walk;
    const struct store_record *record;
    walk_begin(&walk, store->rejected, after);
    while ((record = walk_next(&walk)) != NULL) {
        struct disc_rejection rejection;
        store_record_rejection(record, &rejection);
        if (!fn(arg, &rejection)) {
            return;
        }
    }
}

void disc_store_each_held(const struct disc_store *store, const char *after, disc_held_fn fn,
                          void *arg)
{
    struct walk walk;
    const struct store_record *record;
    walk_begin(&walk, store->held, after);
    while ((record = walk_next(&walk)) != NULL && fn(arg, record->key)) {
    }
}

static void describe(const struct disc_store *store, const struct store_record *record,
                     const struct store_side *side, struct disc_raw *ret)
{
    const char *good = NULL;
    size_t good_len = 0;
    memset(ret, 0, sizeof *ret);
    ret->space = record->space;
    ret->key = record->key + store->prefix_len[record->space] + 1;
    ret->mod_revision = side->mod_revision;
    ret->lease = side->lease;
    ret->held = side->held;
    if (side->rule != NULL) {
        good = side->rule->text;
        good_len = strlen(good);
        ret->good_revision = side->rule->mod_revision;
    } else if (side->endpoint != NULL) {
        good = endpoint_text(side->endpoint, &good_len);
        ret->good_revision = side->endpoint->mod_revision;
    }
    if (side->rejection != NULL) {
        ret->rejected = true;
        ret->text = side->rejection->text;
        ret->text_len = side->rejection->text_len;
        ret->good_text = good;
        ret->good_text_len = good_len;
    } else {
        ret->text = good;
        ret->text_len = good_len;
        ret->good_revision = 0;
    }
}

void disc_store_each_raw(const struct disc_store *store, enum disc_layer layer,
                         const char *after_whole_key, disc_raw_fn fn, void *arg)
{
    struct walk walk;
    const struct store_record *record;
    walk_begin(&walk, store->records, after_whole_key);
    while ((record = walk_next(&walk)) != NULL) {
        struct disc_raw raw;
        if (record->side[layer] == NULL || record->verdict == DISC_KEY_FOREIGN) {
            continue;
        }
        describe(store, record, record->side[layer], &raw);
        if (!fn(arg, &raw)) {
            return;
        }
    }
}
