/*
 * discovery/base/key_index.c: see discovery/base/key_index.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/key_index.h"

#include "discovery/base/memory.h"

#include <assert.h>

/* Where the links to a key are: links[i] is the pointer of level i that passes over it. */
struct path {
    struct key_index_node **links[KEY_INDEX_LEVELS];
};

void key_index_init(struct key_index *index, uint64_t seed)
{
    memset(index, 0, sizeof *index);
    index->random = seed | 1;
}

void key_index_done(struct key_index *index)
{
    struct key_index_node *node = index->head[0];
    while (node != NULL) {
        struct key_index_node *next = node->next[0];
        free(node);
        node = next;
    }
    memset(index->head, 0, sizeof index->head);
    index->n = 0;
}

/* Steps over every key < key (or <= key, with past set). */
static struct key_index_node *descend(struct key_index_node *const *head, const char *key, int past,
                                      struct path *path)
{
    struct key_index_node *const *links = head;
    const struct key_index_node *known = NULL; /* not smaller: no need to compare it again */
    for (int level = KEY_INDEX_LEVELS - 1; level >= 0; level--) {
        while (links[level] != NULL && links[level] != known &&
               strcmp(links[level]->key, key) < past) {
            links = links[level]->next;
        }
        known = links[level];
        if (path != NULL) {
            path->links[level] = (struct key_index_node **)(uintptr_t)&links[level];
        }
    }
    return links[0];
}

void *key_index_find(const struct key_index *index, const char *key)
{
    const struct key_index_node *node = descend(index->head, key, 0, NULL);
    return node != NULL && strcmp(node->key, key) == 0 ? node->value : NULL;
}

static int random_level(struct key_index *index)
{
    /* xorshift64: quality does not matter, that a key's writer cannot choose it does. */
    uint64_t x = index->random;
    x ^= x << 13;
    x ^= x >> 7;
    x ^= x << 17;
    index->random = x;
    int level = 1;
    while (level < KEY_INDEX_LEVELS && (x & 3) == 0) {
        level++;
        x >>= 2;
    }
    return level;
}

void key_index_insert(struct key_index *index, const char *key, void *value)
{
    struct path path;
    struct key_index_node *after = descend(index->head, key, 0, &path);
    int level = random_level(index);
    assert(after == NULL || strcmp(after->key, key) != 0);
    (void)after;
    assert(level > 0); /* a node is always linked at level 0 */
    struct key_index_node *node = memory_alloc(sizeof *node + (size_t)level * sizeof node->next[0]);
    node->key = key;
    node->value = value;
    for (int i = 0; i < level; i++) {
        node->next[i] = *path.links[i];
        *path.links[i] = node;
    }
    index->n++;
}

void *key_index_remove(struct key_index *index, const char *key)
{
    struct path path;
    struct key_index_node *node = descend(index->head, key, 0, &path);
    if (node == NULL || strcmp(node->key, key) != 0) {
        return NULL;
    }
    void *value = node->value;
    for (int i = 0; i < KEY_INDEX_LEVELS && *path.links[i] == node; i++) {
        *path.links[i] = node->next[i];
    }
    free(node);
    index->n--;
    return value;
}

struct key_index_node *key_index_after(const struct key_index *index, const char *after)
{
    return after == NULL ? index->head[0] : descend(index->head, after, 1, NULL);
}
