/*
 * tests/sidecar/data/io/frame_rig.c: see frame_rig.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/io/frame_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* ---- scripts ------------------------------------------------------------------------------- */

void script_init(struct script *script, enum codec_scan_kind kind)
{
    script->kind = kind;
    script->framing = &framing_framed;
    script->max_bytes = WIRE_FRAME_BYTES_DEFAULT;
    script->wire = (struct bytes){0};
    script->frames_len = 0;
}

void script_done(struct script *script)
{
    bytes_done(&script->wire);
}

static struct script_frame *add_frame(struct script *script, enum frame_verdict verdict, size_t len)
{
    assert_true(script->frames_len < SCRIPT_FRAMES_MAX);
    struct script_frame *frame = &script->frames[script->frames_len++];
    *frame = (struct script_frame){.verdict = verdict, .off = script->wire.len, .len = len};
    return frame;
}

static enum frame_broken broken_of(enum codec_error error)
{
    switch (error) {
    case CODEC_ERROR_HEADER_SHORT:
        return FRAME_BROKEN_HEADER_SHORT;
    case CODEC_ERROR_VERSION:
        return FRAME_BROKEN_VERSION;
    case CODEC_ERROR_MESSAGE_TYPE:
        return FRAME_BROKEN_MESSAGE_TYPE;
    default:
        assert_int_equal(error, CODEC_ERROR_NAME_LENGTH);
        return FRAME_BROKEN_NAME_LENGTH;
    }
}

/* Of the next frame. */
static size_t head_of(const struct script *script)
{
    static const size_t lens[] = {18, 34, 22, 1034, 70034, 46};
    return script->framing == &framing_ttheader
               ? lens[script->frames_len % (sizeof lens / sizeof lens[0])]
               : script->framing->head_bytes;
}

/* A TTHeader of that length: one entry, as long as it takes, and padding. */
static void put_ttheader(struct bytes *wire, size_t head, size_t len)
{
    size_t info = head - CODEC_TTHEADER_FIXED_BYTES - 2;
    bytes_put32(wire, (uint32_t)(head - 4 + len));
    bytes_put32(wire, CODEC_TTHEADER_MAGIC << 16);
    bytes_put32(wire, 7);
    bytes_put16(wire, (uint16_t)((head - CODEC_TTHEADER_FIXED_BYTES) / 4));
    bytes_put16(wire, 0); /* Binary, no transforms */
    if (info > 7) {
        size_t value = info - 7 < 65000 ? info - 7 : 65000;
        bytes_put8(wire, CODEC_TTHEADER_INFO_INT);
        bytes_put16(wire, 1);
        bytes_put16(wire, CODEC_TTHEADER_KEY_LOG_ID);
        bytes_put16(wire, (uint16_t)value);
        for (size_t i = 0; i < value; i++) {
            bytes_put8(wire, 'a');
        }
        info -= 7 + value;
    }
    while (info-- > 0) {
        bytes_put8(wire, 0);
    }
}

void script_add(struct script *script, const void *body, size_t len)
{
    struct codec_scan scan;
    if (script->framing != &framing_unframed) {
        codec_scan_begin(&scan, script->kind, (uint32_t)len);
    } else {
        codec_scan_begin_unframed(&scan, script->kind, script->max_bytes);
    }
    enum codec_scan_status status = codec_scan_run(&scan, body, len, len);
    assert_true(status == CODEC_SCAN_DONE || status == CODEC_SCAN_BAD);

    size_t head = head_of(script);
    struct script_frame *frame = add_frame(script, FRAME_READY, head + len);
    frame->head = head;
    if (status == CODEC_SCAN_BAD && codec_error_is_header(scan.error)) {
        frame->verdict = FRAME_BROKEN;
        frame->broken = broken_of(scan.error);
    } else if (status == CODEC_SCAN_BAD) {
        frame->verdict = FRAME_BAD;
        frame->error = scan.error;
    }
    if (script->framing == &framing_framed) {
        bytes_put32(&script->wire, (uint32_t)len);
    } else if (script->framing == &framing_ttheader) {
        put_ttheader(&script->wire, head, len);
    }
    bytes_put(&script->wire, body, len);
}

