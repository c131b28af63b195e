/*
 * frame_reader_test.c: whatever way the bytes come, the same frames come out.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/codec/message_gen.h"
#include "tests/sidecar/data/io/frame_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* ---- streams ------------------------------------------------------------------------------- */

/* What is no message: the header parses, the body does not. */
static void add_bad(struct script *script, const char *name, size_t tail)
{
    struct bytes body = {0};
    bytes_put_header(&body, script->kind == CODEC_SCAN_REQUEST ? WIRE_CALL : WIRE_EXCEPTION, name,
                     77);
    bytes_put8(&body, 0x7f); /* no field has this type */
    for (size_t i = 0; i < tail; i++) {
        bytes_put8(&body, 0x2a);
    }
    script_add(script, body.p, body.len);
    bytes_done(&body);
}

/* Small frames of all kinds that let the stream go on. */
static void small_mix_of(struct script *script, enum codec_scan_kind kind,
                         const struct framing *framing)
{
    script_init(script, kind);
    script->framing = framing;
    script_add_call(script, "a", 0);
    script_add_call(script, "echo", 5);
    add_bad(script, "cut", 0);
    script_add_call(script, "S:m", 1);
    add_bad(script, "bad", 9);
    add_bad(script, "worse", 3);
    script_add_call(script, "last", 11);
}

static void small_mix(struct script *script, enum codec_scan_kind kind)
{
    small_mix_of(script, kind, &framing_framed);
}

/* The same without frames: one that is bad is the last. */
static void small_mix_unframed(struct script *script, enum codec_scan_kind kind, bool is_bad)
{
    script_init(script, kind);
    script->framing = &framing_unframed;
    script_add_call(script, "a", 0);
    script_add_call(script, "echo", 5);
    script_add_call(script, "S:m", 1);
    script_add_call(script, "longer", 300);
    if (is_bad) {
        add_bad(script, "bad", 9);
    }
}

/* Some hundred random frames, damaged ones among them. */
static void random_mix(struct script *script, struct random *random, enum codec_scan_kind kind,
                       size_t frames)
{
    struct generated *message = calloc(1, sizeof *message);
    struct bytes damaged = {0};
    bool unframed = random_one_in(random, 3), ttheader = random_one_in(random, 3);
    assert_non_null(message);
    script_init(script, kind);
    script->framing = unframed ? &framing_unframed : ttheader ? &framing_ttheader : &framing_framed;
    while (script->frames_len < frames) {
        if (random_one_in(random, 100)) {
            script_add_tiny(script, 30000); /* proved in more than one turn */
        }
        message_generate(message, random, kind == CODEC_SCAN_REQUEST);
        enum mutation mutation = random_below(random, MUTATION_MAX);
        if (unframed || !random_one_in(random, 4) ||
            !message_mutate(message, mutation, random, &damaged)) {
            script_add(script, message->body.p, message->body.len);
        } else if (damaged.len > 0) {
            struct codec_scan scan;
            codec_scan_begin(&scan, kind, (uint32_t)damaged.len);
            (void)codec_scan_run(&scan, damaged.p, damaged.len, damaged.len);
            if (!codec_error_is_header(scan.error)) { /* the stream goes on behind it */
                script_add(script, damaged.p, damaged.len);
            }
        }
        generated_done(message);
    }
    if (unframed && random_one_in(random, 2)) {
        add_bad(script, "bad", 9);
    }
    bytes_done(&damaged);
    free(message);
}

/* ---- ways to arrive ------------------------------------------------------------------------ */

static void play_in_chunks(const struct script *script)
{
    for (unsigned reads = 1; reads <= RIG_READS_MAX; reads++) {
        rig_play(script, &(struct rig_plan){.reads = reads}, 1);
        for (size_t chunk = 1; chunk < 12; chunk++) {
            rig_play(script, &(struct rig_plan){.chunk = chunk, .reads = reads}, 1);
        }
    }
}

static void test_whole_and_byte_by_byte(void **state)
{
    (void)state;
    for (enum codec_scan_kind kind = CODEC_SCAN_REQUEST; kind <= CODEC_SCAN_REPLY; kind++) {
        static struct script script;
        small_mix(&script, kind);
        play_in_chunks(&script);
        script_done(&script);
        small_mix_of(&script, kind, &framing_ttheader);
        for (size_t chunk = 997; chunk < 60000; chunk *= 3) {
            for (unsigned reads = 1; reads <= RIG_READS_MAX; reads++) {
                rig_play(&script, &(struct rig_plan){.chunk = chunk, .reads = reads}, 1);
            }
        }
        rig_play(&script, &(struct rig_plan){.chunk = 5, .reads = RIG_READS_MAX}, 1);
        script_done(&script);
        for (int is_bad = 0; is_bad < 2; is_bad++) {
            small_mix_unframed(&script, kind, is_bad);
            play_in_chunks(&script);
            script_done(&script);
        }
    }
}

