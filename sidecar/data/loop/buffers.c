/*
 * sidecar/data/loop/buffers.c: see buffers.h.
 *
 *     block_cache_take() -> [ next, size | the block's bytes ... ]
 *                                          ^ what users hold
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/buffers.h"

#include <string.h>

struct buffers_head {
    struct buffers_head *next; /* in a pile */
    size_t size;
};

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

static void charge(const struct buffers *buffers, size_t bytes)
{
    (void)permit_take(buffers->permits, bytes, UINT64_MAX); /* cannot refuse: no limit is given */
    counter_add(buffers->counters, METRIC_BUFFERED_BYTES, bytes);
}

static void credit(const struct buffers *buffers, size_t bytes)
{
    permit_give(buffers->permits, bytes);
    counter_sub(buffers->counters, METRIC_BUFFERED_BYTES, bytes);
}

static struct buffers_head *head_of(void *block)
{
    return (struct buffers_head *)block - 1;
}

void *buffers_alloc(const struct buffers *buffers, size_t bytes)
{
    struct buffers_head *head = bytes <= PTRDIFF_MAX - sizeof *head
                                    ? block_cache_take(buffers->cache, sizeof *head + bytes)
                                    : NULL;
    if (!head) {
        return NULL;
    }
    head->next = NULL;
    head->size = bytes;
    charge(buffers, bytes);
    return head + 1;
}

void *buffers_copy(const struct buffers *buffers, const void *bytes, size_t len)
{
    void *block = buffers_alloc(buffers, len);
    if (block && len > 0) {
        memcpy(block, bytes, len);
    }
    return block;
}

void *buffers_resize(const struct buffers *buffers, void *block, size_t bytes)
{
    struct buffers_head *head = head_of(block);
    size_t before = head->size;
    head =
        bytes <= PTRDIFF_MAX - sizeof *head
            ? block_cache_resize(buffers->cache, head, sizeof *head + before, sizeof *head + bytes)
            : NULL;
    if (!head) {
        return NULL;
    }
    head->size = bytes;
    credit(buffers, before);
    charge(buffers, bytes);
    return head + 1;
}

void buffers_free_block(const struct buffers *buffers, void *block)
{
    size_t size = head_of(block)->size;
    credit(buffers, size);
    block_cache_give(buffers->cache, head_of(block), sizeof(struct buffers_head) + size);
}

size_t buffers_size(const void *block)
{
    return block ? ((const struct buffers_head *)block - 1)->size : 0;
}

void buffers_pile_add(struct buffers_pile *pile, void *block)
{
    if (block) {
        head_of(block)->next = pile->top;
        pile->top = head_of(block);
    }
}

void buffers_pile_free(const struct buffers *buffers, struct buffers_pile *pile)
{
    while (pile->top) {
        struct buffers_head *head = pile->top;
        pile->top = head->next;
        buffers_free(buffers, head + 1);
    }
}
