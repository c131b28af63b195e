/*
 * upstream_mux_scenarios.c: connections that several calls share, their replies known by seqid.
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

#define MUX     "\"pool\": {\"mode\": \"mux\"}"
#define MUX_ONE "\"pool\": {\"mode\": \"mux\", \"max_connections\": 1}"

/* The connection made last. */
static const struct upstream_conn *conn_of(const struct rig *rig)
{
    const struct worker *worker = rig_worker(rig, 0);
    assert_false(list_empty(&worker->upstreams));
    return container_of(worker->upstreams.prev, struct upstream_conn, all);
}

static void assert_shared(const struct rig *rig)
{
    assert_string_equal(upstream_state_str(conn_of(rig)->state),
                        upstream_state_str(UPSTREAM_STATE_MUX));
}

/* ---- replies --------------------------------------------------------------------------------- */

/* In another order, all in one read. */
static void test_replies_in_any_order(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[3];
    int32_t seqids[3];
    (void)state;
    rig_begin(rig, "{" MUX "}");
    scenario_callers(rig, callers, seqids, 3);
    assert_int_equal(rig->net[0].connects, 1);
    assert_shared(rig);
    static const int order[] = {2, 0, 1};
    for (int i = 0; i < 3; i++) {
        rig_reply(rig_callee(rig, 0), "M", seqids[order[i]], (size_t)i * 10);
    }
    rig_rest(rig);
    for (int i = 0; i < 3; i++) {
        rig_expect_reply(callers[i], "M", i + 1);
    }
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 1);
    scenario_call(rig, callers[0], 9);
    assert_int_equal(rig->net[0].connects, 1);
    rig_free(rig);
}

/* Calls gather while the connection is being made. */
static void test_calls_gather(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[3];
    (void)state;
    rig_begin(rig, "{" MUX "}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    for (int i = 0; i < 3; i++) {
        callers[i] = rig_caller(rig, 0);
        rig_call(callers[i], "M", i);
    }
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 1);
    memory_reset(callers[1]);
    rig_rest(rig);
    memory_connected(rig_callee(rig, 0), 0);
    rig_rest(rig);
    rig_serve_call(rig, callers[0], "M", 0);
    rig_serve_call(rig, callers[2], "M", 2);
    rig_free(rig);
}

/* All of those for whom it is made have gone when it is. */
static void test_nobody_waits_for_it(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{" MUX "}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    memory_reset(rig_calling(rig));
    rig_rest(rig);
    memory_connected(rig_callee(rig, 0), 0);
    rig_rest(rig);
    assert_shared(rig);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE), 1);
    rig_free(rig);
}

/* The late reply of a call that timed out is dropped; the connection stays, also for a call whose
 * reply comes behind it in one read. */
static void test_a_late_reply(void **state)
{
    (void)state;
    for (int idle = 0; idle <= 1; idle++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{\"timeout_ms\": 100, " MUX "}");
        struct memory_peer *caller = rig_calling(rig);
        struct memory_peer *callee = rig_callee(rig, 0);
        int32_t late = rig_expect_call(callee, "M");
        rig_pass(rig, 101);
        rig_expect_failure(caller, 1, "[tside timeout]");
        assert_false(memory_is_closed(callee));
        if (idle) {
            rig_reply(callee, "M", late, 100);
            rig_rest(rig);
        }
        rig_call(caller, "M", 2);
        rig_rest(rig);
        int32_t seqid = rig_expect_call(callee, "M");
        if (!idle) {
            rig_reply(callee, "M", late, 100);
        }
        rig_reply(callee, "M", seqid, 0);
        rig_rest(rig);
        rig_expect_reply(caller, "M", 2);
        rig_expect_nothing(caller);
        assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), 1);
        assert_int_equal(rig->net[0].connects, 1);
        rig_free(rig);
    }
}