static void play_cut(const struct script *script)
{
    for (size_t cut = 1; cut < script->wire.len; cut++) {
        rig_play(script, &(struct rig_plan){.cut = cut}, cut);
        rig_play(script, &(struct rig_plan){.cut = cut, .reads = 2, .pause_one_in = 2}, cut);
        rig_play(script,
                 &(struct rig_plan){
                     .cut = cut, .reads = 4, .pause_one_in = 1, .read_before_resume = true},
                 cut);
    }
}

static void test_at_every_cut(void **state)
{
    static struct script script;
    (void)state;
    small_mix(&script, CODEC_SCAN_REQUEST);
    play_cut(&script);
    script_done(&script);
    small_mix_unframed(&script, CODEC_SCAN_REQUEST, true);
    play_cut(&script);
    script_done(&script);
}

static void test_random_chunks_and_pauses(void **state)
{
    static struct script script;
    struct random random = {20};
    (void)state;
    for (int round = 0; round < 40; round++) {
        enum codec_scan_kind kind = round % 2 ? CODEC_SCAN_REPLY : CODEC_SCAN_REQUEST;
        random_mix(&script, &random, kind, 120);
        for (int i = 0; i < 12; i++) {
            struct rig_plan plan = {
                .chunk = 1 + random_below(&random, 1u << (2 + random_below(&random, 14))),
                .random_chunks = true,
                .reads = 1 + random_below(&random, RIG_READS_MAX),
                .pause_one_in = random_one_in(&random, 3) ? 0 : 1 + random_below(&random, 20),
                .read_before_resume = random_one_in(&random, 2),
                .blocks_are_held = random_one_in(&random, 2),
            };
            rig_play(&script, &plan, random_next(&random));
        }
        script_done(&script);
    }
}

/* ---- streams that end ---------------------------------------------------------------------- */

static void play_broken(struct script *script)
{
    for (size_t cut = 0; cut < script->wire.len; cut++) {
        rig_play(script, &(struct rig_plan){.cut = cut}, 1);
        rig_play(script, &(struct rig_plan){.cut = cut, .reads = 2, .pause_one_in = 1}, cut);
    }
    rig_play(script, &(struct rig_plan){.chunk = 1}, 1);
    rig_play(script, &(struct rig_plan){.chunk = 1, .reads = RIG_READS_MAX}, 1);
}

static void test_lengths_that_nobody_can_follow(void **state)
{
    static const struct {
        uint32_t len;
        enum frame_broken broken;
    } cases[] = {
        {0, FRAME_BROKEN_EMPTY},
        {101, FRAME_BROKEN_TOO_LARGE},
        {0x7fffffff, FRAME_BROKEN_TOO_LARGE},
        {0x80000000, FRAME_BROKEN_TOO_LARGE},
        {0xfffffffc, FRAME_BROKEN_TOO_LARGE}, /* the whole frame would have length 0 */
        {0xffffffff, FRAME_BROKEN_TOO_LARGE},
    };
    static struct script script;
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        small_mix(&script, CODEC_SCAN_REQUEST);
        script.max_bytes = 100;
        script_add_length(&script, cases[i].len, cases[i].broken);
        play_broken(&script);
        script_done(&script);
    }
}

static void test_headers_that_do_not_parse(void **state)
{
    static const char *const bodies[] = {
        "80",                                             /* short */
        "80010001 00000000 000000",                       /* one byte too short */
        "80020001 00000001 61 00000000 00",               /* version */
        "80010000 00000001 61 00000000 00",               /* type 0 */
        "80010002 00000001 61 00000000 00",               /* a reply from a caller */
        "80010001 ffffffff 61 00000000 00",               /* name of -1 bytes */
        "80010001 00000100 61 00000000 00",               /* name beyond the frame */
        "160301 02000100 01fc0303 00000000 000000000000", /* TLS, behind a frame's length */
    };
    static struct script script;
    (void)state;
    for (size_t i = 0; i < sizeof bodies / sizeof bodies[0]; i++) {
        struct bytes body = {0};
        bytes_put_hex(&body, bodies[i]);
        script_init(&script, CODEC_SCAN_REQUEST);
        script_add_call(&script, "good", 3);
        add_bad(&script, "bad", 2);
        script_add(&script, body.p, body.len);
        assert_int_equal(script.frames[2].verdict, FRAME_BROKEN);
        play_broken(&script);
        script_done(&script);
        if (i > 1 && i != 6) { /* without a frame those are only not whole */
            small_mix_unframed(&script, CODEC_SCAN_REQUEST, false);
            script_add(&script, body.p, body.len);
            assert_int_equal(script.frames[script.frames_len - 1].verdict, FRAME_BROKEN);
            play_broken(&script);
            script_done(&script);
        }
        bytes_done(&body);
    }
}

