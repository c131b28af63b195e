/*
 * codec/sniff.c: what a connection speaks, by its first bytes.
 *
 * The order of the tests follows what other Thrift implementations do to tell transports apart: a
 * length that fits and the strict magic behind it win over everything else, since no other protocol
 * has both.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/sniff.h"

#include "codec/frame.h"
#include "codec/ttheader.h"

#include <string.h>

#define MAGIC_STRICT   0x8001
#define MAGIC_PROTOBUF 0x9001
#define MAGIC_THEADER  0x0fff

/* A non-strict message: its name's length, the name, type, seqid, and the arguments' STOP. */
#define UNVERSIONED_BYTES_BUT_NAME (4 + 1 + 4 + 1)
/* "Service:Method"; what is longer is rather a stranger whose bytes happen to be lengths. */
#define UNVERSIONED_NAME_MAX (2 * WIRE_NAME_MAX_BYTES + 1)

static bool starts_with(const uint8_t *p, size_t avail, const char *word)
{
    size_t len = strlen(word);

    return memcmp(p, word, avail < len ? avail : len) == 0;
}

static bool is_http(const uint8_t *p, size_t avail)
{
    /* "HTTP" is the answer of a server that was dialled by mistake. */
    static const char *const words[] = {"GET ", "POST", "HEAD", "HTTP", "PUT ", "PRI ",
                                        "DELE", "OPTI", "PATC", "CONN", "TRAC"};

    for (size_t i = 0; i < sizeof words / sizeof words[0]; i++) {
        if (starts_with(p, avail, words[i])) {
            return true;
        }
    }
    return false;
}

static bool is_compact(const uint8_t *p, size_t avail)
{
    return p[0] == 0x82 && (avail < 2 || (p[1] & 0x1f) == 1);
}

/* What begins a connection that is not framed at all. */
static enum codec_protocol sniff_bare(const uint8_t *p, size_t avail)
{
    if (starts_with(p, avail < 2 ? avail : 2, "\x80\x01")) {
        return CODEC_PROTOCOL_UNFRAMED;
    }
    if (is_compact(p, avail)) {
        return CODEC_PROTOCOL_COMPACT;
    }
    if (avail >= 2 && starts_with(p, 2, "\xff\xaf")) {
        return CODEC_PROTOCOL_MESHHEADER;
    }
    if (starts_with(p, avail < 2 ? avail : 2, "\x16\x03")) {
        return CODEC_PROTOCOL_TLS;
    }
    if (is_http(p, avail)) {
        return CODEC_PROTOCOL_HTTP;
    }
    return avail < WIRE_FRAME_LEN_BYTES ? CODEC_PROTOCOL_FRAMED : CODEC_PROTOCOL_UNKNOWN;
}

/* A body that begins with the length of a name that fits into it. */
static enum codec_protocol sniff_unversioned(const uint8_t *p, size_t avail, uint32_t frame_len)
{
    uint32_t name_len = codec_frame_smallest_length(p, avail);

    if (frame_len <= UNVERSIONED_BYTES_BUT_NAME ||
        name_len > frame_len - UNVERSIONED_BYTES_BUT_NAME || name_len > UNVERSIONED_NAME_MAX) {
        return CODEC_PROTOCOL_UNKNOWN;
    }
    if (avail < 4) {
        return CODEC_PROTOCOL_FRAMED;
    }
    return name_len > 0 ? CODEC_PROTOCOL_FRAMED_UNVERSIONED : CODEC_PROTOCOL_UNKNOWN;
}

/* What stands behind a length; a cut magic is judged by its first byte. */
static enum codec_protocol sniff_body(const uint8_t *p, size_t avail, uint32_t frame_len)
{
    static const struct {
        uint16_t magic;
        enum codec_protocol protocol;
    } magics[] = {
        {MAGIC_STRICT, CODEC_PROTOCOL_FRAMED},
        {MAGIC_PROTOBUF, CODEC_PROTOCOL_FRAMED_PROTOBUF},
        {MAGIC_THEADER, CODEC_PROTOCOL_THEADER},
        {CODEC_TTHEADER_MAGIC, CODEC_PROTOCOL_TTHEADER},
    };

