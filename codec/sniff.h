/*
 * codec/sniff.h: which protocol is knocking, by the first bytes of a connection.
 *
 * Called by the session until it is sure; pure, no state of its own. The one place that knows other
 * protocols' beginnings.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_SNIFF_H
#define TSIDE_CODEC_SNIFF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* What a connection speaks; the names are the label values of tside_foreign_connections_total. */
enum codec_protocol {
    CODEC_PROTOCOL_FRAMED = 0, /* what the port speaks */
    CODEC_PROTOCOL_UNFRAMED,
    CODEC_PROTOCOL_FRAMED_UNVERSIONED, /* Binary without the strict header, as of scribe's clients */
    CODEC_PROTOCOL_FRAMED_PROTOBUF,    /* Kitex's Protobuf */
    CODEC_PROTOCOL_COMPACT,
    CODEC_PROTOCOL_THEADER,
    CODEC_PROTOCOL_TTHEADER,
    CODEC_PROTOCOL_MESHHEADER,
    CODEC_PROTOCOL_HTTP,
    CODEC_PROTOCOL_TLS,
    CODEC_PROTOCOL_UNKNOWN,
    CODEC_PROTOCOL_MAX
};

/*
 * Judges a connection by its first bytes (8 decide; fewer are judged as far as they go). FRAMED
 * means "nothing speaks against it", also where avail is too short to tell. UNKNOWN is said only
 * of 4 or more bytes that cannot be a frame within max_bytes, or of a frame whose body begins like
 * nothing that is known here.
 */
enum codec_protocol codec_protocol_sniff(const uint8_t *p, size_t avail, uint32_t max_bytes);

const char *codec_protocol_str(enum codec_protocol protocol);

/* --- what a listener accepts --- */

#define CODEC_SNIFF_BYTES 8 /* so many decide in any case; no message is shorter */

enum codec_sniff_status {
    CODEC_SNIFF_MORE = 0, /* fewer than 8, and nothing speaks against them */
    CODEC_SNIFF_ACCEPTED,
    CODEC_SNIFF_FOREIGN,
    CODEC_SNIFF_STATUS_MAX
};

struct codec_sniff {
    bool accepts_framed;
    bool accepts_unframed;
    bool accepts_ttheader;
    uint32_t max_bytes; /* of a message */
};

/*
 * Judges by the same rules for a listener that accepts these. *ret_protocol is what is accepted or foreign (also
 * FRAMED, where that is not accepted); for MORE it is untouched. Where TTHeader is accepted, a length may be the
 * limit and the longest header.
 */
enum codec_sniff_status codec_sniff(const struct codec_sniff *sniff, const uint8_t *p, size_t avail,
                                    enum codec_protocol *ret_protocol);

#endif
