/*
 * call_breaker_test.c: what opens a tuple's breaker, what does not, and whatever way a probe ends its slot is free.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/plane_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

/* Opens after two errors in a row; cools for 800 to 1200 ms. */
#define BREAKER                                                                                    \
    "\"breaker\": {\"consecutive\": 2, \"cooling_ms\": 1000, \"probe_ms\": 100, \"successes\": 2}"
#define OPEN_TEXT                                                                                  \
    "[tside breaker_open] app/default/svc/default/M: the breaker of this tuple is open: "

/* The callee's connection that has got the call begun last. */
static struct memory_peer *busy_callee(const struct rig *rig)
{
    return rig_callee(rig, rig_callees(rig) - 1);
}

static void begin(struct rig *rig, const char *more)
{
    char config[256];
    snprintf(config, sizeof config, "{" BREAKER ", \"pool\": {\"mode\": \"short\"}%s}", more);
    rig_begin(rig, config);
}

static struct memory_peer *call(struct rig *rig)
{
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    return caller;
}

static void answer_with(struct rig *rig, uint8_t type)
{
    struct memory_peer *callee = busy_callee(rig);
    rig_send(callee,
             &(struct rig_request){
                 .type = type, .method = "M", .seqid = rig_expect_call(callee, "M"), .payload = 3});
    rig_rest(rig);
}

static void succeed(struct rig *rig)
{
    struct memory_peer *caller = call(rig);
    rig_answer(busy_callee(rig), "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
}

static void throw_one(struct rig *rig)
{
    struct rig_message message;
    struct memory_peer *caller = call(rig);
    answer_with(rig, WIRE_EXCEPTION);
    assert_true(rig_next(caller, &message));
}

static void expect_open(struct rig *rig)
{
    unsigned callees = rig_callees(rig);
    rig_expect_failure(call(rig), 1, OPEN_TEXT);
    assert_int_equal(rig_callees(rig), callees);
}

static void open_it(struct rig *rig)
{
    throw_one(rig);
    throw_one(rig);
    expect_open(rig);
}

static struct rig *opened(const char *more)
{
    struct rig *rig = rig_new(1);
    begin(rig, more);
    open_it(rig);
    return rig;
}

/* ---- the states ------------------------------------------------------------------------------ */

static void test_it_opens_and_closes(void **state)
{
    struct rig *rig = opened("");
    (void)state;
    assert_int_equal(rig_metric(rig, METRIC_BREAKER_OPENED), 1);
    rig_expect_failure(call(rig), 1, "100 % of 2 calls failed");
    rig_pass(rig, 799);
    expect_open(rig);
    rig_pass(rig, 401);
    succeed(rig);
    expect_open(rig); /* probe_ms */
    rig_pass(rig, 100);
    succeed(rig);
    succeed(rig);
    throw_one(rig);
    succeed(rig);
    throw_one(rig);
    succeed(rig); /* not in a row */
    assert_int_equal(rig_reason(rig, REASON_BREAKER_OPEN), 4);
    rig_free(rig);
}

static void test_a_probe_that_fails_opens_it_again(void **state)
{
    struct rig *rig = opened("");
    (void)state;
    rig_pass(rig, 1200);
    throw_one(rig);
    expect_open(rig);
    assert_int_equal(rig_metric(rig, METRIC_BREAKER_OPENED), 2);
    rig_free(rig);
}

/* One call at a time, whatever comes meanwhile, and on whichever worker. */
static void test_a_probe_is_a_single_call(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    begin(rig, "");
    open_it(rig);
    rig_pass(rig, 1200);
    struct memory_peer *probe = call(rig);
    rig_pass(rig, 300);
    expect_open(rig);
    struct memory_peer *other = rig_caller(rig, 1);
    rig_call(other, "M", 1);
    rig_rest(rig);
    rig_expect_failure(other, 1, OPEN_TEXT);
    rig_answer(busy_callee(rig), "M");
    rig_rest(rig);
    rig_expect_reply(probe, "M", 1);
    succeed(rig);
    succeed(rig);
    rig_free(rig);
}

/* ---- whatever way a probe ends --------------------------------------------------------------- */

/* Its slot is free: the next call is one, at once where it has said nothing. */
static void expect_free(struct rig *rig)
{
    succeed(rig);
    rig_pass(rig, 100);
    succeed(rig);
    succeed(rig);
    rig_free(rig);
}

static void test_no_endpoint_is_left_for_a_probe(void **state)
{
    struct rig *rig = opened("");
    (void)state;
    rig_pass(rig, 1200);
    rig_unserve(rig, RIG_PORT);
    rig_commit(rig);
    for (int i = 0; i < 3; i++) {
        rig_expect_failure(call(rig), 1, "[tside no_endpoint]");
    }
    rig_serve(rig, RIG_PORT);
    rig_commit(rig);
    expect_free(rig);
}

/* A caller that vanishes: what was not sent says nothing, what was is followed to its end. */
static void test_the_caller_of_a_probe_vanishes(void **state)
{
    (void)state;
    struct rig *rig = opened("");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    rig_pass(rig, 1200);
    memory_reset(call(rig));
    rig_rest(rig);
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_ACCEPT, 0);
    expect_free(rig);

    rig = opened("");
    rig_pass(rig, 1200);
    memory_reset(call(rig));
    rig_rest(rig);
    rig_pass(rig, 200);
    expect_open(rig);
    answer_with(rig, WIRE_REPLY);
    succeed(rig);
    succeed(rig);
    rig_free(rig);
}

