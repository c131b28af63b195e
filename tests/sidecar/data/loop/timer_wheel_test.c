/*
 * timer_wheel_test.c: the wheel against a naive list, over jumps that cross every level.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/loop/timer_wheel.h"

#include "lb/random.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define DAY_MS UINT64_C(86400000)

static void test_empty(void **state)
{
    struct timer_wheel wheel;

    (void)state;
    timer_wheel_init(&wheel, 1000);
    assert_int_equal(timer_wheel_next_ms(&wheel), UINT64_MAX);
    assert_null(timer_wheel_expire(&wheel, 1000));
    assert_null(timer_wheel_expire(&wheel, UINT64_MAX));
    timer_wheel_check(&wheel);
}

static void test_fires_at_its_tick_and_not_before(void **state)
{
    static const uint64_t delays[] = {
        1,    2,      63,     64,       65,     127,         4095,        4096,        4097,
        9999, 262144, 300000, 16777217, DAY_MS, 12 * DAY_MS, 13 * DAY_MS, 400 * DAY_MS};
    static const uint64_t starts[] = {0,        1,           63, 64, 1000, 262143, (1u << 30) - 1,
                                      1u << 30, 123456789012};

    (void)state;
    for (size_t s = 0; s < sizeof(starts) / sizeof(starts[0]); s++) {
        for (size_t d = 0; d < sizeof(delays) / sizeof(delays[0]); d++) {
            struct timer_wheel wheel;
            struct timer_node node = {0};
            uint64_t at = starts[s] + delays[d];
            timer_wheel_init(&wheel, starts[s]);
            timer_wheel_set(&wheel, &node, at);
            assert_true(timer_node_armed(&node));
            assert_null(timer_wheel_expire(&wheel, starts[s]));
            assert_null(timer_wheel_expire(&wheel, at - 1));
            timer_wheel_check(&wheel);
            assert_int_equal(timer_wheel_next_ms(&wheel), at);
            assert_ptr_equal(timer_wheel_expire(&wheel, at), &node);
            assert_false(timer_node_armed(&node));
            assert_null(timer_wheel_expire(&wheel, at));
            timer_wheel_check(&wheel);
        }
    }
}

/* What a worker does: sleeps until next_ms and no longer. */
static void test_sleeping_until_next_is_never_late(void **state)
{
    struct lb_random random;

    (void)state;
    lb_random_init(&random, 7);
    for (int i = 0; i < 20000; i++) {
        struct timer_wheel wheel;
        struct timer_node node = {0};
        uint64_t now = lb_random_next(&random) >> 20;
        uint64_t at = now + 1 + (lb_random_next(&random) >> (24 + lb_random_next(&random) % 40));
        timer_wheel_init(&wheel, now);
        timer_wheel_set(&wheel, &node, at);
        while (timer_node_armed(&node)) {
            uint64_t next = timer_wheel_next_ms(&wheel);
            assert_true(next > now && next <= at);
            now = next;
            (void)timer_wheel_expire(&wheel, now); /* the only node, or NULL */
        }
        assert_int_equal(now, at);
    }
}

static void test_wakeups_are_few(void **state)
{
    struct timer_wheel wheel;
    struct timer_node node = {0};
    int early = 0;

    (void)state;
    timer_wheel_init(&wheel, 1);
    timer_wheel_set(&wheel, &node, (1u << 30) - 1);
    while (timer_node_armed(&node)) {
        early += timer_wheel_expire(&wheel, timer_wheel_next_ms(&wheel)) == NULL;
    }
    assert_in_range(early, 0, TIMER_WHEEL_LEVELS - 1);
}

