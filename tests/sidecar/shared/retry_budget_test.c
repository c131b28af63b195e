/*
 * retry_budget_test.c: the budget of retries, and the windows that it and hedges are made from.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/latency_window.h"
#include "sidecar/shared/outcome_window.h"
#include "sidecar/shared/retry_budget.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define SECOND_US UINT64_C(1000000)

static unsigned take_all(struct retry_budget *budget, uint32_t percent, uint64_t successes,
                         uint64_t now_us)
{
    unsigned n = 0;
    while (retry_budget_take(budget, percent, successes, now_us)) {
        n++;
    }
    return n;
}

static void test_share_and_floor(void **state)
{
    (void)state;
    uint64_t now_us = 1000 * SECOND_US;
    struct retry_budget budget = {0};
    assert_int_equal(take_all(&budget, 20, 1000, now_us), 200 + RETRY_BUDGET_FLOOR_PER_S);
    assert_int_equal(take_all(&budget, 20, 1000, now_us), 0);
    /* More successes bring more; a second brings ten. */
    assert_int_equal(take_all(&budget, 20, 1100, now_us), 20);
    now_us += SECOND_US;
    assert_int_equal(take_all(&budget, 20, 1100, now_us), RETRY_BUDGET_FLOOR_PER_S);
    /* What was drawn of the share is free again ten seconds later, not before. */
    now_us += 8 * SECOND_US;
    assert_int_equal(take_all(&budget, 20, 1100, now_us), RETRY_BUDGET_FLOOR_PER_S);
    now_us += SECOND_US;
    assert_int_equal(take_all(&budget, 20, 1100, now_us), 220 + RETRY_BUDGET_FLOOR_PER_S);
    assert_int_equal(take_all(&budget, 0, UINT32_MAX, now_us + SECOND_US),
                     RETRY_BUDGET_FLOOR_PER_S);
    assert_int_equal(take_all(&(struct retry_budget){0}, 100, 7, 0), 7 + RETRY_BUDGET_FLOOR_PER_S);
}

/* With every call failing: so many tries as the floor brings, for as long as it lasts. */
static void test_a_storm(void **state)
{
    (void)state;
    struct retry_budget budget = {0};
    uint64_t calls = 0, retries = 0;
    for (uint64_t us = 0; us < 60 * SECOND_US; us += 1000) { /* 1,000 calls a second */
        calls++;
        retries += retry_budget_take(&budget, 20, 0, us);
    }
    print_message("a minute, 1000 calls/s, all fail: %llu calls, %llu retries\n",
                  (unsigned long long)calls, (unsigned long long)retries);
    assert_in_range(retries, 60 * RETRY_BUDGET_FLOOR_PER_S - 10, 61 * RETRY_BUDGET_FLOOR_PER_S);
}

#define THREADS   4
#define SUCCESSES 20000

static void *draw(void *arg)
{
    return (void *)(uintptr_t)take_all(arg, 50, SUCCESSES, 5 * SECOND_US);
}

static void test_threads_never_overdraw(void **state)
{
    struct retry_budget budget = {0};
    pthread_t threads[THREADS];
    uintptr_t sum = 0;
    (void)state;
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, draw, &budget), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        void *taken;
        assert_int_equal(pthread_join(threads[i], &taken), 0);
        sum += (uintptr_t)taken;
    }
    assert_in_range(sum, SUCCESSES / 2, SUCCESSES / 2 + RETRY_BUDGET_FLOOR_PER_S);
}

static struct outcome_counts sum_at(const struct outcome_window *window, uint64_t now_ms)
{
    struct outcome_counts sum = {0};
    outcome_sum(window, now_ms, &sum);
    return sum;
}

static void test_outcomes(void **state)
{
    struct outcome_window window = {0};
    (void)state;
    assert_int_equal(sum_at(&window, 0).ok, 0);
    for (uint64_t ms = 0; ms < 20000; ms += 10) {
        outcome_add(&window, ms % 100 != 0, ms);
    }
    struct outcome_counts sum = sum_at(&window, 19999);
    assert_int_equal(sum.ok, 900);
    assert_int_equal(sum.failed, 100);
    assert_int_equal(sum_at(&window, 20000).ok, 810);
    assert_int_equal(sum_at(&window, 28999).ok, 90);
    assert_int_equal(sum_at(&window, 29000).ok, 0);
    outcome_add(&window, true, UINT64_C(65536) * 1000 + 19000); /* the tag comes round */
    assert_int_equal(sum_at(&window, UINT64_C(65536) * 1000 + 19000).ok, 1);
}

static void test_outcomes_are_full(void **state)
{
    struct outcome_window window = {0};
    (void)state;
    atomic_store(&window.slot[1], UINT64_C(1) << 48 | OUTCOME_COUNT_MAX << 24 | OUTCOME_COUNT_MAX);
    outcome_add(&window, true, 1000);
    outcome_add(&window, false, 1000);
    assert_int_equal(sum_at(&window, 1000).ok, OUTCOME_COUNT_MAX);
    assert_int_equal(sum_at(&window, 1000).failed, OUTCOME_COUNT_MAX);
}

static uint64_t percentile_at(const struct latency_window *window, uint64_t now_ms,
                              unsigned percent)
{
    struct latency_sum sum = {0};
    latency_sum(window, now_ms, &sum);
    return latency_percentile(&sum, percent);
}

static void assert_close_above(uint64_t value, uint64_t truth)
{
    assert_in_range(value, truth, truth + truth / 8);
}

static void test_latencies(void **state)
{
    static struct latency_window window;
    (void)state;
    assert_int_equal(percentile_at(&window, 5, 95), 0);
    for (uint64_t us = 1; us <= 100000; us++) {
        latency_add(&window, us, 1000 + us / 2);
    }
    assert_close_above(percentile_at(&window, 59000, 50), 50000);
    assert_close_above(percentile_at(&window, 59000, 95), 95000);
    assert_close_above(percentile_at(&window, 59000, 99), 99000);
    assert_int_equal(percentile_at(&window, 180000, 99), 0); /* a minute is over */
    static struct latency_window huge;
    latency_add(&huge, 0, 0);
    latency_add(&huge, UINT64_MAX, 0);
    assert_int_equal(percentile_at(&huge, 0, 50), 0);
    assert_true(percentile_at(&huge, 0, 99) > 120 * SECOND_US);
}

/* Each bucket ends where the next one begins. */
static void test_each_latency_is_within_its_bucket(void **state)
{
    (void)state;
    for (uint64_t us = 1; us < 100 * SECOND_US; us += 1 + us / 20) {
        static struct latency_window window;
        window = (struct latency_window){0};
        latency_add(&window, us, 0);
        assert_close_above(percentile_at(&window, 0, 50), us);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_share_and_floor),
        cmocka_unit_test(test_a_storm),
        cmocka_unit_test(test_threads_never_overdraw),
        cmocka_unit_test(test_outcomes),
        cmocka_unit_test(test_outcomes_are_full),
        cmocka_unit_test(test_latencies),
        cmocka_unit_test(test_each_latency_is_within_its_bucket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
