/*
 * tests/codec/scan_test.c: what is one complete message and what is not, fed in every way.
 *
 * Each row is a body in hex. What generated messages can't show as plainly stands here; agreement
 * with other parsers over many messages is scan_oracle_test.c's.
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

#define BIG_BYTES (4 << 20)

static struct guard guard;

/* CALL "f", seqid 7; the arguments follow at offset 13. */
#define CALL  "80010001 00000001 66 00000007 "
#define REPLY "80010002 00000001 66 00000007 "

#define REQ CODEC_SCAN_REQUEST
#define REP CODEC_SCAN_REPLY
#define STR CODEC_SCAN_STRUCT

static const struct row {
    const char *what;
    const char *hex;
    enum codec_scan_kind kind;
    enum codec_error error;
} rows[] = {
    /* headers */
    {"no arguments", CALL "00", REQ, CODEC_ERROR_NONE},
    {"oneway", "80010004 00000001 66 00000007 00", REQ, CODEC_ERROR_NONE},
    {"the unused byte is ignored", "8001ff01 00000001 66 00000007 00", REQ, CODEC_ERROR_NONE},
    {"negative seqid", "80010001 00000001 66 ffffffff 00", REQ, CODEC_ERROR_NONE},
    {"empty name", "80010001 00000000 00000007 00", REQ, CODEC_ERROR_NONE},
    {"name with NUL", "80010001 00000002 0066 00000007 00", REQ, CODEC_ERROR_NONE},
    {"one byte", "80", REQ, CODEC_ERROR_HEADER_SHORT},
    {"eleven bytes", "80010001 00000000 000000", REQ, CODEC_ERROR_HEADER_SHORT},
    {"a header and nothing else", "80010001 00000000 00000007", REQ, CODEC_ERROR_CUT},
    {"version 2", "80020001 00000001 66 00000007 00", REQ, CODEC_ERROR_VERSION},
    {"not strict", "00000001 66 01 00000007 00 000000", REQ, CODEC_ERROR_VERSION},
    {"compact", "82210166 00000000 00000000 00000000", REQ, CODEC_ERROR_VERSION},
    {"type 0", "80010000 00000001 66 00000007 00", REQ, CODEC_ERROR_MESSAGE_TYPE},
    {"type 5", "80010005 00000001 66 00000007 00", REQ, CODEC_ERROR_MESSAGE_TYPE},
    {"type 0x81", "80010081 00000001 66 00000007 00", REQ, CODEC_ERROR_MESSAGE_TYPE},
    {"a reply as a request", REPLY "00", REQ, CODEC_ERROR_MESSAGE_TYPE},
    {"a call as a reply", CALL "00", REP, CODEC_ERROR_MESSAGE_TYPE},
    {"oneway as a reply", "80010004 00000001 66 00000007 00", REP, CODEC_ERROR_MESSAGE_TYPE},
    {"an exception", "80010003 00000001 66 00000007 00", REP, CODEC_ERROR_NONE},
    {"name length -1", "80010001 ffffffff 66 00000007 00", REQ, CODEC_ERROR_NAME_LENGTH},
    {"name length 2^31-1", "80010001 7fffffff 66 00000007 00", REQ, CODEC_ERROR_NAME_LENGTH},
    {"name one byte too long", "80010001 00000003 66 00000007 00", REQ, CODEC_ERROR_NAME_LENGTH},
    {"name up to the frame's end", "80010001 00000002 66 00000007 00", REQ, CODEC_ERROR_CUT},

    /* fields of fixed width */
    {"bool", CALL "02000101 00", REQ, CODEC_ERROR_NONE},
    {"bool 255", CALL "020001ff 00", REQ, CODEC_ERROR_NONE},
    {"i8", CALL "03000101 00", REQ, CODEC_ERROR_NONE},
    {"double", CALL "0400010000000000000000 00", REQ, CODEC_ERROR_NONE},
    {"i16", CALL "0600010000 00", REQ, CODEC_ERROR_NONE},
    {"i32", CALL "08000100000000 00", REQ, CODEC_ERROR_NONE},
    {"i64", CALL "0a00010000000000000000 00", REQ, CODEC_ERROR_NONE},
    {"uuid", CALL "10000100112233445566778899aabbccddeeff 00", REQ, CODEC_ERROR_NONE},
    {"ids 0 and -1", CALL "02000001 02ffff01 00", REQ, CODEC_ERROR_NONE},
    {"cut behind a type", CALL "02", REQ, CODEC_ERROR_CUT},
    {"cut in an id", CALL "0200", REQ, CODEC_ERROR_CUT},
    {"cut before a value", CALL "020001", REQ, CODEC_ERROR_CUT},
    {"cut in a value", CALL "0a000100000000000000", REQ, CODEC_ERROR_CUT},
    {"cut in a uuid", CALL "100001 0011223344556677", REQ, CODEC_ERROR_CUT},
    {"no STOP", CALL "02000101", REQ, CODEC_ERROR_CUT},
    {"type 1", CALL "01000100", REQ, CODEC_ERROR_FIELD_TYPE},
    {"type 5", CALL "05000100", REQ, CODEC_ERROR_FIELD_TYPE},
    {"type 7", CALL "07000100", REQ, CODEC_ERROR_FIELD_TYPE},
    {"type 9", CALL "09000100", REQ, CODEC_ERROR_FIELD_TYPE},
    {"type 17", CALL "11000100", REQ, CODEC_ERROR_FIELD_TYPE},
    {"type 0x7f", CALL "7f000100", REQ, CODEC_ERROR_FIELD_TYPE},
    {"type 0x80", CALL "80000100", REQ, CODEC_ERROR_FIELD_TYPE},
    {"type 0xff", CALL "ff", REQ, CODEC_ERROR_FIELD_TYPE},

    /* strings */
    {"empty string", CALL "0b0001 00000000 00", REQ, CODEC_ERROR_NONE},
    {"string", CALL "0b0001 00000002 6869 00", REQ, CODEC_ERROR_NONE},
    {"length -1", CALL "0b0001 ffffffff 00", REQ, CODEC_ERROR_STRING_LENGTH},
    {"length -16", CALL "0b0001 fffffff0 00", REQ, CODEC_ERROR_STRING_LENGTH},
    {"length 2^31-1", CALL "0b0001 7fffffff 00", REQ, CODEC_ERROR_STRING_LENGTH},
    {"length one too many", CALL "0b0001 00000002 00", REQ, CODEC_ERROR_STRING_LENGTH},
    {"eats the STOP", CALL "0b0001 00000001 00", REQ, CODEC_ERROR_CUT},
    {"cut in the length", CALL "0b0001 0000", REQ, CODEC_ERROR_CUT},

    /* structs */
    {"empty struct", CALL "0c0001 00 00", REQ, CODEC_ERROR_NONE},
    {"struct in struct", CALL "0c0001 0c0001 02000101 00 00 00", REQ, CODEC_ERROR_NONE},
    {"inner STOP missing", CALL "0c0001 02000101 00", REQ, CODEC_ERROR_CUT},

    /* containers */
    {"list of i32", CALL "0f0001 08 00000002 00000000 00000001 00", REQ, CODEC_ERROR_NONE},
    {"set of bool", CALL "0e0001 02 00000003 000102 00", REQ, CODEC_ERROR_NONE},
    {"list of uuid", CALL "0f0001 10 00000001 00112233445566778899aabbccddeeff 00", REQ,
     CODEC_ERROR_NONE},
    {"list of strings", CALL "0f0001 0b 00000002 00000000 00000001 61 00", REQ, CODEC_ERROR_NONE},
    {"list of structs", CALL "0f0001 0c 00000002 00 02000100 00 00", REQ, CODEC_ERROR_NONE},
    {"list of lists", CALL "0f0001 0f 00000002 02 00000000 02 00000001 01 00", REQ,
     CODEC_ERROR_NONE},
    {"map of i32 to i64", CALL "0d0001 080a 00000001 00000000 0000000000000000 00", REQ,
     CODEC_ERROR_NONE},
    {"map of string to i32", CALL "0d0001 0b08 00000001 00000001 61 00000000 00", REQ,
     CODEC_ERROR_NONE},
    {"map of struct to map", CALL "0d0001 0c0d 00000001 00 0202 00000001 0101 00", REQ,
     CODEC_ERROR_NONE},
    {"empty list of type 0", CALL "0f0001 00 00000000 00", REQ, CODEC_ERROR_NONE},
    {"empty list of type 0xee", CALL "0f0001 ee 00000000 00", REQ, CODEC_ERROR_NONE},
    {"empty map 0/0", CALL "0d0001 0000 00000000 00", REQ, CODEC_ERROR_NONE},
    {"list of type 0", CALL "0f0001 00 00000001 00", REQ, CODEC_ERROR_ELEMENT_TYPE},
    {"list of type 1", CALL "0f0001 01 00000001 00 00", REQ, CODEC_ERROR_ELEMENT_TYPE},
    {"2^31-1 of type 1", CALL "0f0001 01 7fffffff 00", REQ, CODEC_ERROR_ELEMENT_TYPE},
    {"list of type 9", CALL "0f0001 09 00000001 00", REQ, CODEC_ERROR_ELEMENT_TYPE},
    {"map with key type 0", CALL "0d0001 000b 00000001 00000000 00", REQ, CODEC_ERROR_ELEMENT_TYPE},
    {"map with value type 7", CALL "0d0001 0b07 00000001 00000000 00", REQ,
     CODEC_ERROR_ELEMENT_TYPE},
    {"count -1", CALL "0f0001 08 ffffffff 00", REQ, CODEC_ERROR_COUNT},
    {"count 2^31-1 of bool", CALL "0f0001 02 7fffffff 00", REQ, CODEC_ERROR_COUNT},
    {"count 2^29 of i64", CALL "0f0001 0a 20000000 00", REQ, CODEC_ERROR_COUNT},
    {"count 2^28 of uuid", CALL "0f0001 10 10000000 00", REQ, CODEC_ERROR_COUNT},
    {"count 2^31-1 of struct", CALL "0f0001 0c 7fffffff 00", REQ, CODEC_ERROR_COUNT},
    {"one element too many", CALL "0f0001 08 00000002 00000000 000000", REQ, CODEC_ERROR_COUNT},
    {"map with a pair too many", CALL "0d0001 0202 00000002 010101", REQ, CODEC_ERROR_COUNT},
    {"map count 2^31-1", CALL "0d0001 0202 7fffffff 010101", REQ, CODEC_ERROR_COUNT},
    {"string length in a list", CALL "0f0001 0b 00000001 00000009 00", REQ,
     CODEC_ERROR_STRING_LENGTH},
    {"cut in a list's header", CALL "0f0001 08 000000", REQ, CODEC_ERROR_CUT},
    {"cut in a list of strings", CALL "0f0001 0b 00000002 00000002 6161 0000", REQ,
     CODEC_ERROR_CUT},
    {"inner list counts too much", CALL "0f0001 0f 00000001 08 00000001 00", REQ,
     CODEC_ERROR_COUNT},

    /* ends */
    {"trailing byte", CALL "00 00", REQ, CODEC_ERROR_TRAILING},
    {"trailing bytes", CALL "02000101 00 01020304", REQ, CODEC_ERROR_TRAILING},
    {"a second message", CALL "00" CALL "00", REQ, CODEC_ERROR_TRAILING},
    {"a second struct", CALL "02000101 00 02000101 00", REQ, CODEC_ERROR_TRAILING},

    /* structs alone */
    {"a struct", "0c0000 00 00", STR, CODEC_ERROR_NONE},
    {"an empty struct", "00", STR, CODEC_ERROR_NONE},
    {"no struct", "", STR, CODEC_ERROR_CUT},
    {"two structs", "0000", STR, CODEC_ERROR_TRAILING},
};

