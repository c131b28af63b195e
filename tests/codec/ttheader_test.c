/*
 * tests/codec/ttheader_test.c: what is a TTHeader and what is not, fed in every way.
 *
 * Agreement with another reader over many headers is ttheader_oracle_test.c's.
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

#include "codec/ttheader.h"
#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

#define BIG_BYTES (4 << 20)
#define LIMIT     1000 /* of the rows' messages */

static struct guard guard;

/* CALL "f", seqid 7, no arguments: 14 bytes. */
#define MSG "80010001 00000001 66 00000007 00"
/* From 3 "a", To 6 "bc". */
#define NAMES "10 0002 0003 0001 61 0006 0002 6263"

#define RIGHT 0

static const struct row {
    const char *what;
    const char *info; /* from the protocol id on; padded where the size is RIGHT */
    const char *payload;
    enum codec_ttheader_error error;
    int size;       /* RIGHT, or what the header size says */
    int more;       /* added to the right length */
    uint16_t magic; /* 0: the right one */
    uint16_t flags;
} rows[] = {
    {"nothing but a protocol", "00 00", MSG, CODEC_TTHEADER_ERROR_NONE},
    {"names", "00 00" NAMES, MSG, CODEC_TTHEADER_ERROR_NONE},
    {"an inner frame", "00 00" NAMES, "0000000e" MSG, CODEC_TTHEADER_ERROR_NONE},
    {"text keys", "00 00 01 0001 0001 6b 0001 76", MSG, CODEC_TTHEADER_ERROR_NONE},
    {"a token", "00 00 11 0003 746f6b", MSG, CODEC_TTHEADER_ERROR_NONE},
    {"all of them, Kitex's order", "00 00 11 0001 74 01 0001 0001 6b 0001 76" NAMES, MSG,
     CODEC_TTHEADER_ERROR_NONE},
    {"padding between blocks", "00 00 00 00" NAMES "00 01 0000 00 00 10 0000", MSG,
     CODEC_TTHEADER_ERROR_NONE},
    {"more padding than it takes", "00 00 0000 00000000 00000000", MSG, CODEC_TTHEADER_ERROR_NONE},
    {"empty blocks", "00 00 01 0000 10 0000", MSG, CODEC_TTHEADER_ERROR_NONE},
    {"a block up to the header's end", "00 00 10 0001 0003 0001 61", MSG,
     CODEC_TTHEADER_ERROR_NONE},
    {"empty key and value", "00 00 01 0001 0000 0000 10 0001 0003 0000", MSG,
     CODEC_TTHEADER_ERROR_NONE},
    {"two blocks of a kind", "00 00" NAMES NAMES, MSG, CODEC_TTHEADER_ERROR_NONE},
    {"two tokens", "00 00 11 0001 74 11 0001 74", MSG, CODEC_TTHEADER_ERROR_NONE},
    {"unknown numbers", "00 00 10 0002 ffff 0001 61 0000 0001 62", MSG, CODEC_TTHEADER_ERROR_NONE},
    {"other flags", "00 00", MSG, CODEC_TTHEADER_ERROR_NONE, .flags = 0xfffd},
    {"a message that is none is not its business", "00 00", "80020001 00000001 66 000007",
     CODEC_TTHEADER_ERROR_NONE},

    /* the fixed part */
    {"another magic", "00 00", MSG, CODEC_TTHEADER_ERROR_MAGIC, .magic = 0x0fff},
    {"a magic one off", "00 00", MSG, CODEC_TTHEADER_ERROR_MAGIC, .magic = 0x1001},
    {"a framed message", "00 00", MSG, CODEC_TTHEADER_ERROR_MAGIC, .magic = 0x8001},
    {"a stream", "00 00", MSG, CODEC_TTHEADER_ERROR_STREAM, .flags = 0x0002},
    {"a stream, out of order", "00 00", MSG, CODEC_TTHEADER_ERROR_STREAM, .flags = 0x0003},
    {"header size 0", "", MSG, CODEC_TTHEADER_ERROR_HEADER_SIZE},
    {"header size over the length", "00 00" NAMES, MSG, CODEC_TTHEADER_ERROR_LENGTH, .size = 9},
    {"header size 262140 in a short one", "00 00", MSG, CODEC_TTHEADER_ERROR_LENGTH, .size = 65535},
    {"header size leaves no message", "00 00" NAMES, MSG, CODEC_TTHEADER_ERROR_LENGTH, .size = 6},
    {"length 0", "00 00", MSG, CODEC_TTHEADER_ERROR_LENGTH, .more = -28},
    {"length of the header alone", "00 00", MSG, CODEC_TTHEADER_ERROR_LENGTH, .more = -14},
    {"length one short of any message", "00 00", MSG, CODEC_TTHEADER_ERROR_LENGTH, .more = -3},
    {"Compact", "02 00", MSG, CODEC_TTHEADER_ERROR_PROTOCOL},
    {"Protobuf", "04 00", MSG, CODEC_TTHEADER_ERROR_PROTOCOL},
    {"a struct of a stream", "10 00", MSG, CODEC_TTHEADER_ERROR_PROTOCOL},
    {"protocol 255", "ff 00", MSG, CODEC_TTHEADER_ERROR_PROTOCOL},
    {"zlib", "00 01 01", MSG, CODEC_TTHEADER_ERROR_TRANSFORM},
    {"snappy", "00 01 03", MSG, CODEC_TTHEADER_ERROR_TRANSFORM},
    {"255 transforms", "00 ff", MSG, CODEC_TTHEADER_ERROR_TRANSFORM},

    /* info blocks */
    {"info 2", "00 00 02 0001", MSG, CODEC_TTHEADER_ERROR_INFO},
    {"info 0x12", "00 00 12", MSG, CODEC_TTHEADER_ERROR_INFO},
    {"info 0xff", "00 00" NAMES "ff", MSG, CODEC_TTHEADER_ERROR_INFO},
    {"padding that is no zero", "00 00 00 20", MSG, CODEC_TTHEADER_ERROR_INFO},
    {"cut behind a kind", "00 00 00 10", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"cut in a count", "00 00 10 00", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"cut behind a count", "00 00 00 00 00 10 0001", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"cut in a number", "00 00 00 00 10 0001 00", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"cut behind a number", "00 00 00 10 0001 0003", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"cut in a value's length", "00 00 10 0001 0003 00", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"a value one byte longer than the padding", "00 00 10 0001 0003 0004 61", MSG,
     CODEC_TTHEADER_ERROR_CUT},
    {"a value of 65,535 bytes", "00 00 10 0001 0003 ffff 61", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"a value that eats the message", "00 00 10 0001 0003 000f 61", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"cut in a key's length", "00 00 00 00 01 0001 00", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"a key of 65,535 bytes", "00 00 01 0001 ffff 61", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"a key up to the end", "00 00 01 0001 0001 6b", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"cut in a text value's length", "00 00 01 0001 0000 00", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"a text value too long", "00 00 01 0001 0001 6b 0002 76 000000", MSG,
     CODEC_TTHEADER_ERROR_NONE}, /* padding is as good as any byte */
    {"a text value longer than the padding", "00 00 01 0001 0001 6b 0007 76 000000", MSG,
     CODEC_TTHEADER_ERROR_CUT},
    {"more entries than there are", "00 00 10 0003 0003 0001 61 0006 0002 6263", MSG,
     CODEC_TTHEADER_ERROR_CUT},
    {"4,095 entries that are not there", "00 00 10 0fff 0003 0001 61", MSG,
     CODEC_TTHEADER_ERROR_CUT},
    {"4,096 entries", "00 00 10 1000 0003 0001 61", MSG, CODEC_TTHEADER_ERROR_ITEMS},
    {"65,535 text entries", "00 00 01 ffff 0001 61 0001 62", MSG, CODEC_TTHEADER_ERROR_ITEMS},
    {"4,096 in two blocks", "00 00 10 0000 11 0000 01 0ffe 0000 0000", MSG,
     CODEC_TTHEADER_ERROR_ITEMS},
    {"4,095 in two blocks", "00 00 10 0000 11 0000 01 0ffd 0000 0000", MSG,
     CODEC_TTHEADER_ERROR_CUT},
    {"a token too long", "00 00 11 0004 746f6b", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"a token without a length", "00 00 00 11", MSG, CODEC_TTHEADER_ERROR_CUT},
    {"fewer entries than there are", "00 00 10 0001 0003 0001 61 0006 0002 6263", MSG,
     CODEC_TTHEADER_ERROR_INFO}, /* 06 is no block */
    {"header size one unit short", "00 00" NAMES, MSG, CODEC_TTHEADER_ERROR_CUT, .size = 3},

    /* the payload */
    {"inner length one too many", "00 00", "0000000f" MSG, CODEC_TTHEADER_ERROR_INNER_LENGTH},
    {"inner length one too few", "00 00", "0000000d" MSG, CODEC_TTHEADER_ERROR_INNER_LENGTH},
    {"inner length 0", "00 00", "00000000" MSG, CODEC_TTHEADER_ERROR_INNER_LENGTH},
    {"inner length 2^31-1", "00 00", "7fffffff" MSG, CODEC_TTHEADER_ERROR_INNER_LENGTH},
    {"two inner frames", "00 00", "0000000e" MSG "0000000e" MSG, CODEC_TTHEADER_ERROR_INNER_LENGTH},
    {"a second TTHeader of another length", "00 00",
     "0000001b 10000000 00000000 0001 0000 0000" MSG, CODEC_TTHEADER_ERROR_INNER_LENGTH},
    {"http inside", "00 00", "474554202f20485454502f312e31", CODEC_TTHEADER_ERROR_INNER_LENGTH},
    {"header size one unit short of the payload", "00 00 0000 00000000", MSG,
     CODEC_TTHEADER_ERROR_INNER_LENGTH, .size = 1},
    {"length beyond the limit", "00 00", MSG, CODEC_TTHEADER_ERROR_TOO_LARGE, .more = 263154},
    {"length 2^30", "00 00", MSG, CODEC_TTHEADER_ERROR_TOO_LARGE, .more = 0x3fffffe4},
    {"length 2^31-1", "00 00", MSG, CODEC_TTHEADER_ERROR_TOO_LARGE, .more = 0x7fffffe3},
    {"a message beyond the limit", "00 00", MSG, CODEC_TTHEADER_ERROR_TOO_LARGE, .more = 987},
    {"a message up to the limit", "00 00", MSG, CODEC_TTHEADER_ERROR_NONE, .more = 986},
};