static void test_the_longest_frame(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "long", 4000);
    script.max_bytes = (uint32_t)script.wire.len - WIRE_FRAME_LEN_BYTES;
    script_add_call(&script, "next", 1);
    rig_play(&script, &(struct rig_plan){0}, 1);
    rig_play(&script, &(struct rig_plan){.chunk = 7}, 1);

    script.max_bytes--;
    script.frames_len = 1;
    script.frames[0].verdict = FRAME_BROKEN;
    script.frames[0].broken = FRAME_BROKEN_TOO_LARGE;
    rig_play(&script, &(struct rig_plan){0}, 1);
    rig_play(&script, &(struct rig_plan){.chunk = 1}, 1);
    script_done(&script);
}

/* Without a frame it is the limit that ends a message, also one that only claims to be longer. */
static void test_the_longest_message(void **state)
{
    static struct script script;
    (void)state;
    for (size_t payload = 4000; payload <= 4001; payload++) {
        script_init(&script, CODEC_SCAN_REQUEST);
        script.framing = &framing_unframed;
        script_add_call(&script, "long", 4000);
        script.max_bytes = (uint32_t)script.wire.len;
        script_add_call(&script, "next", payload);
        assert_int_equal(script.frames[1].verdict, payload > 4000 ? FRAME_BAD : FRAME_READY);
        rig_play(&script, &(struct rig_plan){0}, 1);
        rig_play(&script, &(struct rig_plan){.chunk = 7}, 1);
        script_done(&script);
    }
}

/* ---- who owns what ------------------------------------------------------------------------- */

static struct rig *rig_of(const struct script *script, const struct rig_plan *plan)
{
    struct rig *rig = malloc(sizeof *rig);
    assert_non_null(rig);
    rig_init(rig, script, plan, 1);
    return rig;
}

static void rig_free(struct rig *rig)
{
    rig_done(rig);
    free(rig);
}

static void test_what_comes_whole_is_borrowed(void **state)
{
    static struct script script;
    (void)state;
    small_mix(&script, CODEC_SCAN_REQUEST);
    struct rig *rig = rig_of(&script, &(struct rig_plan){0});
    rig_run(rig);
    assert_int_equal(rig->borrowed, 4);
    assert_int_equal(rig->owned, 0);
    assert_int_equal(rig->most_charged, 0);
    rig_free(rig);
    script_done(&script);
}

static void test_what_comes_in_pieces_owns_its_block(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REPLY);
    script_add_call(&script, "long", 200000);
    struct rig *rig = rig_of(&script, &(struct rig_plan){.chunk = 10000, .blocks_are_held = true});
    assert_false(frame_reader_in_frame(&rig->reader));
    assert_int_equal(rig_read(rig, 3), 3);
    assert_int_equal(rig_take(rig, SIZE_MAX), FRAME_NONE);
    rig_end_turn(rig);
    assert_true(frame_reader_in_frame(&rig->reader));
    assert_true(frame_reader_keeps(&rig->reader));
    rig_run(rig);
    assert_int_equal(rig->owned, 1);
    assert_int_equal(rig->borrowed, 0);
    assert_false(frame_reader_keeps(&rig->reader));
    /* Not more than the frame needs, and grown with what came. */
    assert_true(rig->most_charged <= script.wire.len);
    rig_free(rig);
    script_done(&script);
}

/* No read goes beyond the frame whose rest is awaited: the next one is a window's. */
static void test_room_ends_with_the_frame(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "first", 100);
    size_t first = script.wire.len;
    script_add_call(&script, "second", 100);
    struct rig *rig = rig_of(&script, &(struct rig_plan){0});
    rig_read(rig, 2); /* within the length: room for the rest of that alone */
    assert_int_equal(rig_take(rig, SIZE_MAX), FRAME_NONE);
    assert_int_equal(rig_read(rig, SIZE_MAX), 2);
    assert_int_equal(rig_take(rig, SIZE_MAX), FRAME_NONE);
    assert_int_equal(rig_read(rig, SIZE_MAX), first - 4);
    assert_int_equal(rig_take(rig, SIZE_MAX), FRAME_NONE);
    assert_int_equal(rig->owned, 1);
    rig_run(rig);
    assert_int_equal(rig->borrowed, 1);
    rig_free(rig);
    script_done(&script);
}

