/*
 * tests/sidecar/admin/admin_windows_test.c: calls per second over 1, 5 and 15 minutes.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/world.h"

#include "sidecar/admin/windows.h"

#define START_MS 1000000

struct fixture {
    struct windows *windows;
    struct tuple_table *tuples;
    struct disc_tuple tuple;
    struct tuple_state *state;
    uint64_t now_ms;
    uint64_t calls;
};

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof *f);
    f->windows = windows_new();
    f->tuples = tuple_table_new(10, 1);
    f->tuple = world_tuple("a", "default", "b", "default", "M");
    f->state = tuple_table_get(f->tuples, &f->tuple);
    f->now_ms = START_MS;
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    if (f->state) {
        tuple_state_unref(f->state);
    }
    tuple_table_free(f->tuples);
    windows_free(f->windows);
    free(f);
    return 0;
}

/* So many seconds with so many calls in each, a sample at the end of each. */
static void pass(struct fixture *f, int seconds, int calls)
{
    for (int s = 0; s < seconds; s++) {
        for (int c = 0; c < calls; c++) {
            tuple_counts_add(tuple_state_counts(f->state, 0), REASON_OK, 100, f->now_ms);
        }
        f->calls += (uint64_t)calls;
        f->now_ms += 1000;
        windows_sample(f->windows, f->tuples, f->now_ms);
    }
}

static struct window_rates rates(const struct fixture *f)
{
    return windows_rates(f->windows, &f->tuple, f->calls, f->now_ms);
}

static void assert_near(double value, double wanted)
{
    if (value < wanted * 0.98 - 0.01 || value > wanted * 1.02 + 0.01) {
        fail_msg("%f instead of %f", value, wanted);
    }
}

static void test_unknown_tuple_has_no_rate(void **state)
{
    struct fixture *f = *state;
    assert_near(rates(f).m1, 0);
    assert_near(rates(f).avg, 0);
}

static void test_young_tuples_are_averaged_over_their_age(void **state)
{
    struct fixture *f = *state;
    pass(f, 1, 10);
    assert_near(rates(f).m1, 10);
    pass(f, 9, 10);
    assert_near(rates(f).m1, 10);
    assert_near(rates(f).m5, 10);
    assert_near(rates(f).m15, 10);
    assert_near(rates(f).avg, 10);
}

static void test_windows_forget_at_their_own_pace(void **state)
{
    struct fixture *f = *state;
    pass(f, 1200, 10);
    assert_near(rates(f).m1, 10);
    assert_near(rates(f).m15, 10);
    pass(f, 61, 0);
    assert_near(rates(f).m1, 0);
    double m5 = rates(f).m5, m15 = rates(f).m15;
    assert_true(m5 > 7.5 && m5 < 8.5);
    assert_true(m15 > 9 && m15 < 9.6);
    pass(f, 250, 0);
    assert_near(rates(f).m5, 0);
    pass(f, 700, 0);
    assert_near(rates(f).m15, 0);
    assert_near(rates(f).avg, 10.0 * 1200 / 2211);
}

static void test_a_spike_shows_in_each(void **state)
{
    struct fixture *f = *state;
    pass(f, 1000, 0);
    pass(f, 1, 600);
    assert_near(rates(f).m1, 10);
    assert_near(rates(f).m5, 2);
    assert_near(rates(f).m15, 600.0 / 900);
}

static void test_tuples_that_left_are_forgotten(void **state)
{
    struct fixture *f = *state;
    pass(f, 5, 10);
    tuple_state_unref(f->state);
    struct epoch epoch = {.workers = 0};
    tuple_table_tidy(f->tuples, &epoch, f->now_ms + 10000000, 1);
    windows_sample(f->windows, f->tuples, f->now_ms);
    assert_near(rates(f).m1, 0);
    /* It comes back and counts from zero. */
    f->state = tuple_table_get(f->tuples, &f->tuple);
    f->calls = 0;
    pass(f, 10, 3);
    assert_near(rates(f).m1, 3);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        TEST(test_unknown_tuple_has_no_rate),
        TEST(test_young_tuples_are_averaged_over_their_age),
        TEST(test_windows_forget_at_their_own_pace),
        TEST(test_a_spike_shows_in_each),
        TEST(test_tuples_that_left_are_forgotten),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
