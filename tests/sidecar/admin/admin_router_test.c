/*
 * tests/sidecar/admin/admin_router_test.c: which Host headers the TCP door answers.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/router.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>

#include <cmocka.h>

static bool allowed(const char *host)
{
    static char name[] = "tside.internal";
    char *const hosts[] = {name};
    return router_host_allowed(host, hosts, 1);
}

static void test_addresses_and_known_names(void **state)
{
    static const char *const good[] = {
        "127.0.0.1",  "127.0.0.1:9901", "10.2.3.4:80",       "[::1]",
        "[::1]:80",   "localhost",      "localhost:9901",    "LocalHost",
        "localhost:", "tside.internal", "TSIDE.internal:80",
    };
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        if (!allowed(good[i])) {
            fail_msg("%s is refused", good[i]);
        }
    }
    (void)state;
}

static void test_all_others(void **state)
{
    static const char *const bad[] = {
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "::1",
        "[::1",
        "[::1]x",
        "[localhost]",
        "127.0.0.1x",
        "127.0.0.1:80x",
        "127.0.0.1:80:80",
        "tside.internal.",
        "localhos",
        "user@localhost",
        ":80",
        "[]",
        "[]:80",
        "tside.internal/..",
        "[127.0.0.1]",
        "127.1",
    };
    assert_false(allowed(NULL));
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        if (allowed(bad[i])) {
            fail_msg("%s is let in", bad[i]);
        }
    }
    (void)state;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses_and_known_names),
        cmocka_unit_test(test_all_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