/* A reply to nothing ends the connection: what the callee has fails, what it has not is sent again. */
static void test_a_reply_to_nothing(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *callers[3];
        int32_t seqids[3];
        rig_begin(rig, "{" MUX_ONE ", \"retry\": {\"attempts\": 0}}");
        scenario_callers(rig, callers, seqids, 2);
        struct memory_peer *callee = rig_callee(rig, 0);
        callee->window = 5;
        callers[2] = rig_caller(rig, 0);
        rig_call(callers[2], "M", 3);
        rig_rest(rig);
        if (way == 0) {
            rig_reply(callee, "M", seqids[1] + 100, 0); /* not yet given out */
        } else if (way == 1) {
            rig_reply(callee, "M", -5, 0);
        } else if (way == 2) {
            rig_reply(callee, "N", seqids[0], 0); /* another method */
        } else {
            rig_reply(callee, "M", seqids[0], 0); /* twice */
            rig_reply(callee, "M", seqids[0], 0);
        }
        rig_rest(rig);
        assert_true(memory_is_closed(callee));
        if (way == 3) {
            rig_expect_reply(callers[0], "M", 1);
        } else {
            rig_expect_failure(callers[0], 1, "[tside upstream_protocol]");
        }
        rig_expect_failure(callers[1], 2, "[tside upstream_protocol]");
        rig_serve_call(rig, callers[2], "M", 3);
        assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), 0);
        rig_free(rig);
    }
}

/* The reply to a call of which not all has left. */
static void test_a_reply_before_the_call(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{" MUX ", \"retry\": {\"attempts\": 0}}");
    struct memory_peer *caller = scenario_served(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    int32_t seqid = rig_expect_call(callee, "M");
    struct memory_peer *other = rig_caller(rig, 0);
    callee->window = 5;
    rig_call(other, "M", 3);
    rig_rest(rig);
    rig_reply(callee, "M", seqid + 1, 0);
    rig_rest(rig);
    assert_true(memory_is_closed(callee));
    rig_expect_failure(caller, 2, "the reply came before the request was sent");
    rig_serve_call(rig, other, "M", 3); /* it was not sent: another connection has it */
    rig_free(rig);
}

/* A callee that goes, or is reset: each call has its own outcome. */
static void test_it_is_lost(void **state)
{
    (void)state;
    for (int way = 0; way < 2; way++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *callers[3];
        int32_t seqids[3];
        rig_begin(rig, "{" MUX "}");
        scenario_callers(rig, callers, seqids, 3);
        struct memory_peer *callee = rig_callee(rig, 0);
        rig_reply(callee, "M", seqids[2], 0);
        if (way == 0) {
            memory_end(callee);
        } else {
            rig_rest(rig);
            memory_reset(callee);
        }
        rig_rest(rig);
        rig_expect_reply(callers[2], "M", 3);
        rig_expect_failure(callers[0], 1, "[tside upstream_reset]");
        rig_expect_failure(callers[1], 2, "[tside upstream_reset]");
        assert_true(memory_is_closed(callee));
        rig_free(rig);
    }
}

/* ---- its end --------------------------------------------------------------------------------- */

static void test_an_idle_one_ends(void **state)
{
    (void)state;
    for (int way = 0; way < 4; way++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{" MUX "}");
        (void)scenario_served(rig);
        struct memory_peer *callee = rig_callee(rig, 0);
        if (way == 0) {
            rig_pass(rig, 10000);
        } else if (way == 1) {
            memory_end(callee);
        } else if (way == 2) {
            rig_reply(callee, "M", 1, 0); /* nobody's */
        } else {
            rig_phase(rig, WORKER_ENDING);
        }
        rig_rest(rig);
        assert_true(memory_is_closed(callee));
        rig_free(rig);
    }
}

/* So many calls in a row that get no answer: the next one has another connection, and the first ends with the
 * last of its calls. */
static void test_a_silent_one(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 100, " MUX "}");
    struct memory_peer *caller = scenario_served(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    for (int i = 0; i < UPSTREAM_MUX_SILENT_MAX; i++) {
        assert_false(memory_is_closed(callee));
        rig_call(caller, "M", i);
        rig_pass(rig, 101);
        rig_expect_failure(caller, i, "[tside timeout]");
        if (i == 2) { /* a late one is a sign of life */
            rig_expect_call(callee, "M");
            rig_expect_call(callee, "M");
            rig_reply(callee, "M", rig_expect_call(callee, "M"), 0);
            rig_rest(rig);
            assert_int_equal(conn_of(rig)->mux->silent, 0);
        }
    }
    assert_false(memory_is_closed(callee));
    for (int i = 0; i < 3; i++) {
        assert_false(memory_is_closed(callee));
        rig_call(caller, "M", i);
        rig_pass(rig, 101);
        rig_expect_failure(caller, i, "[tside timeout]");
    }
    assert_true(memory_is_closed(callee));
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_SILENT), 1);
    scenario_call(rig, caller, 99);
    rig_free(rig);
}

