/*
 * tests/sidecar/shared/endpoint_state_test.c: addresses, counts, and an EWMA that is never half a
 * value.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/endpoint_state.h"

#include "lb/p2c.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void test_addresses(void **state)
{
    (void)state;
    struct endpoint_state *v4 = endpoint_state_new("10.0.0.1:8888", "10.0.0.1", 8888, 3);
    assert_non_null(v4);
    assert_int_equal(v4->addr.any.sa_family, AF_INET);
    assert_int_equal(v4->addr.v4.sin_port, htons(8888));
    assert_int_equal(v4->addr.v4.sin_addr.s_addr, htonl(0x0a000001));
    assert_string_equal(v4->address, "10.0.0.1:8888");
    assert_int_equal(v4->workers, 3);
    assert_null(v4->pool_of_worker[2]);
    assert_null(endpoint_state_unref(v4));

    struct endpoint_state *v6 = endpoint_state_new("[::1]:1", "::1", 1, 1);
    assert_non_null(v6);
    assert_int_equal(v6->addr.any.sa_family, AF_INET6);
    assert_memory_equal(&v6->addr.v6.sin6_addr, &in6addr_loopback, sizeof in6addr_loopback);
    endpoint_state_unref(v6);

    assert_null(endpoint_state_new("localhost:1", "localhost", 1, 1));
    assert_null(endpoint_state_new(":1", "", 1, 1));
    assert_null(endpoint_state_unref(NULL));
}

static void test_counted(void **state)
{
    (void)state;
    struct endpoint_state *endpoint = endpoint_state_new("127.0.0.1:1", "127.0.0.1", 1, 1);
    endpoint_state_ref(endpoint);
    endpoint_state_unref(endpoint);
    assert_string_equal(endpoint->address, "127.0.0.1:1");
    endpoint_state_unref(endpoint); /* a leak or a second free shows under asan */
}

static void test_permits(void **state)
{
    (void)state;
    struct permits permits = {0};
    assert_true(permit_take(&permits, 2, 3));
    assert_false(permit_take(&permits, 2, 3));
    assert_true(permit_take(&permits, 1, 3));
    assert_false(permit_take(&permits, 1, 0));
    permit_give(&permits, 3);
    assert_int_equal(permit_taken(&permits), 0);
}

static int about(double got, double want)
{
    return got > want * 0.99 && got < want * 1.01;
}

static void test_ewma(void **state)
{
    (void)state;
    struct endpoint_state *endpoint = endpoint_state_new("127.0.0.1:1", "127.0.0.1", 1, 1);
    uint64_t now_ms = UINT64_C(0x1fffffff0); /* its low half wraps soon */
    assert_true(endpoint_ewma_us(endpoint) == 0);
    endpoint_ewma_record(endpoint, 100, now_ms);
    assert_true(about(endpoint_ewma_us(endpoint), 100));
    endpoint_ewma_record(endpoint, 1000, now_ms + 1); /* a peak at once */
    assert_true(about(endpoint_ewma_us(endpoint), 1000));
    endpoint_ewma_record(endpoint, 0, now_ms); /* from the past: nothing has elapsed */
    assert_true(about(endpoint_ewma_us(endpoint), 1000 * LB_EWMA_KEPT_MAX));
    endpoint_ewma_record(endpoint, 0, now_ms + 1 + 10000); /* one time constant */
    assert_true(about(endpoint_ewma_us(endpoint), 1000 * LB_EWMA_KEPT_MAX / 2.718));
    /* 30 days later, beyond half of what 32 bits of milliseconds hold. */
    endpoint_ewma_record(endpoint, 5, now_ms + UINT64_C(30) * 86400 * 1000);
    assert_true(about(endpoint_ewma_us(endpoint), 5));
    endpoint_state_unref(endpoint);
}

static void *record(void *arg)
{
    struct endpoint_state *endpoint = arg;
    for (int i = 0; i < 20000; i++) {
        endpoint_ewma_record(endpoint, 1000, 5 + (uint64_t)i);
        uint64_t limit = 2;
        if (permit_take(&endpoint->connections, 1, limit)) {
            if (permit_taken(&endpoint->connections) > limit) {
                return endpoint;
            }
            permit_give(&endpoint->connections, 1);
        }
        endpoint_state_ref(endpoint);
        endpoint_state_unref(endpoint);
    }
    return NULL;
}

static void test_threads(void **state)
{
    (void)state;
    struct endpoint_state *endpoint = endpoint_state_new("127.0.0.1:1", "127.0.0.1", 1, 1);
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, record, endpoint), 0);
    }
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    assert_true(about(endpoint_ewma_us(endpoint), 1000));
    assert_int_equal(permit_taken(&endpoint->connections), 0);
    endpoint_state_unref(endpoint);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_addresses), cmocka_unit_test(test_counted),
        cmocka_unit_test(test_permits),   cmocka_unit_test(test_ewma),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
