/*
 * key_test.c: which keys are ours, which are refused, and what they mean.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/key.h"

#include "tests/discovery/cmocka_first.h"

#define N64  "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
#define N256 N64 N64 N64 N64

static const char *str(struct disc_str s, char buf[DISC_NAME_MAX_BYTES + 1])
{
    (void)snprintf(buf, DISC_NAME_MAX_BYTES + 1, "%.*s", (int)s.len, s.p);
    return buf;
}

static const struct {
    const char *key;
    enum disc_key_verdict verdict;
    const char *text; /* OURS: pattern, kind and the names; REFUSED: part of the reason */
} rules[] = {
    {"a/b/c/d/e/traffic", DISC_KEY_OURS, "0 traffic a b c d e"},
    {"a/b/c/d/e/degrade", DISC_KEY_OURS, "0 degrade a b c d e"},
    {"a/b/c/d/e/config", DISC_KEY_OURS, "0 config a b c d e"},
    {"*/b/c/d/e/config", DISC_KEY_OURS, "16 config  b c d e"},
    {"a/*/c/d/e/config", DISC_KEY_OURS, "8 config a  c d e"},
    {"a/b/*/d/e/config", DISC_KEY_OURS, "4 config a b  d e"},
    {"a/b/c/*/e/config", DISC_KEY_OURS, "2 config a b c  e"},
    {"a/b/c/d/*/config", DISC_KEY_OURS, "1 config a b c d "},
    {"*/*/*/*/*/config", DISC_KEY_OURS, "31 config     "},
    {"a%2Fb/%25/%2A/d/%0A/config", DISC_KEY_OURS, "0 config a/b % * d \n"},
    {"%7F/b/c/d/e/config", DISC_KEY_OURS, "0 config \x7f b c d e"},
    {"a b/\xc3\xbc/\xff/./../config", DISC_KEY_OURS, "0 config a b \xc3\xbc \xff . .."},
    {N256 "/b/c/d/e/config", DISC_KEY_OURS, "0 config " N256 " b c d e"},
    {"--/-a/c/d/e/config", DISC_KEY_OURS, "0 config -- -a c d e"},
    {"", DISC_KEY_FOREIGN, ""},
    {"a/b/c/d/e", DISC_KEY_FOREIGN, ""},
    {"a/b/c/d/config", DISC_KEY_FOREIGN, ""},
    {"a/b/c/d/e/f/config", DISC_KEY_FOREIGN, ""},
    {"a/b/c/d/e/config/", DISC_KEY_FOREIGN, ""},
    {"/a/b/c/d/e/config", DISC_KEY_FOREIGN, ""},
    {"a/b/c/d/e/Config", DISC_KEY_FOREIGN, ""},
    {"a/b/c/d/e/", DISC_KEY_FOREIGN, ""},
    {"a/b/c/d/e/confi%67", DISC_KEY_FOREIGN, ""},
    {"a%2f/b/c/d/e/config", DISC_KEY_REFUSED, "From: \"%\" must be followed by two upper-case"},
    {"a/b%/c/d/e/config", DISC_KEY_REFUSED, "FromCluster: \"%\""},
    {"a/b/c%2/d/e/config", DISC_KEY_REFUSED, "To: \"%\""},
    {"a/b/c/%GG/e/config", DISC_KEY_REFUSED, "ToCluster: \"%\""},
    {"a/b/c/d/%41/config", DISC_KEY_REFUSED, "Method: %41 must be written as the byte itself"},
    {"a/b/c/d/%C3/config", DISC_KEY_REFUSED, "Method: %C3 must be written as the byte itself"},
    {"a\n/b/c/d/e/config", DISC_KEY_REFUSED, "From: byte 0x0a must be written %0A"},
    {"a/b/c/d/e*/config", DISC_KEY_REFUSED, "Method: byte 0x2a must be written %2A"},
    {"**/b/c/d/e/config", DISC_KEY_REFUSED, "From: byte 0x2a must be written %2A"},
    {"/b/c/d/e/config", DISC_KEY_REFUSED, "From is empty"},
    {"a/b/c//e/config", DISC_KEY_REFUSED, "ToCluster is empty"},
    {"a/b/-/d/e/config", DISC_KEY_REFUSED, "To is \"-\""},
    {"x" N256 "/b/c/d/e/config", DISC_KEY_REFUSED, "From is longer than 256 bytes"},
};

