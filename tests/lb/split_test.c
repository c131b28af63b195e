/*
 * split_test.c: shares, and which points move when weights do.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/split.h"

#include "chi_square.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define POINTS 200000

static uint64_t point_of(uint64_t i)
{
    struct lb_random random;
    lb_random_init(&random, i);
    return lb_random_next(&random);
}

static struct lb_split split_of(const struct lb_split_entry entries[], size_t n)
{
    struct lb_split split;
    assert_true(lb_split_init(&split, entries, n));
    return split;
}

static void test_refuses_what_cannot_be_split(void **state)
{
    static struct lb_split_entry many[LB_SPLIT_ENTRIES_MAX + 1];
    struct lb_split_entry zero[] = {{"a", 0}, {"b", 0}};
    struct lb_split_entry heavy[] = {{"a", LB_WEIGHT_MAX + 1}};
    struct lb_split split = {.n = 77};

    (void)state;
    for (size_t i = 0; i < LB_SPLIT_ENTRIES_MAX + 1; i++) {
        many[i] = (struct lb_split_entry){"a", 1};
    }
    assert_false(lb_split_init(&split, many, 0));
    assert_false(lb_split_init(&split, many, LB_SPLIT_ENTRIES_MAX + 1));
    assert_false(lb_split_init(&split, zero, 2));
    assert_false(lb_split_init(&split, heavy, 1));
    assert_int_equal(split.n, 77);
    assert_true(lb_split_init(&split, many, LB_SPLIT_ENTRIES_MAX));
}

static void test_shares_follow_weights(void **state)
{
    static const struct {
        size_t n;
        struct lb_split_entry entries[5];
    } sets[] = {{2, {{"canary", 10}, {"default", 90}}},
                {2, {{"canary", 1}, {"default", 9999}}},
                {3, {{"canary", 0}, {"default@hl", 30}, {"default@lf", 70}}},
                {5, {{"a", 1000000}, {"b", 200000}, {"c", 30000}, {"d", 4000}, {"e", 500}}},
                {5, {{"a", 1}, {"b", 1}, {"c", 1}, {"d", 1}, {"e", 1}}}};

    (void)state;
    for (size_t s = 0; s < sizeof(sets) / sizeof(sets[0]); s++) {
        struct lb_split split = split_of(sets[s].entries, sets[s].n);
        uint64_t counts[5] = {0};
        uint32_t weights[5];
        for (size_t i = 0; i < sets[s].n; i++) {
            weights[i] = sets[s].entries[i].weight;
        }
        for (uint64_t i = 0; i < POINTS; i++) {
            counts[lb_split_pick(&split, point_of(i))]++;
        }
        assert_true(chi_square_sigmas(counts, weights, sets[s].n) < 4);
    }
}

static void test_points_in_a_row_are_as_good(void **state)
{
    const struct lb_split_entry entries[] = {{"a", 1}, {"b", 2}, {"c", 1}};
    static const uint32_t weights[] = {1, 2, 1};
    struct lb_split split = split_of(entries, 3);
    uint64_t counts[3] = {0};

    (void)state;
    for (uint64_t point = 0; point < POINTS; point++) { /* no hash of the caller's at all */
        counts[lb_split_pick(&split, point)]++;
    }
    assert_true(chi_square_sigmas(counts, weights, 3) < 4);
}

static void test_weight_0_owns_no_point(void **state)
{
    const struct lb_split_entry entries[] = {{"a", 0}, {"b", 1}, {"c", 0}};
    struct lb_split split = split_of(entries, 3);

    (void)state;
    assert_int_equal(lb_split_pick(&split, 0), 1);
    assert_int_equal(lb_split_pick(&split, UINT64_MAX), 1);
    for (uint64_t i = 0; i < 1000; i++) {
        assert_int_equal(lb_split_pick(&split, point_of(i)), 1);
    }
}

/* moved[from][to], in points, between two sets of weights over the same three names. */
static void count_moves(const uint32_t before[3], const uint32_t after[3], uint64_t moved[3][3])
{
    static const char *const names[] = {"canary", "canary2", "default"};
    struct lb_split_entry entries[2][3];

    for (int i = 0; i < 3; i++) {
        entries[0][i] = (struct lb_split_entry){names[i], before[i]};
        entries[1][i] = (struct lb_split_entry){names[i], after[i]};
    }
    struct lb_split old = split_of(entries[0], 3);
    struct lb_split new = split_of(entries[1], 3);
    memset(moved, 0, 9 * sizeof(uint64_t));
    for (uint64_t i = 0; i < POINTS; i++) {
        uint64_t point = point_of(i);
        moved[lb_split_pick(&old, point)][lb_split_pick(&new, point)]++;
    }
}

