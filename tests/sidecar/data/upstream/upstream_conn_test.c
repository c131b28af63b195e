/*
 * upstream_conn_test.c: a connection to a callee, each state and event by what a callee, a caller
 * or time did.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/upstream/upstream_scenarios.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define MANY 500

/* The connection made last. */
static const struct upstream_conn *conn_of(const struct rig *rig)
{
    const struct worker *worker = rig_worker(rig, 0);
    assert_false(list_empty(&worker->upstreams));
    return container_of(worker->upstreams.prev, struct upstream_conn, all);
}

static void assert_state(const struct rig *rig, enum upstream_state state)
{
    assert_string_equal(upstream_state_str(conn_of(rig)->state), upstream_state_str(state));
}

/* A caller, and the callee that has its call "M" with seqid 1. */
static struct memory_peer *calling(struct rig *rig, int32_t *ret_seqid)
{
    struct memory_peer *caller = rig_calling(rig);
    *ret_seqid = rig_expect_call(rig_callee(rig, 0), "M");
    return caller;
}

/* A connection that has served a call and is idle. */
static struct memory_peer *idle(struct rig *rig)
{
    int32_t seqid;
    struct memory_peer *caller = calling(rig, &seqid);
    rig_reply(rig_callee(rig, 0), "M", seqid, 0);
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
    assert_state(rig, UPSTREAM_STATE_IDLE);
    return caller;
}

/* ---- connecting ------------------------------------------------------------------------------ */

static void test_connecting_fails(void **state)
{
    static const struct {
        enum memory_policy policy;
        int status;
        const char *text;
        bool resets;
    } cases[] = {
        {MEMORY_REFUSE, -ECONNREFUSED, "connect_failed", false},
        {MEMORY_FAIL, -EADDRNOTAVAIL, "connect_failed", false},
        {MEMORY_FAIL, -EMFILE, "connect_failed", false},
        {MEMORY_SELF, 0, "connect_failed", true},
        {MEMORY_HOLD, 0, "not connected within connect_timeout_ms 50", false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{\"pool\": {\"max_connections\": 1}, \"retry\": {\"attempts\": 0}}");
        memory_policy(&rig->net[0], RIG_PORT, cases[i].policy, cases[i].status);
        struct memory_peer *caller = rig_calling(rig);
        const struct memory_peer *callee =
            container_of(rig->net[0].peers.prev, struct memory_peer, node);
        rig_pass(rig, cases[i].policy == MEMORY_HOLD ? 50 : 0);
        rig_expect_failure(caller, 1, cases[i].text);
        assert_int_equal(callee->was_reset, cases[i].resets);
        assert_int_equal(rig_callees(rig), 0);
        assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_FAILED), 1);
        assert_int_equal(permit_taken(&rig_endpoint(rig, RIG_PORT)->connections), 0);

        memory_policy(&rig->net[0], RIG_PORT, MEMORY_ACCEPT, 0); /* and nothing stays of it */
        rig_call(caller, "M", 2);
        rig_rest(rig);
        rig_serve_call(rig, caller, "M", 2);
        rig_free(rig);
    }
}

/* The caller has gone while the connection was being made: it is kept for the next. */
static void test_a_spare_connection(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_calling(rig);
    assert_state(rig, UPSTREAM_STATE_CONNECTING);
    memory_reset(caller);
    rig_rest(rig);
    assert_state(rig, UPSTREAM_STATE_CONNECTING);
    memory_connected(rig_callee(rig, 0), 0);
    rig_rest(rig);
    assert_state(rig, UPSTREAM_STATE_IDLE);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);

    struct memory_peer *next = rig_caller(rig, 0);
    rig_call(next, "M", 2);
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 1);
    rig_serve_call(rig, next, "M", 2);
    rig_free(rig);
}

