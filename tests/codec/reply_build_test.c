/*
 * tests/codec/reply_build_test.c: every reply that tside makes, read by libthrift_c_glib.
 *
 * The bytes are compared with the specification's as well, so that a template that came out
 * differently is noticed here and not by a client.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "codec/base.h"
#include "codec/reply_build.h"
#include "tests/codec/bytes.h"
#include "tests/codec/glib_reader.h"
#include "tests/support/guard.h"

#include <thrift/c_glib/thrift_application_exception.h>
#include <tside_base_types.h>

static struct guard guard;
static struct glib_reader *reader;
static struct codec_templates *templates;

enum body_kind { BODY_EXCEPTION = 0, BODY_BASE_RESP, BODY_VOID };

static size_t write_body(enum body_kind kind, int32_t code, const char *text, size_t len,
                         uint8_t *out, size_t cap)
{
    switch (kind) {
    case BODY_EXCEPTION:
        return codec_body_exception(templates, code, text, len, out, cap);
    case BODY_BASE_RESP:
        return codec_body_base_resp(templates, code, text, len, out, cap);
    default:
        return codec_body_void(templates, out, cap);
    }
}

/* The whole frame at the guard page, sized by asking first. */
static uint8_t *build(enum body_kind kind, const char *name, size_t name_len, int32_t seqid,
                      int32_t code, const char *text, size_t text_len, size_t *ret_len)
{
    size_t body_len = write_body(kind, code, text, text_len, NULL, 0);
    size_t header_len = codec_reply_header_size(name_len);
    size_t total = WIRE_FRAME_LEN_BYTES + header_len + body_len;
    uint8_t *frame = guard_room(&guard, total);
    uint8_t *message = frame + WIRE_FRAME_LEN_BYTES;
    enum wire_message_type type = kind == BODY_EXCEPTION ? WIRE_EXCEPTION : WIRE_REPLY;

    wire_put32(frame, (uint32_t)(header_len + body_len));
    assert_int_equal(
        codec_reply_header_write(message, type, (const uint8_t *)name, name_len, seqid),
        header_len);
    assert_int_equal(write_body(kind, code, text, text_len, message + header_len, body_len),
                     body_len);
    *ret_len = total;
    return frame;
}

static void test_bytes(void **state)
{
    static const struct {
        enum body_kind kind;
        int32_t code;
        const char *text;
        const char *hex;
    } rows[] = {
        {BODY_EXCEPTION, 6, "no",
         "80010003 00000001 66 fffffffe 0b0001 00000002 6e6f 080002 00000006 00"},
        {BODY_EXCEPTION, 7, "", "80010003 00000001 66 fffffffe 0b0001 00000000 080002 00000007 00"},
        {BODY_BASE_RESP, 1003, "no",
         "80010002 00000001 66 fffffffe 0c0000 0c00ff 0b0001 00000002 6e6f 080002 000003eb 00 00 "
         "00"},
        {BODY_BASE_RESP, -1, "",
         "80010002 00000001 66 fffffffe 0c0000 0c00ff 0b0001 00000000 080002 ffffffff 00 00 00"},
        {BODY_VOID, 0, "", "80010002 00000001 66 fffffffe 00"},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes wanted = {0};
        size_t len;
        const uint8_t *frame =
            build(rows[i].kind, "f", 1, -2, rows[i].code, rows[i].text, strlen(rows[i].text), &len);
        bytes_put_hex(&wanted, rows[i].hex);
        assert_int_equal(len, wanted.len + WIRE_FRAME_LEN_BYTES);
        assert_memory_equal(frame + WIRE_FRAME_LEN_BYTES, wanted.p, wanted.len);
        bytes_done(&wanted);
    }
}

/* The scanner's verdict on a reply that was built. */
static struct codec_message prove(const uint8_t *frame, size_t len)
{
    struct codec_scan scan;
    size_t body_len = len - WIRE_FRAME_LEN_BYTES;

    codec_scan_begin(&scan, CODEC_SCAN_REPLY, (uint32_t)body_len);
    assert_int_equal(codec_scan_run(&scan, frame + WIRE_FRAME_LEN_BYTES, body_len, body_len),
                     CODEC_SCAN_DONE);
    return scan.message;
}

/* The struct with which the body, or its success field, begins. */
static void read_struct(ThriftStruct *object, const uint8_t *p, size_t len)
{
    GError *error = NULL;
    ThriftProtocol *protocol = glib_reader_at(reader, p, len);

    assert_true(thrift_struct_read(object, protocol, &error) > 0);
    assert_null(error);
    assert_int_equal(glib_reader_left(reader), 0);
}

