/*
 * sidecar/data/loop/arena.h: the memory of one turn of a worker's loop.
 *
 * One arena per worker, used by its thread alone. Whatever is read within a turn lands here and may
 * be pointed at until arena_reset(), after the flush: "borrowed" bytes. What must live longer is
 * copied out. A read callback takes a whole piece and gives back what the read did not fill:
 *
 *     base [ read 1 | read 2 |  piece on loan ......... |            free             ] size
 *                             ^last                      ^used
 *     arena_shrink():
 *          [ read 1 | read 2 | 3 |                      free                          ]
 *
 * Debug builds fill what a reset frees with 0xdd, and the address sanitizer is told that it is
 * nobody's, so that a pointer kept over the end of a turn is found.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_LOOP_ARENA_H
#define TSIDE_SIDECAR_DATA_LOOP_ARENA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define ARENA_ALIGN_BYTES 16u

struct arena {
    uint8_t *base;
    size_t size;
    size_t used; /* a multiple of ARENA_ALIGN_BYTES, as are all pieces' starts */
    size_t last; /* where the piece taken last begins; used where it was given back whole */
};

/* 0 or -ENOMEM. The pages are the kernel's until they are first touched. */
int arena_init(struct arena *arena, size_t size_bytes) __attribute__((warn_unused_result));
void arena_done(struct arena *arena);

/* len bytes, aligned, contents undefined, borrowed until arena_reset(); NULL where they don't fit. */
void *arena_take(struct arena *arena, size_t len);

/* Keeps the first `used` of the `taken` bytes at ptr and gives back the rest. Does nothing where
 * something else was taken since: the tail then stays unused until the reset. */
void arena_shrink(struct arena *arena, const void *ptr, size_t taken, size_t used);

/* Ends every loan. */
void arena_reset(struct arena *arena);

static inline bool arena_owns(const struct arena *arena, const void *ptr)
{
    return (uintptr_t)ptr - (uintptr_t)arena->base < arena->size;
}

static inline size_t arena_left(const struct arena *arena)
{
    return arena->size - arena->used;
}

void arena_check(const struct arena *arena);

#endif
