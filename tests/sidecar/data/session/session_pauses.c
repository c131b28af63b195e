/*
 * session_pauses.c: when a caller is not read from, and when it is idle, late or stalled.
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

/* ---- clocks ---------------------------------------------------------------------------------- */

static void test_an_idle_caller_is_closed(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.timeouts.idle_ms = 500;
    rig_begin(rig, "{\"timeout_ms\": 5000}");
    struct memory_peer *caller = rig_calling(rig);
    rig_pass(rig, 1000); /* it waits for an answer: not idle */
    session_expect(rig, SESSION_STATE_OPEN);
    rig_answer(rig_callee(rig, 0), "M");
    rig_pass(rig, 499);
    rig_expect_reply(caller, "M", 1);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_pass(rig, 1);
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

/* The process stood still: what waits in the sockets is read before anything is closed for
 * silence. */
static void test_a_loop_that_stood_still_reads_first(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.timeouts.idle_ms = 500;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    struct memory_peer *silent = rig_caller(rig, 0);
    rig_rest(rig);
    rig_call(caller, "M", 1);
    rig->loop[0].now_us += 15000 * 1000;
    rig_rest(rig);
    rig_serve_call(rig, caller, "M", 1);
    assert_false(memory_is_closed(caller));
    assert_true(memory_is_closed(silent));
    rig_free(rig);
}

static void test_a_frame_that_is_late(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 60000}");
    struct memory_peer *caller = rig_calling(rig);
    memory_send(caller, "\0\0\0\x20\x80", 5);
    rig_pass(rig, 9999);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_pass(rig, 1);
    session_expect(rig, SESSION_STATE_LAST);
    assert_int_equal(rig_metric(rig, METRIC_REJECTED_TIMEOUT), 1);
    rig_serve_call(rig, caller, "M", 1);
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

/* frame_timeout_ms stands still while it is this side that does not read. */
static void test_a_paused_frame_is_not_late(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.timeouts.write_stall_ms = 100000;
    rig_begin(rig, "{\"timeout_ms\": 60000}");
    struct memory_peer *caller = rig_calling(rig);
    memory_send(caller, "\0\0\0\x20\x80", 5);
    rig_pass(rig, 5000);
    caller->window = 10;
    rig_reply(rig_callee(rig, 0), "M", rig_expect_call(rig_callee(rig, 0), "M"), LONG_BYTES);
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_PAUSED);
    rig_pass(rig, 20000);
    caller->window = SIZE_MAX;
    rig_pass(rig, 4999);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_pass(rig, 1);
    assert_true(memory_is_closed(caller));
    assert_int_equal(rig_metric(rig, METRIC_REJECTED_TIMEOUT), 1);
    rig_free(rig);
}

/* Counts from the last byte that was taken: slow is not stalled. */
static void test_a_caller_that_takes_nothing(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = session_not_taking(rig, 1000);
    session_expect(rig, SESSION_STATE_OPEN);
    for (int i = 0; i < 5; i++) {
        rig_pass(rig, 6000);
        caller->window = 1;
        rig_rest(rig);
    }
    session_expect(rig, SESSION_STATE_OPEN);
    rig_pass(rig, 15000);
    assert_true(memory_is_closed(caller));
    assert_int_equal(rig_metric(rig, METRIC_WRITE_STALLS), 1);
    rig_free(rig);
}

static void test_a_stall_while_paused_and_behind_the_end(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{}");
        struct memory_peer *caller = session_not_taking(rig, ends ? 1000 : LONG_BYTES);
        if (ends) {
            memory_end(caller);
            rig_rest(rig);
        }
        session_expect(rig, ends ? SESSION_STATE_LAST : SESSION_STATE_PAUSED);
        rig_pass(rig, 15000);
        assert_true(memory_is_closed(caller));
        assert_int_equal(rig_metric(rig, METRIC_WRITE_STALLS), 1);
        rig_free(rig);
    }
}

/* ---- pauses ---------------------------------------------------------------------------------- */

static void test_pause_for_pipelined_calls(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 2;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 3; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_PAUSED);
    assert_int_equal(rig_session(rig, 0)->pauses, SESSION_PAUSE_PIPELINE);
    assert_int_equal(rig_callees(rig), 2);
    rig_answer(rig_callee(rig, 0), "M");
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_PAUSED); /* went on, and is full again */
    assert_int_equal(rig_metric(rig, METRIC_READ_PAUSES_PIPELINE), 2);
    rig_answer(rig_callee(rig, 0), "M");
    rig_answer(rig_callee(rig, 1), "M");
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_OPEN);
    for (int i = 0; i < 3; i++) {
        rig_expect_reply(caller, "M", i);
    }
    rig_free(rig);
}

static void test_pause_for_what_is_not_taken(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = session_not_taking(rig, LONG_BYTES);
    session_expect(rig, SESSION_STATE_PAUSED);
    assert_int_equal(rig_session(rig, 0)->pauses, SESSION_PAUSE_UNSENT);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    assert_true(rig_callee(rig, 0)->out.len == rig_callee(rig, 0)->out_seen); /* not read */
    caller->window = SIZE_MAX;
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_expect_reply(caller, "M", 1);
    rig_serve_call(rig, caller, "M", 2);
    rig_free(rig);
}