static void check_fed(const char *what, const struct feed_outcome *whole,
                      const struct feed_outcome *other, const char *how, size_t n)
{
    if (!feed_same(whole, other)) {
        fail_msg("%s: %s %zu: \"%s\" at %" PRIu32 " instead of \"%s\" at %" PRIu32, what, how, n,
                 codec_error_str(other->error), other->error_off, codec_error_str(whole->error),
                 whole->error_off);
    }
}

/* The outcome, which must not depend on how the bytes come. */
static struct feed_outcome feed_all_ways(const char *what, enum codec_scan_kind kind,
                                         const struct bytes *b)
{
    static const size_t budgets[] = {0, 1, 2, 3, 7, 64};
    struct feed_outcome whole = feed_whole(&guard, kind, b->p, b->len);
    struct feed_outcome other;

    for (size_t step = 1; step <= 5; step++) {
        other = feed_steps(&guard, kind, b->p, b->len, step, SIZE_MAX);
        check_fed(what, &whole, &other, "steps of", step);
    }
    for (size_t cut = 0; cut <= b->len; cut++) {
        other = feed_cut(&guard, kind, b->p, b->len, cut);
        check_fed(what, &whole, &other, "cut at", cut);
    }
    for (size_t i = 0; i < sizeof budgets / sizeof budgets[0]; i++) {
        other = feed_steps(&guard, kind, b->p, b->len, b->len, budgets[i]);
        check_fed(what, &whole, &other, "budget", budgets[i]);
        other = feed_steps(&guard, kind, b->p, b->len, 1, budgets[i]);
        check_fed(what, &whole, &other, "byte by byte and budget", budgets[i]);
    }
    return whole;
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes b = {0};
        bytes_put_hex(&b, rows[i].hex);
        struct feed_outcome outcome = feed_all_ways(rows[i].what, rows[i].kind, &b);
        if (outcome.error != rows[i].error) {
            fail_msg("%s: \"%s\" instead of \"%s\"", rows[i].what, codec_error_str(outcome.error),
                     codec_error_str(rows[i].error));
        }
        assert_int_equal(codec_error_is_header(outcome.error),
                         !outcome.header_done && rows[i].kind != STR);
        bytes_done(&b);
    }
}