/* The header and the payload as the row wants them. */
static void put_row(struct bytes *b, const struct row *row)
{
    bytes_put32(b, 0);
    bytes_put16(b, row->magic ? row->magic : CODEC_TTHEADER_MAGIC);
    bytes_put16(b, row->flags);
    bytes_put32(b, 0xfffffffb);
    bytes_put16(b, 0);
    bytes_put_hex(b, row->info);
    while (row->size == RIGHT && (b->len - CODEC_TTHEADER_FIXED_BYTES) % 4 != 0) {
        bytes_put8(b, 0);
    }
    size_t size = row->size ? (size_t)row->size : (b->len - CODEC_TTHEADER_FIXED_BYTES) / 4;
    wire_put16(b->p + 12, (uint16_t)size);
    bytes_put_hex(b, row->payload);
    wire_put32(b->p, (uint32_t)((int)b->len - WIRE_FRAME_LEN_BYTES + row->more));
}

/* Feeds the first avail bytes, which end at a forbidden page. */
static enum codec_ttheader_status run(struct codec_ttheader *header, const struct bytes *b,
                                      size_t avail)
{
    return codec_ttheader_run(header, guard_copy(&guard, b->p, avail), avail);
}

static bool same_result(const struct codec_ttheader *a, const struct codec_ttheader *b)
{
    return a->error == b->error && a->error_off == b->error_off && a->flags == b->flags &&
           a->sequence == b->sequence && a->total_bytes == b->total_bytes &&
           a->header_bytes == b->header_bytes && a->info_end == b->info_end &&
           memcmp(a->ints, b->ints, sizeof a->ints) == 0 &&
           a->is_inner_framed == b->is_inner_framed && a->message.off == b->message.off &&
           a->message.len == b->message.len;
}

