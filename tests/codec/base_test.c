/*
 * tests/codec/base_test.c: Base in all of its published numberings, and in none of them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/base.h"
#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

static struct guard guard;

#define LOG_ID "0b0001 00000002 4c31 "    /* "L1" */
#define CALLER "0b0002 00000002 4331 "    /* "C1" */
#define ENTRY  "00000001 6b 00000001 76 " /* k = v */
#define EXTRA  "0b0b 00000001 " ENTRY

static const struct row {
    const char *what;
    const char *hex; /* Base's fields; the STOP is added */
    const char *log_id;
    const char *caller;
    int extra_id; /* 0: none */
    uint32_t count;
} rows[] = {
    {"nothing", "", NULL, NULL, 0, 0},
    {"A, canonical",
     LOG_ID CALLER "0b0003 00000000 0b0004 00000000 0c0005 02000101 00 0d0006" EXTRA, "L1", "C1", 6,
     1},
    {"B, without 4 and 5", LOG_ID CALLER "0b0003 00000000 0d0006" EXTRA, "L1", "C1", 6, 1},
    {"C, Extra in 5", LOG_ID CALLER "0b0003 00000000 0b0004 00000000 0d0005" EXTRA, "L1", "C1", 5,
     1},
    {"D, Extra in 1", "0d0001" EXTRA, NULL, NULL, 1, 1},
    {"E, Extra in 3", LOG_ID CALLER "0d0003" EXTRA, "L1", "C1", 3, 1},
    {"F, nothing in its place",
     "0b0000 00000000" LOG_ID CALLER "0c0005 00 0c00ff 0d0001" EXTRA "00 0c0100 00", "L1", "C1", 0,
     0},
    {"any order", "0d0006" EXTRA CALLER LOG_ID, "L1", "C1", 6, 1},
    {"the lowest map counts", "0d0006" EXTRA "0d0003 0b0b 00000000", NULL, NULL, 3, 0},
    {"empty, 11/11", "0d0006 0b0b 00000000", NULL, NULL, 6, 0},
    {"empty, 0/0", "0d0006 0000 00000000", NULL, NULL, 6, 0},
    {"empty, other types", "0d0006 080b 00000000", NULL, NULL, 0, 0},
    {"empty, 11/0", "0d0006 0b00 00000000", NULL, NULL, 0, 0},
    {"map of string to i32", "0d0003 0b08 00000001 00000001 6b 00000000 0d0006" EXTRA, NULL, NULL,
     6, 1},
    {"maps elsewhere", "0d0002" EXTRA "0d0004" EXTRA "0d0007" EXTRA "0dffff" EXTRA, NULL, NULL, 0,
     0},
    {"LogID of another type", "080001 00000000" CALLER, NULL, "C1", 0, 0},
    {"Caller of another type", LOG_ID "0c0002 00", "L1", NULL, 0, 0},
    {"empty LogID", "0b0001 00000000", "", NULL, 0, 0},
    {"the last LogID counts", "0b0001 00000000" LOG_ID, "L1", NULL, 0, 0},
    {"... as another type", LOG_ID "020001 01", NULL, NULL, 0, 0},
    {"the last Extra counts", "0d0006" EXTRA "0d0006 0b0b 00000000", NULL, NULL, 6, 0},
    {"... as another type", "0d0003" EXTRA "0d0006" EXTRA "020003 01", NULL, NULL, 6, 1},
    {"... as another map", "0d0003" EXTRA "0d0003 0808 00000000", NULL, NULL, 0, 0},
    {"... as a map again", "020003 01 0d0003" EXTRA, NULL, NULL, 3, 1},
    {"everything between",
     "0f000a 0b 00000001 00000001 61 0e000b 0c 00000002 00 00 0d000c 0b0f 00000001 00000000 0b "
     "00000001 00000000 0d000d 0806 00000001 00000001 0002 10000e 00112233445566778899aabbccddeeff"
     "0d0003" EXTRA,
     NULL, NULL, 3, 1},
};

static void check_text(const char *what, const uint8_t *body, bool has, struct wire_span span,
                       const char *wanted)
{
    if (has != (wanted != NULL) || (wanted && (span.len != strlen(wanted) ||
                                               memcmp(body + span.off, wanted, span.len) != 0))) {
        fail_msg("%s: %.*s instead of %s", what, has ? (int)span.len : 1,
                 has ? (const char *)body + span.off : "-", wanted ? wanted : "-");
    }
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes b = {0};
        struct codec_base base;
        bytes_put_hex(&b, "ffffffff"); /* Base does not begin a body */
        bytes_put_hex(&b, rows[i].hex);
        bytes_put8(&b, WIRE_STOP);
        const uint8_t *body = guard_copy(&guard, b.p, b.len);
        codec_base_read(body, (struct wire_span){4, (uint32_t)b.len - 4}, &base);
        check_text(rows[i].what, body, base.has_log_id, base.log_id, rows[i].log_id);
        check_text(rows[i].what, body, base.has_caller, base.caller, rows[i].caller);
        if (base.extra.present != (rows[i].extra_id != 0) ||
            base.extra.field_id != rows[i].extra_id || base.extra.count != rows[i].count) {
            fail_msg("%s: Extra %d under %d with %u", rows[i].what, base.extra.present,
                     base.extra.field_id, base.extra.count);
        }
        assert_int_equal(base.stop_off, b.len - 1);
        bytes_done(&b);
    }
}

