/*
 * tests/sim/fleet/fleet_hour.c: 10,000 hosts, each of which calls all of 200 services, for an hour of virtual time.
 *
 * The k-th service has 1/k of the first one's calls (Zipf), and 50 endpoints in four regions. What happens:
 *   minute 15  the first ten endpoints of each service get weight 0, as before a restart
 *   minute 20  they are back
 *   minute 40  one region refuses everything, for five minutes; calls are tried again once, out of the budget
 *   minute 52  all regions do, for two minutes
 * False where the drained ones still get calls, retries pass their budget, or load is not even.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/fleet/fleet.h"
#include "tests/sim/fleet/fleet_service.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SERVICES    200
#define HOSTS       10000
#define ENDPOINTS   50
#define REGIONS     4
#define DRAINED     10
#define CALLS_PER_S 30000.0
#define MEAN_US     5000.0
#define LENGTH_S    3600
#define DRAIN_S     900
#define BACK_S      1200
#define OUTAGE_S    2400
#define MENDED_S    2700
#define ALL_OUT_S   3120
#define ALL_BACK_S  3240
#define STEP_MS     10 /* of what is looked at around a flip */
#define STEPS       400

/* Over all services. */
struct hour {
    uint64_t attempts[LENGTH_S], to_region[LENGTH_S], to_drained[LENGTH_S];
    uint64_t calls[LENGTH_S], errors[LENGTH_S], retried[LENGTH_S];
    uint64_t step_attempts[2][STEPS], step_drained[2][STEPS]; /* behind DRAIN_S, BACK_S */
    uint64_t to_endpoint[ENDPOINTS]; /* of the service at hand, in the quiet first quarter */
    struct fleet_histogram latencies;
};

static uint32_t second_of(double now_us)
{
    return now_us < LENGTH_S * 1e6 ? (uint32_t)(now_us / 1e6) : LENGTH_S - 1;
}

static void count_step(struct hour *hour, int flip, double since_ms, bool drained)
{
    if (since_ms >= 0 && since_ms < STEPS * STEP_MS) {
        hour->step_attempts[flip][(int)(since_ms / STEP_MS)]++;
        hour->step_drained[flip][(int)(since_ms / STEP_MS)] += drained;
    }
}

static void on_attempt(void *owner, double now_us, uint32_t endpoint)
{
    struct hour *hour = owner;
    uint32_t second = second_of(now_us);
    bool drained = endpoint < DRAINED;
    hour->attempts[second]++;
    hour->to_region[second] += endpoint % REGIONS == 0;
    hour->to_drained[second] += drained;
    hour->to_endpoint[endpoint] += second < DRAIN_S;
    count_step(hour, 0, now_us / 1000 - DRAIN_S * 1000.0, drained);
    count_step(hour, 1, now_us / 1000 - BACK_S * 1000.0, drained);
}

static void on_call(void *owner, double now_us, double latency_us, bool failed, uint32_t tries)
{
    struct hour *hour = owner;
    uint32_t second = second_of(now_us);
    hour->calls[second]++;
    hour->errors[second] += failed;
    hour->retried[second] += tries > 1;
    fleet_histogram_add(&hour->latencies, latency_us);
}

/* Of how many calls the k-th service has. */
static double calls_per_s(uint32_t k)
{
    double sum = 0;
    for (uint32_t i = 1; i <= SERVICES; i++) {
        sum += 1.0 / i;
    }
    return CALLS_PER_S / (k + 1) / sum;
}

static struct fleet_plan plan_of(uint32_t k, double shrink)
{
    double rate = calls_per_s(k) / shrink;
    return (struct fleet_plan){
        .hosts = (uint32_t)(HOSTS / shrink),
        .endpoints = ENDPOINTS,
        .threads = (uint32_t)ceil(rate * MEAN_US / 1e6 / ENDPOINTS / 0.6),
        .calls_per_s = rate,
        .mean_us = MEAN_US,
        .length_s = LENGTH_S,
        .timeout_us = 1e6,
        .refresh_ms = 1000,
        .policy = FLEET_P2C,
        .seed = k + 1,
        .light_weight = 10,
        .retries = 1,
        .budget_percent = 20,
        .faults = {{OUTAGE_S, MENDED_S, 0, (ENDPOINTS + REGIONS - 1) / REGIONS, REGIONS, 0, 1},
                   {ALL_OUT_S, ALL_BACK_S, 0, ENDPOINTS, 1, 0, 1}},
        .flips = {{DRAIN_S, DRAINED, 0}, {BACK_S, DRAINED, 10}},
    };
}

/* The busiest endpoint's calls over the mean, and what chance alone may give it: three and a half deviations of
 * a Poisson number. False: it has a tenth of the mean more than that. */
