/*
 * tests/codec/scan_unframed_test.c: messages without a frame, whose end their grammar says.
 *
 * The same scanner as scan_test.c's, so only what differs stands here: where it ends, what follows,
 * and what a peer may claim when no frame bounds it. A naive parser that is shown every prefix is the
 * oracle: at most one of them is a message, and that one the scanner must stop behind.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/scan.h"
#include "tests/codec/bytes.h"
#include "tests/codec/feed.h"
#include "tests/codec/message_gen.h"
#include "tests/codec/naive_parser.h"

#define MESSAGES 6000
#define SEED     20261127
#define PREFIX_BYTES                                                                               \
    300           /* every prefix of a message up to this size is shown to the naive parser */
#define LIMIT 400 /* of the rows */

static struct guard guard;

/* CALL "f", seqid 7. */
#define CALL  "80010001 00000001 66 00000007 "
#define REPLY "80010002 00000001 66 00000007 "

#define MORE (-1)

static const struct row {
    const char *what;
    const char *hex;
    int len; /* the message's; 0: none; MORE: not whole */
    enum codec_error error;
} rows[] = {
    {"no arguments", CALL "00", 14, CODEC_ERROR_NONE},
    {"an empty name", "80010001 00000000 00000007 00", 13, CODEC_ERROR_NONE},
    {"a struct", CALL "0c0001 02000101 00 00", 22, CODEC_ERROR_NONE},
    {"as long as the limit", CALL "0b0001 0000017b", MORE, CODEC_ERROR_NONE},

    /* what follows is not its business */
    {"a second message", CALL "00" CALL "00", 14, CODEC_ERROR_NONE},
    {"the beginning of a second one", CALL "00 8001", 14, CODEC_ERROR_NONE},
    {"rubbish behind it", CALL "00 ffffffffffffffff", 14, CODEC_ERROR_NONE},
    {"a STOP behind it", CALL "00 00", 14, CODEC_ERROR_NONE},
    {"a frame behind it", CALL "00 0000000e" CALL "00", 14, CODEC_ERROR_NONE},
    {"a reply behind it", CALL "00" REPLY "00", 14, CODEC_ERROR_NONE},

    /* never whole */
    {"nothing", "", MORE, CODEC_ERROR_NONE},
    {"one byte", "80", MORE, CODEC_ERROR_NONE},
    {"cut in the header", "80010001 00000001 66 0000", MORE, CODEC_ERROR_NONE},
    {"a header alone", CALL, MORE, CODEC_ERROR_NONE},
    {"no STOP", CALL "02000101", MORE, CODEC_ERROR_NONE},
    {"the inner STOP only", CALL "0c0001 02000101 00", MORE, CODEC_ERROR_NONE},
    {"cut in a string", CALL "0b0001 00000004 6869", MORE, CODEC_ERROR_NONE},
    {"cut in a list", CALL "0f0001 08 00000002 00000000", MORE, CODEC_ERROR_NONE},
    {"a string that eats the STOP", CALL "0b0001 00000001 00", MORE, CODEC_ERROR_NONE},
    {"a list that eats the next message", CALL "0f0001 03 0000000e" CALL "00", MORE,
     CODEC_ERROR_NONE},

    /* headers: unreadable ones */
    {"a frame", "0000000e" CALL "00", 0, CODEC_ERROR_VERSION},
    {"version 2", "80020001 00000001 66 00000007 00", 0, CODEC_ERROR_VERSION},
    {"not strict", "00000001 66 01 00000007 00", 0, CODEC_ERROR_VERSION},
    {"compact", "82210007 01660000", 0, CODEC_ERROR_VERSION},
    {"http", "474554202f20485454502f312e31", 0, CODEC_ERROR_VERSION},
    {"a reply", REPLY "00", 0, CODEC_ERROR_MESSAGE_TYPE},
    {"type 0", "80010000 00000001 66 00000007 00", 0, CODEC_ERROR_MESSAGE_TYPE},
    {"type 0x81", "80010081 00000001 66 00000007 00", 0, CODEC_ERROR_MESSAGE_TYPE},
    {"name length -1", "80010001 ffffffff 66", 0, CODEC_ERROR_NAME_LENGTH},
    {"name length 2^31-1", "80010001 7fffffff 66", 0, CODEC_ERROR_NAME_LENGTH},
    {"a name one byte over the limit", "80010001 00000185 66", 0, CODEC_ERROR_NAME_LENGTH},
    {"a name up to the limit", "80010001 00000184 66", MORE, CODEC_ERROR_NONE},

    /* bodies */
    {"field type 1", CALL "01000100", 0, CODEC_ERROR_FIELD_TYPE},
    {"field type 0x80: where a message begins too early", CALL "80010001", 0,
     CODEC_ERROR_FIELD_TYPE},
    {"field type 0xff", CALL "ff", 0, CODEC_ERROR_FIELD_TYPE},
    {"element type 0", CALL "0f0001 00 00000001 00", 0, CODEC_ERROR_ELEMENT_TYPE},
    {"element type 0, 2^31-1 of them", CALL "0f0001 00 7fffffff 00", 0, CODEC_ERROR_ELEMENT_TYPE},
    {"key type 7", CALL "0d0001 070b 00000001 00", 0, CODEC_ERROR_ELEMENT_TYPE},
    {"string length -1", CALL "0b0001 ffffffff 00", 0, CODEC_ERROR_STRING_LENGTH},
    {"string length -2^31", CALL "0b0001 80000000 00", 0, CODEC_ERROR_STRING_LENGTH},
    {"string length -16 in a list", CALL "0f0001 0b 00000002 00000000 fffffff0", 0,
     CODEC_ERROR_STRING_LENGTH},
    {"count -1", CALL "0f0001 08 ffffffff 00", 0, CODEC_ERROR_COUNT},
    {"count -2^31 of structs", CALL "0e0001 0c 80000000 00", 0, CODEC_ERROR_COUNT},
    {"map count -1", CALL "0d0001 0b0b ffffffff 00", 0, CODEC_ERROR_COUNT},

    /* more than the limit allows, told at once where a number says so */
    {"string length 2^31-1", CALL "0b0001 7fffffff 00", 0, CODEC_ERROR_TOO_LARGE},
    {"a string one byte over the limit", CALL "0b0001 0000017d", 0, CODEC_ERROR_TOO_LARGE},
    {"a string up to the limit, then no STOP", CALL "0b0001 0000017c", 0, CODEC_ERROR_TOO_LARGE},
    {"2^31-1 bools", CALL "0f0001 02 7fffffff 00", 0, CODEC_ERROR_TOO_LARGE},
    {"2^29 i64s: wraps 32 bits", CALL "0f0001 0a 20000000 00", 0, CODEC_ERROR_TOO_LARGE},
    {"2^28 uuids: wraps 32 bits", CALL "0f0001 10 10000000 00", 0, CODEC_ERROR_TOO_LARGE},
    {"2^31-1 structs", CALL "0f0001 0c 7fffffff 00", 0, CODEC_ERROR_TOO_LARGE},
    {"a map of 2^30 pairs", CALL "0d0001 0202 40000000 00", 0, CODEC_ERROR_TOO_LARGE},
    {"a list in a list", CALL "0f0001 0f 00000001 0a 00000031", 0, CODEC_ERROR_TOO_LARGE},
};

