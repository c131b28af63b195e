/*
 * p2c_sim_test.c: what the score of lb/p2c.h promises, in a simulation of one client in virtual
 * time.
 *
 * Calls arrive at random (Poisson) and take 2.5 ms plus an exponential 2.5 ms; endpoint 0 may be
 * slower, or fail in half a millisecond, for part of the run. No retries, no ejection: the score
 * alone. Every claim is the mean of five seeds.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/p2c.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* cmocka wants the four above first */
#include <cmocka.h>

#define ENDPOINTS_MAX   32
#define INFLIGHT_MAX    4096
#define MEDIAN_EVERY    32 /* calls: the owner's median may be some calls old */
#define SEEDS           5
#define SERVICE_MEAN_US 5000.0
#define TIMEOUT_US      1e6

struct scenario {
    uint32_t n;
    uint32_t weights[ENDPOINTS_MAX];
    double calls_per_s;
    double length_s;
    double fault_from_s, fault_to_s; /* endpoint 0 */
    double slower;                   /* factor while the fault lasts; 0: none */
    bool fails_fast;
};

struct call {
    double end_us, latency_us;
    uint32_t endpoint;
    bool failed;
};

struct endpoint {
    double ewma_us, last_us;
    uint32_t inflight;
};

struct sim {
    const struct scenario *scenario;
    struct lb_draw *draw;
    struct lb_random random;
    struct endpoint endpoints[ENDPOINTS_MAX];
    struct lb_set_load set;
    double now_us;
    struct call heap[INFLIGHT_MAX]; /* by end, the earliest first */
    size_t inflight;
    uint64_t calls, errors, picked[ENDPOINTS_MAX];
};

struct outcome {
    double error_percent;
    double percent[ENDPOINTS_MAX]; /* of the calls, per endpoint */
};

static double uniform(struct sim *sim) /* in (0, 1) */
{
    return ((double)(lb_random_next(&sim->random) >> 11) + 0.5) * 0x1p-53;
}

static double exponential(struct sim *sim, double mean)
{
    return -log(uniform(sim)) * mean;
}

static void heap_push(struct sim *sim, struct call call)
{
    size_t i = sim->inflight++;

    assert_true(sim->inflight < INFLIGHT_MAX);
    while (i > 0 && call.end_us < sim->heap[(i - 1) / 2].end_us) {
        sim->heap[i] = sim->heap[(i - 1) / 2];
        i = (i - 1) / 2;
    }
    sim->heap[i] = call;
}

static struct call heap_pop(struct sim *sim)
{
    struct call top = sim->heap[0];
    struct call last = sim->heap[--sim->inflight];
    size_t i = 0;

    for (size_t child = 1; child < sim->inflight; child = 2 * i + 1) {
        child += child + 1 < sim->inflight && sim->heap[child + 1].end_us < sim->heap[child].end_us;
        if (last.end_us <= sim->heap[child].end_us) {
            break;
        }
        sim->heap[i] = sim->heap[child];
        i = child;
    }
    sim->heap[i] = last;
    return top;
}

static struct lb_load load_of(const void *owner, uint32_t index)
{
    const struct sim *sim = owner;
    const struct endpoint *endpoint = &sim->endpoints[index];
    double idle_ms = (sim->now_us - endpoint->last_us) / 1000;

    return (struct lb_load){.ewma_us = lb_ewma_now(endpoint->ewma_us, idle_ms),
                            .inflight = endpoint->inflight};
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static const struct lb_set_load *set_load_of(const void *owner)
{
    const struct sim *sim = owner;
    return &sim->set;
}

static void find_median(struct sim *sim)
{
    double values[ENDPOINTS_MAX];
    size_t n = 0;

    for (uint32_t i = 0; i < sim->scenario->n; i++) {
        double ewma_us = load_of(sim, i).ewma_us;
        if (ewma_us > 0) {
            values[n++] = ewma_us;
        }
    }
    qsort(values, n, sizeof(values[0]), by_value);
    sim->set.median_ewma_us = n ? values[(n - 1) / 2] : 0;
}

static void finish_call(struct sim *sim)
{
    struct call call = heap_pop(sim);
    struct endpoint *endpoint = &sim->endpoints[call.endpoint];
    double sample_us = call.latency_us;

    if (call.failed) {
        sample_us =
            lb_failure_sample(sample_us, TIMEOUT_US, endpoint->ewma_us, sim->set.median_ewma_us);
    }
    endpoint->ewma_us =
        lb_ewma_next(endpoint->ewma_us, sample_us, (call.end_us - endpoint->last_us) / 1000);
    endpoint->last_us = call.end_us;
    endpoint->inflight--;
    sim->set.inflight--;
}

static void begin_call(struct sim *sim)
{
    const struct scenario *scenario = sim->scenario;
    const struct lb_pick pick = {NULL, &sim->random, load_of, sim};
    uint32_t index = lb_p2c_pick(sim->draw, set_load_of, &pick);
    double latency_us = SERVICE_MEAN_US / 2 + exponential(sim, SERVICE_MEAN_US / 2);
    bool fault = index == 0 && sim->now_us > scenario->fault_from_s * 1e6 &&
                 sim->now_us < scenario->fault_to_s * 1e6;
    bool failed = fault && scenario->fails_fast;

    assert_true(index < scenario->n);
    latency_us *= fault && scenario->slower > 0 ? scenario->slower : 1;
    latency_us = failed ? 500 : latency_us;
    if (latency_us > TIMEOUT_US) {
        latency_us = TIMEOUT_US;
        failed = true;
    }
    sim->endpoints[index].inflight++;
    sim->set.inflight++;
    sim->picked[index]++;
    sim->calls++;
    sim->errors += failed;
    heap_push(sim, (struct call){.end_us = sim->now_us + latency_us,
                                 .latency_us = latency_us,
                                 .endpoint = index,
                                 .failed = failed});
}

static void run_seed(const struct scenario *scenario, uint64_t seed, struct outcome *outcome)
{
    static struct sim sim;
    double gap_us = 1e6 / scenario->calls_per_s;

    memset(&sim, 0, sizeof(sim));
    sim.scenario = scenario;
    sim.draw = lb_draw_new(scenario->weights, scenario->n);
    lb_random_init(&sim.random, seed);
    for (double next_us = 0; next_us < scenario->length_s * 1e6;
         next_us += exponential(&sim, gap_us)) {
        while (sim.inflight > 0 && sim.heap[0].end_us <= next_us) {
            sim.now_us = sim.heap[0].end_us;
            finish_call(&sim);
        }
        sim.now_us = next_us;
        if (sim.calls % MEDIAN_EVERY == 0) {
            find_median(&sim);
        }
        begin_call(&sim);
    }
    lb_draw_free(sim.draw);
    outcome->error_percent += 100.0 * (double)sim.errors / (double)sim.calls / SEEDS;
    for (uint32_t i = 0; i < scenario->n; i++) {
        outcome->percent[i] += 100.0 * (double)sim.picked[i] / (double)sim.calls / SEEDS;
    }
}

static struct outcome run(const struct scenario *scenario)
{
    struct outcome outcome = {0};

    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        run_seed(scenario, seed, &outcome);
    }
    return outcome;
}