static bool print_spread(uint32_t k, const struct hour *hour)
{
    double sum = 0, most = 0;
    for (uint32_t i = 0; i < ENDPOINTS; i++) {
        sum += (double)hour->to_endpoint[i];
        most = fmax(most, (double)hour->to_endpoint[i]);
    }
    double mean = sum / ENDPOINTS, chance = 1 + 3.5 / sqrt(mean);
    if (k == 0 || k == 9 || k == 49 || k == SERVICES - 1) {
        printf("| %u | %.0f | %.3f | %.3f |\n", k + 1, sum / DRAIN_S, most / mean, chance);
    }
    return mean < 100 || most / mean < chance + 0.1;
}

static uint64_t sum_of(const uint64_t *values, uint32_t from, uint32_t to)
{
    uint64_t sum = 0;
    for (uint32_t i = from; i < to; i++) {
        sum += values[i];
    }
    return sum;
}

static double share(const uint64_t *part, const uint64_t *whole, uint32_t from, uint32_t to)
{
    uint64_t all = sum_of(whole, from, to);
    return all ? 100.0 * (double)sum_of(part, from, to) / (double)all : 0;
}

static void print_outage(const struct hour *hour)
{
    static const int span[][2] = {{-60, 0},   {0, 1},     {1, 10},    {10, 60},   {60, 300},
                                  {300, 310}, {310, 720}, {720, 840}, {840, 850}, {850, 1200}};
    printf(
        "\n| second of the outage | attempts per call | to the region %% | calls that fail %% |\n"
        "| --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof span / sizeof span[0]; i++) {
        uint32_t from = (uint32_t)(OUTAGE_S + span[i][0]);
        uint32_t to = (uint32_t)(OUTAGE_S + span[i][1]);
        printf("| %d to %d | %.3f | %.2f | %.3f |\n", span[i][0], span[i][1],
               share(hour->attempts, hour->calls, from, to) / 100,
               share(hour->to_region, hour->attempts, from, to),
               share(hour->errors, hour->calls, from, to));
    }
}

static void print_flip(const struct hour *hour, int flip, const char *name)
{
    printf("\n%s, ms behind it, share of the ten %%:", name);
    for (int i = 0; i < STEPS; i += i < 12 ? 2 : 97) {
        printf(" %d: %.2f", i * STEP_MS,
               share(hour->step_drained[flip], hour->step_attempts[flip], (uint32_t)i,
                     (uint32_t)i + 2));
    }
    printf("\n");
}

static bool write_series(const struct hour *hour, const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file) {
        return false;
    }
    fprintf(file, "second,calls,attempts,errors,retried,to_region,to_drained\n");
    for (uint32_t i = 0; i < LENGTH_S; i++) {
        fprintf(file, "%u,%llu,%llu,%llu,%llu,%llu,%llu\n", i, (unsigned long long)hour->calls[i],
                (unsigned long long)hour->attempts[i], (unsigned long long)hour->errors[i],
                (unsigned long long)hour->retried[i], (unsigned long long)hour->to_region[i],
                (unsigned long long)hour->to_drained[i]);
    }
    fprintf(file, "\nstep_ms,attempts,to_drained,attempts_back,to_drained_back\n");
    for (int i = 0; i < STEPS; i++) {
        fprintf(file, "%d,%llu,%llu,%llu,%llu\n", i * STEP_MS,
                (unsigned long long)hour->step_attempts[0][i],
                (unsigned long long)hour->step_drained[0][i],
                (unsigned long long)hour->step_attempts[1][i],
                (unsigned long long)hour->step_drained[1][i]);
    }
    return fclose(file) == 0;
}

/* No call to what was drained once the news is everywhere; retries within the budget. */
static bool is_as_promised(const struct hour *hour)
{
    double tried = share(hour->attempts, hour->calls, OUTAGE_S, MENDED_S) / 100;
    return sum_of(hour->to_drained, DRAIN_S + 1, BACK_S) == 0 && tried <= 1.3;
}

bool fleet_hour(bool quick, const char *series)
{
    static struct hour hour;
    const double shrink = quick ? 100 : 1;
    const struct fleet_watch watch = {on_attempt, on_call, &hour};
    bool even = true;
    printf("| service | calls/s | busiest endpoint over the mean | chance |\n| --- | --- | --- | "
           "--- |\n");
    for (uint32_t k = 0; k < SERVICES; k += quick ? 20 : 1) {
        struct fleet_plan plan = plan_of(k, shrink);
        memset(hour.to_endpoint, 0, sizeof hour.to_endpoint);
        fleet_service_run(&plan, &watch);
        even = print_spread(k, &hour) && even;
        fflush(stdout);
    }
    printf("\n%llu calls\n", (unsigned long long)sum_of(hour.calls, 0, LENGTH_S));
    print_outage(&hour);
    print_flip(&hour, 0, "weight 0");
    print_flip(&hour, 1, "back");
    return (!series || write_series(&hour, series)) && even && is_as_promised(&hour);
}
