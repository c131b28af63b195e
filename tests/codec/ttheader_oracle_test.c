/*
 * tests/codec/ttheader_oracle_test.c: reader and writer of TTHeader against a naive one.
 *
 * Generated headers, as they are and damaged: both readers must accept the same ones and find the same in
 * them, however the bytes come in. Those that are accepted are edited: what is written must read as the naive
 * one edits its list, and where nothing is edited it must be the bytes that came.
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

#include "codec/ttheader_edit.h"
#include "tests/codec/bytes.h"
#include "tests/codec/naive_ttheader.h"
#include "tests/codec/random.h"
#include "tests/support/guard.h"

#define HEADERS   60000
#define SEED      20261127
#define LIMIT     200
#define EDITS_MAX 6

static struct guard guard;
static struct guard out_guard;
static struct random rnd = {SEED};

/* Few, so that entries stand twice and edits find them. */
static const char *const keys[] = {"k", "RPC_PERSIST_RetryReq", "crrst", "", "RPC_PERSIST_x"};
static const uint16_t ids[] = {2, 3, 4, 6, 7, 9, 12, 22, 0, 9999};

#define KEYS (sizeof keys / sizeof keys[0])
#define IDS  (sizeof ids / sizeof ids[0])

static const char *random_key(void)
{
    return keys[random_below(&rnd, KEYS)];
}

static uint16_t random_id(void)
{
    return ids[random_below(&rnd, IDS)];
}

/* --- generating --- */

static void put_value(struct bytes *b)
{
    uint32_t len = random_one_in(&rnd, 20) ? random_below(&rnd, 300) : random_below(&rnd, 12);

    bytes_put16(b, (uint16_t)len);
    for (uint32_t i = 0; i < len; i++) {
        bytes_put8(b, (uint8_t)random_next(&rnd));
    }
}

static void put_block(struct bytes *b, bool is_text)
{
    uint32_t n = random_below(&rnd, 5);

    bytes_put8(b, is_text ? CODEC_TTHEADER_INFO_TEXT : CODEC_TTHEADER_INFO_INT);
    bytes_put16(b, (uint16_t)n);
    while (n-- > 0) {
        if (is_text) {
            const char *key = random_key();
            bytes_put16(b, (uint16_t)strlen(key));
            bytes_put(b, key, strlen(key));
        } else {
            bytes_put16(b, random_id());
        }
        put_value(b);
    }
}

static void put_blocks(struct bytes *b)
{
    for (uint32_t n = random_below(&rnd, 5); n > 0; n--) {
        uint32_t kind = random_below(&rnd, 6);
        if (kind < 4) {
            put_block(b, kind < 2);
        } else if (kind == 4) {
            bytes_put8(b, CODEC_TTHEADER_INFO_TOKEN);
            put_value(b);
        } else {
            bytes_put8(b, CODEC_TTHEADER_INFO_PADDING);
        }
    }
}

static void put_payload(struct bytes *b)
{
    uint32_t args = random_below(&rnd, 30);

    if (random_one_in(&rnd, 2)) {
        bytes_put32(b, 13 + args);
    }
    bytes_put_hex(b, "80010001 00000001 66 00000007");
    while (args-- > 0) {
        bytes_put8(b, (uint8_t)random_next(&rnd));
    }
}

static void generate(struct bytes *b)
{
    b->len = 0;
    bytes_put32(b, 0);
    bytes_put16(b, CODEC_TTHEADER_MAGIC);
    bytes_put16(b, random_one_in(&rnd, 4) ? 0x0009 : 0);
    bytes_put32(b, (uint32_t)random_next(&rnd));
    bytes_put32(b, 0); /* size, protocol, transforms */
    put_blocks(b);
    while (b->len % 4 != 2) {
        bytes_put8(b, 0);
    }
    wire_put16(b->p + 12, (uint16_t)((b->len - CODEC_TTHEADER_FIXED_BYTES) / 4));
    put_payload(b);
    wire_put32(b->p, (uint32_t)b->len - 4);
}

