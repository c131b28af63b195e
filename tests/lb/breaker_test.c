/*
 * breaker_test.c: what opens a breaker, what closes it, and what its window holds.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/breaker.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define NOW UINT64_C(1000000)
/* Half of the jitter: the cooling as it is written. */
#define MIDDLE (UINT64_C(1) << 63)

static const struct lb_breaker_rule rule = {
    .error_rate = 0.5,
    .min_calls = 200,
    .cooling_ms = 5000,
    .probe_ms = 200,
    .successes = 2,
};

/* ---- the state ------------------------------------------------------------------------------- */

static void test_a_new_one_is_closed(void **state)
{
    (void)state;
    assert_int_equal(lb_breaker_state(0), LB_BREAKER_CLOSED);
    assert_false(lb_breaker_is_probing(0));
}

static void test_it_cools_give_or_take_a_fifth(void **state)
{
    (void)state;
    const struct {
        uint64_t random, ms;
    } cases[] = {{0, 4000}, {MIDDLE, 5000}, {UINT64_MAX, 6000}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t open = lb_breaker_opened(&rule, NOW, cases[i].random), next;
        assert_int_equal(lb_breaker_state(open), LB_BREAKER_OPEN);
        assert_false(lb_breaker_probe(open, &rule, NOW + cases[i].ms - 1, &next));
        assert_true(lb_breaker_probe(open, &rule, NOW + cases[i].ms, &next));
        assert_int_equal(lb_breaker_state(next), LB_BREAKER_HALF_OPEN);
        assert_true(lb_breaker_is_probing(next));
    }
}

/* A breaker whose first probe began at NOW. */
static uint64_t probing(void)
{
    uint64_t next = 0;
    assert_true(lb_breaker_probe(lb_breaker_opened(&rule, NOW - 5000, MIDDLE), &rule, NOW, &next));
    return next;
}

static void test_probes_are_single_and_paced(void **state)
{
    (void)state;
    uint64_t word = probing(), next;
    assert_false(lb_breaker_probe(word, &rule, NOW + 10000, &next)); /* one is under way */
    word = lb_breaker_probed(word, &rule, LB_RESULT_SUCCESS, NOW + 10, 0);
    assert_int_equal(lb_breaker_state(word), LB_BREAKER_HALF_OPEN);
    assert_false(lb_breaker_probe(word, &rule, NOW + 199, &next));
    assert_true(lb_breaker_probe(word, &rule, NOW + 200, &next));
}

static void test_so_many_successes_close_it(void **state)
{
    (void)state;
    uint64_t word = lb_breaker_probed(probing(), &rule, LB_RESULT_SUCCESS, NOW + 10, 0);
    assert_true(lb_breaker_probe(word, &rule, NOW + 200, &word));
    word = lb_breaker_probed(word, &rule, LB_RESULT_SUCCESS, NOW + 210, 0);
    assert_int_equal(lb_breaker_state(word), LB_BREAKER_CLOSED);
    assert_int_equal(lb_breaker_at_ms(word), NOW + 210);
    /* At the most that there may be. */
    struct lb_breaker_rule many = rule;
    many.successes = LB_BREAKER_SUCCESSES_MAX;
    many.probe_ms = 0;
    word = probing();
    for (unsigned i = 1; i < LB_BREAKER_SUCCESSES_MAX; i++) {
        word = lb_breaker_probed(word, &many, LB_RESULT_SUCCESS, NOW + i, 0);
        assert_int_equal(lb_breaker_state(word), LB_BREAKER_HALF_OPEN);
        assert_true(lb_breaker_probe(word, &many, NOW + 1000, &word));
    }
    word = lb_breaker_probed(word, &many, LB_RESULT_SUCCESS, NOW + 1000, 0);
    assert_int_equal(lb_breaker_state(word), LB_BREAKER_CLOSED);
}

static void test_a_probe_that_fails_opens_it_again(void **state)
{
    (void)state;
    const enum lb_result errors[] = {LB_RESULT_FAILURE, LB_RESULT_TIMEOUT};
    for (size_t i = 0; i < 2; i++) {
        uint64_t word = lb_breaker_probed(probing(), &rule, LB_RESULT_SUCCESS, NOW, 0), next;
        assert_true(lb_breaker_probe(word, &rule, NOW + 200, &word));
        word = lb_breaker_probed(word, &rule, errors[i], NOW + 300, MIDDLE);
        assert_int_equal(lb_breaker_state(word), LB_BREAKER_OPEN);
        assert_int_equal(lb_breaker_at_ms(word), NOW + 5300);
        /* And its successes so far count no more. */
        assert_true(lb_breaker_probe(word, &rule, NOW + 5300, &next));
        next = lb_breaker_probed(next, &rule, LB_RESULT_SUCCESS, NOW + 5300, 0);
        assert_int_equal(lb_breaker_state(next), LB_BREAKER_HALF_OPEN);
    }
}