/* Without the rest of a frame having arrived. */
static void test_hopeless_frames_end_at_once(void **state)
{
    static const struct {
        const char *hex; /* what has arrived */
        uint32_t frame_len;
        enum codec_error error;
    } early[] = {
        {"", 11, CODEC_ERROR_HEADER_SHORT},
        {"80020001", 100, CODEC_ERROR_VERSION},
        {"80010002", 100, CODEC_ERROR_MESSAGE_TYPE},
        {"80010001 00000059", 100, CODEC_ERROR_NAME_LENGTH},
        {CALL "05", 100, CODEC_ERROR_FIELD_TYPE},
        {CALL "0b0001 00000051", 100, CODEC_ERROR_STRING_LENGTH},
        {CALL "0f0001 0a 0000000a", 100, CODEC_ERROR_COUNT},
        {CALL "0f0001 00 00000001", 100, CODEC_ERROR_ELEMENT_TYPE},
        {CALL "00", 100, CODEC_ERROR_TRAILING},
        {CALL "02", 15, CODEC_ERROR_CUT},
    };

    for (size_t i = 0; i < sizeof early / sizeof early[0]; i++) {
        struct bytes b = {0};
        struct codec_scan scan;
        bytes_put_hex(&b, early[i].hex);
        codec_scan_begin(&scan, REQ, early[i].frame_len);
        assert_int_equal(codec_scan_run(&scan, guard_copy(&guard, b.p, b.len), b.len, 1000),
                         CODEC_SCAN_BAD);
        if (scan.error != early[i].error) {
            fail_msg("%s: \"%s\"", early[i].hex, codec_error_str(scan.error));
        }
        bytes_done(&b);
    }
}

