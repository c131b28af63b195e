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

struct ring {
    uint8_t *bytes;
    uint32_t size;                      /* a power of two */
    _Alignas(64) _Atomic uint32_t head; /* the producer's */
    _Alignas(64) _Atomic uint32_t tail; /* the consumer's */
};

int ring_init(struct ring *ring, uint32_t size); /* 0 or -ENOMEM */
void ring_done(struct ring *ring);

/* Producer: room for one contiguous record (at most size/2 bytes), NULL where full; nothing is seen
 * by the consumer before ring_commit(), which may shorten the record. */
void *ring_reserve(struct ring *ring, uint32_t len);
void ring_commit(struct ring *ring, uint32_t len);

/* Consumer: the oldest record, NULL where empty; valid until ring_next(). 8-byte aligned. */
const void *ring_peek(const struct ring *ring, uint32_t *ret_len);
void ring_next(struct ring *ring);

#endif