static void test_between_two_exactly_the_share_moves(void **state)
{
    uint64_t moved[3][3];

    (void)state;
    count_moves((uint32_t[]){10, 0, 90}, (uint32_t[]){20, 0, 80}, moved);
    assert_int_equal(moved[0][2], 0); /* what went to canary still does */
    assert_in_range(moved[2][0], POINTS * 0.098, POINTS * 0.102);
    count_moves((uint32_t[]){20, 0, 80}, (uint32_t[]){10, 0, 90}, moved);
    assert_int_equal(moved[2][0], 0);
    assert_in_range(moved[0][2], POINTS * 0.098, POINTS * 0.102);
    count_moves((uint32_t[]){10, 0, 90}, (uint32_t[]){1000, 0, 9000}, moved);
    assert_int_equal(moved[0][2] + moved[2][0], 0); /* the ratio counts */
}

static void test_one_weight_moves_its_own_points_only(void **state)
{
    uint64_t moved[3][3];

    (void)state;
    count_moves((uint32_t[]){100, 100, 800}, (uint32_t[]){100, 100, 0}, moved);
    assert_int_equal(moved[0][1] + moved[1][0], 0);
    count_moves((uint32_t[]){100, 100, 800}, (uint32_t[]){250, 100, 800}, moved);
    assert_int_equal(moved[0][1] + moved[0][2] + moved[1][2] + moved[2][1], 0);
    /* 100 of 1000 become 250 of 1150 */
    assert_in_range(moved[1][0] + moved[2][0], POINTS * 0.115, POINTS * 0.120);
}

static void test_a_shift_past_a_third_hardly_touches_it(void **state)
{
    uint64_t moved[3][3];

    (void)state;
    count_moves((uint32_t[]){10, 10, 80}, (uint32_t[]){20, 10, 70}, moved);
    uint64_t all =
        moved[0][1] + moved[0][2] + moved[1][0] + moved[1][2] + moved[2][0] + moved[2][1];
    assert_in_range(all, POINTS * 0.098, POINTS * 0.12);
    assert_int_equal(moved[0][1] + moved[0][2], 0); /* away from the winner: none */
    assert_int_equal(moved[1][2], 0);               /* to the loser: none */
    assert_in_range(moved[1][0], 0, POINTS * 0.012);
}

static void test_the_order_of_entries_is_nothing(void **state)
{
    const struct lb_split_entry ab[] = {{"a", 3}, {"b", 4}, {"c", 5}};
    const struct lb_split_entry ba[] = {{"c", 5}, {"new", 0}, {"b", 4}, {"a", 3}};
    struct lb_split one = split_of(ab, 3);
    struct lb_split two = split_of(ba, 4);

    (void)state;
    for (uint64_t i = 0; i < 20000; i++) {
        const char *name = ab[lb_split_pick(&one, point_of(i))].name;
        assert_string_equal(ba[lb_split_pick(&two, point_of(i))].name, name);
    }
}

/* What a fleet of mixed versions relies on: these may never change. */
static void test_known_points(void **state)
{
    const struct lb_split_entry entries[] = {
        {"canary", 10}, {"default@hl", 45}, {"default@lf", 45}};
    struct lb_split split = split_of(entries, 3);
    char got[41];

    (void)state;
    for (uint64_t i = 0; i < 40; i++) {
        got[i] = (char)('0' + lb_split_pick(&split, point_of(i)));
    }
    got[40] = 0;
    assert_string_equal(got, "2212201121220021211121111201121012122212");
}

static void test_share(void **state)
{
    uint64_t hits = 0, small = 0;

    (void)state;
    assert_false(lb_share_hit(0, 0));
    assert_false(lb_share_hit(0, UINT64_MAX));
    assert_true(lb_share_hit(10000, 0));
    assert_true(lb_share_hit(10000, UINT64_MAX));
    assert_true(lb_share_hit(1, 0));
    assert_false(lb_share_hit(9999, UINT64_MAX));
    for (uint64_t i = 0; i < POINTS; i++) {
        uint64_t point = point_of(i);
        assert_false(lb_share_hit(0, point));
        assert_true(lb_share_hit(10000, point));
        hits += lb_share_hit(3000, point);
        small += lb_share_hit(1, point);
        assert_true(!lb_share_hit(3000, point) || lb_share_hit(3001, point));
    }
    assert_in_range(hits, POINTS * 0.295, POINTS * 0.305);
    assert_in_range(small, 8, 34); /* 20 expected */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refuses_what_cannot_be_split),
        cmocka_unit_test(test_shares_follow_weights),
        cmocka_unit_test(test_points_in_a_row_are_as_good),
        cmocka_unit_test(test_weight_0_owns_no_point),
        cmocka_unit_test(test_between_two_exactly_the_share_moves),
        cmocka_unit_test(test_one_weight_moves_its_own_points_only),
        cmocka_unit_test(test_a_shift_past_a_third_hardly_touches_it),
        cmocka_unit_test(test_the_order_of_entries_is_nothing),
        cmocka_unit_test(test_known_points),
        cmocka_unit_test(test_share),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
