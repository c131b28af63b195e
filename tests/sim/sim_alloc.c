/*
 * tests/sim/sim_alloc.c: see sim_alloc.h.
 *
 * The state is the process's, as the allocator is.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_alloc.h"

#include "tests/sim/sim_fail.h"

#include <stdlib.h>

static struct {
    bool inside;
    uint32_t wait; /* allocations that still work */
    uint32_t run;  /* that fail behind them; 0: not armed */
} memory;

void *__real_malloc(size_t bytes);
void *__real_calloc(size_t n, size_t bytes);
void *__real_realloc(void *p, size_t bytes);
void *__real_aligned_alloc(size_t alignment, size_t bytes);
void *__wrap_malloc(size_t bytes);
void *__wrap_calloc(size_t n, size_t bytes);
void *__wrap_realloc(void *p, size_t bytes);
void *__wrap_aligned_alloc(size_t alignment, size_t bytes);

void sim_alloc_enter(void)
{
    memory.inside = true;
}

void sim_alloc_leave(void)
{
    memory.inside = false;
}

void sim_alloc_fail(uint32_t n, uint32_t run)
{
    memory.wait = n - 1;
    memory.run = run;
}

void sim_alloc_heal(void)
{
    memory.run = 0;
}

static bool fails(void)
{
    if (!memory.inside || memory.run == 0) {
        return false;
    }
    if (memory.wait > 0) {
        memory.wait--;
        return false;
    }
    memory.run--;
    sim_count(SIM_EVENT_MEMORY_FAILED);
    return true;
}

void *__wrap_malloc(size_t bytes)
{
    return fails() ? NULL : __real_malloc(bytes);
}

void *__wrap_calloc(size_t n, size_t bytes)
{
    return fails() ? NULL : __real_calloc(n, bytes);
}

void *__wrap_realloc(void *p, size_t bytes)
{
    return fails() ? NULL : __real_realloc(p, bytes);
}

void *__wrap_aligned_alloc(size_t alignment, size_t bytes)
{
    return fails() ? NULL : __real_aligned_alloc(alignment, bytes);
}

static void *there(void *p)
{
    if (!p) {
        abort();
    }
    return p;
}

void *sim_take(size_t bytes)
{
    return there(__real_calloc(1, bytes));
}

void *sim_retake(void *p, size_t bytes)
{
    return there(__real_realloc(p, bytes));
}

void sim_give(void *p)
{
    free(p);
}
