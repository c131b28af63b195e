/*
 * weighted_draw_test.c: every candidate has exactly its weight's share.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/weighted_draw.h"

#include "chi_square.h"
#include "lb/candidate.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define N_MAX 1000000u

static uint32_t weights[N_MAX];
static uint64_t counts[N_MAX];

static void draw_many(uint32_t n, uint64_t times, uint64_t seed)
{
    struct lb_draw *draw = lb_draw_new(weights, n);
    struct lb_random random;

    assert_non_null(draw);
    lb_draw_check(draw);
    memset(counts, 0, n * sizeof(counts[0]));
    lb_random_init(&random, seed);
    for (uint64_t i = 0; i < times; i++) {
        uint32_t index = lb_draw_pick(draw, &random);
        assert_true(index < n);
        counts[index]++;
    }
    lb_draw_free(draw);
}

static void test_nothing_to_draw(void **state)
{
    static const uint32_t zeros[3] = {0};
    struct lb_random random;

    (void)state;
    lb_random_init(&random, 1);
    for (uint32_t n = 0; n <= 3; n++) {
        struct lb_draw *draw = lb_draw_new(n ? zeros : NULL, n);
        assert_non_null(draw);
        assert_int_equal(lb_draw_count(draw), n);
        assert_int_equal(lb_draw_total_weight(draw), 0);
        assert_int_equal(lb_draw_pick(draw, &random), LB_NONE);
        lb_draw_check(draw);
        assert_null(lb_draw_free(draw));
    }
    assert_null(lb_draw_free(NULL));
}

static void test_the_only_one_is_always_drawn(void **state)
{
    (void)state;
    weights[0] = 1000000;
    draw_many(1, 100, 1);
    assert_int_equal(counts[0], 100);

    memset(weights, 0, sizeof(weights[0]) * 10000);
    weights[7777] = 1;
    draw_many(10000, 100000, 2);
    assert_int_equal(counts[7777], 100000);
}

static void test_remembers_its_weights(void **state)
{
    uint32_t own[] = {3, 0, 1000000};
    struct lb_draw *draw = lb_draw_new(own, 3);

    (void)state;
    own[0] = 99; /* copied */
    assert_int_equal(lb_draw_weight(draw, 0), 3);
    assert_int_equal(lb_draw_weight(draw, 1), 0);
    assert_int_equal(lb_draw_weight(draw, 2), 1000000);
    assert_int_equal(lb_draw_total_weight(draw), 1000003);
    lb_draw_free(draw);
}

static void test_shares_follow_weights(void **state)
{
    static const struct {
        uint32_t n;
        uint32_t weights[8];
    } sets[] = {{2, {9, 1}},
                {2, {1, 1000000}},
                {3, {0, 1, 0}},
                {4, {1, 2, 3, 4}},
                {8, {1000000, 0, 1, 10, 100, 1000, 10000, 100000}},
                {8, {7, 7, 7, 7, 7, 7, 7, 7}}};

    (void)state;
    for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
        memcpy(weights, sets[s].weights, sizeof(sets[s].weights));
        draw_many(sets[s].n, 2000000, 10 + s);
        assert_true(chi_square_sigmas(counts, weights, sets[s].n) < 4);
    }
}

static void test_ten_thousand(void **state)
{
    struct lb_random random;

    (void)state;
    lb_random_init(&random, 5);
    for (uint32_t i = 0; i < 10000; i++) {
        weights[i] = i % 10 == 3 ? 0 : 50 + (uint32_t)lb_random_scale(lb_random_next(&random), 100);
    }
    draw_many(10000, 2000000, 6);
    assert_true(chi_square_sigmas(counts, weights, 10000) < 4);
    assert_true(chi_square_sigmas(counts, weights, 10000) > -4); /* nor better than chance */
}

/* Where n * weight and n * total are largest; exactness is lb_draw_check()'s to prove. */
static void test_no_overflow_at_the_limits(void **state)
{
    (void)state;
    for (uint32_t i = 0; i < N_MAX; i++) {
        weights[i] = 1000000;
    }
    draw_many(N_MAX, 1000, 1);
    weights[0] = 0;
    weights[1] = 999999;
    weights[N_MAX - 1] = 1;
    draw_many(N_MAX, 1000, 2);
    for (uint32_t i = 0; i < N_MAX; i++) {
        weights[i] = i % 2 ? 1000000 : 1;
    }
    draw_many(N_MAX, 1000, 3);
}

static void test_random_sets_are_exact(void **state)
{
    struct lb_random random;

    (void)state;
    lb_random_init(&random, 9);
    for (int set = 0; set < 2000; set++) {
        uint32_t n = 1 + (uint32_t)lb_random_scale(lb_random_next(&random), 40);
        uint64_t bound = 1 + lb_random_scale(lb_random_next(&random), set % 2 ? 1000000 : 3);
        for (uint32_t i = 0; i < n; i++) {
            weights[i] = (uint32_t)lb_random_scale(lb_random_next(&random), bound + 1);
        }
        struct lb_draw *draw = lb_draw_new(weights, n);
        lb_draw_check(draw);
        lb_draw_free(draw);
    }
}

static uint32_t share_by_index(const void *owner, uint32_t index)
{
    return ((const uint32_t *)owner)[index];
}

/* Shares of weights are exact, also where nearly all of the set has a small one and is walked. */
static void test_shares_of_weights(void **state)
{
    enum { N = 40, DRAWS = 200000 };
    uint32_t full[N], shares[N], wanted[N];
    uint64_t drawn[N] = {0};
    struct lb_random random;
    (void)state;

    lb_random_init(&random, 5);
    for (uint32_t i = 0; i < N; i++) {
        full[i] = 1 + i % 3;
        shares[i] = i == 7 ? LB_SHARE_ALL : LB_SHARE_ALL / 100 * (1 + i % 5);
        wanted[i] = full[i] * shares[i];
    }
    struct lb_draw *draw = lb_draw_new(full, N);
    const struct lb_pick pick = {.random = &random, .owner = shares, .share = share_by_index};
    for (int i = 0; i < DRAWS; i++) {
        drawn[lb_draw_pick_other(draw, LB_NONE, &pick)]++;
    }
    assert_true(chi_square_sigmas(drawn, wanted, N) < 4);
    lb_draw_free(draw);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_draw),
        cmocka_unit_test(test_the_only_one_is_always_drawn),
        cmocka_unit_test(test_remembers_its_weights),
        cmocka_unit_test(test_shares_follow_weights),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_no_overflow_at_the_limits),
        cmocka_unit_test(test_random_sets_are_exact),
        cmocka_unit_test(test_shares_of_weights),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
