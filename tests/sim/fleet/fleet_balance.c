/*
 * tests/sim/fleet/fleet_balance.c: today's p2c beside Prequal's rule, on what one host can see.
 *
 * 50 endpoints with 16 threads each, calls of 5 ms, a timeout of a second, no retries, no ejection: the pick alone.
 * The same calls come from 10 hosts, which have about one call in flight to each endpoint, and from 10,000, which
 * see an endpoint every five seconds. False where today's policy is not what docs/balancing.md says of it.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/fleet/fleet.h"
#include "tests/sim/fleet/fleet_service.h"

#include <stdio.h>

#define ENDPOINTS 50
#define THREADS   16
#define MEAN_US   5000.0
#define LENGTH_S  40.0
#define WARM_S    15.0
#define FLIP_S    25.0

struct situation {
    const char *name;
    double load; /* of what all endpoints can do while they are well */
    struct fleet_fault fault;
    uint32_t light_n, light_weight;
    uint32_t marked;    /* so many endpoints, from 0 on, are those whose share is shown */
    double most_marked; /* in percent, of p2c on 10 hosts; 0: not looked at */
};

/* clang-format off */
static const struct situation SITUATIONS[] = {
    {"all equal, 60 %", 0.6, {0}, 0, 0, 1, 0},
    {"all equal, 90 %", 0.9, {0}, 0, 0, 1, 0},
    {"weights 1:9 (5 and 45), 30 %", 0.3, {0}, 5, 1, 5, 1.3},
    {"one 20 x slower, 60 %", 0.6, {0, 1e9, 0, 1, 1, 20, 0}, 0, 0, 1, 0.5},
    {"one 20 x slower, 90 %", 0.9, {0, 1e9, 0, 1, 1, 20, 0}, 0, 0, 1, 0.5},
    {"one fails in 0.5 ms, half the time, 60 %", 0.6, {0, 1e9, 0, 1, 1, 0, 0.5}, 0, 0, 1, 0.1},
    {"one fails in 0.5 ms, half the time, 90 %", 0.9, {0, 1e9, 0, 1, 1, 0, 0.5}, 0, 0, 1, 0.1},
    {"half of them 2 x slower, 45 %", 0.45, {0, 1e9, 0, 25, 1, 2, 0}, 0, 0, 25, 0},
    {"half of them 2 x slower, 68 %", 0.68, {0, 1e9, 0, 25, 1, 2, 0}, 0, 0, 25, 0},
    {"five become 5 x slower, 60 %", 0.6, {FLIP_S, 1e9, 0, 5, 1, 5, 0}, 0, 0, 5, 0},
    {"five become 5 x slower, 90 %", 0.9, {FLIP_S, 1e9, 0, 5, 1, 5, 0}, 0, 0, 5, 0},
};
/* clang-format on */

struct measured {
    const struct situation *situation;
    double from_us;
    struct fleet_histogram latencies;
    uint64_t calls, errors, attempts, to_marked;
};

static void on_attempt(void *owner, double now_us, uint32_t endpoint)
{
    struct measured *measured = owner;
    if (now_us >= measured->from_us) {
        measured->attempts++;
        measured->to_marked += endpoint < measured->situation->marked;
    }
}

static void on_call(void *owner, double now_us, double latency_us, bool failed, uint32_t tries)
{
    struct measured *measured = owner;
    (void)tries; /* there are no retries here */
    if (now_us >= measured->from_us) {
        measured->calls++;
        measured->errors += failed;
        fleet_histogram_add(&measured->latencies, latency_us);
    }
}

static void measure(const struct situation *situation, enum fleet_policy policy, uint32_t hosts,
                    bool quick, struct measured *measured)
{
    struct fleet_plan plan = {
        .hosts = hosts,
        .endpoints = ENDPOINTS,
        .threads = THREADS,
        .calls_per_s = ENDPOINTS * THREADS * situation->load / MEAN_US * 1e6,
        .mean_us = MEAN_US,
        .length_s = quick ? 0.15 : LENGTH_S,
        .timeout_us = 1e6,
        .refresh_ms = hosts > 100 ? 500 : 10,
        .policy = policy,
        .seed = 1,
        .light_n = situation->light_n,
        .light_weight = situation->light_weight,
        .faults = {situation->fault},
    };
    *measured = (struct measured){.situation = situation, .from_us = (quick ? 0.05 : WARM_S) * 1e6};
    if (situation->fault.from_s > 0) {
        measured->from_us = situation->fault.from_s * (quick ? 0 : 1e6);
    }
    const struct fleet_watch watch = {on_attempt, on_call, measured};
    fleet_service_run(&plan, &watch);
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void print_row(enum fleet_policy policy, const struct measured *measured)
{
    const struct fleet_histogram *latencies = &measured->latencies;
    printf("| %s | %s | %.1f | %.1f | %.1f | %.3f | %.2f |\n",
           policy == FLEET_RANDOM ? measured->situation->name : "", fleet_policy_name(policy),
           fleet_histogram_at(latencies, 0.5) / 1000, fleet_histogram_at(latencies, 0.99) / 1000,
           fleet_histogram_at(latencies, 0.999) / 1000, percent(measured->errors, measured->calls),
           percent(measured->to_marked, measured->attempts));
    fflush(stdout);
}

/* With few hosts there is enough to see. Of a fault what counts is what callers saw of it: half of such calls fail. */
static bool is_as_promised(const struct measured *measured)
{
    double most = measured->situation->most_marked;
    return most == 0 || percent(measured->to_marked, measured->attempts) <= most;
}

static void print_head(uint32_t hosts)
{
    printf("\n%u hosts:\n\n| situation | policy | p50 ms | p99 ms | p99.9 ms | errors %% | share "
           "of the marked %% |\n"
           "| --- | --- | --- | --- | --- | --- | --- |\n",
           hosts);
}

bool fleet_balance(bool quick)
{
    static const uint32_t hosts[] = {10, 10000};
    static struct measured measured;
    bool good = true;
    for (int h = 0; h < 2; h++) {
        print_head(hosts[h]);
        for (size_t i = 0; i < sizeof SITUATIONS / sizeof SITUATIONS[0]; i++) {
            for (int policy = 0; policy < FLEET_POLICIES; policy++) {
                measure(&SITUATIONS[i], (enum fleet_policy)policy, hosts[h], quick, &measured);
                print_row((enum fleet_policy)policy, &measured);
                bool looked_at = policy == FLEET_P2C && h == 0 && !quick;
                good = (!looked_at || is_as_promised(&measured)) && good;
            }
        }
    }
    return good;
}