/* One that is silent, or has served its time, gets no call, but ends its last. */
static void test_one_that_retires(void **state)
{
    (void)state;
    for (int i = 0; i <= 1; i++) {
        struct rig *rig = rig_new(1);
        struct memory_peer *callers[2];
        int32_t seqids[2];
        rig_begin(rig, i ? "{\"pool\": {\"mode\": \"mux\", \"max_age_ms\": 100}}"
                         : "{\"pool\": {\"mode\": \"mux\", \"max_calls\": 2}}");
        scenario_callers(rig, callers, seqids, 2);
        struct memory_peer *callee = rig_callee(rig, 0);
        rig_pass(rig, 100);
        struct memory_peer *other = rig_caller(rig, 0);
        rig_call(other, "M", 7);
        rig_rest(rig);
        assert_int_equal(rig->net[0].connects, 2);
        rig_reply(callee, "M", seqids[1], 0);
        rig_rest(rig);
        rig_expect_reply(callers[1], "M", 2);
        assert_false(memory_is_closed(callee));
        rig_reply(callee, "M", seqids[0], 0);
        rig_rest(rig);
        rig_expect_reply(callers[0], "M", 1);
        assert_true(memory_is_closed(callee));
        rig_serve_call(rig, other, "M", 7);
        rig_free(rig);
    }
}

/* ---- a lease that ends while its bytes are queued -------------------------------------------- */

/* What is stuck goes out when the callee reads again; the calls behind it are served. */
static void test_a_stuck_call_times_out(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 100, " MUX "}");
    rig_config(rig, "N", "{\"timeout_ms\": 1000}");
    rig_commit(rig);
    struct memory_peer *caller = scenario_served(rig);
    struct memory_peer *other = rig_caller(rig, 0);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 5;
    rig_call(caller, "M", 2);
    rig_rest(rig);
    rig_call(other, "N", 3);
    rig_pass(rig, 101);
    rig_expect_failure(caller, 2, "[tside timeout]");
    assert_false(memory_is_closed(callee));
    callee->window = SIZE_MAX;
    rig_rest(rig);
    rig_answer(callee, "M");
    rig_answer(callee, "N");
    rig_rest(rig);
    rig_expect_reply(other, "N", 3);
    rig_expect_nothing(caller);
    assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), 1);
    rig_free(rig);
}

/* There is no memory to keep the message: the queue has its bytes. */
static void test_no_memory_for_a_stuck_call(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{" MUX "}");
    struct memory_peer *caller = scenario_served(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    callee->window = 5;
    rig_call(caller, "M", 2);
    rig_scarce(rig, 0, false);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    callee->window = SIZE_MAX;
    rig_rest(rig);
    rig_serve_call(rig, caller, "M", 2);
    rig_free(rig);
}

/* A caller goes within the turn in which its calls came. One with nothing behind it is taken back; one that stands in
 * front of another leaves. */
static void test_calls_that_go_in_their_turn(void **state)
{
    (void)state;
    for (int n = 1; n <= 2; n++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{" MUX "}");
        struct memory_peer *caller = scenario_served(rig);
        struct memory_peer *callee = rig_callee(rig, 0);
        rig_call(caller, "A", 2);
        if (n == 2) {
            rig_call(caller, "B", 3);
        }
        caller->end = -ECONNRESET; /* read behind the calls, in front of the flush */
        rig_rest(rig);
        assert_true(memory_is_closed(caller));
        if (n == 2) {
            rig_answer(callee, "A");
        }
        rig_expect_nothing(callee);
        scenario_call(rig, rig_caller(rig, 0), 3);
        assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), n - 1);
        assert_int_equal(rig->net[0].connects, 1);
        rig_free(rig);
    }
}

