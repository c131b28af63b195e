/*
 * sidecar/data/io/frame_reader.h: proved frames out of a stream of bytes.
 *
 * One per connection, on either side. What a read brought is looked at where it lies (borrowed until
 * the end of the turn); only a frame that is not complete yet, or frames that may not be taken up yet,
 * are kept in an owned block. An idle connection's reader owns nothing.
 *
 *     alloc:  frame_reader_room() or, where it gives none, a piece of the arena
 *     read:   frame_reader_push(reader, bytes, n)
 *             while ((verdict = frame_reader_next(reader, env, &frame)) >= FRAME_READY) { use it }
 *             frame_reader_keep(reader, env)   what was not taken up
 *
 * A frame is a head and a message, as the framing says. One whose message fails the proof is skipped
 * without being kept, then reported as FRAME_BAD.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_IO_FRAME_READER_H
#define TSIDE_SIDECAR_DATA_IO_FRAME_READER_H

#include "codec/scan.h"
#include "sidecar/data/io/framing.h"
#include "sidecar/data/io/message.h"

/* How many bytes of a kept frame are proved in one turn at most. */
#define FRAME_SCAN_BUDGET_BYTES 65536

enum frame_verdict {
    FRAME_NONE = 0,  /* more bytes are needed */
    FRAME_YIELD,     /* go on in the next turn */
    FRAME_NO_MEMORY, /* what came cannot be kept */
    FRAME_BROKEN,    /* the stream cannot be followed: frame->broken says why */
    FRAME_READY,     /* one complete, proved message */
    FRAME_BAD        /* one complete frame that is no message: frame->scan->error says why */
};

enum frame_broken {
    FRAME_BROKEN_EMPTY = 0,
    FRAME_BROKEN_TOO_LARGE,
    FRAME_BROKEN_HEAD,
    FRAME_BROKEN_HEADER_SHORT,
    FRAME_BROKEN_VERSION,
    FRAME_BROKEN_MESSAGE_TYPE,
    FRAME_BROKEN_NAME_LENGTH,
    FRAME_BROKEN_MAX
};

/* "an empty frame", ...: what was sent instead of a message. */
const char *frame_broken_str(enum frame_broken broken);

struct frame {
    struct message message; /* now the taker's; FRAME_BAD: only its header may be looked at */
    const struct codec_scan *scan;         /* valid until the next call */
    const struct codec_ttheader *ttheader; /* likewise, of a message that has one; NULL: none */
    enum frame_broken broken;
};

struct frame_input; /* what is kept */

struct frame_reader {
    struct frame_input *input; /* NULL: nothing is kept */
    uint8_t *window;           /* what a read brought and was not taken up yet */
    size_t window_len;
};

/* What a worker lends to all its readers. */
struct frame_env {
    const struct framing *framing;
    enum codec_scan_kind kind;
    uint32_t max_bytes;
    struct codec_scan *scan; /* scratch: a frame that is complete needs no state of its own */
    struct codec_ttheader *ttheader; /* likewise */
    const struct buffers *buffers;
    bool forced;               /* room may be charged over the limit: the oldest frame must go on */
    struct buffers_pile *pile; /* blocks that frames may be borrowed from until the turn ends */
};

/* Whether a frame has begun and is not complete. */
bool frame_reader_in_frame(const struct frame_reader *reader);
/* Whether it has failed its proof: its rest is dropped as it comes. */
bool frame_reader_skips(const struct frame_reader *reader);
/* Whether anything is kept, complete frames included. */
static inline bool frame_reader_keeps(const struct frame_reader *reader)
{
    return reader->input != NULL;
}

/* What is kept holds so many bytes. */
size_t frame_reader_kept_bytes(const struct frame_reader *reader);

/* Room behind the frame that is being kept, to read into directly; 0: read into the arena. NULL with
 * a length of 1: limits.buffered_bytes forbids it for now. */
uint8_t *frame_reader_room(struct frame_reader *reader, const struct frame_env *env,
                           size_t *ret_len);

/* bytes lie in the room (n of them) or anywhere else (borrowed until the end of the turn). */
void frame_reader_push(struct frame_reader *reader, uint8_t *bytes, size_t n);

enum frame_verdict frame_reader_next(struct frame_reader *reader, const struct frame_env *env,
                                     struct frame *ret_frame);

/* Keeps the rest of what was pushed (charged over the limit where need be: it was read already, and
 * no read begins without room). False where memory is short. */
bool frame_reader_keep(struct frame_reader *reader, const struct frame_env *env);

/* The bytes that were not taken up: behind BROKEN, what broke the stream. */
const uint8_t *frame_reader_rest(const struct frame_reader *reader, size_t *ret_len);

/* The bytes that are kept are to be read in another framing; none of them was taken up. */
void frame_reader_forget_head(struct frame_reader *reader);

/* Lets go of what is kept; at the turn's end, for frames may be borrowed from it. */
void frame_reader_done(struct frame_reader *reader, const struct frame_env *env);

#endif
