/*
 * sidecar/data/loop/slab.h: objects of one size, made in blocks, given back when they are not needed.
 *
 * Taking and giving are a few instructions; in steady state nothing is allocated. slab_trim(), called once in
 * a while, gives the blocks back that were free all the time since the last call: a burst of calls holds
 * no memory for ever, and one that comes again each turn allocates nothing.
 * One worker's; not thread-safe.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_SLAB_H
#define TSIDE_SIDECAR_DATA_LOOP_SLAB_H

#include "sidecar/base/list.h"

#include <stdint.h>

#define SLAB_OBJECTS 64 /* a block */

struct slab {
    size_t size;         /* of an object */
    struct list partial; /* blocks with free objects; empty ones behind the others */
    struct list full;
    uint32_t empty;       /* blocks whose objects are all free */
    uint32_t least_empty; /* the smallest number of them since the last trim */
    uint32_t blocks;      /* all */
    uint64_t taken;       /* objects */
};

void slab_init(struct slab *slab, size_t object_size);
/* Objects that were not given back are lost. Harmless on zeroes. */
void slab_done(struct slab *slab);

/* An object, contents undefined; NULL without memory. */
void *slab_take(struct slab *slab) __attribute__((warn_unused_result));
void slab_give(struct slab *slab, void *object); /* NULL: nothing */

/* Frees the blocks that nobody needed since the last trim. */
void slab_trim(struct slab *slab);

void slab_check(const struct slab *slab);

#endif
