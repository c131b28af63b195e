/*
 * tests/codec/frame_test.c: the length in front of a message.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/frame.h"
#include "codec/wire.h"
#include "tests/codec/bytes.h"
#include "tests/support/guard.h"

#define MAX WIRE_FRAME_BYTES_DEFAULT

static struct guard guard;

static void test_length(void **state)
{
    static const struct {
        const char *hex;
        uint32_t max;
        enum codec_frame_status status;
        uint32_t len;
    } rows[] = {
        {"", MAX, CODEC_FRAME_MORE, 0},
        {"00", MAX, CODEC_FRAME_MORE, 0},
        {"00fa", MAX, CODEC_FRAME_MORE, 0},
        {"00fa00", MAX, CODEC_FRAME_MORE, 0},
        {"00000000", MAX, CODEC_FRAME_EMPTY, 0},
        {"00000001", MAX, CODEC_FRAME_LENGTH, 1},
        {"00fa0000", MAX, CODEC_FRAME_LENGTH, 16384000},
        {"00fa0001", MAX, CODEC_FRAME_TOO_LARGE, 0},
        {"7fffffff", MAX, CODEC_FRAME_TOO_LARGE, 0},
        {"7fffffff", UINT32_MAX, CODEC_FRAME_LENGTH, INT32_MAX},
        {"80000000", UINT32_MAX, CODEC_FRAME_TOO_LARGE, 0},
        {"ffffffff", UINT32_MAX, CODEC_FRAME_TOO_LARGE, 0},
        /* What can't become a length is said at once. */
        {"01", MAX, CODEC_FRAME_TOO_LARGE, 0},
        {"00fb", MAX, CODEC_FRAME_TOO_LARGE, 0},
        {"80", UINT32_MAX, CODEC_FRAME_TOO_LARGE, 0},
        {"0000000080010001", MAX, CODEC_FRAME_EMPTY, 0},
        {"0000000c80010001", 12, CODEC_FRAME_LENGTH, 12},
        {"0000000d80010001", 12, CODEC_FRAME_TOO_LARGE, 0},
    };

    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct bytes b = {0};
        uint32_t len = 0;
        bytes_put_hex(&b, rows[i].hex);
        const uint8_t *p = guard_copy(&guard, b.p, b.len);
        enum codec_frame_status status = codec_frame_length(p, b.len, rows[i].max, &len);
        if (status != rows[i].status || len != rows[i].len) {
            fail_msg("%s: status %d instead of %d, length %u instead of %u", rows[i].hex, status,
                     rows[i].status, len, rows[i].len);
        }
        bytes_done(&b);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_length),
    };

    guard_init(&guard, 4096);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    guard_done(&guard);
    return failed;
}
