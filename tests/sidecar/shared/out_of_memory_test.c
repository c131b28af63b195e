/*
 * tests/sidecar/shared/out_of_memory_test.c: what workers share, with every allocation failing in turn.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/endpoint_state.h"
#include "sidecar/shared/ring.h"
#include "sidecar/shared/tuple_state.h"
#include "tests/support/failing_malloc.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

static void test_an_endpoint_is_whole_or_not_there(void **state)
{
    (void)state;
    for (unsigned n = 0; failing_malloc_arm(n); n++) {
        struct endpoint_state *made = endpoint_state_new("10.0.0.1:80", "10.0.0.1", 80, 3);
        assert_true(made == NULL || made->address != NULL);
        endpoint_state_unref(made);
    }
}

static void test_a_ring(void **state)
{
    (void)state;
    for (unsigned n = 0; failing_malloc_arm(n); n++) {
        struct ring ring;
        memset(&ring, 0, sizeof ring);
        if (ring_init(&ring, 4096) == 0) {
            assert_non_null(ring_reserve(&ring, 64));
        }
        ring_done(&ring);
    }
}

static void add(void *arg, struct disc_str to, struct disc_str to_cluster,
                const struct tuple_sums *sums)
{
    (void)to;
    (void)to_cluster;
    *(uint64_t *)arg += sums->calls;
}

/* A tuple without room is counted under "_other", a pair that has left likewise: no call is lost. */
static void count_and_leave(struct tuple_table *table)
{
    struct disc_tuple tuple;
    struct epoch epoch = {.workers = 0};
    for (int i = 0; i < DISC_NAMES; i++) {
        tuple.name[i] = disc_str_of("name", 4);
    }
    struct tuple_state *state = tuple_table_get(table, &tuple);
    tuple_counts_add(tuple_state_counts(state, 0), REASON_OK, 1, 1);
    bool is_other = !disc_tuple_eq(tuple_state_names(state), &tuple);
    tuple_state_unref(state);
    tuple_table_tidy(table, &epoch, 10, 5);
    uint64_t calls = is_other;
    tuple_table_each_residue(table, add, &calls);
    assert_int_equal(calls, 1);
}

static void test_the_tuple_table(void **state)
{
    (void)state;
    for (unsigned n = 0; failing_malloc_arm(n); n++) {
        struct tuple_table *table = tuple_table_new(10, 2);
        if (table) {
            count_and_leave(table);
        }
        tuple_table_free(table);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_an_endpoint_is_whole_or_not_there),
        cmocka_unit_test(test_a_ring),
        cmocka_unit_test(test_the_tuple_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
