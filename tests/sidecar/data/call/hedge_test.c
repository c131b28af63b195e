/*
 * hedge_test.c: when a second attempt comes beside the first, and what becomes of the two.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/hedge.h"
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

static struct rig *rig_with_two(const char *json)
{
    struct rig *rig = rig_new(1);
    rig_serve(rig, RIG_PORT + 1);
    rig_begin(rig, json);
    return rig;
}

static struct memory_peer *newest(const struct rig *rig)
{
    return container_of(rig->net[0].peers.prev, struct memory_peer, node);
}

#define HEDGED "{\"hedge_after_ms\": 20, \"retry\": {\"idempotent\": true}}"

/* A call whose hedge has begun; both callees have it. */
static struct rig *hedged(const char *json, struct memory_peer **ret_caller,
                          struct memory_peer *callees[2])
{
    struct rig *rig = rig_with_two(json);
    *ret_caller = rig_calling(rig);
    callees[0] = newest(rig);
    rig_pass(rig, 20);
    assert_int_equal(rig->net[0].connects, 1);
    rig_pass(rig, 1);
    assert_int_equal(rig->net[0].connects, 2);
    callees[1] = newest(rig);
    assert_int_not_equal(callees[0]->port, callees[1]->port);
    assert_int_equal(rig_metric(rig, METRIC_HEDGES), 1);
    return rig;
}

/* ---- which one wins -------------------------------------------------------------------------- */

static void test_the_first_answer_wins(void **state)
{
    (void)state;
    for (unsigned winner = 0; winner < 2; winner++) {
        struct memory_peer *caller, *callees[2];
        struct rig *rig = hedged(HEDGED, &caller, callees);
        rig_answer(callees[winner], "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", 1);
        rig_expect_nothing(caller);
        assert_true(memory_is_closed(callees[1 - winner]));
        assert_false(memory_is_closed(callees[winner]));
        assert_int_equal(rig_metric(rig, METRIC_HEDGES_WON), winner);
        assert_int_equal(rig_reason(rig, REASON_OK), 1);
        rig_free(rig);
    }
}

/* Both answers come within one turn. */
static void test_both_answers_at_once(void **state)
{
    struct memory_peer *caller, *callees[2];
    struct rig *rig = hedged(HEDGED, &caller, callees);
    (void)state;
    for (unsigned i = 0; i < 2; i++) {
        rig_reply(callees[i], "M", rig_expect_call(callees[i], "M"), 100000);
    }
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
    rig_expect_nothing(caller);
    rig_free(rig);
}

/* A reply that is so long, and of so many parts, that proving its end takes two turns. */
static void reply_of_many_parts(struct memory_peer *callee)
{
    struct bytes reply = {0}, frame = {0};
    uint32_t parts = 3 * FRAME_SCAN_BUDGET_BYTES / 8 + 1000; /* its last read is longer than that */
    bytes_put_header(&reply, WIRE_REPLY, "M", rig_expect_call(callee, "M"));
    bytes_put_field(&reply, WIRE_LIST, 0);
    bytes_put8(&reply, WIRE_STRING);
    bytes_put32(&reply, parts);
    for (uint32_t i = 0; i < parts; i++) {
        bytes_put_text(&reply, "part");
    }
    bytes_put8(&reply, WIRE_STOP);
    bytes_put32(&frame, (uint32_t)reply.len);
    bytes_put(&frame, reply.p, reply.len);
    memory_send(callee, frame.p, frame.len);
    bytes_done(&reply);
    bytes_done(&frame);
}

/* Both are proved in the same moment: the one that is behind has its block when its attempt ends unheard. */
static void test_both_answers_proved_at_once(void **state)
{
    struct memory_peer *caller, *callees[2];
    (void)state;
    for (int mux = 0; mux < 2; mux++) {
        struct rig *rig = hedged(mux ? "{\"hedge_after_ms\": 20, \"retry\": {\"idempotent\": true},"
                                       " \"pool\": {\"mode\": \"mux\"}}"
                                     : HEDGED,
                                 &caller, callees);
        reply_of_many_parts(callees[0]);
        reply_of_many_parts(callees[1]);
        rig_rest(rig);
        assert_true(caller->out.len > FRAME_SCAN_BUDGET_BYTES);
        assert_int_equal(rig_reason(rig, REASON_OK), 1);
        assert_int_equal(rig_metric(rig, METRIC_BUFFERED_BYTES), 0);
        rig_free(rig);
    }
}

/* In mode pipeline the attempt that lost keeps its place: its reply is taken for it, and the connection serves on. */
static void test_a_hedge_wins_in_order(void **state)
{
    struct memory_peer *caller, *callees[2];
    struct rig *rig = hedged("{\"hedge_after_ms\": 20, \"retry\": {\"idempotent\": true},"
                             " \"pool\": {\"mode\": \"pipeline\"}}",
                             &caller, callees);
    (void)state;
    rig_answer(callees[1], "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
    assert_false(memory_is_closed(callees[0]));
    rig_answer(callees[0], "M");
    rig_rest(rig);
    rig_expect_nothing(caller);
    assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), 1);
    assert_false(memory_is_closed(callees[0]));
    rig_free(rig);
}