static struct feed_outcome feed_one_way(const struct bytes *b, size_t step, size_t budget)
{
    const struct feed_bytes bytes = {b->p, b->len, LIMIT};

    return feed_unframed(&guard, CODEC_SCAN_REQUEST, &bytes, step, budget);
}

/* The outcome, which must not depend on how the bytes come. */
static struct feed_outcome feed_all_ways(const char *what, const struct bytes *b)
{
    static const size_t budgets[] = {0, 1, 2, 3, 7, 64, SIZE_MAX};
    struct feed_outcome whole = feed_one_way(b, b->len, SIZE_MAX);

    /* A step of the cut's size: the first piece is that long, and others follow. */
    for (size_t cut = 1; cut <= b->len; cut++) {
        for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
            struct feed_outcome other = feed_one_way(b, cut, budgets[i]);
            if (!feed_same(&whole, &other)) {
                fail_msg("%s: steps of %zu, budget %zu: \"%s\" instead of \"%s\", length %" PRIu32
                         " instead of %" PRIu32,
                         what, cut, budgets[i], codec_error_str(other.error),
                         codec_error_str(whole.error), other.len, whole.len);
            }
        }
    }
    return whole;
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes b = {0};
        bytes_put_hex(&b, rows[i].hex);
        struct feed_outcome o = feed_all_ways(rows[i].what, &b);
        int len = o.wants_more ? MORE : (int)o.len;
        if (o.error != rows[i].error || len != rows[i].len) {
            fail_msg("%s: \"%s\" and length %d instead of \"%s\" and %d", rows[i].what,
                     codec_error_str(o.error), len, codec_error_str(rows[i].error), rows[i].len);
        }
        if (!o.done && !o.wants_more) {
            assert_int_equal(o.header_done, !codec_error_is_header(o.error));
        }
        bytes_done(&b);
    }
}

