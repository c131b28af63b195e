/*
 * retry_test.c: what is tried again, where, how often, and what stops it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/extra_key.h"
#include "sidecar/data/call/call.h"
#include "sidecar/data/call/retry.h"
#include "tests/sidecar/data/plane_rig.h"

#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

/* One endpoint for each try that a test may see. */
static struct rig *rig_with(unsigned endpoints, const char *json)
{
    struct rig *rig = rig_new(1);
    for (unsigned i = 1; i < endpoints; i++) {
        rig_serve(rig, (uint16_t)(RIG_PORT + i));
    }
    rig_begin(rig, json);
    return rig;
}

/* The connection made last, to whichever endpoint. */
static struct memory_peer *newest(const struct rig *rig)
{
    return container_of(rig->net[0].peers.prev, struct memory_peer, node);
}

static void send_exception(struct memory_peer *callee)
{
    int32_t seqid = rig_expect_call(callee, "M");
    rig_send(callee, &(struct rig_request){.type = WIRE_EXCEPTION, .method = "M", .seqid = seqid});
}

/* Ways in which a callee fails a call that it was sent, or was to be sent. */
enum failing { REFUSES, RESETS, SLEEPS, THROWS };

static void act(struct rig *rig, enum failing how)
{
    if (how == RESETS) {
        memory_reset(newest(rig));
    } else if (how == SLEEPS) {
        rig_pass(rig, 101);
    } else if (how == THROWS) {
        send_exception(newest(rig));
    }
    rig_rest(rig);
}

static const char *const failure_text[] = {"[tside connect_failed]", "[tside upstream_reset]",
                                           "receive_timeout_ms 100", ""};

/* How many endpoints a call meets that each fail it in this way. */
static unsigned tries(const char *json, enum failing how)
{
    struct rig *rig = rig_with(3, json);
    for (uint16_t i = 0; how == REFUSES && i < 3; i++) {
        memory_policy(&rig->net[0], RIG_PORT + i, MEMORY_REFUSE, -ECONNREFUSED);
    }
    struct memory_peer *caller = rig_calling(rig);
    unsigned met = 0;
    while (how != REFUSES && rig->net[0].connects > met) {
        met = rig->net[0].connects;
        act(rig, how);
    }
    met = rig->net[0].connects;
    rig_expect_failure(caller, 1, failure_text[how]);
    assert_int_equal(rig_metric(rig, METRIC_RETRIES), met - 1);
    rig_free(rig);
    return met;
}

/* ---- what is tried again --------------------------------------------------------------------- */

