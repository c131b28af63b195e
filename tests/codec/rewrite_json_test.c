/*
 * tests/codec/rewrite_json_test.c: members of the JSON text in user_extra, replaced where they stand.
 *
 * A message with the text before, edited, must be the message with the text after, to the byte.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/json_find.h"
#include "codec/rewrite.h"
#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

#define MEMBERS_MAX 8
#define AMPLE       100000

static struct guard guard;

/* What Base says beside the text. */
struct sides {
    const char *log_id;
    const char *budget; /* an entry behind user_extra */
};

/* A request whose Base has LogID, and in Extra user_extra between two others. */
static void put_message(struct bytes *b, const struct sides *sides, const char *text)
{
    b->len = 0;
    bytes_put_header(b, WIRE_CALL, "Visit", 7);
    bytes_put_field(b, WIRE_STRUCT, 1);
    bytes_put_field(b, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
    bytes_put_string_field(b, 1, sides->log_id);
    bytes_put_field(b, WIRE_MAP, 6);
    bytes_put_map(b, WIRE_STRING, WIRE_STRING, 3);
    bytes_put_text(b, "cluster");
    bytes_put_text(b, "blue");
    bytes_put_text(b, "user_extra");
    bytes_put_text(b, text);
    bytes_put_text(b, "budget");
    bytes_put_text(b, sides->budget);
    bytes_put_hex(b, "00 00 00");
}

struct subject {
    struct bytes came;
    const uint8_t *body; /* the same, at the forbidden page */
    struct codec_scan scan;
    struct codec_base base;
    struct codec_rewrite rewrite;
    struct bytes out;
};

static void subject_begin(struct subject *s, const struct sides *sides, const char *text)
{
    put_message(&s->came, sides, text);
    s->body = guard_copy(&guard, s->came.p, s->came.len);
    codec_scan_begin(&s->scan, CODEC_SCAN_REQUEST, (uint32_t)s->came.len);
    assert_int_equal(codec_scan_run(&s->scan, s->body, s->came.len, AMPLE), CODEC_SCAN_DONE);
    codec_base_read(s->body, s->scan.message.base, &s->base);
    memset(&s->rewrite, 0xa5, sizeof s->rewrite);
    codec_rewrite_begin(&s->rewrite);
}

static void subject_done(struct subject *s)
{
    bytes_done(&s->came);
    bytes_done(&s->out);
}

/* Where the value of this member is. */
static struct codec_json_member find(const struct subject *s, const char *name)
{
    struct json_wanted wanted = {.name = name, .name_len = strlen(name)};
    struct codec_json_member member;

    assert_true(codec_extra_find(s->body, &s->base.extra, "user_extra", 10, &member.text));
    assert_true(json_find(s->body + member.text.off, member.text.len, 1, &wanted));
    assert_true(wanted.found);
    member.raw = wanted.raw;
    return member;
}

static void set(struct subject *s, const char *name, const char *value)
{
    struct codec_json_member member = find(s, name);

    codec_rewrite_json_set(&s->rewrite, &member, value, strlen(value));
}

static void set_budget(struct subject *s, const char *value)
{
    struct codec_entry entry = {"budget", 6, value, strlen(value), {0, 0}};

    assert_true(codec_extra_find(s->body, &s->base.extra, "budget", 6, &entry.old));
    codec_rewrite_extra_set(&s->rewrite, &s->base, CODEC_EXTRA_ID_AUTO, &entry);
}

static void finish(struct subject *s, uint32_t max_bytes)
{
    struct iovec iov[CODEC_REWRITE_IOVS_MAX];
    const struct codec_rewrite_to to = {7, max_bytes, 0, 0};
    uint32_t len = 0;
    size_t n = codec_rewrite_finish(&s->rewrite, s->body, (uint32_t)s->came.len, &s->scan.message,
                                    &to, iov, &len);

    s->out.len = 0;
    for (size_t i = 0; i < n; i++) {
        bytes_put(&s->out, iov[i].iov_base, iov[i].iov_len);
    }
    assert_int_equal(s->out.len, len);
}

static void check(const char *what, const struct subject *s, const struct sides *sides,
                  const char *text)
{
    struct bytes wanted = {0};

    put_message(&wanted, sides, text);
    if (s->out.len != wanted.len || memcmp(s->out.p, wanted.p, wanted.len) != 0) {
        fail_msg("%s: not the message with %s", what, text);
    }
    bytes_done(&wanted);
}

static const struct sides same = {"L1", "9"};

static void test_rows(void **state)
{
    static const struct {
        const char *what;
        const char *before;
        const char *after;
        const char *edits[MEMBERS_MAX][2];
    } rows[] = {
        {"as long", "{\"a\":\"1\"}", "{\"a\":\"2\"}", {{"a", "2"}}},
        {"longer", "{\"a\":\"1\"}", "{\"a\":\"222\"}", {{"a", "222"}}},
        {"empty", "{\"a\":\"123\"}", "{\"a\":\"\"}", {{"a", ""}}},
        {"blanks stay", " { \"a\" : \"1\" } ", " { \"a\" : \"22\" } ", {{"a", "22"}}},
        {"escaped", "{\"a\":\"1\"}", "{\"a\":\"\\\"\\\\\"}", {{"a", "\"\\"}}},
        {"was escaped", "{\"\\u0061\":\"\\u0031\"}", "{\"\\u0061\":\"2\"}", {{"a", "2"}}},
        {"the last of two counts",
         "{\"a\":\"1\",\"a\":\"2\"}",
         "{\"a\":\"1\",\"a\":\"3\"}",
         {{"a", "3"}}},
        {"the others stay",
         "{\"b\":[{\"a\":\"0\"}],\"a\":\"1\",\"c\":null}",
         "{\"b\":[{\"a\":\"0\"}],\"a\":\"333\",\"c\":null}",
         {{"a", "333"}}},
        {"two", "{\"a\":\"1\",\"b\":\"22\"}", "{\"a\":\"\",\"b\":\"3\"}", {{"a", ""}, {"b", "3"}}},
        {"two, the other way round",
         "{\"a\":\"1\",\"b\":\"22\"}",
         "{\"a\":\"11\",\"b\":\"3\"}",
         {{"b", "3"}, {"a", "11"}}},
        {"one twice",
         "{\"a\":\"1\",\"b\":\"2\"}",
         "{\"a\":\"4\",\"b\":\"5\"}",
         {{"a", "333"}, {"b", "5"}, {"a", "4"}}},
        {"nothing", "{\"a\":\"1\"}", "{\"a\":\"1\"}", {{0}}},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct subject s = {0};
        subject_begin(&s, &same, rows[i].before);
        for (size_t k = 0; rows[i].edits[k][0]; k++) {
            set(&s, rows[i].edits[k][0], rows[i].edits[k][1]);
        }
        assert_false(s.rewrite.dropped);
        finish(&s, AMPLE);
        check(rows[i].what, &s, &same, rows[i].after);
        subject_done(&s);
    }
}

/* Edits of Base and of the text in one message, in any order; then the next attempt. */
static void test_beside_other_edits(void **state)
{
    static const struct sides before = {"", "9"};
    static const struct sides after = {"L1", "250"};

    for (unsigned order = 0; order < 6; order++) {
        struct subject s = {0};
        subject_begin(&s, &before, "{\"a\":\"1\",\"b\":\"2\"}");
        for (unsigned attempt = 0; attempt < 2; attempt++) {
            codec_rewrite_begin(&s.rewrite);
            for (unsigned i = 0; i < 3; i++) {
                switch ((i + order + attempt) % 3) {
                case 0:
                    set(&s, order < 3 ? "a" : "b", "333");
                    break;
                case 1:
                    set_budget(&s, "250");
                    break;
                default:
                    codec_rewrite_log_id_set(&s.rewrite, &s.base, "L1", 2);
                    break;
                }
            }
            finish(&s, AMPLE);
            check("mixed", &s, &after,
                  order < 3 ? "{\"a\":\"333\",\"b\":\"2\"}" : "{\"a\":\"1\",\"b\":\"333\"}");
        }
        subject_done(&s);
    }
}

static void add(struct subject *s, const char *behind, const char *key, const char *value)
{
    struct codec_json_member member = find(s, behind);
    const struct codec_entry entry = {key, strlen(key), value, strlen(value), {0, 0}};

    codec_rewrite_json_add(&s->rewrite, &member, &entry);
}

/* Behind a member that stays, or that is set before or afterwards. */
static void test_members_are_added(void **state)
{
    static const struct {
        const char *set_before, *set_after, *text;
    } rows[] = {
        {NULL, NULL, "{ \"a\" : \"1\",\"k\":\"v\",\"q\\\"\":\"\\\\\" , \"b\":\"2\"}"},
        {"333", NULL, "{ \"a\" : \"333\",\"k\":\"v\",\"q\\\"\":\"\\\\\" , \"b\":\"2\"}"},
        {NULL, "", "{ \"a\" : \"\",\"k\":\"v\",\"q\\\"\":\"\\\\\" , \"b\":\"2\"}"},
        {"333", "55", "{ \"a\" : \"55\",\"k\":\"v\",\"q\\\"\":\"\\\\\" , \"b\":\"2\"}"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct subject s = {0};
        subject_begin(&s, &same, "{ \"a\" : \"1\" , \"b\":\"2\"}");
        if (rows[i].set_before) {
            set(&s, "a", rows[i].set_before);
        }
        add(&s, "a", "k", "v");
        add(&s, "a", "q\"", "\\");
        if (rows[i].set_after) {
            set(&s, "a", rows[i].set_after);
        }
        assert_false(s.rewrite.dropped);
        finish(&s, AMPLE);
        check("added", &s, &same, rows[i].text);
        subject_done(&s);
    }
}

static void test_a_member_that_does_not_fit_is_not_added(void **state)
{
    struct subject s = {0};
    char value[CODEC_REWRITE_SCRATCH_BYTES + 2] = {0};

    subject_begin(&s, &same, "{\"a\":\"1\"}");
    /* A length of 4, a comma, a colon, and the key with two pairs of quotes beside it. */
    memset(value, 'v', CODEC_REWRITE_EDITS_BYTES - 11);
    add(&s, "a", "k", value);
    assert_false(s.rewrite.dropped);
    codec_rewrite_begin(&s.rewrite);
    value[CODEC_REWRITE_EDITS_BYTES - 11] = 'v';
    add(&s, "a", "k", value);
    assert_true(s.rewrite.dropped);
    finish(&s, AMPLE);
    check("too long", &s, &same, "{\"a\":\"1\"}");
    codec_rewrite_begin(&s.rewrite);
    add(&s, "a", "\xff", "v");
    assert_true(s.rewrite.dropped);
    finish(&s, AMPLE);
    check("no UTF-8", &s, &same, "{\"a\":\"1\"}");
    subject_done(&s);
}

static void test_what_does_not_fit_is_left_out(void **state)
{
    struct subject s = {0};
    char value[CODEC_REWRITE_SCRATCH_BYTES + 2];

    memset(value, 'v', sizeof value);
    subject_begin(&s, &same, "{\"a\":\"1\"}");
    struct codec_json_member member = find(&s, "a");
    /* A length of 4 and two quotes beside it. */
    for (size_t len = CODEC_REWRITE_EDITS_BYTES - 7; len < sizeof value; len++) {
        codec_rewrite_begin(&s.rewrite);
        codec_rewrite_json_set(&s.rewrite, &member, value, len);
        assert_int_equal(s.rewrite.dropped, len > CODEC_REWRITE_EDITS_BYTES - 6);
        finish(&s, AMPLE);
        if (s.rewrite.dropped) {
            check("too long", &s, &same, "{\"a\":\"1\"}");
        }
    }
    codec_rewrite_begin(&s.rewrite);
    codec_rewrite_json_set(&s.rewrite, &member, "\xff", 1);
    assert_true(s.rewrite.dropped);
    finish(&s, AMPLE);
    check("no UTF-8", &s, &same, "{\"a\":\"1\"}");
    subject_done(&s);
}

/* Eight splices: the length and seven members; of a ninth nothing is left behind. */
static void test_splices_are_used_up(void **state)
{
    struct subject s = {0};
    char name[2] = "a";

    subject_begin(&s, &same,
                  "{\"a\":\"\",\"b\":\"\",\"c\":\"\",\"d\":\"\",\"e\":\"\",\"f\":\"\",\"g\":\"\","
                  "\"h\":\"\"}");
    for (int i = 0; i < MEMBERS_MAX; i++) {
        assert_false(s.rewrite.dropped);
        name[0] = (char)('a' + i);
        set(&s, name, "xy");
    }
    assert_true(s.rewrite.dropped);
    finish(&s, AMPLE);
    check("seven", &s, &same,
          "{\"a\":\"xy\",\"b\":\"xy\",\"c\":\"xy\",\"d\":\"xy\",\"e\":\"xy\",\"f\":\"xy\","
          "\"g\":\"xy\",\"h\":\"\"}");
    subject_done(&s);
}

static void test_the_last_splice_is_not_half_an_edit(void **state)
{
    struct subject s = {0};

    subject_begin(&s, &same, "{\"a\":\"1\"}");
    s.rewrite.splices_len = CODEC_REWRITE_SPLICES_MAX - 1;
    memset(s.rewrite.splices, 0, sizeof s.rewrite.splices);
    set(&s, "a", "2");
    assert_true(s.rewrite.dropped);
    assert_int_equal(s.rewrite.splices_len, CODEC_REWRITE_SPLICES_MAX - 1);
    subject_done(&s);
}

static void test_only_one_text(void **state)
{
    struct subject s = {0};

    subject_begin(&s, &same, "{\"a\":\"1\"}");
    set(&s, "a", "2");
    struct codec_json_member other = find(&s, "a");
    other.text.off++;
    codec_rewrite_json_set(&s.rewrite, &other, "3", 1);
    assert_true(s.rewrite.dropped);
    finish(&s, AMPLE);
    check("the first", &s, &same, "{\"a\":\"2\"}");
    subject_done(&s);
}

static void test_the_frame_limit_drops_it(void **state)
{
    struct subject s = {0};

    subject_begin(&s, &same, "{\"a\":\"1\"}");
    set(&s, "a", "22");
    finish(&s, (uint32_t)s.came.len);
    assert_true(s.rewrite.dropped);
    check("no room", &s, &same, "{\"a\":\"1\"}");
    subject_done(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_beside_other_edits),
        cmocka_unit_test(test_members_are_added),
        cmocka_unit_test(test_a_member_that_does_not_fit_is_not_added),
        cmocka_unit_test(test_what_does_not_fit_is_left_out),
        cmocka_unit_test(test_splices_are_used_up),
        cmocka_unit_test(test_the_last_splice_is_not_half_an_edit),
        cmocka_unit_test(test_only_one_text),
        cmocka_unit_test(test_the_frame_limit_drops_it),
    };

    guard_init(&guard, 4096);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
