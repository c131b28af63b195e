/*
 * call_test.c: what becomes of a call, each state and event by what a caller, a callee, a rule or
 * time did.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

/* The call begun last. */
static const struct call *call_of(const struct rig *rig)
{
    const struct worker *worker = rig_worker(rig, 0);
    assert_false(list_empty(&worker->live));
    return container_of(worker->live.prev, struct call, live);
}

static void assert_state(const struct rig *rig, enum call_state state)
{
    assert_string_equal(call_state_str((enum call_state)call_of(rig)->state),
                        call_state_str(state));
}

/* ---- waiting for the first rules ------------------------------------------------------------- */

static void test_calls_wait_for_the_first_rules(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "M", 1);
    rig_call(caller, "N", 2);
    rig_rest(rig);
    assert_state(rig, CALL_STATE_WAIT_RULES);
    assert_true(permit_taken(&rig->env.buffered) > 0); /* its bytes outlive the turn */
    rig_pass(rig, 500);
    rig_begin(rig, "{}");
    rig_answer(rig_callee(rig, 0), "M");
    rig_answer(rig_callee(rig, 1), "N");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
    rig_expect_reply(caller, "N", 2);
    rig_free(rig);
}

/* The wait is part of the time that the call has: from its arrival, by the rule that came, be that
 * shorter or longer than the built-in one. */
static void test_the_wait_counts(void **state)
{
    static const struct {
        const char *config, *text;
        uint64_t ms;
    } cases[] = {{"{\"timeout_ms\": 300}", "no answer within 300 ms", 300},
                 {"{\"timeout_ms\": 3000}", "no answer within 3000 ms", 3000}};
    (void)state;
    for (size_t i = 0; i < 2; i++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_call(caller, "M", 1);
        rig_pass(rig, 200);
        rig_begin(rig, cases[i].config);
        rig_expect_call(rig_callee(rig, 0), "M");
        rig_pass(rig, cases[i].ms - 200);
        rig_expect_nothing(caller);
        rig_pass(rig, 1);
        rig_expect_failure(caller, 1, cases[i].text);
        rig_free(rig);
    }
}

/* No rules come: its budget or the built-in time ends it; a ONEWAY message ends without an
 * answer. */
static void test_no_rules_come(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_send(caller, &(struct rig_request){.method = "B", .seqid = 1, .budget = "70"});
    rig_send(caller, &(struct rig_request){.method = "Spent", .seqid = 2, .budget = "0"});
    rig_call(caller, "M", 3);
    rig_oneway(caller, "O");
    rig_pass(rig, 70);
    rig_expect_nothing(caller);
    rig_pass(rig, 1);
    rig_expect_failure(caller, 1, "no answer within 70 ms");
    rig_expect_failure(caller, 2, "the budget was spent before the call could be sent");
    rig_pass(rig, 929);
    rig_expect_nothing(caller);
    rig_pass(rig, 1);
    rig_expect_failure(caller, 3, "no answer within 1000 ms");
    assert_int_equal(rig_metric(rig, METRIC_CALLS_INFLIGHT), 0);
    assert_int_equal(rig_reason(rig, REASON_TIMEOUT), 4);
    rig_free(rig);
}

static void test_the_caller_goes_before_the_rules_come(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    struct memory_peer *caller = rig_calling(rig);
    memory_reset(caller);
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
    assert_int_equal(rig_metric(rig, METRIC_CALLS_INFLIGHT), 0);
    rig_begin(rig, "{}");
    assert_int_equal(rig->net[0].connects, 0);
    rig_free(rig);
}

/* ---- what tside answers itself --------------------------------------------------------------- */

static void test_answers_of_its_own(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_config(rig, "Denied", "{\"access\": \"deny\"}");
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "Denied", 1);
    rig_oneway(caller, "Denied");
    rig_call(caller, "__can__finagle__trace__v3__", 2);
    rig_call(caller, "svc:", 3);
    rig_rest(rig);
    rig_expect_failure(caller, 1, "[tside denied] app/default/svc/default/Denied: access is deny");
    rig_expect_failure(caller, 2, "a Finagle upgrade probe is answered here");
    rig_expect_failure(caller, 3, "the message has no method name");
    rig_expect_nothing(caller);
    assert_int_equal(rig_reason(rig, REASON_DENIED), 2);
    assert_int_equal(rig->net[0].connects, 0);

    rig_unserve(rig, RIG_PORT);
    rig_commit(rig);
    rig_call(caller, "M", 4);
    rig_rest(rig);
    rig_expect_failure(caller, 4, "[tside no_endpoint]");

    static char none[] = "";
    rig->bootstrap.listeners[0].callee_service = none;
    rig_call(caller, "M", 5);
    rig_rest(rig);
    rig_expect_failure(caller, 5, "[tside no_route]");
    rig_free(rig);
}

