/*
 * pool_test.c: permits of an endpoint, those who wait for one, and fairness among them and among
 * workers.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define ONE_CONNECTION "{\"timeout_ms\": 5000, \"pool\": {\"max_connections\": 1}}"

static uint64_t permits(const struct rig *rig)
{
    return permit_taken(&rig_endpoint(rig, RIG_PORT)->connections);
}

static struct memory_peer *callee_of(const struct rig *rig, uint32_t worker, unsigned n)
{
    struct memory_peer *callee = memory_callee(&rig->net[worker], RIG_PORT, n);
    assert_non_null(callee);
    return callee;
}

/* ---- one connection -------------------------------------------------------------------------- */

static void test_calls_take_turns_on_one_connection(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, ONE_CONNECTION);
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 5; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 4);
    assert_int_equal(permit_taken(&rig_endpoint(rig, RIG_PORT)->waiting), 4);
    for (int i = 0; i < 5; i++) {
        rig_serve_call(rig, caller, "M", i);
    }
    assert_int_equal(rig->net[0].connects, 1);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITS), 4);
    rig_free(rig);
}

/* Fault: a connection that fails at once while another call's connection is lost. A waits for its
 * reply, B waits for the connection, a third call's reply is held; A's connection is reset, and
 * connecting for B fails. */
static void test_connecting_fails_within_a_reset(void **state)
{
    static const int errors[] = {-EMFILE, -EADDRNOTAVAIL, -ENETUNREACH, -EPERM};
    (void)state;
    for (size_t i = 0; i < sizeof errors / sizeof errors[0]; i++) {
        struct rig *rig = rig_new(1);
        rig_config(rig, "Denied", "{\"access\": \"deny\"}");
        rig_begin(rig, ONE_CONNECTION);
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_call(caller, "A", 1);
        rig_call(caller, "B", 2);
        rig_call(caller, "Denied", 3);
        rig_rest(rig);
        rig_expect_nothing(caller); /* held: not its turn */
        memory_policy(&rig->net[0], RIG_PORT, MEMORY_FAIL, errors[i]);
        memory_reset(rig_callee(rig, 0));
        rig_rest(rig);
        rig_expect_failure(caller, 1, "[tside upstream_reset]");
        rig_expect_failure(caller, 2, "[tside connect_failed]");
        rig_expect_failure(caller, 3, "[tside denied]");
        assert_int_equal(permits(rig), 0);
        rig_free(rig);
    }
}

/* Fault: a sent ONEWAY keeps no permit: a waiter gets it at once. */
static void test_a_call_behind_a_oneway(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, ONE_CONNECTION);
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_call(caller, "M", 1);
    rig_rest(rig);
    assert_int_equal(permits(rig), 1);
    rig_answer(rig_callee(rig, 0), "M"); /* the other one was closed for it, its message sent */
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
    assert_int_equal(rig->net[0].connects, 2);
    assert_int_equal(rig_reason(rig, REASON_OK), 2);
    rig_free(rig);
}

/* The same where the permit is another worker's. */
static void test_a_call_behind_a_oneway_of_another_worker(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, ONE_CONNECTION);
    struct memory_peer *first = rig_caller(rig, 0);
    struct memory_peer *second = rig_caller(rig, 1);
    rig_oneway(first, "O");
    rig_rest(rig);
    rig_expect_call(callee_of(rig, 0, 0), "O");
    rig_call(second, "M", 1);
    rig_rest(rig);
    assert_int_equal(memory_callees(&rig->net[0], RIG_PORT), 0);
    rig_answer(callee_of(rig, 1, 0), "M");
    rig_rest(rig);
    rig_expect_reply(second, "M", 1);
    rig_free(rig);
}

/* ---- ONEWAY messages ------------------------------------------------------------------------- */

/* Fault: the slow ONEWAY messages of one caller do not delay another caller's, while permits are
 * left. */
