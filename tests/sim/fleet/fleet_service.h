/*
 * tests/sim/fleet/fleet_service.h: one service, and all the hosts that call it, in virtual time.
 *
 * Calls arrive at random (Poisson), each at one of the hosts. An endpoint is `threads` threads behind one queue;
 * a call takes half of the mean, and an exponential time with the other half as its mean. What timed out is worked
 * on all the same. Retries are drawn from the product's budget (sidecar/shared/retry_budget.h), one per host.
 * Nothing is shared between two services, so a fleet is so many of these runs.
 *
 * A host learns of new weights up to FLEET_NEWS_MS after the operator has set them. Everything follows from the
 * seed.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FLEET_SERVICE_H
#define TSIDE_TESTS_SIM_FLEET_SERVICE_H

#include "tests/sim/fleet/fleet_host.h"
#include "tests/sim/fleet/fleet_stats.h"

#define FLEET_FAULTS_MAX 3
#define FLEET_FLIPS_MAX  2
#define FLEET_NEWS_MS    100
/* What a refused call takes. */
#define FLEET_FAIL_US 500

/* Something is wrong with every stride-th endpoint from `first` on, `n` of them. */
struct fleet_fault {
    double from_s, to_s;
    uint32_t first, n, stride;
    double slower; /* factor; 0: none */
    double fails;  /* share of the calls, in FLEET_FAIL_US */
};

/* From then on the first n endpoints have this weight, the others 10. */
struct fleet_flip {
    double at_s;
    uint32_t n, weight;
};

struct fleet_plan {
    uint32_t hosts, endpoints, threads;
    double calls_per_s; /* of all hosts */
    double mean_us;
    double length_s, warm_s; /* of the length; not counted */
    double timeout_us;
    double refresh_ms;
    enum fleet_policy policy;
    uint64_t seed;
    uint32_t light_n,
        light_weight; /* weights at the begin: of the first light_n; the others have 10 */
    uint32_t retries; /* of a call: 0 or 1 */
    uint32_t budget_percent;
    struct fleet_fault faults[FLEET_FAULTS_MAX];
    struct fleet_flip flips[FLEET_FLIPS_MAX];
};

/* Told of each attempt as it begins and each call as it ends. owner is the caller's. */
struct fleet_watch {
    void (*attempt)(void *owner, double now_us, uint32_t endpoint);
    void (*call)(void *owner, double now_us, double latency_us, bool failed, uint32_t tries);
    void *owner;
};

void fleet_service_run(const struct fleet_plan *plan, const struct fleet_watch *watch);

#endif