/* ---- outcomes -------------------------------------------------------------------------------- */

static void put_base_resp(struct bytes *out, int32_t seqid, int32_t code)
{
    struct bytes body = {0};
    bytes_put_header(&body, WIRE_REPLY, "M", seqid);
    bytes_put_field(&body, WIRE_STRUCT, 0);
    bytes_put_field(&body, WIRE_STRUCT, 255);
    bytes_put_field(&body, WIRE_I32, 2);
    bytes_put32(&body, (uint32_t)code);
    for (int i = 0; i < 3; i++) {
        bytes_put8(&body, WIRE_STOP);
    }
    bytes_put_string(out, body.p, body.len);
    bytes_done(&body);
}

/* The calls of rig_call() and rig_oneway() are From "app.feed" by the listener; who may have that name is
 * decided by the uid that the peer connected with, also where the call waits for the first rules. */
static void test_a_from_that_the_uid_may_not_claim(void **state)
{
    static const struct {
        int64_t uid;
        bool allowed;
    } cases[] = {{1001, true}, {1002, false}, {-1, false}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = rig_new(1);
        struct claims *uids = &rig->bootstrap.listeners[0].uids;
        uids->set = true;
        assert_int_equal(claims_add(uids, 1001, rig->bootstrap.listeners[0].caller_service), 0);
        assert_int_equal(claims_add(uids, 1002, "another"), 0);
        struct memory_peer *caller = rig_caller_as(rig, cases[i].uid);
        rig_oneway(caller, "O");
        rig_call(caller, "M", 1);
        rig_rest(rig);
        rig_begin(rig, "{}");
        assert_int_equal(rig_callees(rig), cases[i].allowed ? 2 : 0);
        if (!cases[i].allowed) {
            char text[80];
            snprintf(text, sizeof text, "the listener's uids do not let uid %" PRId64 " claim",
                     cases[i].uid);
            rig_expect_failure(caller, 1, text);
            rig_expect_nothing(caller);
            assert_int_equal(rig_reason(rig, REASON_DENIED), 2);
        }
        struct claims mine = *uids;
        rig_free(rig);
        claims_done(&mine);
    }
}

/* Whatever the callee says is passed on; what it counts as is the rule's business. */
static void test_what_a_reply_counts_as(void **state)
{
    struct rig *rig = rig_new(1);
    struct rig_message message;
    (void)state;
    rig_begin(rig, "{\"failures\": {\"base_resp\": [[500, 599]]}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    static const int32_t codes[] = {0, 500, 599, 600};
    for (size_t i = 0; i < 4; i++) {
        rig_call(caller, "M", (int32_t)i);
        rig_rest(rig);
        struct memory_peer *callee = rig_callee(rig, 0);
        put_base_resp(&callee->in, rig_expect_call(callee, "M"), codes[i]);
        rig_rest(rig);
        rig_expect_reply(caller, "M", (int32_t)i);
    }
    rig_call(caller, "M", 9);
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_send(callee, &(struct rig_request){.type = WIRE_EXCEPTION,
                                           .method = "M",
                                           .seqid = rig_expect_call(callee, "M"),
                                           .payload = 3});
    rig_rest(rig);
    assert_true(rig_next(caller, &message));
    assert_int_equal(message.type, WIRE_EXCEPTION);
    assert_int_equal(message.seqid, 9);
    assert_int_equal(rig_reason(rig, REASON_OK), 2);
    assert_int_equal(rig_reason(rig, REASON_APP_FAILURE), 2);
    assert_int_equal(rig_reason(rig, REASON_APP_EXCEPTION), 1);
    rig_free(rig);
}

/* A call that the rule says gets no answer: its caller is sent nothing, and the next reply is the
 * next call's. */
static void test_a_call_that_is_oneway_by_its_rule(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_config(rig, "Fire", "{\"oneway\": true}");
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "Fire", 1);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    rig_expect_call(rig_callee(rig, 0), "Fire");
    rig_answer(rig_callee(rig, 1), "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 2);
    assert_int_equal(rig_reason(rig, REASON_OK), 2);
    rig_free(rig);
}

/* An idle connection that dies under it: the same call goes out once more. */
static void test_a_call_is_tried_again(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    rig_serve_call(rig, caller, "M", 1);
    rig_callee(rig, 0)->window = 0;
    rig_call(caller, "M", 2);
    rig_rest(rig);
    memory_reset(rig_callee(rig, 0));
    rig_rest(rig);
    rig_serve_call(rig, caller, "M", 2);
    assert_int_equal(rig_metric(rig, METRIC_RESENDS), 1);
    rig_free(rig);
}

/* ---- the deadline ---------------------------------------------------------------------------- */

/* Never early, and not a tick late. */
static void test_the_deadline_to_the_tick(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 150}");
    struct memory_peer *caller = rig_calling(rig);
    rig_pass(rig, 150);
    rig_expect_nothing(caller);
    rig_pass(rig, 1);
    rig_expect_failure(caller, 1, "[tside timeout]");
    rig_free(rig);
}

