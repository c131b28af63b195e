/*
 * sidecar/shared/ring.c: see sidecar/shared/ring.h.
 *
 * head and tail only grow, modulo 2^32, of which the size is a divisor. A record is a head of 8
 * bytes (its length), then its bytes, rounded up to 8. One that does not fit before the end of the
 * buffer starts at its beginning, and the rest is marked as skipped:
 *
 *     | record | record | SKIP . . . |      head: behind the newest, tail: before the oldest
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/ring.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define RING_SKIP UINT32_MAX

int ring_init(struct ring *ring, uint32_t size)
{
    assert(size >= 64 && (size & (size - 1)) == 0);
    uint8_t *bytes = malloc(size);
    if (!bytes) {
        return -ENOMEM;
    }
    *ring = (struct ring){.bytes = bytes, .size = size};
    return 0;
}

void ring_done(struct ring *ring)
{
    free(ring->bytes);
    ring->bytes = NULL;
}

static uint32_t record_size(uint32_t len)
{
    return RING_HEAD_BYTES + ((len + 7) & ~(uint32_t)7);
}

static uint32_t length_at(const struct ring *ring, uint32_t at)
{
    uint32_t len;
    memcpy(&len, ring->bytes + (at & (ring->size - 1)), sizeof len);
    return len;
}

static void set_length_at(struct ring *ring, uint32_t at, uint32_t len)
{
    memcpy(ring->bytes + (at & (ring->size - 1)), &len, sizeof len);
}

void *ring_reserve(struct ring *ring, uint32_t len)
{
    if (len > ring->size / 2 - RING_HEAD_BYTES) {
        return NULL;
    }
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_relaxed);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_acquire);
    uint32_t room = ring->size - (head - tail);
    uint32_t to_end = ring->size - (head & (ring->size - 1));
    uint32_t need = record_size(len);
    uint32_t skip = need > to_end ? to_end : 0;
    if (skip + need > room) {
        return NULL;
    }
    if (skip > 0) {
        set_length_at(ring, head, RING_SKIP);
    }
    ring->reserved = head + skip;
    ring->reserved_len = len;
    return ring->bytes + (ring->reserved & (ring->size - 1)) + RING_HEAD_BYTES;
}

void ring_commit(struct ring *ring, uint32_t len)
{
    assert(len <= ring->reserved_len);
    set_length_at(ring, ring->reserved, len);
    atomic_store_explicit(&ring->head, ring->reserved + record_size(len), memory_order_release);
}

/* Where the oldest record starts; only where there is one. */
static uint32_t oldest(const struct ring *ring, uint32_t tail)
{
    if (length_at(ring, tail) == RING_SKIP) {
        tail += ring->size - (tail & (ring->size - 1));
    }
    return tail;
}

const void *ring_peek(const struct ring *ring, uint32_t *ret_len)
{
    uint32_t head = atomic_load_explicit(&ring->head, memory_order_acquire);
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    if (head == tail) {
        return NULL;
    }
    uint32_t at = oldest(ring, tail);
    *ret_len = length_at(ring, at);
    return ring->bytes + (at & (ring->size - 1)) + RING_HEAD_BYTES;
}

void ring_next(struct ring *ring)
{
    uint32_t tail = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    assert(tail != atomic_load_explicit(&ring->head, memory_order_relaxed));
    uint32_t at = oldest(ring, tail);
    atomic_store_explicit(&ring->tail, at + record_size(length_at(ring, at)), memory_order_release);
}