static void test_what_is_tried_again(void **state)
{
    (void)state;
    static const char all[] = "\"on\": [\"connect\", \"reset\", \"timeout\", \"exception\"]";
    static const struct {
        const char *retry;
        unsigned tries[4]; /* by enum failing */
    } cases[] = {
        {"", {2, 1, 1, 1}},
        {"\"idempotent\": true", {2, 2, 1, 1}},
        {"\"attempts\": 0, \"idempotent\": true", {1, 1, 1, 1}},
        {"\"attempts\": 2, \"idempotent\": true", {3, 3, 1, 1}},
        {"\"on\": [], \"idempotent\": true", {1, 1, 1, 1}},
        {"\"on\": [\"reset\"], \"idempotent\": true", {1, 2, 1, 1}},
        {"\"on\": [\"timeout\"], \"idempotent\": true", {1, 1, 2, 1}},
        {"\"on\": [\"exception\"], \"idempotent\": true", {1, 1, 1, 2}},
        {all, {2, 1, 1, 1}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        for (unsigned how = REFUSES; how <= THROWS; how++) {
            char json[256];
            snprintf(json, sizeof json, "{\"receive_timeout_ms\": 100, \"retry\": {%s}}",
                     cases[i].retry);
            unsigned met = tries(json, (enum failing)how);
            if (met != cases[i].tries[how]) {
                fail_msg("%s: %u tries where callees fail by %u", json, met, how);
            }
        }
    }
}

/* The second answer is the caller's. Of the exception nothing is left. */
static void test_the_retry_is_answered(void **state)
{
    (void)state;
    for (unsigned how = RESETS; how <= THROWS; how++) {
        struct rig *rig =
            rig_with(2, "{\"receive_timeout_ms\": 100, \"retry\": {\"idempotent\": true, \"on\": "
                        "[\"reset\", \"timeout\", \"exception\"]}}");
        struct memory_peer *caller = rig_calling(rig);
        uint16_t port = newest(rig)->port;
        act(rig, (enum failing)how);
        assert_int_equal(rig->net[0].connects, 2);
        assert_int_not_equal(newest(rig)->port, port);
        rig_answer(newest(rig), "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", 1);
        rig_expect_nothing(caller);
        assert_int_equal(rig_reason(rig, REASON_OK), 1);
        rig_free(rig);
    }
}

/* Each endpoint once while there is one that was not tried, then again. */
static void test_endpoints_take_turns(void **state)
{
    struct rig *rig = rig_with(2, "{\"retry\": {\"attempts\": 3}}");
    (void)state;
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_REFUSE, -ECONNREFUSED);
    memory_policy(&rig->net[0], RIG_PORT + 1, MEMORY_REFUSE, -ECONNREFUSED);
    struct memory_peer *caller = rig_calling(rig);
    rig_expect_failure(caller, 1, "try 4;");
    unsigned met[2] = {0, 0};
    const struct list *peers = &rig->net[0].peers;
    for (struct list *n = peers->next; n != peers; n = n->next) {
        const struct memory_peer *peer = container_of(n, struct memory_peer, node);
        if (peer->port >= RIG_PORT) {
            met[peer->port - RIG_PORT]++;
        }
    }
    assert_int_equal(met[0], 2);
    assert_int_equal(met[1], 2);
    rig_free(rig);
}

static void test_a_pool_without_room_is_not_tried_again(void **state)
{
    struct rig *rig = rig_with(1, "{\"timeout_ms\": 5000, \"retry\": {\"attempts\": 5, "
                                  "\"idempotent\": true, \"on\": [\"connect\", \"reset\", "
                                  "\"timeout\"]}, \"pool\": {\"max_connections\": 1}}");
    (void)state;
    struct memory_peer *caller = rig_calling(rig);
    rig_call(caller, "M", 2);
    rig_pass(rig, 101);                                          /* pool.wait_ms */
    assert_int_equal(rig_reason(rig, REASON_POOL_EXHAUSTED), 0); /* it waits for its turn */
    assert_int_equal(rig_metric(rig, METRIC_RETRIES), 0);
    rig_serve_call(rig, caller, "M", 1);
    rig_expect_failure(caller, 2, "[tside pool_exhausted]");
    rig_free(rig);
}

/* ---- when ------------------------------------------------------------------------------------ */

static void test_the_pause_before_a_retry(void **state)
{
    struct rig *rig = rig_with(2, "{\"lb\": \"round_robin\", \"retry\": {\"backoff_ms\": 50}}");
    (void)state;
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_REFUSE, -ECONNREFUSED);
    memory_policy(&rig->net[0], RIG_PORT + 1, MEMORY_REFUSE, -ECONNREFUSED);
    struct memory_peer *caller = rig_calling(rig);
    rig_pass(rig, 50);
    assert_int_equal(rig->net[0].connects, 1);
    rig_expect_nothing(caller);
    rig_pass(rig, 1);
    assert_int_equal(rig->net[0].connects, 2);
    rig_expect_failure(caller, 1, "try 2;");
    rig_free(rig);
}

/* The caller leaves, or the process ends, while a retry waits for its time. */
static void test_the_end_within_the_pause(void **state)
{
    (void)state;
    for (int ends = 0; ends < 2; ends++) {
        struct rig *rig = rig_with(2, "{\"retry\": {\"backoff_ms\": 50}}");
        memory_policy(&rig->net[0], RIG_PORT, MEMORY_REFUSE, -ECONNREFUSED);
        memory_policy(&rig->net[0], RIG_PORT + 1, MEMORY_REFUSE, -ECONNREFUSED);
        struct memory_peer *caller = rig_calling(rig);
        if (ends) {
            rig_phase(rig, WORKER_ENDING);
        } else {
            memory_reset(caller);
        }
        rig_rest(rig);
        assert_int_equal(rig->net[0].connects, 1);
        rig_free(rig);
    }
}

