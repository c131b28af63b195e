/*
 * tests/codec/ttheader_edit_test.c: headers that are written, to the byte.
 *
 * Random edits of random headers are ttheader_oracle_test.c's.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/ttheader_edit.h"
#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

#define LIMIT 1000

static struct guard guard;
static struct guard out_guard;

/* CALL "f", seqid 7, no arguments: 14 bytes. */
#define MSG "80010001 00000001 66 00000007 00"

#define INT(id_, value_)                                                                           \
    {                                                                                              \
        .id = (id_), .value = (value_), .value_len = sizeof(value_) - 1                            \
    }
#define TEXT(key_, value_)                                                                         \
    {                                                                                              \
        .key = (key_), .key_len = sizeof(key_) - 1, .value = (value_),                             \
        .value_len = sizeof(value_) - 1                                                            \
    }
#define NO_INT(id_)                                                                                \
    {                                                                                              \
        .id = (id_)                                                                                \
    }
#define NO_TEXT(key_)                                                                              \
    {                                                                                              \
        .key = (key_), .key_len = sizeof(key_) - 1                                                 \
    }

#define EDITS_MAX 4

static size_t count(const struct codec_ttheader_edit edits[EDITS_MAX])
{
    size_t n = 0;

    while (n < EDITS_MAX && (edits[n].key || edits[n].id > 0)) {
        n++;
    }
    return n;
}

/* The written header with the message behind it, against these bytes. */
static void check_written(const char *what, const struct codec_ttheader_plan *plan,
                          const struct bytes *wanted)
{
    struct bytes b = {0};
    uint8_t *out = guard_room(&out_guard, plan->bytes);

    memset(out, 0xa5, plan->bytes);
    codec_ttheader_write(plan, out);
    bytes_put(&b, out, plan->bytes);
    bytes_put_hex(&b, MSG);
    if (b.len != wanted->len || memcmp(b.p, wanted->p, b.len) != 0) {
        for (size_t i = 0; i < b.len; i++) {
            fprintf(stderr, "%02x", b.p[i]);
        }
        fail_msg("\n%s: not the bytes that are wanted", what);
    }
    bytes_done(&b);
}

/* --- fresh ones --- */

/* What protocol/ttheader of cloudwego/gopkg 0.1.4 encodes for the same entries. */
static const struct {
    const char *what;
    const char *hex;
    int32_t sequence;
    bool is_inner_framed;
    struct codec_ttheader_edit entries[EDITS_MAX];
} fresh[] = {
    {"nothing", "0000001c 10000000 00000002 0001 0000 0000" MSG, 2, false, {{0}}},
    {"a number",
     "0000002c 10000000 00000003 0005 0000 10 0001 0003 0008 6170702e66656564 000000" MSG,
     3,
     false,
     {INT(3, "app.feed")}},
    {"a method",
     "00000028 10000000 00000003 0004 0000 10 0001 0009 0005 5669736974 0000" MSG,
     3,
     false,
     {INT(9, "Visit")}},
    {"a reply that asks for another connection: text comes first",
     "00000030 10000000 00000003 0006 0000 01 0001 0005 6372727374 0001 31"
     "10 0001 0016 0001 32 00" MSG,
     3,
     false,
     {INT(22, "2"), TEXT("crrst", "1")}},
    {"an inner frame (not of that encoder)",
     "00000020 10000000 fffffff9 0001 0000 0000 0000000e" MSG,
     -7,
     true,
     {{0}}},
    {"an empty value",
     "00000024 10000000 00000001 0003 0000 10 0001 0007 0000 0000 00" MSG,
     1,
     false,
     {INT(7, "")}},
    {"what removes is not added",
     "0000001c 10000000 00000002 0001 0000 0000" MSG,
     2,
     false,
     {NO_INT(3), NO_TEXT("crrst")}},
};

static void test_fresh(void **state)
{
    for (size_t i = 0; i < sizeof fresh / sizeof fresh[0]; i++) {
        struct codec_ttheader_plan plan;
        struct bytes wanted = {0};
        const struct codec_ttheader_to to = {fresh[i].sequence, 14, fresh[i].is_inner_framed};
        assert_true(
            codec_ttheader_plan_fresh(&plan, count(fresh[i].entries), fresh[i].entries, &to));
        bytes_put_hex(&wanted, fresh[i].hex);
        check_written(fresh[i].what, &plan, &wanted);
        bytes_done(&wanted);
    }
}