/* Small tokens up to the limit: a message may be as long as it, and not one byte longer. */
static void test_the_limit_is_exact(void **state)
{
    static const struct {
        const char *what;
        const char *begin;
        const char *unit; /* the limit is met exactly by a number of these... */
        const char *end;  /* ...and this */
    } shapes[] = {
        {"fields", CALL, "02000101", "00"},
        {"short strings", CALL "0c0001", "0b0001 00000001 61", "0000"},
        {"structs", CALL, "0c0001 00", "00"},
    };

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct bytes b = {0};
        bytes_put_hex(&b, shapes[i].begin);
        for (int n = 0; n < 50; n++) {
            bytes_put_hex(&b, shapes[i].unit);
        }
        bytes_put_hex(&b, shapes[i].end);
        for (uint32_t max = 13; max <= b.len; max++) {
            const struct feed_bytes bytes = {b.p, b.len, max};
            struct feed_outcome o =
                feed_unframed(&guard, CODEC_SCAN_REQUEST, &bytes, b.len, SIZE_MAX);
            if (o.error != (max < b.len ? CODEC_ERROR_TOO_LARGE : CODEC_ERROR_NONE)) {
                fail_msg("%s: %zu bytes, limit %" PRIu32 ": \"%s\"", shapes[i].what, b.len, max,
                         codec_error_str(o.error));
            }
        }
        bytes_done(&b);
    }
}

/* Depth holds without a frame, too: nothing else would end this. */
static void test_endless_nesting_ends(void **state)
{
    struct bytes b = {0};

    bytes_put_hex(&b, CALL);
    for (int i = 0; i < 70; i++) {
        bytes_put_hex(&b, "0c0001");
    }
    assert_int_equal(feed_all_ways("nesting", &b).error, CODEC_ERROR_DEPTH);
    bytes_done(&b);
}

/* Several in a row are several: each begins where the one before ended. */
static void test_successive_messages(void **state)
{
    static const char *const names[] = {"a", "Service:b", "", "c"};
    struct bytes b = {0};
    uint32_t at = 0;

    for (size_t i = 0; i < 4; i++) {
        bytes_put_header(&b, i == 1 ? WIRE_ONEWAY : WIRE_CALL, names[i], (int32_t)i);
        bytes_put_hex(&b, "0c0001 0c00ff 0b0001 00000002 6c31 00 00 00");
    }
    for (size_t i = 0; i < 4; i++) {
        const struct feed_bytes bytes = {b.p + at, b.len - at, LIMIT};
        struct feed_outcome o =
            feed_unframed(&guard, CODEC_SCAN_REQUEST, &bytes, bytes.len, SIZE_MAX);
        assert_true(o.done && o.message.has_base);
        assert_int_equal(o.message.seqid, i);
        assert_int_equal(o.message.name.len, strlen(names[i]));
        at += o.len;
    }
    assert_int_equal(at, b.len);
    bytes_done(&b);
}