static void test_message_fields(void **state)
{
    struct bytes b = {0};

    bytes_put_header(&b, WIRE_ONEWAY, "Service:Visit", -5);
    bytes_put_hex(&b, "0c0001 08000200000009 00 00");
    struct feed_outcome o = feed_all_ways("fields", REQ, &b);
    assert_true(o.done);
    assert_int_equal(o.message.type, WIRE_ONEWAY);
    assert_int_equal(o.message.seqid, -5);
    assert_int_equal(o.message.name.len, 13);
    assert_memory_equal(b.p + o.message.name.off, "Service:Visit", 13);
    assert_int_equal(wire_get32(b.p + o.message.seqid_off), 0xfffffffb);
    assert_int_equal(o.message.args_off, 25);
    assert_int_equal(o.message.field_id, 1);
    assert_int_equal(o.message.field_type, WIRE_STRUCT);
    assert_int_equal(o.message.field.off, 28);
    assert_int_equal(o.message.field.len, 8);
    bytes_done(&b);
}

/* A name of any length that fits is fine here; the caller judges it. */
static void test_long_name(void **state)
{
    struct bytes b = {0};
    char name[1001];

    memset(name, 'n', sizeof name - 1);
    name[sizeof name - 1] = '\0';
    bytes_put_header(&b, WIRE_CALL, name, 1);
    bytes_put8(&b, WIRE_STOP);
    struct feed_outcome o = feed_all_ways("long name", REQ, &b);
    assert_true(o.done);
    assert_int_equal(o.message.name.len, 1000);
    bytes_done(&b);
}

