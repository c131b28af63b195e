/*
 * sidecar/data/loop/slab.c: see slab.h.
 *
 * An object stands behind a pointer to its block; a free one holds the next free one of its block.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/slab.h"

#include <assert.h>
#include <stdlib.h>

struct slab_block;

struct slab_cell {
    struct slab_block *block;
    struct slab_cell *next; /* where it is free; the object begins here */
};

struct slab_block {
    struct list node;
    struct slab_cell *free;
    uint32_t taken;
    _Alignas(max_align_t) char cells[];
};

#define HEAD_BYTES offsetof(struct slab_cell, next)

static size_t cell_bytes(const struct slab *slab)
{
    size_t bytes = HEAD_BYTES + slab->size;
    return (bytes + sizeof(void *) - 1) / sizeof(void *) * sizeof(void *);
}

void slab_init(struct slab *slab, size_t object_size)
{
    *slab = (struct slab){
        .size = object_size < sizeof(void *) ? sizeof(void *) : object_size,
    };
    list_init(&slab->partial);
    list_init(&slab->full);
}

static void free_all(struct list *blocks)
{
    for (struct list *n = blocks->next, *next; n != blocks; n = next) {
        next = n->next;
        free(container_of(n, struct slab_block, node));
    }
    list_init(blocks);
}

void slab_done(struct slab *slab)
{
    if (slab->size == 0) {
        return; /* was never begun */
    }
    free_all(&slab->partial);
    free_all(&slab->full);
    slab_init(slab, slab->size);
}

static bool grow(struct slab *slab)
{
    size_t cell = cell_bytes(slab);
    struct slab_block *block = malloc(sizeof *block + SLAB_OBJECTS * cell);
    if (!block) {
        return false;
    }
    block->free = NULL;
    block->taken = 0;
    for (size_t i = SLAB_OBJECTS; i-- > 0;) {
        struct slab_cell *free_cell = (struct slab_cell *)(void *)(block->cells + i * cell);
        free_cell->block = block;
        free_cell->next = block->free;
        block->free = free_cell;
    }
    list_push_back(&slab->partial, &block->node);
    slab->blocks++;
    slab->empty++;
    return true;
}

void *slab_take(struct slab *slab)
{
    if (list_empty(&slab->partial) && !grow(slab)) {
        return NULL;
    }
    struct slab_block *block = container_of(slab->partial.next, struct slab_block, node);
    struct slab_cell *cell = block->free;
    block->free = cell->next;
    slab->empty -= block->taken == 0;
    slab->least_empty = slab->empty < slab->least_empty ? slab->empty : slab->least_empty;
    block->taken++;
    slab->taken++;
    if (!block->free) {
        list_remove(&block->node);
        list_push_back(&slab->full, &block->node);
    }
    return &cell->next;
}

void slab_give(struct slab *slab, void *object)
{
    if (!object) {
        return;
    }
    struct slab_cell *cell = container_of(object, struct slab_cell, next);
    struct slab_block *block = cell->block;
    if (!block->free) {
        list_remove(&block->node);
        list_push_front(&slab->partial, &block->node);
    }
    cell->next = block->free;
    block->free = cell;
    block->taken--;
    slab->taken--;
    if (block->taken == 0) { /* behind those in use, so that those are filled first */
        list_remove(&block->node);
        list_push_back(&slab->partial, &block->node);
        slab->empty++;
    }
}

void slab_trim(struct slab *slab)
{
    struct list *node = slab->partial.prev, *before;
    for (uint32_t n = slab->least_empty; n > 0; n--, node = before) {
        struct slab_block *block = container_of(node, struct slab_block, node);
        assert(block->taken == 0);
        before = node->prev;
        list_remove(node);
        free(block);
        slab->blocks--;
        slab->empty--;
    }
    slab->least_empty = slab->empty;
}

static void check_list(const struct list *blocks, bool full, uint32_t *blocks_len, uint64_t *taken)
{
    for (struct list *n = blocks->next; n != blocks; n = n->next) {
        const struct slab_block *block = container_of(n, struct slab_block, node);
        uint32_t free_len = 0;
        for (const struct slab_cell *cell = block->free; cell; cell = cell->next) {
            assert(cell->block == block);
            free_len++;
        }
        assert(free_len + block->taken == SLAB_OBJECTS);
        assert((free_len == 0) == full);
        *taken += block->taken;
        (*blocks_len)++;
    }
}

void slab_check(const struct slab *slab)
{
    uint32_t blocks = 0;
    uint64_t taken = 0;
    check_list(&slab->partial, false, &blocks, &taken);
    check_list(&slab->full, true, &blocks, &taken);
    assert(blocks == slab->blocks && taken == slab->taken && slab->empty <= slab->blocks);
}
