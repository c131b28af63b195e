/*
 * sidecar/data/upstream/upstream_cure.c: see upstream_cure.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/upstream_cure.h"

#include "codec/sniff.h"

static enum codec_protocol protocol_of(const struct framing *framing)
{
    return framing == &framing_unframed   ? CODEC_PROTOCOL_UNFRAMED
           : framing == &framing_ttheader ? CODEC_PROTOCOL_TTHEADER
                                          : CODEC_PROTOCOL_FRAMED;
}

const char *upstream_cure(const struct framing *framing, const uint8_t *p, size_t n,
                          uint32_t max_bytes)
{
    static const char *const cures[CODEC_PROTOCOL_MAX] = {
        [CODEC_PROTOCOL_FRAMED] = "the callee answers framed: its rule needs pool.framing framed",
        [CODEC_PROTOCOL_UNFRAMED] =
            "the callee answers unframed: its rule needs pool.framing unframed",
        [CODEC_PROTOCOL_TTHEADER] =
            "the callee answers in TTHeader: its rule needs pool.framing ttheader",
    };
    const struct codec_sniff sniff = {.accepts_framed = true,
                                      .accepts_unframed = true,
                                      .accepts_ttheader = true,
                                      .max_bytes = max_bytes};
    enum codec_protocol protocol;
    if (codec_sniff(&sniff, p, n < CODEC_SNIFF_BYTES ? n : CODEC_SNIFF_BYTES, &protocol) !=
            CODEC_SNIFF_ACCEPTED ||
        protocol == protocol_of(framing)) {
        return NULL;
    }
    return cures[protocol];
}
