/*
 * tests/codec/rewrite_name_test.c: the name loses its prefix, alone and beside other edits.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/rewrite.h"

#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <string.h>

#include <cmocka.h>

#define SEQID_BEFORE 7
#define SEQID_AFTER  99
#define PREFIX       ((uint16_t)strlen("Service:"))

static struct guard guard;

/* Base with one entry in Extra, k = value, between other fields. */
static void put_frame(struct bytes *b, const char *name, const char *value, int32_t seqid)
{
    bytes_put32(b, 0);
    bytes_put_header(b, WIRE_CALL, name, seqid);
    bytes_put_string_field(b, 1, "payload in front");
    bytes_put_field(b, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
    bytes_put_string_field(b, 1, "L1");
    bytes_put_field(b, WIRE_MAP, 6);
    bytes_put_map(b, WIRE_STRING, WIRE_STRING, 1);
    bytes_put_text(b, "k");
    bytes_put_text(b, value);
    bytes_put8(b, WIRE_STOP);
    bytes_put8(b, WIRE_STOP);
    wire_put32(b->p, (uint32_t)b->len - WIRE_FRAME_LEN_BYTES);
}

/* A frame as it came; edited as often as a test wants. */
struct subject {
    uint8_t *frame; /* ends at the forbidden page */
    uint32_t body_len;
    struct codec_scan scan;
    struct codec_base base;
    struct codec_rewrite rewrite;
};

static void subject_init(struct subject *s, const char *name)
{
    struct bytes came = {0};
    put_frame(&came, name, "1", SEQID_BEFORE);
    memset(s, 0, sizeof *s);
    s->frame = guard_copy(&guard, came.p, came.len);
    s->body_len = (uint32_t)came.len - WIRE_FRAME_LEN_BYTES;
    bytes_done(&came);
    codec_scan_begin(&s->scan, CODEC_SCAN_REQUEST, s->body_len);
    assert_int_equal(
        codec_scan_run(&s->scan, s->frame + WIRE_FRAME_LEN_BYTES, s->body_len, s->body_len),
        CODEC_SCAN_DONE);
    codec_base_read(s->frame + WIRE_FRAME_LEN_BYTES, s->scan.message.base, &s->base);
}

static void set_k(struct subject *s, const char *value)
{
    struct codec_entry entry = {"k", 1, value, strlen(value), {0, 0}};
    assert_true(
        codec_extra_find(s->frame + WIRE_FRAME_LEN_BYTES, &s->base.extra, "k", 1, &entry.old));
    codec_rewrite_extra_set(&s->rewrite, &s->base, CODEC_EXTRA_ID_AUTO, &entry);
}

/* What goes out without the name's first bytes is that frame. */
static void check(struct subject *s, uint16_t name_skip, uint32_t max_bytes, const char *name,
                  const char *value)
{
    struct iovec iov[CODEC_REWRITE_IOVS_MAX];
    struct bytes out = {0}, wanted = {0};
    const struct codec_rewrite_to to = {SEQID_AFTER, max_bytes, name_skip, WIRE_FRAME_LEN_BYTES};
    uint32_t len = 0;
    size_t n = codec_rewrite_finish(&s->rewrite, s->frame + WIRE_FRAME_LEN_BYTES, s->body_len,
                                    &s->scan.message, &to, iov, &len);
    wire_put32(iov[0].iov_base, len);
    for (size_t i = 0; i < n; i++) {
        bytes_put(&out, iov[i].iov_base, iov[i].iov_len);
    }
    put_frame(&wanted, name, value, SEQID_AFTER);
    assert_int_equal(out.len, WIRE_FRAME_LEN_BYTES + len);
    assert_int_equal(out.len, wanted.len);
    assert_memory_equal(out.p, wanted.p, wanted.len);
    bytes_done(&out);
    bytes_done(&wanted);
}

static void test_the_name_alone(void **state)
{
    (void)state;
    struct subject s;
    subject_init(&s, "Service:Visit");
    for (int attempt = 0; attempt < 2; attempt++) {
        codec_rewrite_begin(&s.rewrite);
        check(&s, PREFIX, s.body_len, "Visit", "1");
        assert_false(s.rewrite.dropped);
    }
}

static void test_an_empty_prefix_has_its_colon(void **state)
{
    (void)state;
    struct subject s;
    subject_init(&s, ":Visit");
    codec_rewrite_begin(&s.rewrite);
    check(&s, 1, s.body_len, "Visit", "1");
}

static void test_no_prefix_is_no_edit(void **state)
{
    (void)state;
    struct subject s;
    subject_init(&s, "Visit");
    codec_rewrite_begin(&s.rewrite);
    check(&s, 0, s.body_len, "Visit", "1");
}

/* Longer than the scratch: only its length is written anew. */
static void test_a_long_name(void **state)
{
    (void)state;
    char name[WIRE_NAME_MAX_BYTES + 16] = "Service:";
    struct subject s;
    memset(name + PREFIX, 'v', WIRE_NAME_MAX_BYTES);
    subject_init(&s, name);
    codec_rewrite_begin(&s.rewrite);
    check(&s, PREFIX, s.body_len, name + PREFIX, "1");
}

/* And again for a second attempt. */
static void test_beside_other_edits(void **state)
{
    (void)state;
    struct subject s;
    subject_init(&s, "Service:Visit");
    codec_rewrite_begin(&s.rewrite);
    set_k(&s, "longer");
    check(&s, PREFIX, s.body_len, "Visit", "longer");
    codec_rewrite_begin(&s.rewrite);
    set_k(&s, "2");
    check(&s, PREFIX, s.body_len, "Visit", "2");
}

/* The callee would not know the method otherwise. */
static void test_it_stays_where_others_are_dropped(void **state)
{
    (void)state;
    struct subject s;
    subject_init(&s, "Service:Visit");
    codec_rewrite_begin(&s.rewrite);
    set_k(&s, "much longer than what the name has lost");
    check(&s, PREFIX, s.body_len, "Visit", "1");
    assert_true(s.rewrite.dropped);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_name_alone),
        cmocka_unit_test(test_an_empty_prefix_has_its_colon),
        cmocka_unit_test(test_no_prefix_is_no_edit),
        cmocka_unit_test(test_a_long_name),
        cmocka_unit_test(test_beside_other_edits),
        cmocka_unit_test(test_it_stays_where_others_are_dropped),
    };
    guard_init(&guard, 4096);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
