/*
 * tests/sidecar/data/call/limit_test.c: how many calls of a tuple are let through, in virtual time.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/plane_rig.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

/* One call is at the callee, the permit of the tuple with it. */
static struct memory_peer *hold_one(struct rig *rig, uint32_t worker)
{
    struct memory_peer *caller = rig_caller(rig, worker);
    rig_call(caller, "M", 1);
    rig_rest(rig);
    rig_expect_nothing(caller);
    return caller;
}

static void expect_refused(struct rig *rig, uint32_t worker, const char *text)
{
    struct memory_peer *caller = rig_caller(rig, worker);
    rig_call(caller, "M", 9);
    rig_rest(rig);
    rig_expect_failure(caller, 9, text);
}

/* One more call is let through, and ends by its caller going before it could be sent. */
static void expect_let_through(struct rig *rig, uint32_t worker)
{
    uint64_t refused = rig_reason(rig, REASON_CONCURRENCY_LIMIT);
    struct memory_peer *caller = rig_caller(rig, worker);
    rig_oneway(caller, "M");
    rig_rest(rig);
    assert_int_equal(rig_reason(rig, REASON_CONCURRENCY_LIMIT), refused);
}

/* ---- limits.calls, and who is refused first -------------------------------------------------- */

static struct memory_peer *named_caller(struct rig *rig, uint32_t worker, const char *from,
                                        unsigned calls)
{
    struct memory_peer *caller = rig_caller(rig, worker);
    for (unsigned i = 0; i < calls; i++) {
        rig_send(caller, &(struct rig_request){.method = "M", .seqid = (int32_t)i, .from = from});
    }
    rig_rest(rig);
    return caller;
}

static struct rig *rig_of_40_calls(void)
{
    struct rig *rig = rig_new(2);
    rig->bootstrap.limits.calls = 40;
    rig->bootstrap.limits.pipelined_calls = 100;
    rig_begin(rig, "{\"timeout_ms\": 60000, \"pool\": {\"max_connections\": 100}}");
    return rig;
}

/* As long as a From is the only one all are its. */
static void test_one_alone_may_have_all(void **state)
{
    struct rig *rig = rig_of_40_calls();
    (void)state;
    rig_expect_nothing(named_caller(rig, 0, "noisy", 40));
    assert_int_equal(rig_metric(rig, METRIC_CALLS_UNFAIR), 0);
    rig_expect_failure(named_caller(rig, 1, "quiet", 1), 0, "limits.calls 40 are under way");
    rig_free(rig);
}

/* One From floods while another has called: the last quarter is not the flooding one's. */
static void test_the_last_quarter_is_for_the_others(void **state)
{
    struct rig *rig = rig_of_40_calls();
    (void)state;
    struct memory_peer *quiet = named_caller(rig, 1, "quiet", 1);
    (void)named_caller(rig, 0, "noisy", 40);
    assert_int_equal(permit_taken(&rig->env.calls), 30);       /* three quarters */
    assert_int_equal(rig_metric(rig, METRIC_CALLS_UNFAIR), 1); /* and reading it pauses */
    for (int i = 1; i < 8; i++) { /* it gets through, while it has fewer than the other */
        rig_send(quiet, &(struct rig_request){.method = "M", .seqid = i, .from = "quiet"});
    }
    rig_rest(rig);
    rig_expect_nothing(quiet);
    assert_int_equal(permit_taken(&rig->env.calls), 37);
    rig_free(rig);
}

/* ---- max_concurrency ------------------------------------------------------------------------- */

static void test_concurrency_is_one_count_over_all_workers(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, "{\"max_concurrency\": 2}");
    struct memory_peer *first = hold_one(rig, 0);
    hold_one(rig, 1);
    for (uint32_t worker = 0; worker < 2; worker++) {
        expect_refused(rig, worker, "max_concurrency 2 of this tuple are under way");
    }
    rig_serve_call(rig, first, "M", 1);
    expect_let_through(rig, 1);
    assert_int_equal(rig_reason(rig, REASON_CONCURRENCY_LIMIT), 2);
    rig_free(rig);
}

/* Whatever way a call ends, its permit is back then. */
static void test_concurrency_comes_back(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{\"max_concurrency\": 1, \"timeout_ms\": 100}");
    struct memory_peer *late = hold_one(rig, 0);
    rig_pass(rig, 101);
    rig_expect_failure(late, 1, "[tside timeout]");
    expect_let_through(rig, 0);

    memory_reset(hold_one(rig, 0));
    rig_rest(rig);
    expect_refused(rig, 0, "max_concurrency 1"); /* the callee has it: it is still under way */
    rig_pass(rig, 101);
    expect_let_through(rig, 0);

    rig_unserve(rig, RIG_PORT);
    rig_commit(rig);
    for (int i = 0; i < 3; i++) {
        expect_refused(rig, 0, "[tside no_endpoint]");
    }
    rig_free(rig);
}