static void test_callers_do_not_share_a_connection(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"pool\": {\"max_connections\": 3}}");
    struct memory_peer *callers[4];
    for (int i = 0; i < 4; i++) {
        callers[i] = rig_caller(rig, 0);
        rig_oneway(callers[i], "O");
        rig_oneway(callers[i], "P");
        rig_pass(rig, 1);
    }
    assert_int_equal(rig_callees(rig), 3);
    for (unsigned i = 0; i < 3; i++) { /* each in its caller's order */
        rig_expect_call(rig_callee(rig, i), "O");
        rig_expect_call(rig_callee(rig, i), "P");
    }
    rig_expect_call(rig_callee(rig, 0), "O"); /* no permit is left: the one used longest ago */
    rig_expect_call(rig_callee(rig, 0), "P");
    rig_expect_nothing(rig_callee(rig, 1));
    rig_free(rig);
}

/* A caller's own go the same way, also when it is slow. */
static void test_a_caller_keeps_its_connection(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    struct memory_peer *other = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    rig_callee(rig, 0)->window = 0;
    rig_oneway(caller, "O");
    rig_oneway(caller, "P");
    rig_oneway(other, "Q");
    rig_rest(rig);
    assert_int_equal(rig_callees(rig), 2);
    rig_expect_call(rig_callee(rig, 1), "Q");
    rig_callee(rig, 0)->window = SIZE_MAX;
    rig_rest(rig);
    rig_expect_call(rig_callee(rig, 0), "O");
    rig_expect_call(rig_callee(rig, 0), "O");
    rig_expect_call(rig_callee(rig, 0), "P");
    rig_free(rig);
}

/* ---- waiting --------------------------------------------------------------------------------- */

static void test_waiting_takes_too_long(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, ONE_CONNECTION);
    struct memory_peer *caller = rig_caller(rig, 0);
    struct memory_peer *other = rig_caller(rig, 0);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    rig_call(other, "M", 2);
    rig_pass(rig, 100);
    rig_expect_nothing(other);
    rig_pass(rig, 1);
    rig_expect_failure(other, 2,
                       "no connection came free within pool.wait_ms 100: "
                       "pool.max_connections are busy");
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 0);
    rig_serve_call(rig, caller, "M", 1);
    rig_free(rig);
}

static void test_too_many_wait(void **state)
{
    static const struct {
        const char *config, *text;
    } cases[] = {
        {"{\"pool\": {\"max_connections\": 1, \"max_waiting\": 1}}",
         "too many calls wait for a connection, pool.max_waiting 1"},
        {"{\"pool\": {\"max_connections\": 1, \"wait_ms\": 0}}",
         "all connections are busy, pool.max_connections 1"},
    };
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, cases[i].config);
        struct memory_peer *caller = rig_caller(rig, 0);
        struct memory_peer *last = rig_caller(rig, 0);
        rig_call(caller, "M", 1);
        if (i == 0) {
            rig_call(caller, "M", 2);
        }
        rig_rest(rig);
        rig_call(last, "M", 3);
        rig_rest(rig);
        rig_expect_failure(last, 3, cases[i].text);
        assert_int_equal(rig_reason(rig, REASON_POOL_EXHAUSTED), 1);
        rig_free(rig);
    }
}

/* The caller goes, or the deadline passes, while the call waits: the place is free again. */
static void test_a_waiter_that_leaves(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct rig *rig = rig_new(1);
        rig_config(rig, "Short", "{\"timeout_ms\": 20, \"pool\": {\"max_connections\": 1}}");
        rig_begin(rig, ONE_CONNECTION);
        struct memory_peer *caller = rig_caller(rig, 0);
        struct memory_peer *leaver = rig_caller(rig, 0);
        struct memory_peer *last = rig_caller(rig, 0);
        rig_call(caller, "M", 1);
        rig_rest(rig);
        rig_call(leaver, "Short", 2);
        rig_rest(rig);
        rig_call(last, "M", 3);
        rig_rest(rig);
        assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 2);
        if (late) {
            rig_pass(rig, 21);
            rig_expect_failure(leaver, 2, "[tside timeout]");
        } else {
            memory_reset(leaver);
            rig_rest(rig);
            assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
        }
        assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 1);
        rig_serve_call(rig, caller, "M", 1);
        rig_serve_call(rig, last, "M", 3);
        rig_free(rig);
    }
}