static const char *const texts[] = {
    "", "x", "[tside timeout] app.feed/default/example.service/default/Visit: 300 ms",
    "\u00e9\u20ac", "line\nline"};

static void test_exceptions_decode(void **state)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t len;
        const uint8_t *frame = build(BODY_EXCEPTION, "Visit", 5, (int32_t)i - 2, (int32_t)i,
                                     texts[i], strlen(texts[i]), &len);
        struct codec_message message = prove(frame, len);
        struct glib_view view;
        ThriftApplicationException *exception =
            g_object_new(THRIFT_TYPE_APPLICATION_EXCEPTION, NULL);

        assert_true(glib_read_message(reader, frame + 4, len - 4, &view));
        assert_int_equal(view.type, T_EXCEPTION);
        assert_string_equal(view.name, "Visit");
        assert_int_equal(view.seqid, (int32_t)i - 2);
        read_struct(THRIFT_STRUCT(exception), frame + 4 + message.args_off,
                    len - 4 - message.args_off);
        assert_int_equal(exception->type, i);
        assert_string_equal(exception->message, texts[i]);
        g_object_unref(exception);
        glib_view_done(&view);
    }
}

static void test_base_resps_decode(void **state)
{
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        size_t len;
        int32_t code = 0;
        const uint8_t *frame = build(BODY_BASE_RESP, "Visit", 5, 1, (int32_t)i * 500, texts[i],
                                     strlen(texts[i]), &len);
        struct codec_message message = prove(frame, len);
        struct glib_view view;
        TsideBaseResp *resp = g_object_new(TSIDE_TYPE_BASE_RESP, NULL);

        assert_true(glib_read_message(reader, frame + 4, len - 4, &view));
        assert_int_equal(view.type, T_REPLY);
        assert_true(view.has_base && message.has_base);
        assert_int_equal(view.base_span.off, message.base.off);
        read_struct(THRIFT_STRUCT(resp), frame + 4 + message.base.off, message.base.len);
        assert_int_equal(resp->StatusCode, i * 500);
        assert_string_equal(resp->StatusMessage, texts[i]);
        assert_true(codec_base_resp_code(frame + 4, &message, &code));
        assert_int_equal(code, i * 500);
        g_object_unref(resp);
        glib_view_done(&view);
    }
}

static void test_void_decodes(void **state)
{
    size_t len;
    const uint8_t *frame = build(BODY_VOID, "Visit", 5, 1, 0, "", 0, &len);
    struct codec_message message = prove(frame, len);
    struct glib_view view;

    assert_false(message.has_field);
    assert_true(glib_read_message(reader, frame + 4, len - 4, &view));
    assert_false(view.has_base);
    glib_view_done(&view);
}

static void test_nothing_is_written_without_room(void **state)
{
    uint8_t out[64];
    uint8_t untouched[64];

    memset(untouched, 0xa5, sizeof untouched);
    for (int kind = BODY_EXCEPTION; kind <= BODY_VOID; kind++) {
        size_t needed = write_body((enum body_kind)kind, 6, "text", 4, NULL, 0);
        memcpy(out, untouched, sizeof out);
        assert_in_range(needed, 1, sizeof out);
        assert_int_equal(write_body((enum body_kind)kind, 6, "text", 4, out, needed - 1), needed);
        assert_memory_equal(out, untouched, sizeof out);
    }
}

static void test_names_are_cut(void **state)
{
    char name[CODEC_REPLY_NAME_MAX_BYTES + 10];

    memset(name, 'n', sizeof name);
    for (size_t len = 0; len <= sizeof name; len += 1 + (len == 0) * 254) {
        size_t cut = len < CODEC_REPLY_NAME_MAX_BYTES ? len : CODEC_REPLY_NAME_MAX_BYTES;
        size_t frame_len;
        const uint8_t *frame = build(BODY_EXCEPTION, name, len, 1, 6, "x", 1, &frame_len);
        struct codec_message message = prove(frame, frame_len);
        assert_int_equal(message.name.len, cut);
        assert_memory_equal(frame + 4 + message.name.off, name, cut);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bytes),
        cmocka_unit_test(test_exceptions_decode),
        cmocka_unit_test(test_base_resps_decode),
        cmocka_unit_test(test_void_decodes),
        cmocka_unit_test(test_nothing_is_written_without_room),
        cmocka_unit_test(test_names_are_cut),
    };

    guard_init(&guard, 4096);
    reader = glib_reader_new();
    templates = codec_templates_new();
    if (templates == NULL) {
        abort();
    }
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    templates = codec_templates_free(templates);
    reader = glib_reader_free(reader);
    guard_done(&guard);
    return failed;
}
