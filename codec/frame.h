/*
 * codec/frame.h: where a frame begins and ends.
 *
 * A frame is a 4-byte big-endian length, then that many bytes: the body. Called by the session
 * and by upstream connections on each read; pure, no state of its own.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_FRAME_H
#define TSIDE_CODEC_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum codec_frame_status {
    CODEC_FRAME_MORE = 0,  /* fewer than 4 bytes so far, all of them possible */
    CODEC_FRAME_LENGTH,    /* the length is known and within 1..max */
    CODEC_FRAME_EMPTY,     /* length 0 */
    CODEC_FRAME_TOO_LARGE, /* above max, negative ones included */
    CODEC_FRAME_STATUS_MAX
};

/* Reads the length at p (avail bytes there). *ret_len is set for LENGTH alone. */
enum codec_frame_status codec_frame_length(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                           uint32_t *ret_len) __attribute__((warn_unused_result));

/* No length that begins with these bytes (fewer than 4 may have come) is smaller. */
uint32_t codec_frame_smallest_length(const uint8_t *p, size_t avail);

/* Whether a length within max_bytes can begin with these bytes. */
bool codec_frame_length_is_possible(const uint8_t *p, size_t avail, uint32_t max_bytes);

#endif
