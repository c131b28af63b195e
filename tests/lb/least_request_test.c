/*
 * least_request_test.c: one pick at a time, and the shares that come of many in virtual time.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/least_request.h"

#include "chi_square.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define N_MAX        16
#define INFLIGHT_MAX 256
#define CALLS        200000

struct fixture {
    struct lb_draw *draw;
    struct lb_random random;
    struct lb_pick how;
    uint32_t inflight[N_MAX];
    uint64_t counts[N_MAX];
};

static struct lb_load load_of(const void *owner, uint32_t index)
{
    const struct fixture *f = owner;
    return (struct lb_load){.inflight = f->inflight[index]};
}

static void begin(struct fixture *f, const uint32_t weights[], uint32_t n)
{
    memset(f, 0, sizeof *f);
    f->draw = lb_draw_new(weights, n);
    assert_non_null(f->draw);
    lb_random_init(&f->random, 1);
    f->how = (struct lb_pick){.random = &f->random, .load = load_of, .owner = f};
}

static uint32_t pick(struct fixture *f)
{
    uint32_t index = lb_least_request_pick(f->draw, &f->how);
    if (index != LB_NONE) {
        f->counts[index]++;
    }
    return index;
}

static void test_nothing_to_pick(void **state)
{
    struct fixture f;
    struct lb_exclude both = {.n = 2, .index = {0, 1}};
    (void)state;
    begin(&f, NULL, 0);
    assert_int_equal(pick(&f), LB_NONE);
    lb_draw_free(f.draw);
    begin(&f, (uint32_t[]){1, 1, 0}, 3);
    f.how.exclude = &both;
    assert_int_equal(pick(&f), LB_NONE);
    both.n = 1;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(pick(&f), 1);
    }
    lb_draw_free(f.draw);
}

static void test_the_busier_is_left_alone(void **state)
{
    struct fixture f;
    (void)state;
    begin(&f, (uint32_t[]){1, 1, 1}, 3);
    f.inflight[1] = 1;
    for (int i = 0; i < 3000; i++) {
        (void)pick(&f);
    }
    assert_int_equal(f.counts[1], 0);
    lb_draw_free(f.draw);
    /* Nine of ten, and this call, are less than two of one. */
    begin(&f, (uint32_t[]){10, 1}, 2);
    f.inflight[0] = 9;
    f.inflight[1] = 2;
    for (int i = 0; i < 3000; i++) {
        (void)pick(&f);
    }
    assert_int_equal(f.counts[1], 0);
    f.inflight[0] = 30;
    for (int i = 0; i < 3000; i++) {
        assert_int_equal(pick(&f), 1);
    }
    lb_draw_free(f.draw);
}

static void test_an_idle_set_keeps_its_weights(void **state)
{
    static const uint32_t weights[] = {1, 2, 3, 0, 1000};
    struct fixture f;
    (void)state;
    begin(&f, weights, 5);
    for (int i = 0; i < CALLS; i++) {
        (void)pick(&f);
    }
    assert_true(chi_square_sigmas(f.counts, weights, 5) < 4);
    lb_draw_free(f.draw);
}

/* `busy` calls are always in flight; which one ends next is drawn, those of candidate 0 `slower`
 * times more seldom. */
static double share_of_first(const uint32_t weights[2], uint32_t busy, uint32_t slower)
{
    struct fixture f;
    uint32_t at[INFLIGHT_MAX];
    begin(&f, weights, 2);
    for (uint32_t i = 0; i < busy; i++) {
        at[i] = pick(&f);
        f.inflight[at[i]]++;
    }
    for (int i = 0; i < CALLS; i++) {
        uint32_t k;
        do {
            k = (uint32_t)lb_random_scale(lb_random_next(&f.random), busy);
        } while (at[k] == 0 && lb_random_scale(lb_random_next(&f.random), slower) != 0);
        f.inflight[at[k]]--;
        at[k] = pick(&f);
        f.inflight[at[k]]++;
    }
    lb_draw_free(f.draw);
    return 100.0 * (double)f.counts[0] / (double)(f.counts[0] + f.counts[1]);
}

static void test_weights_of_nine_to_one_hold(void **state)
{
    (void)state;
    for (uint32_t busy = 1; busy <= INFLIGHT_MAX; busy *= 2) {
        double share = share_of_first((uint32_t[]){9, 1}, busy, 1);
        printf("9:1, %u in flight: %.2f %%\n", busy, share);
        assert_true(share >= 88 && share <= 92);
    }
}

/* Equal calls in flight, so one that takes four times longer gets a fifth of the calls. */
static void test_a_slow_one_gets_less(void **state)
{
    (void)state;
    double share = share_of_first((uint32_t[]){1, 1}, 64, 4);
    printf("1:1, the first four times slower: %.2f %%\n", share);
    assert_true(share > 18 && share < 22);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing_to_pick),
        cmocka_unit_test(test_the_busier_is_left_alone),
        cmocka_unit_test(test_an_idle_set_keeps_its_weights),
        cmocka_unit_test(test_weights_of_nine_to_one_hold),
        cmocka_unit_test(test_a_slow_one_gets_less),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