void script_add_length(struct script *script, uint32_t len, enum frame_broken broken)
{
    add_frame(script, FRAME_BROKEN, WIRE_FRAME_LEN_BYTES)->broken = broken;
    bytes_put32(&script->wire, len);
}

static enum wire_message_type type_of(const struct script *script)
{
    return script->kind == CODEC_SCAN_REQUEST ? WIRE_CALL : WIRE_REPLY;
}

void script_add_call(struct script *script, const char *name, size_t payload)
{
    struct bytes body = {0};
    bytes_put_header(&body, type_of(script), name, (int32_t)script->frames_len);
    bytes_put_field(&body, WIRE_STRING, 1);
    bytes_put32(&body, (uint32_t)payload);
    for (size_t i = 0; i < payload; i++) {
        bytes_put8(&body, (uint8_t)(i * 7 + script->frames_len));
    }
    bytes_put8(&body, WIRE_STOP);
    script_add(script, body.p, body.len);
    bytes_done(&body);
}

void script_add_tiny(struct script *script, uint32_t n)
{
    struct bytes body = {0};
    bytes_put_header(&body, type_of(script), "tiny", (int32_t)script->frames_len);
    bytes_put_field(&body, WIRE_LIST, 1);
    bytes_put8(&body, WIRE_STRUCT);
    bytes_put32(&body, n);
    for (uint32_t i = 0; i < n; i++) {
        if (i % 2 == 0) { /* no run of STOPs that the scanner could step over */
            bytes_put_field(&body, WIRE_BOOL, 1);
            bytes_put8(&body, 1);
        }
        bytes_put8(&body, WIRE_STOP);
    }
    bytes_put8(&body, WIRE_STOP);
    script_add(script, body.p, body.len);
    bytes_done(&body);
}

/* ---- the rig ------------------------------------------------------------------------------- */

void rig_init(struct rig *rig, const struct script *script, const struct rig_plan *plan,
              uint64_t seed)
{
    memset(rig, 0, sizeof *rig);
    memset(&rig->scan, 0xa5, sizeof rig->scan); /* whatever it held before must not matter */
    rig->script = script;
    rig->plan = *plan;
    rig->random.state = seed;
    rig->buffers = (struct buffers){
        .permits = &rig->permits, .limit = UINT64_C(1) << 40, .counters = &rig->counters};
    rig->env = (struct frame_env){.framing = script->framing,
                                  .kind = script->kind,
                                  .max_bytes = script->max_bytes,
                                  .scan = &rig->scan,
                                  .ttheader = &rig->ttheader,
                                  .buffers = &rig->buffers,
                                  .pile = &rig->pile};
    for (int i = 0; i < RIG_READS_MAX; i++) {
        guard_init(&rig->windows[i], RIG_WINDOW_MAX);
    }
}

static void assert_frame_bytes(const struct rig *rig, const uint8_t *bytes, size_t frame)
{
    const struct script_frame *expected = &rig->script->frames[frame];
    assert_memory_equal(bytes, rig->script->wire.p + expected->off, expected->len);
}

static void free_held(struct rig *rig, size_t i)
{
    assert_frame_bytes(rig, rig->held[i].bytes, rig->held[i].frame);
    buffers_free(&rig->buffers, rig->held[i].block);
    rig->held[i] = rig->held[--rig->held_len];
}