/* --- edited ones --- */

/* A token, a retry marker and a budget as the encoder above writes them, flags 1, framed inside. */
#define KITEX                                                                                      \
    "0000004c 10000001 fffffff9 000c 0000 11 0003 746f6b"                                          \
    "01 0001 0014 5250435f504552534953545f5265747279526571 0001 31 10 0001 000c 0003 323530"       \
    "0000 0000000e" MSG

#define NAMES "10 0002 0003 0001 61 0006 0002 6263"

static const struct {
    const char *what;
    const char *before; /* info blocks, padded where they need it */
    const char *after;
    struct codec_ttheader_edit edits[EDITS_MAX];
} edited[] = {
    {"nothing", NAMES, NAMES, {{0}}},
    {"the first of a block, longer",
     NAMES,
     "10 0002 0003 0003 787878 0006 0002 6263",
     {INT(3, "xxx")}},
    {"the last of a block, shorter", NAMES, "10 0002 0003 0001 61 0006 0000", {INT(6, "")}},
    {"both", NAMES, "10 0002 0003 0001 78 0006 0001 79", {INT(6, "y"), INT(3, "x")}},
    {"the first of a block goes", NAMES, "10 0001 0006 0002 6263", {NO_INT(3)}},
    {"the last of a block goes", NAMES, "10 0001 0003 0001 61", {NO_INT(6)}},
    {"all of a block go, it stays", NAMES, "10 0000", {NO_INT(6), NO_INT(3)}},
    {"the only text goes",
     "11 0001 74 01 0001 0001 6b 0001 76" NAMES,
     "11 0001 74 01 0000" NAMES,
     {NO_TEXT("k")}},
    {"added to a block, in the order of the edits",
     NAMES,
     "10 0004 0003 0001 61 0006 0002 6263 000c 0001 37 0009 0001 66",
     {INT(12, "7"), NO_INT(5), INT(9, "f")}},
    {"added to an empty block", "01 0000", "01 0001 0001 6b 0001 76", {TEXT("k", "v")}},
    {"added to a new block at the end", NAMES, NAMES "01 0001 0001 6b 0000", {TEXT("k", "")}},
    {"added to two new blocks",
     "11 0001 74",
     "11 0001 74 01 0001 0001 6b 0000 10 0001 0009 0000",
     {INT(9, ""), TEXT("k", "")}},
    {"added in front of what follows the block",
     "10 0000 00 00 01 0001 0001 6b 0001 76",
     "10 0001 0009 0001 66 00 00 01 0001 0001 6b 0001 76",
     {INT(9, "f")}},
    {"added to the last of two blocks",
     "10 0001 0003 0000 10 0001 0004 0000 11 0000",
     "10 0001 0003 0000 10 0002 0004 0000 0009 0000 11 0000",
     {INT(9, "")}},
    {"one is set, one goes, one is added",
     NAMES,
     "10 0002 0003 0001 78 0009 0001 66",
     {INT(3, "x"), NO_INT(6), INT(9, "f")}},
    {"of two with a key the last is set, the first goes",
     "10 0004 0009 0001 61 0003 0001 78 0009 0001 62 0004 0000",
     "10 0003 0003 0001 78 0009 0001 66 0004 0000",
     {INT(9, "f")}},
    {"... in two blocks, too",
     "01 0001 0001 6b 0001 61 01 0002 0000 0000 0001 6b 0001 62",
     "01 0000 01 0002 0000 0000 0001 6b 0002 7979",
     {TEXT("k", "yy")}},
    {"all with a key go",
     "10 0003 0009 0001 61 0003 0001 78 0009 0001 62",
     "10 0001 0003 0001 78",
     {NO_INT(9)}},
    {"a number is no text, and a token neither",
     "11 0001 6b 10 0001 6b00 0000 01 0001 0001 6b 0000",
     "11 0001 6b 10 0001 6b00 0000 01 0000",
     {NO_TEXT("k")}},
    {"a text is no number",
     "01 0001 0009 393939393939393939 0000",
     "01 0001 0009 393939393939393939 0000",
     {NO_INT(9)}},
    {"an empty key is a key", "01 0001 0000 0001 61", "01 0001 0000 0001 62", {TEXT("", "b")}},
    {"padding that nobody needs goes", "0000 00000000 00000000", "", {NO_INT(9)}},
    {"padding between blocks stays",
     "00 00 00 11 0000 00 00 00 00 10 0000 00 00 00 00",
     "00 00 00 11 0000 00 00 00 00 10 0000",
     {NO_INT(9)}},
};