/* One to three bytes of the header become others, near or far; the length stays or is put right. */
static void damage(struct bytes *b)
{
    for (uint32_t n = 1 + random_below(&rnd, 3); n > 0; n--) {
        uint32_t near = b->len > 60 && random_one_in(&rnd, 2) ? 60 : (uint32_t)b->len;
        uint8_t *byte = b->p + 4 + random_below(&rnd, near - 4);
        *byte = random_one_in(&rnd, 2) ? (uint8_t)random_next(&rnd) : (uint8_t)(*byte ^ 1);
    }
    if (random_one_in(&rnd, 4)) {
        bytes_splice(b, 16, random_below(&rnd, 3), "\0\x10\0", random_below(&rnd, 4));
        wire_put32(b->p, (uint32_t)b->len - 4);
    }
}

/* --- reading --- */

static unsigned accepted;
static unsigned refused;
static unsigned errors[CODEC_TTHEADER_ERROR_MAX];

/* step more bytes each time; true where it is a header. */
static bool read_in_steps(const struct bytes *b, size_t step, struct codec_ttheader *ret)
{
    enum codec_ttheader_status status = CODEC_TTHEADER_MORE;

    codec_ttheader_begin(ret, LIMIT);
    for (size_t avail = 0; status == CODEC_TTHEADER_MORE && avail < b->len; avail += step) {
        status = codec_ttheader_run(ret, guard_copy(&guard, b->p, avail), avail);
    }
    if (status == CODEC_TTHEADER_MORE) {
        status = codec_ttheader_run(ret, guard_copy(&guard, b->p, b->len), b->len);
    }
    return status == CODEC_TTHEADER_DONE && ret->total_bytes == b->len;
}

static void check_span(const struct bytes *b, struct wire_span span, const struct naive_text *text)
{
    assert_int_equal(span.off > 0, text != NULL);
    if (text) {
        assert_int_equal(span.len, text->len);
        assert_ptr_equal(b->p + span.off, text->p);
    }
}

static void check_content(const struct bytes *b, const struct codec_ttheader *h,
                          const struct naive_ttheader *naive)
{
    static const uint16_t known[] = {
#define X(name, key) [CODEC_TTHEADER_INT_##name] = (key),
        CODEC_TTHEADER_INTS(X)
#undef X
    };
    struct codec_key wanted[KEYS];
    struct wire_span found[KEYS];

    assert_int_equal(h->flags, naive->flags);
    assert_int_equal(h->sequence, naive->sequence);
    assert_int_equal(h->is_inner_framed, naive->is_inner_framed);
    assert_int_equal(h->header_bytes, naive->header_len);
    check_span(b, h->message, &naive->message);
    for (size_t i = 0; i < CODEC_TTHEADER_INT_MAX; i++) {
        check_span(b, h->ints[i], naive_ttheader_int(naive, known[i]));
    }
    for (size_t i = 0; i < KEYS; i++) {
        wanted[i] = (struct codec_key){keys[i], strlen(keys[i])};
    }
    codec_ttheader_find_many(b->p, h, KEYS, wanted, found);
    for (size_t i = 0; i < KEYS; i++) {
        check_span(b, found[i], naive_ttheader_text(naive, keys[i], strlen(keys[i])));
    }
}

/* --- writing --- */

static char values[EDITS_MAX][300];

/* Different keys, some set, some removed; text first, as new blocks are written. */
static size_t random_edits(struct codec_ttheader_edit edits[EDITS_MAX])
{
    uint32_t keys_mask = (uint32_t)random_next(&rnd);
    uint32_t ids_mask = (uint32_t)random_next(&rnd) & (uint32_t)random_next(&rnd);
    size_t n = 0;

    for (size_t i = 0; i < KEYS + IDS && n < EDITS_MAX; i++) {
        bool is_text = i < KEYS;
        if (!((is_text ? keys_mask >> i : ids_mask >> (i - KEYS)) & 1)) {
            continue;
        }
        edits[n] = (struct codec_ttheader_edit){.value = values[n]};
        if (is_text) {
            edits[n].key = keys[i];
            edits[n].key_len = strlen(keys[i]);
        } else {
            edits[n].id = ids[i - KEYS];
        }
        if (random_one_in(&rnd, 3)) {
            edits[n].value = NULL;
        } else {
            edits[n].value_len = random_below(&rnd, random_one_in(&rnd, 9) ? 300 : 9);
            memset(values[n], 'a' + (int)n, edits[n].value_len);
        }
        n++;
    }
    return n;
}

