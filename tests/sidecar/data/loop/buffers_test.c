/*
 * buffers_test.c: one account for owned memory, strict where it may be.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/buffers.h"

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

struct account {
    struct permits permits;
    struct counters counters;
    struct buffers buffers;
};

static struct account account_of(uint64_t limit)
{
    return (struct account){.buffers = {.limit = limit}};
}

static void open_account(struct account *account)
{
    account->buffers.permits = &account->permits;
    account->buffers.counters = &account->counters;
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
    struct account a = account_of(100);
    (void)state;
    open_account(&a);
    assert_true(buffers_may_charge(&a.buffers, 100));
    assert_false(buffers_may_charge(&a.buffers, 101));
    assert_false(buffers_may_charge(&a.buffers, SIZE_MAX));
    buffers_charge(&a.buffers, 150);
    assert_false(buffers_may_charge(&a.buffers, 0)); /* over it already */
    assert_int_equal(exhausted(&a), 3);
    assert_charged(&a, 150);
    buffers_credit(&a.buffers, 51);
    assert_true(buffers_may_charge(&a.buffers, 1));
    buffers_credit(&a.buffers, 99);
    assert_charged(&a, 0);
}

static void test_blocks(void **state)
{
    struct account a = account_of(100);
    (void)state;
    open_account(&a);
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
    buffers_free(&a.buffers, more, 1);
    buffers_free(&a.buffers, NULL, 50); /* nothing, and nothing is credited */
    assert_charged(&a, 100);
    buffers_free(&a.buffers, one, 5);
    buffers_free(&a.buffers, two, 95);
    void *empty = buffers_copy(&a.buffers, "", 0);
    assert_non_null(empty); /* NULL stands for "no" */
    buffers_free(&a.buffers, empty, 0);
    assert_charged(&a, 0);
}

/* What memory refuses is given back. */
static void test_no_memory(void **state)
{
    struct account a = account_of(UINT64_MAX);
    (void)state;
    open_account(&a);
    assert_null(buffers_alloc(&a.buffers, SIZE_MAX / 2 + 1)); /* more than malloc() ever gives */
    assert_charged(&a, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_asking_takes_nothing),
        cmocka_unit_test(test_blocks),
        cmocka_unit_test(test_no_memory),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
