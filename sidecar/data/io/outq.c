/*
 * sidecar/data/io/outq.c: see data/outq.h.
 *
 * The segments are a ring in the struct itself, or, above eight, in one block that is freed when the
 * queue is empty again.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/outq.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#define GROWTH       4u
#define SEGMENTS_MAX (1u << 24)

static uint32_t capacity(const struct outq *q)
{
    return q->ring ? q->capacity : OUTQ_SEGMENTS_INLINE;
}

/* The i-th segment from the head. Capacities are powers of two. */
static struct outq_segment *at(struct outq *q, uint32_t i)
{
    struct outq_segment *segments = q->ring ? q->ring : q->local;
    return &segments[(q->head + i) & (capacity(q) - 1)];
}

static const struct outq_segment *at_const(const struct outq *q, uint32_t i)
{
    const struct outq_segment *segments = q->ring ? q->ring : q->local;
    return &segments[(q->head + i) & (capacity(q) - 1)];
}

static void free_block(struct outq *q, struct outq_segment *segment)
{
    if (segment->block) {
        buffers_free(q->buffers, segment->block);
        segment->block = NULL;
        q->owned--;
    }
}

static void ring_free(struct outq *q)
{
    if (q->ring) {
        block_cache_give(q->buffers->cache, q->ring, q->capacity * sizeof *q->ring);
        q->ring = NULL;
    }
}

static void shrink_if_empty(struct outq *q)
{
    if (q->n == 0) {
        ring_free(q);
        q->capacity = q->head = 0;
    }
}

/* Makes room for n more segments. */
static int reserve(struct outq *q, size_t n)
{
    uint32_t grown = capacity(q);

    if (n <= grown - q->n) {
        return 0;
    }
    if (n > SEGMENTS_MAX - q->n) {
        return -ENOMEM;
    }
    while (grown - q->n < n) {
        grown *= GROWTH;
    }
    struct outq_segment *ring = block_cache_take(q->buffers->cache, grown * sizeof(*ring));
    if (!ring) {
        return -ENOMEM;
    }
    for (uint32_t i = 0; i < q->n; i++) {
        ring[i] = *at(q, i);
    }
    ring_free(q);
    q->ring = ring;
    q->capacity = grown;
    q->head = 0;
    return 0;
}

void outq_init(struct outq *q, const struct buffers *buffers)
{
    memset(q, 0, sizeof(*q));
    q->buffers = buffers;
}

void outq_done(struct outq *q)
{
    (void)outq_drop_unsent_from(q, 0);
}

static bool extend_last(struct outq *q, const uint8_t *ptr, size_t len)
{
    struct outq_segment *last = q->n ? at(q, q->n - 1) : NULL;

    if (!last || q->sealed || last->block || last->ptr + last->len != ptr) {
        return false;
    }
    last->len += len;
    q->bytes += len;
    return true;
}

static void append(struct outq *q, const uint8_t *ptr, size_t len, uint8_t *block)
{
    *at(q, q->n++) = (struct outq_segment){.ptr = ptr, .len = len, .block = block};
    q->sealed = false;
    q->bytes += len;
}

/* Room is there. */
static void push_borrowed(struct outq *q, const void *ptr, size_t len)
{
    if (len > 0 && !extend_last(q, ptr, len)) {
        append(q, ptr, len, NULL);
    }
}

int outq_push_borrowed(struct outq *q, const void *ptr, size_t len)
{
    int err = reserve(q, 1);
    if (!err) {
        push_borrowed(q, ptr, len);
        shrink_if_empty(q); /* no bytes */
    }
    return err;
}

int outq_push_iov(struct outq *q, const struct iovec iov[], size_t n)
{
    int err = reserve(q, n);
    if (!err) {
        for (uint32_t i = 0; i < (uint32_t)n; i++) {
            push_borrowed(q, iov[i].iov_base, iov[i].iov_len);
        }
        shrink_if_empty(q); /* vectors of no bytes */
    }
    return err;
}

int outq_push_owned(struct outq *q, void *block, size_t off, size_t len)
{
    if (len == 0) {
        buffers_free(q->buffers, block);
        return 0;
    }
    int err = reserve(q, 1);
    if (!err) {
        append(q, (uint8_t *)block + off, len, block);
        q->owned++;
    }
    return err;
}

size_t outq_fill_iov(const struct outq *q, struct iovec iov[], size_t max, size_t *ret_total)
{
    size_t n = q->n < max ? q->n : max;
    size_t total = 0;

    for (uint32_t i = 0; i < n; i++) {
        const struct outq_segment *segment = at_const(q, i);
        /* writev(2) only reads; its type cannot say so. */
        iov[i].iov_base = (void *)(uintptr_t)segment->ptr;
        iov[i].iov_len = segment->len;
        total += segment->len;
    }
    *ret_total = total;
    return n;
}

