/*
 * sidecar/data/io/framing.c: see framing.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/framing.h"

#include "codec/frame.h"
#include "codec/wire.h"

static enum framing_status framed_head_read(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                            struct framing_head *head)
{
    head->bytes = WIRE_FRAME_LEN_BYTES;
    switch (codec_frame_length(p, avail, max_bytes, &head->len)) {
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
                                              struct framing_head *head)
{
    (void)p;
    (void)max_bytes;
    head->bytes = head->len = 0;
    return avail > 0 ? FRAMING_HEAD : FRAMING_MORE;
}

/* Nothing stands in front, or others have written it. */
static void no_head_write(uint8_t *head, uint32_t len)
{
    (void)head;
    (void)len;
}

const struct framing framing_unframed = {
    .name = "unframed",
    .head_read = unframed_head_read,
    .head_write = no_head_write,
};

static enum framing_status ttheader_head_read(const uint8_t *p, size_t avail, uint32_t max_bytes,
                                              struct framing_head *head)
{
    struct codec_ttheader *ttheader = head->ttheader;
    if (!head->is_begun) {
        head->is_begun = true;
        codec_ttheader_begin(ttheader, max_bytes);
    }
    switch (codec_ttheader_run(ttheader, p, avail)) {
    case CODEC_TTHEADER_DONE:
        head->bytes = ttheader->message.off;
        head->len = ttheader->message.len;
        return FRAMING_HEAD;
    case CODEC_TTHEADER_MORE:
        head->bytes =
            ttheader->total_bytes > 0 ? ttheader->total_bytes : CODEC_TTHEADER_FIXED_BYTES;
        return FRAMING_MORE;
    default:
        return ttheader->error == CODEC_TTHEADER_ERROR_TOO_LARGE ? FRAMING_TOO_LARGE
                                                                 : FRAMING_NO_HEAD;
    }
}

const struct framing framing_ttheader = {
    .name = "ttheader",
    .head_least = CODEC_TTHEADER_FIXED_BYTES,
    .head_read = ttheader_head_read,
    .head_write = no_head_write,
};