/* ---- fairness -------------------------------------------------------------------------------- */

/* A tuple that has many waiting delays itself: another one's first comes behind its first. */
static void test_tuples_take_turns(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, ONE_CONNECTION);
    struct memory_peer *greedy = rig_caller(rig, 0);
    struct memory_peer *modest = rig_caller(rig, 0);
    for (int i = 0; i < 5; i++) {
        rig_call(greedy, "Greedy", i);
    }
    rig_rest(rig);
    rig_call(modest, "Modest", 7);
    rig_call(modest, "Modest", 8);
    rig_rest(rig);
    static const char *const order[] = {"Greedy", "Greedy", "Modest", "Greedy",
                                        "Modest", "Greedy", "Greedy"};
    for (size_t i = 0; i < sizeof order / sizeof order[0]; i++) {
        rig_answer(rig_callee(rig, 0), order[i]);
        rig_rest(rig);
    }
    for (int i = 0; i < 5; i++) {
        rig_expect_reply(greedy, "Greedy", i);
    }
    rig_expect_reply(modest, "Modest", 7);
    rig_expect_reply(modest, "Modest", 8);
    rig_free(rig);
}

/* Fault: one caller, two methods, as many calls at once as there are permits, on a cold pool: all
 * are served. */
static void test_every_permit_is_used_by_a_cold_pool(void **state)
{
    (void)state;
    for (unsigned n = 2; n <= 64; n *= 2) {
        struct rig *rig = rig_new(1);
        char config[128];
        snprintf(config, sizeof config,
                 "{\"timeout_ms\": 5000, \"pool\": {\"max_connections\": %u}}", n);
        rig->bootstrap.limits.pipelined_calls = 1000;
        rig_begin(rig, config);
        struct memory_peer *caller = rig_caller(rig, 0);
        for (unsigned i = 0; i < n; i++) {
            rig_call(caller, i % 2 ? "A" : "B", (int32_t)i);
        }
        rig_rest(rig);
        assert_int_equal(rig_callees(rig), n);
        for (unsigned i = 0; i < n; i++) {
            rig_answer(rig_callee(rig, i), i % 2 ? "A" : "B");
        }
        rig_rest(rig);
        for (unsigned i = 0; i < n; i++) {
            rig_expect_reply(caller, i % 2 ? "A" : "B", (int32_t)i);
        }
        rig_free(rig);
    }
}

/* The last quarter of the permits is not for a tuple that has more than its share, while another
 * one has called lately; when that has been silent for a while, all of them are. */
static void test_a_quarter_is_kept_for_others(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig,
              "{\"timeout_ms\": 60000, \"pool\": {\"max_connections\": 8, \"idle_ms\": 1000}}");
    struct memory_peer *modest = rig_caller(rig, 0);
    rig_call(modest, "Modest", 1);
    rig_rest(rig);
    rig_answer(rig_callee(rig, 0), "Modest");
    rig_rest(rig);
    struct memory_peer *greedy = rig_caller(rig, 0);
    for (int i = 0; i < 8; i++) {
        rig_call(greedy, "Greedy", i);
    }
    rig_rest(rig);
    assert_int_equal(rig_callees(rig), 6);
    rig_call(modest, "Modest", 2);
    rig_rest(rig);
    assert_int_equal(rig_callees(rig), 7);
    rig_answer(rig_callee(rig, 6), "Modest");
    rig_pass(rig, 101);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 0);

    rig_pass(rig, POOL_RESERVE_MS);
    rig_call(rig_caller(rig, 0), "Greedy", 9);
    rig_call(rig_caller(rig, 0), "Greedy", 10);
    rig_rest(rig);
    assert_int_equal(rig_callees(rig), 8);
    for (unsigned i = 0; i < 6; i++) {
        rig_answer(rig_callee(rig, i), "Greedy");
    }
    rig_rest(rig);
    for (int i = 0; i < 6; i++) {
        rig_expect_reply(greedy, "Greedy", i);
    }
    rig_expect_failure(greedy, 6, "the last quarter of pool.max_connections is kept for other");
    rig_free(rig);
}

