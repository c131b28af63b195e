/*
 * sidecar/data/loop/block_cache.c: see block_cache.h.
 *
 * A spare block holds the next one of its class. The address sanitizer is told what of a block is in use.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/block_cache.h"

#include "sidecar/data/loop/poison.h"

#include <stdlib.h>
#include <string.h>

struct block_spare {
    struct block_spare *next;
};

#define STEPS 4u /* sizes per doubling */

/* The class that a size belongs to, and the size of its blocks: BLOCK_CACHE_CLASSES and the size itself where it
 * is too large. */
static unsigned class_of(size_t bytes, size_t *ret_room)
{
    size_t base = BLOCK_CACHE_MIN_BYTES;
    if (bytes > BLOCK_CACHE_MAX_BYTES) {
        *ret_room = bytes;
        return BLOCK_CACHE_CLASSES;
    }
    if (bytes <= base) {
        *ret_room = base;
        return 0;
    }
    unsigned doublings = (unsigned)(__builtin_clzl(base - 1) - __builtin_clzl(bytes - 1)) - 1;
    base <<= doublings;
    unsigned step = (unsigned)((bytes - 1 - base) / (base / STEPS)) + 1; /* 1 to STEPS */
    *ret_room = base + step * (base / STEPS);
    return doublings * STEPS + step;
}

void *block_cache_take(struct block_cache *cache, size_t bytes)
{
    size_t room;
    unsigned number = class_of(bytes, &room);
    struct block_class *class =
        cache && number < BLOCK_CACHE_CLASSES ? &cache->classes[number] : NULL;
    struct block_spare *block = class ? class->spare : NULL;
    if (block) {
        class->spare = block->next;
        class->n--;
        class->least = class->n < class->least ? class->n : class->least;
        UNPOISON(block, bytes);
    } else if ((block = malloc(room))) {
        POISON((char *)block + bytes, room - bytes);
    }
    return block;
}

static void release(struct block_spare *block, size_t room)
{
    UNPOISON(block, room);
    free(block);
}

void block_cache_give(struct block_cache *cache, void *memory, size_t bytes)
{
    size_t room;
    unsigned number = class_of(bytes, &room);
    struct block_spare *block = memory;
    struct block_class *class =
        cache && number < BLOCK_CACHE_CLASSES ? &cache->classes[number] : NULL;
    if (!class || ((size_t) class->n + 1) * room > BLOCK_CACHE_CLASS_BYTES) {
        release(block, room);
        return;
    }
    UNPOISON(block, sizeof *block);
    block->next = class->spare;
    class->spare = block;
    class->n++;
    POISON(block + 1, room - sizeof *block);
}

static void *move(struct block_cache *cache, void *block, size_t before, size_t bytes)
{
    void *moved = block_cache_take(cache, bytes);
    if (moved) {
        memcpy(moved, block, before < bytes ? before : bytes);
        block_cache_give(cache, block, before);
    }
    return moved;
}

void *block_cache_resize(struct block_cache *cache, void *block, size_t before, size_t bytes)
{
    size_t room_before, room;
    unsigned from = class_of(before, &room_before);
    unsigned to = class_of(bytes, &room);
    if (from == BLOCK_CACHE_CLASSES && to == BLOCK_CACHE_CLASSES) {
        return realloc(block, bytes);
    }
    if (from != to) {
        return move(cache, block, before, bytes);
    }
    UNPOISON(block, bytes);
    POISON((char *)block + bytes, room - bytes);
    return block;
}

static void free_spare(struct block_class *class, size_t room, uint32_t n)
{
    for (; n > 0; n--) {
        struct block_spare *block = class->spare;
        class->spare = block->next;
        class->n--;
        release(block, room);
    }
}

static size_t room_of_class(unsigned number)
{
    if (number == 0) {
        return BLOCK_CACHE_MIN_BYTES;
    }
    size_t base = BLOCK_CACHE_MIN_BYTES << ((number - 1) / STEPS);
    return base + ((number - 1) % STEPS + 1) * (base / STEPS);
}

void block_cache_trim(struct block_cache *cache)
{
    for (unsigned i = 0; i < BLOCK_CACHE_CLASSES; i++) {
        struct block_class *class = &cache->classes[i];
        free_spare(class, room_of_class(i), class->least);
        class->least = class->n;
    }
}

void block_cache_done(struct block_cache *cache)
{
    for (unsigned i = 0; i < BLOCK_CACHE_CLASSES; i++) {
        struct block_class *class = &cache->classes[i];
        free_spare(class, room_of_class(i), class->n);
        class->least = 0;
    }
}