/* The usual case: all of it, and nothing to free. */
static void forget_all(struct outq *q)
{
    q->head = (q->head + q->n) & (capacity(q) - 1);
    q->n = 0;
    shrink_if_empty(q);
}

void outq_consumed(struct outq *q, size_t bytes)
{
    assert(bytes <= q->bytes);
    q->sent += bytes;
    q->bytes -= bytes;
    if (q->bytes == 0 && q->owned == 0) {
        forget_all(q);
        return;
    }
    while (bytes > 0) {
        struct outq_segment *first = at(q, 0);
        if (bytes < first->len) {
            first->ptr += bytes; /* its end stays, and so does the charge */
            first->len -= bytes;
            break;
        }
        bytes -= first->len;
        free_block(q, first);
        q->head = (q->head + 1) & (capacity(q) - 1);
        q->n--;
    }
    shrink_if_empty(q);
}

/* The number of bytes in the run of borrowed segments that starts at `from`, and its end. */
static size_t borrowed_run(const struct outq *q, uint32_t from, uint32_t *ret_end)
{
    size_t len = 0;
    uint32_t i = from;

    while (i < q->n && !at_const(q, i)->block) {
        len += at_const(q, i++)->len;
    }
    *ret_end = i;
    return len;
}

/* The segments from..end-1, all borrowed, become one owned one at `to` (at most from). */
static int own_run(struct outq *q, uint32_t from, uint32_t end, size_t len, uint32_t to)
{
    uint8_t *block = buffers_alloc(q->buffers, len);
    size_t off = 0;

    if (!block) {
        return -ENOMEM;
    }
    for (uint32_t i = from; i < end; i++) {
        memcpy(block + off, at(q, i)->ptr, at(q, i)->len);
        off += at(q, i)->len;
    }
    *at(q, to) = (struct outq_segment){.ptr = block, .len = len, .block = block};
    q->owned++;
    return 0;
}

int outq_own_rest(struct outq *q)
{
    uint32_t kept = 0;
    uint32_t i = 0;
    int err = 0;

    while (i < q->n) {
        uint32_t end = i;
        size_t len = err ? 0 : borrowed_run(q, i, &end);
        if (len > 0) {
            err = own_run(q, i, end, len, kept);
        }
        if (len > 0 && !err) {
            i = end;
        } else {
            *at(q, kept) = *at(q, i++);
        }
        kept++;
    }
    q->n = kept;
    return err;
}

struct outq_cursor outq_find(const struct outq *q, uint64_t position)
{
    struct outq_cursor cursor = {.segment = q->n, .position = outq_pushed_total(q)};
    while (cursor.segment > 0 && cursor.position > position) {
        cursor.position -= at_const(q, --cursor.segment)->len;
    }
    return cursor;
}

void outq_rebase(struct outq *q, struct outq_cursor *cursor, uint64_t end,
                 const struct outq_move *move)
{
    while (cursor->segment < q->n && cursor->position < end) {
        struct outq_segment *segment = at(q, cursor->segment++);
        size_t off = (size_t)((uintptr_t)segment->ptr - (uintptr_t)move->from);
        cursor->position += segment->len;
        if (!segment->block && off < move->len) {
            segment->ptr = (const uint8_t *)move->to + off;
        }
    }
}

size_t outq_drop_unsent_from(struct outq *q, uint64_t position)
{
    uint64_t keep = position > q->sent ? position - q->sent : 0;
    size_t dropped = keep < q->bytes ? q->bytes - (size_t)keep : 0;
    size_t left = dropped;

    q->bytes -= dropped;
    while (left > 0) {
        struct outq_segment *last = at(q, q->n - 1);
        if (left >= last->len) {
            left -= last->len;
            free_block(q, last);
            q->n--;
            continue;
        }
        last->len -= left; /* its block counts whole until the rest of it is sent */
        left = 0;
    }
    shrink_if_empty(q);
    return dropped;
}

void outq_check(const struct outq *q)
{
    size_t bytes = 0;
    uint32_t owned = 0;

    assert(q->n <= capacity(q) && (capacity(q) & (capacity(q) - 1)) == 0);
    assert(q->n > 0 || (!q->ring && q->head == 0));
    for (uint32_t i = 0; i < q->n; i++) {
        const struct outq_segment *segment = at_const(q, i);
        assert(segment->ptr && segment->len > 0);
        assert(!segment->block || segment->ptr >= segment->block);
        bytes += segment->len;
        owned += segment->block != NULL;
    }
    assert(bytes == q->bytes && owned == q->owned);
}