/* The outcome, which must not depend on how the bytes come. */
static enum codec_ttheader_status feed(const char *what, const struct bytes *b,
                                       struct codec_ttheader *ret)
{
    codec_ttheader_begin(ret, LIMIT);
    enum codec_ttheader_status status = run(ret, b, b->len);

    for (size_t step = 1; step <= b->len; step++) {
        struct codec_ttheader other;
        enum codec_ttheader_status now = CODEC_TTHEADER_MORE;
        codec_ttheader_begin(&other, LIMIT);
        for (size_t avail = 0; now == CODEC_TTHEADER_MORE; avail += step) {
            now = run(&other, b, avail < b->len ? avail : b->len);
            if (avail >= b->len) {
                break;
            }
        }
        if (now != status || !same_result(&other, ret)) {
            fail_msg("%s: in steps of %zu: \"%s\" at %" PRIu32 " instead of \"%s\" at %" PRIu32,
                     what, step, codec_ttheader_error_str(other.error), other.error_off,
                     codec_ttheader_error_str(ret->error), ret->error_off);
        }
    }
    return status;
}

static void test_rows(void **state)
{
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes b = {0};
        struct codec_ttheader h;
        put_row(&b, &rows[i]);
        enum codec_ttheader_status status = feed(rows[i].what, &b, &h);
        if (h.error != rows[i].error) {
            fail_msg("%s: \"%s\" instead of \"%s\"", rows[i].what,
                     codec_ttheader_error_str(h.error), codec_ttheader_error_str(rows[i].error));
        }
        assert_int_equal(status, h.error ? CODEC_TTHEADER_BAD : CODEC_TTHEADER_DONE);
        if (status == CODEC_TTHEADER_DONE) {
            assert_int_equal(h.message.off + h.message.len, h.total_bytes);
            assert_int_equal(h.sequence, -5);
            assert_int_equal(h.flags, rows[i].flags);
        }
        bytes_done(&b);
    }
}