    for (size_t i = 0; i < sizeof magics / sizeof magics[0]; i++) {
        if (avail >= 2 ? wire_get16(p) == magics[i].magic : p[0] == magics[i].magic >> 8) {
            return avail >= 2 ? magics[i].protocol : CODEC_PROTOCOL_FRAMED;
        }
    }
    if (is_compact(p, avail)) {
        return avail >= 2 ? CODEC_PROTOCOL_COMPACT : CODEC_PROTOCOL_FRAMED;
    }
    return sniff_unversioned(p, avail, frame_len);
}

enum codec_protocol codec_protocol_sniff(const uint8_t *p, size_t avail, uint32_t max_bytes)
{
    bool has_strict_body =
        avail >= WIRE_FRAME_LEN_BYTES + 2 && wire_get16(p + WIRE_FRAME_LEN_BYTES) == MAGIC_STRICT;

    if (avail == 0) {
        return CODEC_PROTOCOL_FRAMED;
    }
    if (!codec_frame_length_is_possible(p, avail, max_bytes)) {
        enum codec_protocol bare = sniff_bare(p, avail);
        /* A framed client whose message is too large: the check of the frame's limit reports it. */
        return bare == CODEC_PROTOCOL_UNKNOWN && has_strict_body ? CODEC_PROTOCOL_FRAMED : bare;
    }
    /* Also a length of 0, whose next bytes are another frame: an empty frame has its own name. */
    if (avail <= WIRE_FRAME_LEN_BYTES || wire_get32(p) == 0) {
        return CODEC_PROTOCOL_FRAMED;
    }
    size_t behind = avail - WIRE_FRAME_LEN_BYTES;
    uint32_t len = wire_get32(p);
    enum codec_protocol body =
        sniff_body(p + WIRE_FRAME_LEN_BYTES, len < behind ? len : behind, len);
    /* Where the limit is in the gigabytes, "GET " is a length too. */
    return body == CODEC_PROTOCOL_UNKNOWN ? sniff_bare(p, avail) : body;
}

const char *codec_protocol_str(enum codec_protocol protocol)
{
    static const char *const names[CODEC_PROTOCOL_MAX] = {
        [CODEC_PROTOCOL_FRAMED] = "framed",
        [CODEC_PROTOCOL_UNFRAMED] = "unframed",
        [CODEC_PROTOCOL_FRAMED_UNVERSIONED] = "framed_unversioned",
        [CODEC_PROTOCOL_FRAMED_PROTOBUF] = "framed_protobuf",
        [CODEC_PROTOCOL_COMPACT] = "compact",
        [CODEC_PROTOCOL_THEADER] = "theader",
        [CODEC_PROTOCOL_TTHEADER] = "ttheader",
        [CODEC_PROTOCOL_MESHHEADER] = "meshheader",
        [CODEC_PROTOCOL_HTTP] = "http",
        [CODEC_PROTOCOL_TLS] = "tls",
        [CODEC_PROTOCOL_UNKNOWN] = "unknown",
    };

    return (unsigned)protocol < CODEC_PROTOCOL_MAX ? names[protocol] : "unknown";
}

static bool accepts(const struct codec_sniff *sniff, enum codec_protocol protocol)
{
    return (protocol == CODEC_PROTOCOL_FRAMED && sniff->accepts_framed) ||
           (protocol == CODEC_PROTOCOL_UNFRAMED && sniff->accepts_unframed) ||
           (protocol == CODEC_PROTOCOL_TTHEADER && sniff->accepts_ttheader);
}

/* The largest length that may stand in front. */
static uint32_t length_max(const struct codec_sniff *sniff)
{
    uint32_t room = sniff->accepts_ttheader ? CODEC_TTHEADER_BYTES_MAX : 0;

    return sniff->max_bytes < UINT32_MAX - room ? sniff->max_bytes + room : UINT32_MAX;
}

enum codec_sniff_status codec_sniff(const struct codec_sniff *sniff, const uint8_t *p, size_t avail,
                                    enum codec_protocol *ret_protocol)
{
    enum codec_protocol protocol = codec_protocol_sniff(p, avail, length_max(sniff));
    bool is_accepted = accepts(sniff, protocol);

    /* FRAMED is also what is said of too few bytes. */
    if (avail < CODEC_SNIFF_BYTES && (is_accepted || protocol == CODEC_PROTOCOL_FRAMED)) {
        return CODEC_SNIFF_MORE;
    }
    *ret_protocol = protocol;
    return is_accepted ? CODEC_SNIFF_ACCEPTED : CODEC_SNIFF_FOREIGN;
}
