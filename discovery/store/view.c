/*
 * discovery/store/view.c: a callee's rules in a hash table, its endpoints by cluster.
 *
 * Built by the control thread, read by all, never changed. The table is open addressing over the
 * entries' index; an entry is one tuple pattern with up to three keys. Names are bytes in `bytes`,
 * found by offset, because the buffer moves while it grows.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/view.h"

#include "discovery/base/memory.h"
#include "discovery/store/endpoint.h"
#include "discovery/store/view_build.h"
#include "discovery/store/view_probe.h"

#include <assert.h>
#include <xxhash.h>

struct view_entry {
    struct disc_entry public; /* first: a disc_entry is one of these */
    uint64_t hash;
    uint32_t pattern;
    uint32_t bytes_off; /* the named names, one behind the other */
    uint16_t len[DISC_NAMES];
};

/* Texts that no rule owns: of keys and reasons of rejected values. Rare. */
struct view_text {
    struct view_text *next;
    char text[];
};

/* A cluster under construction. */
struct view_group {
    uint32_t bytes_off;
    uint32_t name_len;
    uint32_t first; /* index in endpoints */
    uint32_t n;
};

struct disc_view {
    struct graveyard_node grave; /* first: view_reap() casts back */
    struct graveyard *graveyard;
    struct refcount refs;
    uint64_t seed;
    uint32_t name_len; /* of the callee; its bytes are the first of `bytes` */
    uint32_t patterns; /* bit p is set where an entry has pattern p: most probes end here */

    uint32_t entries_len;
    uint32_t table_mask;
    uint32_t *table; /* index + 1; 0: free */
    struct view_entry *entries;
    struct view_text *texts;

    size_t bytes_len;
    size_t bytes_cap;
    char *bytes;

    uint32_t clusters_len;
    uint32_t clusters_cap;
    struct view_group *groups;     /* NULL once finished */
    struct disc_cluster *clusters; /* sorted by name */
    uint32_t endpoints_len;
    uint32_t endpoints_cap;
    struct disc_endpoint **endpoints;
};

uint64_t view_hash_name(uint64_t seed, struct disc_str name)
{
    return XXH3_64bits_withSeed(name.p, name.len, seed);
}

void view_hash_tuple(const struct disc_view *view, const struct disc_tuple *tuple,
                     struct view_hashes *ret)
{
    ret->seed = view->seed;
    for (int i = 0; i < DISC_NAMES; i++) {
        ret->name[i] = view_hash_name(view->seed, tuple->name[i]);
    }
}

static uint64_t hash_pattern(const struct view_hashes *hashes, uint32_t pattern)
{
    uint64_t words[DISC_NAMES + 1];
    for (int i = 0; i < DISC_NAMES; i++) {
        words[i] = (pattern & DISC_PATTERN_BIT(i)) != 0 ? 0 : hashes->name[i];
    }
    words[DISC_NAMES] = pattern;
    return XXH3_64bits_withSeed(words, sizeof words, hashes->seed);
}

static bool same_names(const struct disc_view *view, const struct view_entry *entry,
                       const struct disc_tuple *tuple)
{
    const char *bytes = view->bytes + entry->bytes_off;
    for (int i = 0; i < DISC_NAMES; i++) {
        if ((entry->pattern & DISC_PATTERN_BIT(i)) != 0) {
            continue;
        }
        if (!disc_str_eq(tuple->name[i], disc_str_of(bytes, entry->len[i]))) {
            return false;
        }
        bytes += entry->len[i];
    }
    return true;
}

/* The table's slot that holds the entry, or the free one where it belongs. */
static uint32_t find_slot(const struct disc_view *view, const struct disc_tuple *tuple,
                          uint64_t hash, uint32_t pattern)
{
    uint32_t slot = (uint32_t)hash & view->table_mask;
    for (;; slot = (slot + 1) & view->table_mask) {
        if (view->table[slot] == 0) {
            return slot;
        }
        const struct view_entry *entry = &view->entries[view->table[slot] - 1];
        if (entry->hash == hash && entry->pattern == pattern && same_names(view, entry, tuple)) {
            return slot;
        }
    }
}

const struct disc_entry *view_probe(const struct disc_view *view, const struct disc_tuple *tuple,
                                    const struct view_hashes *hashes, uint32_t pattern)
{
    if ((view->patterns >> pattern & 1) == 0) {
        return NULL;
    }
    uint32_t index = view->table[find_slot(view, tuple, hash_pattern(hashes, pattern), pattern)];
    return index != 0 ? &view->entries[index - 1].public : NULL;
}

