/*
 * pool_life_test.c: for how many calls and how long a connection serves: pool.mode short,
 * pool.max_calls, pool.max_age_ms; and that a dead one serves none.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/plane_rig.h"

#include "sidecar/data/upstream/conn_life.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define ONE_SHORT "{\"timeout_ms\": 5000, \"pool\": {\"mode\": \"short\", \"max_connections\": 1}}"

static struct memory_peer *callee_of(const struct rig *rig, uint32_t worker)
{
    struct memory_peer *callee = memory_callee(&rig->net[worker], RIG_PORT, 0);
    assert_non_null(callee);
    return callee;
}

/* One call "M" over the only connection, begun and answered. */
static struct memory_peer *serve(struct rig *rig, struct memory_peer *caller, int32_t seqid)
{
    rig_call(caller, "M", seqid);
    rig_rest(rig);
    struct memory_peer *callee = rig_callee(rig, 0);
    rig_answer(callee, "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", seqid);
    return callee;
}

/* All connections have closed, and the endpoint has its permits back. */
static void assert_none_is_left(const struct rig *rig)
{
    assert_int_equal(rig_callees(rig), 0);
    assert_int_equal(permit_taken(&rig_endpoint(rig, RIG_PORT)->connections), 0);
    assert_int_equal(permit_taken(&rig_endpoint(rig, RIG_PORT)->idle), 0);
}

/* ---- the numbers ----------------------------------------------------------------------------- */

static void test_limits_vary_by_a_tenth(void **state)
{
    static const struct {
        uint32_t early, limit, expected;
    } cases[] = {
        {0, 1000, 1000},
        {UINT32_MAX, 1000, 901},
        {UINT32_MAX / 2, 1000, 951},
        {UINT32_MAX, 10, 10},
        {UINT32_MAX, 1, 1},
        {UINT32_MAX, 11, 10},
        {0, 86400000, 86400000},
        {UINT32_MAX, 1000000000, 900000001},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct conn_life life = {.early = cases[i].early};
        assert_int_equal(conn_life_limit(&life, cases[i].limit), cases[i].expected);
    }
}

static void test_when_a_life_is_over(void **state)
{
    static const struct {
        struct conn_life life;
        struct route_pool rules;
        uint64_t now_ms;
        bool expected;
    } cases[] = {
        {{.calls = UINT32_MAX}, {.mode = DISC_POOL_MODE_POOL}, UINT64_MAX - 1, false},
        {{.calls = 0}, {.mode = DISC_POOL_MODE_SHORT}, 0, false},
        {{.calls = 1}, {.mode = DISC_POOL_MODE_SHORT}, 0, true},
        {{.calls = 1}, {.mode = DISC_POOL_MODE_SHORT, .max_calls = 5}, 0, true},
        {{.calls = 4}, {.mode = DISC_POOL_MODE_POOL, .max_calls = 5}, 0, false},
        {{.calls = 5}, {.mode = DISC_POOL_MODE_POOL, .max_calls = 5}, 0, true},
        {{.born_ms = 70}, {.mode = DISC_POOL_MODE_POOL, .max_age_ms = 30}, 99, false},
        {{.born_ms = 70}, {.mode = DISC_POOL_MODE_POOL, .max_age_ms = 30}, 100, true},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        bool over = conn_life_is_over(&cases[i].life, &cases[i].rules, cases[i].now_ms);
        assert_int_equal(over, cases[i].expected);
    }
}

/* ---- mode short ------------------------------------------------------------------------------ */

static void test_short_is_a_connection_a_call(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"pool\": {\"mode\": \"short\"}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 3; i++) {
        struct memory_peer *callee = serve(rig, caller, i);
        assert_true(memory_is_closed(callee));
        assert_false(callee->was_reset);
        assert_none_is_left(rig);
    }
    assert_int_equal(rig->net[0].connects, 3);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_RETIRED), 3);
    rig_free(rig);
}