/* The same without memory for the bytes that stand in front: the connection goes. */
static void test_no_memory_for_calls_that_go(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{" MUX "}");
    struct memory_peer *caller = scenario_served(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_call(caller, "M", 2);
    rig_call(caller, "M", 3);
    caller->end = -ECONNRESET;
    rig_scarce(rig, 0, false);
    rig_rest(rig);
    assert_int_equal(scarce_end(), 1);
    assert_true(memory_is_closed(callee));
    assert_true(steps_of_upstream(UPSTREAM_STATE_MUX, UPSTREAM_EVENT_ABANDON) > 0);
    scenario_call(rig, rig_caller(rig, 0), 3);
    rig_free(rig);
}

/* ---- how many -------------------------------------------------------------------------------- */

/* Another connection is made when all are full, by calls or by bytes; without a permit for it calls share what is
 * there. */
static void test_a_full_one(void **state)
{
    (void)state;
    for (int way = 0; way < 3; way++) {
        struct rig *rig = rig_new(1);
        rig->bootstrap.limits.pipelined_calls = 2 * UPSTREAM_MUX_CALLS_MAX;
        rig_begin(rig, way == 2 ? "{" MUX_ONE "}" : "{" MUX "}");
        struct memory_peer *caller = rig_caller(rig, 0);
        int n = way == 1 ? 3 : POOL_MUX_CALLS + 1;
        for (int i = 0; i < n; i++) {
            struct rig_request request = {
                .method = "M", .seqid = i, .payload = way == 1 ? POOL_MUX_BYTES / 2 : 0};
            rig_send(caller, &request);
            rig_rest(rig);
        }
        assert_int_equal(rig->net[0].connects, way == 2 ? 1 : 2);
        assert_int_equal(rig_metric(rig, METRIC_POOL_WAITS), 0);
        rig_free(rig);
    }
}

/* Those above what one connection may carry wait, and get the places that come free. */
static void test_places_that_come_free(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig->bootstrap.limits.pipelined_calls = 2 * UPSTREAM_MUX_CALLS_MAX;
    rig_begin(rig, "{\"timeout_ms\": 1000, \"pool\": {\"mode\": \"mux\", \"max_connections\": 1,"
                   " \"wait_ms\": 1000}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < UPSTREAM_MUX_CALLS_MAX + 2; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 1);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 2);
    struct memory_peer *callee = rig_callee(rig, 0);
    int32_t first = rig_expect_call(callee, "M");
    for (int i = 1; i < UPSTREAM_MUX_CALLS_MAX; i++) {
        rig_expect_call(callee, "M");
    }
    rig_reply(callee, "M", first + 5, 0);
    rig_rest(rig);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 1);
    rig_expect_call(callee, "M");
    rig_reply(callee, "M", first, 0);
    rig_rest(rig);
    rig_expect_reply(caller, "M", 0);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 0);
    rig_expect_call(callee, "M");
    rig_free(rig);
}

/* A number whose slot a slow call still holds is passed over. */
static void test_a_slow_call_keeps_its_number(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *slow;
    int32_t seqid;
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 100000, " MUX "}");
    scenario_callers(rig, &slow, &seqid, 1);
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 2 * UPSTREAM_MUX_SLOTS + 5; i++) {
        scenario_call(rig, caller, i);
    }
    rig_reply(rig_callee(rig, 0), "M", seqid, 0);
    rig_rest(rig);
    rig_expect_reply(slow, "M", 1);
    assert_int_equal(rig->net[0].connects, 1);
    rig_free(rig);
}

/* Numbers go from INT32_MAX to 1, and stay known over that. */
static void test_numbers_begin_again(void **state)
{
    struct rig *rig = rig_new(1);
    struct memory_peer *callers[4];
    int32_t seqids[4];
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 1000, " MUX "}");
    struct memory_peer *caller = scenario_served(rig);
    conn_of(rig)->mux->last = INT32_MAX - 2;
    scenario_callers(rig, callers, seqids, 4);
    assert_int_equal(seqids[1], INT32_MAX);
    assert_int_equal(seqids[2], 1);
    rig_pass(rig, 1001);
    for (int i = 0; i < 4; i++) {
        rig_expect_failure(callers[i], i + 1, "[tside timeout]");
        rig_reply(rig_callee(rig, 0), "M", seqids[i], 0);
    }
    scenario_call(rig, caller, 5);
    assert_int_equal(rig_metric(rig, METRIC_LATE_REPLIES), 4);
    rig_free(rig);
}