static void test_one_of_the_two_fails(void **state)
{
    (void)state;
    for (unsigned loser = 0; loser < 2; loser++) {
        struct memory_peer *caller, *callees[2];
        struct rig *rig = hedged(HEDGED, &caller, callees);
        memory_reset(callees[loser]);
        rig_rest(rig);
        rig_expect_nothing(caller);
        rig_answer(callees[1 - loser], "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", 1);
        assert_int_equal(rig_metric(rig, METRIC_RETRIES), 0);
        rig_free(rig);
    }
}

/* What retry.on holds bad does not end the call while the other attempt may do better. */
static void test_an_exception_waits_for_the_other(void **state)
{
    (void)state;
    for (int retries = 0; retries < 2; retries++) {
        struct memory_peer *caller, *callees[2];
        struct rig *rig = hedged(retries ? "{\"hedge_after_ms\": 20, \"retry\": {\"idempotent\": "
                                           "true, \"on\": [\"exception\"]}}"
                                         : HEDGED,
                                 &caller, callees);
        int32_t seqid = rig_expect_call(callees[0], "M");
        rig_send(callees[0],
                 &(struct rig_request){.type = WIRE_EXCEPTION, .method = "M", .seqid = seqid});
        rig_rest(rig);
        if (!retries) {
            rig_expect_failure(caller, 1, "");
            assert_true(memory_is_closed(callees[1]));
            rig_free(rig);
            continue;
        }
        rig_expect_nothing(caller);
        rig_answer(callees[1], "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", 1);
        rig_free(rig);
    }
}

static void test_both_are_late(void **state)
{
    struct memory_peer *caller, *callees[2];
    struct rig *rig = hedged("{\"timeout_ms\": 100, \"hedge_after_ms\": 20, \"retry\": "
                             "{\"idempotent\": true}}",
                             &caller, callees);
    (void)state;
    rig_pass(rig, 80);
    rig_expect_failure(caller, 1, "no answer within 100 ms");
    assert_true(memory_is_closed(callees[0]) && memory_is_closed(callees[1]));
    for (uint16_t i = 0; i < 2; i++) {
        assert_true(endpoint_ewma_us(rig_endpoint(rig, RIG_PORT + i)) > 0);
    }
    rig_free(rig);
}

/* The caller leaves: what a callee has goes on alone, what none has ends. */
static void test_the_caller_leaves(void **state)
{
    struct memory_peer *caller, *callees[2];
    (void)state;
    struct rig *rig = hedged(HEDGED, &caller, callees);
    memory_reset(caller);
    rig_rest(rig);
    rig_answer(callees[1], "M");
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
    assert_true(memory_is_closed(callees[0]));
    rig_free(rig);

    rig = rig_with_two(HEDGED);
    caller = rig_calling(rig);
    callees[0] = newest(rig);
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    memory_policy(&rig->net[0], RIG_PORT + 1, MEMORY_HOLD, 0);
    rig_pass(rig, 21);
    assert_int_equal(rig->net[0].connects, 2);
    memory_reset(caller);
    rig_rest(rig);
    rig_answer(callees[0], "M");
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_DOWNSTREAM_GONE), 1);
    rig_free(rig);
}

/* receive_timeout_ms goes on beside the hedge, for the first attempt, too. */
static void test_the_receive_timeout_goes_on(void **state)
{
    struct memory_peer *caller, *callees[2];
    struct rig *rig = hedged("{\"hedge_after_ms\": 20, \"receive_timeout_ms\": 60, \"retry\": "
                             "{\"idempotent\": true}}",
                             &caller, callees);
    (void)state;
    rig_pass(rig, 41);
    assert_true(memory_is_closed(callees[0]));
    rig_expect_nothing(caller);
    rig_pass(rig, 20);
    rig_expect_failure(caller, 1, "receive_timeout_ms 60");
    rig_free(rig);
}

/* ---- none comes ------------------------------------------------------------------------------ */

static uint64_t hedges_of(struct rig *rig, struct memory_peer *caller)
{
    uint64_t before = rig_metric(rig, METRIC_HEDGES);
    rig_call(caller, "M", 1);
    rig_pass(rig, 100);
    return rig_metric(rig, METRIC_HEDGES) - before;
}

static void test_when_none_comes(void **state)
{
    (void)state;
    static const char *const rules[] = {
        "{\"hedge_after_ms\": 20}",
        "{\"hedge_after_ms\": 0, \"retry\": {\"idempotent\": true}}",
        "{\"hedge_after_ms\": 99, \"receive_timeout_ms\": 90, \"retry\": {\"idempotent\": true}}",
        "{\"hedge_after_ms\": \"p95\", \"retry\": {\"idempotent\": true}}",
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        struct rig *rig = rig_with_two(rules[i]);
        assert_int_equal(hedges_of(rig, rig_caller(rig, 0)), 0);
        rig_free(rig);
    }
    struct rig *rig = rig_new(1); /* there is no other endpoint */
    rig_begin(rig, HEDGED);
    assert_int_equal(hedges_of(rig, rig_caller(rig, 0)), 0);
    rig_free(rig);
}

