/*
 * tests/discovery/etcd/etcd_fsm_endpoints_test.c: endpoints that come and go under the machine.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/discovery/etcd/etcd_fsm_play.h"

static void endpoints_are(const uint32_t *list, uint32_t n)
{
    step((struct etcd_input){.event = ETCD_EVENT_ENDPOINTS, .endpoints = list, .endpoints_n = n});
}

#define ENDPOINTS(...)                                                                             \
    endpoints_are((const uint32_t[]){__VA_ARGS__},                                                 \
                  sizeof((uint32_t[]){__VA_ARGS__}) / sizeof(uint32_t))

/* The only address is dead and being tried; the name has another one now: there at once. */
static void test_a_new_address_while_opening(void **state)
{
    watching(1);
    now += 10000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    expect(OPEN);
    ENDPOINTS(5);
    expect(OPEN);
    assert_non_null(did(ETCD_DO_CANCEL_WATCH));
    assert_int_equal(did(ETCD_DO_WATCH)->endpoint, 5);
    assert_int_equal(did(ETCD_DO_WATCH)->revision[0], 11);
    created(11);
    expect(WATCH);
    end();
}

static void test_a_new_address_while_listing(void **state)
{
    begin(1);
    simple(ETCD_EVENT_START);
    with("/tside/rules/a", 3, 3, false);
    range_ok_of(CLUSTER, 10, 2, true, 100);
    ENDPOINTS(7);
    expect(LIST);
    assert_non_null(did(ETCD_DO_CANCEL_RANGE));
    assert_int_equal(did(ETCD_DO_RANGE)->endpoint, 7);
    assert_int_equal(did(ETCD_DO_RANGE)->query.revision, 10); /* the pages so far are kept */
    end();
}

/* While it waits: a new one is no reason to wait on, one less is. */
static void test_while_waiting(void **state)
{
    begin(3);
    simple(ETCD_EVENT_START);
    for (int i = 0; i < 3; i++) {
        unreachable();
    }
    expect(LIST_WAIT);
    ENDPOINTS(0, 2);
    expect(LIST_WAIT);
    ENDPOINTS(0, 2, 9);
    expect(LIST);
    unreachable();
    unreachable();
    expect(LIST); /* a new round: each is tried before the next wait */
    list_done();
    now += 1000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    while (etcd_fsm_state(fsm) != ETCD_STATE_OPEN_WAIT) {
        failed(ETCD_EVENT_ENDED, 0, "broken");
    }
    ENDPOINTS(0, 2, 9, 11);
    expect(OPEN);
    end();
}

/* The stream and what is asked beside it go on. */
static void test_while_watching(void **state)
{
    watching(2);
    uint32_t used = etcd_fsm_endpoint(fsm);
    ENDPOINTS(0, 1, 4, 5);
    expect(WATCH);
    assert_int_equal(etcd_fsm_endpoint(fsm), used);
    sleep_on();
    expect(PROBE);
    assert_int_equal(did(ETCD_DO_RANGE)->endpoint, used);
    ENDPOINTS(used, 5);
    expect(PROBE);
    assert_int_equal(actions_n, 0);
    range_ok(10, 1);
    expect(WATCH);
    assert_int_equal(etcd_fsm_endpoint(fsm), used);
    now += 10000;
    failed(ETCD_EVENT_ENDED, 0, "broken");
    assert_int_equal(etcd_fsm_endpoint(fsm), 5);
    end();
}

/* The name has three addresses and the first hangs: on to the next, whichever is first. */
static void test_the_first_hangs(void **state)
{
    for (uint64_t seed = 0; seed < 50; seed++) {
        begin_at("/tside/rules", "/tside/services", 1, seed);
        ENDPOINTS(1, 2, 3);
        simple(ETCD_EVENT_START);
        uint32_t hanging = did(ETCD_DO_RANGE)->endpoint;
        now += 5000;
        failed(ETCD_EVENT_RANGE_FAILED, 0, "timeout");
        expect(LIST);
        assert_int_not_equal(did(ETCD_DO_RANGE)->endpoint, hanging);
        end();
    }
}

/* Whatever comes and goes: the order holds each once, none is left out and the current one stays.
 * */
static void test_random_changes(void **state)
{
    struct lb_random random;
    lb_random_init(&random, 11);
    begin(1);
    simple(ETCD_EVENT_START);
    for (int round = 0; round < 5000; round++) {
        uint32_t list[ETCD_ENDPOINTS_MAX];
        uint32_t n = 0;
        uint64_t share = 1 + lb_random_scale(lb_random_next(&random), 10);
        for (uint32_t i = 0; i < ETCD_ENDPOINTS_MAX; i++) {
            if (lb_random_scale(lb_random_next(&random), 10) < share) {
                list[n++] = i;
            }
        }
        if (n == 0) {
            list[n++] = 63;
        }
        uint32_t current = etcd_fsm_endpoint(fsm);
        bool stays = false;
        for (uint32_t i = 0; i < n; i++) {
            stays = stays || list[i] == current;
        }
        endpoints_are(list, n);
        expect(LIST);
        assert_true(!stays || etcd_fsm_endpoint(fsm) == current);
        uint64_t seen = 0;
        uint64_t wanted = 0;
        for (uint32_t i = 0; i < n; i++) {
            wanted |= UINT64_C(1) << list[i];
            seen |= UINT64_C(1) << etcd_fsm_endpoint(fsm);
            unreachable();
            if (etcd_fsm_state(fsm) == ETCD_STATE_LIST_WAIT) {
                sleep_on();
            }
        }
        assert_true(seen == wanted);
    }
    end();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_address_while_opening),
        cmocka_unit_test(test_a_new_address_while_listing),
        cmocka_unit_test(test_while_waiting),
        cmocka_unit_test(test_while_watching),
        cmocka_unit_test(test_the_first_hangs),
        cmocka_unit_test(test_random_changes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
