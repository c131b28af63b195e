/*
 * upstream_pipeline_scenarios.c: connections that several calls share, answered in the order of the calls.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/upstream/pool.h"
#include "sidecar/data/upstream/upstream_mux.h"
#include "tests/sidecar/data/upstream/upstream_scenarios.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define PIPELINE     "\"pool\": {\"mode\": \"pipeline\"}"
#define PIPELINE_ONE "\"pool\": {\"mode\": \"pipeline\", \"max_connections\": 1}"
#define NO_RETRY     ", \"retry\": {\"attempts\": 0}"

static void begin(struct rig *rig, const char *more)
{
    char config[256];
    snprintf(config, sizeof config, "{%s%s}", PIPELINE, more);
    rig_begin(rig, config);
}

/* ---- replies --------------------------------------------------------------------------------- */

static void test_replies_in_order(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[3];
    int32_t seqids[3];
    (void)state;
    begin(rig, "");
    scenario_callers(rig, callers, seqids, 3);
    assert_int_equal(rig->net[0].connects, 1);
    for (int i = 0; i < 3; i++) {
        rig_reply(rig_callee(rig, 0), "M", seqids[i], (size_t)i * 10);
        rig_rest(rig);
        rig_expect_reply(callers[i], "M", i + 1);
    }
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 1);
    scenario_call(rig, callers[0], 9);
    assert_int_equal(rig->net[0].connects, 1);
    rig_free(rig);
}

/* Its callee answers in another order: those that it has fail, and are told what to do. */
static void test_replies_in_another_order(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[3];
    int32_t seqids[3];
    (void)state;
    begin(rig, NO_RETRY);
    scenario_callers(rig, callers, seqids, 3);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_reply(callee, "M", seqids[0], 0);
    rig_reply(callee, "M", seqids[2], 0);
    rig_reply(callee, "M", seqids[1], 0);
    rig_rest(rig);
    rig_expect_reply(callers[0], "M", 1);
    rig_expect_failure(callers[1], 2, "this callee needs pool.mode pool");
    rig_expect_failure(callers[2], 3, "[tside upstream_protocol]");
    assert_true(memory_is_closed(callee));
    rig_free(rig);
}

static void test_a_reply_to_nothing(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *callers[2];
        int32_t seqids[2];
        begin(rig, NO_RETRY);
        scenario_callers(rig, callers, seqids, 2);
        struct memory_peer *callee = rig_callee(rig, 0);
        if (way == 0) {
            rig_reply(callee, "M", seqids[1] + 1, 0);
        } else if (way == 1) {
            rig_reply(callee, "N", seqids[0], 0);
        } else {
            rig_reply(callee, "M", seqids[0], 0); /* twice */
            rig_reply(callee, "M", seqids[0], 0);
        }
        rig_rest(rig);
        assert_true(memory_is_closed(callee));
        if (way == 2) {
            rig_expect_reply(callers[0], "M", 1);
        } else {
            rig_expect_failure(callers[0], 1, "[tside upstream_protocol]");
        }
        const char *why = way == 1 ? "[tside upstream_protocol]" : "a seqid that was not sent";
        rig_expect_failure(callers[1], 2, why);
        rig_free(rig);
    }
}

/* ---- calls that end without a reply ---------------------------------------------------------- */

/* One times out: those behind it get their replies, in their places, and then the connection goes. The next
 * call has another one. */
static void test_a_place_is_kept(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 1000, " PIPELINE "}");
    rig_config(rig, "Q", "{\"timeout_ms\": 100, " PIPELINE "}");
    rig_commit(rig);
    struct memory_peer *quick = rig_caller(rig, 0), *slow = rig_caller(rig, 0);
    rig_call(quick, "Q", 1);
    rig_rest(rig);
    rig_call(slow, "M", 2);
    rig_pass(rig, 101);
    rig_expect_failure(quick, 1, "[tside timeout]");
    struct memory_peer *callee = rig_callee(rig, 0);
    assert_false(memory_is_closed(callee));
    rig_call(quick, "Q", 3);
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 2);
    rig_answer(callee, "Q");
    rig_answer(callee, "M");
    rig_rest(rig);
    rig_expect_reply(slow, "M", 2);
    assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), 1);
    assert_true(memory_is_closed(callee));
    rig_free(rig);
}

/* The last of its calls times out: nothing waits for the late reply. */
static void test_the_last_times_out(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 100, " PIPELINE "}");
    struct memory_peer *caller = scenario_served(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_call(caller, "M", 2);
    rig_pass(rig, 101);
    rig_expect_failure(caller, 2, "[tside timeout]");
    assert_true(memory_is_closed(callee));
    rig_free(rig);
}

/* A caller goes: its call keeps its place, and the connection serves on. */
static void test_a_caller_goes(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[2];
    int32_t seqids[2];
    (void)state;
    begin(rig, "");
    scenario_callers(rig, callers, seqids, 2);
    struct memory_peer *callee = rig_callee(rig, 0);
    memory_reset(callers[0]);
    rig_rest(rig);
    struct memory_peer *third = rig_caller(rig, 0);
    rig_call(third, "M", 3);
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 1);
    rig_reply(callee, "M", seqids[0], 0);
    rig_reply(callee, "M", seqids[1], 0);
    rig_answer(callee, "M");
    rig_rest(rig);
    rig_expect_reply(callers[1], "M", 2);
    rig_expect_reply(third, "M", 3);
    rig_free(rig);
}