/* A retry that could not be sent before the deadline would only delay the answer. */
static void test_no_time_for_the_pause(void **state)
{
    struct rig *rig = rig_with(2, "{\"timeout_ms\": 50, \"retry\": {\"backoff_ms\": 50}}");
    (void)state;
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_REFUSE, -ECONNREFUSED);
    memory_policy(&rig->net[0], RIG_PORT + 1, MEMORY_REFUSE, -ECONNREFUSED);
    struct memory_peer *caller = rig_calling(rig);
    rig_expect_failure(caller, 1, "[tside connect_failed]");
    assert_int_equal(rig_metric(rig, METRIC_RETRY_BUDGET_EMPTY), 0);
    rig_free(rig);
}

/* ---- the budget ------------------------------------------------------------------------------ */

/* So many calls that their callees refuse; how many were tried again. */
static uint64_t retried_of(struct rig *rig, unsigned calls)
{
    uint64_t before = rig_metric(rig, METRIC_RETRIES);
    struct memory_peer *caller = rig_caller(rig, 0);
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_REFUSE, -ECONNREFUSED);
    for (unsigned i = 0; i < calls; i++) {
        rig_call(caller, "M", 1);
        rig_rest(rig);
        rig_expect_failure(caller, 1, "[tside connect_failed]");
    }
    memory_policy(&rig->net[0], RIG_PORT, MEMORY_ACCEPT, 0);
    return rig_metric(rig, METRIC_RETRIES) - before;
}

static void test_the_floor_of_the_budget(void **state)
{
    struct rig *rig = rig_with(1, "{}");
    (void)state;
    assert_int_equal(retried_of(rig, 40), 10);
    assert_int_equal(rig_metric(rig, METRIC_RETRY_BUDGET_EMPTY), 30);
    rig_pass(rig, 500);
    assert_int_equal(retried_of(rig, 40), 5);
    rig_pass(rig, 5000);
    assert_int_equal(retried_of(rig, 40), 10);
    rig_free(rig);
}

static void test_successes_fill_the_budget(void **state)
{
    (void)state;
    static const struct {
        const char *json;
        uint64_t retries; /* of 40 calls that fail, behind 50 that do not */
    } cases[] = {
        {"{\"pool\": {\"max_idle\": 0}}", 10 + 10},
        {"{\"pool\": {\"max_idle\": 0}, \"retry\": {\"budget_percent\": 50}}", 25 + 10},
        {"{\"pool\": {\"max_idle\": 0}, \"retry\": {\"budget_percent\": 0}}", 10},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct rig *rig = rig_with(1, cases[i].json);
        struct memory_peer *caller = rig_caller(rig, 0);
        for (int k = 0; k < 50; k++) {
            rig_call(caller, "M", k);
            rig_rest(rig);
            rig_serve_call(rig, caller, "M", k);
        }
        rig_pass(rig, 2000);
        assert_int_equal(retried_of(rig, 40), cases[i].retries);
        rig_pass(rig, 11000); /* they are forgotten */
        assert_int_equal(retried_of(rig, 40), 10);
        rig_free(rig);
    }
}

/* ---- along a chain --------------------------------------------------------------------------- */

static bool is_marked(struct memory_peer *callee)
{
    struct rig_message message;
    assert_true(rig_next(callee, &message));
    return memmem(message.body, message.len, EXTRA_KEY_AND_LEN(EXTRA_KEY_RETRY)) != NULL;
}

/* Whether a call with this entry of Extra is tried again, and whether its first and second try are
 * marked for the next hop. */