enum nest {
    NEST_STRUCT,
    NEST_LIST,
    NEST_MAP_KEY,
    NEST_MAP_VALUE,
    NEST_STRUCT_IN_LIST, /* lists, and an empty struct in the last one */
    NEST_STRUCT_IN_MAP,
    NEST_MAX
};

/* Arguments whose innermost level is at this depth. */
static void put_nested(struct bytes *b, enum nest nest, int depth)
{
    static const struct {
        const char *field, *level, *inner;
        int inner_levels; /* of which the last one is the innermost */
    } nests[NEST_MAX] = {
        [NEST_STRUCT] = {"0c0001", "0c0001", "", 1},
        [NEST_LIST] = {"0f0001", "0f00000001", "0200000000", 1},
        [NEST_MAP_KEY] = {"0d0001", "0d0200000001", "020200000000", 1},
        [NEST_MAP_VALUE] = {"0d0001", "020d0000000101", "020200000000", 1},
        [NEST_STRUCT_IN_LIST] = {"0f0001", "0f00000001", "0c00000001 00", 2},
        [NEST_STRUCT_IN_MAP] = {"0d0001", "020d0000000101", "0c0c00000001 0000", 2},
    };

    bytes_put_hex(b, CALL);
    if (depth > nests[nest].inner_levels) {
        bytes_put_hex(b, nests[nest].field);
        for (int i = 1 + nests[nest].inner_levels; i < depth; i++) {
            bytes_put_hex(b, nests[nest].level);
        }
        bytes_put_hex(b, nests[nest].inner);
        for (int i = 2; i < depth && nest == NEST_MAP_KEY; i++) {
            bytes_put8(b, 1);
        }
        for (int i = 1; i < depth && nest == NEST_STRUCT; i++) {
            bytes_put8(b, WIRE_STOP);
        }
    }
    bytes_put8(b, WIRE_STOP);
}