void rig_end_turn(struct rig *rig)
{
    for (size_t i = 0; i < rig->seen_len; i++) {
        assert_frame_bytes(rig, rig->seen[i].bytes, rig->seen[i].frame);
    }
    rig->seen_len = 0;
    buffers_pile_free(&rig->buffers, &rig->pile);
    for (size_t i = rig->held_len; i-- > 0;) {
        if (!rig->plan.blocks_are_held || random_one_in(&rig->random, 3)) {
            free_held(rig, i);
        }
    }
    for (unsigned i = 0; i < rig->reads; i++) {
        memset(rig->windows[i].end - rig->window_len[i], 0xdd, rig->window_len[i]);
    }
    rig->reads = 0;
}

void rig_done(struct rig *rig)
{
    frame_reader_done(&rig->reader, &rig->env);
    assert_false(frame_reader_keeps(&rig->reader));
    assert_false(frame_reader_in_frame(&rig->reader));
    rig_end_turn(rig);
    while (rig->held_len > 0) {
        free_held(rig, 0);
    }
    assert_int_equal(permit_taken(&rig->permits), 0);
    assert_int_equal(counter_get(&rig->counters, METRIC_BUFFERED_BYTES), 0);
    for (int i = 0; i < RIG_READS_MAX; i++) {
        guard_done(&rig->windows[i]);
    }
}

static size_t smaller(size_t a, size_t b)
{
    return a < b ? a : b;
}

size_t rig_read(struct rig *rig, size_t max)
{
    size_t room_len;
    size_t n = smaller(max, rig->script->wire.len - rig->fed);
    const uint8_t *from = rig->script->wire.p + rig->fed;
    if (rig->fed < rig->plan.cut) {
        n = smaller(n, rig->plan.cut - rig->fed);
    }
    if (n == 0) {
        return 0;
    }
    uint8_t *room = frame_reader_room(&rig->reader, &rig->env, &room_len);
    if (room) {
        n = smaller(n, room_len);
        memcpy(room, from, n);
    } else if (room_len > 0) {
        rig->refusals++;
        return 0;
    } else {
        assert_true(rig->reads < RIG_READS_MAX);
        n = smaller(n, RIG_WINDOW_MAX);
        rig->window_len[rig->reads] = n;
        room = guard_copy(&rig->windows[rig->reads++], from, n);
    }
    rig->fed += n;
    frame_reader_push(&rig->reader, room, n);
    return n;
}

/* Where the frame begins, with its head, and how long it is. */
static const uint8_t *frame_bytes(const struct rig *rig, const struct frame *frame)
{
    assert_int_equal(frame->message.head_room, rig->script->frames[rig->next].head);
    assert_int_equal(frame->ttheader != NULL, rig->script->framing == &framing_ttheader);
    return frame->message.body - frame->message.head_room;
}

static size_t frame_len(const struct frame *frame)
{
    return (size_t)frame->message.head_room + frame->message.len;
}

static void check_ready(struct rig *rig, const struct frame *frame)
{
    uint8_t *block = frame->message.block;
    const uint8_t *bytes = frame_bytes(rig, frame);
    assert_int_equal(frame_len(frame), rig->script->frames[rig->next].len);
    assert_int_equal(frame->scan->error, CODEC_ERROR_NONE);
    assert_null(frame->message.lent);
    assert_frame_bytes(rig, bytes, rig->next);
    if (block) {
        size_t i = rig->held_len++;
        assert_true(bytes >= block && bytes + frame_len(frame) <= block + buffers_size(block));
        rig->held[i].block = block;
        rig->held[i].bytes = bytes;
        rig->held[i].frame = rig->next;
        rig->owned++;
    } else {
        size_t i = rig->seen_len++;
        rig->seen[i].bytes = bytes;
        rig->seen[i].frame = rig->next;
        rig->borrowed++;
    }
}

