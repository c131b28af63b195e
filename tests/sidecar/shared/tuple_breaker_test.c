/*
 * tests/sidecar/shared/tuple_breaker_test.c: one breaker, its window over time, and threads that share it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/tuple_breaker.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define NOW     UINT64_C(1000000)
#define THREADS 4

static const struct lb_breaker_rule rule = {
    .error_rate = 0.5,
    .min_calls = 10,
    .cooling_ms = 1000,
    .probe_ms = 100,
    .successes = 2,
};

struct fixture {
    struct tuple_breaker breaker;
    struct lb_random random;
};

static int setup(void **state)
{
    static struct fixture fixture;
    fixture = (struct fixture){0};
    lb_random_init(&fixture.random, 1);
    *state = &fixture;
    return 0;
}

static enum breaker_news tell(struct fixture *f, enum lb_result result, uint64_t now_ms)
{
    const struct breaker_told told = {
        .result = result, .began_ms = now_ms, .now_ms = now_ms, .random = &f->random};
    return tuple_breaker_tell(&f->breaker, &rule, &told);
}

static enum breaker_entry enter(struct fixture *f, uint64_t now_ms)
{
    enum breaker_entry asked = tuple_breaker_ask(&f->breaker, &rule, now_ms);
    assert_int_equal(asked, tuple_breaker_ask(&f->breaker, &rule, now_ms)); /* takes nothing */
    assert_int_equal(tuple_breaker_enter(&f->breaker, &rule, now_ms), asked);
    return asked;
}

static enum breaker_news end_probe(struct fixture *f, enum lb_result result, uint64_t now_ms)
{
    const struct breaker_told told = {.result = result,
                                      .is_probe = true,
                                      .began_ms = now_ms,
                                      .now_ms = now_ms,
                                      .random = &f->random};
    return tuple_breaker_tell(&f->breaker, &rule, &told);
}

static void fail_until_open(struct fixture *f, uint64_t now_ms)
{
    for (int i = 0; i < 9; i++) {
        assert_int_equal(tell(f, LB_RESULT_FAILURE, now_ms), BREAKER_NO_NEWS);
        assert_int_equal(enter(f, now_ms), BREAKER_PASSED);
    }
    assert_int_equal(tell(f, LB_RESULT_FAILURE, now_ms), BREAKER_OPENED);
    assert_int_equal(enter(f, now_ms), BREAKER_REFUSED);
}

/* The window is the last ten seconds, by tenths: what is older is gone, what is not is there. */
static void test_the_window_moves(void **state)
{
    struct fixture *f = *state;
    for (uint64_t ms = 0; ms < 60000; ms += 50) {
        (void)tell(f, LB_RESULT_SUCCESS, NOW + ms);
        uint64_t of = ms < 9950 ? ms / 50 + 1 : 198 + ms / 50 % 2 + 1;
        assert_int_equal(tuple_breaker_view(&f->breaker, NOW + ms).window.successes, of);
    }
    assert_int_equal(tuple_breaker_view(&f->breaker, NOW + 60000 + 4900).window.successes, 100);
    assert_int_equal(tuple_breaker_view(&f->breaker, NOW + 80000).window.successes, 0);
}

static void test_errors_that_are_far_apart_open_nothing(void **state)
{
    struct fixture *f = *state;
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tell(f, LB_RESULT_TIMEOUT, NOW + (uint64_t)i * 1200), BREAKER_NO_NEWS);
    }
    assert_int_equal(tuple_breaker_view(&f->breaker, NOW + 99 * 1200).in_a_row, 100);
    (void)tell(f, LB_RESULT_SUCCESS, NOW + 100 * 1200);
    assert_int_equal(tuple_breaker_view(&f->breaker, NOW + 100 * 1200).in_a_row, 0);
}

static void test_all_the_way_round(void **state)
{
    struct fixture *f = *state;
    fail_until_open(f, NOW);
    assert_int_equal(tuple_breaker_cause(&f->breaker).errors, 10);
    assert_int_equal(tuple_breaker_cause(&f->breaker).calls, 10);
    assert_int_equal(enter(f, NOW + 799), BREAKER_REFUSED);
    /* Calls that were let in before end: none of them is a probe, and none counts. */
    assert_int_equal(tell(f, LB_RESULT_SUCCESS, NOW + 800), BREAKER_NO_NEWS);
    assert_int_equal(tell(f, LB_RESULT_FAILURE, NOW + 800), BREAKER_NO_NEWS);
    assert_int_equal(tuple_breaker_view(&f->breaker, NOW + 800).window.failures, 10);

    assert_int_equal(enter(f, NOW + 1200), BREAKER_PROBE);
    assert_int_equal(enter(f, NOW + 1300), BREAKER_REFUSED);
    assert_int_equal(tell(f, LB_RESULT_TIMEOUT, NOW + 1300), BREAKER_NO_NEWS);
    assert_int_equal(end_probe(f, LB_RESULT_SUCCESS, NOW + 1300), BREAKER_NO_NEWS);
    assert_int_equal(tuple_breaker_view(&f->breaker, NOW + 1300).state, LB_BREAKER_HALF_OPEN);
    assert_int_equal(enter(f, NOW + 1300), BREAKER_PROBE);
    assert_int_equal(end_probe(f, LB_RESULT_SUCCESS, NOW + 1310), BREAKER_CLOSED);
    struct breaker_view view = tuple_breaker_view(&f->breaker, NOW + 1310);
    assert_int_equal(view.state, LB_BREAKER_CLOSED);
    assert_int_equal(view.window.failures + view.in_a_row, 0);

    /* A slow one from before says nothing of now. */
    const struct breaker_told late = {LB_RESULT_TIMEOUT, false, NOW, NOW + 1400, &f->random};
    for (int i = 0; i < 100; i++) {
        assert_int_equal(tuple_breaker_tell(&f->breaker, &rule, &late), BREAKER_NO_NEWS);
    }
    assert_int_equal(tuple_breaker_view(&f->breaker, NOW + 1400).window.timeouts, 0);
    fail_until_open(f, NOW + 1500);
}