/* One that says nothing is no probe: the next may go at once, and what was well before stays. */
static void test_a_probe_without_a_result(void **state)
{
    (void)state;
    uint64_t word = lb_breaker_probed(probing(), &rule, LB_RESULT_SUCCESS, NOW, 0);
    assert_true(lb_breaker_probe(word, &rule, NOW + 200, &word));
    word = lb_breaker_probed(word, &rule, LB_RESULT_NONE, NOW + 201, 0);
    assert_int_equal(lb_breaker_state(word), LB_BREAKER_HALF_OPEN);
    assert_true(lb_breaker_probe(word, &rule, NOW + 201, &word));
    word = lb_breaker_probed(word, &rule, LB_RESULT_SUCCESS, NOW + 202, 0);
    assert_int_equal(lb_breaker_state(word), LB_BREAKER_CLOSED);
}

/* ---- what opens it --------------------------------------------------------------------------- */

static void test_what_trips(void **state)
{
    (void)state;
    static const struct {
        uint32_t successes, failures, timeouts, in_a_row, consecutive;
        bool trips;
        uint32_t errors, calls;
    } cases[] = {
        {0, 199, 0, 199, 0, false, 0, 0},    {0, 200, 0, 200, 0, true, 200, 200},
        {101, 99, 0, 1, 0, false, 0, 0},     {100, 100, 0, 1, 0, true, 100, 200},
        {100, 60, 40, 1, 0, true, 100, 200}, {1000, 999, 0, 1, 0, false, 0, 0},
        {10, 4, 0, 4, 5, false, 0, 0},       {10, 5, 0, 5, 5, true, 5, 5},
        {0, 6, 0, 6, 5, true, 6, 6},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lb_breaker_rule with = rule;
        struct lb_breaker_cause cause = {0};
        with.consecutive = cases[i].consecutive;
        struct lb_breaker_counts window = {cases[i].successes, cases[i].failures,
                                           cases[i].timeouts};
        assert_int_equal(lb_breaker_trips(&with, &window, cases[i].in_a_row, &cause),
                         cases[i].trips);
        assert_int_equal(cause.errors, cases[i].errors);
        assert_int_equal(cause.calls, cases[i].calls);
    }
}

static void test_a_slot_counts_its_own_bucket_alone(void **state)
{
    (void)state;
    uint64_t slot = 0;
    struct lb_breaker_counts sum = {0};
    for (int i = 0; i < 1000; i++) {
        slot = lb_breaker_count(slot, 300, LB_RESULT_SUCCESS);
        slot = lb_breaker_count(slot, 300, i % 2 ? LB_RESULT_FAILURE : LB_RESULT_TIMEOUT);
    }
    lb_breaker_sum(slot, 300, &sum);
    lb_breaker_sum(slot, 300 + LB_BREAKER_SLOTS, &sum);
    assert_int_equal(sum.successes, 1000);
    assert_int_equal(sum.failures, 500);
    assert_int_equal(sum.timeouts, 500);
    slot = lb_breaker_count(slot, 300 + LB_BREAKER_SLOTS, LB_RESULT_TIMEOUT);
    sum = (struct lb_breaker_counts){0};
    lb_breaker_sum(slot, 300 + LB_BREAKER_SLOTS, &sum);
    assert_int_equal(sum.successes + sum.failures, 0);
    assert_int_equal(sum.timeouts, 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_new_one_is_closed),
        cmocka_unit_test(test_it_cools_give_or_take_a_fifth),
        cmocka_unit_test(test_probes_are_single_and_paced),
        cmocka_unit_test(test_so_many_successes_close_it),
        cmocka_unit_test(test_a_probe_that_fails_opens_it_again),
        cmocka_unit_test(test_a_probe_without_a_result),
        cmocka_unit_test(test_what_trips),
        cmocka_unit_test(test_a_slot_counts_its_own_bucket_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