static void put_header(struct bytes *b, const char *info)
{
    bytes_put_hex(b, "00000000 1000ff01 fffffffb 0000 0000");
    bytes_put_hex(b, info);
    while (b->len % 4 != 2) {
        bytes_put8(b, 0);
    }
    wire_put16(b->p + 12, (uint16_t)((b->len - CODEC_TTHEADER_FIXED_BYTES) / 4));
    bytes_put_hex(b, MSG);
    wire_put32(b->p, (uint32_t)b->len - 4);
}

static void read_header(const struct bytes *b, struct codec_ttheader *ret)
{
    codec_ttheader_begin(ret, LIMIT);
    enum codec_ttheader_status status = codec_ttheader_run(ret, b->p, b->len);

    if (status != CODEC_TTHEADER_DONE) {
        fail_msg("\"%s\" at %" PRIu32, codec_ttheader_error_str(ret->error), ret->error_off);
    }
}

/* The edits, made as the sequence and the framing that came. */
static void check_edited(const char *what, const struct bytes *before, const struct bytes *after,
                         const struct codec_ttheader_edit edits[EDITS_MAX])
{
    struct codec_ttheader_plan plan;
    struct codec_ttheader h;

    read_header(before, &h);
    assert_int_equal(h.total_bytes, before->len);
    const struct codec_ttheader_to to = {h.sequence, 14, h.is_inner_framed};
    const uint8_t *p = guard_copy(&guard, before->p, h.info_end);
    assert_true(codec_ttheader_plan(&plan, p, &h, count(edits), edits, &to));
    check_written(what, &plan, after);
}

static void test_edited(void **state)
{
    for (size_t i = 0; i < sizeof edited / sizeof edited[0]; i++) {
        struct bytes before = {0};
        struct bytes after = {0};
        put_header(&before, edited[i].before);
        put_header(&after, edited[i].after);
        check_edited(edited[i].what, &before, &after, edited[i].edits);
        bytes_done(&before);
        bytes_done(&after);
    }
}

static void test_kitex_stays_kitex(void **state)
{
    static const struct codec_ttheader_edit none[EDITS_MAX] = {{0}};
    struct bytes b = {0};

    bytes_put_hex(&b, KITEX);
    check_edited("Kitex's", &b, &b, none);
    bytes_done(&b);
}

static void test_sequence_and_inner_frame_change(void **state)
{
    struct codec_ttheader_plan plan;
    struct codec_ttheader h;
    struct bytes b = {0};
    struct bytes wanted = {0};
    const struct codec_ttheader_to to = {0x01020304, 14, false};

    bytes_put_hex(&b, "00000020 1000ff01 00000001 0001 0000 0000 0000000e" MSG);
    read_header(&b, &h);
    assert_true(codec_ttheader_plan(&plan, b.p, &h, 0, NULL, &to));
    bytes_put_hex(&wanted, "0000001c 1000ff01 01020304 0001 0000 0000" MSG);
    check_written("flags stay", &plan, &wanted);
    bytes_done(&wanted);
    bytes_done(&b);
}

/* --- entries of Extra --- */

#define PREFIX "RPC_PERSIST_"

static const struct codec_key persist = {PREFIX, sizeof PREFIX - 1};

/* A Base with n entries in Extra, which is read. */
static void put_extra(struct bytes *b, size_t n, const char *const entries[][2],
                      struct codec_base *ret)
{
    bytes_put_hex(b, "0000"); /* a value at 0 would look absent */
    bytes_put_field(b, WIRE_MAP, 6);
    bytes_put_map(b, WIRE_STRING, WIRE_STRING, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        bytes_put_text(b, entries[i][0]);
        bytes_put_text(b, entries[i][1]);
    }
    bytes_put8(b, WIRE_STOP);
    codec_base_read(b->p, (struct wire_span){2, (uint32_t)b->len - 2}, ret);
}

