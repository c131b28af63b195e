/*
 * arena_test.c: what is lent, given back and ended.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/arena.h"

#include "lb/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#ifdef __SANITIZE_ADDRESS__
#include <sanitizer/asan_interface.h>
#endif

#define KIB   1024u
#define PIECE (64 * KIB)

static int setup(void **state)
{
    static struct arena arena;
    *state = &arena;
    return arena_init(&arena, 1024 * KIB);
}

static int teardown(void **state)
{
    arena_done(*state);
    return 0;
}

static void test_takes_until_full(void **state)
{
    struct arena *arena = *state;

    for (unsigned i = 0; i < 16; i++) {
        uint8_t *piece = arena_take(arena, PIECE);
        assert_ptr_equal(piece, arena->base + (size_t)i * PIECE);
        memset(piece, (int)i, PIECE);
        arena_check(arena);
    }
    assert_int_equal(arena_left(arena), 0);
    assert_null(arena_take(arena, 1));
    assert_null(arena_take(arena, SIZE_MAX));
    assert_int_equal(arena->base[5 * PIECE], 5);
    arena_reset(arena);
    assert_ptr_equal(arena_take(arena, PIECE), arena->base);
    assert_null(arena_take(arena, 1024 * KIB));
}

static void test_gives_back_what_a_read_did_not_fill(void **state)
{
    struct arena *arena = *state;
    uint8_t *a = arena_take(arena, PIECE);

    arena_shrink(arena, a, PIECE, 100);
    uint8_t *b = arena_take(arena, PIECE);
    assert_ptr_equal(b, a + 112); /* 100, aligned */
    arena_shrink(arena, b, PIECE, PIECE);
    uint8_t *c = arena_take(arena, PIECE);
    assert_ptr_equal(c, b + PIECE);
    arena_shrink(arena, c, PIECE, 0); /* EAGAIN */
    assert_ptr_equal(arena_take(arena, PIECE), c);
    arena_check(arena);
}

static void test_shrinks_the_last_piece_only(void **state)
{
    struct arena *arena = *state;
    uint8_t *a = arena_take(arena, PIECE);
    uint8_t *b = arena_take(arena, 10);

    b[9] = 9;
    arena_shrink(arena, a, PIECE, 100);
    assert_int_equal(arena->used, PIECE + 16);
    memset(a, 1, PIECE);
    assert_int_equal(b[9], 9);
    arena_shrink(arena, b, 10, 3);
    arena_shrink(arena, a, PIECE, 1); /* b is still there */
    assert_int_equal(arena->used, PIECE + 16);
}

static void test_knows_its_own(void **state)
{
    struct arena *arena = *state;
    struct arena none = {0};
    int elsewhere = 0;

    assert_true(arena_owns(arena, arena->base));
    assert_true(arena_owns(arena, arena->base + arena->size - 1));
    assert_false(arena_owns(arena, arena->base + arena->size));
    assert_false(arena_owns(arena, arena->base - 1));
    assert_false(arena_owns(arena, &elsewhere));
    assert_false(arena_owns(arena, NULL));
    assert_false(arena_owns(&none, NULL));
    arena_done(&none);
}

static void test_nothing_fits_in_nothing(void **state)
{
    struct arena *arena = *state;
    struct arena absurd;

    assert_true(arena_init(&absurd, SIZE_MAX) < 0);
    uint8_t *p = arena_take(arena, 0);
    assert_non_null(p);
    assert_ptr_equal(arena_take(arena, 1), p);
}

static void test_old_bytes_are_poisoned(void **state)
{
    struct arena *arena = *state;
    uint8_t *p = arena_take(arena, 100);

    memset(p, 7, 100);
    arena_shrink(arena, p, 100, 50);
    assert_int_equal(p[49], 7);
#ifdef __SANITIZE_ADDRESS__
    assert_false(__asan_address_is_poisoned(p + 49));
    assert_true(__asan_address_is_poisoned(p + 50));
    arena_reset(arena);
    assert_true(__asan_address_is_poisoned(p));
#elif !defined(__OPTIMIZE__)
    assert_int_equal(p[50], 0xdd);
    arena_reset(arena);
    assert_int_equal(p[0], 0xdd);
#endif
}

/* Pieces never overlap, however they are taken and given back. */
static void test_pieces_keep_apart(void **state)
{
    struct arena *arena = *state;
    struct lb_random random;
    struct {
        uint8_t *ptr;
        size_t len;
    } kept[64];

    lb_random_init(&random, 3);
    for (int turn = 0; turn < 500; turn++) {
        size_t n = 0;
        while (n < 64) {
            size_t len = lb_random_scale(lb_random_next(&random), PIECE + 1);
            uint8_t *ptr = arena_take(arena, len);
            if (!ptr) {
                assert_true(len > arena_left(arena));
                break;
            }
            kept[n].len = lb_random_scale(lb_random_next(&random), len + 1);
            kept[n].ptr = ptr;
            memset(ptr, (int)n, len);
            arena_shrink(arena, ptr, len, kept[n].len);
            arena_check(arena);
            n++;
        }
        for (size_t i = 0; i < n; i++) {
            assert_int_equal((uintptr_t)kept[i].ptr % ARENA_ALIGN_BYTES, 0);
            for (size_t b = 0; b < kept[i].len; b += 61) {
                assert_int_equal(kept[i].ptr[b], i);
            }
        }
        arena_reset(arena);
    }
}

int main(void)
{
#define ARENA_TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        ARENA_TEST(test_takes_until_full),
        ARENA_TEST(test_gives_back_what_a_read_did_not_fill),
        ARENA_TEST(test_shrinks_the_last_piece_only),
        ARENA_TEST(test_knows_its_own),
        ARENA_TEST(test_nothing_fits_in_nothing),
        ARENA_TEST(test_old_bytes_are_poisoned),
        ARENA_TEST(test_pieces_keep_apart),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