static void test_depth(void **state)
{
    static const int depths[] = {1, 2, 3, 63, 64, 65, 66, 100, 10000};

    for (int nest = 0; nest < NEST_MAX; nest++) {
        for (size_t i = 0; i < sizeof depths / sizeof depths[0]; i++) {
            struct bytes b = {0};
            char what[64];
            snprintf(what, sizeof what, "nest %d depth %d", nest, depths[i]);
            put_nested(&b, (enum nest)nest, depths[i]);
            struct feed_outcome o =
                b.len < 2000 ? feed_all_ways(what, REQ, &b) : feed_whole(&guard, REQ, b.p, b.len);
            enum codec_error wanted =
                depths[i] <= WIRE_DEPTH_MAX ? CODEC_ERROR_NONE : CODEC_ERROR_DEPTH;
            if (o.error != wanted) {
                fail_msg("%s: \"%s\"", what, codec_error_str(o.error));
            }
            bytes_done(&b);
        }
    }
}

/* Where Base is, by the bytes found there: "-" for nowhere. */
static const struct {
    const char *what;
    const char *hex; /* the arguments */
    const char *base;
    int16_t id;
} bases[] = {
    {"none", "00", "-", 0},
    {"an argument without it", "0c0001 02000101 00 00", "-", 0},
    {"field 255 of the argument", "0c0001 0c00ff 02000101 00 00 00", "02000101 00", 1},
    {"of a later argument", "0c0007 0c00ff 02000101 00 00 00", "02000101 00", 7},
    {"of the arguments", "0c00ff 02000101 00 00", "02000101 00", 255},
    {"an empty one", "0c00ff 00 00", "00", 255},
    {"the arguments' own wins", "0c0001 0c00ff 02000101 00 00 0c00ff 00 00", "00", 255},
    {"... in any order", "0c00ff 00 0c0001 0c00ff 02000101 00 00 00", "00", 255},
    {"the lowest argument counts", "0c0002 0c00ff 02000101 00 00 0c0001 0c00ff 00 00 00", "00", 1},
    {"... though it has none", "0c0002 0c00ff 02000101 00 00 0c0001 00 00", "-", 0},
    {"negative ids are lower", "0c0001 0c00ff 00 00 0cffff 0c00ff 02000101 00 00 00", "02000101 00",
     -1},
    {"no struct is no argument", "080001 00000000 0c0002 0c00ff 00 00 00", "00", 2},
    {"another type under 255", "0c0001 0800ff 00000000 00 00", "-", 0},
    {"a list of structs", "0f0001 0c 00000001 0c00ff 00 00 00", "-", 0},
    {"deeper than the argument", "0c0001 0c0001 0c00ff 00 00 00 00", "-", 0},
    {"a map with structs", "0d0001 0c0c 00000001 0c00ff0000 0c00ff0000 00", "-", 0},
    {"the last 255 counts", "0c0001 0c00ff 02000101 00 0c00ff 00 00 00", "00", 1},
    {"... as no struct", "0c0001 0c00ff 02000101 00 0200ff01 00 00", "-", 0},
    {"... as a struct again", "0c0001 0200ff01 0c00ff 00 00 00", "00", 1},
    {"the last own 255 counts", "0c00ff 02000101 00 0c00ff 00 00", "00", 255},
    {"... as no struct: back to the argument", "0c00ff 00 0c0001 0c00ff 02000101 00 00 0200ff01 00",
     "02000101 00", 1},
    {"the last of the lowest counts", "0c0001 0c00ff 02000101 00 00 0c0001 0c00ff 00 00 00", "00",
     1},
    {"... without one", "0c0001 0c00ff 02000101 00 00 0c0001 00 00", "-", 0},
    {"... as no struct", "0c0001 0c00ff 00 00 02000101 0c0002 0c00ff 00 00 00", "-", 0},
    {"... as a struct again", "02000101 0c0001 0c00ff 00 00 00", "00", 1},
    {"fields behind it", "0c0001 0c00ff 02000101 00 02010001 0b0101 00000000 00 00", "02000101 00",
     1},
    {"255 below a list is no Base", "0c0001 0f0002 0c 00000001 0c00ff0000 00 00", "-", 0},
};

