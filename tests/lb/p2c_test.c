/*
 * p2c_test.c: one pick at a time. What comes out of many is p2c_sim_test.c's.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/p2c.h"

#include "chi_square.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define N_MAX 10000

static struct lb_load loads[N_MAX];

static struct lb_load load_of(const void *owner, uint32_t index)
{
    assert_ptr_equal(owner, loads);
    assert_true(index < N_MAX);
    return loads[index];
}

struct fixture {
    struct lb_draw *draw;
    struct lb_set_load set;
    struct lb_random random;
    uint64_t counts[N_MAX];
};

static struct fixture f;

static const struct lb_set_load *set_load_of(const void *owner)
{
    (void)owner;
    return &f.set;
}

static void begin(const uint32_t weights[], uint32_t n)
{
    memset(&f, 0, sizeof(f));
    memset(loads, 0, sizeof(loads));
    f.draw = lb_draw_new(weights, n);
    f.set.median_ewma_us = 1000;
    for (uint32_t i = 0; i < n; i++) {
        loads[i].ewma_us = 1000;
    }
    lb_random_init(&f.random, 1);
}

static void end(void)
{
    f.draw = lb_draw_free(f.draw);
}

static uint32_t pick(const struct lb_exclude *exclude)
{
    const struct lb_pick how = {exclude, &f.random, load_of, loads};
    return lb_p2c_pick(f.draw, set_load_of, &how);
}

static void pick_many(uint64_t times, const struct lb_exclude *exclude)
{
    memset(f.counts, 0, sizeof(f.counts));
    for (uint64_t i = 0; i < times; i++) {
        uint32_t index = pick(exclude);
        assert_true(index < lb_draw_count(f.draw));
        f.counts[index]++;
    }
}

static void test_nothing_to_pick(void **state)
{
    struct lb_exclude both = {.n = 2, .index = {1, 0}};

    (void)state;
    begin(NULL, 0);
    assert_int_equal(pick(NULL), LB_NONE);
    end();
    begin((uint32_t[]){0, 0}, 2);
    assert_int_equal(pick(NULL), LB_NONE);
    end();
    begin((uint32_t[]){1, 1}, 2);
    assert_int_equal(pick(&both), LB_NONE);
    end();
    begin((uint32_t[]){1, 1, 0}, 3); /* what is left is drained */
    assert_int_equal(pick(&both), LB_NONE);
    end();
}

static void test_the_only_one(void **state)
{
    struct lb_exclude only = {.n = 1, .index = {0}};

    (void)state;
    begin((uint32_t[]){7}, 1);
    assert_int_equal(pick(NULL), 0);
    assert_int_equal(pick(&only), LB_NONE);
    end();
    begin((uint32_t[]){0, 7, 0}, 3);
    loads[1] = (struct lb_load){.ewma_us = 1e9, .inflight = 1000};
    pick_many(1000, NULL);
    assert_int_equal(f.counts[1], 1000);
    end();
}

static void test_weights_hold_while_all_are_well(void **state)
{
    static const uint32_t sets[][5] = {{9, 1}, {1, 2, 3, 4, 5}, {1000000, 1, 0, 1000, 30000}};
    static const uint32_t n[] = {2, 5, 5};

    (void)state;
    for (int s = 0; s < 3; s++) {
        begin(sets[s], n[s]);
        for (uint32_t i = 0; i < n[s]; i++) {
            loads[i].ewma_us = 600 + 300 * i; /* differ by less than the factor */
        }
        pick_many(500000, NULL);
        assert_true(chi_square_sigmas(f.counts, sets[s], n[s]) < 4);
        end();
    }
}

static void test_excluded_shares_go_to_the_others_by_weight(void **state)
{
    static const uint32_t weights[] = {5, 1, 4, 10, 0};
    static const uint32_t left[] = {5, 0, 4, 0, 0};
    struct lb_exclude exclude = {.n = 4, .index = {3, 1, 1, 99}};

    (void)state;
    begin(weights, 5);
    pick_many(200000, &exclude);
    assert_true(chi_square_sigmas(f.counts, left, 5) < 4);
    end();
    begin((uint32_t[]){1000000, 1000000, 1, 2}, 4); /* nearly all the weight is excluded */
    exclude = (struct lb_exclude){.n = 2, .index = {0, 1}};
    pick_many(100000, &exclude);
    assert_true(chi_square_sigmas(f.counts, (uint32_t[]){0, 0, 1, 2}, 4) < 4);
    end();
}

static void test_all_but_one_excluded(void **state)
{
    struct lb_exclude exclude = {.n = LB_EXCLUDE_MAX, .index = {0, 1, 2, 3, 4, 5, 6, 7}};
    uint32_t weights[LB_EXCLUDE_MAX + 1];

    (void)state;
    for (uint32_t i = 0; i <= LB_EXCLUDE_MAX; i++) {
        weights[i] = 1000000;
    }
    weights[LB_EXCLUDE_MAX] = 1;
    begin(weights, LB_EXCLUDE_MAX + 1);
    loads[LB_EXCLUDE_MAX].ewma_us = 1e9; /* bad, and still the only one */
    pick_many(1000, &exclude);
    assert_int_equal(f.counts[LB_EXCLUDE_MAX], 1000);
    end();
}