/* More tuples than are told apart: those that hold nothing make room, and else a place is
 * shared. */
static void test_more_tuples_than_places(void **state)
{
    struct rig *rig = rig_new(1);
    char name[16];
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 1000;
    rig_begin(rig, "{\"timeout_ms\": 60000}");
    struct memory_peer *caller = rig_caller(rig, 0);
    const unsigned n = POOL_TENANTS_MAX + 10;
    for (unsigned i = 0; i < n; i++) {
        snprintf(name, sizeof name, "m%u", i);
        rig_call(caller, name, (int32_t)i);
    }
    rig_rest(rig);
    assert_int_equal(rig_callees(rig), n);
    for (unsigned round = 0; round < 2; round++) {
        for (unsigned i = 0; i < n; i++) {
            snprintf(name, sizeof name, "m%u", i);
            if (round > 0) { /* nothing is held any more: the oldest leave */
                rig_call(caller, name, (int32_t)i);
                rig_rest(rig);
            }
            rig_answer(rig_callee(rig, round > 0 ? n - 1 : i), name);
            rig_rest(rig);
            rig_expect_reply(caller, name, (int32_t)i);
        }
    }
    rig_free(rig);
}

/* ---- two workers ----------------------------------------------------------------------------- */

/* An idle connection of one worker holds a permit that the other one's call waits for. */
static void test_an_idle_connection_is_given_up(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, ONE_CONNECTION);
    (void)rig_calling(rig);
    rig_answer(callee_of(rig, 0, 0), "M");
    rig_rest(rig);
    assert_int_equal(permit_taken(&rig_endpoint(rig, RIG_PORT)->idle), 1);
    struct memory_peer *second = rig_caller(rig, 1);
    rig_call(second, "M", 2);
    rig_rest(rig);
    assert_int_equal(memory_callees(&rig->net[0], RIG_PORT), 0);
    rig_answer(callee_of(rig, 1, 0), "M");
    rig_rest(rig);
    rig_expect_reply(second, "M", 2);
    rig_free(rig);
}

/* A connection that comes free is not kept while the other worker waits, and its permit goes
 * over. */
static void test_a_permit_goes_to_the_other_worker(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, ONE_CONNECTION);
    struct memory_peer *first = rig_caller(rig, 0);
    struct memory_peer *second = rig_caller(rig, 1);
    rig_call(first, "M", 1);
    rig_rest(rig);
    rig_call(second, "M", 2);
    rig_rest(rig);
    assert_int_equal(rig_endpoint(rig, RIG_PORT)->waiting_workers, 2);
    rig_answer(callee_of(rig, 0, 0), "M");
    rig_rest(rig);
    rig_expect_reply(first, "M", 1);
    rig_answer(callee_of(rig, 1, 0), "M");
    rig_rest(rig);
    rig_expect_reply(second, "M", 2);
    rig_free(rig);
}

/* A worker that always has calls of its own waiting hands the connection over all the same, now and
 * then. */
