/*
 * block_cache_test.c: blocks that are given serve the next one of their size, and what nobody needs goes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/block_cache.h"

#include "tests/sidecar/data/scarce.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

static void *take(struct block_cache *cache, size_t bytes)
{
    void *block = block_cache_take(cache, bytes);
    assert_non_null(block);
    memset(block, (int)bytes, bytes); /* all of it is the taker's */
    return block;
}

/* Every size there is a class for, and some above: a given block serves the next one of the same size. */
static void test_all_sizes(void **state)
{
    struct block_cache cache = {0};
    (void)state;
    for (size_t bytes = 16; bytes <= BLOCK_CACHE_MAX_BYTES + 3000;
         bytes += bytes < 5000 ? 1 : 997) {
        void *first = take(&cache, bytes);
        block_cache_give(&cache, first, bytes);
        unsigned long before = scarce_count();
        void *second = take(&cache, bytes);
        assert_int_equal(scarce_count() - before, bytes > BLOCK_CACHE_MAX_BYTES);
        block_cache_give(&cache, second, bytes);
        block_cache_done(&cache);
    }
}

/* What is left over of a block is a fifth at most, and a size more takes no smaller one. */
static void test_sizes_are_rounded_up_a_little(void **state)
{
    struct block_cache cache = {0};
    (void)state;
    for (size_t bytes = BLOCK_CACHE_MIN_BYTES + 1; bytes < 40000; bytes++) {
        void *block = take(&cache, bytes);
        block_cache_give(&cache, block, bytes);
        size_t fifth_more = bytes + bytes / 4 + 1;
        unsigned long before = scarce_count();
        void *other = take(&cache, fifth_more);
        assert_int_equal(scarce_count() - before, 1);
        block_cache_give(&cache, other, fifth_more);
        block_cache_done(&cache);
    }
}

static void test_resize(void **state)
{
    static const size_t sizes[] = {16, 256, 257, 320, 321, 4096, 5000, 131072, 131073, 400000};
    enum { N = sizeof sizes / sizeof sizes[0] };
    struct block_cache cache = {0};
    (void)state;
    for (size_t from = 0; from < N; from++) {
        for (size_t to = 0; to < N; to++) {
            size_t least = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            unsigned char *block = take(&cache, sizes[from]);
            memset(block, 0x5a, sizes[from]);
            block = block_cache_resize(&cache, block, sizes[from], sizes[to]);
            assert_non_null(block);
            for (size_t i = 0; i < least; i++) {
                assert_int_equal(block[i], 0x5a);
            }
            memset(block, 0xa5, sizes[to]);
            block_cache_give(&cache, block, sizes[to]);
        }
    }
    block_cache_done(&cache);
}

static void test_without_memory(void **state)
{
    struct block_cache cache = {0};
    unsigned char *block = take(&cache, 1000);
    (void)state;
    scarce_begin(0, true);
    assert_null(block_cache_take(&cache, 1000));
    assert_null(block_cache_resize(&cache, block, 1000, 9000));
    assert_true(scarce_end() == 2);
    assert_int_equal(block[999], (unsigned char)1000);
    block_cache_give(&cache, block, 1000);
    block_cache_done(&cache);
}

/* What was free all the time since the last trim goes; what was in use meanwhile stays. */
static void test_trim(void **state)
{
    struct block_cache cache = {0};
    void *blocks[8];
    (void)state;
    for (int i = 0; i < 8; i++) {
        blocks[i] = take(&cache, 1000);
    }
    for (int i = 0; i < 8; i++) {
        block_cache_give(&cache, blocks[i], 1000);
    }
    block_cache_trim(&cache); /* all were in use since the beginning */
    unsigned long before = scarce_count();
    for (int i = 0; i < 3; i++) {
        blocks[i] = take(&cache, 1000);
    }
    for (int i = 0; i < 3; i++) {
        block_cache_give(&cache, blocks[i], 1000);
    }
    assert_int_equal(scarce_count(), before);
    block_cache_trim(&cache); /* five were not */
    for (int i = 0; i < 4; i++) {
        blocks[i] = take(&cache, 1000);
    }
    assert_int_equal(scarce_count(), before + 1);
    for (int i = 0; i < 4; i++) {
        block_cache_give(&cache, blocks[i], 1000);
    }
    block_cache_done(&cache);
}

/* Of one size no more than its limit is kept. */
static void test_limit(void **state)
{
    enum { BYTES = 100000, N = 2 * BLOCK_CACHE_CLASS_BYTES / BYTES };
    struct block_cache cache = {0};
    void *blocks[N];
    (void)state;
    for (int i = 0; i < N; i++) {
        blocks[i] = take(&cache, BYTES);
    }
    for (int i = 0; i < N; i++) {
        block_cache_give(&cache, blocks[i], BYTES);
    }
    unsigned long before = scarce_count();
    for (int i = 0; i < N; i++) {
        blocks[i] = take(&cache, BYTES);
    }
    assert_in_range(scarce_count() - before, N - BLOCK_CACHE_CLASS_BYTES / BYTES, N - 1);
    for (int i = 0; i < N; i++) {
        block_cache_give(NULL, blocks[i], BYTES); /* a cache of NULL keeps nothing */
    }
    block_cache_done(&cache);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_sizes), cmocka_unit_test(test_sizes_are_rounded_up_a_little),
        cmocka_unit_test(test_resize),    cmocka_unit_test(test_without_memory),
        cmocka_unit_test(test_trim),      cmocka_unit_test(test_limit),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
