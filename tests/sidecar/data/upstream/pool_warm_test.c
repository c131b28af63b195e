/*
 * pool_warm_test.c: connections to endpoints that are new, made before their first call comes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/pool.h"
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define NEW_PORT (RIG_PORT + 1)

/* One call "M", served by whichever endpoint has got it. Returns its port. */
static uint16_t call(struct rig *rig, struct memory_peer *caller, uint16_t ports)
{
    rig_call(caller, "M", 7);
    rig_rest(rig);
    for (uint16_t port = RIG_PORT; port < RIG_PORT + ports; port++) {
        for (unsigned n = 0;; n++) {
            struct memory_peer *callee = memory_callee(&rig->net[0], port, n);
            if (!callee) {
                break;
            }
            if (callee->out.len > callee->out_seen) {
                rig_answer(callee, "M");
                rig_rest(rig);
                rig_expect_reply(caller, "M", 7);
                return port;
            }
        }
    }
    fail_msg("nobody was called");
    return 0;
}

static unsigned connections(const struct rig *rig, uint16_t port)
{
    unsigned n = 0;
    while (memory_callee(&rig->net[0], port, n)) {
        n++;
    }
    return n;
}

/* A caller whose calls go to a cluster that gets one more endpoint. */
static struct memory_peer *begin(struct rig *rig, const char *config)
{
    rig_begin(rig, config);
    struct memory_peer *caller = rig_caller(rig, 0);
    assert_int_equal(call(rig, caller, 1), RIG_PORT);
    rig_serve_weighted(rig, RIG_PORT, 1000); /* hardly a call goes to the new one by itself */
    rig_serve_weighted(rig, NEW_PORT, 1);
    rig_commit(rig);
    assert_int_equal(connections(rig, NEW_PORT), 0); /* nobody has called since */
    return caller;
}

/* The next call makes it, wherever it goes itself; the first one that goes there finds it. */
static void test_a_new_endpoint(void **state)
{
    static const char *const configs[] = {
        "{\"lb\": \"random\"}", "{\"lb\": \"random\", \"pool\": {\"mode\": \"mux\"}}",
        "{\"lb\": \"random\", \"pool\": {\"mode\": \"pipeline\"}}"};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *caller = begin(rig, configs[i]);
        assert_int_equal(call(rig, caller, 2), RIG_PORT);
        assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_WARMED), 1);
        assert_int_equal(connections(rig, NEW_PORT), 1);
        rig_serve_weighted(rig, NEW_PORT, 1000);
        rig_commit(rig);
        while (call(rig, caller, 2) != NEW_PORT) {
        }
        assert_int_equal(connections(rig, NEW_PORT), 1);
        assert_int_equal(rig->net[0].connects, 2);
        assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 2);
        rig_free(rig);
    }
}

static void test_when_none_is_made(void **state)
{
    static const char *const configs[] = {"{\"pool\": {\"mode\": \"short\"}}",
                                          "{\"pool\": {\"max_idle\": 0}}"};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *caller = begin(rig, configs[i]);
        (void)call(rig, caller, 2);
        assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_WARMED), 0);
        assert_int_equal(rig->net[0].connects, 2); /* one for each call */
        rig_free(rig);
    }
}

/* Those that the process began with are not new. */
static void test_the_first_endpoints(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    for (uint16_t port = RIG_PORT; port < RIG_PORT + 5; port++) {
        rig_serve(rig, port);
    }
    rig_begin(rig, "{\"lb\": \"random\"}");
    (void)call(rig, rig_caller(rig, 0), 5);
    assert_int_equal(rig->net[0].connects, 1);
    rig_free(rig);
}

static void test_many_new_endpoints(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"lb\": \"random\"}");
    struct memory_peer *caller = rig_caller(rig, 0);
    (void)call(rig, caller, 1);
    for (uint16_t i = 1; i <= 2 * POOL_WARM_MAX; i++) {
        rig_serve_weighted(rig, (uint16_t)(RIG_PORT + i), 1);
    }
    rig_commit(rig);
    rig_call(caller, "M", 8); /* wherever it goes */
    rig_rest(rig);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_WARMED), POOL_WARM_MAX);
    rig_free(rig);
}

/* It cannot be made, at once or later: no call hears of it, and the first call to it tries again. */
static void test_one_that_fails(void **state)
{
    (void)state;
    for (int later = 0; later < 2; later++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *caller = begin(rig, "{\"lb\": \"random\"}");
        memory_policy(&rig->net[0], NEW_PORT, later ? MEMORY_HOLD : MEMORY_FAIL,
                      later ? 0 : -ENETUNREACH);
        assert_int_equal(call(rig, caller, 1), RIG_PORT);
        if (later) {
            memory_connected(memory_callee(&rig->net[0], NEW_PORT, 0), -ECONNREFUSED);
            rig_rest(rig);
        }
        assert_int_equal(connections(rig, NEW_PORT), 0);
        assert_int_equal(permit_taken(&rig_endpoint(rig, NEW_PORT)->connections), 0);
        memory_policy(&rig->net[0], NEW_PORT, MEMORY_ACCEPT, 0);
        rig_serve_weighted(rig, NEW_PORT, 1000);
        rig_commit(rig);
        while (call(rig, caller, 2) != NEW_PORT) {
        }
        assert_int_equal(rig_reason(rig, REASON_CONNECT_FAILED), 0);
        rig_free(rig);
    }
}

/* It rests as others do, and goes. */
static void test_nobody_comes(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    struct memory_peer *caller = begin(rig, "{\"pool\": {\"idle_ms\": 300}}");
    (void)call(rig, caller, 2);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_CONNECTIONS), 2);
    rig_pass(rig, 400);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_CONNECTIONS), 0);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_endpoint),      cmocka_unit_test(test_when_none_is_made),
        cmocka_unit_test(test_the_first_endpoints), cmocka_unit_test(test_many_new_endpoints),
        cmocka_unit_test(test_one_that_fails),      cmocka_unit_test(test_nobody_comes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