const struct disc_entry *disc_view_find(const struct disc_view *view,
                                        const struct disc_tuple *tuple, uint32_t pattern)
{
    struct view_hashes hashes;
    if (view == NULL || pattern >= DISC_PATTERNS) {
        return NULL;
    }
    view_hash_tuple(view, tuple, &hashes);
    return view_probe(view, tuple, &hashes, pattern);
}

/* ---- building -------------------------------------------------------------------------------- */

static uint32_t add_bytes(struct disc_view *view, struct disc_str s)
{
    size_t off = view->bytes_len;
    assert(off + s.len < UINT32_MAX); /* 2 million keys of 1,280 bytes are below */
    if (off + s.len > view->bytes_cap) {
        view->bytes_cap = 2 * view->bytes_cap + s.len + 64;
        view->bytes = memory_resize(view->bytes, view->bytes_cap, 1);
    }
    if (s.len > 0) {
        memcpy(view->bytes + off, s.p, s.len);
    }
    view->bytes_len += s.len;
    return (uint32_t)off;
}

static char *add_text(struct disc_view *view, const char *text)
{
    size_t size = strlen(text) + 1;
    struct view_text *copy = memory_alloc(sizeof *copy + size);
    memcpy(copy->text, text, size);
    copy->next = view->texts;
    view->texts = copy;
    return copy->text;
}

struct disc_view *view_new(struct graveyard *graveyard, uint64_t seed, struct disc_str name,
                           uint32_t rules_max)
{
    struct disc_view *view = memory_zalloc(sizeof *view);
    uint32_t size = 4;
    while (size < 2 * rules_max) {
        size *= 2;
    }
    refcount_init(&view->refs);
    view->graveyard = graveyard;
    view->seed = seed;
    view->table_mask = size - 1;
    view->table = memory_array(size, sizeof view->table[0]);
    view->entries = memory_resize(NULL, rules_max, sizeof view->entries[0]);
    view->bytes_cap = name.len + 64; /* never NULL: that of "*" may stay without a byte */
    view->bytes = memory_alloc(view->bytes_cap);
    view->name_len = name.len;
    (void)add_bytes(view, name); /* at offset 0 */
    return view;
}

static struct view_entry *add_entry(struct disc_view *view, const struct disc_tuple *tuple,
                                    uint32_t pattern)
{
    struct view_hashes hashes;
    view_hash_tuple(view, tuple, &hashes);
    uint64_t hash = hash_pattern(&hashes, pattern);
    uint32_t slot = find_slot(view, tuple, hash, pattern);
    if (view->table[slot] != 0) {
        return &view->entries[view->table[slot] - 1];
    }
    struct view_entry *entry = &view->entries[view->entries_len++];
    view->table[slot] = view->entries_len;
    memset(entry, 0, sizeof *entry);
    entry->hash = hash;
    entry->pattern = pattern;
    entry->bytes_off = (uint32_t)view->bytes_len;
    for (int i = 0; i < DISC_NAMES; i++) {
        if ((pattern & DISC_PATTERN_BIT(i)) == 0) {
            (void)add_bytes(view, tuple->name[i]); /* bytes_off says where */
            entry->len[i] = (uint16_t)tuple->name[i].len;
        }
    }
    view->patterns |= 1u << pattern;
    return entry;
}

void view_add_rule(struct disc_view *view, const struct disc_rule_key *key, const char *whole_key,
                   struct disc_rule *rule, const struct disc_error *error,
                   int64_t rejected_revision)
{
    struct view_entry *entry = add_entry(view, &key->tuple, key->pattern);
    struct disc_slot *slot = &entry->public.slot[key->kind];
    assert(slot->key == NULL);
    slot->rule = disc_rule_ref(rule);
    slot->key = rule != NULL ? rule->key : add_text(view, whole_key);
    if (error != NULL) {
        slot->rejected_field = add_text(view, error->field);
        slot->rejected_reason = add_text(view, error->reason);
        slot->rejected_revision = rejected_revision;
    }
}

static struct disc_str group_name(const struct disc_view *view, const struct view_group *group)
{
    return disc_str_of(view->bytes + group->bytes_off, group->name_len);
}

