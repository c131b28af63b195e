/*
 * codec/ttheader.h: proves the header that TTHeader puts in front of a message, and says what is in it.
 *
 *     0   u32  length: of all that follows, header and payload
 *     4   u16  magic 0x1000      6  u16  flags
 *     8   i32  sequence
 *     12  u16  header size, in units of 4 bytes, counted from here to the payload
 *     14  u8   protocol id: 0 is Thrift Binary
 *     15  u8   number of transforms, none are known here
 *     16       info blocks: 00 a byte of padding
 *                           01 u16 n, n times (u16 length, key, u16 length, value)
 *                           10 u16 n, n times (u16 key, u16 length, value)
 *                           11 u16 length, access token
 *              padding, then the payload: a message, or a 4-byte length and a message ("TTHeaderFramed")
 *
 * In place, without allocation, resumable at every byte; the bytes are contiguous, begin with the length, and
 * may move between two calls: all results are offsets. The message is codec/scan.h's. There is no budget, for
 * entries are limited: the worst header takes less time than a frame's turn.
 *
 *     codec_ttheader_begin(&h, max_bytes);
 *     switch (codec_ttheader_run(&h, p, avail)) {
 *     case CODEC_TTHEADER_MORE:  read more bytes, then again
 *     case CODEC_TTHEADER_DONE:  the message is at h.message, part of it may still be to come
 *     case CODEC_TTHEADER_BAD:   h.error says why: the stream cannot be followed
 *     }
 *
 * Of a key that stands twice the last one counts, as it does for Kitex. A stream's header is refused: its
 * payloads are no calls, and belong to one connection. Sources: protocol/ttheader of cloudwego/gopkg, and
 * Kitex's "TTHeader" page.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_TTHEADER_H
#define TSIDE_CODEC_TTHEADER_H

#include "codec/base.h"

#define CODEC_TTHEADER_FIXED_BYTES 14     /* in front of what the header size counts */
#define CODEC_TTHEADER_INFO_OFF    16     /* without transforms */
#define CODEC_TTHEADER_SIZE_MAX    262140 /* what the header size can say, in bytes */
#define CODEC_TTHEADER_BYTES_MAX   (CODEC_TTHEADER_FIXED_BYTES + CODEC_TTHEADER_SIZE_MAX)
#define CODEC_TTHEADER_LENGTH_MAX  0x3fffffff
#define CODEC_TTHEADER_TEXT_MAX    65535 /* bytes of a key or a value */
#define CODEC_TTHEADER_ITEMS_MAX   4096  /* blocks, entries and tokens; frameworks send dozens */
#define CODEC_TTHEADER_MAGIC       0x1000

/* X(enum suffix, text): one list for the enum, codec_ttheader_error_str() and the tests. */
#define CODEC_TTHEADER_ERRORS(X)                                                                   \
    X(NONE, "no error")                                                                            \
    X(LENGTH, "length too small for a header and a message")                                       \
    X(TOO_LARGE, "message longer than the limit")                                                  \
    X(MAGIC, "not a TTHeader")                                                                     \
    X(STREAM, "flags of a stream")                                                                 \
    X(HEADER_SIZE, "header size 0")                                                                \
    X(PROTOCOL, "protocol id other than Thrift Binary")                                            \
    X(TRANSFORM, "a transform")                                                                    \
    X(INFO, "unknown info block")                                                                  \
    X(ITEMS, "more blocks and entries than 4,096")                                                 \
    X(CUT, "info block longer than the header")                                                    \
    X(INNER_LENGTH, "inner frame that is not the rest")

enum codec_ttheader_error {
#define X(name, text) CODEC_TTHEADER_ERROR_##name,
    CODEC_TTHEADER_ERRORS(X)
#undef X
        CODEC_TTHEADER_ERROR_MAX
};

const char *codec_ttheader_error_str(enum codec_ttheader_error error);

/* X(enum suffix, key): the entries with numbers that tside reads or writes; 12 is in milliseconds. */
#define CODEC_TTHEADER_INTS(X)                                                                     \
    X(LOG_ID, 2)                                                                                   \
    X(FROM_SERVICE, 3)                                                                             \
    X(FROM_CLUSTER, 4)                                                                             \
    X(TO_SERVICE, 6)                                                                               \
    X(TO_CLUSTER, 7)                                                                               \
    X(TO_METHOD, 9)                                                                                \
    X(RPC_TIMEOUT, 12)                                                                             \
    X(MESSAGE_TYPE, 22) /* as enum wire_message_type, in decimal */

