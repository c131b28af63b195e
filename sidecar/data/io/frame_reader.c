/*
 * sidecar/data/io/frame_reader.c: see frame_reader.h.
 *
 * A kept input is one block:      buf [ taken up | frame under way ... | room ]
 *                                      0          pos                  len    cap
 * While the frame under way is the only one (pos 0), reads go directly behind it and never beyond its
 * end; several frames stand in one block only after a pause kept what a read had brought.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/frame_reader.h"

#include <assert.h>
#include <string.h>

#define INPUT_MIN_BYTES 1024

struct frame_input {
    uint8_t *buf;
    uint32_t cap;
    uint32_t len;
    uint32_t pos;
    bool scanning;         /* scan belongs to the frame at pos */
    bool bad;              /* that frame failed: its rest is skipped, not kept */
    uint32_t discard_left; /* bytes of it still to come... */
    uint32_t bad_len;      /* ...and those that are kept */
    struct codec_scan scan;
};

static uint32_t at_most(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

/* The length of the frame under way with its head, 0 where it is not known. */
static uint32_t input_total(const struct frame_input *in, const struct frame_env *env)
{
    uint32_t len;
    enum framing_status status =
        env->framing->head_read(in->buf + in->pos, in->len - in->pos, env->max_bytes, &len);
    return status == FRAMING_LENGTH ? env->framing->head_bytes + len : 0;
}

static void input_free(struct frame_input *in, const struct frame_env *env)
{
    if (in) {
        block_cache_give(env->buffers->cache, in, sizeof *in);
    }
}

static struct frame_input *input_new(const struct frame_env *env, const uint8_t *bytes,
                                     uint32_t len, uint32_t cap)
{
    struct frame_input *in = block_cache_take(env->buffers->cache, sizeof *in);
    uint8_t *buf = buffers_alloc(env->buffers, cap); /* over the limit, too: it was read already */
    if (!in || !buf) {
        input_free(in, env);
        buffers_free(env->buffers, buf);
        return NULL;
    }
    memcpy(buf, bytes, len);
    in->buf = buf;
    in->cap = cap;
    in->len = len;
    in->pos = 0;
    in->scanning = false;
    in->bad = false;
    in->discard_left = 0;
    in->bad_len = 0;
    return in;
}

/* Lets go of the input; frames borrowed from its block live on until the end of the turn. */
static void input_retire(struct frame_reader *reader, const struct frame_env *env)
{
    struct frame_input *in = reader->input;
    buffers_pile_add(env->pile, in->buf);
    input_free(in, env);
    reader->input = NULL;
}

void frame_reader_done(struct frame_reader *reader, const struct frame_env *env)
{
    if (reader->input) {
        input_retire(reader, env);
    }
    reader->window_len = 0;
}

size_t frame_reader_kept_bytes(const struct frame_reader *reader)
{
    return reader->input ? reader->input->cap : 0;
}

bool frame_reader_in_frame(const struct frame_reader *reader)
{
    const struct frame_input *in = reader->input;
    return in && (in->pos < in->len || in->discard_left > 0);
}

bool frame_reader_skips(const struct frame_reader *reader)
{
    return reader->input && reader->input->bad;
}

static bool input_grow(struct frame_input *in, const struct frame_env *env, uint32_t cap,
                       bool forced)
{
    if (!forced && !buffers_may_charge(env->buffers, cap - in->cap)) {
        return false;
    }
    uint8_t *buf = buffers_resize(env->buffers, in->buf, cap);
    if (!buf) {
        return false;
    }
    in->buf = buf;
    in->cap = cap;
    return true;
}

uint8_t *frame_reader_room(struct frame_reader *reader, const struct frame_env *env,
                           size_t *ret_len)
{
    struct frame_input *in = reader->input;
    *ret_len = 0;
    if (!in || in->bad || in->pos > 0) {
        return NULL;
    }
    uint32_t total = input_total(in, env);
    uint32_t end = total ? total : env->framing->head_bytes;
    if (in->len >= end) {
        return NULL; /* complete, but not taken up: a pause */
    }
    if (in->len == in->cap) {
        uint32_t cap = at_most(end, (uint64_t)in->cap * 2);
        if (!input_grow(in, env, cap, env->forced)) {
            *ret_len = 1;
            return NULL;
        }
    }
    *ret_len = at_most(end, in->cap) - in->len;
    return in->buf + in->len;
}

void frame_reader_push(struct frame_reader *reader, uint8_t *bytes, size_t n)
{
    struct frame_input *in = reader->input;
    if (in && bytes == in->buf + in->len && n <= in->cap - in->len && !in->bad) {
        in->len += (uint32_t)n;
        return;
    }
    assert(reader->window_len == 0);
    reader->window = bytes;
    reader->window_len = n;
    if (in && in->bad) {
        uint32_t skip = at_most(n, in->discard_left);
        in->discard_left -= skip;
        reader->window += skip;
        reader->window_len -= skip;
    }
}

/* Frames in front of the one under way were taken up: gives it a block of its own, with room for
 * `more` bytes, so that reads can go behind it. (Neither moved within the block nor realloc'ed: the
 * others may still be borrowed.) */
static enum frame_verdict input_split_off(struct frame_reader *reader, const struct frame_env *env,
                                          uint32_t more)
{
    struct frame_input *old = reader->input;
    uint32_t n = old->len - old->pos;
    if (old->pos == 0) {
        return FRAME_NONE;
    }
    if (n + more == 0) {
        input_retire(reader, env);
        return FRAME_NONE;
    }
    uint32_t cap = n + more < INPUT_MIN_BYTES ? INPUT_MIN_BYTES : n + more;
    struct frame_input *in = input_new(env, old->buf + old->pos, n, cap);
    if (!in) {
        return FRAME_NO_MEMORY;
    }
    in->scanning = old->scanning;
    in->bad = old->bad;
    in->discard_left = old->discard_left;
    in->bad_len = old->bad_len;
    in->scan = old->scan;
    input_retire(reader, env);
    reader->input = in;
    return FRAME_NONE;
}

static bool input_make_room(struct frame_reader *reader, const struct frame_env *env, uint32_t n)
{
    struct frame_input *in = reader->input;
    if (in->pos > 0) {
        return input_split_off(reader, env, n) == FRAME_NONE;
    }
    return input_grow(in, env, in->len + n, true);
}

bool frame_reader_keep(struct frame_reader *reader, const struct frame_env *env)
{
    struct frame_input *in = reader->input;
    uint32_t n = (uint32_t)reader->window_len;
    if (n == 0) {
        return true;
    }
    if (!in) {
        uint32_t cap = n < INPUT_MIN_BYTES ? INPUT_MIN_BYTES : n;
        in = input_new(env, reader->window, n, cap);
        if (!in) {
            return false;
        }
        reader->input = in;
    } else {
        if (in->cap - in->len < n && !input_make_room(reader, env, n)) {
            return false;
        }
        in = reader->input;
        assert(in); /* room for n > 0 bytes was made in it */
        memcpy(in->buf + in->len, reader->window, n);
        in->len += n;
    }
    reader->window_len = 0;
    return true;
}

const char *frame_broken_str(enum frame_broken broken)
{
    static const char *const texts[FRAME_BROKEN_MAX] = {
        [FRAME_BROKEN_EMPTY] = "an empty frame",
        [FRAME_BROKEN_TOO_LARGE] = "a frame above limits.frame_bytes",
        [FRAME_BROKEN_HEADER_SHORT] = "a frame too short for a message",
        [FRAME_BROKEN_VERSION] = "a message of another version",
        [FRAME_BROKEN_MESSAGE_TYPE] = "a message of another type",
        [FRAME_BROKEN_NAME_LENGTH] = "a method name longer than its frame",
    };
    return (unsigned)broken < FRAME_BROKEN_MAX ? texts[broken] : "?";
}

static enum frame_broken broken_by(enum codec_error error)
{
    switch (error) {
    case CODEC_ERROR_HEADER_SHORT:
        return FRAME_BROKEN_HEADER_SHORT;
    case CODEC_ERROR_VERSION:
        return FRAME_BROKEN_VERSION;
    case CODEC_ERROR_MESSAGE_TYPE:
        return FRAME_BROKEN_MESSAGE_TYPE;
    default:
        return FRAME_BROKEN_NAME_LENGTH;
    }
}

static enum frame_verdict broken(struct frame *ret, enum frame_broken why)
{
    ret->broken = why;
    return FRAME_BROKEN;
}

/* The message's length by the head at p, 0 where that is not whole; NONE stands for "within the limit". */
static enum frame_verdict check_length(const uint8_t *p, size_t avail, const struct frame_env *env,
                                       uint32_t *ret_len, struct frame *ret)
{
    switch (env->framing->head_read(p, avail, env->max_bytes, ret_len)) {
    case FRAMING_EMPTY:
        return broken(ret, FRAME_BROKEN_EMPTY);
    case FRAMING_TOO_LARGE:
        return broken(ret, FRAME_BROKEN_TOO_LARGE);
    default:
        return FRAME_NONE;
    }
}

static struct message message_at(uint8_t *head, const struct frame_env *env, uint32_t len)
{
    return (struct message){
        .body = head + env->framing->head_bytes, .len = len, .head_room = env->framing->head_bytes};
}

/* A complete frame in the window: proved in one go, borrowed. */
static enum frame_verdict next_in_window(struct frame_reader *reader, const struct frame_env *env,
                                         uint32_t body_len, struct frame *ret)
{
    uint32_t total = env->framing->head_bytes + body_len;
    ret->message = message_at(reader->window, env, body_len);
    ret->scan = env->scan;
    codec_scan_begin(env->scan, env->kind, body_len);
    enum codec_scan_status status =
        codec_scan_run(env->scan, ret->message.body, body_len, body_len); /* never yields */

    if (status == CODEC_SCAN_DONE) {
        reader->window += total;
        reader->window_len -= total;
        return FRAME_READY;
    }
    if (codec_error_is_header(env->scan->error)) {
        return broken(ret, broken_by(env->scan->error));
    }
    reader->window += total;
    reader->window_len -= total;
    return FRAME_BAD;
}

/* The frame at pos is complete and judged: hands it out. */
static enum frame_verdict input_emit(struct frame_reader *reader, const struct frame_env *env,
                                     uint32_t total, enum frame_verdict verdict, struct frame *ret)
{
    struct frame_input *in = reader->input;
    assert(in);
    *env->scan = in->scan;
    ret->scan = env->scan;
    ret->message = message_at(in->buf + in->pos, env, total - env->framing->head_bytes);
    if (verdict == FRAME_READY && in->pos == 0 && in->len == total) {
        ret->message.block = in->buf;
        input_free(in, env);
        reader->input = NULL;
        return verdict;
    }
    in->pos += in->bad ? in->bad_len : total;
    in->scanning = false;
    in->bad = false;
    if (in->pos == in->len) {
        input_retire(reader, env);
    }
    return verdict;
}

/* The frame at pos failed the proof. */
static enum frame_verdict input_bad(struct frame_reader *reader, const struct frame_env *env,
                                    uint32_t total, struct frame *ret)
{
    struct frame_input *in = reader->input;
    uint32_t avail = in->len - in->pos;
    if (codec_error_is_header(in->scan.error)) {
        return broken(ret, broken_by(in->scan.error));
    }
    if (avail >= total) {
        return input_emit(reader, env, total, FRAME_BAD, ret);
    }
    in->bad = true;
    in->discard_left = total - avail;
    in->bad_len = avail;
    return input_split_off(reader, env, 0);
}

static enum frame_verdict next_in_input(struct frame_reader *reader, const struct frame_env *env,
                                        struct frame *ret)
{
    struct frame_input *in = reader->input;
    uint32_t avail = in->len - in->pos;
    uint32_t head = env->framing->head_bytes;
    uint32_t body_len = 0;

    if (in->bad) {
        return in->discard_left > 0 ? FRAME_NONE
                                    : input_emit(reader, env, input_total(in, env), FRAME_BAD, ret);
    }
    enum frame_verdict verdict = check_length(in->buf + in->pos, avail, env, &body_len, ret);
    if (verdict != FRAME_NONE) {
        return verdict;
    }
    if (avail < head) {
        return input_split_off(reader, env, 0);
    }
    if (!in->scanning) {
        codec_scan_begin(&in->scan, env->kind, body_len);
        in->scanning = true;
    }
    uint32_t total = head + body_len;
    switch (codec_scan_run(&in->scan, in->buf + in->pos + head, at_most(avail - head, body_len),
                           FRAME_SCAN_BUDGET_BYTES)) {
    case CODEC_SCAN_DONE:
        return input_emit(reader, env, total, FRAME_READY, ret);
    case CODEC_SCAN_BAD:
        return input_bad(reader, env, total, ret);
    case CODEC_SCAN_YIELD:
        return FRAME_YIELD;
    default:
        return input_split_off(reader, env, 0);
    }
}

enum frame_verdict frame_reader_next(struct frame_reader *reader, const struct frame_env *env,
                                     struct frame *ret)
{
    if (!reader->input) {
        uint32_t body_len = 0;
        size_t avail = reader->window_len;
        if (avail == 0) {
            return FRAME_NONE;
        }
        enum frame_verdict verdict = check_length(reader->window, avail, env, &body_len, ret);
        if (verdict != FRAME_NONE) {
            return verdict;
        }
        if (body_len > 0 && avail >= (size_t)env->framing->head_bytes + body_len) {
            return next_in_window(reader, env, body_len, ret);
        }
    }
    if (reader->window_len > 0 && !(reader->input && reader->input->bad) &&
        !frame_reader_keep(reader, env)) {
        return FRAME_NO_MEMORY;
    }
    return next_in_input(reader, env, ret);
}
