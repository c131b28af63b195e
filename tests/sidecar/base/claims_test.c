/*
 * tests/sidecar/base/claims_test.c: which uid may claim which From.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/claims.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

static bool allow(const struct claims *claims, int64_t uid, const char *from)
{
    return claims_allow(claims, uid, from, strlen(from));
}

static void test_what_is_listed_is_allowed(void **state)
{
    struct claims claims = {0};
    (void)state;
    assert_true(allow(&claims, -1, "any"));
    claims.set = true;
    assert_false(allow(&claims, 0, "any"));
    assert_int_equal(claims_add(&claims, 0, "a"), 0);
    assert_int_equal(claims_add(&claims, 1001, "a"), 0);
    assert_int_equal(claims_add(&claims, 1001, "ab"), 0);
    assert_int_equal(claims_add(&claims, 1001, "a"), -EEXIST);
    static const struct {
        int64_t uid;
        const char *from;
        bool expected;
    } cases[] = {
        {0, "a", true},
        {0, "ab", false},
        {1001, "a", true},
        {1001, "ab", true},
        {1001, "", false},
        {1001, "abc", false},
        {1001, "b", false},
        {1002, "a", false},
        {-1, "a", false},
        {UINT32_MAX, "a", false},
        {INT64_C(1) << 32, "a", false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        assert_int_equal(allow(&claims, cases[i].uid, cases[i].from), cases[i].expected);
    }
    claims_done(&claims);
    assert_true(allow(&claims, 1002, "a"));
}

static void test_equal_in_any_order(void **state)
{
    struct claims a = {.set = true}, b = {.set = true};
    (void)state;
    assert_int_equal(claims_add(&a, 1, "x"), 0);
    assert_int_equal(claims_add(&a, 2, "y"), 0);
    assert_int_equal(claims_add(&b, 2, "y"), 0);
    assert_false(claims_equal(&a, &b));
    assert_int_equal(claims_add(&b, 1, "x"), 0);
    assert_true(claims_equal(&a, &b));
    claims_done(&b);
    assert_false(claims_equal(&b, &(struct claims){.set = true})); /* none, or any */
    assert_int_equal(claims_add(&b, 1, "y"), 0);
    assert_int_equal(claims_add(&b, 2, "x"), 0);
    b.set = true;
    assert_false(claims_equal(&a, &b));
    claims_done(&a);
    claims_done(&b);
}

static void test_too_many(void **state)
{
    struct claims claims = {.set = true};
    (void)state;
    for (uint32_t uid = 0; uid < CLAIMS_MAX; uid++) {
        assert_int_equal(claims_add(&claims, uid, "a"), 0);
    }
    assert_int_equal(claims_add(&claims, CLAIMS_MAX, "a"), -E2BIG);
    assert_true(allow(&claims, CLAIMS_MAX - 1, "a"));
    claims_done(&claims);
}

static void test_uids_are_numbers(void **state)
{
    static const char *const bad[] = {"",
                                      "-1",
                                      "+1",
                                      " 1",
                                      "1 ",
                                      "0x1",
                                      "1x",
                                      "root",
                                      "4294967295",
                                      "4294967296",
                                      "1.0",
                                      "1_0",
                                      "18446744073709551616"};
    uint32_t uid = 7;
    (void)state;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(claims_parse_uid(bad[i], &uid));
        assert_int_equal(uid, 7);
    }
    assert_true(claims_parse_uid("4294967294", &uid));
    assert_int_equal(uid, 4294967294);
    assert_true(claims_parse_uid("0", &uid));
    assert_int_equal(uid, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_listed_is_allowed),
        cmocka_unit_test(test_equal_in_any_order),
        cmocka_unit_test(test_too_many),
        cmocka_unit_test(test_uids_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