/* What is left of the chain's budget is passed on; one that is spent is not sent. */
static void test_the_budget_is_passed_on(void **state)
{
    struct rig *rig = rig_new(1);
    struct rig_message message;
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 300}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 1, .budget = "250"});
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 2, .budget = "9000"});
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 3, .budget = "0"});
    rig_pass(rig, 20);
    static const char *const left[] = {"230", "280"};
    for (unsigned i = 0; i < 2; i++) {
        memory_connected(rig_callee(rig, i), 0);
        rig_rest(rig);
        assert_true(rig_next(rig_callee(rig, i), &message));
        assert_non_null(memmem(message.body, message.len, left[i], 3));
        rig_reply(rig_callee(rig, i), "M", message.seqid, 0);
    }
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
    rig_expect_reply(caller, "M", 2);
    rig_expect_failure(caller, 3, "the budget was spent before the call could be sent");
    rig_free(rig);
}

/* A ONEWAY message on its way is late rather than the end of the connection that it shares. */
static void test_a_oneway_may_be_late(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 100, \"send_timeout_ms\": 500}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_expect_call(callee, "O");
    callee->window = 3;
    rig_oneway(caller, "P");
    rig_pass(rig, 400);
    assert_false(memory_is_closed(callee));
    callee->window = SIZE_MAX;
    rig_rest(rig);
    rig_expect_call(callee, "P");
    assert_int_equal(rig_reason(rig, REASON_OK), 2);

    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0); /* not on its way: the deadline holds */
    struct memory_peer *other = rig_caller(rig, 0);
    rig_config(rig, "*", "{\"timeout_ms\": 100, \"connect_timeout_ms\": 5000}");
    rig_commit(rig);
    rig_oneway(other, "O");
    rig_pass(rig, 101);
    assert_int_equal(rig_reason(rig, REASON_TIMEOUT), 1);
    rig_free(rig);
}

/* ---- a caller that goes ---------------------------------------------------------------------- */

/* Not sent: the call ends at once. */
static void test_the_caller_goes_before_it_is_sent(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_calling(rig);
    assert_state(rig, CALL_STATE_TRYING);
    memory_reset(caller);
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
    assert_int_equal(rig_metric(rig, METRIC_CALLS_INFLIGHT), 0);
    rig_free(rig);
}

/* Sent: it keeps its connection, permit and deadline; the reply is swallowed, the connection is
 * used again. */
static void test_the_caller_goes_when_it_is_sent(void **state)
{
    (void)state;
    for (int late = 0; late < 2; late++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{\"timeout_ms\": 100}");
        struct memory_peer *caller = rig_calling(rig);
        memory_reset(caller);
        rig_rest(rig);
        assert_state(rig, CALL_STATE_ORPHAN);
        assert_int_equal(permit_taken(&rig->env.calls), 1);
        struct memory_peer *callee = rig_callee(rig, 0);
        if (late) {
            rig_pass(rig, 101);
            assert_true(memory_is_closed(callee));
        } else {
            rig_answer(callee, "M");
            rig_rest(rig);
            assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 1);
        }
        assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
        assert_int_equal(permit_taken(&rig->env.calls), 0);
        rig_free(rig);
    }
}

/* The outcome is known, but its turn never comes. */
static void test_the_caller_goes_before_its_turn(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "A", 1);
    rig_call(caller, "B", 2);
    rig_rest(rig);
    rig_answer(rig_callee(rig, 1), "B");
    rig_rest(rig);
    assert_state(rig, CALL_STATE_HELD);
    memory_reset(caller);
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1); /* A is still under way */
    rig_answer(rig_callee(rig, 0), "A");
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 2);
    assert_int_equal(rig_reason(rig, REASON_OK), 0);
    rig_free(rig);
}