static void test_the_end_while_connecting(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_calling(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_phase(rig, WORKER_ENDING);
    rig_expect_failure(caller, 1, "[tside draining]");
    assert_true(memory_is_closed(callee));
    rig_free(rig);
}

/* ---- idle ------------------------------------------------------------------------------------ */

static void test_an_idle_one_serves_again(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = idle(rig);
    int32_t seqid = conn_of(rig)->last_seqid;
    assert_true(seqid >= 0);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    assert_state(rig, UPSTREAM_STATE_BUSY);
    assert_int_equal(rig_expect_call(rig_callee(rig, 0), "M"), seqid + 1);
    assert_int_equal(rig->net[0].connects, 1);
    rig_free(rig);
}

/* An idle connection ends by bytes that nothing asked for, by the callee, by time, and with the
 * process. */
static void test_an_idle_one_ends(void **state)
{
    (void)state;
    for (int i = 0; i < 5; i++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{}");
        (void)idle(rig);
        struct memory_peer *callee = rig_callee(rig, 0);
        if (i == 0) {
            memory_send(callee, "?", 1);
        } else if (i == 1) {
            memory_end(callee);
        } else if (i == 2) {
            memory_reset(callee);
        } else if (i == 3) {
            rig_pass(rig, 9999);
            assert_false(memory_is_closed(callee));
            rig_pass(rig, 1);
            assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE_CLOSED), 1);
        } else {
            rig_phase(rig, WORKER_ENDING);
        }
        rig_rest(rig);
        assert_true(memory_is_closed(callee));
        assert_int_equal(permit_taken(&rig_endpoint(rig, RIG_PORT)->idle), 0);
        rig_free(rig);
    }
}

/* Endpoints that no snapshot names any more: their idle connections go with the next tick. */
static void test_an_idle_one_of_an_endpoint_that_is_gone(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = idle(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_unserve(rig, RIG_PORT);
    rig_serve(rig, 9102);
    rig_commit(rig);
    rig_call(caller, "M", 2); /* by the new rules: the old route lets go */
    rig_rest(rig);
    assert_int_equal(memory_callees(&rig->net[0], 9102), 1);
    rig_reap(rig);
    rig_pass(rig, 2 * WORKER_TICK_MS);
    assert_true(memory_is_closed(callee));
    rig_free(rig);
}

/* ---- replies --------------------------------------------------------------------------------- */

static void test_what_is_no_reply(void **state)
{
    static const struct {
        const char *method, *bytes;
        int off;    /* added to the seqid */
        size_t len; /* of bytes */
        const char *text;
    } cases[] = {
        {"M", NULL, 1, 0, "another seqid"},
        {"N", NULL, 0, 0, "another method"},
        {NULL, "\0\0\0\0", 0, 4, "an empty frame"},
        {NULL, "\x7f\0\0\0", 0, 4, "the reply is above limits.frame_bytes 1048576"},
        {NULL, "\0\0\0\x0d\x80\1\0\1\0\0\0\1M\0\0\0\1\0", 0, 18, "message of another type"},
        {NULL, "\0\0\0\x0e\x80\1\0\2\0\0\0\1M\0\0\0\1\x7f", 0, 18, "unknown field type"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = rig_new(1);
        int32_t seqid;
        rig_begin(rig, "{}");
        struct memory_peer *caller = calling(rig, &seqid);
        struct memory_peer *callee = rig_callee(rig, 0);
        if (cases[i].method) {
            rig_reply(callee, cases[i].method, seqid + cases[i].off, 0);
        } else {
            memory_send(callee, cases[i].bytes, cases[i].len);
        }
        rig_rest(rig);
        rig_expect_failure(caller, 1, cases[i].text);
        assert_true(memory_is_closed(callee));
        rig_free(rig);
    }
}

static void test_a_reply_before_the_request_was_sent(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = idle(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 1000;
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 2, .payload = 5000});
    rig_rest(rig);
    rig_reply(callee, "M", conn_of(rig)->last_seqid, 0);
    rig_rest(rig);
    rig_expect_failure(caller, 2, "the reply came before the request was sent");
    assert_true(memory_is_closed(callee));
    rig_free(rig);
}

/* Under the name as it was sent, or the bare one. */
static void test_the_reply_to_a_prefixed_name(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    static const char *const names[] = {"svc:M", "M"};
    for (int i = 0; i < 2; i++) {
        rig_call(caller, "svc:M", i);
        rig_rest(rig);
        struct memory_peer *callee = rig_callee(rig, 0);
        rig_reply(callee, names[i], rig_expect_call(callee, "svc:M"), 0);
        rig_rest(rig);
        rig_expect_reply(caller, names[i], i);
    }
    rig_call(caller, "svc:M", 3);
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_reply(callee, "cvs:M", rig_expect_call(callee, "svc:M"), 0);
    rig_rest(rig);
    rig_expect_failure(caller, 3, "another method");
    rig_free(rig);
}

/* More than was asked for, or the end, together with a reply: passed on, and the connection is not
 * used again. */
static void test_a_reply_with_something_behind_it(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        struct rig *rig = rig_new(1);
        int32_t seqid;
        rig_begin(rig, "{}");
        struct memory_peer *caller = calling(rig, &seqid);
        struct memory_peer *callee = rig_callee(rig, 0);
        rig_reply(callee, "M", seqid, 0);
        if (ends) {
            memory_end(callee);
        } else {
            memory_send(callee, "?", 1);
        }
        rig_rest(rig);
        rig_expect_reply(caller, "M", 1);
        assert_true(memory_is_closed(callee));
        rig_free(rig);
    }
}

