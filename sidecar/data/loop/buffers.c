/*
 * sidecar/data/loop/buffers.c: see buffers.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/buffers.h"

#include <stdlib.h>
#include <string.h>

static uint64_t limit_of(const struct buffers *buffers)
{
    uint64_t reserve =
        buffers->connections ? permit_taken(buffers->connections) * BUFFERS_RESERVE_BYTES : 0;
    return buffers->limit - (reserve < buffers->limit / 2 ? reserve : buffers->limit / 2);
}

bool buffers_may_charge(const struct buffers *buffers, size_t bytes)
{
    uint64_t taken = permit_taken(buffers->permits);
    uint64_t limit = limit_of(buffers);
    if (bytes > limit || taken > limit - bytes) {
        counter_add(buffers->counters, METRIC_BUFFERS_EXHAUSTED, 1);
        return false;
    }
    return true;
}

void buffers_charge(const struct buffers *buffers, size_t bytes)
{
    (void)permit_take(buffers->permits, bytes, UINT64_MAX); /* cannot refuse: no limit is given */
    counter_add(buffers->counters, METRIC_BUFFERED_BYTES, bytes);
}

void buffers_credit(const struct buffers *buffers, size_t bytes)
{
    permit_give(buffers->permits, bytes);
    counter_sub(buffers->counters, METRIC_BUFFERED_BYTES, bytes);
}

void *buffers_alloc(const struct buffers *buffers, size_t bytes)
{
    void *block = bytes <= PTRDIFF_MAX ? malloc(bytes ? bytes : 1) : NULL;
    if (block) {
        buffers_charge(buffers, bytes);
    }
    return block;
}

void *buffers_copy(const struct buffers *buffers, const void *bytes, size_t len)
{
    void *block = buffers_alloc(buffers, len);
    if (block) {
        memcpy(block, bytes, len);
    }
    return block;
}

void buffers_free(const struct buffers *buffers, void *block, size_t bytes)
{
    if (block) {
        free(block);
        buffers_credit(buffers, bytes);
    }
}
