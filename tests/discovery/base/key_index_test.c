/*
 * key_index_test.c: the ordered index against a sorted array.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/key_index.h"

#include "lb/random.h"
#include "tests/discovery/cmocka_first.h"

#define KEYS 200

static void check(const struct key_index *index, char keys[KEYS][16], const bool in[KEYS])
{
    const struct key_index_node *node = key_index_after(index, NULL);
    size_t n = 0;
    for (int i = 0; i < KEYS; i++) {
        assert_ptr_equal(key_index_find(index, keys[i]), in[i] ? keys[i] : NULL);
        if (in[i]) {
            assert_non_null(node);
            assert_string_equal(node->key, keys[i]);
            node = node->next[0];
            n++;
        }
    }
    assert_null(node);
    assert_int_equal(index->n, n);
}

static void test_against_a_sorted_array(void **state)
{
    (void)state;
    static char keys[KEYS][16];
    static bool in[KEYS];
    struct key_index index;
    struct lb_random random;
    lb_random_init(&random, 1);
    key_index_init(&index, 7);
    for (int i = 0; i < KEYS; i++) {
        (void)snprintf(keys[i], sizeof keys[i], "k%03d", i);
    }
    for (int step = 0; step < 3000; step++) {
        uint64_t i = lb_random_next(&random) % KEYS;
        if (in[i]) {
            assert_ptr_equal(key_index_remove(&index, keys[i]), keys[i]);
            assert_null(key_index_remove(&index, keys[i]));
        } else {
            key_index_insert(&index, keys[i], keys[i]);
        }
        in[i] = !in[i];
        if (step % 50 == 0) {
            check(&index, keys, in);
        }
    }
    key_index_done(&index);
}

static void test_after(void **state)
{
    (void)state;
    struct key_index index;
    key_index_init(&index, 7);
    assert_null(key_index_after(&index, NULL));
    char b[] = "b";
    char d[] = "d";
    key_index_insert(&index, d, d);
    key_index_insert(&index, b, b);
    assert_string_equal(key_index_after(&index, NULL)->key, "b");
    assert_string_equal(key_index_after(&index, "a")->key, "b");
    assert_string_equal(key_index_after(&index, "b")->key, "d");
    assert_string_equal(key_index_after(&index, "c")->key, "d");
    assert_null(key_index_after(&index, "d"));
    key_index_done(&index);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_against_a_sorted_array),
        cmocka_unit_test(test_after),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