/* Each prefix of a good header wants more, until the first word of the payload is there. */
static void test_more(void **state)
{
    struct bytes b = {0};

    put_row(&b, &(struct row){.info = "00 00" NAMES, .payload = "0000000e" MSG});
    for (size_t avail = 0; avail <= b.len; avail++) {
        struct codec_ttheader h;
        codec_ttheader_begin(&h, LIMIT);
        enum codec_ttheader_status status = run(&h, &b, avail);
        assert_int_equal(status, avail < 34 ? CODEC_TTHEADER_MORE : CODEC_TTHEADER_DONE);
        assert_int_equal(h.total_bytes, avail < 4 ? 0 : b.len);
        assert_int_equal(h.header_bytes, avail < 14 ? 0 : 30);
    }
    bytes_done(&b);
}

/* What cannot become a header is refused by the first bytes that show it. */
static void test_hopeless_headers_end_at_once(void **state)
{
    static const struct {
        const char *hex;
        enum codec_ttheader_error error;
    } early[] = {
        {"40000000", CODEC_TTHEADER_ERROR_TOO_LARGE},
        {"ffffffff", CODEC_TTHEADER_ERROR_TOO_LARGE},
        {"000403f3", CODEC_TTHEADER_ERROR_TOO_LARGE},
        {"000003e8 0fff0000", CODEC_TTHEADER_ERROR_MAGIC},
        {"000003e8 10000002", CODEC_TTHEADER_ERROR_STREAM},
        {"000003e8 10000000 00000000 0000", CODEC_TTHEADER_ERROR_HEADER_SIZE},
        {"000003e8 10000000 00000000 00f6", CODEC_TTHEADER_ERROR_LENGTH},
        {"000003e8 10000000 00000000 0050 0300", CODEC_TTHEADER_ERROR_PROTOCOL},
        {"000003e8 10000000 00000000 0050 0001", CODEC_TTHEADER_ERROR_TRANSFORM},
        {"000003e8 10000000 00000000 0050 0000 03", CODEC_TTHEADER_ERROR_INFO},
        {"000003e8 10000000 00000000 0002 0000 10 0001", CODEC_TTHEADER_ERROR_CUT},
        {"000003e8 10000000 00000000 0001 0000 0000 000003d9", CODEC_TTHEADER_ERROR_INNER_LENGTH},
        {"00000500 10000000 00000000 0001 0000 0000 80010001", CODEC_TTHEADER_ERROR_TOO_LARGE},
    };

    for (size_t i = 0; i < sizeof early / sizeof early[0]; i++) {
        struct bytes b = {0};
        struct codec_ttheader h;
        bytes_put_hex(&b, early[i].hex);
        assert_int_equal(feed(early[i].hex, &b, &h), CODEC_TTHEADER_BAD);
        if (h.error != early[i].error) {
            fail_msg("%s: \"%s\"", early[i].hex, codec_ttheader_error_str(h.error));
        }
        /* Not earlier: the last byte decides. */
        codec_ttheader_begin(&h, LIMIT);
        if (b.len > 4) {
            assert_int_equal(run(&h, &b, b.len - 1), CODEC_TTHEADER_MORE);
        }
        bytes_done(&b);
    }
}

