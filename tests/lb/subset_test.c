/*
 * subset_test.c: how even subsets are, and what changes when the cluster does.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/subset.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define ENDPOINTS 100
#define HOSTS     1000
#define SIZE      20

/* Names as they are hashed elsewhere: far apart. */
static uint64_t name(uint64_t kind, uint64_t i)
{
    return lb_subset_score(kind, i + 1);
}

/* Who is in, without one endpoint (ENDPOINTS: all are there). */
static void subset_of(uint64_t host, unsigned missing, bool in[ENDPOINTS])
{
    uint64_t scores[ENDPOINTS];
    uint32_t n = 0;
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        scores[n] = lb_subset_score(name(1, host), name(2, i));
        n += i != missing;
    }
    uint64_t least = lb_subset_least(scores, n, SIZE);
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        in[i] = i != missing && lb_subset_score(name(1, host), name(2, i)) >= least;
    }
}

static void test_each_host_has_as_many(void **state)
{
    unsigned hosts[ENDPOINTS] = {0}, least = HOSTS, most = 0;
    bool in[ENDPOINTS];
    (void)state;
    for (uint64_t host = 0; host < HOSTS; host++) {
        unsigned size = 0;
        subset_of(host, ENDPOINTS, in);
        for (unsigned i = 0; i < ENDPOINTS; i++) {
            size += in[i];
            hosts[i] += in[i];
        }
        assert_int_equal(size, SIZE);
    }
    for (unsigned i = 0; i < ENDPOINTS; i++) {
        least = hosts[i] < least ? hosts[i] : least;
        most = hosts[i] > most ? hosts[i] : most;
    }
    print_message("%d hosts take %d of %d: an endpoint has %u to %u hosts\n", HOSTS, SIZE,
                  ENDPOINTS, least, most);
    assert_true(least >= 150 && most <= 250); /* 200, and four times its deviation of 12.6 */
}

/* One endpoint leaves: those that had it have another one instead, the others change nothing. */
static void test_one_leaves(void **state)
{
    (void)state;
    for (uint64_t host = 0; host < 100; host++) {
        bool before[ENDPOINTS], after[ENDPOINTS];
        unsigned left = 0, came = 0, gone = (unsigned)(host % ENDPOINTS);
        subset_of(host, ENDPOINTS, before);
        subset_of(host, gone, after);
        for (unsigned i = 0; i < ENDPOINTS; i++) {
            left += before[i] && !after[i];
            came += !before[i] && after[i];
        }
        assert_int_equal(left, before[gone]);
        assert_int_equal(came, before[gone]);
    }
}

static void test_small_clusters_are_whole(void **state)
{
    uint64_t scores[] = {5, 9, 0, 7};
    (void)state;
    assert_int_equal(lb_subset_least(scores, 4, 4), 0);
    assert_int_equal(lb_subset_least(scores, 4, 100), 0);
    assert_int_equal(lb_subset_least(scores, 0, 1), 0);
    assert_int_equal(lb_subset_least(scores, 4, 2), 7);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_host_has_as_many),
        cmocka_unit_test(test_one_leaves),
        cmocka_unit_test(test_small_clusters_are_whole),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