static void check_base(const char *what, const struct bytes *b, const struct feed_outcome *o,
                       const char *hex, int16_t id)
{
    struct bytes wanted = {0};

    assert_true(o->done);
    if (strcmp(hex, "-") == 0) {
        if (o->message.has_base) {
            fail_msg("%s: Base at %" PRIu32, what, o->message.base.off);
        }
        return;
    }
    bytes_put_hex(&wanted, hex);
    if (!o->message.has_base || o->message.base_field_id != id ||
        o->message.base.len != wanted.len ||
        memcmp(b->p + o->message.base.off, wanted.p, wanted.len) != 0) {
        fail_msg("%s: Base %d in %d at %" PRIu32 " of %" PRIu32, what, o->message.has_base,
                 o->message.base_field_id, o->message.base.off, o->message.base.len);
    }
    bytes_done(&wanted);
}

static void test_base_of_requests(void **state)
{
    for (size_t i = 0; i < sizeof bases / sizeof bases[0]; i++) {
        struct bytes b = {0};
        bytes_put_hex(&b, CALL);
        bytes_put_hex(&b, bases[i].hex);
        struct feed_outcome o = feed_all_ways(bases[i].what, REQ, &b);
        check_base(bases[i].what, &b, &o, bases[i].base, bases[i].id);
        bytes_done(&b);
    }
}

static void test_base_resp_of_replies(void **state)
{
    static const struct {
        const char *what;
        const char *hex;
        const char *base;
    } replies[] = {
        {"success with BaseResp", "0c0000 0c00ff 02000101 00 00 00", "02000101 00"},
        {"success without", "0c0000 00 00", "-"},
        {"void", "00", "-"},
        {"a declared exception", "0c0001 0c00ff 00 00 00", "-"},
        {"success is no struct", "080000 00000000 00", "-"},
        {"255 of the result itself", "0c00ff 00 00", "-"},
        {"last success counts", "0c0000 0c00ff 00 00 080000 00000000 00", "-"},
        {"behind another field", "0c0000 0c00ff 00 00 0c0001 00 00", "00"},
    };

    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct bytes b = {0};
        bytes_put_hex(&b, REPLY);
        bytes_put_hex(&b, replies[i].hex);
        struct feed_outcome o = feed_all_ways(replies[i].what, REP, &b);
        check_base(replies[i].what, &b, &o, replies[i].base, 0);
        bytes_done(&b);
    }
}

static void test_last_field_of_replies(void **state)
{
    struct bytes b = {0};

    bytes_put_hex(&b, REPLY "080000 00000001 0f0002 02 00000002 0101 00");
    struct feed_outcome o = feed_all_ways("last field", REP, &b);
    assert_true(o.done && o.message.has_field);
    assert_int_equal(o.message.field_id, 2);
    assert_int_equal(o.message.field_type, WIRE_LIST);
    assert_int_equal(o.message.field.off, 23);
    assert_int_equal(o.message.field.len, 7);
    b.len = 0;
    bytes_put_hex(&b, REPLY "00");
    o = feed_all_ways("void", REP, &b);
    assert_true(o.done && !o.message.has_field);
    bytes_done(&b);
}

/* A body that is nothing but the same few bytes, over and over. */
static void put_run(struct bytes *b, const char *begin, const char *unit, uint32_t units,
                    const char *end)
{
    struct bytes one = {0};

    bytes_put_hex(&one, unit);
    bytes_put_hex(b, CALL);
    bytes_put_hex(b, begin);
    if (strlen(begin) > 6) { /* a container: its count is the last thing */
        wire_put32(b->p + b->len - 4, units);
    }
    for (uint32_t i = 0; i < units; i++) {
        bytes_put(b, one.p, one.len);
    }
    bytes_put_hex(b, end);
    bytes_done(&one);
}