/* Behind a message that is complete may stand the next header. */
static void test_looks_at_nothing_behind_it(void **state)
{
    struct bytes b = {0};
    struct codec_ttheader h;

    put_row(&b, &(struct row){.info = "00 00" NAMES, .payload = MSG});
    uint32_t first = (uint32_t)b.len;
    bytes_put_hex(&b, "ffffffff ffffffff ffffffff");
    assert_int_equal(feed("two", &b, &h), CODEC_TTHEADER_DONE);
    assert_int_equal(h.total_bytes, first);
    assert_int_equal(h.message.len, 14);
    bytes_done(&b);
}

/* The header says how long the message is, and the message's own proof holds it to that. */
static void test_the_message_is_proved_on_its_own(void **state)
{
    static const struct {
        const char *what;
        const char *payload;
        enum codec_error error;
    } payloads[] = {
        {"one message", MSG, CODEC_ERROR_NONE},
        {"one, framed", "0000000e" MSG, CODEC_ERROR_NONE},
        {"two messages", MSG MSG, CODEC_ERROR_TRAILING},
        {"two, framed as one", "0000001c" MSG MSG, CODEC_ERROR_TRAILING},
        {"a cut one", "80010001 00000001 66 00000007 02", CODEC_ERROR_CUT},
        {"a cut one, framed", "0000000e 80010001 00000001 66 00000007 02", CODEC_ERROR_CUT},
        {"a trailing byte", MSG "00", CODEC_ERROR_TRAILING},
        {"a reply", "80010002 00000001 66 00000007 00", CODEC_ERROR_MESSAGE_TYPE},
        {"Protobuf", "90010001 00000001 66 00000007 00", CODEC_ERROR_VERSION},
        {"a frame in the inner frame", "00000012 0000000e" MSG, CODEC_ERROR_VERSION},
        {"a second TTHeader, like an inner frame", "0000001c 10000000 00000000 0001 0000 0000" MSG,
         CODEC_ERROR_VERSION},
        {"a TTHeader in the inner frame", "00000020 0000001c 10000000 00000000 0001 0000 0000" MSG,
         CODEC_ERROR_VERSION},
        {"too short, framed", "00000008 80010001 00000000", CODEC_ERROR_HEADER_SHORT},
        {"a name up to the next header", "80010001 00000003 66 00000007 00",
         CODEC_ERROR_NAME_LENGTH},
    };

    for (size_t i = 0; i < sizeof payloads / sizeof payloads[0]; i++) {
        struct bytes b = {0};
        struct codec_ttheader h;
        struct codec_scan scan;
        put_row(&b, &(struct row){.info = "00 00" NAMES, .payload = payloads[i].payload});
        assert_int_equal(feed(payloads[i].what, &b, &h), CODEC_TTHEADER_DONE);
        codec_scan_begin(&scan, CODEC_SCAN_REQUEST, h.message.len);
        const uint8_t *message = guard_copy(&guard, b.p + h.message.off, h.message.len);
        (void)codec_scan_run(&scan, message, h.message.len, LIMIT); /* the error says it */
        if (scan.error != payloads[i].error) {
            fail_msg("%s: \"%s\"", payloads[i].what, codec_error_str(scan.error));
        }
        bytes_done(&b);
    }
}

