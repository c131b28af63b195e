/*
 * discovery/base/key_index.h: keys in bytewise order, with a value each.
 *
 * A skip list: the store needs exact lookups, and walks from any key onwards (pages of admin lists,
 * the state file in slices) while keys come and go between two steps. Control thread only.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_KEY_INDEX_H
#define TSIDE_DISCOVERY_BASE_KEY_INDEX_H

#include <stddef.h>
#include <stdint.h>

#define KEY_INDEX_LEVELS 12 /* a quarter of the nodes reach each next level: good for 16 million */

struct key_index_node {
    const char *key; /* borrowed, NUL-terminated: part of the value */
    void *value;
    struct key_index_node *next[]; /* as many as its level */
};

struct key_index {
    uint64_t random; /* state of the levels' generator */
    size_t n;
    struct key_index_node *head[KEY_INDEX_LEVELS];
};

void key_index_init(struct key_index *index, uint64_t seed);
/* Frees the nodes; values are the caller's. */
void key_index_done(struct key_index *index);

/* NULL: no such key. */
void *key_index_find(const struct key_index *index, const char *key);
/* The key must not be in there; it must live as long as it is. */
void key_index_insert(struct key_index *index, const char *key, void *value);
/* Returns the value; NULL: no such key. */
void *key_index_remove(struct key_index *index, const char *key);

/* The first key > after (NULL: the first of all), NULL at the end. Then node->next[0]. */
struct key_index_node *key_index_after(const struct key_index *index, const char *after);

#endif