void view_add_endpoint(struct disc_view *view, struct disc_str cluster,
                       struct disc_endpoint *endpoint)
{
    struct view_group *group =
        view->clusters_len > 0 ? &view->groups[view->clusters_len - 1] : NULL;
    if (group == NULL || !disc_str_eq(group_name(view, group), cluster)) {
        if (view->clusters_len == view->clusters_cap) {
            view->clusters_cap = 2 * view->clusters_cap + 2;
            view->groups = memory_resize(view->groups, view->clusters_cap, sizeof view->groups[0]);
        }
        assert(view->groups != NULL);
        group = &view->groups[view->clusters_len++];
        group->bytes_off = add_bytes(view, cluster);
        group->name_len = cluster.len;
        group->first = view->endpoints_len;
        group->n = 0;
    }
    if (view->endpoints_len == view->endpoints_cap) {
        view->endpoints_cap = 2 * view->endpoints_cap + 4;
        view->endpoints =
            memory_resize(view->endpoints, view->endpoints_cap, sizeof view->endpoints[0]);
    }
    view->endpoints[view->endpoints_len++] = endpoint_ref(endpoint);
    group->n++;
}

static int compare_clusters(const void *a, const void *b)
{
    const struct disc_cluster *left = a;
    const struct disc_cluster *right = b;
    return disc_str_compare(left->name, right->name);
}

static bool same_endpoints(const struct disc_cluster *a, const struct disc_cluster *b)
{
    return a->n == b->n && memcmp(a->endpoints, b->endpoints, a->n * sizeof a->endpoints[0]) == 0;
}

void view_finish(struct disc_view *view, const struct disc_view *previous,
                 uint64_t *last_cluster_id)
{
    view->entries = memory_resize(view->entries, view->entries_len, sizeof view->entries[0]);
    view->bytes_cap = view->bytes_len;
    view->bytes = memory_resize(view->bytes, view->bytes_len, 1);
    view->clusters = memory_array(view->clusters_len, sizeof view->clusters[0]);
    for (uint32_t i = 0; i < view->clusters_len; i++) {
        struct disc_cluster *cluster = &view->clusters[i];
        cluster->name = group_name(view, &view->groups[i]);
        cluster->n = view->groups[i].n;
        cluster->endpoints = view->endpoints + view->groups[i].first;
    }
    qsort(view->clusters, view->clusters_len, sizeof view->clusters[0], compare_clusters);
    free(view->groups);
    view->groups = NULL;
    for (uint32_t i = 0; i < view->clusters_len; i++) {
        struct disc_cluster *cluster = &view->clusters[i];
        const struct disc_cluster *before = disc_view_cluster(previous, cluster->name);
        cluster->id =
            before != NULL && same_endpoints(before, cluster) ? before->id : ++*last_cluster_id;
    }
}

/* ---- reading --------------------------------------------------------------------------------- */

struct disc_str view_name(const struct disc_view *view)
{
    return disc_str_of(view->bytes, view->name_len);
}

const struct disc_cluster *disc_view_cluster(const struct disc_view *view, struct disc_str name)
{
    uint32_t low = 0;
    uint32_t high = view != NULL ? view->clusters_len : 0;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        int order = disc_str_compare(view->clusters[middle].name, name);
        if (order == 0) {
            return &view->clusters[middle];
        }
        if (order < 0) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return NULL;
}

/* ---- lifetime -------------------------------------------------------------------------------- */

struct disc_view *disc_view_ref(struct disc_view *view)
{
    if (view != NULL) {
        refcount_ref(&view->refs);
    }
    return view;
}

struct disc_view *disc_view_unref(struct disc_view *view)
{
    if (view != NULL && refcount_unref(&view->refs)) {
        graveyard_push(view->graveyard, &view->grave);
    }
    return NULL;
}

static void view_free(struct disc_view *view)
{
    for (uint32_t i = 0; i < view->entries_len; i++) {
        for (int kind = 0; kind < DISC_KINDS; kind++) {
            (void)disc_rule_unref(view->entries[i].public.slot[kind].rule); /* always NULL */
        }
    }
    for (uint32_t i = 0; i < view->endpoints_len; i++) {
        view->endpoints[i] = endpoint_unref(view->endpoints[i]);
    }
    while (view->texts != NULL) {
        struct view_text *next = view->texts->next;
        free(view->texts);
        view->texts = next;
    }
    free(view->table);
    free(view->entries);
    free(view->bytes);
    free(view->groups);
    free(view->clusters);
    free(view->endpoints);
    free(view);
}

void view_reap(struct graveyard *graveyard)
{
    struct graveyard_node *node = graveyard_take(graveyard);
    while (node != NULL) {
        struct graveyard_node *next = node->next;
        view_free((struct disc_view *)node);
        node = next;
    }
}