/* --- what is in it --- */

static void check_text(const struct bytes *b, struct wire_span span, const char *wanted)
{
    if (!wanted) {
        assert_int_equal(span.off, 0);
        return;
    }
    assert_int_not_equal(span.off, 0);
    assert_int_equal(span.len, strlen(wanted));
    assert_memory_equal(b->p + span.off, wanted, span.len);
}

static void put_text16(struct bytes *b, const char *text)
{
    bytes_put16(b, (uint16_t)strlen(text));
    bytes_put(b, text, strlen(text));
}

static void test_numbers(void **state)
{
    static const struct {
        uint16_t key;
        enum codec_ttheader_int index;
        const char *value;
    } ints[] = {
        {2, CODEC_TTHEADER_INT_LOG_ID, "log-1"},
        {3, CODEC_TTHEADER_INT_FROM_SERVICE, "app.feed"},
        {4, CODEC_TTHEADER_INT_FROM_CLUSTER, "blue"},
        {6, CODEC_TTHEADER_INT_TO_SERVICE, "S"},
        {7, CODEC_TTHEADER_INT_TO_CLUSTER, ""},
        {9, CODEC_TTHEADER_INT_TO_METHOD, "Visit"},
        {12, CODEC_TTHEADER_INT_RPC_TIMEOUT, "250"},
        {22, CODEC_TTHEADER_INT_MESSAGE_TYPE, "1"},
    };
    struct bytes b = {0};
    struct codec_ttheader h;

    assert_int_equal(sizeof ints / sizeof ints[0], CODEC_TTHEADER_INT_MAX);
    put_row(&b, &(struct row){.info = "00 00 10 0018", .payload = ""});
    b.len = 19;
    for (uint16_t key = 0; key < 24; key++) {
        const char *value = "other";
        for (size_t i = 0; i < CODEC_TTHEADER_INT_MAX; i++) {
            value = ints[i].key == key ? ints[i].value : value;
        }
        bytes_put16(&b, key);
        put_text16(&b, value);
    }
    while (b.len % 4 != 2) {
        bytes_put8(&b, 0);
    }
    wire_put16(b.p + 12, (uint16_t)((b.len - 14) / 4));
    bytes_put_hex(&b, MSG);
    wire_put32(b.p, (uint32_t)b.len - 4);
    assert_int_equal(feed("numbers", &b, &h), CODEC_TTHEADER_DONE);
    for (size_t i = 0; i < CODEC_TTHEADER_INT_MAX; i++) {
        check_text(&b, h.ints[ints[i].index], ints[i].value);
    }
    bytes_done(&b);
}

static void test_the_last_entry_counts(void **state)
{
    struct bytes b = {0};
    struct codec_ttheader h;

    put_row(&b, &(struct row){.info = "00 00 10 0002 0003 0001 61 0003 0001 62"
                                      "01 0001 0003 00036b 0001 78" /* a text key "\0\3k" */
                                      "10 0001 0003 0002 6364",
                              .payload = MSG});
    assert_int_equal(feed("twice", &b, &h), CODEC_TTHEADER_DONE);
    check_text(&b, h.ints[CODEC_TTHEADER_INT_FROM_SERVICE], "cd");
    check_text(&b, h.ints[CODEC_TTHEADER_INT_TO_SERVICE], NULL);
    bytes_done(&b);
}

