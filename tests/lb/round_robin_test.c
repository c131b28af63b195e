/*
 * round_robin_test.c: the order of smooth weighted round robin, letter by letter.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/round_robin.h"

#include "lb/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static const struct lb_pick any;

static void assert_sequence(struct lb_round_robin *rr, const char *letters)
{
    char got[256];
    size_t n = strlen(letters);

    assert_non_null(rr);
    for (size_t i = 0; i < n; i++) {
        uint32_t index = lb_round_robin_pick(rr, &any);
        got[i] = index == LB_NONE ? '-' : (char)('a' + index);
        lb_round_robin_check(rr);
    }
    got[n] = 0;
    assert_string_equal(got, letters);
    lb_round_robin_free(rr);
}

static void test_smooth(void **state)
{
    (void)state;
    assert_sequence(lb_round_robin_new((uint32_t[]){5, 1, 1}, 3, 0), "aabacaaaabacaa");
    assert_sequence(lb_round_robin_new((uint32_t[]){1, 1, 1}, 3, 0), "abcabc");
    assert_sequence(lb_round_robin_new((uint32_t[]){0, 2, 1}, 3, 0), "bcbbcb");
    assert_sequence(lb_round_robin_new((uint32_t[]){3}, 1, 0), "aaa");
}

static void test_start_turns_the_sequence(void **state)
{
    static const char twice[] = "aabacaaaabacaa";
    char turned[8];

    (void)state;
    for (uint64_t start = 0; start < 7; start++) {
        memcpy(turned, twice + start, 7);
        turned[7] = 0;
        assert_sequence(lb_round_robin_new((uint32_t[]){5, 1, 1}, 3, start), turned);
        assert_sequence(lb_round_robin_new((uint32_t[]){5, 1, 1}, 3, start + 7000), turned);
    }
    assert_sequence(lb_round_robin_new((uint32_t[]){1, 0, 1, 1}, 4, 2), "dacdac");
    assert_sequence(lb_round_robin_new((uint32_t[]){1, 1}, 2, UINT64_MAX), "baba");
}

static void test_nothing_to_pick(void **state)
{
    (void)state;
    assert_sequence(lb_round_robin_new(NULL, 0, 3), "--");
    assert_sequence(lb_round_robin_new((uint32_t[]){0, 0}, 2, 3), "--");
    assert_null(lb_round_robin_free(NULL));
}

static void test_excluded_are_passed_over(void **state)
{
    struct lb_round_robin *rr = lb_round_robin_new((uint32_t[]){5, 1, 1, 0}, 4, 0);
    struct lb_exclude most = {.n = 2, .index = {0, 1}};
    struct lb_exclude all = {.n = 3, .index = {0, 1, 2}};

    (void)state;
    for (int i = 0; i < 5; i++) {
        assert_int_equal(lb_round_robin_pick(rr, &(struct lb_pick){.exclude = &most}), 2);
        assert_int_equal(lb_round_robin_pick(rr, &(struct lb_pick){.exclude = &all}), LB_NONE);
        lb_round_robin_check(rr);
    }
    lb_round_robin_free(rr);
    rr = lb_round_robin_new((uint32_t[]){5, 1, 1}, 3, 0);
    (void)lb_round_robin_pick(rr, &(struct lb_pick){.exclude = &all});
    assert_sequence(rr, "aabacaa"); /* nothing happened to it */
}

/* Over whole turns each gets exactly its weight, wherever the sequence starts give or take one,
 * and on the way none is far from its share. */
static void check_turns(const uint32_t weights[], uint32_t n, uint64_t start, uint32_t slack)
{
    struct lb_round_robin *rr = lb_round_robin_new(weights, n, start);
    uint32_t counts[12] = {0};
    uint64_t total = 0;

    for (uint32_t i = 0; i < n; i++) {
        total += weights[i];
    }
    for (uint64_t t = 1; t <= 3 * total; t++) {
        uint32_t index = lb_round_robin_pick(rr, &any);
        assert_true(index < n);
        counts[index]++;
        double due = (double)t * weights[index] / (double)total;
        assert_true(counts[index] < due + 4 && counts[index] > due - 4);
    }
    lb_round_robin_check(rr);
    for (uint32_t i = 0; i < n; i++) {
        assert_true(counts[i] + slack >= 3 * weights[i] && counts[i] <= 3 * weights[i] + slack);
        assert_true(weights[i] > 0 || counts[i] == 0);
    }
    lb_round_robin_free(rr);
}

static void test_turns_are_exact(void **state)
{
    struct lb_random random;

    (void)state;
    lb_random_init(&random, 4);
    for (int set = 0; set < 300; set++) {
        uint32_t n = 1 + (uint32_t)lb_random_scale(lb_random_next(&random), 12);
        uint32_t weights[12];
        for (uint32_t i = 0; i < n; i++) {
            weights[i] = (uint32_t)lb_random_scale(lb_random_next(&random), 30);
        }
        check_turns(weights, n, 0, 0);
        check_turns(weights, n, lb_random_next(&random), 1);
    }
}