/* A long reply is kept until it is whole; where there is no memory for it the call fails, no
 * more. */
static void test_no_memory_for_a_reply(void **state)
{
    struct rig *rig = rig_new(1);
    int32_t seqid;
    struct bytes wire = {0};
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = calling(rig, &seqid);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_put(&wire, &(struct rig_request){
                       .type = WIRE_REPLY, .method = "M", .seqid = seqid, .payload = 1000});
    memory_send(callee, wire.p, 500);
    rig_scarce(rig, 0, true);
    virtual_loop_turn(&rig->loop[0]);
    assert_true(scarce_end() > 0);
    rig_rest(rig);
    rig_expect_failure(caller, 1, "[tside internal]");
    assert_true(memory_is_closed(callee));
    bytes_done(&wire);
    rig_free(rig);
}

/* ---- busy ------------------------------------------------------------------------------------ */

static void test_a_callee_that_goes(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        struct rig *rig = rig_new(1);
        int32_t seqid;
        rig_begin(rig, "{}");
        struct memory_peer *caller = calling(rig, &seqid);
        struct memory_peer *callee = rig_callee(rig, 0);
        if (resets) {
            memory_reset(callee);
        } else {
            memory_send(callee, "\0\0", 2);
            memory_end(callee);
        }
        rig_rest(rig);
        rig_expect_failure(caller, 1, "[tside upstream_reset]");
        assert_true(memory_is_closed(callee));
        rig_free(rig);
    }
}

/* A late reply must not meet another call. */
static void test_a_call_that_is_given_up(void **state)
{
    struct rig *rig = rig_new(1);
    int32_t seqid;
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 100}");
    struct memory_peer *caller = calling(rig, &seqid);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_pass(rig, 101);
    rig_expect_failure(caller, 1, "[tside timeout]");
    assert_true(memory_is_closed(callee));
    assert_true(steps_of_upstream(UPSTREAM_STATE_BUSY, UPSTREAM_EVENT_ABANDON) > 0);
    rig_free(rig);
}

/* A call whose caller goes within the turn in which it came has not left: the connection is as good
 * as before. */
static void test_a_call_that_is_taken_back(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = idle(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_call(caller, "M", 2);
    caller->end = -ECONNRESET; /* read behind the call, in front of the flush */
    rig_rest(rig);
    assert_true(memory_is_closed(caller));
    rig_expect_nothing(callee);
    assert_state(rig, UPSTREAM_STATE_IDLE);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
    rig_free(rig);
}

/* What was handed to the kernel does not come back, taken or not. */
static void test_a_call_that_cannot_be_taken_back(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = idle(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 0;
    rig_call(caller, "M", 2);
    rig_rest(rig);
    memory_reset(caller);
    rig_rest(rig);
    assert_true(memory_is_closed(callee));
    rig_expect_nothing(callee);
    rig_free(rig);
}

/* ---- shared ---------------------------------------------------------------------------------- */

/* ONEWAY messages of one caller gather while their connection is being made. */
static void test_oneways_gather(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 3; i++) {
        rig_oneway(caller, "O");
    }
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 1);
    memory_connected(rig_callee(rig, 0), 0);
    rig_rest(rig);
    assert_state(rig, UPSTREAM_STATE_SHARED);
    struct memory_peer *callee = rig_callee(rig, 0);
    int32_t seqid = rig_expect_call(callee, "O");
    assert_int_equal(rig_expect_call(callee, "O"), seqid + 1);
    assert_int_equal(rig_expect_call(callee, "O"), seqid + 2);
    rig_oneway(caller, "O");
    rig_rest(rig);
    assert_int_equal(rig_expect_call(callee, "O"), seqid + 3);
    assert_int_equal(rig->net[0].connects, 1);
    assert_int_equal(rig_reason(rig, REASON_OK), 4);
    rig_free(rig);
}

