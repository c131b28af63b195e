/*
 * pool_descriptors_test.c: the process has no descriptor left for a connection to a callee: which
 * idle one gives way.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/plane_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define OTHER_PORT 9102
#define MANY       40

/* With so many descriptors for connections to callees, and one endpoint. */
static struct rig *rig_of(uint32_t workers, uint64_t descriptors)
{
    struct rig *rig = rig_new(workers);
    rig->bootstrap.limits.upstream_connections = descriptors;
    rig_begin(rig, "{\"timeout_ms\": 60000, \"retry\": {\"attempts\": 0}}");
    return rig;
}

/* As many calls at once, each over a connection of its own to RIG_PORT, answered in this order. */
static void leave_idle(struct rig *rig, uint32_t worker, unsigned n)
{
    struct memory_peer *caller = rig_caller(rig, worker);
    struct memory_peer *callees[MANY];
    for (unsigned i = 0; i < n; i++) {
        rig_call(caller, "M", (int32_t)i);
    }
    rig_rest(rig);
    for (unsigned i = 0; i < n; i++) {
        callees[i] = memory_callee(&rig->net[worker], RIG_PORT, i);
        assert_non_null(callees[i]);
    }
    for (unsigned i = 0; i < n; i++) {
        rig_answer(callees[i], "M");
        rig_rest(rig);
    }
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), n);
}

/* From here on calls go to OTHER_PORT. */
static void move_on(struct rig *rig)
{
    rig_unserve(rig, RIG_PORT);
    rig_serve(rig, OTHER_PORT);
    rig_commit(rig);
}

/* The one used longest ago goes, though it leads elsewhere; the others stay. */
static void test_the_oldest_idle_one_gives_way(void **state)
{
    struct rig *rig = rig_of(1, 3);
    (void)state;
    leave_idle(rig, 0, 3);
    struct memory_peer *callees[] = {rig_callee(rig, 0), rig_callee(rig, 1), rig_callee(rig, 2)};
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "M", 7); /* the one used last is used again: the order stays */
    rig_rest(rig);
    rig_answer(callees[2], "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 7);
    move_on(rig);
    rig_call(caller, "M", 8);
    rig_rest(rig);
    assert_true(memory_is_closed(callees[0]));
    assert_false(memory_is_closed(callees[1]));
    assert_false(memory_is_closed(callees[2]));
    rig_answer(memory_callee(&rig->net[0], OTHER_PORT, 0), "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 8);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_RECLAIMED), 1);
    assert_int_equal(permit_taken(&rig->env.upstreams), 3);
    rig_free(rig);
}

/* All are in use: the call is refused, and those that are under way are left alone. */
static void test_none_is_idle(void **state)
{
    struct rig *rig = rig_of(1, 2);
    (void)state;
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 3; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    rig_answer(rig_callee(rig, 0), "M");
    rig_answer(rig_callee(rig, 1), "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 0);
    rig_expect_reply(caller, "M", 1);
    rig_expect_failure(caller, 2, "[tside connect_failed]");
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_LIMITED), 1);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_FAILED), 1);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_RECLAIMED), 0);
    assert_int_equal(permit_taken(&rig_endpoint(rig, RIG_PORT)->connections), 2);
    rig_free(rig);
}

/* The idle ones are another worker's: it lets some of them go, for the call behind the one refused. */
static void test_another_worker_gives_some(void **state)
{
    struct rig *rig = rig_of(2, MANY);
    (void)state;
    leave_idle(rig, 0, MANY);
    struct memory_peer *caller = rig_caller(rig, 1);
    move_on(rig);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    rig_expect_failure(caller, 1, "[tside connect_failed]");
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_RECLAIMED), POOL_DESCRIPTORS_GIVEN);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), MANY - POOL_DESCRIPTORS_GIVEN);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    rig_answer(memory_callee(&rig->net[1], OTHER_PORT, 0), "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 2);
    rig_free(rig);
}

/* A ONEWAY message's connection, too, is idle once it has sent what it had. */
static void test_a_shared_one_gives_way(void **state)
{
    struct rig *rig = rig_of(1, 1);
    (void)state;
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *shared = rig_callee(rig, 0);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    assert_true(memory_is_closed(shared));
    rig_serve_call(rig, caller, "M", 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_oldest_idle_one_gives_way),
        cmocka_unit_test(test_none_is_idle),
        cmocka_unit_test(test_another_worker_gives_some),
        cmocka_unit_test(test_a_shared_one_gives_way),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
