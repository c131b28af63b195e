/*
 * slab_test.c: objects out of blocks, and blocks that are given back.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/slab.h"

#include "tests/codec/random.h"
#include "tests/sidecar/data/scarce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define BURST (5 * SLAB_OBJECTS)

static void take_all(struct slab *slab, void **objects, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        objects[i] = slab_take(slab);
        assert_non_null(objects[i]);
        memset(objects[i], 0xa5, slab->size); /* all of it is the taker's */
        slab_check(slab);
    }
}

static void give_all(struct slab *slab, void **objects, unsigned n)
{
    for (unsigned i = 0; i < n; i++) {
        slab_give(slab, objects[i]);
        slab_check(slab);
    }
}

static void test_nothing(void **state)
{
    struct slab never = {0}, slab;
    (void)state;
    slab_done(&never);
    slab_init(&slab, 100);
    slab_give(&slab, NULL);
    slab_trim(&slab);
    assert_int_equal(slab.blocks, 0);
    slab_done(&slab);
}

/* Objects do not overlap, whatever their size. */
static void test_objects_of_all_sizes(void **state)
{
    static const size_t sizes[] = {0, 1, 7, 8, 9, 24, 100, 575};
    static void *objects[BURST];
    (void)state;
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        struct slab slab;
        slab_init(&slab, sizes[s]);
        take_all(&slab, objects, BURST);
        for (unsigned i = 0; i < BURST; i++) {
            assert_int_equal((uintptr_t)objects[i] % sizeof(void *), 0);
            memset(objects[i], (int)i, slab.size);
        }
        for (unsigned i = 0; i < BURST; i++) {
            const uint8_t *bytes = objects[i];
            assert_true(bytes[0] == (uint8_t)i && bytes[slab.size - 1] == (uint8_t)i);
        }
        assert_int_equal(slab.taken, BURST);
        assert_int_equal(slab.blocks, BURST / SLAB_OBJECTS);
        give_all(&slab, objects, BURST);
        assert_int_equal(slab.taken, 0);
        slab_done(&slab);
    }
}

/* In steady state the same blocks serve, and trims change nothing. */
static void test_steady_state_allocates_nothing(void **state)
{
    static void *objects[BURST];
    struct slab slab;
    (void)state;
    slab_init(&slab, 64);
    take_all(&slab, objects, BURST);
    give_all(&slab, objects, BURST);
    unsigned long before = scarce_count();
    for (int round = 0; round < 20; round++) {
        take_all(&slab, objects, BURST);
        give_all(&slab, objects, BURST);
        slab_trim(&slab); /* nothing was left over since the last one */
        assert_int_equal(slab.blocks, BURST / SLAB_OBJECTS);
    }
    assert_int_equal(scarce_count(), before);
    slab_done(&slab);
}

/* What a burst needed and nothing has needed since goes back: at the second trim, all at once. */
static void test_a_burst_is_given_back(void **state)
{
    static void *objects[BURST];
    struct slab slab;
    (void)state;
    slab_init(&slab, 64);
    take_all(&slab, objects, BURST);
    slab_trim(&slab);
    give_all(&slab, objects + 1, BURST - 1); /* one is left */
    slab_trim(&slab);
    assert_int_equal(slab.blocks, 5);
    slab_trim(&slab);
    assert_int_equal(slab.blocks, 1);
    slab_trim(&slab);
    assert_int_equal(slab.blocks, 1);
    slab_check(&slab);
    give_all(&slab, objects, 1);
    slab_trim(&slab);
    slab_trim(&slab);
    assert_int_equal(slab.blocks, 0);
    slab_done(&slab);
}

/* Blocks in use are filled first, so that the others become empty. */
static void test_used_blocks_are_filled_first(void **state)
{
    static void *objects[BURST];
    void *one;
    struct slab slab;
    (void)state;
    slab_init(&slab, 64);
    take_all(&slab, objects, BURST);
    give_all(&slab, objects + 1, BURST - 1);
    for (int i = 0; i < 1000; i++) {
        take_all(&slab, &one, 1);
        assert_int_equal(slab.empty, 4); /* it shares the block that is in use */
        give_all(&slab, &one, 1);
    }
    give_all(&slab, objects, 1);
    slab_done(&slab);
}

static void test_no_memory(void **state)
{
    void *objects[SLAB_OBJECTS];
    struct slab slab;
    (void)state;
    slab_init(&slab, 64);
    scarce_begin(0, true);
    assert_null(slab_take(&slab));
    slab_check(&slab);
    assert_int_equal(scarce_end(), 1);
    take_all(&slab, objects, SLAB_OBJECTS);
    scarce_begin(0, true);
    assert_null(slab_take(&slab));
    slab_give(&slab, objects[7]); /* takes no memory */
    objects[7] = slab_take(&slab);
    assert_non_null(objects[7]);
    assert_int_equal(scarce_end(), 1);
    give_all(&slab, objects, SLAB_OBJECTS);
    slab_done(&slab);
}

/* Each object holds its own address, as long as it is taken. */
static void test_at_random(void **state)
{
    static void *objects[BURST];
    struct random random = {11};
    struct slab slab;
    unsigned n = 0;
    (void)state;
    slab_init(&slab, 40);
    for (int step = 0; step < 100000; step++) {
        if (n == BURST || (n > 0 && random_one_in(&random, 2))) {
            unsigned i = random_below(&random, n);
            assert_ptr_equal(*(void **)objects[i], objects[i]);
            slab_give(&slab, objects[i]);
            objects[i] = objects[--n];
        } else {
            objects[n] = slab_take(&slab);
            *(void **)objects[n] = objects[n];
            n++;
        }
        assert_int_equal(slab.taken, n);
        if (random_one_in(&random, 100)) {
            slab_trim(&slab);
            slab_check(&slab);
        }
    }
    give_all(&slab, objects, n);
    slab_done(&slab);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nothing),
        cmocka_unit_test(test_objects_of_all_sizes),
        cmocka_unit_test(test_steady_state_allocates_nothing),
        cmocka_unit_test(test_a_burst_is_given_back),
        cmocka_unit_test(test_used_blocks_are_filled_first),
        cmocka_unit_test(test_no_memory),
        cmocka_unit_test(test_at_random),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
