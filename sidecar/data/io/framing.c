/*
 * sidecar/data/io/framing.c: see framing.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/framing.h"

#include "codec/frame.h"
#include "codec/wire.h"

static enum framing_status framed_head_read(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                            struct framing_head *ret)
{
    ret->bytes = WIRE_FRAME_LEN_BYTES;
    switch (codec_frame_length(p, avail, max_bytes, &ret->len)) {
    case CODEC_FRAME_LENGTH:
        return FRAMING_HEAD;
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
    .head_least = WIRE_FRAME_LEN_BYTES,
    .head_read = framed_head_read,
    .head_write = framed_head_write,
};

static enum framing_status unframed_head_read(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                              struct framing_head *ret)
{
    (void)p;
    (void)max_bytes;
    *ret = (struct framing_head){0};
    return avail > 0 ? FRAMING_HEAD : FRAMING_MORE;
}

static void unframed_head_write(uint8_t *head, uint32_t len)
{
    (void)head;
    (void)len;
}

const struct framing framing_unframed = {
    .name = "unframed",
    .head_read = unframed_head_read,
    .head_write = unframed_head_write,
};