static void test_one_tick_keeps_the_order_it_was_set_in(void **state)
{
    struct timer_wheel wheel;
    struct timer_node nodes[6] = {{0}};

    (void)state;
    timer_wheel_init(&wheel, 0);
    for (int i = 0; i < 6; i++) { /* from four different distances */
        timer_wheel_set(&wheel, &nodes[i], 300000);
        assert_null(
            timer_wheel_expire(&wheel, i < 3 ? 60000u * (unsigned)i : 299990u + (unsigned)i));
    }
    timer_wheel_set(&wheel, &nodes[2], 300000); /* re-armed: to the end */
    static const int order[] = {0, 1, 3, 4, 5, 2};
    for (int i = 0; i < 6; i++) {
        assert_ptr_equal(timer_wheel_expire(&wheel, 300000), &nodes[order[i]]);
    }
    assert_null(timer_wheel_expire(&wheel, 300000));
}

static void test_cancel_and_move(void **state)
{
    struct timer_wheel wheel;
    struct timer_node a = {0}, b = {0};

    (void)state;
    timer_wheel_init(&wheel, 10);
    timer_wheel_cancel(&wheel, &a);
    timer_wheel_set(&wheel, &a, 20);
    timer_wheel_set(&wheel, &b, 20);
    timer_wheel_cancel(&wheel, &a);
    timer_wheel_cancel(&wheel, &a);
    timer_wheel_set(&wheel, &b, 5000); /* later */
    timer_wheel_check(&wheel);
    assert_null(timer_wheel_expire(&wheel, 4999));
    timer_wheel_set(&wheel, &b, 5001);
    timer_wheel_set(&wheel, &b, 5000); /* earlier */
    assert_ptr_equal(timer_wheel_expire(&wheel, 5000), &b);
    assert_int_equal(timer_wheel_next_ms(&wheel), UINT64_MAX);
    timer_wheel_check(&wheel);
}

static void test_the_past_is_due_at_once(void **state)
{
    struct timer_wheel wheel;
    struct timer_node a = {0}, b = {0};

    (void)state;
    timer_wheel_init(&wheel, 1000);
    timer_wheel_set(&wheel, &a, 1000);
    timer_wheel_set(&wheel, &b, 3);
    assert_int_equal(timer_wheel_next_ms(&wheel), 1000);
    timer_wheel_check(&wheel);
    assert_ptr_equal(timer_wheel_expire(&wheel, 1000), &a);
    assert_ptr_equal(timer_wheel_expire(&wheel, 0), &b); /* time does not go back */
    assert_null(timer_wheel_expire(&wheel, 0));
    assert_int_equal(wheel.now_ms, 1000);
}

static void test_due_nodes_may_be_cancelled_and_moved(void **state)
{
    struct timer_wheel wheel;
    struct timer_node n[4] = {{0}};

    (void)state;
    timer_wheel_init(&wheel, 0);
    for (int i = 0; i < 4; i++) {
        timer_wheel_set(&wheel, &n[i], 70);
    }
    assert_ptr_equal(timer_wheel_expire(&wheel, 500), &n[0]);
    timer_wheel_cancel(&wheel, &n[1]);
    timer_wheel_set(&wheel, &n[2], 400); /* not over yet: within this very jump */
    timer_wheel_set(&wheel, &n[0], 501);
    timer_wheel_check(&wheel);
    assert_ptr_equal(timer_wheel_expire(&wheel, 500), &n[3]);
    assert_ptr_equal(timer_wheel_expire(&wheel, 500), &n[2]);
    assert_null(timer_wheel_expire(&wheel, 500));
    assert_ptr_equal(timer_wheel_expire(&wheel, 501), &n[0]);
}

static void test_never_is_far_away(void **state)
{
    struct timer_wheel wheel;
    struct timer_node never = {0}, soon = {0};

    (void)state;
    timer_wheel_init(&wheel, (1u << 30) - 5); /* five ms before every level turns */
    timer_wheel_set(&wheel, &never, UINT64_MAX);
    timer_wheel_set(&wheel, &soon, (1u << 30) + 3);
    assert_null(timer_wheel_expire(&wheel, (1u << 30) + 2));
    timer_wheel_check(&wheel);
    assert_ptr_equal(timer_wheel_expire(&wheel, (1u << 30) + 3), &soon);
    assert_null(timer_wheel_expire(&wheel, 400 * DAY_MS));
    timer_wheel_check(&wheel);
    timer_wheel_cancel(&wheel, &never);
    assert_int_equal(timer_wheel_next_ms(&wheel), UINT64_MAX);
}