static bool is_retried(struct rig *rig, const char *mark, bool ret_marked[2])
{
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_send(caller,
             &(struct rig_request){.method = "M", .seqid = 1, .budget = "900", .mark = mark});
    rig_rest(rig);
    ret_marked[0] = is_marked(newest(rig));
    memory_reset(newest(rig));
    rig_rest(rig);
    bool retried = rig->net[0].connects == 2;
    if (retried) {
        ret_marked[1] = is_marked(newest(rig));
    } else {
        rig_expect_failure(caller, 1, "[tside upstream_reset]");
    }
    rig_free(rig);
    return retried;
}

static void test_chains_are_stopped(void **state)
{
    static const char json[] = "{\"retry\": {\"idempotent\": true}}";
    bool marked[2];
    (void)state;
    assert_true(is_retried(rig_with(2, json), NULL, marked));
    assert_false(marked[0]);
    assert_true(marked[1]);
    assert_false(is_retried(rig_with(2, json), EXTRA_KEY_RETRY, marked));
    assert_true(marked[0]); /* as it came */
}

static void test_chains_that_are_not_stopped(void **state)
{
    static const char json[] = "{\"retry\": {\"idempotent\": true}}";
    bool marked[2];
    (void)state;
    struct rig *rig = rig_with(2, json);
    rig->bootstrap.listeners[0].deadline_chain_stop = false;
    assert_true(is_retried(rig, EXTRA_KEY_RETRY, marked));
    rig = rig_with(2, json);
    rig->bootstrap.listeners[0].deadline_chain_stop = false;
    assert_true(is_retried(rig, NULL, marked));
    assert_false(marked[1]);
}

/* deadline.rewrite has nothing to do with it. */
static void test_the_mark_without_a_budget(void **state)
{
    bool marked[2];
    struct rig *rig = rig_with(2, "{\"retry\": {\"idempotent\": true}}");
    (void)state;
    rig->bootstrap.listeners[0].deadline_rewrite = false;
    assert_true(is_retried(rig, NULL, marked));
    assert_true(marked[1]);
}

/* A retry that does not leave is sent again for free, and is still one: a callee had the call before. */
static void test_a_retry_that_is_resent_stays_marked(void **state)
{
    struct rig *rig = rig_with(2, "{\"lb\": \"round_robin\", \"retry\": {\"idempotent\": true}}");
    struct memory_peer *caller = rig_caller(rig, 0);
    (void)state;
    for (int i = 0; i < 2; i++) { /* an idle connection to each */
        rig_call(caller, "M", i);
        rig_rest(rig);
        rig_answer(newest(rig), "M");
        rig_rest(rig);
        rig_expect_reply(caller, "M", i);
        newest(rig)->window = i == 0 ? SIZE_MAX : 10;
    }
    struct memory_peer *second = newest(rig);
    rig_send(caller, &(struct rig_request){.method = "M", .seqid = 9, .budget = "900"});
    rig_rest(rig);
    struct memory_peer *first =
        memory_callee(&rig->net[0], second->port == RIG_PORT ? RIG_PORT + 1 : RIG_PORT, 0);
    assert_false(is_marked(first));
    memory_reset(first);
    rig_rest(rig);
    memory_reset(second);
    rig_rest(rig);
    assert_int_equal(rig_metric(rig, METRIC_RETRIES), 1);
    assert_int_equal(rig_metric(rig, METRIC_RESENDS), 1);
    assert_true(is_marked(newest(rig)));
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_tried_again),
        cmocka_unit_test(test_the_retry_is_answered),
        cmocka_unit_test(test_endpoints_take_turns),
        cmocka_unit_test(test_a_pool_without_room_is_not_tried_again),
        cmocka_unit_test(test_the_pause_before_a_retry),
        cmocka_unit_test(test_the_end_within_the_pause),
        cmocka_unit_test(test_no_time_for_the_pause),
        cmocka_unit_test(test_the_floor_of_the_budget),
        cmocka_unit_test(test_successes_fill_the_budget),
        cmocka_unit_test(test_chains_are_stopped),
        cmocka_unit_test(test_chains_that_are_not_stopped),
        cmocka_unit_test(test_the_mark_without_a_budget),
        cmocka_unit_test(test_a_retry_that_is_resent_stays_marked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
