/*
 * sidecar/data/loop/arena.c: see data/arena.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/arena.h"

#include "sidecar/data/loop/poison.h"

#include <assert.h>
#include <errno.h>
#include <string.h>
#include <sys/mman.h>

static size_t round_up(size_t n)
{
    return (n + ARENA_ALIGN_BYTES - 1) & ~(size_t)(ARENA_ALIGN_BYTES - 1);
}

int arena_init(struct arena *arena, size_t size_bytes)
{
    size_t size = size_bytes & ~(size_t)(ARENA_ALIGN_BYTES - 1);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (base == MAP_FAILED) {
        return -ENOMEM;
    }
    *arena = (struct arena){.base = base, .size = size};
#ifdef __SANITIZE_ADDRESS__
    POISON(base, size); /* not 0xdd: that would touch every page of an idle worker */
#endif
    return 0;
}

void arena_done(struct arena *arena)
{
    if (arena->base) {
        UNPOISON(arena->base, arena->size);     /* the next mapping here may be anybody's */
        (void)munmap(arena->base, arena->size); /* fails for bad arguments only */
    }
    *arena = (struct arena){0};
}

void *arena_take(struct arena *arena, size_t len)
{
    if (len > arena_left(arena)) {
        return NULL;
    }
    uint8_t *piece = arena->base + arena->used;
    UNPOISON(piece, len);
    arena->last = arena->used;
    arena->used += round_up(len); /* fits: size and used are multiples */
    return piece;
}

void arena_shrink(struct arena *arena, const void *ptr, size_t taken, size_t used)
{
    assert(used <= taken && arena_owns(arena, ptr));
    size_t start = (size_t)((const uint8_t *)ptr - arena->base);

    if (start != arena->last || start + round_up(taken) != arena->used) {
        return;
    }
    POISON(arena->base + start + used, taken - used);
    arena->used = start + round_up(used);
}

void arena_reset(struct arena *arena)
{
    POISON(arena->base, arena->used);
    arena->used = arena->last = 0;
}

void arena_check(const struct arena *arena)
{
    assert(arena->last <= arena->used && arena->used <= arena->size);
    assert(arena->used % ARENA_ALIGN_BYTES == 0 && arena->last % ARENA_ALIGN_BYTES == 0);
    assert(arena->base || !arena->size);
}
