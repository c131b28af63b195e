/*
 * fleet_share_test.c: hosts that see the same numbers share a rate, and all of it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/fleet_share.h"

#include "tests/codec/random.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define assert_near(a, b)                                                                          \
    assert_true(fabs((double)(a) - (double)(b)) < 1e-6 * (1 + fabs((double)(b))))

/* Each of n hosts that have told these demands learns of the others. */
static void shares_of(double per_s, const double told[], uint32_t n, double ret[])
{
    for (uint32_t i = 0; i < n; i++) {
        double others[LB_FLEET_HOSTS_MAX + 8];
        uint32_t len = 0;
        for (uint32_t k = 0; k < n; k++) {
            if (k != i) {
                others[len++] = told[k];
            }
        }
        struct lb_fleet_member member = {.per_s = per_s, .told = told[i]};
        lb_fleet_learn(&member, others, len, len);
        assert_int_equal(member.hosts, n);
        ret[i] = member.share;
    }
}

static void test_alone(void **state)
{
    struct lb_fleet_member member;
    (void)state;
    lb_fleet_join(&member, 500);
    assert_near(member.share, 500);
    assert_true(lb_fleet_tell(&member, 20));
    lb_fleet_learn(&member, NULL, 0, 0);
    assert_near(member.share, 500);
    assert_true(lb_fleet_tell(&member, 2000));
    lb_fleet_learn(&member, NULL, 0, 0);
    assert_near(member.share, 500);
}

static void test_water_filling(void **state)
{
    static const struct {
        double per_s;
        double told[4];
        double share[4];
    } cases[] = {
        {100, {10, 10, 10, 10}, {25, 25, 25, 25}}, /* the rest is spread */
        {100, {70, 10, 10, 10}, {70, 10, 10, 10}}, /* all of it */
        {100,
         {90, 10, 10, 10},
         {70, 11, 11, 11}}, /* who asks for little gets it, and a tenth more */
        {100, {90, 90, 10, 10}, {40, 40, 11, 11}},
        {100, {500, 500, 500, 500}, {25, 25, 25, 25}},
        {100, {1000, 26, 25, 24}, {25.5, 25.5, 25.5, 25.5}},
        {1, {1000, 1000, 1000, 0.1}, {0.3, 0.3, 0.3, 0.11}},
    };
    (void)state;
    for (size_t c = 0; c < sizeof cases / sizeof cases[0]; c++) {
        double share[4];
        shares_of(cases[c].per_s, cases[c].told, 4, share);
        for (int i = 0; i < 4; i++) {
            assert_near(share[i], cases[c].share[i]);
        }
    }
}

/* Whatever they ask for: of what they ask for they get all of the rate and no more, nobody that asks for less than another gets
 * more of what is short, and nobody gets less than it asks for while another gets more than an equal part. */
static void test_random_fleets(void **state)
{
    struct random random = {11};
    (void)state;
    for (int round = 0; round < 3000; round++) {
        double told[LB_FLEET_HOSTS_MAX], share[LB_FLEET_HOSTS_MAX];
        uint32_t n = 1 + random_below(&random, round % 10 ? 12 : LB_FLEET_HOSTS_MAX);
        double per_s = 1 + random_below(&random, 5000), sum = 0, given = 0, most = 0;
        for (uint32_t i = 0; i < n; i++) {
            told[i] = 0.011 + random_below(&random, 1u << (1 + random_below(&random, 14))) / 3.0;
            sum += told[i];
        }
        shares_of(per_s, told, n, share);
        for (uint32_t i = 0; i < n; i++) {
            given += sum > per_s && share[i] > told[i] ? told[i] : share[i];
            most = share[i] > most ? share[i] : most;
            assert_true(share[i] > 0);
        }
        assert_near(given, per_s);
        for (uint32_t i = 0; i < n && sum > per_s; i++) {
            assert_true(share[i] <= told[i] * 1.100001);
            assert_true(share[i] >= told[i] * 0.999999 || share[i] >= most * 0.999999);
        }
    }
}

static void test_what_is_told(void **state)
{
    struct lb_fleet_member member;
    (void)state;
    lb_fleet_join(&member, 100);
    assert_false(lb_fleet_tell(&member, 0)); /* nothing, as before */
    assert_true(lb_fleet_tell(&member, 50));
    assert_near(member.told, 50);
    assert_false(lb_fleet_tell(&member, 50));
    assert_false(lb_fleet_tell(&member, 52)); /* no news */
    assert_false(lb_fleet_tell(&member, 48));
    assert_near(member.told, 50);
    assert_true(lb_fleet_tell(&member, 53));
    assert_true(lb_fleet_tell(&member, 40));
    assert_true(lb_fleet_tell(&member, 0.001));
    assert_near(member.told, 0);
    assert_false(lb_fleet_tell(&member, 0));
}

/* A host that asks for nothing keeps room for its first calls; more hosts than are listened to share equally. */
static void test_equal_parts(void **state)
{
    static const double others[LB_FLEET_HOSTS_MAX + 1] = {80, 30, 5};
    struct lb_fleet_member member;
    (void)state;
    lb_fleet_join(&member, 100);
    lb_fleet_learn(&member, others, 3, 3);
    assert_near(member.share, 25);
    assert_true(lb_fleet_tell(&member, 1));
    lb_fleet_learn(&member, others, LB_FLEET_HOSTS_MAX, 299);
    assert_near(member.share, 100 / 300.0);
    lb_fleet_learn(&member, others, LB_FLEET_HOSTS_MAX, LB_FLEET_HOSTS_MAX);
    assert_near(member.share, 100 / 101.0);
}

/* A bucket by shares lets as many through as they say, and bursts as long as the whole rate's. */
static void test_rate(void **state)
{
    struct lb_rate whole = lb_rate_of(1000, 200);
    (void)state;
    for (double share = 0.01; share < 2000; share *= 1.7) {
        struct lb_rate rate = lb_fleet_rate(&whole, lb_fleet_token(share));
        uint64_t full_at = 0, taken = 0;
        uint64_t seconds = share < 10 ? 2000 : 100;
        uint64_t step_us = share < 10 ? 1000 : 100; /* a bucket of one token waits that long */
        for (uint64_t us = 1; us <= seconds * 1000000; us += step_us) {
            taken += lb_limiter_take(full_at, &rate, us, &full_at);
        }
        double burst = share * 0.2 > 1 ? share * 0.2 : 1;
        assert_true(fabs((double)taken - share * (double)seconds) <=
                    burst + 1 + share * (double)seconds * 0.01);
    }
    assert_int_equal(lb_fleet_rate(&whole, lb_fleet_token(1000)).token, whole.token);
    assert_true(lb_fleet_token(0) > 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alone),         cmocka_unit_test(test_water_filling),
        cmocka_unit_test(test_random_fleets), cmocka_unit_test(test_what_is_told),
        cmocka_unit_test(test_equal_parts),   cmocka_unit_test(test_rate),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