/* Turns of 64 KiB: none of these may hold the loop for all of its megabyte. */
static void test_budget_holds_for_tiny_tokens(void **state)
{
    static const struct {
        const char *what, *begin, *unit, *end;
        uint32_t units;
    } runs[] = {
        {"empty structs in a list", "0f0001 0c 00000000", "00", "00", 1000000},
        {"empty strings in a list", "0f0001 0b 00000000", "00000000", "00", 250000},
        {"empty lists in a list", "0f0001 0f 00000000", "0200000000", "00", 200000},
        {"empty structs in a map", "0d0001 0c0c 00000000", "0000", "00", 500000},
        {"bools and strings in a map", "0d0001 020b 00000000", "0100000000", "00", 200000},
        {"one-byte fields", "0c0001", "02000101", "0000", 250000},
        {"one-byte arguments", "020001", "01020001", "0100", 250000},
        {"empty struct fields", "0c0001", "0c000100", "0000", 250000},
    };

    for (size_t i = 0; i < sizeof runs / sizeof runs[0]; i++) {
        struct bytes b = {0};
        struct codec_scan scan;
        size_t yields = 0;
        put_run(&b, runs[i].begin, runs[i].unit, runs[i].units, runs[i].end);
        codec_scan_begin(&scan, REQ, (uint32_t)b.len);
        while (codec_scan_run(&scan, b.p, b.len, 65536) == CODEC_SCAN_YIELD) {
            yields++;
        }
        if (scan.error != CODEC_ERROR_NONE || yields + 1 < b.len / 65536) {
            fail_msg("%s: \"%s\", %zu turns for %zu bytes", runs[i].what,
                     codec_error_str(scan.error), yields + 1, b.len);
        }
        bytes_done(&b);
    }
}

/* Bytes that are stepped over are not examined: no turn is lost on them. */
static void test_budget_is_not_spent_on_what_is_skipped(void **state)
{
    struct bytes b = {0};
    struct codec_scan scan;

    put_run(&b, "0f0001 0a 00000000", "0000000000000000", 100000, "00");
    codec_scan_begin(&scan, REQ, (uint32_t)b.len);
    assert_int_equal(codec_scan_run(&scan, b.p, b.len, 1000), CODEC_SCAN_DONE);
    bytes_done(&b);
}

/* The elements need not be there to be stepped over. */
static void test_skips_ahead_of_what_arrived(void **state)
{
    struct bytes b = {0};
    struct codec_scan scan;

    put_run(&b, "0f0001 0a 00000000", "0000000000000000", 1000, "00");
    codec_scan_begin(&scan, REQ, (uint32_t)b.len);
    for (size_t avail = 30; avail < b.len; avail += 997) {
        const uint8_t *p = guard_copy(&guard, b.p, avail);
        assert_int_equal(codec_scan_run(&scan, p, avail, 65536), CODEC_SCAN_MORE);
    }
    const uint8_t *p = guard_copy(&guard, b.p, b.len);
    assert_int_equal(codec_scan_run(&scan, p, b.len, 65536), CODEC_SCAN_DONE);
    bytes_done(&b);
}

static void test_every_error_has_a_text(void **state)
{
    for (int i = 0; i < CODEC_ERROR_MAX; i++) {
        assert_true(strlen(codec_error_str((enum codec_error)i)) > 0);
    }
    assert_string_equal(codec_error_str(CODEC_ERROR_TRAILING), "bytes behind the message");
    assert_string_equal(codec_error_str(CODEC_ERROR_MAX), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_hopeless_frames_end_at_once),
        cmocka_unit_test(test_message_fields),
        cmocka_unit_test(test_long_name),
        cmocka_unit_test(test_depth),
        cmocka_unit_test(test_base_of_requests),
        cmocka_unit_test(test_base_resp_of_replies),
        cmocka_unit_test(test_last_field_of_replies),
        cmocka_unit_test(test_budget_holds_for_tiny_tokens),
        cmocka_unit_test(test_budget_is_not_spent_on_what_is_skipped),
        cmocka_unit_test(test_skips_ahead_of_what_arrived),
        cmocka_unit_test(test_every_error_has_a_text),
    };

    guard_init(&guard, BIG_BYTES);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