static void test_ten_thousand(void **state)
{
    static uint32_t weights[10000];
    static uint8_t seen[10000];

    (void)state;
    for (int i = 0; i < 10000; i++) {
        weights[i] = 1000000;
    }
    struct lb_round_robin *rr = lb_round_robin_new(weights, 10000, 123456789);
    for (int i = 0; i < 2000; i++) {
        uint32_t index = lb_round_robin_pick(rr, &any);
        assert_true(index < 10000);
        assert_int_equal(seen[index]++, 0);
    }
    lb_round_robin_check(rr);
    lb_round_robin_free(rr);
}

/* Where start * weight and the sums are largest. */
static void test_no_overflow_at_the_limits(void **state)
{
    const uint32_t n = 1000000;
    uint32_t *weights = malloc(n * sizeof(*weights));

    (void)state;
    for (uint32_t i = 0; i < n; i++) {
        weights[i] = 1000000 - i % 2;
    }
    struct lb_round_robin *rr = lb_round_robin_new(weights, n, UINT64_MAX);
    assert_non_null(rr);
    for (int i = 0; i < 3; i++) {
        lb_round_robin_check(rr);
        assert_true(lb_round_robin_pick(rr, &any) < n);
    }
    lb_round_robin_free(rr);
    free(weights);
}

/* The letters of n picks. */
static const char *go_on(struct lb_round_robin *rr, int n)
{
    static char letters[32];
    for (int i = 0; i < n; i++) {
        letters[i] = (char)('a' + lb_round_robin_pick(rr, &any));
        lb_round_robin_check(rr);
    }
    letters[n] = '\0';
    return letters;
}

static void test_the_same_set_goes_on_exactly(void **state)
{
    const uint32_t weights[] = {5, 1, 1};
    const uint32_t was[] = {0, 1, 2};
    char whole[15] = "";

    (void)state;
    struct lb_round_robin *rr = lb_round_robin_new(weights, 3, 0);
    for (int i = 0; i < 14; i++) {
        struct lb_round_robin *next = lb_round_robin_new(weights, 3, 0);
        lb_round_robin_follow(next, rr, was);
        lb_round_robin_free(rr);
        rr = next;
        strcat(whole, go_on(rr, 1));
    }
    assert_string_equal(whole, "aabacaaaabacaa");
    lb_round_robin_free(rr);
}

/* Of a b c d, where c is next: b leaves, and c is next; e comes in front, and all are still even. */
static void test_a_changed_set_goes_on(void **state)
{
    const uint32_t ones[] = {1, 1, 1, 1};
    const uint32_t b_left[] = {0, 2, 3};
    const uint32_t e_came[] = {LB_NONE, 0, 1, 2};

    (void)state;
    struct lb_round_robin *rr = lb_round_robin_new(ones, 4, 0);
    assert_string_equal(go_on(rr, 2), "ab");
    struct lb_round_robin *next = lb_round_robin_new(ones, 3, 0);
    lb_round_robin_follow(next, rr, b_left);
    lb_round_robin_free(rr);
    assert_string_equal(go_on(next, 4), "bcab");
    rr = lb_round_robin_new(ones, 4, 0);
    lb_round_robin_follow(rr, next, e_came);
    lb_round_robin_free(next);
    assert_int_equal(strspn(go_on(rr, 4), "abcd"), 4);
    int counts[4] = {0};
    for (int i = 0; i < 40; i++) {
        counts[lb_round_robin_pick(rr, &any)]++;
    }
    for (int i = 0; i < 4; i++) {
        assert_in_range(counts[i], 9, 11);
    }
    lb_round_robin_free(rr);
}

/* However the weights change, nobody waits for more than about its turn. */
static void test_weights_that_change_owe_nothing_old(void **state)
{
    const uint32_t was[] = {0, 1};

    (void)state;
    struct lb_round_robin *rr = lb_round_robin_new((uint32_t[]){1000000, 1}, 2, 0);
    (void)go_on(rr, 10);
    struct lb_round_robin *next = lb_round_robin_new((uint32_t[]){1, 1}, 2, 0);
    lb_round_robin_follow(next, rr, was);
    const char *letters = go_on(next, 6);
    assert_true(strcmp(letters, "ababab") == 0 || strcmp(letters, "bababa") == 0);
    lb_round_robin_free(rr);
    rr = lb_round_robin_new((uint32_t[]){0, 0}, 2, 0);
    lb_round_robin_follow(rr, next, was); /* nothing to take up */
    lb_round_robin_check(rr);
    lb_round_robin_follow(next, rr, was);
    lb_round_robin_check(next);
    lb_round_robin_free(rr);
    lb_round_robin_free(next);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_smooth),
        cmocka_unit_test(test_start_turns_the_sequence),
        cmocka_unit_test(test_nothing_to_pick),
        cmocka_unit_test(test_excluded_are_passed_over),
        cmocka_unit_test(test_turns_are_exact),
        cmocka_unit_test(test_ten_thousand),
        cmocka_unit_test(test_no_overflow_at_the_limits),
        cmocka_unit_test(test_the_same_set_goes_on_exactly),
        cmocka_unit_test(test_a_changed_set_goes_on),
        cmocka_unit_test(test_weights_that_change_owe_nothing_old),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
