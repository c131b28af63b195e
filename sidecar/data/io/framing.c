/*
 * sidecar/data/io/framing.c: see framing.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/framing.h"

#include "codec/frame.h"
#include "codec/wire.h"

static enum framing_status framed_head_read(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                            uint32_t *ret_len)
{
    switch (codec_frame_length(p, avail, max_bytes, ret_len)) {
    case CODEC_FRAME_LENGTH:
        return FRAMING_LENGTH;
    case CODEC_FRAME_EMPTY:
        return FRAMING_EMPTY;
    case CODEC_FRAME_TOO_LARGE:
        return FRAMING_TOO_LARGE;
    default:
        return FRAMING_MORE;
    }
}

static void framed_head_write(uint8_t *head, uint32_t len)
{
    wire_put32(head, len);
}

const struct framing framing_framed = {
    .name = "framed",
    .head_bytes = WIRE_FRAME_LEN_BYTES,
    .head_read = framed_head_read,
    .head_write = framed_head_write,
};