/* Calls that wait have the permit, not the connection. */
static void test_short_with_one_permit(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, ONE_SHORT);
    struct memory_peer *first = rig_caller(rig, 0);
    struct memory_peer *other = rig_caller(rig, 1);
    rig_call(first, "M", 1);
    rig_call(first, "M", 2);
    rig_rest(rig);
    rig_call(other, "M", 3);
    rig_rest(rig);
    assert_int_equal(rig_metric(rig, METRIC_POOL_WAITING), 2);
    for (int served = 0; served < 3; served++) {
        uint32_t worker = memory_callees(&rig->net[0], RIG_PORT) == 0;
        rig_answer(callee_of(rig, worker), "M");
        rig_rest(rig);
    }
    rig_expect_reply(first, "M", 1);
    rig_expect_reply(first, "M", 2);
    rig_expect_reply(other, "M", 3);
    assert_int_equal(rig->net[0].connects, 2);
    assert_int_equal(rig->net[1].connects, 1);
    assert_none_is_left(rig);
    rig_free(rig);
}

/* A tuple in mode pool has an idle connection to the same endpoint: a short call does not use it, but has its
 * permit where there is no other. */
static void test_short_beside_pool(void **state)
{
    (void)state;
    for (unsigned limit = 1; limit <= 2; limit++) {
        struct rig *rig = rig_new(1);
        char config[128];
        snprintf(config, sizeof config,
                 "{\"pool\": {\"mode\": \"short\", \"max_connections\": %u}}", limit);
        rig_config(rig, "Short", config);
        rig_begin(rig, "{}");
        struct memory_peer *caller = rig_caller(rig, 0);
        struct memory_peer *kept = serve(rig, caller, 1);
        rig_call(caller, "Short", 2);
        rig_rest(rig);
        assert_int_equal(memory_is_closed(kept), limit == 1);
        rig_answer(rig_callee(rig, limit - 1), "Short");
        rig_rest(rig);
        rig_expect_reply(caller, "Short", 2);
        assert_int_equal(rig_callees(rig), limit - 1);
        rig_free(rig);
    }
}

static void test_short_oneways(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"pool\": {\"mode\": \"short\"}}");
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_HOLD, 0);
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_oneway(caller, "O");
    rig_oneway(caller, "O");
    rig_rest(rig);
    struct memory_peer *callees[] = {rig_callee(rig, 0), rig_callee(rig, 1)};
    for (int i = 0; i < 2; i++) {
        memory_connected(callees[i], 0);
        rig_rest(rig);
        rig_expect_call(callees[i], "O");
        rig_expect_nothing(callees[i]);
        assert_true(memory_is_closed(callees[i]));
    }
    assert_none_is_left(rig);
    assert_int_equal(rig_reason(rig, REASON_OK), 2);
    rig_free(rig);
}

/* No permit is left: a short ONEWAY message waits for one rather than sharing. */
static void test_short_oneways_wait(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, ONE_SHORT);
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 3; i++) {
        rig_oneway(caller, "O");
    }
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 3);
    assert_int_equal(rig_reason(rig, REASON_OK), 3);
    assert_none_is_left(rig);
    rig_free(rig);
}

/* ---- max_calls ------------------------------------------------------------------------------- */

static void test_max_calls(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"pool\": {\"max_calls\": 3}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 1; i <= 7; i++) {
        struct memory_peer *callee = serve(rig, caller, i);
        assert_int_equal(memory_is_closed(callee), i % 3 == 0);
    }
    assert_int_equal(rig->net[0].connects, 3);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_RETIRED), 2);
    rig_free(rig);
}

/* One that has had its calls is not handed to a call that waits, either. */
static void test_max_calls_of_one_in_demand(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"timeout_ms\": 5000, \"pool\": {\"max_connections\": 1, \"max_calls\": 2}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 6; i++) {
        rig_call(caller, "M", i);
    }
    rig_rest(rig);
    for (int i = 0; i < 6; i++) {
        rig_serve_call(rig, caller, "M", i);
    }
    assert_int_equal(rig->net[0].connects, 3);
    assert_none_is_left(rig);
    rig_free(rig);
}

/* ONEWAY messages that follow each other closely keep their order; the connection goes behind them. */
static void test_max_calls_of_oneways(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"pool\": {\"max_calls\": 2}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    for (int i = 0; i < 3; i++) {
        rig_oneway(caller, "O");
    }
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 1);
    assert_none_is_left(rig);
    rig_oneway(caller, "O");
    rig_rest(rig);
    assert_int_equal(rig->net[0].connects, 2);
    assert_int_equal(rig_callees(rig), 1);
    rig_free(rig);
}

