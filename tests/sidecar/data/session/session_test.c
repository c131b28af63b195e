/*
 * session_test.c: a caller's connection, each state and event by what a caller, a callee or time
 * did.
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

void session_expect(const struct rig *rig, enum session_state state)
{
    const struct session *session = rig_session(rig, 0);
    assert_non_null(session);
    assert_string_equal(session_state_str(session->state), session_state_str(state));
}

struct memory_peer *session_not_taking(struct rig *rig, size_t payload)
{
    struct memory_peer *caller = rig_calling(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    caller->window = 10;
    rig_reply(callee, "M", rig_expect_call(callee, "M"), payload);
    rig_rest(rig);
    assert_int_equal(caller->out.len, 10);
    return caller;
}

/* ---- replies --------------------------------------------------------------------------------- */

static void test_replies_go_out_in_request_order(void **state)
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
    rig_expect_nothing(caller);
    assert_true(rig_session(rig, 0)->held_bytes > 0);
    assert_true(permit_taken(&rig->env.buffered) > 0); /* owned, and charged */
    rig_serve_call(rig, caller, "A", 1);
    rig_expect_reply(caller, "B", 2);
    assert_int_equal(rig_session(rig, 0)->held_bytes, 0);
    rig_free(rig);
}

static void test_replies_go_out_in_any_order(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.listeners[0].any_order = true;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "A", 1);
    rig_call(caller, "B", 2);
    rig_rest(rig);
    rig_answer(rig_callee(rig, 1), "B");
    rig_rest(rig);
    rig_expect_reply(caller, "B", 2);
    rig_serve_call(rig, caller, "A", 1);
    rig_free(rig);
}

/* Bytes may come one by one. */
static void test_a_call_byte_by_byte(void **state)
{
    struct rig *rig = rig_new(1);
    struct bytes wire = {0};
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_put(&wire, &(struct rig_request){.method = "M", .seqid = 3, .payload = 5});
    for (size_t i = 0; i < wire.len; i++) {
        assert_int_equal(rig_callees(rig), 0);
        memory_send(caller, wire.p + i, 1);
        rig_rest(rig);
    }
    rig_serve_call(rig, caller, "M", 3);
    bytes_done(&wire);
    rig_free(rig);
}

/* What the first bytes were taken for, before there were enough to see what they are, is forgotten. */
static void test_a_call_behind_a_header_byte_by_byte(void **state)
{
    struct rig *rig = rig_new(1);
    struct bytes frame = {0}, wire = {0};
    (void)state;
    rig->bootstrap.listeners[0].accept = LISTENER_ACCEPT_FRAMED | LISTENER_ACCEPT_TTHEADER;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_put(&frame, &(struct rig_request){.method = "M", .seqid = 3, .payload = 5});
    bytes_put32(&wire, (uint32_t)frame.len + 10);
    /* No flags, sequence 5, one empty word. */
    bytes_put_hex(&wire, "1000 0000 0000 0005 0001 0000 0000");
    bytes_put(&wire, frame.p + 4, frame.len - 4);
    for (size_t i = 0; i < wire.len; i++) {
        assert_int_equal(rig_callees(rig), 0);
        memory_send(caller, wire.p + i, 1);
        rig_rest(rig);
    }
    rig_answer(rig_callee(rig, 0), "M");
    rig_rest(rig);
    assert_true(caller->out.len > 18);
    assert_memory_equal(caller->out.p + 4, "\x10\0\0\0\0\0\0\5", 8);
    assert_int_equal(rig_reason(rig, REASON_OK), 1);
    bytes_done(&frame);
    bytes_done(&wire);
    rig_free(rig);
}

/* ---- the caller's end ------------------------------------------------------------------------ */

static void test_half_close_gets_its_replies(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    memory_end(caller);
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_LAST);
    rig_serve_call(rig, caller, "M", 1);
    assert_true(memory_is_closed(caller));
    assert_int_equal(rig_reason(rig, REASON_OK), 1);
    rig_free(rig);
}

/* The end is read together with a call in front of it, and with a cut one behind. */
static void test_half_close_behind_a_call(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "M", 1);
    memory_send(caller, "\0\0\0\x20\x80", 5);
    memory_end(caller);
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_LAST);
    assert_int_equal(rig_metric(rig, METRIC_REJECTED_CUT), 1);
    rig_serve_call(rig, caller, "M", 1);
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