static void test_find_many(void **state)
{
    static const struct codec_key keys[] = {
        {"k", 1}, {"kk", 2}, {"", 0}, {CODEC_TTHEADER_TEXT_RESET, 5}, {"absent", 6}, {"tok", 3}};
    static const char *const values[] = {"three", "two", "empty", "1", NULL, NULL};
    struct wire_span found[6];
    struct bytes b = {0};
    struct codec_ttheader h;

    /* A token has no key, and a number is no text. */
    put_row(&b, &(struct row){.info = "00 00 11 0003 746f6b"
                                      "01 0003 0001 6b 0003 6f6e65 0002 6b6b 0003 74776f"
                                      "     0000 0005 656d707479"
                                      "10 0001 6b6b 0001 39 00"
                                      "01 0002 0005 6372727374 0001 31 0001 6b 0005 7468726565",
                              .payload = MSG});
    assert_int_equal(feed("find", &b, &h), CODEC_TTHEADER_DONE);
    codec_ttheader_find_many(b.p, &h, 6, keys, found);
    for (size_t i = 0; i < 6; i++) {
        check_text(&b, found[i], values[i]);
    }
    bytes_done(&b);
}

static void test_walk(void **state)
{
    static const struct {
        uint8_t info;
        bool is_block;
        uint32_t off, len;
    } items[] = {
        {CODEC_TTHEADER_INFO_TOKEN, false, 16, 4},   {CODEC_TTHEADER_INFO_PADDING, false, 20, 1},
        {CODEC_TTHEADER_INFO_INT, true, 21, 3},      {CODEC_TTHEADER_INFO_INT, false, 24, 5},
        {CODEC_TTHEADER_INFO_PADDING, false, 29, 2}, {CODEC_TTHEADER_INFO_TEXT, true, 31, 3},
        {CODEC_TTHEADER_INFO_TEXT, false, 34, 6},    {CODEC_TTHEADER_INFO_TEXT, true, 40, 3},
    };
    struct codec_ttheader_walk walk;
    struct codec_ttheader_item item;
    struct bytes b = {0};
    struct codec_ttheader h;

    put_row(&b, &(struct row){.info = "00 00 11 0001 74 00 10 0001 0003 0001 61 0000"
                                      "01 0001 0001 6b 0001 76 01 0000 000000",
                              .payload = MSG});
    assert_int_equal(feed("walk", &b, &h), CODEC_TTHEADER_DONE);
    codec_ttheader_walk_begin(&walk, &h, b.p);
    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        assert_true(codec_ttheader_walk_next(&walk, &item));
        assert_int_equal(item.info, items[i].info);
        assert_int_equal(item.is_block, items[i].is_block);
        assert_int_equal(item.span.off, items[i].off);
        assert_int_equal(item.span.len, items[i].len);
    }
    assert_false(codec_ttheader_walk_next(&walk, &item));
    bytes_done(&b);
}

/* --- as large as they get --- */

/* A header of that many bytes behind offset 14, most of them one kind of entry. */
static void put_largest(struct bytes *b, const char *block, const char *entry, size_t entry_bytes)
{
    struct bytes unit = {0};

    put_row(b, &(struct row){.info = "", .payload = ""});
    b->len = CODEC_TTHEADER_FIXED_BYTES;
    wire_put16(b->p + 12, 65535);
    bytes_put_hex(b, block);
    bytes_put_hex(&unit, entry);
    size_t n = (CODEC_TTHEADER_BYTES_MAX - b->len) / entry_bytes;
    n = n < CODEC_TTHEADER_ITEMS_MAX ? n : CODEC_TTHEADER_ITEMS_MAX - 1;
    wire_put16(b->p + b->len - 2, (uint16_t)n);
    for (size_t i = 0; i < n; i++) {
        bytes_put(b, unit.p, unit.len);
        for (size_t k = unit.len; k < entry_bytes; k++) {
            bytes_put8(b, 'v');
        }
    }
    while (b->len < CODEC_TTHEADER_BYTES_MAX) {
        bytes_put8(b, 0);
    }
    bytes_put_hex(b, MSG);
    wire_put32(b->p, (uint32_t)b->len - 4);
    bytes_done(&unit);
}

