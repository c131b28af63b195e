/*
 * sidecar/data/io/outq.h: what one stream has yet to send, first in first out.
 *
 * A queue belongs to one stream and is used by its worker's thread alone. It does no I/O: the flush
 * fills vectors, hands them to the kernel and says how much was taken.
 *
 *     outq_push_...(q)                              during the turn, any number
 *     n = outq_fill_iov(q, iov, max, &total);             at its flush
 *     outq_consumed(q, uv_try_write(...));
 *     outq_own_rest(q);                             before the arena is reset
 *
 * Segments are borrowed (the bytes must stay until the end of the turn, when the rest is copied once,
 * by outq_own_rest()) or owned (a block of loop/buffers.h that the queue frees behind its last byte).
 *
 * Positions count the bytes of the stream's whole life. A call that was pushed from start to end is
 *
 *     unsent   sent_total <= start         partly sent   start < sent_total < end
 *     sent     end <= sent_total
 *
 *       sent_total                        pushed_total
 *      ...sent |  segment | segment | segment |
 *
 * An empty queue owns nothing and may be copied or forgotten.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_OUTQ_H
#define TSIDE_SIDECAR_DATA_IO_OUTQ_H

#include "sidecar/data/loop/buffers.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/uio.h>

#define OUTQ_SEGMENTS_INLINE 8u

struct outq_segment {
    const uint8_t *ptr;
    size_t len;     /* never 0 */
    uint8_t *block; /* owned: the block that ptr points into; NULL: borrowed */
};

/* Private; read it through the functions. */
struct outq {
    const struct buffers *buffers; /* that blocks come from and go back to */
    struct outq_segment *ring;     /* NULL: the segments are in local */
    uint32_t capacity;             /* of ring, a power of two */
    uint32_t head;
    uint32_t n;
    uint32_t owned; /* segments with a block */
    bool sealed;    /* the last segment is not extended */
    size_t bytes;
    uint64_t sent;
    struct outq_segment local[OUTQ_SEGMENTS_INLINE];
};
_Static_assert(sizeof(struct outq) <= 256, "a stream that is idle must stay small");

void outq_init(struct outq *q, const struct buffers *buffers);
void outq_done(struct outq *q); /* frees what is still owned; the queue is empty again */

/* 0 or -ENOMEM (then nothing was pushed). Bytes that follow the last segment's in memory extend it. */
int outq_push_borrowed(struct outq *q, const void *ptr, size_t len)
    __attribute__((warn_unused_result));
int outq_push_iov(struct outq *q, const struct iovec iov[], size_t n)
    __attribute__((warn_unused_result));

/* block[off .. off + len) is to be sent. Takes the block; on -ENOMEM it is still the caller's. len 0
 * frees it at once. */
int outq_push_owned(struct outq *q, void *block, size_t off, size_t len)
    __attribute__((warn_unused_result));

/* Fills at most max vectors with the first bytes to be sent and returns how many it filled; *ret_total is
 * the sum of their lengths. */
size_t outq_fill_iov(const struct outq *q, struct iovec iov[], size_t max, size_t *ret_total);

/* The kernel took the first `bytes` bytes: at most outq_bytes(). Frees blocks whose end was sent. */
void outq_consumed(struct outq *q, size_t bytes);

/* Copies what is still borrowed, each run of borrowed bytes into one block. 0 or -ENOMEM: then some of
 * the rest is still borrowed, and the stream must go. */
int outq_own_rest(struct outq *q) __attribute__((warn_unused_result));

/* What is pushed next begins a segment of its own, even where it follows in memory. */
static inline void outq_seal(struct outq *q)
{
    q->sealed = true;
}

/* A place among the segments, good until something is consumed, dropped or made owned. */
struct outq_cursor {
    uint32_t segment; /* from the first that is queued */
    uint64_t position;
};
/* Where what was pushed at that position, or behind it, begins: looks from the end. */
struct outq_cursor outq_find(const struct outq *q, uint64_t position);

/* Bytes that their owner has copied, and keeps until they are sent. */
struct outq_move {
    const void *from, *to;
    size_t len;
};
/* What is queued of move->from, from the cursor up to position `end`, is sent from the same place at move->to
 * instead. No segment reaches beyond the range, or beyond `end`, to which the cursor moves. */
void outq_rebase(struct outq *q, struct outq_cursor *cursor, uint64_t end,
                 const struct outq_move *move);

/* Takes back what was pushed from position on and was not sent. Returns the number of bytes. */
size_t outq_drop_unsent_from(struct outq *q, uint64_t position);

/* Still to be sent. */
static inline size_t outq_bytes(const struct outq *q)
{
    return q->bytes;
}

static inline uint64_t outq_sent_total(const struct outq *q)
{
    return q->sent;
}

static inline uint64_t outq_pushed_total(const struct outq *q)
{
    return q->sent + q->bytes;
}

void outq_check(const struct outq *q);

#endif