/* Without a frame, room reaches as far as the message is known to: to the end of a string, not beyond. */
static void test_room_within_an_unframed_message(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script.framing = &framing_unframed;
    script_add_call(&script, "first", 100000);
    script_add_call(&script, "second", 100);
    struct rig *rig = rig_of(&script, &(struct rig_plan){.blocks_are_held = true});
    assert_int_equal(rig_read(rig, 2000), 2000);
    assert_int_equal(rig_take(rig, SIZE_MAX), FRAME_NONE);
    rig_end_turn(rig);
    while (rig->fed < script.frames[0].len - 1) {
        assert_in_range(rig_read(rig, SIZE_MAX), 1, rig->fed);
        assert_int_equal(rig_take(rig, SIZE_MAX), FRAME_NONE);
        rig_end_turn(rig);
    }
    assert_int_equal(rig->fed, script.frames[0].len - 1); /* its STOP is not known yet */
    rig_run(rig);
    assert_int_equal(rig->next, 2);
    rig_free(rig);
    script_done(&script);
}

/* The reader goes while frames of this turn lie in its block. */
static void test_done_while_frames_are_borrowed(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    for (int i = 0; i < 8; i++) {
        script_add_call(&script, "kept", 300);
    }
    for (size_t taken = 0; taken < 8; taken++) {
        struct rig *rig = rig_of(&script, &(struct rig_plan){0});
        rig_read(rig, SIZE_MAX);
        rig_take(rig, 0); /* a pause: all of it is kept */
        rig_end_turn(rig);
        rig_take(rig, taken);
        assert_int_equal(rig->borrowed, taken);
        rig_free(rig); /* looks at them behind frame_reader_done() */
    }
    script_done(&script);
}

/* More is read behind kept frames of which some were taken in this turn. */
static void test_kept_block_grows_while_frames_are_borrowed(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    for (int i = 0; i < 60; i++) {
        script_add_call(&script, "kept", 1000);
    }
    for (size_t taken = 0; taken < 9; taken++) {
        struct rig *rig = rig_of(&script, &(struct rig_plan){0});
        rig_read(rig, 10000);
        rig_take(rig, 0);
        rig_end_turn(rig);
        rig_take(rig, taken);
        rig_read(rig, 50000);
        rig_take(rig, 2);
        rig_read(rig, 500);
        rig_take(rig, 1);
        assert_int_equal(rig->next, taken + 3);
        rig_end_turn(rig);
        rig_run(rig);
        rig_free(rig);
    }
    script_done(&script);
}

/* ---- frames that fail ---------------------------------------------------------------------- */

static void test_a_large_bad_frame_is_not_kept(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "before", 10);
    add_bad(&script, "huge", 1000000);
    script_add_call(&script, "behind", 10);
    for (size_t chunk = 1000; chunk <= 64000; chunk *= 4) {
        struct rig *rig = rig_of(&script, &(struct rig_plan){.chunk = chunk, .reads = 4});
        rig_run(rig);
        assert_true(rig->most_charged <= 2 * chunk + 1024);
        rig_free(rig);
    }
    script_done(&script);
}

/* The end of a skipped frame and the beginning of the next come in one read, and wait. */
static void test_a_pause_at_the_end_of_a_bad_frame(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    add_bad(&script, "bad", 300);
    script_add_call(&script, "behind", 100);
    script_add_call(&script, "last", 100);
    for (size_t cut = 40; cut < 300; cut += 20) {
        struct rig *rig = rig_of(&script, &(struct rig_plan){0});
        rig_read(rig, cut);
        assert_int_equal(rig_take(rig, SIZE_MAX), FRAME_NONE);
        rig_end_turn(rig);
        rig_read(rig, 400);
        rig_take(rig, 0);
        rig_end_turn(rig);
        assert_int_equal(rig_take(rig, 1), FRAME_BAD);
        rig_run(rig);
        rig_free(rig);
    }
    script_done(&script);
}

/* ---- limits -------------------------------------------------------------------------------- */