/* The header as it is written, and the message behind it. */
static void write_edited(struct bytes *ret, const struct bytes *b, const struct codec_ttheader *h,
                         size_t n, const struct codec_ttheader_edit edits[],
                         const struct codec_ttheader_to *to)
{
    struct codec_ttheader_plan plan;

    const uint8_t *p = guard_copy(&guard, b->p, h->info_end);
    assert_true(codec_ttheader_plan(&plan, p, h, n, edits, to));
    uint8_t *out = guard_room(&out_guard, plan.bytes);
    memset(out, 0xa5, plan.bytes);
    codec_ttheader_write(&plan, out);
    ret->len = 0;
    bytes_put(ret, out, plan.bytes);
    bytes_put(ret, b->p + h->message.off, h->message.len);
}

static void check_edits(const struct bytes *b, const struct codec_ttheader *h,
                        struct naive_ttheader *naive)
{
    static struct naive_ttheader again;
    static struct bytes written;
    struct codec_ttheader_edit edits[EDITS_MAX];
    size_t n = random_edits(edits);
    /* What was damaged to be no message would look like a length without one. */
    bool is_message = b->p[h->message.off] >= 0x80;
    const struct codec_ttheader_to to = {(int32_t)random_next(&rnd), h->message.len,
                                         !is_message || random_one_in(&rnd, 2)};

    write_edited(&written, b, h, n, edits, &to);
    naive_ttheader_read(&again, written.p, written.len, LIMIT);
    assert_true(again.ok);
    assert_int_equal(again.sequence, to.sequence);
    assert_int_equal(again.is_inner_framed, to.is_inner_framed);
    assert_int_equal(again.message.len, h->message.len);
    for (size_t i = 0; i < n; i++) {
        naive_ttheader_edit(naive, &edits[i]);
    }
    if (!naive_ttheader_same(naive, &again)) {
        fail_msg("%zu edits read differently", n);
    }
}

/* Nothing edited: the bytes that came, but for padding that nobody needs. */
static void check_identity(const struct bytes *b, const struct codec_ttheader *h)
{
    static struct bytes written;
    const struct codec_ttheader_to to = {h->sequence, h->message.len, h->is_inner_framed};

    write_edited(&written, b, h, 0, NULL, &to);
    if (h->header_bytes - h->info_end < 4) {
        assert_int_equal(written.len, b->len);
        assert_memory_equal(written.p, b->p, b->len);
    } else {
        assert_true(written.len < b->len);
    }
}

static void check_one(const struct bytes *b)
{
    static struct naive_ttheader naive;
    struct codec_ttheader h;
    struct codec_ttheader other;
    bool ok = read_in_steps(b, b->len, &h);
    size_t step = 1 + random_below(&rnd, 9);

    naive_ttheader_read(&naive, b->p, b->len, LIMIT);
    if (ok != naive.ok) {
        fail_msg("only one accepts: \"%s\" at %" PRIu32, codec_ttheader_error_str(h.error),
                 h.error_off);
    }
    assert_int_equal(read_in_steps(b, step, &other), ok);
    assert_int_equal(other.error, h.error);
    assert_int_equal(other.error_off, h.error_off);
    accepted += ok;
    refused += !ok;
    errors[h.error]++;
    if (ok) {
        assert_memory_equal(other.ints, h.ints, sizeof h.ints);
        check_content(b, &h, &naive);
        check_identity(b, &h);
        check_edits(b, &h, &naive);
    }
}

static void test_agreement(void **state)
{
    static struct bytes b;

    for (unsigned i = 0; i < HEADERS; i++) {
        generate(&b);
        check_one(&b);
        damage(&b);
        check_one(&b);
    }
    assert_true(accepted > HEADERS && refused > HEADERS / 4);
    for (int i = 0; i < CODEC_TTHEADER_ERROR_MAX; i++) {
        print_message("%-42s %u\n", codec_ttheader_error_str((enum codec_ttheader_error)i),
                      errors[i]);
        assert_true(errors[i] > 0 || i == CODEC_TTHEADER_ERROR_TOO_LARGE);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_agreement),
    };

    guard_init(&guard, 1 << 16);
    guard_init(&out_guard, 1 << 16);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    guard_done(&out_guard);
    return failed;
}
