/*
 * tests/support/failing_malloc.c: see failing_malloc.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/support/failing_malloc.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

void *__real_malloc(size_t size);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t size);
void *__real_reallocarray(void *p, size_t n, size_t size);
char *__real_strdup(const char *text);
void *__wrap_malloc(size_t size);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t size);
void *__wrap_reallocarray(void *p, size_t n, size_t size);
char *__wrap_strdup(const char *text);

static struct {
    bool armed;
    bool failed;   /* the allocation came, and failed */
    unsigned left; /* allocations before it */
} state;

bool failing_malloc_arm(unsigned n)
{
    bool more = n == 0 || state.failed;
    state.armed = more;
    state.failed = false;
    state.left = n;
    return more;
}

void failing_malloc_disarm(void)
{
    state.armed = false;
}

static bool fails(void)
{
    if (!state.armed || state.failed || state.left-- > 0) {
        return false;
    }
    state.failed = true;
    errno = ENOMEM;
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

void *__wrap_realloc(void *p, size_t size)
{
    return fails() ? NULL : __real_realloc(p, size);
}

void *__wrap_reallocarray(void *p, size_t n, size_t size)
{
    return fails() ? NULL : __real_reallocarray(p, n, size);
}

char *__wrap_strdup(const char *text)
{
    return fails() ? NULL : __real_strdup(text);
}
