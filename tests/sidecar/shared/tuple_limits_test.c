/*
 * tests/sidecar/shared/tuple_limits_test.c: threads that share a token bucket get no token twice.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/tuple_limits.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define THREADS 4
#define SECOND  UINT64_C(1000000)
#define PER_S   1000
#define BURST   100

struct crowd {
    struct token_bucket bucket;
    _Atomic uint64_t taken;
};

/* Ten seconds, each thread at its own pace; every clock reaches the last millisecond. */
static void *taker(void *arg)
{
    struct crowd *crowd = arg;
    struct lb_rate rate = lb_rate_of(PER_S, BURST);
    for (uint64_t ms = 1000; ms <= 11000; ms++) {
        for (int i = 0; i < 3; i++) {
            if (token_bucket_take(&crowd->bucket, &rate, ms * 1000)) {
                atomic_fetch_add(&crowd->taken, 1);
            }
        }
    }
    return NULL;
}

static void test_threads_take_no_more_than_there_is(void **state)
{
    struct crowd crowd = {0};
    pthread_t threads[THREADS];
    (void)state;
    token_bucket_adopt(&crowd.bucket, PER_S, BURST, SECOND);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, taker, &crowd), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_in_range(crowd.taken, 1, 10 * PER_S + BURST);
}

static unsigned take(struct token_bucket *bucket, uint32_t per_s, uint32_t burst, uint64_t now_us)
{
    struct lb_rate rate = lb_rate_of(per_s, burst);
    unsigned n = 0;
    token_bucket_adopt(bucket, per_s, burst, now_us);
    while (token_bucket_has(bucket, &rate, now_us)) {
        assert_true(token_bucket_take(bucket, &rate, now_us));
        n++;
    }
    assert_false(token_bucket_take(bucket, &rate, now_us));
    return n;
}

static void test_adopting_other_numbers(void **state)
{
    struct token_bucket bucket = {0};
    (void)state;
    assert_int_equal(take(&bucket, 1, 50, SECOND), 50);
    assert_int_equal(take(&bucket, 1, 50, SECOND), 0);
    assert_int_equal(take(&bucket, 1000, 50, SECOND), 0); /* not a bucket more by each edit */
    assert_int_equal(take(&bucket, 1000, 50, 2 * SECOND), 50);
    assert_int_equal(take(&bucket, 1, 1, 2 * SECOND), 0);
    assert_int_equal(take(&bucket, 1, 1, 3 * SECOND), 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_take_no_more_than_there_is),
        cmocka_unit_test(test_adopting_other_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
