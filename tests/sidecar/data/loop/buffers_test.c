/*
 * buffers_test.c: one account for owned memory, strict where it may be.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/account.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

/* A sanitizer's malloc() dies of too large a size unless it is told to refuse like the real one. */
const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
    return "allocator_may_return_null=1";
}
const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
    return "allocator_may_return_null=1";
}

static uint64_t exhausted(const struct account *account)
{
    return counter_get(&account->counters, METRIC_BUFFERS_EXHAUSTED);
}

static void assert_charged(const struct account *account, uint64_t bytes)
{
    assert_int_equal(permit_taken(&account->permits), bytes);
    assert_int_equal(counter_get(&account->counters, METRIC_BUFFERED_BYTES), bytes);
}

static void test_asking_takes_nothing(void **state)
{
    struct account a;
    (void)state;
    account_open(&a, 100);
    assert_true(buffers_may_charge(&a.buffers, 100));
    assert_false(buffers_may_charge(&a.buffers, 101));
    assert_false(buffers_may_charge(&a.buffers, SIZE_MAX));
    void *block = buffers_alloc(&a.buffers, 150);
    assert_false(buffers_may_charge(&a.buffers, 0)); /* over it already */
    assert_int_equal(exhausted(&a), 3);
    assert_charged(&a, 150);
    block = buffers_resize(&a.buffers, block, 99);
    assert_charged(&a, 99);
    assert_true(buffers_may_charge(&a.buffers, 1));
    buffers_free(&a.buffers, block);
    assert_charged(&a, 0);
}

static void test_blocks(void **state)
{
    struct account a;
    (void)state;
    account_open(&a, 100);
    char *one = buffers_copy(&a.buffers, "hello", 5);
    uint8_t *two = buffers_alloc(&a.buffers, 95);
    assert_non_null(one);
    assert_non_null(two);
    memset(two, 1, 95);
    assert_memory_equal(one, "hello", 5);
    assert_charged(&a, 100);
    void *more = buffers_copy(&a.buffers, "x", 1); /* what was read is kept, limit or not */
    assert_non_null(more);
    assert_charged(&a, 101);
    assert_int_equal(exhausted(&a), 0);
    buffers_free(&a.buffers, more);
    buffers_free(&a.buffers, NULL); /* nothing, and nothing is credited */
    assert_charged(&a, 100);
    buffers_free(&a.buffers, one);
    buffers_free(&a.buffers, two);
    void *empty = buffers_copy(&a.buffers, "", 0);
    assert_non_null(empty); /* NULL stands for "no" */
    buffers_free(&a.buffers, empty);
    assert_charged(&a, 0);
}

static void test_a_block_knows_its_size(void **state)
{
    struct account a;
    (void)state;
    account_open(&a, 1000);
    char *block = buffers_copy(&a.buffers, "hello", 5);
    assert_int_equal(buffers_size(block), 5);
    block = buffers_resize(&a.buffers, block, 500);
    assert_memory_equal(block, "hello", 5);
    assert_int_equal(buffers_size(block), 500);
    assert_int_equal(buffers_size(NULL), 0);
    assert_charged(&a, 500);
    buffers_free(&a.buffers, block);
    assert_charged(&a, 0);
}

/* Linked through the blocks: putting one aside takes no memory, so that it cannot fail. */
static void test_a_pile_is_charged_until_it_is_freed(void **state)
{
    struct account a;
    struct buffers_pile pile = {0};
    (void)state;
    account_open(&a, 1000);
    buffers_pile_free(&a.buffers, &pile);
    for (int i = 1; i <= 4; i++) {
        buffers_pile_add(&pile, buffers_alloc(&a.buffers, 10));
        assert_charged(&a, 10 * (uint64_t)i);
    }
    buffers_pile_add(&pile, NULL);
    buffers_pile_free(&a.buffers, &pile);
    assert_charged(&a, 0);
    assert_null(pile.top);
}

/* What memory refuses is given back. */
static void test_no_memory(void **state)
{
    struct account a;
    (void)state;
    account_open(&a, UINT64_MAX);
    assert_null(buffers_alloc(&a.buffers, SIZE_MAX / 2 + 1)); /* more than malloc() ever gives */
    assert_null(buffers_alloc(&a.buffers, SIZE_MAX));
    assert_charged(&a, 0);
    void *block = buffers_alloc(&a.buffers, 7);
    assert_null(buffers_resize(&a.buffers, block, SIZE_MAX / 2));
    assert_charged(&a, 7);
    buffers_free(&a.buffers, block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asking_takes_nothing),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_a_block_knows_its_size),
        cmocka_unit_test(test_a_pile_is_charged_until_it_is_freed),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