/* Reading goes on well below the mark at which it stopped. */
static void test_the_pause_lasts_a_while(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = session_not_taking(rig, 200000);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    rig_reply(rig_callee(rig, 0), "M", rig_expect_call(rig_callee(rig, 0), "M"), 150000);
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_PAUSED);
    caller->window = 200100; /* all of the first, and some bytes of the second */
    rig_rest(rig);
    assert_in_range(channel_unsent(&rig_session(rig, 0)->channel), SESSION_UNSENT_LOW,
                    SESSION_UNSENT_HIGH);
    session_expect(rig, SESSION_STATE_PAUSED);
    caller->window = SIZE_MAX;
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_expect_reply(caller, "M", 1);
    rig_expect_reply(caller, "M", 2);
    rig_free(rig);
}

/* Replies that wait for their turn count as unsent: only the callee whose reply stands in front is
 * read, and when that is out, the next one. */
static void test_pause_for_replies_that_wait(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 4; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    struct memory_peer *last = rig_callee(rig, 3);
    rig_reply(last, "M", rig_expect_call(last, "M"), LONG_BYTES);
    rig_rest(rig);
    assert_int_equal(rig_session(rig, 0)->pauses, SESSION_PAUSE_UNSENT);
    for (unsigned head = 0; head < 3; head++) {
        for (unsigned i = head; i < 3; i++) {
            assert_true(rig_callee(rig, i)->reading == (i == head));
        }
        rig_answer(rig_callee(rig, head), "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", (int32_t)head);
    }
    rig_expect_reply(caller, "M", 3);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_free(rig);
}

/* limits.calls: refused at once; no more is read until the refusal is out. */
static void test_pause_for_refused_calls(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.calls = 1;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 3; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_PAUSED);
    assert_int_equal(rig_session(rig, 0)->pauses, SESSION_PAUSE_CALLS);
    assert_int_equal(rig_metric(rig, METRIC_CALLS_LIMITED), 1);
    rig_serve_call(rig, caller, "M", 0);
    rig_expect_failure(caller, 1, "[tside concurrency_limit]");
    rig_answer(rig_callee(rig, 0), "M"); /* the third got the permit of the first */
    rig_rest(rig);
    rig_expect_reply(caller, "M", 2);
    rig_free(rig);
}

/* limits.buffered_bytes: an older frame holds them; the younger waits until they are there. */
static void test_pause_for_buffers(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    rig_worker(rig, 0)->buffers.limit = 100000;
    struct bytes wire = {0};
    rig_put(&wire, &(struct rig_request){.method = "M", .seqid = 1, .payload = 60000});
    struct memory_peer *older = rig_caller(rig, 0);
    memory_send(older, wire.p, 1000);
    rig_rest(rig);
    void *others = buffers_alloc(&rig_worker(rig, 0)->buffers, 100000);
    struct memory_peer *caller = rig_caller(rig, 0);
    memory_send(caller, wire.p, wire.len);
    rig_pass(rig, 100);
    session_expect(rig, SESSION_STATE_PAUSED);
    assert_int_equal(rig_session(rig, 0)->pauses, SESSION_PAUSE_BUFFERS);
    assert_true(rig_metric(rig, METRIC_READ_PAUSES_BUFFERS) > 0);
    buffers_free(&rig_worker(rig, 0)->buffers, others);
    rig_pass(rig, 2 * WORKER_STARVED_POLL_MS);
    session_expect(rig, SESSION_STATE_OPEN);
    rig_serve_call(rig, caller, "M", 1);
    bytes_done(&wire);
    rig_free(rig);
}

static void test_an_error_while_paused(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = session_not_taking(rig, LONG_BYTES);
    session_expect(rig, SESSION_STATE_PAUSED);
    memory_reset(caller);
    rig_rest(rig);
    assert_true(memory_is_closed(caller));
    assert_int_equal(steps_of_session(SESSION_STATE_PAUSED, SESSION_EVENT_ERROR), 1);
    rig_free(rig);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_an_idle_caller_is_closed),
    cmocka_unit_test(test_a_loop_that_stood_still_reads_first),
    cmocka_unit_test(test_a_frame_that_is_late),
    cmocka_unit_test(test_a_paused_frame_is_not_late),
    cmocka_unit_test(test_a_caller_that_takes_nothing),
    cmocka_unit_test(test_a_stall_while_paused_and_behind_the_end),
    cmocka_unit_test(test_pause_for_pipelined_calls),
    cmocka_unit_test(test_pause_for_what_is_not_taken),
    cmocka_unit_test(test_the_pause_lasts_a_while),
    cmocka_unit_test(test_pause_for_replies_that_wait),
    cmocka_unit_test(test_pause_for_refused_calls),
    cmocka_unit_test(test_pause_for_buffers),
    cmocka_unit_test(test_an_error_while_paused),
};

int session_pauses(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
