/*
 * tests/codec/templates_test.c: the prototypes are what reply_build expects of them.
 * SPDX-License-Identifier: Apache-2.0
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "codec/templates.h"
#include "tests/codec/bytes.h"

static void check(const struct codec_template *template, const char *hex, size_t text_off,
                  size_t code_off)
{
    struct bytes wanted = {0};

    bytes_put_hex(&wanted, hex);
    assert_int_equal(template->len, wanted.len);
    assert_memory_equal(template->bytes, wanted.p, wanted.len);
    assert_int_equal(template->text_off, text_off);
    assert_int_equal(template->code_off, code_off);
    bytes_done(&wanted);
}

static void test_templates(void **state)
{
    struct codec_templates *templates = codec_templates_new();

    assert_non_null(templates);
    check(&templates->exception, "0b0001 00000000 080002 00000000 00", 3, 10);
    check(&templates->base_resp, "0c0000 0c00ff 0b0001 00000000 080002 00000000 00 00 00", 9, 16);
    check(&templates->empty, "00", 0, 0);
    assert_null(codec_templates_free(templates));
}

static void test_free_takes_null(void **state)
{
    assert_null(codec_templates_free(NULL));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_templates),
        cmocka_unit_test(test_free_takes_null),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