/* Where more than a tenth of the calls fail they need no more load. */
static void test_none_while_calls_fail(void **state)
{
    struct rig *rig =
        rig_with_two("{\"timeout_ms\": 5000, \"hedge_after_ms\": 20, \"lb\": "
                     "\"round_robin\", \"retry\": {\"idempotent\": true, \"on\": []}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    (void)state;
    assert_int_equal(hedges_of(rig, caller), 1);
    rig_free(rig);
    rig = rig_with_two("{\"timeout_ms\": 5000, \"hedge_after_ms\": 20, \"retry\": {\"idempotent\": "
                       "true, \"on\": []}}");
    caller = rig_calling(rig);
    memory_reset(newest(rig));
    rig_rest(rig);
    rig_expect_failure(caller, 1, "[tside upstream_reset]");
    assert_int_equal(hedges_of(rig, caller), 0);
    rig_pass(rig, 11000); /* forgotten */
    rig_free(rig);
}

/* Memory that runs out at any place while the hedge begins: the first attempt goes on, or the call
 * fails; nothing is lost. */
static void test_no_memory_for_a_hedge(void **state)
{
    unsigned failed = 1;
    (void)state;
    for (unsigned n = 0; failed > 0; n++) {
        struct rig *rig = rig_with_two(HEDGED);
        struct memory_peer *caller = rig_calling(rig);
        struct memory_peer *first = newest(rig);
        rig_scarce(rig, n, false);
        rig_pass(rig, 21);
        failed = scarce_end();
        if (!memory_is_closed(first)) {
            rig_answer(first, "M");
            rig_rest(rig);
            rig_expect_reply(caller, "M", 1);
        }
        rig_free(rig);
    }
}

/* ---- percentiles ----------------------------------------------------------------------------- */

/* n calls one after the other, each answered after so many ms by the callee that has it. */
static void serve(struct rig *rig, struct memory_peer *caller, unsigned n, uint64_t ms)
{
    for (unsigned i = 0; i < n; i++) {
        struct rig_message message;
        rig_call(caller, "M", 7);
        rig_pass(rig, ms);
        for (struct list *p = rig->net[0].peers.next; p != &rig->net[0].peers; p = p->next) {
            struct memory_peer *peer = container_of(p, struct memory_peer, node);
            if (peer->port && !memory_is_closed(peer) && rig_next(peer, &message)) {
                rig_reply(peer, "M", message.seqid, 0);
            }
        }
        rig_rest(rig);
        rig_expect_reply(caller, "M", 7);
    }
}

/* Where there is no other endpoint the budget of the retries stays whole. */
static void test_a_hedge_that_cannot_be_draws_nothing(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 5000, \"hedge_after_ms\": 5, \"pool\": {\"max_idle\": 0}, "
                   "\"retry\": {\"idempotent\": true, \"budget_percent\": 0}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    serve(rig, caller, 12, 10); /* more than the floor has in these 120 ms */
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_REFUSE, -ECONNREFUSED);
    for (int i = 0; i < 8; i++) {
        rig_call(caller, "M", i);
        rig_rest(rig);
        rig_expect_failure(caller, i, "[tside connect_failed]");
    }
    assert_int_equal(rig_metric(rig, METRIC_HEDGES), 0);
    assert_int_equal(rig_metric(rig, METRIC_RETRIES), 8);
    rig_free(rig);
}

static void test_hedging_at_a_percentile(void **state)
{
    (void)state;
    struct rig *rig = rig_with_two("{\"timeout_ms\": 5000, \"hedge_after_ms\": \"p95\", "
                                   "\"retry\": {\"idempotent\": true}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    serve(rig, caller, HEDGE_SAMPLES_MIN, 10);
    assert_int_equal(rig_metric(rig, METRIC_HEDGES), 0);
    rig_pass(rig, HEDGE_DELAY_REFRESH_MS);
    serve(rig, caller, 1, 8);
    assert_int_equal(rig_metric(rig, METRIC_HEDGES), 0);
    rig_call(caller, "M", 1);
    rig_pass(rig, 10);
    assert_int_equal(rig_metric(rig, METRIC_HEDGES), 0);
    rig_pass(rig, 3);
    assert_int_equal(rig_metric(rig, METRIC_HEDGES), 1);
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_first_answer_wins),
        cmocka_unit_test(test_both_answers_at_once),
        cmocka_unit_test(test_both_answers_proved_at_once),
        cmocka_unit_test(test_a_hedge_wins_in_order),
        cmocka_unit_test(test_one_of_the_two_fails),
        cmocka_unit_test(test_an_exception_waits_for_the_other),
        cmocka_unit_test(test_both_are_late),
        cmocka_unit_test(test_the_caller_leaves),
        cmocka_unit_test(test_the_receive_timeout_goes_on),
        cmocka_unit_test(test_when_none_comes),
        cmocka_unit_test(test_none_while_calls_fail),
        cmocka_unit_test(test_no_memory_for_a_hedge),
        cmocka_unit_test(test_a_hedge_that_cannot_be_draws_nothing),
        cmocka_unit_test(test_hedging_at_a_percentile),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
