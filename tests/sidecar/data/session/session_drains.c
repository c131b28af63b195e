/*
 * session_drains.c: what becomes of callers when the process drains and ends.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/session/session_scenarios.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* ---- draining -------------------------------------------------------------------------------- */

static void test_drain_closes_behind_a_reply(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    rig_phase(rig, WORKER_DRAINING);
    session_expect(rig, SESSION_STATE_DRAIN);
    rig_serve_call(rig, caller, "M", 1);
    assert_true(memory_is_closed(caller));
    assert_true(rig->loop[0].closed); /* the last one has gone: the worker ends */
    rig_free(rig);
}

/* A call that was sent while the drain began is still taken up. */
static void test_drain_waits_for_a_quiet_while(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    struct memory_peer *silent = rig_caller(rig, 0);
    rig_phase(rig, WORKER_DRAINING);
    rig_pass(rig, WORKER_DRAIN_QUIET_MS - 1);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    assert_false(memory_is_closed(silent));
    rig_pass(rig, 1);
    assert_true(memory_is_closed(silent));
    rig_serve_call(rig, caller, "M", 1);
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

/* Bytes that wait in the socket when the quiet while is over are read first. */
static void test_drain_looks_once_more(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_phase(rig, WORKER_DRAINING);
    rig_pass(rig, WORKER_DRAIN_QUIET_MS - 1);
    rig_call(caller, "M", 1);
    rig->loop[0].now_us += 1000; /* the timer comes before the poll */
    rig_rest(rig);
    rig_serve_call(rig, caller, "M", 1);
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

/* What was sent before the drain is answered, one behind the other. */
static void test_drain_answers_what_was_sent(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 1;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    rig_call(caller, "B", 2);
    rig_rest(rig);
    rig_phase(rig, WORKER_DRAINING);
    rig_serve_call(rig, caller, "M", 1);
    session_expect(rig, SESSION_STATE_DRAIN_PAUSED); /* B is under way */
    rig_serve_call(rig, caller, "B", 2);
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

static void test_a_connection_that_comes_to_a_drain(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    (void)rig_calling(rig);
    rig_phase(rig, WORKER_DRAINING);
    struct memory_peer *late = rig_caller(rig, 0); /* it was in the queue */
    session_expect(rig, SESSION_STATE_DRAIN);
    rig_call(late, "L", 5);
    rig_rest(rig);
    rig_answer(rig_callee(rig, 1), "L");
    rig_rest(rig);
    rig_expect_reply(late, "L", 5);
    assert_true(memory_is_closed(late));
    rig_free(rig);
}

/* What else may become of a session that drains, one after the other. */
static void test_ends_within_a_drain(void **state)
{
    static const struct {
        enum session_event event;
        enum session_state next;
    } cases[] = {{SESSION_EVENT_END, SESSION_STATE_LAST},
                 {SESSION_EVENT_BROKEN, SESSION_STATE_LAST},
                 {SESSION_EVENT_LATE, SESSION_STATE_LAST},
                 {SESSION_EVENT_ERROR, SESSION_STATE_CLOSED}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{\"timeout_ms\": 60000}");
        struct memory_peer *caller = rig_calling(rig);
        unsigned before = steps_of_session(SESSION_STATE_DRAIN, cases[i].event);
        rig_phase(rig, WORKER_DRAINING);
        if (cases[i].event == SESSION_EVENT_END) {
            memory_end(caller);
        } else if (cases[i].event == SESSION_EVENT_ERROR) {
            memory_reset(caller);
        } else {
            memory_send(caller, "\0\0\0\0", cases[i].event == SESSION_EVENT_BROKEN ? 4 : 3);
        }
        rig_pass(rig, cases[i].event == SESSION_EVENT_LATE ? 10000 : 0);
        assert_int_equal(steps_of_session(SESSION_STATE_DRAIN, cases[i].event), before + 1);
        if (cases[i].next == SESSION_STATE_LAST) {
            session_expect(rig, SESSION_STATE_LAST);
            rig_serve_call(rig, caller, "M", 1);
        }
        assert_true(memory_is_closed(caller));
        rig_free(rig);
    }
}

/* A drain that meets what was paused, half closed, or not taken. */
static void test_a_drain_of_those_that_stand(void **state)
{
    static const struct {
        size_t payload;
        bool ends, resets;
        enum session_state state;
    } cases[] = {{LONG_BYTES, false, false, SESSION_STATE_DRAIN_PAUSED},
                 {LONG_BYTES, false, true, SESSION_STATE_DRAIN_PAUSED},
                 {1000, false, false, SESSION_STATE_DRAIN},
                 {1000, true, false, SESSION_STATE_LAST}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{}");
        struct memory_peer *caller = session_not_taking(rig, cases[i].payload);
        if (cases[i].ends) {
            memory_end(caller);
        }
        rig_rest(rig);
        rig_phase(rig, WORKER_DRAINING);
        session_expect(rig, cases[i].state);
        if (cases[i].resets) {
            memory_reset(caller);
        }
        rig_pass(rig, cases[i].resets ? 0 : 15000);
        assert_true(memory_is_closed(caller));
        assert_int_equal(rig_metric(rig, METRIC_WRITE_STALLS), !cases[i].resets);
        rig_free(rig);
    }
}

/* drain_timeout_ms has passed: what is left is answered, then closed. */
static void test_the_end_answers_what_is_left(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    struct memory_peer *idle = rig_caller(rig, 0);
    rig_phase(rig, WORKER_DRAINING);
    rig_phase(rig, WORKER_ENDING);
    rig_expect_failure(caller, 1, "[tside draining]");
    assert_true(memory_is_closed(caller));
    assert_true(memory_is_closed(idle));
    assert_true(rig->loop[0].closed);
    rig_free(rig);
}

/* A paused caller goes on when the end answers what is under way: what was read of it before is
 * answered, too, and nothing of it reaches a callee. */
static void test_the_end_sends_nothing_more(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 1;
    rig_begin(rig, "{}");
    struct memory_peer *other = rig_calling(rig);
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "A", 2);
    rig_call(caller, "B", 3);
    rig_oneway(caller, "C");
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_answer(callee, "M");
    rig_rest(rig);
    rig_expect_reply(other, "M", 1); /* its connection is idle: B could be sent at once */
    rig_phase(rig, WORKER_ENDING);
    rig_expect_failure(caller, 2, "[tside draining]");
    rig_expect_failure(caller, 3, "[tside draining]");
    rig_expect_nothing(callee);
    assert_int_equal(rig_reason(rig, REASON_DRAINING), 3);
    rig_free(rig);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_drain_closes_behind_a_reply),
    cmocka_unit_test(test_drain_waits_for_a_quiet_while),
    cmocka_unit_test(test_drain_looks_once_more),
    cmocka_unit_test(test_drain_answers_what_was_sent),
    cmocka_unit_test(test_a_connection_that_comes_to_a_drain),
    cmocka_unit_test(test_ends_within_a_drain),
    cmocka_unit_test(test_a_drain_of_those_that_stand),
    cmocka_unit_test(test_the_end_answers_what_is_left),
    cmocka_unit_test(test_the_end_sends_nothing_more),
};

int session_drains(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
