/*
 * codec/frame.c: the length in front of a message.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/frame.h"

#include "codec/wire.h"

#include <string.h>

uint32_t codec_frame_smallest_length(const uint8_t *p, size_t avail)
{
    uint8_t bytes[WIRE_FRAME_LEN_BYTES] = {0};

    if (avail >= sizeof bytes) {
        return wire_get32(p); /* the usual case */
    }
    if (avail > 0) {
        memcpy(bytes, p, avail);
    }
    return wire_get32(bytes);
}

bool codec_frame_length_is_possible(const uint8_t *p, size_t avail, uint32_t max_bytes)
{
    uint32_t len = codec_frame_smallest_length(p, avail);

    return len <= max_bytes && len <= INT32_MAX;
}

enum codec_frame_status codec_frame_length(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                           uint32_t *ret_len)
{
    if (!codec_frame_length_is_possible(p, avail, max_bytes)) {
        return CODEC_FRAME_TOO_LARGE;
    }
    if (avail < WIRE_FRAME_LEN_BYTES) {
        return CODEC_FRAME_MORE;
    }
    if (wire_get32(p) == 0) {
        return CODEC_FRAME_EMPTY;
    }
    *ret_len = wire_get32(p);
    return CODEC_FRAME_LENGTH;
}