/* A ONEWAY message has no use for its caller. */
static void test_a_oneway_goes_on_alone(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    memory_reset(caller);
    rig_rest(rig);
    assert_true(memory_is_closed(caller));
    memory_connected(rig_callee(rig, 0), 0);
    rig_rest(rig);
    rig_expect_call(rig_callee(rig, 0), "O");
    assert_int_equal(rig_reason(rig, REASON_OK), 1);
    rig_free(rig);
}

/* ---- limits and memory ----------------------------------------------------------------------- */

/* A limit that is reached is given back with the call that held it, whatever became of that. */
static void test_permits_come_back(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.calls = 2;
    rig_begin(rig, "{\"timeout_ms\": 100}");
    struct memory_peer *gone = rig_caller(rig, 0);
    struct memory_peer *late = rig_caller(rig, 0);
    struct memory_peer *third = rig_caller(rig, 0);
    rig_call(gone, "M", 1);
    rig_call(late, "M", 2);
    rig_rest(rig);
    rig_call(third, "M", 3);
    rig_rest(rig);
    rig_expect_failure(third, 3, "limits.calls 2 are under way");
    memory_reset(gone);
    rig_pass(rig, 101);
    rig_expect_failure(late, 2, "[tside timeout]");
    for (int i = 4; i < 6; i++) {
        rig_call(third, "M", i);
    }
    rig_rest(rig);
    assert_int_equal(rig_callees(rig), 2);
    rig_answer(rig_callee(rig, 0), "M");
    rig_answer(rig_callee(rig, 1), "M");
    rig_rest(rig);
    rig_expect_reply(third, "M", 4);
    rig_expect_reply(third, "M", 5);
    rig_free(rig);
}

/* In steady state a call allocates nothing. */
static void test_calls_allocate_nothing(void **state)
{
    struct rig *rig = rig_new(1);
    unsigned long before = 0;
    (void)state;
    rig_begin(rig, "{\"access_log\": 0}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 100; i++) {
        if (i == 10) {
            before = scarce_count();
        }
        rig_call(caller, "M", i);
        rig_rest(rig);
        scarce_hold();
        struct memory_peer *callee = rig_callee(rig, 0);
        rig_answer(callee, "M");
        scarce_release();
        rig_rest(rig);
        rig_expect_reply(caller, "M", i);
    }
    assert_int_equal(scarce_count() - before, 0);
    rig_free(rig);
}

/* A burst's blocks are given back within a few ticks. */
static void test_slabs_shrink_behind_a_burst(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 1000;
    rig_begin(rig, "{\"timeout_ms\": 500}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 200; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    assert_int_equal(rig_worker(rig, 0)->calls.blocks, 4);
    rig_pass(rig, 501);
    assert_int_equal(rig_worker(rig, 0)->calls.taken, 0);
    rig_pass(rig, 3 * WORKER_TICK_MS);
    assert_int_equal(rig_worker(rig, 0)->calls.blocks, 0);
    assert_int_equal(rig_worker(rig, 0)->attempts.blocks, 0);
    rig_free(rig);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void test_every_legal_step_was_taken(void **state)
{
    (void)state;
    assert_int_equal(steps_missing_of_call(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calls_wait_for_the_first_rules),
        cmocka_unit_test(test_the_wait_counts),
        cmocka_unit_test(test_no_rules_come),
        cmocka_unit_test(test_the_caller_goes_before_the_rules_come),
        cmocka_unit_test(test_answers_of_its_own),
        cmocka_unit_test(test_a_from_that_the_uid_may_not_claim),
        cmocka_unit_test(test_what_a_reply_counts_as),
        cmocka_unit_test(test_a_call_that_is_oneway_by_its_rule),
        cmocka_unit_test(test_a_call_is_tried_again),
        cmocka_unit_test(test_the_deadline_to_the_tick),
        cmocka_unit_test(test_the_budget_is_passed_on),
        cmocka_unit_test(test_a_oneway_may_be_late),
        cmocka_unit_test(test_the_caller_goes_before_it_is_sent),
        cmocka_unit_test(test_the_caller_goes_when_it_is_sent),
        cmocka_unit_test(test_the_caller_goes_before_its_turn),
        cmocka_unit_test(test_a_oneway_goes_on_alone),
        cmocka_unit_test(test_permits_come_back),
        cmocka_unit_test(test_calls_allocate_nothing),
        cmocka_unit_test(test_slabs_shrink_behind_a_burst),
        cmocka_unit_test(test_every_legal_step_was_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