/* An end that comes while reading is paused counts when what was sent before it is taken up. */
static void test_half_close_of_a_paused_caller(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 1;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "A", 1);
    rig_call(caller, "B", 2);
    memory_end(caller);
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_PAUSED);
    for (int i = 0; i < 2; i++) {
        rig_answer(rig_callee(rig, 0), i == 0 ? "A" : "B");
        rig_rest(rig);
        rig_expect_reply(caller, i == 0 ? "A" : "B", i + 1);
    }
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

static void test_a_reset_ends_it_at_once(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    memory_reset(caller);
    rig_rest(rig);
    assert_true(memory_is_closed(caller));
    assert_int_equal(rig_metric(rig, METRIC_CONNECTIONS), 0);
    rig_answer(rig_callee(rig, 0), "M"); /* its reply is swallowed */
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
    rig_free(rig);
}

/* A reset behind a half close is seen when the reply cannot be sent. */
static void test_a_reset_behind_a_half_close(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    memory_end(caller);
    rig_rest(rig);
    memory_reset(caller);
    rig_answer(rig_callee(rig, 0), "M");
    rig_rest(rig);
    assert_true(memory_is_closed(caller));
    assert_int_equal(steps_of_session(SESSION_STATE_LAST, SESSION_EVENT_ERROR), 1);
    rig_free(rig);
}

/* ---- streams that cannot be followed --------------------------------------------------------- */

static void test_an_empty_frame(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_calling(rig);
    memory_send(caller, "\0\0\0\0", 4);
    rig_rest(rig);
    session_expect(rig, SESSION_STATE_LAST); /* what came before is answered */
    assert_int_equal(rig_metric(rig, METRIC_REJECTED_EMPTY), 1);
    rig_serve_call(rig, caller, "M", 1);
    assert_true(memory_is_closed(caller));
    rig_free(rig);
}

static void test_a_stranger_is_sent_away(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    memory_send(caller, "GET / HTTP/1.1\r\n", 16);
    rig_rest(rig);
    assert_true(memory_is_closed(caller));
    rig_expect_nothing(caller);
    assert_int_equal(rig_metric(rig, METRIC_FOREIGN_HTTP), 1);
    rig_free(rig);
}

/* A frame that is no message is answered, and the stream goes on. */
static void test_a_bad_message_is_answered(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    memory_send(caller, "\0\0\0\x0e\x80\1\0\1\0\0\0\1M\0\0\0\5\x7f", 18);
    rig_call(caller, "M", 6);
    rig_rest(rig);
    rig_expect_failure(caller, 5, "[tside bad_request]");
    rig_serve_call(rig, caller, "M", 6);
    rig_free(rig);
}

/* ---- taking up ------------------------------------------------------------------------------- */

static void test_connections_over_the_limit(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.connections = 1;
    rig_begin(rig, "{}");
    struct memory_peer *first = rig_caller(rig, 0);
    struct memory_peer *second = memory_caller(&rig->net[0]);
    assert_false(session_accept(rig_worker(rig, 0), &memory_transport, second,
                                &rig->bootstrap.listeners[0]));
    rig_rest(rig);
    assert_false(memory_is_closed(first));
    assert_int_equal(second->state, MEMORY_NEW); /* untouched: the listener closes it */
    assert_int_equal(rig_metric(rig, METRIC_CONNECTIONS_REFUSED), 1);
    rig_free(rig);
}

static void test_a_connection_that_cannot_be_taken_up(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    struct memory_peer *caller = memory_caller(&rig->net[0]);
    caller->open_fails = true;
    assert_true(session_accept(rig_worker(rig, 0), &memory_transport, caller,
                               &rig->bootstrap.listeners[0]));
    rig_rest(rig);
    assert_int_equal(caller->state, MEMORY_CLOSED);
    assert_int_equal(rig_metric(rig, METRIC_CONNECTIONS_REFUSED), 1);

    struct memory_peer *other = memory_caller(&rig->net[0]);
    rig_scarce(rig, 0, false);
    assert_false(
        session_accept(rig_worker(rig, 0), &memory_transport, other, &rig->bootstrap.listeners[0]));
    assert_int_equal(scarce_end(), 1);
    assert_int_equal(other->state, MEMORY_NEW); /* untouched */

    struct memory_peer *third = memory_caller(&rig->net[0]);
    third->read_fails = true;
    assert_true(
        session_accept(rig_worker(rig, 0), &memory_transport, third, &rig->bootstrap.listeners[0]));
    rig_rest(rig);
    assert_true(memory_is_closed(third));
    rig_free(rig);
}