static void test_rule_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        static struct disc_rule_key key;
        struct disc_error error = {"?", ""};
        char text[2048];
        char buf[DISC_NAMES][DISC_NAME_MAX_BYTES + 1];
        enum disc_key_verdict verdict =
            disc_rule_key_parse(rules[i].key, strlen(rules[i].key), &key, &error);
        if (verdict != rules[i].verdict) {
            fail_msg("%s: verdict %d, %s", rules[i].key, (int)verdict, error.reason);
        }
        if (verdict == DISC_KEY_REFUSED && strstr(error.reason, rules[i].text) == NULL) {
            fail_msg("%s: %s", rules[i].key, error.reason);
        }
        if (verdict != DISC_KEY_OURS) {
            continue;
        }
        (void)snprintf(text, sizeof text, "%u %s %s %s %s %s %s", key.pattern,
                       disc_kind_str(key.kind), str(key.tuple.name[0], buf[0]),
                       str(key.tuple.name[1], buf[1]), str(key.tuple.name[2], buf[2]),
                       str(key.tuple.name[3], buf[3]), str(key.tuple.name[4], buf[4]));
        assert_string_equal(text, rules[i].text);
        /* One spelling: what is parsed is written the same. */
        (void)disc_rule_key_encode(&key.tuple, key.pattern, key.kind, text, sizeof text);
        assert_string_equal(text, rules[i].key);
    }
}

static void test_a_nul_byte_is_not_ours(void **state)
{
    (void)state;
    struct disc_rule_key rule;
    struct disc_service_key service;
    struct disc_error error;
    assert_int_equal(disc_rule_key_parse("a\0/b/c/d/e/config", 17, &rule, &error),
                     DISC_KEY_FOREIGN);
    assert_int_equal(disc_service_key_parse("a/b/1.2.3.4:1\0", 14, &service, &error),
                     DISC_KEY_FOREIGN);
}

static const struct {
    const char *key;
    enum disc_key_verdict verdict;
    const char *text; /* OURS: service, cluster, host, port; REFUSED: part of the reason */
} services[] = {
    {"s/default/10.0.0.1:80", DISC_KEY_OURS, "s default 10.0.0.1 80"},
    {"s%2F/b/127.0.0.1:65535", DISC_KEY_OURS, "s/ b 127.0.0.1 65535"},
    {"s/b/[::1]:1", DISC_KEY_OURS, "s b ::1 1"},
    {"s/b/[fe80::1:2]:8080", DISC_KEY_OURS, "s b fe80::1:2 8080"},
    {"s/b/[::ffff:1.2.3.4]:1", DISC_KEY_OURS, "s b ::ffff:1.2.3.4 1"},
    {"s/b", DISC_KEY_FOREIGN, ""},
    {"s/b/c/1.2.3.4:1", DISC_KEY_FOREIGN, ""},
    {"", DISC_KEY_FOREIGN, ""},
    {"*/b/1.2.3.4:1", DISC_KEY_REFUSED, "\"*\" cannot stand"},
    {"s/*/1.2.3.4:1", DISC_KEY_REFUSED, "\"*\" cannot stand"},
    {"/b/1.2.3.4:1", DISC_KEY_REFUSED, "Service is empty"},
    {"s/-/1.2.3.4:1", DISC_KEY_REFUSED, "Cluster is \"-\""},
    {"s/b/", DISC_KEY_REFUSED, "host:port"},
    {"s/b/1.2.3.4", DISC_KEY_REFUSED, "host:port"},
    {"s/b/1.2.3.4:", DISC_KEY_REFUSED, "host:port"},
    {"s/b/1.2.3.4:0", DISC_KEY_REFUSED, "port from 1 to 65535"},
    {"s/b/1.2.3.4:080", DISC_KEY_REFUSED, "port from 1 to 65535"},
    {"s/b/1.2.3.4:65536", DISC_KEY_REFUSED, "port from 1 to 65535"},
    {"s/b/1.2.3.4:123456", DISC_KEY_REFUSED, "port from 1 to 65535"},
    {"s/b/1.2.3.4:8x", DISC_KEY_REFUSED, "port from 1 to 65535"},
    {"s/b/:80", DISC_KEY_REFUSED, "IPv4"},
    {"s/b/1.2.3:80", DISC_KEY_REFUSED, "IPv4"},
    {"s/b/1.2.3.256:80", DISC_KEY_REFUSED, "IPv4"},
    {"s/b/01.2.3.4:80", DISC_KEY_REFUSED, "IPv4"},
    {"s/b/::1:80", DISC_KEY_REFUSED, "brackets"},
    {"s/b/[1.2.3.4]:80", DISC_KEY_REFUSED, "IPv6"},
    {"s/b/[fe80::1%25eth0]:80", DISC_KEY_REFUSED, "IPv6"},
    {"s/b/[]:80", DISC_KEY_REFUSED, "IPv6"},
    {"s/b/0.0.0.0:80", DISC_KEY_REFUSED, "0.0.0.0 is no host's address"},
    {"s/b/[::]:80", DISC_KEY_REFUSED, ":: is no host's address"},
    {"s/b/[::ffff:0.0.0.0]:80", DISC_KEY_REFUSED, "is no host's address"},
    {"s/b/[0:0:0::0]:80", DISC_KEY_REFUSED, "is no host's address"},
    {"s/b/224.0.0.1:80", DISC_KEY_REFUSED, "multicast"},
    {"s/b/239.255.255.255:80", DISC_KEY_REFUSED, "multicast"},
    {"s/b/[ff02::1]:80", DISC_KEY_REFUSED, "multicast"},
    {"s/b/255.255.255.255:80", DISC_KEY_REFUSED, "broadcast"},
    {"s/b/localhost:80", DISC_KEY_REFUSED, "host names: not yet, give an IP address"},
    {"s/b/db-1.example.com:80", DISC_KEY_REFUSED, "host names: not yet, give an IP address"},
    {"s/b/" N256 ":80", DISC_KEY_REFUSED, "longer than any IP address"},
};

