/*
 * sidecar/shared/ring.h: records from one worker to the control thread, bounded, never waiting.
 *
 * Single producer, single consumer, variable-length records in a byte ring. Full means that the
 * record is dropped and counted by the producer.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_RING_H
#define TSIDE_SIDECAR_SHARED_RING_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

#define RING_HEAD_BYTES 8

struct ring {
    uint8_t *bytes;
    uint32_t size;                      /* a power of two, at least 64 */
    _Alignas(64) _Atomic uint32_t head; /* the producer's, likewise the next two */
    uint32_t reserved;
    uint32_t reserved_len;
    _Alignas(64) _Atomic uint32_t tail; /* the consumer's */
};

/* 0 or -ENOMEM. */
int ring_init(struct ring *ring, uint32_t size) __attribute__((warn_unused_result));
void ring_done(struct ring *ring);

/* Producer: room for one contiguous record of at most size/2 - RING_HEAD_BYTES bytes (such a one
 * always fits into an empty ring), 8-byte aligned; NULL where full. Nothing is seen by the consumer
 * before ring_commit(), which may shorten the record. A reservation may be abandoned. */
void *ring_reserve(struct ring *ring, uint32_t len) __attribute__((warn_unused_result));
void ring_commit(struct ring *ring, uint32_t len);

/* Consumer: the oldest record, NULL where empty; valid until ring_next(). 8-byte aligned. */
const void *ring_peek(const struct ring *ring, uint32_t *ret_len)
    __attribute__((warn_unused_result));
void ring_next(struct ring *ring);

#endif