static void test_types_of_fields(void **state)
{
    struct bytes b = {0};
    struct codec_base base;

    bytes_put_hex(&b, LOG_ID "080002 00000000 0b0004 00000000 020004 01 0c0006 00 00");
    codec_base_read(guard_copy(&guard, b.p, b.len), (struct wire_span){0, (uint32_t)b.len}, &base);
    static const uint8_t wanted[7] = {0, WIRE_STRING, WIRE_I32, 0, WIRE_BOOL, 0, WIRE_STRUCT};
    assert_memory_equal(base.types, wanted, sizeof wanted);
    bytes_done(&b);
}

/* Base with Extra of these entries at the guard page; the body begins with four other bytes. */
static const uint8_t *put_extra(struct bytes *b, size_t n, const char *const entries[][2],
                                struct codec_base *ret)
{
    bytes_put32(b, 0xffffffff);
    bytes_put_field(b, WIRE_MAP, 6);
    bytes_put_map(b, WIRE_STRING, WIRE_STRING, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        bytes_put_text(b, entries[i][0]);
        bytes_put_text(b, entries[i][1]);
    }
    bytes_put8(b, WIRE_STOP);
    const uint8_t *body = guard_copy(&guard, b->p, b->len);
    codec_base_read(body, (struct wire_span){4, (uint32_t)b->len - 4}, ret);
    return body;
}

static void test_extra_find(void **state)
{
    static const char *const entries[][2] = {
        {"cluster", "first"}, {"", "empty key"}, {"env", ""}, {"cluster", "last"}, {"clust", "x"}};
    struct bytes b = {0};
    struct codec_base base;
    struct wire_span value = {1, 2};
    const uint8_t *body = put_extra(&b, 5, entries, &base);

    assert_int_equal(base.extra.count, 5);
    assert_false(codec_extra_find(body, &base.extra, "none", 4, &value));
    assert_true(value.off == 1 && value.len == 2); /* untouched */
    assert_true(codec_extra_find(body, &base.extra, "cluster", 7, &value));
    assert_int_equal(value.len, 4);
    assert_memory_equal(body + value.off, "last", 4);
    assert_true(codec_extra_find(body, &base.extra, "", 0, &value));
    assert_memory_equal(body + value.off, "empty key", 9);
    assert_true(codec_extra_find(body, &base.extra, "env", 3, &value));
    assert_int_equal(value.len, 0);
    bytes_done(&b);
}

static void test_extra_find_many(void **state)
{
    static const char *const entries[][2] = {{"a", "1"}, {"b", "22"}, {"a", "333"}};
    static const struct codec_key keys[] = {{"b", 1}, {"none", 4}, {"a", 1}};
    struct wire_span values[3] = {{9, 9}, {9, 9}, {9, 9}};
    struct bytes b = {0};
    struct codec_base base;
    const uint8_t *body = put_extra(&b, 3, entries, &base);

    codec_extra_find_many(body, &base.extra, 3, keys, values);
    assert_int_equal(values[0].len, 2);
    assert_int_equal(values[1].off, 0);
    assert_int_equal(values[2].len, 3);
    assert_memory_equal(body + values[2].off, "333", 3);
    bytes_done(&b);
}

static void test_find_without_extra(void **state)
{
    static const struct codec_key keys[] = {{"a", 1}};
    struct codec_extra extra = {0};
    struct wire_span value = {9, 9};

    assert_false(codec_extra_find(NULL, &extra, "a", 1, &value));
    codec_extra_find_many(NULL, &extra, 1, keys, &value);
    assert_int_equal(value.off, 0);
}

static void test_base_resp_code(void **state)
{
    static const struct {
        const char *hex;
        bool found;
        int32_t code;
    } replies[] = {
        {"80010002 00000000 00000000 0c0000 0c00ff 0b0001 00000001 6f 080002 000003eb 00 00 00",
         true, 1003},
        {"80010002 00000000 00000000 0c0000 0c00ff 080002 ffffffff 00 00 00", true, -1},
        {"80010002 00000000 00000000 0c0000 0c00ff 00 00 00", false, 0},
        {"80010002 00000000 00000000 0c0000 0c00ff 060002 0001 00 00 00", false, 0},
        {"80010002 00000000 00000000 0c0000 0c00ff 080002 00000001 080002 00000002 00 00 00", true,
         2},
        {"80010002 00000000 00000000 0c0000 0c00ff 080002 00000001 060002 0002 00 00 00", false, 0},
        {"80010002 00000000 00000000 0c0001 0c00ff 080002 00000001 00 00 00", false, 0},
        {"80010002 00000000 00000000 0c0000 00 00", false, 0},
        {"80010002 00000000 00000000 00", false, 0},
        {"80010003 00000000 00000000 0c0000 0c00ff 080002 00000001 00 00 00", false, 0},
    };

    for (size_t i = 0; i < sizeof replies / sizeof replies[0]; i++) {
        struct bytes b = {0};
        struct codec_scan scan;
        int32_t code = 0;
        bytes_put_hex(&b, replies[i].hex);
        const uint8_t *body = guard_copy(&guard, b.p, b.len);
        codec_scan_begin(&scan, CODEC_SCAN_REPLY, (uint32_t)b.len);
        assert_int_equal(codec_scan_run(&scan, body, b.len, b.len), CODEC_SCAN_DONE);
        bool found = codec_base_resp_code(body, &scan.message, &code);
        if (found != replies[i].found || code != replies[i].code) {
            fail_msg("%s: %d, %d", replies[i].hex, found, code);
        }
        bytes_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_types_of_fields),
        cmocka_unit_test(test_extra_find),
        cmocka_unit_test(test_extra_find_many),
        cmocka_unit_test(test_find_without_extra),
        cmocka_unit_test(test_base_resp_code),
    };

    guard_init(&guard, 4096);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