/* What is stepped over need not have arrived, nor cost budget. */
static void test_skips_ahead_of_what_arrived(void **state)
{
    struct bytes b = {0};
    struct codec_scan scan;

    bytes_put_hex(&b, CALL "0b0001 00010000");
    codec_scan_begin_unframed(&scan, CODEC_SCAN_REQUEST, WIRE_FRAME_BYTES_DEFAULT);
    assert_int_equal(codec_scan_run(&scan, b.p, b.len, 100), CODEC_SCAN_MORE);
    while (b.len < 20 + 65536) {
        bytes_put8(&b, 'x');
    }
    assert_int_equal(codec_scan_run(&scan, b.p, b.len, 100), CODEC_SCAN_MORE);
    bytes_put_hex(&b, "00 ff");
    assert_int_equal(codec_scan_run(&scan, b.p, b.len, 100), CODEC_SCAN_DONE);
    assert_int_equal(codec_scan_len(&scan), b.len - 1);
    bytes_done(&b);
}

/* --- generated messages --- */

static unsigned accepted;
static unsigned rejected;
static unsigned unfinished;

/* The length of the prefix that is a message; 0 where none is. */
static uint32_t naive_len(const struct bytes *b, bool is_request)
{
    for (size_t len = 1; len <= b->len; len++) {
        if (naive_parse(b->p, len, is_request).verdict == NAIVE_MESSAGE) {
            return (uint32_t)len;
        }
    }
    return 0;
}

static void check_damaged(const struct bytes *b, bool is_request, struct random *random)
{
    enum codec_scan_kind kind = is_request ? CODEC_SCAN_REQUEST : CODEC_SCAN_REPLY;
    const struct feed_bytes bytes = {b->p, b->len, WIRE_FRAME_BYTES_DEFAULT};
    struct feed_outcome o = feed_unframed(&guard, kind, &bytes, b->len, SIZE_MAX);
    struct feed_outcome other = feed_unframed(&guard, kind, &bytes, 1 + random_below(random, 9),
                                              1 + random_below(random, 20));

    assert_true(feed_same(&o, &other));
    if (b->len <= PREFIX_BYTES) {
        assert_int_equal(o.len, naive_len(b, is_request));
    }
    if (o.done) {
        /* The same in a frame of that length, to the last offset. */
        other = feed_whole(&guard, kind, b->p, o.len);
        assert_true(feed_same(&o, &other));
    }
    accepted += o.done;
    unfinished += o.wants_more;
    rejected += !o.done && !o.wants_more;
}

static void test_generated_messages(void **state)
{
    static struct generated message;
    static struct bytes damaged;
    struct random random = {SEED};

    for (unsigned i = 0; i < MESSAGES; i++) {
        message_generate(&message, &random, i % 2 == 0);
        for (int mutation = 0; mutation < MUTATION_MAX; mutation++) {
            if (message_mutate(&message, (enum mutation)mutation, &random, &damaged)) {
                check_damaged(&damaged, message.is_request, &random);
            }
        }
    }
    generated_done(&message);
    print_message("%u accepted, %u rejected, %u unfinished\n", accepted, rejected, unfinished);
    assert_true(accepted > MESSAGES && rejected > MESSAGES && unfinished > MESSAGES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_the_limit_is_exact),
        cmocka_unit_test(test_endless_nesting_ends),
        cmocka_unit_test(test_successive_messages),
        cmocka_unit_test(test_skips_ahead_of_what_arrived),
        cmocka_unit_test(test_generated_messages),
    };

    guard_init(&guard, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
