/*
 * codec/frame.h: where a frame begins and ends, and what else may be knocking.
 *
 * A frame is a 4-byte big-endian length, then that many bytes: the body. Called by the session
 * and by upstream connections on each read; pure, no state of its own.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_FRAME_H
#define TSIDE_CODEC_FRAME_H

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

#endif
