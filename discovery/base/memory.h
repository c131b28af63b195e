/*
 * discovery/base/memory.h: allocation for what must not be half done.
 *
 * The store applies a commit as a whole or not at all; a change lost for want of memory would leave
 * this host on other rules than its neighbours, silently. There is nothing better to do than to end
 * and be started anew from the state on disk. What a peer can make large (values, files) has limits
 * and is refused before it gets here.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_MEMORY_H
#define TSIDE_DISCOVERY_BASE_MEMORY_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static inline void *memory_check(void *p)
{
    if (p == NULL) {
        fputs("tside: discovery: out of memory\n", stderr);
        abort();
    }
    return p;
}

static inline void *memory_alloc(size_t size)
{
    return memory_check(malloc(size > 0 ? size : 1));
}

/* Zeroed. */
static inline void *memory_zalloc(size_t size)
{
    return memory_check(calloc(1, size > 0 ? size : 1));
}

static inline void *memory_array(size_t n, size_t size)
{
    return memory_check(calloc(n > 0 ? n : 1, size));
}

static inline void *memory_resize(void *p, size_t n, size_t size)
{
    return memory_check(reallocarray(p, n > 0 ? n : 1, size));
}

/* A copy of len bytes with a NUL behind. */
static inline char *memory_text(const char *p, size_t len)
{
    char *copy = memory_alloc(len + 1);
    if (len > 0) {
        memcpy(copy, p, len);
    }
    copy[len] = '\0';
    return copy;
}

#endif
