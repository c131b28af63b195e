/*
 * sidecar/data/loop/block_cache.h: memory for blocks that come and go all the time, kept for the next one.
 *
 * Sizes are rounded up to one of four per doubling, from 256 bytes to 128 KiB, so at most a fifth of a block of
 * 1 KiB and more is left over; larger ones are malloc()'s. A block that is given is kept for the next one of its
 * size: in steady state nothing is allocated. block_cache_trim(), called once in a while, frees those that
 * nobody needed since the last call: what a burst needed is not kept for ever.
 * One worker's; not thread-safe. All zeroes is an empty one.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_BLOCK_CACHE_H
#define TSIDE_SIDECAR_DATA_LOOP_BLOCK_CACHE_H

#include <stddef.h>
#include <stdint.h>

#define BLOCK_CACHE_MIN_BYTES ((size_t)256)
#define BLOCK_CACHE_MAX_BYTES ((size_t)128 * 1024)
#define BLOCK_CACHE_CLASSES   37
/* Of one size so many bytes are kept at most. */
#define BLOCK_CACHE_CLASS_BYTES ((size_t)512 * 1024)

struct block_cache {
    struct block_class {
        struct block_spare *spare;
        uint32_t n;
        uint32_t least; /* the smallest n since the last trim */
    } classes[BLOCK_CACHE_CLASSES];
};

/* NULL without memory. A cache of NULL keeps nothing. */
void *block_cache_take(struct block_cache *cache, size_t bytes) __attribute__((warn_unused_result));
/* A block that was taken with so many bytes. */
void block_cache_give(struct block_cache *cache, void *block, size_t bytes);
/* The block, which was taken with `before` bytes, with another size, perhaps elsewhere; NULL without memory:
 * then it is as it was. */
void *block_cache_resize(struct block_cache *cache, void *block, size_t before, size_t bytes)
    __attribute__((warn_unused_result));

/* Frees what nobody needed since the last trim. */
void block_cache_trim(struct block_cache *cache);
/* Frees all that is kept. */
void block_cache_done(struct block_cache *cache);

#endif