/* Some servers answer ONEWAY: dropped and counted. Then it ends as an idle one does. */
static void test_a_shared_one_ends(void **state)
{
    (void)state;
    for (int i = 0; i < 4; i++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{}");
        struct memory_peer *caller = rig_caller(rig, 0);
        rig_oneway(caller, "O");
        rig_rest(rig);
        struct memory_peer *callee = rig_callee(rig, 0);
        rig_answer(callee, "O");
        rig_rest(rig);
        rig_expect_nothing(caller);
        assert_true(rig_metric(rig, METRIC_ONEWAY_ANSWER_BYTES) > 0);
        assert_state(rig, UPSTREAM_STATE_SHARED);
        if (i == 0) {
            rig_pass(rig, 10000);
        } else if (i == 1) {
            memory_end(callee);
        } else if (i == 2) {
            memory_reset(callee);
        } else {
            rig_phase(rig, WORKER_ENDING);
        }
        rig_rest(rig);
        assert_true(memory_is_closed(callee));
        rig_free(rig);
    }
}

/* Half a message may have left: the connection goes, and what stood behind it is sent elsewhere. */
static void test_a_stuck_oneway_ends_the_connection(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"send_timeout_ms\": 100, \"timeout_ms\": 5000}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_expect_call(callee, "O");
    callee->window = 5;
    rig_oneway(caller, "O");
    rig_pass(rig, 50);
    rig_oneway(caller, "P");
    rig_pass(rig, 51);
    assert_true(memory_is_closed(callee));
    assert_int_equal(rig_reason(rig, REASON_SEND_TIMEOUT), 1);
    rig_expect_call(rig_callee(rig, 0), "P");
    assert_true(steps_of_upstream(UPSTREAM_STATE_SHARED, UPSTREAM_EVENT_ABANDON) > 0);
    rig_free(rig);
}

/* There was no memory to keep the first one by itself: the queue has its bytes, and others behind it are kept
 * as ever. */
static void test_no_memory_for_a_stuck_oneway(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_expect_call(callee, "O");
    callee->window = 5;
    rig_oneway(caller, "O");
    rig_scarce(rig, 0, false);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    rig_oneway(caller, "P");
    rig_rest(rig);
    callee->window = SIZE_MAX;
    rig_rest(rig);
    rig_expect_call(callee, "O");
    rig_expect_call(callee, "P");
    assert_int_equal(rig_reason(rig, REASON_OK), 3);
    rig_free(rig);
}

/* Each is kept once, in the turn in which it gets stuck, and all go out in order. */
static void test_oneways_that_get_stuck_one_by_one(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"send_timeout_ms\": 1000}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    int32_t seqid = rig_expect_call(callee, "O");
    callee->window = 5;
    for (int i = 1; i <= MANY; i++) {
        struct rig_request request = {.type = WIRE_ONEWAY, .method = "O", .payload = (size_t)i};
        rig_send(caller, &request);
        if (i % 3 == 0) {
            virtual_loop_turn(&rig->loop[0]);
        }
    }
    rig_rest(rig);
    callee->window = SIZE_MAX;
    rig_rest(rig);
    for (int i = 1; i <= MANY; i++) {
        assert_int_equal(rig_expect_call(callee, "O"), seqid + i);
    }
    assert_int_equal(rig_reason(rig, REASON_OK), MANY + 1);
    rig_free(rig);
}