static void test_service_keys(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof services / sizeof services[0]; i++) {
        struct disc_service_key key;
        struct disc_error error = {"?", ""};
        char text[512];
        char buf[2][DISC_NAME_MAX_BYTES + 1];
        enum disc_key_verdict verdict =
            disc_service_key_parse(services[i].key, strlen(services[i].key), &key, &error);
        if (verdict != services[i].verdict) {
            fail_msg("%s: verdict %d, %s", services[i].key, (int)verdict, error.reason);
        }
        if (verdict == DISC_KEY_REFUSED && strstr(error.reason, services[i].text) == NULL) {
            fail_msg("%s: %s", services[i].key, error.reason);
        }
        if (verdict == DISC_KEY_OURS) {
            (void)snprintf(text, sizeof text, "%s %s %s %u", str(key.service, buf[0]),
                           str(key.cluster, buf[1]), key.host, key.port);
            assert_string_equal(text, services[i].text);
            assert_string_equal(key.address, strrchr(services[i].key, '/') + 1);
        }
    }
}

static void test_tuples_of_commands(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        const char *encoded; /* NULL: refused */
        uint32_t wild;
    } cases[] = {
        {"a/b/c/d/e", "a/b/c/d/e", 0},
        {"a/c/e", "a/default/c/default/e", 0},
        {"-/-/c/-/e", "-/-/c/-/e", 0},
        {"*/*/c/d/*", "-/-/c/d/-", 25},
        {"a%2F/c/e", "a%2F/default/c/default/e", 0},
        {"a/b/c/d", NULL, 0},
        {"a/b/c/d/e/f", NULL, 0},
        {"a%2f/c/e", NULL, 0},
        {"a//e", NULL, 0},
        {"", NULL, 0},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        char buf[DISC_NAMES * DISC_NAME_MAX_BYTES];
        char encoded[DISC_TUPLE_ENCODED_MAX_BYTES];
        struct disc_tuple tuple;
        struct disc_error error = {"", ""};
        uint32_t wild = 0;
        bool ok =
            disc_tuple_parse(cases[i].text, strlen(cases[i].text), buf, &tuple, &wild, &error);
        if (cases[i].encoded == NULL) {
            assert_false(ok);
            assert_true(strlen(error.reason) > 0);
            continue;
        }
        assert_true(ok);
        assert_int_equal(wild, cases[i].wild);
        (void)disc_tuple_encode(&tuple, encoded, sizeof encoded);
        assert_string_equal(encoded, cases[i].encoded);
    }
    char buf[DISC_NAMES * DISC_NAME_MAX_BYTES];
    struct disc_tuple tuple;
    struct disc_error error;
    assert_false(disc_tuple_parse("*/b/c", 5, buf, &tuple, NULL, &error)); /* no rule, a call */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rule_keys),
        cmocka_unit_test(test_a_nul_byte_is_not_ours),
        cmocka_unit_test(test_service_keys),
        cmocka_unit_test(test_tuples_of_commands),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
