/*
 * tests/discovery/etcd/etcd_endpoints_test.c: URLs and the addresses of their names, as numbers.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/cmocka_first.h"

#include <stdio.h>
#include <string.h>

#include "discovery/etcd/etcd_endpoints.h"

static struct etcd_endpoints e;

static void begin(const char *const urls[], uint32_t n)
{
    etcd_endpoints_init(&e, urls, n);
}

/* "url=address ..." of all numbers in use, in their order. */
static const char *shown(void)
{
    static char text[8192];
    uint32_t numbers[ETCD_ENDPOINTS_MAX];
    uint32_t n = etcd_endpoints_numbers(&e, numbers);
    text[0] = '\0';
    for (uint32_t i = 0; i < n; i++) {
        const struct etcd_endpoint *endpoint = &e.endpoint[numbers[i]];
        sprintf(text + strlen(text), "%s%s=%s", i > 0 ? " " : "", endpoint->url, endpoint->address);
    }
    return text;
}

static struct etcd_endpoint *at(const char *address)
{
    for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        if (e.endpoint[i].url != NULL && strcmp(e.endpoint[i].address, address) == 0) {
            return &e.endpoint[i];
        }
    }
    return NULL;
}

static void resolved(uint32_t source, const char *a, const char *b)
{
    char address[2][ETCD_ADDRESS_MAX_BYTES];
    size_t n = 0;
    snprintf(address[n], sizeof address[n], "%s", a != NULL ? a : "");
    n += a != NULL;
    if (b != NULL) {
        snprintf(address[n++], sizeof address[0], "%s", b);
    }
    etcd_endpoints_resolved(&e, source, address, n);
}

static void test_which_are_names(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://10.0.0.1:2379/", "http://[::1]:2379",
                                       "http://etcd:2379//", "http://etcd-0.etcd.svc:2379"};
    begin(urls, 4);
    assert_null(e.name[0]);
    assert_null(e.name[1]);
    assert_string_equal(e.name[2], "etcd");
    assert_string_equal(e.name[3], "etcd-0.etcd.svc");
    assert_string_equal(shown(), "http://10.0.0.1:2379= http://[::1]:2379= http://etcd:2379= "
                                 "http://etcd-0.etcd.svc:2379=");
    etcd_endpoints_done(&e);
}

static void test_addresses_come_and_go(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://etcd:1", "http://10.0.0.9:1"};
    begin(urls, 2);
    resolved(0, NULL, NULL); /* no answer: the name stays one */
    assert_string_equal(shown(), "http://etcd:1= http://10.0.0.9:1=");
    resolved(0, "10.0.0.1", "[fd00::1]");
    assert_string_equal(shown(),
                        "http://10.0.0.9:1= http://etcd:1=10.0.0.1 http://etcd:1=[fd00::1]");
    /* One is in use: it stays though the answer has it not, until it fails. */
    at("10.0.0.1")->ok = true;
    resolved(0, "10.0.0.2", NULL);
    assert_string_equal(shown(),
                        "http://10.0.0.9:1= http://etcd:1=10.0.0.1 http://etcd:1=10.0.0.2");
    etcd_endpoints_prune(&e);
    assert_non_null(at("10.0.0.1"));
    at("10.0.0.1")->ok = false;
    etcd_endpoints_prune(&e);
    assert_null(at("10.0.0.1"));
    /* One that failed and is listed stays; an empty answer changes nothing. */
    etcd_endpoints_prune(&e);
    resolved(0, NULL, NULL);
    assert_string_equal(shown(), "http://10.0.0.9:1= http://etcd:1=10.0.0.2");
    etcd_endpoints_done(&e);
}

/* It comes back before it was gone: it is the same one, with what is known of it. */
static void test_the_same_again(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://etcd:1"};
    begin(urls, 1);
    resolved(0, "10.0.0.1", "10.0.0.2");
    const struct etcd_endpoint *one = at("10.0.0.1");
    at("10.0.0.1")->failures = 7;
    resolved(0, "10.0.0.2", "10.0.0.1");
    assert_ptr_equal(at("10.0.0.1"), one);
    assert_int_equal(one->failures, 7);
    etcd_endpoints_done(&e);
}

/* A number that became free is not given out at once: what is under way at it would pass for the
 * new one. */
static void test_numbers_do_not_come_back_at_once(void **state)
{
    (void)state;
    static const char *const urls[] = {"http://etcd:1"};
    begin(urls, 1);
    resolved(0, "10.0.0.1", NULL);
    for (int i = 2; i < 200; i++) {
        char address[32];
        uint32_t before[ETCD_ENDPOINTS_MAX], after[ETCD_ENDPOINTS_MAX];
        assert_int_equal(etcd_endpoints_numbers(&e, before), 1);
        snprintf(address, sizeof address, "10.0.0.%d", i);
        resolved(0, address, NULL);
        assert_int_equal(etcd_endpoints_numbers(&e, after), 1);
        assert_int_not_equal(before[0], after[0]);
    }
    etcd_endpoints_done(&e);
}

static void test_more_than_there_are_numbers(void **state)
{
    (void)state;
    const char *urls[ETCD_ENDPOINTS_MAX];
    for (int i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
        urls[i] = "http://etcd:1";
    }
    begin(urls, ETCD_ENDPOINTS_MAX);
    resolved(0, "10.0.0.1", "10.0.0.2");
    assert_int_equal(e.left_out, 1);
    assert_non_null(at("10.0.0.1"));
    assert_null(at("10.0.0.2"));
    etcd_endpoints_done(&e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_which_are_names),
        cmocka_unit_test(test_addresses_come_and_go),
        cmocka_unit_test(test_the_same_again),
        cmocka_unit_test(test_numbers_do_not_come_back_at_once),
        cmocka_unit_test(test_more_than_there_are_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
