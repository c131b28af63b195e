/*
 * limiter_test.c: how many calls a token bucket lets through, and when.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/limiter.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define SECOND UINT64_C(1000000)
#define START  (1000 * SECOND)
#define YEAR   (365 * 24 * 3600 * SECOND)

struct bucket {
    uint64_t full_at;
    struct lb_rate rate;
};

static struct bucket bucket_of(uint32_t per_s, uint32_t burst)
{
    return (struct bucket){.rate = lb_rate_of(per_s, burst)};
}

/* How many of n calls at that moment get a token. */
static unsigned take(struct bucket *bucket, uint64_t now_us, unsigned n)
{
    unsigned taken = 0;
    for (unsigned i = 0; i < n; i++) {
        uint64_t full_at;
        if (lb_limiter_take(bucket->full_at, &bucket->rate, now_us, &full_at)) {
            bucket->full_at = full_at;
            taken++;
        }
    }
    return taken;
}

static void change(struct bucket *bucket, uint64_t now_us, uint32_t per_s, uint32_t burst)
{
    struct lb_rate to = lb_rate_of(per_s, burst);
    bucket->full_at = lb_limiter_change(bucket->full_at, &bucket->rate, &to, now_us);
    bucket->rate = to;
}

static void test_full_at_first_then_at_its_rate(void **state)
{
    struct bucket bucket = bucket_of(10, 5);
    (void)state;
    assert_int_equal(take(&bucket, START, 100), 5);
    assert_int_equal(take(&bucket, START + SECOND / 10 - 1, 100), 0);
    assert_int_equal(take(&bucket, START + SECOND / 10, 100), 1);
    assert_int_equal(take(&bucket, START + 4 * SECOND / 10, 100), 3);
    assert_int_equal(take(&bucket, START + 60 * SECOND, 100), 5);
}

/* At every rate there is, steadily: what comes in a second is the rate's, to 0.04 %. */
static void test_rates_hold(void **state)
{
    static const uint32_t rates[] = {1, 3, 7, 999, 1000, 65537, 300007, 9999999, LB_RATE_MAX};
    (void)state;
    for (size_t i = 0; i < sizeof rates / sizeof rates[0]; i++) {
        uint32_t burst = rates[i] / 100 + 2;
        struct bucket bucket = bucket_of(rates[i], burst);
        assert_int_equal(take(&bucket, START, burst + 1), burst);
        uint64_t taken = 0;
        for (unsigned ms = 1; ms <= 1000; ms++) {
            taken += take(&bucket, START + ms * SECOND / 1000, rates[i] / 1000 + 2);
        }
        uint64_t slack = rates[i] / 2500 + 1;
        assert_in_range(taken, rates[i] - slack, rates[i] + slack);
    }
}

static void test_default_depth(void **state)
{
    (void)state;
    static const uint32_t depth_of[][2] = {{1, 1}, {9, 1}, {10, 1}, {100, 10}, {10000, 1000}};
    for (size_t i = 0; i < sizeof depth_of / sizeof depth_of[0]; i++) {
        struct bucket bucket = bucket_of(depth_of[i][0], 0);
        assert_int_equal(take(&bucket, START, 2000), depth_of[i][1]);
    }
}

/* The extremes fit in the number. */
static void test_no_overflow(void **state)
{
    struct bucket bucket = bucket_of(1, LB_RATE_MAX);
    uint64_t now = 20 * YEAR;
    (void)state;
    bucket.full_at = now * LB_LIMITER_PER_US + bucket.rate.depth - bucket.rate.token;
    assert_int_equal(take(&bucket, now, 2), 1);
    assert_int_equal(take(&bucket, now + SECOND, 2), 1);
    change(&bucket, now + SECOND, LB_RATE_MAX, LB_RATE_MAX);
    assert_int_equal(take(&bucket, now + SECOND, 1), 0);
    assert_int_equal(take(&bucket, now + SECOND + 10, 200), 100);
}

/* A thread with a clock that is behind, between two others, gets nothing twice. */
static void test_clocks_that_differ(void **state)
{
    struct bucket bucket = bucket_of(100, 10);
    unsigned taken = 0;
    (void)state;
    for (unsigned ms = 0; ms < 1000; ms++) {
        taken += take(&bucket, START + ms * 1000, 2);
        taken += take(&bucket, START + ms * 1000 - 300000, 2);
    }
    assert_in_range(taken, 100, 110);
}

/* What is missing stays missing, in tokens; a rule that gives more gives it at once. */
static void test_change_of_rates(void **state)
{
    struct bucket bucket = bucket_of(1, 100);
    (void)state;
    assert_int_equal(take(&bucket, START, 200), 100);
    change(&bucket, START, 1000, 100);
    assert_int_equal(take(&bucket, START, 1), 0);
    assert_int_equal(take(&bucket, START + SECOND / 100, 100), 10);
    change(&bucket, START + SECOND / 100, 1000, 5);
    assert_int_equal(take(&bucket, START + SECOND / 100, 1), 0);
    assert_int_equal(take(&bucket, START + SECOND / 100 + 5000, 100), 5);
    change(&bucket, START + SECOND, 1, 100);
    assert_int_equal(take(&bucket, START + SECOND, 200), 100);
    change(&bucket, START + SECOND, 1, 200);
    assert_int_equal(take(&bucket, START + SECOND, 200), 100);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_full_at_first_then_at_its_rate),
        cmocka_unit_test(test_rates_hold),
        cmocka_unit_test(test_default_depth),
        cmocka_unit_test(test_no_overflow),
        cmocka_unit_test(test_clocks_that_differ),
        cmocka_unit_test(test_change_of_rates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