/* ---- max_age_ms ------------------------------------------------------------------------------ */

#define YOUNG "{\"timeout_ms\": 60000, \"pool\": {\"max_age_ms\": 10, \"idle_ms\": 60000}}"

static void test_max_age_of_an_idle_one(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, YOUNG);
    struct memory_peer *callee = serve(rig, rig_caller(rig, 0), 1);
    rig_pass(rig, 9);
    assert_false(memory_is_closed(callee));
    rig_pass(rig, 1);
    assert_true(memory_is_closed(callee));
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_RETIRED), 1);
    assert_int_equal(rig_metric(rig, METRIC_UPSTREAM_IDLE_CLOSED), 0);
    assert_none_is_left(rig);
    rig_free(rig);
}

/* A call that lasts longer has its reply; the connection goes behind it. */
static void test_max_age_of_a_busy_one(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, YOUNG);
    struct memory_peer *caller = rig_calling(rig);
    rig_pass(rig, 5000);
    struct memory_peer *callee = rig_callee(rig, 0);
    assert_false(memory_is_closed(callee));
    rig_answer(callee, "M");
    rig_rest(rig);
    rig_expect_reply(caller, "M", 1);
    assert_true(memory_is_closed(callee));
    assert_none_is_left(rig);
    rig_free(rig);
}

/* An idle one, or one that comes free, is too old by the rules of the call that would have it. */
static void test_max_age_by_another_rule(void **state)
{
    (void)state;
    for (int waits = 0; waits < 2; waits++) {
        struct rig *rig = rig_new(1);
        rig_config(
            rig, "Young",
            "{\"timeout_ms\": 5000, \"pool\": {\"max_age_ms\": 10, \"max_connections\": 1}}");
        rig_begin(rig, "{\"timeout_ms\": 5000}");
        struct memory_peer *caller = rig_calling(rig);
        rig_pass(rig, 10);
        struct memory_peer *old = rig_callee(rig, 0);
        if (waits) {
            rig_call(caller, "Young", 2);
            rig_rest(rig);
        }
        rig_answer(old, "M");
        rig_rest(rig);
        if (!waits) {
            assert_false(memory_is_closed(old));
            rig_call(caller, "Young", 2);
            rig_rest(rig);
        }
        assert_true(memory_is_closed(old));
        rig_answer(rig_callee(rig, 0), "Young");
        rig_rest(rig);
        rig_expect_reply(caller, "M", 1);
        rig_expect_reply(caller, "Young", 2);
        rig_free(rig);
    }
}

/* ---- the callee ends it ---------------------------------------------------------------------- */

/* An idle connection is read from: that its peer has closed it is known before the next call. */
static void test_a_dead_idle_one_serves_no_call(void **state)
{
    (void)state;
    for (int resets = 0; resets < 2; resets++) {
        struct rig *rig = rig_new(1);
        rig_begin(rig, "{}");
        struct memory_peer *caller = rig_caller(rig, 0);
        struct memory_peer *dead = serve(rig, caller, 1);
        size_t sent = dead->out.len;
        if (resets) {
            memory_reset(dead);
        } else {
            memory_end(dead);
        }
        rig_rest(rig);
        assert_none_is_left(rig);
        (void)serve(rig, caller, 2);
        assert_int_equal(dead->out.len, sent);
        assert_int_equal(rig->net[0].connects, 2);
        assert_int_equal(rig_metric(rig, METRIC_RESENDS), 0);
        rig_free(rig);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits_vary_by_a_tenth),
        cmocka_unit_test(test_when_a_life_is_over),
        cmocka_unit_test(test_short_is_a_connection_a_call),
        cmocka_unit_test(test_short_with_one_permit),
        cmocka_unit_test(test_short_beside_pool),
        cmocka_unit_test(test_short_oneways),
        cmocka_unit_test(test_short_oneways_wait),
        cmocka_unit_test(test_max_calls),
        cmocka_unit_test(test_max_calls_of_one_in_demand),
        cmocka_unit_test(test_max_calls_of_oneways),
        cmocka_unit_test(test_max_age_of_an_idle_one),
        cmocka_unit_test(test_max_age_of_a_busy_one),
        cmocka_unit_test(test_max_age_by_another_rule),
        cmocka_unit_test(test_a_dead_idle_one_serves_no_call),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
