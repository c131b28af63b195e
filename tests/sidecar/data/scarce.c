/*
 * tests/sidecar/data/scarce.c: see scarce.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/scarce.h"

#include <stddef.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *block, size_t size);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *block, size_t size);

/* Volatile: the compiler knows what malloc() does, and would move these around it. */
static volatile struct {
    bool on, all;
    unsigned left; /* allocations that still succeed */
    unsigned failed;
    unsigned held;
    unsigned long count;
} scarce;

static bool fails(void)
{
    if (scarce.held > 0) {
        return false;
    }
    scarce.count++;
    if (!scarce.on || (scarce.failed > 0 && !scarce.all)) {
        return false;
    }
    if (scarce.left > 0) {
        scarce.left--;
        return false;
    }
    scarce.failed++;
    return true;
}

void *__wrap_malloc(size_t size)
{
    return fails() ? NULL : __real_malloc(size);
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails() ? NULL : __real_calloc(n, size);
}

void *__wrap_realloc(void *block, size_t size)
{
    return fails() ? NULL : __real_realloc(block, size);
}

void scarce_begin(unsigned n, bool all)
{
    scarce.on = true;
    scarce.all = all;
    scarce.left = n;
    scarce.failed = 0;
}

unsigned scarce_end(void)
{
    scarce.on = false;
    return scarce.failed;
}

unsigned long scarce_count(void)
{
    return scarce.count;
}

void scarce_hold(void)
{
    scarce.held++;
}

void scarce_release(void)
{
    scarce.held--;
}
