/*
 * call_ejection_test.c: real calls eject an endpoint, and whatever way a trial ends its slot is free.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/route/ejection.h"
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define OTHER_PORT (RIG_PORT + 1)

static const struct endpoint_state *bad(const struct rig *rig)
{
    return rig_endpoint(rig, RIG_PORT);
}

/* The connection that has got the call begun last. */
static struct memory_peer *busy(const struct rig *rig, uint16_t port)
{
    unsigned n = memory_callees(&rig->net[0], port);
    return n > 0 ? memory_callee(&rig->net[0], port, n - 1) : NULL;
}

static struct memory_peer *call(struct rig *rig)
{
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    return caller;
}

/* Who has the call now answers it so; true: it was the bad one. */
static bool answer(struct rig *rig, uint8_t type)
{
    struct memory_peer *callee = busy(rig, RIG_PORT);
    bool is_bad = callee != NULL;
    callee = callee ? callee : busy(rig, OTHER_PORT);
    rig_send(callee,
             &(struct rig_request){
                 .type = type, .method = "M", .seqid = rig_expect_call(callee, "M"), .payload = 3});
    rig_rest(rig);
    return is_bad;
}

/* Two endpoints in turn, a connection for each call; the bad one is ejected for a second. */
static struct rig *ejected(const char *more)
{
    char config[256];
    struct rig *rig = rig_new(1);
    snprintf(config, sizeof config,
             "{\"lb\": \"round_robin\", \"pool\": {\"mode\": \"short\"}, \"retry\": {\"attempts\": "
             "0}, \"eject\": {\"consecutive\": 2}%s}",
             more);
    rig_serve(rig, OTHER_PORT);
    rig_begin(rig, config);
    for (int i = 0; i < 4; i++) {
        (void)call(rig);
        (void)answer(rig, busy(rig, RIG_PORT) ? WIRE_EXCEPTION : WIRE_REPLY);
    }
    assert_true(ejection_is_out(bad(rig)));
    assert_int_equal(rig_metric(rig, METRIC_EJECTIONS), 1);
    return rig;
}

/* So many calls, all well: how many the bad one gets. */
static unsigned calls_to_bad(struct rig *rig, unsigned n)
{
    unsigned hits = 0;
    for (unsigned i = 0; i < n; i++) {
        (void)call(rig);
        hits += answer(rig, WIRE_REPLY);
    }
    return hits;
}

/* Its time is over, and the call that follows is at the bad one. */
static struct memory_peer *begin_trial(struct rig *rig)
{
    struct memory_peer *caller = call(rig);
    if (!(endpoint_health(bad(rig)) & LB_EJECT_TRIAL)) {
        (void)answer(rig, WIRE_REPLY);
        caller = call(rig);
    }
    assert_true(endpoint_health(bad(rig)) & LB_EJECT_TRIAL);
    return caller;
}

static void expect_free(struct rig *rig)
{
    assert_false(endpoint_health(bad(rig)) & LB_EJECT_TRIAL);
    assert_true(ejection_is_out(bad(rig)));
}

static void test_it_gets_no_calls_until_a_trial_succeeds(void **state)
{
    struct rig *rig = ejected("");
    (void)state;
    rig_pass(rig, 990);
    assert_int_equal(calls_to_bad(rig, 10), 0);
    rig_pass(rig, 10);
    (void)begin_trial(rig);
    assert_true(answer(rig, WIRE_REPLY));
    assert_int_equal(calls_to_bad(rig, 10), 5);
    rig_free(rig);
}

static void test_a_trial_that_fails(void **state)
{
    struct rig *rig = ejected("");
    (void)state;
    rig_pass(rig, 1000);
    (void)begin_trial(rig);
    assert_true(answer(rig, WIRE_EXCEPTION));
    expect_free(rig);
    rig_pass(rig, 1990);
    assert_int_equal(calls_to_bad(rig, 10), 0);
    assert_int_equal(rig_metric(rig, METRIC_EJECTIONS), 2);
    rig_free(rig);
}

static void test_a_trial_that_times_out(void **state)
{
    struct rig *rig = ejected(", \"timeout_ms\": 100");
    (void)state;
    rig_pass(rig, 1000);
    struct memory_peer *caller = begin_trial(rig);
    rig_pass(rig, 101);
    rig_expect_failure(caller, 1, "[tside timeout]");
    expect_free(rig);
    rig_free(rig);
}

/* What was not sent says nothing: the next call is a trial. */
static void test_the_caller_of_a_trial_vanishes(void **state)
{
    struct rig *rig = ejected("");
    (void)state;
    rig_pass(rig, 1000);
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    memory_reset(begin_trial(rig));
    rig_rest(rig);
    expect_free(rig);
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_ACCEPT, 0);
    memory_connected(busy(rig, RIG_PORT), -ECONNREFUSED); /* nobody waits for it */
    rig_rest(rig);
    expect_free(rig);
    (void)begin_trial(rig);
    rig_free(rig);
}

/* Another call meanwhile goes elsewhere. */
static void test_a_trial_is_single(void **state)
{
    struct rig *rig = ejected("");
    (void)state;
    rig_pass(rig, 1000);
    struct memory_peer *trial = begin_trial(rig);
    struct memory_peer *callee = busy(rig, RIG_PORT);
    for (int i = 0; i < 6; i++) {
        struct memory_peer *caller = call(rig);
        rig_answer(busy(rig, OTHER_PORT), "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", 1);
    }
    assert_int_equal(memory_callees(&rig->net[0], RIG_PORT), 1);
    rig_answer(callee, "M");
    rig_rest(rig);
    rig_expect_reply(trial, "M", 1);
    assert_false(ejection_is_out(bad(rig)));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_it_gets_no_calls_until_a_trial_succeeds),
        cmocka_unit_test(test_a_trial_that_fails),
        cmocka_unit_test(test_a_trial_that_times_out),
        cmocka_unit_test(test_the_caller_of_a_trial_vanishes),
        cmocka_unit_test(test_a_trial_is_single),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