static void test_ten_thousand(void **state)
{
    static uint32_t weights[N_MAX];

    (void)state;
    for (uint32_t i = 0; i < N_MAX; i++) {
        weights[i] = i % 7 ? 10 : 0;
    }
    begin(weights, N_MAX);
    pick_many(500000, NULL);
    assert_true(chi_square_sigmas(f.counts, weights, N_MAX) < 4);
    end();
}

static void test_the_veto_needs_more_than_the_factor(void **state)
{
    (void)state;
    begin((uint32_t[]){1, 1}, 2);
    loads[0].ewma_us = 4000; /* exactly the factor: kept */
    pick_many(100000, NULL);
    assert_in_range(f.counts[0], 49000, 51000);
    loads[0].ewma_us = 4001; /* both draws must differ, so it loses every time */
    pick_many(100000, NULL);
    assert_int_equal(f.counts[0], 0);
    loads[1].ewma_us = 1; /* the other is far better, but the first is not bad for this set */
    loads[0].ewma_us = 4000;
    pick_many(100000, NULL);
    assert_in_range(f.counts[0], 49000, 51000);
    end();
}

static void test_calls_in_flight_count_beyond_chance(void **state)
{
    (void)state;
    begin((uint32_t[]){1, 1}, 2);
    f.set.inflight = 16; /* 8 expected: 8 + 3 * sqrt(9) = 17 are within chance */
    loads[0].inflight = 20;
    pick_many(10000, NULL); /* a score of exactly the factor */
    assert_in_range(f.counts[0], 4700, 5300);
    loads[0].inflight = 21;
    pick_many(10000, NULL);
    assert_int_equal(f.counts[0], 0);
    end();
    begin((uint32_t[]){9, 1}, 2); /* by weight: 16 of 18 are what nine tenths may hold */
    f.set.inflight = 18;
    loads[0].inflight = 16;
    loads[1].inflight = 2;
    pick_many(10000, NULL);
    assert_in_range(f.counts[0], 8900, 9100);
    end();
}

static void test_unmeasured_counts_as_the_median(void **state)
{
    (void)state;
    begin((uint32_t[]){1, 1}, 2);
    loads[0].ewma_us = 0;
    pick_many(10000, NULL);
    assert_in_range(f.counts[0], 4700, 5300);
    loads[0].inflight = 40; /* new and silent: not to be buried before its first timeout */
    f.set.inflight = 40;
    pick_many(10000, NULL);
    assert_int_equal(f.counts[0], 0);
    f.set.median_ewma_us = 0; /* nothing is known of anyone */
    loads[1].ewma_us = 0;
    pick_many(10000, NULL);
    assert_in_range(f.counts[0], 4700, 5300);
    end();
}

static void assert_near(double got, double wanted)
{
    if (fabs(got - wanted) > 1e-9 * fabs(wanted)) {
        fail_msg("%.12g is not %.12g", got, wanted);
    }
}

static void test_ewma(void **state)
{
    (void)state;
    assert_near(lb_ewma_next(0, 500, 0), 500);      /* the first */
    assert_near(lb_ewma_next(500, 900, 1), 900);    /* a peak, at once */
    assert_near(lb_ewma_next(900, 500, 0), 896);    /* no time: a hundredth of the way */
    assert_near(lb_ewma_next(900, 500, -5), 896);   /* the same where a clock goes back */
    assert_near(lb_ewma_next(900, 500, 1e12), 500); /* an age */
    assert_near(lb_ewma_next(1000, 0, LB_EWMA_TAU_MS), 1000 * exp(-1));
    assert_near(lb_ewma_next(1000, 500, LB_EWMA_TAU_MS), 500 + 500 * exp(-1));
    assert_near(lb_ewma_now(1000, LB_EWMA_TAU_MS), 1000 * exp(-1));
    assert_near(lb_ewma_now(1000, -1), 1000);
    assert_near(lb_ewma_now(0, 1), 0);
}

static void test_failure_sample(void **state)
{
    double ewma = 1000;

    (void)state;
    assert_near(lb_failure_sample(500, 5000, 1000, 1000), 5000);     /* failing fast: the timeout */
    assert_near(lb_failure_sample(7000, 5000, 1000, 1000), 7000);    /* slower than that */
    assert_near(lb_failure_sample(500, 5000, 4000, 1000), 8000);     /* worse than it was */
    assert_near(lb_failure_sample(500, 1000000, 1000, 1000), 20000); /* the clamp */
    assert_near(lb_failure_sample(500, 5000, 90000, 0), 5000);
    for (int i = 0; i < 5000; i++) { /* all fail: no doubling for ever */
        ewma = lb_ewma_next(ewma, lb_failure_sample(500, 1000000, ewma, ewma), 1);
    }
    assert_near(ewma, LB_SAMPLE_MAX_US);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_pick),
        cmocka_unit_test(test_the_only_one),
        cmocka_unit_test(test_weights_hold_while_all_are_well),
        cmocka_unit_test(test_excluded_shares_go_to_the_others_by_weight),
        cmocka_unit_test(test_all_but_one_excluded),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_the_veto_needs_more_than_the_factor),
        cmocka_unit_test(test_calls_in_flight_count_beyond_chance),
        cmocka_unit_test(test_unmeasured_counts_as_the_median),
        cmocka_unit_test(test_ewma),
        cmocka_unit_test(test_failure_sample),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
