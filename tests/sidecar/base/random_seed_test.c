/*
 * tests/sidecar/base/random_seed_test.c: no seed comes twice, and every bit of it moves.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/random_seed.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>

#define SEEDS 64

static void test_seeds_differ_in_every_bit(void **state)
{
    (void)state;
    uint64_t last = random_seed(), moved = 0;
    for (int i = 0; i < SEEDS; i++) {
        uint64_t seed = random_seed();
        assert_int_not_equal(seed, last);
        moved |= seed ^ last;
        last = seed;
    }
    assert_int_equal(moved, UINT64_MAX); /* a bit stays in one of 2^58 runs */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_seeds_differ_in_every_bit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