static void test_long_frames_are_proved_in_slices(void **state)
{
    static struct script script;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_tiny(&script, 400000); /* 1 MB */
    script_add_call(&script, "behind", 10);
    script_add_tiny(&script, 100000);
    size_t slices = script.frames[0].len / FRAME_SCAN_BUDGET_BYTES;

    struct rig *rig = rig_of(&script, &(struct rig_plan){0});
    while (rig->next == 0) {
        rig_read(rig, SIZE_MAX);
        if (rig->fed < script.frames[0].len) {
            assert_true(frame_reader_keep(&rig->reader, &rig->env));
        } else {
            rig_take(rig, 1); /* the whole frame is there: a slice a turn */
        }
        rig_end_turn(rig);
    }
    assert_in_range(rig->yields, slices - 1, slices + 1);
    rig_run(rig);
    rig_free(rig);

    rig_play(&script, &(struct rig_plan){.reads = 4}, 1);
    rig_play(&script, &(struct rig_plan){.reads = 4, .read_before_resume = true}, 3);
    rig_play(&script,
             &(struct rig_plan){.chunk = 60000,
                                .random_chunks = true,
                                .reads = 2,
                                .pause_one_in = 2,
                                .read_before_resume = true},
             4);
    script_done(&script);
}

static void test_room_is_refused_and_forced(void **state)
{
    static struct script script;
    size_t len;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    script_add_call(&script, "large", 100000);
    struct rig *rig = rig_of(&script, &(struct rig_plan){0});
    rig->buffers.limit = 5000;
    rig_read(rig, 2000);
    rig_take(rig, SIZE_MAX); /* is there already, and so is kept */
    rig_end_turn(rig);
    assert_int_equal(permit_taken(&rig->permits), 2000);
    assert_int_equal(rig_read(rig, SIZE_MAX), 2000); /* room doubles */
    rig_take(rig, SIZE_MAX);
    assert_int_equal(rig_read(rig, SIZE_MAX), 0);
    assert_int_equal(rig->refusals, 1);
    assert_null(frame_reader_room(&rig->reader, &rig->env, &len));
    assert_int_equal(len, 1);
    assert_int_equal(permit_taken(&rig->permits), 4000);
    assert_int_equal(counter_get(&rig->counters, METRIC_BUFFERS_EXHAUSTED), 2);

    rig->env.forced = true; /* the oldest one goes on */
    assert_int_equal(rig_read(rig, SIZE_MAX), 4000);
    rig_take(rig, SIZE_MAX);
    rig->env.forced = false;
    assert_int_equal(rig_read(rig, SIZE_MAX), 0);
    rig->buffers.limit = 1000000; /* others have gone */
    rig_run(rig);
    assert_int_equal(rig->owned, 1);
    rig_free(rig);
    script_done(&script);
}

static void test_nothing_arrives(void **state)
{
    static struct script script;
    struct frame frame;
    size_t len;
    (void)state;
    script_init(&script, CODEC_SCAN_REQUEST);
    struct rig *rig = rig_of(&script, &(struct rig_plan){0});
    assert_int_equal(frame_reader_next(&rig->reader, &rig->env, &frame), FRAME_NONE);
    assert_true(frame_reader_keep(&rig->reader, &rig->env));
    assert_null(frame_reader_room(&rig->reader, &rig->env, &len));
    assert_int_equal(len, 0);
    assert_false(frame_reader_keeps(&rig->reader));
    rig_free(rig);
    script_done(&script);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_arrives),
        cmocka_unit_test(test_whole_and_byte_by_byte),
        cmocka_unit_test(test_at_every_cut),
        cmocka_unit_test(test_random_chunks_and_pauses),
        cmocka_unit_test(test_lengths_that_nobody_can_follow),
        cmocka_unit_test(test_headers_that_do_not_parse),
        cmocka_unit_test(test_the_longest_frame),
        cmocka_unit_test(test_the_longest_message),
        cmocka_unit_test(test_room_within_an_unframed_message),
        cmocka_unit_test(test_what_comes_whole_is_borrowed),
        cmocka_unit_test(test_what_comes_in_pieces_owns_its_block),
        cmocka_unit_test(test_room_ends_with_the_frame),
        cmocka_unit_test(test_done_while_frames_are_borrowed),
        cmocka_unit_test(test_kept_block_grows_while_frames_are_borrowed),
        cmocka_unit_test(test_a_large_bad_frame_is_not_kept),
        cmocka_unit_test(test_a_pause_at_the_end_of_a_bad_frame),
        cmocka_unit_test(test_long_frames_are_proved_in_slices),
        cmocka_unit_test(test_room_is_refused_and_forced),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
