/*
 * maglev_test.c: who gets which keys, and which keys move when the candidates change.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/maglev.h"

#include "lb/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static const struct lb_pick any;

#define N_MAX 2000
#define KEYS  100000

static uint64_t names[N_MAX];
static uint32_t weights[N_MAX];

static void begin(uint32_t n, uint64_t seed)
{
    struct lb_random random;
    lb_random_init(&random, seed);
    for (uint32_t i = 0; i < n; i++) {
        names[i] = lb_random_next(&random);
        weights[i] = 1;
    }
}

static struct lb_maglev *built(uint32_t n)
{
    struct lb_maglev *maglev = lb_maglev_new(names, weights, n);
    assert_non_null(maglev);
    return maglev;
}

/* The share of keys whose candidate differs. */
static double moved(const struct lb_maglev *before, const struct lb_maglev *after)
{
    struct lb_random keys;
    int differ = 0;
    lb_random_init(&keys, 99);
    for (int i = 0; i < KEYS; i++) {
        uint64_t key = lb_random_next(&keys);
        differ += lb_maglev_pick(before, key, &any) != lb_maglev_pick(after, key, &any);
    }
    return (double)differ / KEYS;
}

static void test_nothing_to_pick(void **state)
{
    (void)state;
    begin(2, 1);
    struct lb_maglev *none = built(0);
    assert_int_equal(lb_maglev_pick(none, 5, &any), LB_NONE);
    lb_maglev_free(none);
    weights[0] = weights[1] = 0;
    none = built(2);
    assert_int_equal(lb_maglev_pick(none, 5, &any), LB_NONE);
    assert_int_equal(lb_maglev_slots(none, 0), 0);
    assert_null(lb_maglev_free(none));
    assert_null(lb_maglev_free(NULL));
}

/* What all hosts and all versions must agree on, to the letter. */
static void test_the_table_is_fixed(void **state)
{
    static const uint64_t keys[] = {0, UINT64_C(0x123456789abcdef), UINT64_C(1) << 63, UINT64_MAX};
    static const uint32_t want[] = {5, 9, 3, 7};
    (void)state;
    for (uint32_t i = 0; i < 10; i++) {
        names[i] = i + 1;
        weights[i] = 1 + i % 3;
    }
    struct lb_maglev *maglev = built(10);
    for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
        assert_int_equal(lb_maglev_pick(maglev, keys[i], &any), want[i]);
    }
    lb_maglev_free(maglev);
}

/* Each candidate in turn leaves the set and comes back. */
static void test_few_keys_move_when_one_leaves(void **state)
{
    static const uint32_t sizes[] = {2, 3, 5, 10, 20, 50, 100, 200, 500, 1000, 2000};
    (void)state;
    for (size_t k = 0; k < sizeof sizes / sizeof sizes[0]; k++) {
        uint32_t n = sizes[k];
        double worst = 0;
        begin(n, n);
        struct lb_maglev *all = built(n);
        for (uint32_t i = 0; i < n; i += 1 + n / 10) {
            weights[i] = 0;
            struct lb_maglev *others = built(n);
            weights[i] = 1;
            double share = moved(all, others);
            worst = share > worst ? share : worst;
            lb_maglev_free(others);
        }
        printf("one of %u leaves: %.2f / n of the keys move at most\n", n, worst * n);
        assert_true(worst * n <= 2);
        lb_maglev_free(all);
    }
}

static void test_shares_of_equals(void **state)
{
    static const struct {
        uint32_t n;
        double low, high;
    } rows[] = {{2, 0.99, 1.01}, {10, 0.98, 1.02}, {100, 0.93, 1.07}, {1000, 0.7, 1.3}};
    (void)state;
    for (size_t k = 0; k < sizeof rows / sizeof rows[0]; k++) {
        double low = 9, high = 0;
        begin(rows[k].n, 7);
        struct lb_maglev *maglev = built(rows[k].n);
        for (uint32_t i = 0; i < rows[k].n; i++) {
            double share = (double)lb_maglev_slots(maglev, i) * rows[k].n / LB_MAGLEV_SLOTS;
            low = share < low ? share : low;
            high = share > high ? share : high;
        }
        printf("shares of %u equals: %.2f to %.2f\n", rows[k].n, low, high);
        assert_true(low > rows[k].low && high < rows[k].high);
        lb_maglev_free(maglev);
    }
}

static double slots_percent(uint32_t n, uint32_t index)
{
    struct lb_maglev *maglev = built(n);
    double percent = 100.0 * lb_maglev_slots(maglev, index) / LB_MAGLEV_SLOTS;
    lb_maglev_free(maglev);
    return percent;
}

static void test_weights_hold(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        begin(2, seed);
        weights[0] = 9;
        double nine = slots_percent(2, 0);
        weights[0] = 995;
        weights[1] = 5;
        double canary = slots_percent(2, 1);
        weights[0] = 0;
        double drained = slots_percent(2, 0);
        if (seed <= 3) {
            printf("9:1 %.2f %%, a canary of 0.5 %%: %.3f %%\n", nine, canary);
        }
        assert_true(nine > 88 && nine < 92 && canary > 0.4 && canary < 0.6 && drained == 0);
    }
}

/* The lightest of many has its slot, and however the weights differ, building ends. */
static void test_every_candidate_has_a_slot(void **state)
{
    (void)state;
    begin(N_MAX, 3);
    weights[0] = 1000000;
    struct lb_maglev *maglev = built(N_MAX);
    for (uint32_t i = 0; i < N_MAX; i++) {
        assert_true(lb_maglev_slots(maglev, i) > 0);
    }
    lb_maglev_free(maglev);
}

/* Keys of what is excluded spread over all others; the others' keys stay. */
static void test_excluded_are_passed_by(void **state)
{
    struct lb_exclude exclude = {.n = 1, .index = {3}};
    struct lb_random keys;
    int counts[10] = {0}, strayed = 0;
    (void)state;
    begin(10, 5);
    struct lb_maglev *maglev = built(10);
    lb_random_init(&keys, 1);
    for (int i = 0; i < KEYS; i++) {
        uint64_t key = lb_random_next(&keys);
        uint32_t home = lb_maglev_pick(maglev, key, &any);
        uint32_t index = lb_maglev_pick(maglev, key, &(struct lb_pick){.exclude = &exclude});
        assert_true(index < 10 && index != 3);
        assert_true(home == 3 || index == home);
        counts[index] += home == 3;
        strayed += home == 3;
    }
    for (int i = 0; i < 10; i++) {
        assert_true(i == 3 ? counts[i] == 0 : counts[i] > strayed / 9 * 9 / 10);
    }
    exclude.n = LB_EXCLUDE_MAX;
    for (uint32_t i = 0; i < LB_EXCLUDE_MAX; i++) {
        exclude.index[i] = i;
    }
    assert_in_range(lb_maglev_pick(maglev, 1, &(struct lb_pick){.exclude = &exclude}), 8, 9);
    lb_maglev_free(maglev);
    maglev = built(LB_EXCLUDE_MAX);
    assert_int_equal(lb_maglev_pick(maglev, 1, &(struct lb_pick){.exclude = &exclude}), LB_NONE);
    lb_maglev_free(maglev);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_pick),
        cmocka_unit_test(test_the_table_is_fixed),
        cmocka_unit_test(test_few_keys_move_when_one_leaves),
        cmocka_unit_test(test_shares_of_equals),
        cmocka_unit_test(test_weights_hold),
        cmocka_unit_test(test_every_candidate_has_a_slot),
        cmocka_unit_test(test_excluded_are_passed_by),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