static void test_a_busy_worker_hands_over(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig,
              "{\"timeout_ms\": 60000, \"pool\": {\"max_connections\": 1, \"wait_ms\": 60000}}");
    struct memory_peer *busy = rig_caller(rig, 0);
    struct memory_peer *other = rig_caller(rig, 1);
    for (int i = 0; i < 3 * POOL_LOCAL_TURNS_MAX; i++) {
        rig_call(busy, "M", i);
    }
    rig_rest(rig);
    rig_call(other, "N", 7);
    rig_rest(rig);
    unsigned served = 0;
    while (memory_callees(&rig->net[1], RIG_PORT) == 0) {
        rig_answer(callee_of(rig, 0, 0), "M");
        rig_rest(rig);
        assert_true(++served <= POOL_LOCAL_TURNS_MAX + 1);
    }
    rig_answer(callee_of(rig, 1, 0), "N");
    rig_rest(rig);
    rig_expect_reply(other, "N", 7);
    for (; served < 3 * POOL_LOCAL_TURNS_MAX; served++) {
        rig_answer(callee_of(rig, 0, 0), "M");
        rig_rest(rig);
    }
    for (int i = 0; i < 3 * POOL_LOCAL_TURNS_MAX; i++) {
        rig_expect_reply(busy, "M", i);
    }
    rig_free(rig);
}

/* ---- idle connections ------------------------------------------------------------------------ */

/* The one used last is taken first; more than max_idle are not kept for long. */
static void test_max_idle(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"pool\": {\"max_idle\": 2}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 4; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    struct memory_peer *callees[4];
    for (unsigned i = 0; i < 4; i++) {
        callees[i] = rig_callee(rig, i);
    }
    for (unsigned i = 0; i < 4; i++) {
        rig_answer(callees[i], "M");
        rig_rest(rig);
    }
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 4);
    rig_call(caller, "M", 9);
    rig_rest(rig);
    rig_expect_call(callees[3], "M");
    rig_pass(rig, POOL_SURPLUS_MS);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 2);
    assert_int_equal(rig_callees(rig), 3);
    rig_free(rig);
}

/* ---- memory runs out ------------------------------------------------------------------------- */

/* Wherever an allocation fails within the first call to an endpoint: it fails, and the next one
 * does not. */
static void test_no_memory_for_a_pool(void **state)
{
    unsigned failed = 1;
    (void)state;
    for (unsigned n = 0; failed > 0; n++) {
        struct rig *rig = rig_new(1);
        struct rig_message message;
        rig_begin(rig, "{}");
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_rest(rig);
        rig_call(caller, "M", 1);
        rig_scarce(rig, n, false);
        rig_rest(rig);
        failed = scarce_end();
        if (rig_callees(rig) > 0) {
            rig_answer(rig_callee(rig, 0), "M");
            rig_rest(rig);
        }
        assert_true(rig_next(caller, &message) || memory_is_closed(caller));
        struct memory_peer *next = rig_caller(rig, 0);
        rig_call(next, "M", 2);
        rig_rest(rig);
        rig_serve_call(rig, next, "M", 2);
        rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_take_turns_on_one_connection),
        cmocka_unit_test(test_connecting_fails_within_a_reset),
        cmocka_unit_test(test_a_call_behind_a_oneway),
        cmocka_unit_test(test_a_call_behind_a_oneway_of_another_worker),
        cmocka_unit_test(test_callers_do_not_share_a_connection),
        cmocka_unit_test(test_a_caller_keeps_its_connection),
        cmocka_unit_test(test_waiting_takes_too_long),
        cmocka_unit_test(test_too_many_wait),
        cmocka_unit_test(test_a_waiter_that_leaves),
        cmocka_unit_test(test_tuples_take_turns),
        cmocka_unit_test(test_every_permit_is_used_by_a_cold_pool),
        cmocka_unit_test(test_a_quarter_is_kept_for_others),
        cmocka_unit_test(test_more_tuples_than_places),
        cmocka_unit_test(test_an_idle_connection_is_given_up),
        cmocka_unit_test(test_a_permit_goes_to_the_other_worker),
        cmocka_unit_test(test_a_busy_worker_hands_over),
        cmocka_unit_test(test_max_idle),
        cmocka_unit_test(test_no_memory_for_a_pool),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