static void check_edit(const struct codec_ttheader_edit *edit, const char *key, const char *value)
{
    assert_int_equal(edit->key_len, strlen(key));
    assert_memory_equal(edit->key, key, edit->key_len);
    assert_int_equal(edit->value_len, strlen(value));
    assert_memory_equal(edit->value, value, edit->value_len);
}

static void test_entries_of_extra(void **state)
{
    static const char *const entries[][2] = {
        {"cluster", "blue"},    {PREFIX "a", "1"},       {PREFIX "own", "2"},
        {"RPC_TRANSIT_x", "3"}, {"RPC_PERSIST", "4"},    {PREFIX, "5"},
        {PREFIX "a", "6"},      {"xRPC_PERSIST_b", "7"}, {PREFIX "empty", ""},
    };
    struct codec_ttheader_edits edits = {.len = 2, .at = {INT(9, "f"), TEXT(PREFIX "own", "mine")}};
    struct codec_base base;
    struct bytes b = {0};

    put_extra(&b, sizeof entries / sizeof entries[0], entries, &base);
    codec_ttheader_edits_add_extra(&edits, b.p, &base.extra, persist);
    assert_int_equal(edits.len, 5);
    assert_false(edits.left_out);
    check_edit(&edits.at[1], PREFIX "own", "mine");
    check_edit(&edits.at[2], PREFIX "a", "6");
    check_edit(&edits.at[3], PREFIX, "5");
    check_edit(&edits.at[4], PREFIX "empty", "");
    bytes_done(&b);
}

static void test_without_extra(void **state)
{
    struct codec_ttheader_edits edits = {0};
    const struct codec_extra none = {0};

    codec_ttheader_edits_add_extra(&edits, (const uint8_t *)"", &none, persist);
    assert_int_equal(edits.len, 0);
    assert_false(edits.left_out);
}

/* n entries with keys that repeat after `keys` of them. */
static struct codec_ttheader_edits add_many(size_t n, size_t keys, struct bytes *b)
{
    static char texts[1000][40];
    static const char *entries[1000][2];
    struct codec_ttheader_edits edits = {0};
    struct codec_base base;

    for (size_t i = 0; i < n; i++) {
        snprintf(texts[i], sizeof texts[i], PREFIX "%zu", i % keys);
        entries[i][0] = texts[i];
        entries[i][1] = i < keys ? "old" : "new";
    }
    put_extra(b, n, entries, &base);
    codec_ttheader_edits_add_extra(&edits, b->p, &base.extra, persist);
    return edits;
}

static void test_more_entries_than_there_is_room(void **state)
{
    static const struct {
        size_t n, keys, len;
        bool left_out;
    } rows[] = {
        {CODEC_TTHEADER_EDITS_MAX, 64, 64, false},
        {CODEC_TTHEADER_EDITS_MAX + 1, 65, 64, true},
        {CODEC_TTHEADER_EXTRA_MAX, 64, 64, false},
        {CODEC_TTHEADER_EXTRA_MAX + 1, 64, 64, true},
        {CODEC_TTHEADER_EXTRA_MAX, 1, 1, false},
        {CODEC_TTHEADER_EXTRA_MAX + 1, 1, 1, true},
        {1000, 1000, 64, true},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes b = {0};
        struct codec_ttheader_edits edits = add_many(rows[i].n, rows[i].keys, &b);
        assert_int_equal(edits.len, rows[i].len);
        assert_int_equal(edits.left_out, rows[i].left_out);
        check_edit(&edits.at[0], PREFIX "0", rows[i].n > rows[i].keys ? "new" : "old");
        bytes_done(&b);
    }
}