/* The model: an array, searched from end to end. */
#define N 200
struct model {
    struct timer_wheel wheel;
    struct timer_node nodes[N];
    uint64_t due_at[N]; /* the later of its expiry and the wheel's time when it was set */
    uint64_t order[N];  /* 0: not armed */
    uint64_t now, seq;
    struct lb_random random;
};

static uint64_t below(struct model *m, uint64_t bound)
{
    return lb_random_scale(lb_random_next(&m->random), bound);
}

static uint64_t any_span(struct model *m) /* every magnitude as likely as every other */
{
    return lb_random_next(&m->random) >> (24 + below(m, 40));
}

static void model_change(struct model *m)
{
    size_t i = below(m, N);

    if (below(m, 4) == 0) {
        timer_wheel_cancel(&m->wheel, &m->nodes[i]);
        m->order[i] = 0;
        return;
    }
    uint64_t at = m->now + any_span(m);
    if (below(m, 10) == 0) {
        at = m->now - below(m, m->now);
    }
    timer_wheel_set(&m->wheel, &m->nodes[i], at);
    m->due_at[i] = at > m->now ? at : m->now;
    m->order[i] = ++m->seq;
}

static size_t model_earliest(const struct model *m)
{
    size_t best = N;

    for (size_t i = 0; i < N; i++) {
        if (m->order[i] && (best == N || m->due_at[i] < m->due_at[best] ||
                            (m->due_at[i] == m->due_at[best] && m->order[i] < m->order[best]))) {
            best = i;
        }
    }
    return best;
}

static void model_check_next(struct model *m)
{
    uint64_t next = timer_wheel_next_ms(&m->wheel);
    size_t best = model_earliest(m);

    if (best == N) {
        assert_int_equal(next, UINT64_MAX);
        return;
    }
    assert_true(next <= m->due_at[best] && next >= m->now);
    if (m->due_at[best] / 64 == m->now / 64) {
        assert_int_equal(next, m->due_at[best]);
    }
}

static void model_move_time(struct model *m)
{
    uint64_t to = m->now + any_span(m);
    struct timer_node *node;

    if (below(m, 2)) {
        to = timer_wheel_next_ms(&m->wheel) == UINT64_MAX ? to : timer_wheel_next_ms(&m->wheel);
    }
    while ((node = timer_wheel_expire(&m->wheel, to))) {
        size_t best = model_earliest(m);
        assert_true(best < N && m->due_at[best] <= to);
        assert_ptr_equal(node, &m->nodes[best]);
        m->now = m->due_at[best];
        m->order[best] = 0;
        if (below(m, 3) == 0) {
            model_change(m); /* a callback at work */
        }
    }
    size_t best = model_earliest(m);
    assert_true(best == N || m->due_at[best] > to);
    m->now = to;
}

static void test_against_the_model(void **state)
{
    static struct model m;

    (void)state;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        memset(&m, 0, sizeof(m));
        lb_random_init(&m.random, seed);
        m.now = seed % 2 ? 1 : lb_random_next(&m.random) >> 16;
        timer_wheel_init(&m.wheel, m.now);
        for (int step = 0; step < 1500; step++) {
            if (below(&m, 4)) {
                model_change(&m);
            } else {
                model_move_time(&m);
            }
            model_check_next(&m);
            timer_wheel_check(&m.wheel);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_fires_at_its_tick_and_not_before),
        cmocka_unit_test(test_sleeping_until_next_is_never_late),
        cmocka_unit_test(test_wakeups_are_few),
        cmocka_unit_test(test_one_tick_keeps_the_order_it_was_set_in),
        cmocka_unit_test(test_cancel_and_move),
        cmocka_unit_test(test_the_past_is_due_at_once),
        cmocka_unit_test(test_due_nodes_may_be_cancelled_and_moved),
        cmocka_unit_test(test_never_is_far_away),
        cmocka_unit_test(test_against_the_model),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
