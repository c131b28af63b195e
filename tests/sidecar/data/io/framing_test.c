/*
 * framing_test.c: the framed transport's head: four bytes, big-endian, within a limit; and none at all.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/io/framing.h"

#include "tests/support/guard.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void test_heads(void **state)
{
    static const struct {
        uint8_t bytes[4];
        enum framing_status status;
        uint32_t len;
    } cases[] = {
        {{0, 0, 0, 1}, FRAMING_HEAD, 1},
        {{0, 0, 1, 0}, FRAMING_HEAD, 256},
        {{0, 1, 0, 0}, FRAMING_HEAD, 65536},
        {{0, 0, 0, 0}, FRAMING_EMPTY, 0},
        {{0, 1, 0, 1}, FRAMING_TOO_LARGE, 0},
        {{0x7f, 0xff, 0xff, 0xff}, FRAMING_TOO_LARGE, 0},
        {{0x80, 0, 0, 0}, FRAMING_TOO_LARGE, 0},
        {{0xff, 0xff, 0xff, 0xfc}, FRAMING_TOO_LARGE, 0}, /* with its head it would have length 0 */
        {{0xff, 0xff, 0xff, 0xff}, FRAMING_TOO_LARGE, 0},
    };
    struct guard guard;
    (void)state;
    guard_init(&guard, 4);
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct framing_head read = {0, 77};
        const uint8_t *head = guard_copy(&guard, cases[i].bytes, 4);
        assert_int_equal(framing_framed.head_read(head, 4, 65536, &read), cases[i].status);
        assert_int_equal(read.len, cases[i].status == FRAMING_HEAD ? cases[i].len : 77);
    }
    guard_done(&guard);
}

/* No byte is looked at that is not there. */
static void test_heads_that_are_cut(void **state)
{
    static const uint8_t bytes[] = {0, 0, 0, 5};
    struct guard guard;
    (void)state;
    guard_init(&guard, 4);
    for (size_t avail = 0; avail < 4; avail++) {
        struct framing_head read = {0, 77};
        const uint8_t *head = guard_copy(&guard, bytes, avail);
        assert_int_equal(framing_framed.head_read(head, avail, 100, &read), FRAMING_MORE);
        assert_int_equal(read.len, 77);
    }
    guard_done(&guard);
}

static void test_what_is_written_is_read(void **state)
{
    static const uint32_t lens[] = {1, 255, 256, 16384000, 0x7fffffff};
    (void)state;
    assert_int_equal(framing_framed.head_bytes, 4);
    assert_int_equal(framing_framed.head_least, 4);
    for (size_t i = 0; i < sizeof lens / sizeof lens[0]; i++) {
        uint8_t head[6] = {0xa5, 0, 0, 0, 0, 0xa5};
        struct framing_head read = {0, 0};
        framing_framed.head_write(head + 1, lens[i]);
        assert_true(head[0] == 0xa5 && head[5] == 0xa5);
        assert_int_equal(framing_framed.head_read(head + 1, 4, 0x7fffffff, &read), FRAMING_HEAD);
        assert_int_equal(read.len, lens[i]);
        assert_int_equal(read.bytes, 4);
    }
}

/* No head, and no length: the message's own grammar says where it ends. */
static void test_unframed(void **state)
{
    static const uint8_t bytes[] = {0x80, 1, 0, 1};
    struct framing_head read = {77, 77};
    (void)state;
    assert_int_equal(framing_unframed.head_read(bytes, 0, 100, &read), FRAMING_MORE);
    read = (struct framing_head){77, 77};
    assert_int_equal(framing_unframed.head_read(bytes, 1, 100, &read), FRAMING_HEAD);
    assert_int_equal(read.bytes, 0);
    assert_int_equal(read.len, 0);
    assert_int_equal(framing_unframed.head_bytes, 0);
    framing_unframed.head_write(NULL, 5);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_heads),
        cmocka_unit_test(test_heads_that_are_cut),
        cmocka_unit_test(test_what_is_written_is_read),
        cmocka_unit_test(test_unframed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