static void test_a_probe_that_says_nothing_gives_its_slot_back(void **state)
{
    struct fixture *f = *state;
    fail_until_open(f, NOW);
    for (int i = 0; i < 10; i++) {
        assert_int_equal(enter(f, NOW + 1200), BREAKER_PROBE);
        assert_int_equal(enter(f, NOW + 1200), BREAKER_REFUSED);
        assert_int_equal(end_probe(f, LB_RESULT_NONE, NOW + 1200), BREAKER_NO_NEWS);
    }
    assert_int_equal(enter(f, NOW + 1200), BREAKER_PROBE);
    assert_int_equal(end_probe(f, LB_RESULT_FAILURE, NOW + 1210), BREAKER_OPENED);
    assert_int_equal(enter(f, NOW + 2009), BREAKER_REFUSED);
}

/* ---- threads --------------------------------------------------------------------------------- */

struct crowd {
    struct tuple_breaker breaker;
    _Atomic uint32_t probes, worst, opened;
};

/* Each keeps telling successes and failures in the same bucket, and none is lost. */
static void *counter(void *arg)
{
    struct crowd *crowd = arg;
    struct lb_breaker_rule never = rule;
    struct lb_random random;
    never.min_calls = UINT32_MAX;
    lb_random_init(&random, 1);
    for (int i = 0; i < 20000; i++) {
        const struct breaker_told told = {i % 4 ? LB_RESULT_SUCCESS : LB_RESULT_FAILURE, false, NOW,
                                          NOW + (uint64_t)i / 100, &random};
        (void)tuple_breaker_tell(&crowd->breaker, &never, &told);
    }
    return NULL;
}

/* Goes through all of its states; two probes at once would show in `worst`. */
static void *prober(void *arg)
{
    struct crowd *crowd = arg;
    const struct lb_breaker_rule quick = {
        .error_rate = 0.5, .min_calls = 4, .cooling_ms = 1, .successes = 2};
    struct lb_random random;
    lb_random_init(&random, (uint64_t)(uintptr_t)&random);
    for (uint64_t i = 0; i < 20000; i++) {
        struct breaker_told told = {LB_RESULT_FAILURE, false, NOW + i, NOW + i, &random};
        enum breaker_entry entry = tuple_breaker_enter(&crowd->breaker, &quick, NOW + i);
        told.is_probe = entry == BREAKER_PROBE;
        if (told.is_probe) {
            uint32_t now = atomic_fetch_add(&crowd->probes, 1) + 1;
            if (now > 1) {
                atomic_store(&crowd->worst, now);
            }
            told.result = (enum lb_result)(lb_random_next(&random) % 3);
            atomic_fetch_sub(&crowd->probes, 1);
        }
        if (entry != BREAKER_REFUSED) {
            crowd->opened += tuple_breaker_tell(&crowd->breaker, &quick, &told) == BREAKER_OPENED;
        }
    }
    return NULL;
}

static void run_crowd(struct crowd *crowd, void *(*fn)(void *))
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, fn, crowd), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void test_threads_lose_no_count(void **state)
{
    struct crowd crowd = {0};
    (void)state;
    run_crowd(&crowd, counter);
    struct breaker_view view = tuple_breaker_view(&crowd.breaker, NOW + 200);
    assert_int_equal(view.window.successes, THREADS * 15000);
    assert_int_equal(view.window.failures, THREADS * 5000);
}

static void test_threads_share_one_probe(void **state)
{
    struct crowd crowd = {0};
    (void)state;
    run_crowd(&crowd, prober);
    assert_int_equal(crowd.worst, 0);
    assert_int_equal(crowd.probes, 0);
    assert_true(crowd.opened > 10);
    assert_false(lb_breaker_is_probing(crowd.breaker.word));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_the_window_moves, setup),
        cmocka_unit_test_setup(test_errors_that_are_far_apart_open_nothing, setup),
        cmocka_unit_test_setup(test_all_the_way_round, setup),
        cmocka_unit_test_setup(test_a_probe_that_says_nothing_gives_its_slot_back, setup),
        cmocka_unit_test(test_threads_lose_no_count),
        cmocka_unit_test(test_threads_share_one_probe),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
