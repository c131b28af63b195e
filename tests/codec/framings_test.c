/*
 * tests/codec/framings_test.c: any framing into any other, by the pieces of codec/.
 *
 * What a sidecar will do with a call: find the message in what a caller sends, put the budget where the callee's
 * framing has a place for it, and send vectors over the bytes that came. The payload is never copied.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include "codec/frame.h"
#include "codec/rewrite.h"
#include "codec/sniff.h"
#include "codec/ttheader_edit.h"
#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

#define LIMIT       WIRE_FRAME_BYTES_DEFAULT
#define BUDGET_KEY  "RPC_PERSIST_DDL_REMAIN_TIME"
#define HEADER_ROOM 512
#define PAYLOAD     "an argument that is long enough to be told from everything else"
#define SEQID       0x01020304

static struct guard guard;

enum framing { FRAMED = 0, UNFRAMED, TTHEADER, TTHEADER_FRAMED, FRAMING_MAX };

static bool has_header(enum framing framing)
{
    return framing == TTHEADER || framing == TTHEADER_FRAMED;
}

/* What came, or what was sent, as it is read. */
struct received {
    const uint8_t *p;
    struct codec_ttheader header;
    struct wire_span message;
    struct codec_scan scan;
    struct codec_base base;
};

static void read_message(struct received *r, size_t len)
{
    const struct codec_sniff all = {true, true, true, LIMIT};
    enum codec_protocol protocol;
    uint32_t frame_len;

    assert_int_equal(codec_sniff(&all, r->p, len, &protocol), CODEC_SNIFF_ACCEPTED);
    r->message = (struct wire_span){0, (uint32_t)len};
    if (protocol == CODEC_PROTOCOL_TTHEADER) {
        codec_ttheader_begin(&r->header, LIMIT);
        assert_int_equal(codec_ttheader_run(&r->header, r->p, len), CODEC_TTHEADER_DONE);
        r->message = r->header.message;
    } else if (protocol == CODEC_PROTOCOL_FRAMED) {
        assert_int_equal(codec_frame_length(r->p, len, LIMIT, &frame_len), CODEC_FRAME_LENGTH);
        r->message = (struct wire_span){WIRE_FRAME_LEN_BYTES, frame_len};
    }
    if (protocol == CODEC_PROTOCOL_UNFRAMED) {
        codec_scan_begin_unframed(&r->scan, CODEC_SCAN_REQUEST, LIMIT);
    } else {
        codec_scan_begin(&r->scan, CODEC_SCAN_REQUEST, r->message.len);
    }
    assert_int_equal(codec_scan_run(&r->scan, r->p + r->message.off, r->message.len, LIMIT),
                     CODEC_SCAN_DONE);
    assert_int_equal(r->message.off + codec_scan_len(&r->scan), len);
    codec_base_read(r->p + r->message.off, r->scan.message.base, &r->base);
}

/* --- what a caller sends --- */

static const struct codec_ttheader_edit names[] = {
    {.id = CODEC_TTHEADER_KEY_FROM_SERVICE, .value = "app.feed", .value_len = 8},
    {.id = CODEC_TTHEADER_KEY_TO_METHOD, .value = "another", .value_len = 7},
    {.key = "RPC_TRANSIT_x", .key_len = 13, .value = "1", .value_len = 1},
};

static void put_message(struct bytes *b)
{
    bytes_put_header(b, WIRE_CALL, "Visit", 7);
    bytes_put_field(b, WIRE_STRUCT, 1);
    bytes_put_string_field(b, 1, PAYLOAD);
    bytes_put_field(b, WIRE_STRUCT, WIRE_BASE_FIELD_ID);
    bytes_put_string_field(b, 2, "app.feed");
    bytes_put_field(b, WIRE_MAP, 6);
    bytes_put_map(b, WIRE_STRING, WIRE_STRING, 1);
    bytes_put_text(b, BUDGET_KEY);
    bytes_put_text(b, "500");
    bytes_put_hex(b, "00 00 00");
}

static void put_call(struct bytes *b, enum framing framing)
{
    struct bytes message = {0};
    struct codec_ttheader_plan plan;
    uint8_t header[HEADER_ROOM];

    put_message(&message);
    const struct codec_ttheader_to to = {99, (uint32_t)message.len, framing == TTHEADER_FRAMED};
    if (framing == FRAMED) {
        bytes_put32(b, (uint32_t)message.len);
    } else if (has_header(framing)) {
        assert_true(codec_ttheader_plan_fresh(&plan, 3, names, &to));
        codec_ttheader_write(&plan, header);
        bytes_put(b, header, plan.bytes);
    }
    bytes_put(b, message.p, message.len);
    bytes_done(&message);
}

/* --- what the callee gets --- */

struct sent {
    struct codec_rewrite rewrite;
    uint8_t header[HEADER_ROOM];
    struct iovec iov[1 + CODEC_REWRITE_IOVS_MAX];
    size_t n;
};

static void edit_base(struct sent *sent, const struct received *r)
{
    struct codec_entry entry = {BUDGET_KEY, sizeof BUDGET_KEY - 1, "249", 3, {0, 0}};

    assert_true(codec_extra_find(r->p + r->message.off, &r->base.extra, entry.key, entry.key_len,
                                 &entry.old));
    codec_rewrite_extra_set(&sent->rewrite, &r->base, CODEC_EXTRA_ID_AUTO, &entry);
}