enum codec_ttheader_int {
#define X(name, key) CODEC_TTHEADER_INT_##name,
    CODEC_TTHEADER_INTS(X)
#undef X
        CODEC_TTHEADER_INT_MAX
};

enum codec_ttheader_key {
#define X(name, key) CODEC_TTHEADER_KEY_##name = (key),
    CODEC_TTHEADER_INTS(X)
#undef X
};

/* A key that is text: "this connection will be closed, use it no more". */
#define CODEC_TTHEADER_TEXT_RESET "crrst"

enum codec_ttheader_status {
    CODEC_TTHEADER_MORE = 0,
    CODEC_TTHEADER_DONE,
    CODEC_TTHEADER_BAD,
    CODEC_TTHEADER_STATUS_MAX
};

/* Offsets count from the first byte of the length. */
struct codec_ttheader {
    uint16_t flags;
    int32_t sequence;      /* known with the sizes */
    uint32_t total_bytes;  /* header and payload; 0 while it is not known */
    uint32_t header_bytes; /* where the payload begins; 0 while it is not known */
    enum codec_ttheader_error error;
    uint32_t error_off;

    /* DONE: */
    uint32_t info_end;                             /* behind the last block: padding follows */
    struct wire_span ints[CODEC_TTHEADER_INT_MAX]; /* values; off 0: absent */
    bool is_inner_framed;
    struct wire_span message;

    /* Private. */
    uint32_t max_bytes;
    uint32_t pos;   /* may lie beyond what has arrived: values need not be seen */
    uint32_t items; /* so far, with all that the block under way says it has */
    uint16_t left;  /* entries of the block under way */
    uint8_t info;   /* its kind */
    bool is_opened; /* the fixed part is proved */
};

/* max_bytes: of the message. */
void codec_ttheader_begin(struct codec_ttheader *header, uint32_t max_bytes);

/* Goes on with the first avail bytes, never fewer than last time; what is behind the payload may be among
 * them. Reads not one byte beyond avail, nor beyond the first four bytes of the payload. */
enum codec_ttheader_status codec_ttheader_run(struct codec_ttheader *header, const uint8_t *p,
                                              size_t avail);

/* Of a proved header, of which head_bytes bytes stand in front of the message. */
static inline bool codec_ttheader_is_inner_framed(const uint8_t *p, uint32_t head_bytes)
{
    return head_bytes > CODEC_TTHEADER_FIXED_BYTES + 4u * wire_get16(p + 12);
}

static inline void codec_ttheader_set_sequence(uint8_t *p, int32_t sequence)
{
    wire_put32(p + 8, (uint32_t)sequence);
}

/* --- a second, short pass over a header that is DONE --- */

enum codec_ttheader_info {
    CODEC_TTHEADER_INFO_PADDING = 0x00, /* one byte; an item is all in a row */
    CODEC_TTHEADER_INFO_TEXT = 0x01,    /* key and value */
    CODEC_TTHEADER_INFO_INT = 0x10,     /* number and value */
    CODEC_TTHEADER_INFO_TOKEN = 0x11    /* value */
};

struct codec_ttheader_item {
    struct wire_span span; /* all of it */
    uint8_t info;          /* enum codec_ttheader_info */
    bool is_block; /* not an entry, but the kind and the count in front of `count` of them */
    uint16_t count;
    uint16_t id;          /* INT */
    struct wire_span key; /* TEXT */
    struct wire_span value;
};

struct codec_ttheader_walk {
    const uint8_t *p;
    uint32_t pos;
    uint32_t end;
    uint16_t left;
    uint8_t info;
};

void codec_ttheader_walk_begin(struct codec_ttheader_walk *walk,
                               const struct codec_ttheader *header, const uint8_t *p);

/* The next block, entry, token or run of padding between them; false at the end. */
bool codec_ttheader_walk_next(struct codec_ttheader_walk *walk, struct codec_ttheader_item *ret);

/* Looks n text keys up in one pass, the last of each; off is 0 where a key is absent. */
void codec_ttheader_find_many(const uint8_t *p, const struct codec_ttheader *header, size_t n,
                              const struct codec_key keys[], struct wire_span ret_values[]);

#endif