/* What an answer needs: the length, the header, the name. */
static void check_bad(const struct rig *rig, const struct frame *frame)
{
    const struct script_frame *expected = &rig->script->frames[rig->next];
    const uint8_t *sent = rig->script->wire.p + expected->off;
    struct wire_span name = frame->scan->message.name;
    assert_int_equal(frame->scan->error, expected->error);
    if (rig->script->framing != &framing_unframed) {
        assert_int_equal(frame_len(frame), expected->len);
    }
    assert_null(frame->message.block);
    assert_true(frame->scan->header_done);
    assert_memory_equal(frame_bytes(rig, frame), sent, expected->head + name.off + name.len + 4);
}

static void check(struct rig *rig, enum frame_verdict verdict, const struct frame *frame)
{
    assert_true(rig->next < rig->script->frames_len);
    const struct script_frame *expected = &rig->script->frames[rig->next];
    assert_int_equal(verdict, expected->verdict);
    if (verdict == FRAME_READY) {
        check_ready(rig, frame);
    } else if (verdict == FRAME_BAD) {
        check_bad(rig, frame);
        rig->broken = rig->script->framing == &framing_unframed; /* there is no next one */
    } else {
        assert_int_equal(frame->broken, expected->broken);
        rig->broken = true;
    }
    rig->next++;
}

enum frame_verdict rig_take(struct rig *rig, size_t max)
{
    struct frame frame;
    enum frame_verdict verdict = FRAME_READY;
    for (size_t i = 0; i < max; i++) {
        memset(&frame, 0xa5, sizeof frame);
        verdict = frame_reader_next(&rig->reader, &rig->env, &frame);
        assert_int_not_equal(verdict, FRAME_NO_MEMORY);
        if (verdict >= FRAME_BROKEN) {
            check(rig, verdict, &frame);
        }
        if (verdict < FRAME_READY || rig->broken) {
            break;
        }
        if (rig->plan.pause_one_in && random_one_in(&rig->random, rig->plan.pause_one_in)) {
            rig->paused = true;
            break;
        }
    }
    rig->yields += verdict == FRAME_YIELD;
    if (!rig->broken) {
        assert_true(frame_reader_keep(&rig->reader, &rig->env));
    }
    uint64_t charged = permit_taken(&rig->permits);
    rig->most_charged = charged > rig->most_charged ? charged : rig->most_charged;
    return verdict;
}

static size_t chunk_of(struct rig *rig)
{
    size_t chunk = rig->plan.chunk ? rig->plan.chunk : SIZE_MAX;
    if (rig->plan.random_chunks) {
        chunk = 1 + random_below(&rig->random, (uint32_t)rig->plan.chunk);
    }
    return chunk;
}

/* One thing that a connection does within a turn. */
static void step(struct rig *rig, bool *ret_more)
{
    bool read_first =
        !*ret_more || (rig->plan.read_before_resume && random_one_in(&rig->random, 2));
    if (rig->paused && random_one_in(&rig->random, 2)) {
        return; /* for longer than this */
    }
    if (!read_first || rig_read(rig, chunk_of(rig)) > 0 || *ret_more) {
        enum frame_verdict verdict;
        rig->paused = false;
        verdict = rig_take(rig, SIZE_MAX);
        *ret_more = verdict == FRAME_YIELD || rig->paused;
    }
}

void rig_run(struct rig *rig)
{
    unsigned reads = rig->plan.reads ? rig->plan.reads : 1;
    bool more = true; /* something may have been kept before */
    size_t turns = 0;
    while (!rig->broken && (more || rig->fed < rig->script->wire.len)) {
        for (unsigned i = 0; i < reads && !rig->broken; i++) {
            step(rig, &more);
        }
        rig_end_turn(rig);
        assert_true(++turns < 64 * (rig->script->wire.len + 64)); /* else it stands still */
    }
    assert_int_equal(rig->next, rig->script->frames_len);
}

void rig_play(const struct script *script, const struct rig_plan *plan, uint64_t seed)
{
    struct rig *rig = malloc(sizeof *rig);
    assert_non_null(rig);
    rig_init(rig, script, plan, seed);
    rig_run(rig);
    rig_done(rig);
    free(rig);
}