static void test_a_value_too_long_for_a_header(void **state)
{
    static char text[CODEC_TTHEADER_TEXT_MAX + 2];
    const char *const entries[][2] = {{PREFIX "long", text}, {PREFIX "b", "1"}};
    struct codec_ttheader_edits edits = {0};
    struct codec_base base;
    struct bytes b = {0};

    memset(text, 'v', CODEC_TTHEADER_TEXT_MAX + 1);
    put_extra(&b, 2, entries, &base);
    codec_ttheader_edits_add_extra(&edits, b.p, &base.extra, persist);
    assert_true(edits.left_out);
    assert_int_equal(edits.len, 1);
    check_edit(&edits.at[0], PREFIX "b", "1");
    bytes_done(&b);
}

static void test_members_of_user_extra(void **state)
{
    static const char text[] =
        "{\"RPC_PERSIST_a\":\"1\",\"RPC_PERSIST_\\u0062\":\"\\n2\",\"x\":\"3\","
        "\"RPC_PERSIST_own\":\"4\",\"RPC_PERSIST_a\":\"5\"}";
    struct codec_ttheader_edits edits = {.len = 1, .at = {TEXT(PREFIX "own", "mine")}};
    struct json_members members = {.prefix = persist.name, .prefix_len = persist.len};
    char bytes[128];
    struct codec_ttheader_room room = {bytes, sizeof bytes, 0};

    assert_true(json_list((const uint8_t *)text, sizeof text - 1, &members));
    codec_ttheader_edits_add_json(&edits, (const uint8_t *)text, &members, &room);
    assert_int_equal(edits.len, 3);
    assert_false(edits.left_out);
    check_edit(&edits.at[0], PREFIX "own", "mine");
    check_edit(&edits.at[1], PREFIX "a", "5");
    check_edit(&edits.at[2], PREFIX "b", "\n2");
    assert_int_equal(room.len, 13 + 1 + 13 + 2 + 15 + 1 + 13 + 1);
}

/* A name without its value is not there. */
static void test_room_for_members(void **state)
{
    static const char text[] = "{\"RPC_PERSIST_a\":\"123\",\"RPC_PERSIST_b\":\"4\"}";
    struct json_members members = {.prefix = persist.name, .prefix_len = persist.len};
    char bytes[32];

    assert_true(json_list((const uint8_t *)text, sizeof text - 1, &members));
    for (size_t cap = 0; cap <= 30; cap++) {
        struct codec_ttheader_edits edits = {0};
        struct codec_ttheader_room room = {bytes, cap, 0};
        codec_ttheader_edits_add_json(&edits, (const uint8_t *)text, &members, &room);
        assert_true(room.len <= cap);
        assert_int_equal(edits.left_out, cap < 30);
        assert_int_equal(edits.len, cap < 14 ? 0 : cap < 30 ? 1 : 2);
    }
    members.left_out = true;
    struct codec_ttheader_edits edits = {0};
    struct codec_ttheader_room room = {bytes, sizeof bytes, 0};
    codec_ttheader_edits_add_json(&edits, (const uint8_t *)text, &members, &room);
    assert_true(edits.left_out);
}

/* --- limits --- */

static char long_text[CODEC_TTHEADER_TEXT_MAX + 1];

static bool plans_fresh(size_t n, const struct codec_ttheader_edit edits[], uint32_t message_bytes,
                        uint32_t *ret_bytes)
{
    struct codec_ttheader_plan plan;
    const struct codec_ttheader_to to = {1, message_bytes, false};
    bool ok = codec_ttheader_plan_fresh(&plan, n, edits, &to);

    if (ok) {
        *ret_bytes = plan.bytes;
        codec_ttheader_write(&plan, guard_room(&out_guard, plan.bytes));
    }
    return ok;
}

static void test_lengths_that_do_not_fit(void **state)
{
    struct codec_ttheader_edit edit = {.id = 9, .value = long_text};
    uint32_t bytes;

    edit.value_len = CODEC_TTHEADER_TEXT_MAX;
    assert_true(plans_fresh(1, &edit, 14, &bytes));
    assert_int_equal(bytes, 14 + 65544);
    edit.value_len++;
    assert_false(plans_fresh(1, &edit, 14, &bytes));
    edit = (struct codec_ttheader_edit){
        .key = long_text, .key_len = CODEC_TTHEADER_TEXT_MAX, .value = ""};
    assert_true(plans_fresh(1, &edit, 14, &bytes));
    edit.key_len++;
    assert_false(plans_fresh(1, &edit, 14, &bytes));
    /* To remove it is no more than to look for it. */
    edit.value = NULL;
    assert_true(plans_fresh(1, &edit, 14, &bytes));
}

