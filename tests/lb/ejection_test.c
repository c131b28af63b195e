/*
 * ejection_test.c: for how long an endpoint is ejected, and how many of a cluster may be.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/ejection.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define NOW UINT64_C(1000000)

static const struct lb_eject_rule rule = {
    .consecutive = 5, .base_ms = 1000, .max_ms = 30000, .max_percent = 50};

static void test_the_time_doubles_up_to_its_limit(void **state)
{
    static const uint64_t lengths[] = {1000, 2000, 4000, 8000, 16000, 30000, 30000};
    uint64_t word = 0, now = NOW;
    (void)state;
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
        word = lb_eject(word, &rule, now);
        assert_true(lb_eject_is_out(word));
        assert_int_equal(lb_eject_at_ms(word), now + lengths[i]);
        assert_int_equal(lb_eject_times(word), i + 1);
        now = lb_eject_at_ms(word);
    }
    for (int i = 0; i < 100; i++) {
        word = lb_eject(word, &rule, now);
    }
    assert_int_equal(lb_eject_at_ms(word), now + 30000);
}

/* Well for less than max_ms, it goes on doubling; for as long as that, it begins anew. */
static void test_what_is_in_a_row(void **state)
{
    (void)state;
    uint64_t word = lb_eject_return(lb_eject(0, &rule, NOW), NOW + 1000);
    assert_false(lb_eject_is_out(word));
    assert_int_equal(lb_eject_at_ms(word), NOW + 1000);
    assert_int_equal(lb_eject_times(lb_eject(word, &rule, NOW + 30999)), 2);
    assert_int_equal(lb_eject_times(lb_eject(word, &rule, NOW + 31000)), 1);
    /* One whose clock is behind. */
    assert_int_equal(lb_eject_times(lb_eject(word, &rule, NOW)), 2);
}

static void test_a_trial_is_single(void **state)
{
    (void)state;
    uint64_t word = lb_eject(0, &rule, NOW);
    assert_false(lb_eject_may_try(word, NOW + 999));
    assert_true(lb_eject_may_try(word, NOW + 1000));
    assert_false(lb_eject_may_try(word | LB_EJECT_TRIAL, NOW + 1000));
    assert_int_equal(lb_eject_at_ms(word | LB_EJECT_TRIAL), NOW + 1000);
    assert_false(lb_eject_return(word | LB_EJECT_TRIAL, NOW) & LB_EJECT_TRIAL);
    assert_false(lb_eject(word | LB_EJECT_TRIAL, &rule, NOW) & LB_EJECT_TRIAL);
}

static void test_how_many_may_go(void **state)
{
    static const struct {
        uint32_t n, percent, allowed;
    } cases[] = {{0, 50, 0},   {1, 50, 0},    {1, 100, 0},  {2, 1, 1},
                 {2, 100, 1},  {3, 50, 1},    {3, 100, 2},  {9, 10, 1},
                 {20, 50, 10}, {20, 100, 19}, {21, 50, 10}, {1000000, 100, 999999}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct lb_eject_rule with = rule;
        with.max_percent = cases[i].percent;
        assert_int_equal(lb_eject_allowed(cases[i].n, &with), cases[i].allowed);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_the_time_doubles_up_to_its_limit),
        cmocka_unit_test(test_what_is_in_a_row),
        cmocka_unit_test(test_a_trial_is_single),
        cmocka_unit_test(test_how_many_may_go),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
