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
    bool has_head;         /* head is the frame's at pos */
    bool scanning;         /* and so is scan */
    bool bad;              /* that frame failed: its rest is skipped, not kept */
    uint32_t discard_left; /* bytes of it still to come... */
    uint32_t bad_len;      /* ...and those that are kept */
    struct framing_head head;
    struct codec_ttheader ttheader;
    struct codec_scan scan;
};

static uint32_t at_most(uint64_t a, uint64_t b)
{
    return (uint32_t)(a < b ? a : b);
}

/* The head of the frame under way, once it is whole. */
static enum framing_status input_head(struct frame_input *in, const struct frame_env *env)
{
    if (in->has_head) {
        return FRAMING_HEAD;
    }
    enum framing_status status =
        env->framing->head_read(in->buf + in->pos, in->len - in->pos, env->max_bytes, &in->head);
    in->has_head = status == FRAMING_HEAD;
    return status;
}

/* Where the frame under way ends at the soonest, as far as that is known. */
static uint32_t input_end(struct frame_input *in, const struct frame_env *env)
{
    if (input_head(in, env) != FRAMING_HEAD) {
        return in->head.bytes > env->framing->head_least ? in->head.bytes
                                                         : env->framing->head_least;
    }
    if (in->head.len > 0) {
        return in->head.bytes + in->head.len;
    }
    return in->scanning ? in->head.bytes + codec_scan_reach(&in->scan) : 0;
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
    in->has_head = false;
    in->head = (struct framing_head){.ttheader = &in->ttheader};
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

const uint8_t *frame_reader_rest(const struct frame_reader *reader, size_t *ret_len)
{
    const struct frame_input *in = reader->input;
    *ret_len = in ? in->len - in->pos : reader->window_len;
    return in ? in->buf + in->pos : reader->window;
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
    uint32_t end = input_end(in, env);
    if (in->len >= end) {
        return NULL; /* complete, but not taken up: a pause; or its end is not known */
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
    in->has_head = old->has_head;
    in->head = old->head;
    in->ttheader = old->ttheader;
    in->head.ttheader = &in->ttheader;
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

void frame_reader_forget_head(struct frame_reader *reader)
{
    if (reader->input) {
        reader->input->has_head = false;
        reader->input->head.is_begun = false;
    }
}

const char *frame_broken_str(enum frame_broken broken)
{
    static const char *const texts[FRAME_BROKEN_MAX] = {
        [FRAME_BROKEN_EMPTY] = "an empty frame",
        [FRAME_BROKEN_TOO_LARGE] = "a frame above limits.frame_bytes",
        [FRAME_BROKEN_HEAD] = "a header that is no TTHeader as it is understood here",
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

/* NONE: more bytes are needed, or the head is good. */
static enum frame_verdict judge_head(enum framing_status status, struct frame *ret)
{
    switch (status) {
    case FRAMING_EMPTY:
        return broken(ret, FRAME_BROKEN_EMPTY);
    case FRAMING_TOO_LARGE:
        return broken(ret, FRAME_BROKEN_TOO_LARGE);
    case FRAMING_NO_HEAD:
        return broken(ret, FRAME_BROKEN_HEAD);
    default:
        return FRAME_NONE;
    }
}

static struct message message_at(uint8_t *p, const struct framing_head *head, uint32_t len)
{
    return (struct message){.body = p + head->bytes, .len = len, .head_room = head->bytes};
}

/* A complete frame in the window: proved in one go, borrowed. */
static enum frame_verdict next_in_window(struct frame_reader *reader, const struct frame_env *env,
                                         const struct framing_head *head, struct frame *ret)
{
    uint32_t total = head->bytes + head->len;
    ret->message = message_at(reader->window, head, head->len);
    ret->scan = env->scan;
    codec_scan_begin(env->scan, env->kind, head->len);
    enum codec_scan_status status =
        codec_scan_run(env->scan, ret->message.body, head->len, head->len); /* never yields */

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

/* A message that ends where its grammar ends: the proof looks for that. NONE: it goes on in what is kept. */
static enum frame_verdict open_in_window(struct frame_reader *reader, const struct frame_env *env,
                                         const struct framing_head *head, struct frame *ret)
{
    codec_scan_begin_unframed(env->scan, env->kind, env->max_bytes);
    enum codec_scan_status status =
        codec_scan_run(env->scan, reader->window + head->bytes, reader->window_len - head->bytes,
                       FRAME_SCAN_BUDGET_BYTES);
    ret->scan = env->scan;
    if (status == CODEC_SCAN_DONE) {
        uint32_t len = codec_scan_len(env->scan);
        ret->message = message_at(reader->window, head, len);
        reader->window += head->bytes + len;
        reader->window_len -= head->bytes + len;
        return FRAME_READY;
    }
    if (status == CODEC_SCAN_BAD && codec_error_is_header(env->scan->error)) {
        return broken(ret, broken_by(env->scan->error));
    }
    if (status == CODEC_SCAN_BAD) {
        ret->message = message_at(reader->window, head, (uint32_t)reader->window_len - head->bytes);
        reader->window_len = 0;
        return FRAME_BAD;
    }
    return FRAME_NONE;
}

/* The frame at pos is complete and judged: hands it out. */
static enum frame_verdict input_emit(struct frame_reader *reader, const struct frame_env *env,
                                     uint32_t total, enum frame_verdict verdict, struct frame *ret)
{
    struct frame_input *in = reader->input;
    assert(in);
    *env->scan = in->scan;
    ret->scan = env->scan;
    if (in->head.is_begun) {
        *env->ttheader = in->ttheader;
        ret->ttheader = env->ttheader;
    }
    ret->message = message_at(in->buf + in->pos, &in->head, total - in->head.bytes);
    if (verdict == FRAME_READY && in->pos == 0 && in->len == total) {
        ret->message.block = in->buf;
        input_free(in, env);
        reader->input = NULL;
        return verdict;
    }
    in->pos += in->bad ? in->bad_len : total;
    in->has_head = false;
    in->head.is_begun = false;
    in->scanning = false;
    in->bad = false;
    if (in->pos == in->len) {
        input_retire(reader, env);
    }
    return verdict;
}

/* The frame at pos failed the proof. Where nothing says how long it is there is no next one. */
static enum frame_verdict input_bad(struct frame_reader *reader, const struct frame_env *env,
                                    struct frame *ret)
{
    struct frame_input *in = reader->input;
    uint32_t avail = in->len - in->pos;
    uint32_t total = in->head.len > 0 ? in->head.bytes + in->head.len : avail;
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

/* Proves what has come of the message behind its head. */
static enum codec_scan_status input_scan(struct frame_input *in, const struct frame_env *env)
{
    uint32_t avail = in->len - in->pos - in->head.bytes;
    if (!in->scanning && in->head.len > 0) {
        codec_scan_begin(&in->scan, env->kind, in->head.len);
    } else if (!in->scanning) {
        codec_scan_begin_unframed(&in->scan, env->kind, env->max_bytes);
    }
    in->scanning = true;
    return codec_scan_run(&in->scan, in->buf + in->pos + in->head.bytes,
                          in->head.len > 0 ? at_most(avail, in->head.len) : avail,
                          FRAME_SCAN_BUDGET_BYTES);
}

static enum frame_verdict next_in_input(struct frame_reader *reader, const struct frame_env *env,
                                        struct frame *ret)
{
    struct frame_input *in = reader->input;
    if (in->bad) {
        return in->discard_left > 0
                   ? FRAME_NONE
                   : input_emit(reader, env, in->head.bytes + in->head.len, FRAME_BAD, ret);
    }
    enum framing_status status = input_head(in, env);
    enum frame_verdict verdict = judge_head(status, ret);
    if (verdict != FRAME_NONE) {
        return verdict;
    }
    if (status != FRAMING_HEAD) {
        return input_split_off(reader, env, 0);
    }
    switch (input_scan(in, env)) {
    case CODEC_SCAN_DONE:
        return input_emit(reader, env, in->head.bytes + codec_scan_len(&in->scan), FRAME_READY,
                          ret);
    case CODEC_SCAN_BAD:
        return input_bad(reader, env, ret);
    case CODEC_SCAN_YIELD:
        return FRAME_YIELD;
    default:
        return input_split_off(reader, env, 0);
    }
}

/* What a read brought, where it lies. NONE: it is not a whole message, and is kept. */
static enum frame_verdict next_where_it_lies(struct frame_reader *reader,
                                             const struct frame_env *env, struct frame *ret)
{
    struct framing_head head = {.ttheader = env->ttheader};
    enum framing_status status =
        env->framing->head_read(reader->window, reader->window_len, env->max_bytes, &head);
    enum frame_verdict verdict = judge_head(status, ret);
    if (verdict != FRAME_NONE || status != FRAMING_HEAD) {
        return verdict;
    }
    if (head.len == 0) {
        return open_in_window(reader, env, &head, ret);
    }
    ret->ttheader = head.is_begun ? head.ttheader : NULL;
    bool whole = reader->window_len >= (size_t)head.bytes + head.len;
    return whole ? next_in_window(reader, env, &head, ret) : FRAME_NONE;
}

enum frame_verdict frame_reader_next(struct frame_reader *reader, const struct frame_env *env,
                                     struct frame *ret)
{
    ret->ttheader = NULL;
    if (!reader->input) {
        enum frame_verdict verdict =
            reader->window_len > 0 ? next_where_it_lies(reader, env, ret) : FRAME_NONE;
        if (verdict != FRAME_NONE || reader->window_len == 0) {
            return verdict;
        }
    }
    if (reader->window_len > 0 && !(reader->input && reader->input->bad) &&
        !frame_reader_keep(reader, env)) {
        return FRAME_NO_MEMORY;
    }
    return next_in_input(reader, env, ret);
}