/* The caller's header with what is left and the method's name, or one that is made. */
static void lay_out_header(struct sent *sent, const struct received *r, enum framing from,
                           enum framing to_framing, uint32_t len)
{
    static const struct codec_ttheader_edit edits[] = {
        {.id = CODEC_TTHEADER_KEY_TO_METHOD, .value = "Visit", .value_len = 5},
        {.id = CODEC_TTHEADER_KEY_RPC_TIMEOUT, .value = "249", .value_len = 3},
        {.key = BUDGET_KEY, .key_len = sizeof BUDGET_KEY - 1, .value = "249", .value_len = 3},
    };
    const struct codec_ttheader_to to = {SEQID, len, to_framing == TTHEADER_FRAMED};
    struct codec_ttheader_plan plan;

    assert_true(has_header(from) ? codec_ttheader_plan(&plan, r->p, &r->header, 3, edits, &to)
                                 : codec_ttheader_plan_fresh(&plan, 3, edits, &to));
    assert_true(plan.bytes <= HEADER_ROOM);
    codec_ttheader_write(&plan, sent->header);
    sent->iov[0] = (struct iovec){sent->header, plan.bytes};
}

static void forward(struct sent *sent, const struct received *r, enum framing from, enum framing to)
{
    size_t first = has_header(to) ? 1 : 0;
    uint8_t head = to == FRAMED ? WIRE_FRAME_LEN_BYTES : 0;
    const struct codec_rewrite_to message_to = {SEQID, LIMIT, 0, head};
    uint32_t len;

    codec_rewrite_begin(&sent->rewrite);
    if (!has_header(to)) {
        edit_base(sent, r);
    }
    sent->n = first + codec_rewrite_finish(&sent->rewrite, r->p + r->message.off, r->message.len,
                                           &r->scan.message, &message_to, sent->iov + first, &len);
    if (to == FRAMED) {
        wire_put32(sent->iov[0].iov_base, len);
    } else if (has_header(to)) {
        lay_out_header(sent, r, from, to, len);
    }
}

/* --- what must be true of it --- */

static void check_value(const uint8_t *p, struct wire_span value, const char *wanted)
{
    assert_int_not_equal(value.off, 0);
    assert_int_equal(value.len, strlen(wanted));
    assert_memory_equal(p + value.off, wanted, value.len);
}

static void check_header(const struct received *r, enum framing from)
{
    const struct codec_key keys[] = {{BUDGET_KEY, sizeof BUDGET_KEY - 1}, {"RPC_TRANSIT_x", 13}};
    struct wire_span values[2];

    assert_int_equal(r->header.sequence, SEQID);
    check_value(r->p, r->header.ints[CODEC_TTHEADER_INT_TO_METHOD], "Visit");
    check_value(r->p, r->header.ints[CODEC_TTHEADER_INT_RPC_TIMEOUT], "249");
    codec_ttheader_find_many(r->p, &r->header, 2, keys, values);
    check_value(r->p, values[0], "249");
    if (has_header(from)) {
        check_value(r->p, r->header.ints[CODEC_TTHEADER_INT_FROM_SERVICE], "app.feed");
        check_value(r->p, values[1], "1");
    }
}

/* The argument lies in the caller's bytes, and in no others. */
static void check_payload_is_not_copied(const struct sent *sent, const struct received *came,
                                        size_t came_len)
{
    unsigned found = 0;

    for (size_t i = 0; i < sent->n; i++) {
        const uint8_t *p = sent->iov[i].iov_base;
        if (memmem(p, sent->iov[i].iov_len, PAYLOAD, sizeof PAYLOAD - 1)) {
            found++;
            assert_true(p >= came->p && p < came->p + came_len);
        }
    }
    assert_int_equal(found, 1);
}

static void check_pair(enum framing from, enum framing to)
{
    struct received came = {0};
    struct received got = {0};
    struct bytes call = {0};
    struct bytes out = {0};
    struct sent sent;
    struct wire_span budget;

    put_call(&call, from);
    came.p = guard_copy(&guard, call.p, call.len);
    read_message(&came, call.len);
    forward(&sent, &came, from, to);
    check_payload_is_not_copied(&sent, &came, call.len);
    for (size_t i = 0; i < sent.n; i++) {
        bytes_put(&out, sent.iov[i].iov_base, sent.iov[i].iov_len);
    }
    got.p = out.p;
    read_message(&got, out.len);
    assert_int_equal(got.scan.message.seqid, SEQID);
    assert_int_equal(got.scan.message.name.len, 5);
    assert_true(codec_extra_find(out.p + got.message.off, &got.base.extra, BUDGET_KEY,
                                 sizeof BUDGET_KEY - 1, &budget));
    check_value(out.p + got.message.off, budget, has_header(to) ? "500" : "249");
    if (has_header(to)) {
        check_header(&got, from);
        assert_int_equal(got.header.is_inner_framed, to == TTHEADER_FRAMED);
    }
    bytes_done(&call);
    bytes_done(&out);
}

static void test_any_into_any(void **state)
{
    for (int from = 0; from < FRAMING_MAX; from++) {
        for (int to = 0; to < FRAMING_MAX; to++) {
            check_pair((enum framing)from, (enum framing)to);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_any_into_any),
    };

    guard_init(&guard, 4096);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
