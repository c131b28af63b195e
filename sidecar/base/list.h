/*
 * sidecar/base/list.h: doubly linked rings, embedded in what they link.
 *
 * A node that is in no list points to itself (list_init); removing it twice is harmless.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_LIST_H
#define TSIDE_SIDECAR_BASE_LIST_H

#include <assert.h>
#include <stdbool.h>
#include <stddef.h>

struct list {
    struct list *next;
    struct list *prev;
};

#define container_of(ptr, type, member) ((type *)(void *)((char *)(ptr)-offsetof(type, member)))

static inline void list_init(struct list *node)
{
    node->next = node;
    node->prev = node;
}

static inline bool list_empty(const struct list *head)
{
    return head->next == head;
}

static inline bool list_linked(const struct list *node)
{
    return node->next != node;
}

static inline void list_remove(struct list *node)
{
    node->prev->next = node->next;
    node->next->prev = node->prev;
    list_init(node);
}

static inline void list_push_back(struct list *head, struct list *node)
{
    node->prev = head->prev;
    node->next = head;
    head->prev->next = node;
    head->prev = node;
}

static inline void list_push_front(struct list *head, struct list *node)
{
    list_push_back(head->next, node);
}

/* The first node, NULL where the list is empty. */
static inline struct list *list_first(const struct list *head)
{
    return list_empty(head) ? NULL : head->next;
}

/* Moves all nodes of `from` to the (empty) list `to`. */
static inline void list_take_all(struct list *from, struct list *to)
{
    list_init(to);
    if (!list_empty(from)) {
        assert(from->next && from->prev); /* initialised: a ring has no end */
        to->next = from->next;
        to->prev = from->prev;
        to->next->prev = to;
        to->prev->next = to;
        list_init(from);
    }
}

#endif