/* So many that have ended without a reply: there is room again when the first of them is answered. */
static void test_places_run_out(void **state)
{
    struct upstream_request request = {.message = {.len = 1}};
    struct upstream_mux *mux = upstream_mux_new(5, true);
    (void)state;
    assert_non_null(mux);
    for (int i = 0; i < UPSTREAM_MUX_CALLS_MAX; i++) {
        struct lease lease = {.request = &request, .state = LEASE_READY};
        assert_true(upstream_mux_has_room(mux));
        upstream_mux_enter(mux, &lease);
        upstream_mux_number(mux, &lease);
        upstream_mux_sends(mux, &lease);
        mux->unanswered++;
        upstream_mux_leave(mux, &lease);
        upstream_mux_check(mux);
    }
    assert_false(upstream_mux_has_room(mux));
    assert_non_null(upstream_mux_disorder(mux, 7));
    assert_null(upstream_mux_disorder(mux, 6));
    assert_true(upstream_mux_take_late(mux, 6));
    assert_true(upstream_mux_has_room(mux));
    free(mux);
}

/* A call that is taken back leaves no place: the next reply is the next call's. */
static void test_one_that_is_taken_back(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    begin(rig, "");
    struct memory_peer *caller = scenario_served(rig);
    rig_call(caller, "A", 2);
    caller->end = -ECONNRESET; /* read behind the call, in front of the flush */
    rig_rest(rig);
    struct memory_peer *other = rig_caller(rig, 0);
    scenario_call(rig, other, 3);
    scenario_call(rig, other, 4);
    assert_int_equal(rig->net[0].connects, 1);
    assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), 0);
    rig_free(rig);
}

/* ---- how they are shared --------------------------------------------------------------------- */

/* So many on a connection before another one is made; then each takes the one with fewest. */
static void test_few_calls_on_each(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[2 * POOL_PIPELINE_CALLS + 1];
    int32_t seqids[POOL_PIPELINE_CALLS];
    (void)state;
    begin(rig, "");
    scenario_callers(rig, callers, seqids, POOL_PIPELINE_CALLS);
    assert_int_equal(rig->net[0].connects, 1);
    for (int i = POOL_PIPELINE_CALLS; i < 2 * POOL_PIPELINE_CALLS; i++) {
        callers[i] = rig_caller(rig, 0);
        rig_call(callers[i], "M", i + 1);
        rig_rest(rig);
    }
    assert_int_equal(rig->net[0].connects, 2);
    struct memory_peer *second = rig_callee(rig, 1);
    for (int i = 0; i < 2; i++) {
        rig_answer(second, "M");
    }
    rig_reply(rig_callee(rig, 0), "M", seqids[0], 0);
    rig_rest(rig);
    for (int i = 2; i < POOL_PIPELINE_CALLS; i++) {
        (void)rig_expect_call(second, "M");
    }
    rig_expect_nothing(second);
    callers[2 * POOL_PIPELINE_CALLS] = rig_caller(rig, 0);
    rig_call(callers[2 * POOL_PIPELINE_CALLS], "M", 99);
    rig_rest(rig);
    (void)rig_expect_call(second, "M");
    rig_free(rig);
}

/* Without a permit for one more, calls wait behind others rather than for a permit. */
static void test_all_on_one(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[3 * POOL_PIPELINE_CALLS];
    int32_t seqids[3 * POOL_PIPELINE_CALLS];
    (void)state;
    rig_begin(rig, "{" PIPELINE_ONE "}");
    scenario_callers(rig, callers, seqids, 3 * POOL_PIPELINE_CALLS);
    assert_int_equal(rig->net[0].connects, 1);
    for (int i = 0; i < 3 * POOL_PIPELINE_CALLS; i++) {
        rig_reply(rig_callee(rig, 0), "M", seqids[i], 0);
    }
    rig_rest(rig);
    for (int i = 0; i < 3 * POOL_PIPELINE_CALLS; i++) {
        rig_expect_reply(callers[i], "M", i + 1);
    }
    rig_free(rig);
}

/* Calls of mode mux, of pool and ONEWAY messages have connections of their own. */
static void test_shares_with_its_like(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    begin(rig, "");
    rig_config(rig, "X", "{\"pool\": {\"mode\": \"mux\"}}");
    rig_config(rig, "P", "{\"pool\": {\"mode\": \"pool\"}}");
    rig_commit(rig);
    static const char *const methods[] = {"M", "X", "P"};
    for (unsigned i = 0; i < 3; i++) {
        rig_call(rig_caller(rig, 0), methods[i], 1);
        rig_rest(rig);
        assert_int_equal(rig->net[0].connects, i + 1);
        (void)rig_expect_call(rig_callee(rig, i), methods[i]);
    }
    rig_oneway(rig_caller(rig, 0), "M");
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 4);
    rig_free(rig);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_replies_in_order),     cmocka_unit_test(test_replies_in_another_order),
    cmocka_unit_test(test_a_reply_to_nothing),   cmocka_unit_test(test_a_place_is_kept),
    cmocka_unit_test(test_the_last_times_out),   cmocka_unit_test(test_a_caller_goes),
    cmocka_unit_test(test_places_run_out),       cmocka_unit_test(test_one_that_is_taken_back),
    cmocka_unit_test(test_few_calls_on_each),    cmocka_unit_test(test_all_on_one),
    cmocka_unit_test(test_shares_with_its_like),
};

int upstream_pipeline_scenarios(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
