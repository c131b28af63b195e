/*
 * sidecar/data/loop/buffers.h: owned blocks of bytes, charged to limits.buffered_bytes.
 *
 * Whatever outlives a turn of the loop is in a block from here: kept frames, replies that wait for
 * their turn, what the kernel did not take. A block knows its own size: freeing it takes nothing else,
 * and a block that must live until the turn ends is linked through itself, so that neither can fail.
 * One account for all workers. The limit acts where bytes are read (intake.c asks before it reads);
 * what was read is charged in any case.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_BUFFERS_H
#define TSIDE_SIDECAR_DATA_LOOP_BUFFERS_H

#include "sidecar/data/loop/block_cache.h"
#include "sidecar/shared/counters.h"
#include "sidecar/shared/permit.h"

#include <stddef.h>

/* Set aside for every connection, up to half of the limit: what one that keeps nothing yet may read and keep
 * when the rest is used up. */
#define BUFFERS_RESERVE_BYTES 4096

struct buffers {
    struct permits *permits; /* shared by all workers */
    uint64_t limit;
    struct permits *connections; /* each has BUFFERS_RESERVE_BYTES set aside; NULL: none */
    struct counters *counters;
    struct block_cache *cache; /* where the blocks' memory is kept; NULL: nowhere */
};

/* Whether that much may be charged now; counted where not. (Two workers that ask at the same time may
 * together go over the limit, by what each then charges.) */
bool buffers_may_charge(const struct buffers *buffers, size_t bytes);

/* A charged block; NULL without memory. */
void *buffers_alloc(const struct buffers *buffers, size_t bytes)
    __attribute__((warn_unused_result));
/* The same with a copy of the bytes. */
void *buffers_copy(const struct buffers *buffers, const void *bytes, size_t len)
    __attribute__((warn_unused_result));
/* The block with another size, perhaps elsewhere; NULL without memory: then it is as it was. */
void *buffers_resize(const struct buffers *buffers, void *block, size_t bytes)
    __attribute__((warn_unused_result));
void buffers_free_block(const struct buffers *buffers, void *block);
static inline void buffers_free(const struct buffers *buffers, void *block) /* NULL: nothing */
{
    if (block) {
        buffers_free_block(buffers, block);
    }
}
/* How many bytes the block was made with; 0 of NULL. */
size_t buffers_size(const void *block);

/* Blocks that nobody owns any more, but whose bytes may be borrowed until the turn ends. */
struct buffers_pile {
    struct buffers_head *top; /* NULL: none */
};

void buffers_pile_add(struct buffers_pile *pile, void *block); /* NULL: nothing */
void buffers_pile_free(const struct buffers *buffers, struct buffers_pile *pile);

#endif
