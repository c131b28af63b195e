/*
 * tests/sidecar/shared/ring_test.c: records come out whole, in order, and none is seen too early.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/ring.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static bool put(struct ring *ring, const void *bytes, uint32_t len)
{
    void *room = ring_reserve(ring, len);
    if (room == NULL) {
        return false;
    }
    memcpy(room, bytes, len);
    ring_commit(ring, len);
    return true;
}

static void test_empty_then_one(void **state)
{
    (void)state;
    struct ring ring;
    uint32_t len = 0;
    assert_int_equal(ring_init(&ring, 64), 0);
    assert_null(ring_peek(&ring, &len));
    assert_true(put(&ring, "hello", 5));
    const void *p = ring_peek(&ring, &len);
    assert_int_equal(len, 5);
    assert_memory_equal(p, "hello", 5);
    assert_ptr_equal(p, ring_peek(&ring, &len));
    ring_next(&ring);
    assert_null(ring_peek(&ring, &len));
    ring_done(&ring);
}

static void test_not_seen_before_commit(void **state)
{
    (void)state;
    struct ring ring;
    uint32_t len;
    assert_int_equal(ring_init(&ring, 64), 0);
    assert_non_null(ring_reserve(&ring, 16));
    assert_null(ring_peek(&ring, &len));
    /* Abandoned: the next reservation takes its place. */
    char *room = ring_reserve(&ring, 16);
    memcpy(room, "abcdefgh", 8);
    ring_commit(&ring, 3);
    assert_memory_equal(ring_peek(&ring, &len), "abc", 3);
    assert_int_equal(len, 3);
    ring_done(&ring);
}

static void test_full_then_room_again(void **state)
{
    (void)state;
    struct ring ring;
    uint32_t len;
    assert_int_equal(ring_init(&ring, 64), 0);
    for (int i = 0; i < 4; i++) {
        assert_true(put(&ring, "12345678", 8));
    }
    assert_false(put(&ring, "", 0));
    assert_non_null(ring_peek(&ring, &len));
    ring_next(&ring);
    assert_true(put(&ring, "abcdefgh", 8));
    assert_false(put(&ring, "", 0));
    ring_done(&ring);
}

static void test_largest_fits_at_every_offset(void **state)
{
    (void)state;
    uint8_t bytes[128 - RING_HEAD_BYTES];
    memset(bytes, 7, sizeof bytes);
    for (uint32_t offset = 0; offset < 256; offset += 8) {
        struct ring ring;
        uint32_t len;
        assert_int_equal(ring_init(&ring, 256), 0);
        for (uint32_t at = 0; at < offset; at += 8) {
            assert_true(put(&ring, "", 0));
            assert_non_null(ring_peek(&ring, &len));
            ring_next(&ring);
        }
        assert_true(put(&ring, bytes, sizeof bytes));
        const uint8_t *p = ring_peek(&ring, &len);
        assert_int_equal(len, sizeof bytes);
        assert_int_equal((uintptr_t)p % 8, 0);
        assert_memory_equal(p, bytes, sizeof bytes);
        ring_next(&ring);
        assert_null(ring_peek(&ring, &len));
        ring_done(&ring);
    }
}

static void test_too_large_is_refused(void **state)
{
    (void)state;
    struct ring ring;
    assert_int_equal(ring_init(&ring, 64), 0);
    assert_null(ring_reserve(&ring, 32 - RING_HEAD_BYTES + 1));
    assert_null(ring_reserve(&ring, UINT32_MAX));
    assert_non_null(ring_reserve(&ring, 32 - RING_HEAD_BYTES));
    ring_done(&ring);
}

static void test_indices_wrap(void **state)
{
    (void)state;
    struct ring ring;
    assert_int_equal(ring_init(&ring, 256), 0);
    atomic_store(&ring.head, UINT32_MAX - 255);
    atomic_store(&ring.tail, UINT32_MAX - 255);
    for (uint32_t i = 0; i < 1000; i++) {
        uint32_t len = 0;
        assert_true(put(&ring, &i, sizeof i));
        assert_memory_equal(ring_peek(&ring, &len), &i, sizeof i);
        ring_next(&ring);
    }
    ring_done(&ring);
}

#define THREADED_RECORDS 100000

/* Record i: its number, then i % 50 bytes of value i. */
static uint32_t fill(uint8_t *out, uint32_t i)
{
    memcpy(out, &i, sizeof i);
    memset(out + sizeof i, (uint8_t)i, i % 50);
    return (uint32_t)sizeof i + i % 50;
}

static void *producer(void *arg)
{
    struct ring *ring = arg;
    for (uint32_t i = 0; i < THREADED_RECORDS;) {
        uint8_t *room = ring_reserve(ring, 64);
        if (room == NULL) {
            sched_yield();
            continue;
        }
        ring_commit(ring, fill(room, i));
        i++;
    }
    return NULL;
}

static void test_two_threads(void **state)
{
    (void)state;
    struct ring ring;
    pthread_t thread;
    assert_int_equal(ring_init(&ring, 1024), 0);
    assert_int_equal(pthread_create(&thread, NULL, producer, &ring), 0);
    for (uint32_t i = 0; i < THREADED_RECORDS;) {
        uint8_t expected[64];
        uint32_t len;
        const void *p = ring_peek(&ring, &len);
        if (p == NULL) {
            sched_yield();
            continue;
        }
        assert_int_equal(len, fill(expected, i));
        assert_memory_equal(p, expected, len);
        ring_next(&ring);
        i++;
    }
    pthread_join(thread, NULL);
    ring_done(&ring);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty_then_one),
        cmocka_unit_test(test_not_seen_before_commit),
        cmocka_unit_test(test_full_then_room_again),
        cmocka_unit_test(test_largest_fits_at_every_offset),
        cmocka_unit_test(test_too_large_is_refused),
        cmocka_unit_test(test_indices_wrap),
        cmocka_unit_test(test_two_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