static void test_largest(void **state)
{
    static const struct {
        const char *what, *block, *entry;
        size_t entry_bytes;
        size_t entries;
    } shapes[] = {
        {"numbers without a value", "0000 10 0000", "0003 0000", 4, 4095},
        {"text without a key or value", "0000 01 0000", "0000 0000", 4, 4095},
        {"entries that fill it", "0000 10 0000", "0003 003b", 63, 4095},
        {"values of 65,535 bytes", "0000 10 0000", "0003 ffff", 65539, 3},
        {"text values of 65,535 bytes", "0000 01 0000", "0000 ffff", 65539, 3},
        {"keys of 65,533 bytes and no value", "0000 01 0000", "fffb", 65535, 3},
    };

    for (size_t i = 0; i < sizeof shapes / sizeof shapes[0]; i++) {
        struct bytes b = {0};
        struct codec_ttheader h;
        struct codec_ttheader_walk walk;
        struct codec_ttheader_item item;
        size_t entries = 0;
        put_largest(&b, shapes[i].block, shapes[i].entry, shapes[i].entry_bytes);
        codec_ttheader_begin(&h, LIMIT);
        enum codec_ttheader_status status = CODEC_TTHEADER_MORE;
        for (size_t avail = 0; avail < b.len && status == CODEC_TTHEADER_MORE; avail += 1021) {
            status = run(&h, &b, avail);
        }
        status = status == CODEC_TTHEADER_MORE ? run(&h, &b, b.len) : status;
        if (status != CODEC_TTHEADER_DONE) {
            fail_msg("%s: \"%s\" at %" PRIu32, shapes[i].what, codec_ttheader_error_str(h.error),
                     h.error_off);
        }
        assert_int_equal(h.header_bytes, CODEC_TTHEADER_BYTES_MAX);
        codec_ttheader_walk_begin(&walk, &h, b.p);
        while (codec_ttheader_walk_next(&walk, &item)) {
            entries += !item.is_block;
        }
        assert_int_equal(entries, shapes[i].entries);
        bytes_done(&b);
    }
}

/* Blocks without entries, and tokens, are as much work as entries. */
static void test_too_many_items(void **state)
{
    static const char *const items[] = {"01 0000", "10 0000", "11 0000"};

    for (size_t i = 0; i < sizeof items / sizeof items[0]; i++) {
        for (size_t n = CODEC_TTHEADER_ITEMS_MAX; n <= CODEC_TTHEADER_ITEMS_MAX + 1; n++) {
            struct bytes b = {0};
            struct codec_ttheader h;
            put_row(&b, &(struct row){.info = "0000", .payload = ""});
            b.len = CODEC_TTHEADER_INFO_OFF;
            for (size_t k = 0; k < n; k++) {
                bytes_put_hex(&b, items[i]);
            }
            while (b.len % 4 != 2) {
                bytes_put8(&b, 0);
            }
            wire_put16(b.p + 12, (uint16_t)((b.len - CODEC_TTHEADER_FIXED_BYTES) / 4));
            bytes_put_hex(&b, MSG);
            wire_put32(b.p, (uint32_t)b.len - 4);
            codec_ttheader_begin(&h, LIMIT);
            (void)run(&h, &b, b.len); /* the error says it */
            assert_int_equal(h.error, n <= CODEC_TTHEADER_ITEMS_MAX ? CODEC_TTHEADER_ERROR_NONE
                                                                    : CODEC_TTHEADER_ERROR_ITEMS);
            bytes_done(&b);
        }
    }
}

static void test_every_error_has_a_text(void **state)
{
    for (int i = 0; i < CODEC_TTHEADER_ERROR_MAX; i++) {
        assert_true(strlen(codec_ttheader_error_str((enum codec_ttheader_error)i)) > 0);
    }
    assert_string_equal(codec_ttheader_error_str(CODEC_TTHEADER_ERROR_TRANSFORM), "a transform");
    assert_string_equal(codec_ttheader_error_str(CODEC_TTHEADER_ERROR_MAX), "unknown error");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_more),
        cmocka_unit_test(test_hopeless_headers_end_at_once),
        cmocka_unit_test(test_looks_at_nothing_behind_it),
        cmocka_unit_test(test_the_message_is_proved_on_its_own),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_the_last_entry_counts),
        cmocka_unit_test(test_find_many),
        cmocka_unit_test(test_walk),
        cmocka_unit_test(test_largest),
        cmocka_unit_test(test_too_many_items),
        cmocka_unit_test(test_every_error_has_a_text),
    };

    guard_init(&guard, BIG_BYTES);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
