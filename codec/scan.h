/*
 * codec/scan.h: proves that a frame's body is exactly one complete, well-formed message.
 *
 * In place, without allocation or recursion, resumable at every byte: the scanner keeps its place
 * in `struct codec_scan` (an explicit stack) and goes on as bytes arrive. The body is contiguous
 * memory that begins with the frame's first body byte; it may move between two calls (buffers
 * grow), all results are offsets. Nothing that fails the proof may reach a peer: most servers
 * execute a second message hidden in a frame, and an unfinished one swallows the next frame.
 *
 *     codec_scan_begin(&s, CODEC_SCAN_REQUEST, frame_len);
 *     for (;;)
 *         switch (codec_scan_run(&s, body, avail, 65536)) {
 *         case CODEC_SCAN_MORE:  read more bytes, then again
 *         case CODEC_SCAN_YIELD: the budget is used up: again in the next turn
 *         case CODEC_SCAN_DONE:  s.message is complete
 *         case CODEC_SCAN_BAD:   s.error says why; codec_error_is_header() says whether the
 *                                stream can still be followed (header parsed: s.header_done)
 *         }
 *
 * A message without a frame (codec_scan_begin_unframed) is proved by the same steps; it ends where its
 * grammar ends, codec_scan_len() bytes behind its beginning, and the next one may follow there.
 *
 * Depth counts structs and containers; the arguments struct is depth 1, WIRE_DEPTH_MAX the last
 * that is accepted.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_SCAN_H
#define TSIDE_CODEC_SCAN_H

#include "codec/wire.h"

#include <stdbool.h>

/* X(enum suffix, text): one list for the enum, codec_error_str() and the tests. */
#define CODEC_ERRORS(X)                                                                            \
    X(NONE, "no error")                                                                            \
    /* The header does not parse: the byte stream can no longer be followed. */                    \
    X(HEADER_SHORT, "frame shorter than a message header")                                         \
    X(VERSION, "not a strict binary message")                                                      \
    X(MESSAGE_TYPE, "message type not allowed here")                                               \
    X(NAME_LENGTH, "message name longer than the frame, or negative")                              \
    /* The body is not exactly one message. */                                                     \
    X(CUT, "message ends before its struct does")                                                  \
    X(TRAILING, "bytes behind the message")                                                        \
    X(DEPTH, "nested deeper than 64")                                                              \
    X(FIELD_TYPE, "unknown field type")                                                            \
    X(ELEMENT_TYPE, "unknown element type")                                                        \
    X(STRING_LENGTH, "string longer than the frame, or negative")                                  \
    X(COUNT, "more elements than the frame can hold, or negative")                                 \
    /* Without a frame around it. */                                                               \
    X(TOO_LARGE, "message longer than the limit")

enum codec_error {
#define X(name, text) CODEC_ERROR_##name,
    CODEC_ERRORS(X)
#undef X
        CODEC_ERROR_MAX
};

const char *codec_error_str(enum codec_error error);

/* Whether the header itself failed, so that not even an answer can be addressed. */
bool codec_error_is_header(enum codec_error error);

enum codec_scan_kind {
    CODEC_SCAN_REQUEST = 0, /* CALL or ONEWAY */
    CODEC_SCAN_REPLY,       /* REPLY or EXCEPTION */
    CODEC_SCAN_STRUCT,      /* no header: one struct alone (a configured result) */
    CODEC_SCAN_KIND_MAX
};

enum codec_scan_status {
    CODEC_SCAN_MORE = 0,
    CODEC_SCAN_YIELD,
    CODEC_SCAN_DONE,
    CODEC_SCAN_BAD,
    CODEC_SCAN_STATUS_MAX
};

/* What a proved message says of itself; offsets from the body's first byte. */
struct codec_message {
    uint8_t type; /* enum wire_message_type */
    int32_t seqid;
    uint32_t seqid_off;    /* 4 bytes, may be overwritten in place */
    struct wire_span name; /* as sent, with a "Service:" prefix if it has one */
    uint32_t args_off;     /* first byte of the arguments or result struct */

    /*
     * Requests: the struct in field 255 of the arguments or, if there is none, in field 255 of
     * the struct-typed argument with the lowest id (base_field_id: 255 or that argument's).
     * Replies: BaseResp, the struct in field 255 of the struct in result field 0.
     * Of fields that stand twice the last one counts, also where it is not a struct: then there
     * is none. The span holds the fields and the STOP.
     */
    bool has_base;
    int16_t base_field_id;
    struct wire_span base;

    /* The last depth-1 field (results have one at most; 0 is `success`, others are declared
     * exceptions). */
    bool has_field;
    int16_t field_id;
    uint8_t field_type;
    struct wire_span field; /* its value */
};

/* Private to scan.c: one struct or container that is open. */
struct codec_scan_level {
    uint8_t types[2]; /* what comes alternately: key and value of a map, else twice the element */
    uint8_t turn;     /* which of the two comes next */
    uint8_t is_struct;
    uint32_t left; /* values still to come: a map's pairs count twice */
};

/* Private to scan.c: a struct under field 255 that Base may be, as far as it is known. */
struct codec_scan_place {
    bool found;
    bool open; /* its end is where the next field begins */
    struct wire_span span;
};

struct codec_scan {
    struct codec_message message;
    bool header_done; /* message.{type,seqid,seqid_off,name,args_off} are valid */
    enum codec_error error;
    uint32_t error_off; /* where the proof failed */

    /* Private. */
    enum codec_scan_kind kind;
    bool is_unframed;
    uint32_t frame_len; /* unframed: the limit */
    uint32_t pos;       /* may lie beyond what has arrived: what is skipped need not be seen */
    uint8_t depth;      /* open levels */
    bool field_open;    /* message.field's end is not known yet */
    struct codec_scan_place own;   /* field 255 at depth 1 */
    struct codec_scan_place inner; /* field 255 of the depth-1 struct under way */
    struct codec_scan_place held;  /* ... of the struct-typed argument with the lowest id */
    bool has_argument;
    int16_t argument_id; /* that lowest id */
    struct codec_scan_level stack[WIRE_DEPTH_MAX];
};

/* frame_len: the body's full length as the frame's header says it, at most INT32_MAX. */
void codec_scan_begin(struct codec_scan *scan, enum codec_scan_kind kind, uint32_t frame_len);

/*
 * For a message whose length nothing says; one that goes on behind max_bytes (at most INT32_MAX) is
 * TOO_LARGE, also where a length or count in it only claims so. What is negative keeps its own error.
 */
void codec_scan_begin_unframed(struct codec_scan *scan, enum codec_scan_kind kind,
                               uint32_t max_bytes);

/*
 * Goes on with the first `avail` bytes of the body (never fewer than last time; framed: at most
 * frame_len) and examines about budget_bytes of them at most. Reads not one byte beyond avail, and
 * unframed none beyond the message's end either.
 */
enum codec_scan_status codec_scan_run(struct codec_scan *scan, const uint8_t *body, size_t avail,
                                      size_t budget_bytes);

/* How long it is at least, as far as it has been looked at. */
static inline uint32_t codec_scan_reach(const struct codec_scan *scan)
{
    return scan->pos;
}

/* The length of a message that is DONE. */
static inline uint32_t codec_scan_len(const struct codec_scan *scan)
{
    return scan->pos;
}

#endif