/* A reply that waits for its turn is no call under way. */
static void test_concurrency_of_replies_that_wait(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_config(rig, "M", "{\"max_concurrency\": 1}");
    rig_begin(rig, "{}");
    struct memory_peer *caller = rig_caller(rig, 0);
    rig_call(caller, "slow", 1);
    rig_call(caller, "M", 2);
    rig_rest(rig);
    rig_expect_call(rig_callee(rig, 0), "slow");
    rig_answer(rig_callee(rig, 1), "M");
    rig_rest(rig);
    rig_expect_nothing(caller);
    expect_let_through(rig, 0);
    rig_free(rig);
}

/* Calls that were begun under other rules count, and give back what they took. */
static void test_concurrency_over_a_change_of_rules(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig, "{}");
    struct memory_peer *callers[2] = {hold_one(rig, 0), hold_one(rig, 0)};
    rig_config(rig, "*", "{\"max_concurrency\": 2}");
    rig_commit(rig);
    expect_refused(rig, 0, "max_concurrency 2");
    rig_config(rig, "*", "{\"max_concurrency\": 3}");
    rig_commit(rig);
    hold_one(rig, 0);
    expect_refused(rig, 0, "max_concurrency 3");
    for (unsigned i = 0; i < 2; i++) {
        rig_answer(rig_callee(rig, i), "M");
        rig_rest(rig);
        rig_expect_reply(callers[i], "M", 1);
    }
    rig_config(rig, "*", "{\"max_concurrency\": 1}");
    rig_commit(rig);
    expect_refused(rig, 0, "max_concurrency 1");
    rig_free(rig);
}

/* ---- rate_per_s ------------------------------------------------------------------------------ */

/* How many of so many calls that come at once are let through, by turns to each worker. */
static unsigned take(struct rig *rig, unsigned n)
{
    uint64_t refused = rig_reason(rig, REASON_RATE_LIMITED);
    for (unsigned i = 0; i < n; i++) {
        rig_oneway(rig_caller(rig, i % rig->workers), "M");
        rig_rest(rig);
    }
    return n - (unsigned)(rig_reason(rig, REASON_RATE_LIMITED) - refused);
}

static void test_rate_is_one_bucket_over_all_workers(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, "{\"rate_per_s\": 10, \"burst\": 4}");
    assert_int_equal(take(rig, 12), 4);
    rig_pass(rig, 100);
    assert_int_equal(take(rig, 4), 1);
    rig_pass(rig, 300);
    assert_int_equal(take(rig, 6), 3);
    rig_pass(rig, 5000);
    assert_int_equal(take(rig, 12), 4);
    rig_free(rig);
}

static void test_rate_over_a_change_of_rules(void **state)
{
    struct rig *rig = rig_new(2);
    (void)state;
    rig_begin(rig, "{\"rate_per_s\": 1, \"burst\": 10}");
    assert_int_equal(take(rig, 12), 10);
    rig_config(rig, "*", "{\"rate_per_s\": 100, \"burst\": 10}");
    rig_commit(rig);
    assert_int_equal(take(rig, 4), 0);
    rig_pass(rig, 50);
    assert_int_equal(take(rig, 12), 5);
    rig_config(rig, "*", "{}");
    rig_commit(rig);
    assert_int_equal(take(rig, 20), 20);
    rig_free(rig);
}

/* A call that is refused before takes no token; one that is refused behind has used its own. */
static void test_rate_comes_before_concurrency(void **state)
{
    struct rig *rig = rig_new(1);
    (void)state;
    rig_begin(rig,
              "{\"rate_per_s\": 1, \"burst\": 3, \"max_concurrency\": 1, \"access\": \"deny\"}");
    expect_refused(rig, 0, "[tside denied]");
    rig_config(rig, "*", "{\"rate_per_s\": 1, \"burst\": 3, \"max_concurrency\": 1}");
    rig_commit(rig);
    hold_one(rig, 0);
    expect_refused(rig, 0, "max_concurrency 1");
    expect_refused(rig, 0, "max_concurrency 1");
    expect_refused(rig, 0, "[tside rate_limited]");
    rig_free(rig);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_one_alone_may_have_all),
        cmocka_unit_test(test_the_last_quarter_is_for_the_others),
        cmocka_unit_test(test_concurrency_is_one_count_over_all_workers),
        cmocka_unit_test(test_concurrency_comes_back),
        cmocka_unit_test(test_concurrency_of_replies_that_wait),
        cmocka_unit_test(test_concurrency_over_a_change_of_rules),
        cmocka_unit_test(test_rate_is_one_bucket_over_all_workers),
        cmocka_unit_test(test_rate_over_a_change_of_rules),
        cmocka_unit_test(test_rate_comes_before_concurrency),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