/* Header sizes end at 262,140, lengths at 2^30 - 1. */
static void test_sizes_that_do_not_fit(void **state)
{
    struct codec_ttheader_edit edits[] = {{.id = 1, .value = long_text, .value_len = 65535},
                                          {.id = 2, .value = long_text, .value_len = 65535},
                                          {.id = 3, .value = long_text, .value_len = 65535},
                                          {.id = 4, .value = long_text}};
    uint32_t bytes;

    /* 2 and 3 bytes in front of entries of 4 and the value. */
    edits[3].value_len = CODEC_TTHEADER_SIZE_MAX - 5 - 3 * (4 + 65535) - 4;
    assert_true(plans_fresh(4, edits, 14, &bytes));
    assert_int_equal(bytes, CODEC_TTHEADER_BYTES_MAX);
    edits[3].value_len++;
    assert_false(plans_fresh(4, edits, 14, &bytes));

    assert_true(plans_fresh(0, NULL, CODEC_TTHEADER_LENGTH_MAX - 18, &bytes));
    assert_false(plans_fresh(0, NULL, CODEC_TTHEADER_LENGTH_MAX - 17, &bytes));
}

static void test_as_many_edits_as_there_may_be(void **state)
{
    struct codec_ttheader_edit edits[CODEC_TTHEADER_EDITS_MAX] = {{0}};
    uint32_t bytes;

    for (size_t i = 0; i < CODEC_TTHEADER_EDITS_MAX; i++) {
        edits[i] = (struct codec_ttheader_edit){.id = (uint16_t)i, .value = "v", .value_len = 1};
    }
    assert_true(plans_fresh(CODEC_TTHEADER_EDITS_MAX, edits, 14, &bytes));
    assert_int_equal(bytes, 14 + 328); /* 2 + 3 + 64 * 5, padded */
}

/* A hostile header of nothing but one key: it shrinks to one entry. */
static void test_a_key_many_times(void **state)
{
    struct codec_ttheader_edit edit = {.id = 9, .value = long_text, .value_len = 256};
    struct codec_ttheader_plan plan;
    struct codec_ttheader h;
    struct bytes b = {0};
    const struct codec_ttheader_to to = {1, 14, false};

    bytes_put_hex(&b, "00000000 10000000 00000001 ffff 0000 10 0fff");
    for (uint32_t i = 0; i < 0x0fff; i++) {
        bytes_put_hex(&b, "0009 0000");
    }
    while (b.len < CODEC_TTHEADER_BYTES_MAX) {
        bytes_put8(&b, 0);
    }
    bytes_put_hex(&b, MSG);
    wire_put32(b.p, (uint32_t)b.len - 4);
    read_header(&b, &h);
    assert_true(codec_ttheader_plan(&plan, b.p, &h, 1, &edit, &to));
    assert_int_equal(plan.bytes, 14 + 268); /* 2 + 3 + 4 + 256, padded */
    codec_ttheader_write(&plan, guard_room(&out_guard, plan.bytes));
    bytes_done(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fresh),
        cmocka_unit_test(test_edited),
        cmocka_unit_test(test_kitex_stays_kitex),
        cmocka_unit_test(test_sequence_and_inner_frame_change),
        cmocka_unit_test(test_entries_of_extra),
        cmocka_unit_test(test_without_extra),
        cmocka_unit_test(test_more_entries_than_there_is_room),
        cmocka_unit_test(test_a_value_too_long_for_a_header),
        cmocka_unit_test(test_members_of_user_extra),
        cmocka_unit_test(test_room_for_members),
        cmocka_unit_test(test_lengths_that_do_not_fit),
        cmocka_unit_test(test_sizes_that_do_not_fit),
        cmocka_unit_test(test_as_many_edits_as_there_may_be),
        cmocka_unit_test(test_a_key_many_times),
    };

    guard_init(&guard, 1 << 20);
    guard_init(&out_guard, 1 << 20);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    guard_done(&out_guard);
    return failed;
}