/* ---- flow ------------------------------------------------------------------------------------ */

/* A caller that does not take its replies stops nobody else. */
static void test_a_slow_caller_stops_nobody(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 10000, " MUX "}");
    struct memory_peer *slow = scenario_served(rig);
    struct memory_peer *quick = rig_caller(rig, 0);
    struct memory_peer *callee = rig_callee(rig, 0);
    slow->window = 10;
    for (int i = 0; i < 3; i++) {
        rig_call(slow, "M", 10 + i);
    }
    rig_rest(rig);
    for (int i = 0; i < 3; i++) {
        rig_reply(callee, "M", rig_expect_call(callee, "M"), 300000);
        rig_rest(rig);
    }
    for (int i = 0; i < 5; i++) {
        scenario_call(rig, quick, i);
    }
    assert_int_equal(rig->net[0].connects, 1);
    slow->window = SIZE_MAX;
    rig_rest(rig);
    for (int i = 0; i < 3; i++) {
        rig_expect_reply(slow, "M", 10 + i);
    }
    rig_free(rig);
}

/* ONEWAY messages and calls of other modes have connections of their own. */
static void test_who_shares(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_config(rig, "P", "{\"pool\": {\"mode\": \"pool\"}}");
    rig_begin(rig, "{" MUX "}");
    struct memory_peer *caller = scenario_served(rig);
    rig_oneway(caller, "O");
    rig_call(caller, "P", 1);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 3);
    rig_expect_call(rig_callee(rig, 0), "M");
    rig_free(rig);
}

/* Two workers and one connection: one that is always busy is given up for those that wait. */
static void test_the_other_worker_has_its_turn(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 10000, \"pool\": {\"mode\": \"mux\", \"max_connections\": 1,"
                   " \"wait_ms\": 5000}}");
    struct memory_peer *busy = rig_calling(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    int32_t seqid = rig_expect_call(callee, "M");
    struct memory_peer *other = rig_caller(rig, 1);
    rig_call(other, "M", 1);
    rig_rest(rig);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 1);
    for (int i = 0; i < 2 * POOL_LOCAL_TURNS_MAX && !memory_is_closed(callee); i++) {
        rig_call(busy, "M", 2 + i); /* never idle: the next call comes before the reply */
        rig_rest(rig);
        rig_reply(callee, "M", seqid, 0);
        rig_rest(rig);
        seqid += 1;
    }
    assert_true(memory_is_closed(callee));
    assert_int_equal(memory_callees(&rig->net[1], RIG_PORT), 1);
    rig_free(rig);
}

static const struct CMUnitTest tests[] = {
    cmocka_unit_test(test_replies_in_any_order),
    cmocka_unit_test(test_calls_gather),
    cmocka_unit_test(test_nobody_waits_for_it),
    cmocka_unit_test(test_a_late_reply),
    cmocka_unit_test(test_a_reply_to_nothing),
    cmocka_unit_test(test_a_reply_before_the_call),
    cmocka_unit_test(test_it_is_lost),
    cmocka_unit_test(test_an_idle_one_ends),
    cmocka_unit_test(test_a_silent_one),
    cmocka_unit_test(test_one_that_retires),
    cmocka_unit_test(test_a_stuck_call_times_out),
    cmocka_unit_test(test_no_memory_for_a_stuck_call),
    cmocka_unit_test(test_calls_that_go_in_their_turn),
    cmocka_unit_test(test_no_memory_for_calls_that_go),
    cmocka_unit_test(test_a_full_one),
    cmocka_unit_test(test_places_that_come_free),
    cmocka_unit_test(test_a_slow_call_keeps_its_number),
    cmocka_unit_test(test_numbers_begin_again),
    cmocka_unit_test(test_a_slow_caller_stops_nobody),
    cmocka_unit_test(test_who_shares),
    cmocka_unit_test(test_the_other_worker_has_its_turn),
};

int upstream_mux_scenarios(void)
{
    return cmocka_run_group_tests(tests, NULL, NULL);
}