/* ---- memory runs out ------------------------------------------------------------------------- */

/* A call that there is no memory for ends its session; others go on. */
static void test_no_memory_for_a_call(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    struct memory_peer *other = rig_caller(rig, 0);
    rig_rest(rig);
    rig_call(caller, "M", 1);
    rig_scarce(rig, 0, false);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    assert_true(memory_is_closed(caller));
    rig_call(other, "M", 2);
    rig_rest(rig);
    rig_serve_call(rig, other, "M", 2);
    rig_free(rig);
}

/* Wherever an allocation fails within two calls and their replies in the wrong order: the caller
 * gets an answer to each in its order, or its connection ends. Nothing is lost, nothing is left. */
static void test_any_allocation_fails(void **state)
{
    unsigned failed = 1;
    (void)state;
    for (unsigned n = 0; failed > 0; n++) {
        struct rig *rig = rig_new(1);
        struct rig_message message;
        rig_begin(rig, "{}");
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_rest(rig);
        rig_call(caller, "A", 1);
        rig_call(caller, "B", 2);
        caller->window = 20;
        rig_scarce(rig, n, false);
        rig_rest(rig);
        for (unsigned i = rig_callees(rig); i-- > 0;) {
            struct memory_peer *callee = rig_callee(rig, i);
            if (rig_next(callee, &message)) {
                rig_reply(callee, message.name.p[0] == 'A' ? "A" : "B", message.seqid, 100);
                rig_rest(rig);
            }
        }
        caller->window = SIZE_MAX;
        rig_pass(rig, 2000);
        failed = scarce_end();
        int32_t seqid = 0;
        while (rig_next(caller, &message)) {
            assert_int_equal(message.seqid, ++seqid);
        }
        assert_true(seqid == 2 || memory_is_closed(caller));
        rig_free(rig);
    }
}

/* Many replies at once need more room in the output queue than stands in it. */
static void test_no_memory_for_what_is_to_be_sent(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 20; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    for (unsigned i = 1; i < 20; i++) {
        rig_answer(rig_callee(rig, i), "M");
    }
    rig_rest(rig); /* all are kept: the first is missing */
    rig_answer(rig_callee(rig, 0), "M");
    rig_scarce(rig, 0, false);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    assert_true(memory_is_closed(caller));
    assert_int_equal(rig_reason(rig, REASON_OK) + rig_reason(rig, REASON_DOWNSTREAM_GONE), 20);
    rig_free(rig);
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void test_every_legal_step_was_taken(void **state)
{
    (void)state;
    assert_int_equal(steps_missing_of_session(), 0);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_replies_go_out_in_request_order),
    cmocka_unit_test(test_replies_go_out_in_any_order),
    cmocka_unit_test(test_a_call_byte_by_byte),
    cmocka_unit_test(test_a_call_behind_a_header_byte_by_byte),
    cmocka_unit_test(test_half_close_gets_its_replies),
    cmocka_unit_test(test_half_close_behind_a_call),
    cmocka_unit_test(test_half_close_of_a_paused_caller),
    cmocka_unit_test(test_a_reset_ends_it_at_once),
    cmocka_unit_test(test_a_reset_behind_a_half_close),
    cmocka_unit_test(test_an_empty_frame),
    cmocka_unit_test(test_a_stranger_is_sent_away),
    cmocka_unit_test(test_a_bad_message_is_answered),
    cmocka_unit_test(test_connections_over_the_limit),
    cmocka_unit_test(test_a_connection_that_cannot_be_taken_up),
    cmocka_unit_test(test_no_memory_for_a_call),
    cmocka_unit_test(test_any_allocation_fails),
    cmocka_unit_test(test_no_memory_for_what_is_to_be_sent),
};

static const struct CMUnitTest last[] = {
    cmocka_unit_test(test_every_legal_step_was_taken),
};

int main(void)
{
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += session_pauses();
    failed += session_drains();
    return failed + cmocka_run_group_tests(last, NULL, NULL);
}
