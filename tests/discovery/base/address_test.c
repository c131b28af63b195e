/*
 * address_test.c: "host:port" of every kind, and what is none.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/cmocka_first.h"

#include "discovery/base/address.h"

#include <string.h>

#define N64  "0123456789012345678901234567890123456789012345678901234567abcdef"
#define N253 N64 N64 N64 "0123456789012345678901234567890123456789012345678901234567abc"

static const struct {
    const char *text;
    enum address_fault fault;
    enum address_kind kind;
    const char *host;
    unsigned port;
} table[] = {
    {"1.2.3.4:80", ADDRESS_GOOD, ADDRESS_V4, "1.2.3.4", 80},
    {"0.0.0.0:0", ADDRESS_GOOD, ADDRESS_V4, "0.0.0.0", 0},
    {"255.255.255.255:65535", ADDRESS_GOOD, ADDRESS_V4, "255.255.255.255", 65535},
    {"[::1]:80", ADDRESS_GOOD, ADDRESS_V6, "::1", 80},
    {"[::ffff:1.2.3.4]:80", ADDRESS_GOOD, ADDRESS_V6, "::ffff:1.2.3.4", 80},
    {"localhost:80", ADDRESS_GOOD, ADDRESS_NAME, "localhost", 80},
    {"etcd-0.etcd_a:2379", ADDRESS_GOOD, ADDRESS_NAME, "etcd-0.etcd_a", 2379},
    {N253 ":1", ADDRESS_GOOD, ADDRESS_NAME, N253, 1},

    {"", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4:", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4:00", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4:080", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4:+80", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4:8x", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4:65536", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"1.2.3.4:123456", ADDRESS_BAD_PORT, 0, NULL, 0},
    {"[::1]", ADDRESS_BAD_PORT, 0, NULL, 0},
    {":80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"*:80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"1.2.3:80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"1.2.3.256:80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"1.2.3.4.5:80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"::1:80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"[:80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"a b:80", ADDRESS_BAD_HOST, 0, NULL, 0},
    {"[]:80", ADDRESS_BAD_BRACKETS, 0, NULL, 0},
    {"[1.2.3.4]:80", ADDRESS_BAD_BRACKETS, 0, NULL, 0},
    {"[fe80::1%eth0]:80", ADDRESS_BAD_BRACKETS, 0, NULL, 0},
    {N253 "a:1", ADDRESS_LONG_HOST, 0, NULL, 0},
};

static void test_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        struct address address = {.port = 7, .host = "untouched"};
        enum address_fault fault = address_parse(table[i].text, strlen(table[i].text), &address);
        if (fault != table[i].fault) {
            fail_msg("%s: %d, not %d", table[i].text, (int)fault, (int)table[i].fault);
        }
        assert_string_equal(address.host, table[i].host != NULL ? table[i].host : "untouched");
        assert_int_equal(address.port, table[i].host != NULL ? table[i].port : 7);
        assert_true(table[i].host == NULL || address.kind == table[i].kind);
    }
}

static void test_any_byte(void **state)
{
    struct address address;
    (void)state;
    assert_int_equal(address_parse("a\0b:80", 6, &address), ADDRESS_BAD_HOST);
    assert_int_equal(address_parse("[::1\0]:80", 9, &address), ADDRESS_BAD_HOST);
    assert_int_equal(address_parse("a:8\0", 4, &address), ADDRESS_BAD_PORT);
    assert_int_equal(address_parse("a:80:81", 4, &address), ADDRESS_GOOD); /* len counts */
    assert_int_equal(address.port, 80);
}

static void test_host_alone(void **state)
{
    struct address address;
    (void)state;
    assert_int_equal(address_parse_host("[::1]", 5, &address), ADDRESS_GOOD);
    assert_string_equal(address.host, "::1");
    assert_int_equal(address.port, 0);
    assert_int_equal(address_parse_host("", 0, &address), ADDRESS_BAD_HOST);
    assert_int_equal(address_parse_host("[", 1, &address), ADDRESS_BAD_HOST);
}

static void test_reach(void **state)
{
    (void)state;
    static const struct {
        const char *host;
        enum address_reach reach;
    } reaches[] = {
        {"10.0.0.1", ADDRESS_ONE_HOST},
        {"223.255.255.255", ADDRESS_ONE_HOST},
        {"240.0.0.1", ADDRESS_ONE_HOST},
        {"[fe80::1]", ADDRESS_ONE_HOST},
        {"example.service", ADDRESS_ONE_HOST},
        {"[::ffff:10.0.0.1]", ADDRESS_ONE_HOST},
        {"127.0.0.1", ADDRESS_LOOPBACK},
        {"127.255.255.255", ADDRESS_LOOPBACK},
        {"[::1]", ADDRESS_LOOPBACK},
        {"[::ffff:127.0.0.1]", ADDRESS_LOOPBACK},
        {"0.0.0.0", ADDRESS_UNSPECIFIED},
        {"[::]", ADDRESS_UNSPECIFIED},
        {"[::ffff:0.0.0.0]", ADDRESS_UNSPECIFIED},
        {"224.0.0.0", ADDRESS_MULTICAST},
        {"239.255.255.255", ADDRESS_MULTICAST},
        {"[ff02::1]", ADDRESS_MULTICAST},
        {"[::ffff:224.0.0.1]", ADDRESS_MULTICAST},
        {"255.255.255.255", ADDRESS_BROADCAST},
    };
    for (size_t i = 0; i < sizeof reaches / sizeof reaches[0]; i++) {
        struct address address;
        const char *host = reaches[i].host;
        assert_int_equal(address_parse_host(host, strlen(host), &address), ADDRESS_GOOD);
        if (address_reach(&address) != reaches[i].reach) {
            fail_msg("%s: %d", host, (int)address_reach(&address));
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table),
        cmocka_unit_test(test_any_byte),
        cmocka_unit_test(test_host_alone),
        cmocka_unit_test(test_reach),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