/* A connection that dies under many leases is a loop: each call gets its own outcome. */
static void test_a_connection_with_many_oneways_dies(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 2 * MANY;
    rig_begin(rig, "{\"pool\": {\"max_waiting\": 10000}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 0;
    for (int i = 0; i < MANY; i++) {
        rig_oneway(caller, "O");
    }
    rig_rest(rig);
    assert_int_equal(rig_metric(rig, METRIC_CALLS_INFLIGHT), MANY);
    memory_reset(callee);
    rig_rest(rig);
    assert_true(memory_is_closed(callee));
    struct memory_peer *next = rig_callee(rig, 0); /* all of them were unsent, on a reused one */
    for (int i = 0; i < MANY; i++) {
        rig_expect_call(next, "O");
    }
    assert_int_equal(rig_reason(rig, REASON_OK), MANY + 1);
    assert_int_equal(rig_metric(rig, METRIC_RESENDS), MANY);
    rig_free(rig);
}

/* ---- memory runs out ------------------------------------------------------------------------- */

static void test_no_memory_for_a_connection(void **state)
{
    unsigned failed = 1;
    (void)state;
    for (unsigned n = 0; failed > 0; n++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{\"retry\": {\"attempts\": 0}}");
        struct memory_peer *caller = idle(rig); /* the slabs and the route are there */
        int32_t seqid;
        rig_call(caller, "M", 2);
        rig_rest(rig);
        seqid = rig_expect_call(rig_callee(rig, 0), "M");
        struct memory_peer *other = rig_caller(rig, 0);
        rig_call(other, "M", 3);
        rig_scarce(rig, n, false);
        rig_rest(rig);
        failed = scarce_end();
        if (failed > 0) {
            rig_expect_failure(other, 3, n == 0 ? "[tside internal]" : "[tside connect_failed]");
        } else {
            rig_answer(rig_callee(rig, 1), "M");
            rig_rest(rig);
            rig_expect_reply(other, "M", 3);
            assert_true(n >= 2);
        }
        rig_reply(rig_callee(rig, 0), "M", seqid, 0);
        rig_rest(rig);
        rig_expect_reply(caller, "M", 2);
        rig_free(rig);
    }
}

/* ---- all of them ----------------------------------------------------------------------------- */

static void test_every_legal_step_was_taken(void **state)
{
    (void)state;
    assert_int_equal(steps_missing_of_upstream(), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_connecting_fails),
        cmocka_unit_test(test_a_spare_connection),
        cmocka_unit_test(test_the_end_while_connecting),
        cmocka_unit_test(test_an_idle_one_serves_again),
        cmocka_unit_test(test_an_idle_one_ends),
        cmocka_unit_test(test_an_idle_one_of_an_endpoint_that_is_gone),
        cmocka_unit_test(test_what_is_no_reply),
        cmocka_unit_test(test_a_reply_before_the_request_was_sent),
        cmocka_unit_test(test_the_reply_to_a_prefixed_name),
        cmocka_unit_test(test_a_reply_with_something_behind_it),
        cmocka_unit_test(test_no_memory_for_a_reply),
        cmocka_unit_test(test_a_callee_that_goes),
        cmocka_unit_test(test_a_call_that_is_given_up),
        cmocka_unit_test(test_a_call_that_is_taken_back),
        cmocka_unit_test(test_a_call_that_cannot_be_taken_back),
        cmocka_unit_test(test_oneways_gather),
        cmocka_unit_test(test_a_shared_one_ends),
        cmocka_unit_test(test_a_stuck_oneway_ends_the_connection),
        cmocka_unit_test(test_no_memory_for_a_stuck_oneway),
        cmocka_unit_test(test_oneways_that_get_stuck_one_by_one),
        cmocka_unit_test(test_a_connection_with_many_oneways_dies),
        cmocka_unit_test(test_no_memory_for_a_connection),
    };
    const struct CMUnitTest last[] = {
        cmocka_unit_test(test_every_legal_step_was_taken),
    };
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    failed += upstream_mux_scenarios();
    failed += upstream_pipeline_scenarios();
    return failed + cmocka_run_group_tests(last, NULL, NULL);
}