static void assert_between(const char *what, double got, double low, double high)
{
    print_message("             %s: %.4f\n", what, got);
    if (!(got >= low && got <= high)) {
        fail_msg("%s: %.4f is not within %g..%g", what, got, low, high);
    }
}

static struct scenario equal(uint32_t n, double calls_per_s, double length_s)
{
    struct scenario scenario = {.n = n, .calls_per_s = calls_per_s, .length_s = length_s};
    for (uint32_t i = 0; i < n; i++) {
        scenario.weights[i] = 10;
    }
    return scenario;
}

static void test_nine_to_one(void **state)
{
    struct scenario scenario = {.n = 2, .weights = {9, 1}, .calls_per_s = 50, .length_s = 200};

    (void)state;
    assert_between("50/s, 9:1, % to the first", run(&scenario).percent[0], 88, 91);
    scenario.calls_per_s = 2000;
    scenario.length_s = 20;
    assert_between("2000/s, 9:1, % to the first", run(&scenario).percent[0], 88, 91);
}

static void test_canary_of_half_a_percent(void **state)
{
    struct scenario scenario = equal(20, 50, 400);

    (void)state;
    scenario.weights[19] = 1; /* 1 of 191: 0.524 % */
    assert_between("50/s, canary, %", run(&scenario).percent[19], 0.4, 0.65);
    scenario.calls_per_s = 2000;
    scenario.length_s = 20;
    assert_between("2000/s, canary, %", run(&scenario).percent[19], 0.4, 0.65);
}

static void test_failing_fast_draws_few_errors(void **state)
{
    struct scenario scenario = equal(20, 50, 60);

    (void)state;
    scenario.fails_fast = true;
    scenario.fault_from_s = 15;
    scenario.fault_to_s = 45;
    assert_between("50/s, failing fast, errors %", run(&scenario).error_percent, 0.0001, 0.2);
    scenario.calls_per_s = 1000;
    struct outcome outcome = run(&scenario);
    assert_between("1000/s, failing fast, errors %", outcome.error_percent, 0.0001, 0.2);
    assert_between("1000/s, failing fast, its share", outcome.percent[0], 0, 2.4);
    scenario.length_s = 90; /* 15 s before, and barred for about 23 s since its last failure */
    assert_between("1000/s, back again, its share", run(&scenario).percent[0], 1.5, 3);
}

static void test_twenty_times_slower_gets_little(void **state)
{
    struct scenario scenario = equal(10, 500, 40);

    (void)state;
    scenario.slower = 20;
    scenario.fault_from_s = -1;
    scenario.fault_to_s = 1e9;
    assert_between("500/s, 20 x slower, %", run(&scenario).percent[0], 0.0001, 0.5);
    scenario.calls_per_s = 50;
    scenario.length_s = 200;
    assert_between("50/s, 20 x slower, %", run(&scenario).percent[0], 0.0001, 0.5);
}

static void test_hanging_draws_few_errors(void **state)
{
    struct scenario scenario = equal(20, 1000, 40);

    (void)state;
    scenario.slower = 1e6;
    scenario.fault_from_s = 10;
    scenario.fault_to_s = 40;
    assert_between("1000/s, hanging, errors %", run(&scenario).error_percent, 0.0001, 0.2);
}

static void test_a_healthy_set_is_shared_evenly(void **state)
{
    struct scenario scenario = equal(20, 2000, 10);
    struct outcome outcome = run(&scenario);

    (void)state;
    for (uint32_t i = 0; i < scenario.n; i++) {
        if (outcome.percent[i] < 4.5 || outcome.percent[i] > 5.5) {
            fail_msg("endpoint %u gets %.3f %%", i, outcome.percent[i]);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_nine_to_one),
        cmocka_unit_test(test_canary_of_half_a_percent),
        cmocka_unit_test(test_failing_fast_draws_few_errors),
        cmocka_unit_test(test_twenty_times_slower_gets_little),
        cmocka_unit_test(test_hanging_draws_few_errors),
        cmocka_unit_test(test_a_healthy_set_is_shared_evenly),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