static void test_a_probe_gets_no_connection(void **state)
{
    (void)state;
    struct rig *rig = opened(", \"timeout_ms\": 60000");
    rig_pass(rig, 1200);
    rig_config(rig, "N", "{\"pool\": {\"mode\": \"pool\", \"max_connections\": 1}}");
    rig_config(rig, "M",
               "{\"pool\": {\"mode\": \"pool\", \"max_connections\": 1, \"wait_ms\": 10}}");
    rig_commit(rig);
    struct memory_peer *holds = rig_caller(rig, 0);
    rig_call(holds, "N", 1);
    rig_rest(rig);
    struct memory_peer *probe = call(rig);
    rig_pass(rig, 11);
    rig_expect_failure(probe, 1, "[tside pool_exhausted]");
    probe = call(rig);
    rig_pass(rig, 11);
    rig_expect_failure(probe, 1, "[tside pool_exhausted]");
    rig_free(rig);
}

static void test_a_probe_gets_no_answer(void **state)
{
    (void)state;
    struct rig *rig = opened(", \"timeout_ms\": 500");
    rig_pass(rig, 1200);
    struct memory_peer *probe = call(rig);
    rig_pass(rig, 501);
    rig_expect_failure(probe, 1, "[tside timeout]");
    expect_open(rig);
    rig_pass(rig, 1200);
    expect_free(rig);
}

/* ---- what counts ----------------------------------------------------------------------------- */

/* The caller's own doing, and what tside refuses, are no errors of the callee. */
static void test_what_is_no_error(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_config(rig, "M", "{\"failures\": {\"exceptions\": false}}");
    begin(rig, "");
    for (int i = 0; i < 3; i++) {
        throw_one(rig); /* as the rule says */
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_send(caller, &(struct rig_request){.method = "M", .seqid = 1, .budget = "0"});
        rig_rest(rig);
        rig_expect_failure(caller, 1, "[tside timeout]");
    }
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    for (int i = 0; i < 3; i++) {
        memory_reset(call(rig));
        rig_rest(rig);
    }
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_ACCEPT, 0);
    rig_unserve(rig, RIG_PORT);
    rig_commit(rig);
    for (int i = 0; i < 3; i++) {
        rig_expect_failure(call(rig), 1, "[tside no_endpoint]");
    }
    rig_serve(rig, RIG_PORT);
    rig_commit(rig);
    succeed(rig);
    assert_int_equal(rig_reason(rig, REASON_BREAKER_OPEN), 0);
    rig_free(rig);
}

static void test_a_timeout_is_an_error(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    begin(rig, ", \"timeout_ms\": 100");
    for (int i = 0; i < 2; i++) {
        struct memory_peer *caller = call(rig);
        rig_pass(rig, 101);
        rig_expect_failure(caller, 1, "[tside timeout]");
    }
    expect_open(rig);
    rig_free(rig);
}

/* The share, over many calls: what is named is what decided. */
static void test_a_share_of_errors(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"breaker\": {\"error_rate\": 0.4, \"min_calls\": 10}, \"pool\": {\"mode\": "
                   "\"short\"}}");
    for (int i = 0; i < 6; i++) {
        succeed(rig);
    }
    for (int i = 0; i < 4; i++) {
        throw_one(rig);
    }
    rig_expect_failure(call(rig), 1, OPEN_TEXT "40 % of 10 calls failed");
    rig_free(rig);
}

/* Another method of the same callee has a breaker of its own; so it has after the rules changed. */
static void test_each_tuple_has_its_own(void **state)
{
    struct rig *rig = opened("");
    (void)state;
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "N", 1);
    rig_rest(rig);
    rig_answer(busy_callee(rig), "N");
    rig_rest(rig);
    rig_expect_reply(caller, "N", 1);
    rig_config(rig, "M", "{\"timeout_ms\": 999}");
    rig_commit(rig);
    expect_open(rig);
    rig_config(rig, "M", "{\"breaker\": {\"enable\": false}}");
    rig_commit(rig);
    succeed(rig);
    rig_free(rig);
}

static void test_in_shadow_it_refuses_nothing(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    begin(rig, ", \"shadow\": {\"breaker\": true}");
    throw_one(rig);
    throw_one(rig);
    for (int i = 0; i < 3; i++) {
        throw_one(rig);
    }
    rig_pass(rig, 1200);
    succeed(rig);
    rig_pass(rig, 100);
    succeed(rig);
    rig_config(rig, "M", "{\"shadow\": {\"breaker\": false}}");
    rig_commit(rig);
    succeed(rig); /* it has gone through its states meanwhile, and is closed */
    assert_int_equal(rig_reason(rig, REASON_BREAKER_OPEN), 0);
    assert_int_equal(rig_metric(rig, METRIC_BREAKER_OPENED), 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_opens_and_closes),
        cmocka_unit_test(test_a_probe_that_fails_opens_it_again),
        cmocka_unit_test(test_a_probe_is_a_single_call),
        cmocka_unit_test(test_no_endpoint_is_left_for_a_probe),
        cmocka_unit_test(test_the_caller_of_a_probe_vanishes),
        cmocka_unit_test(test_a_probe_gets_no_connection),
        cmocka_unit_test(test_a_probe_gets_no_answer),
        cmocka_unit_test(test_what_is_no_error),
        cmocka_unit_test(test_a_timeout_is_an_error),
        cmocka_unit_test(test_a_share_of_errors),
        cmocka_unit_test(test_each_tuple_has_its_own),
        cmocka_unit_test(test_in_shadow_it_refuses_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
