/*
 * tests/sim/fleet/fleet_host.h: what one host knows of one service, and how it picks by that.
 *
 * The draws, the two policies of the product, its samples and its peak EWMA are those of lb/. The load of the set
 * is found as sidecar/data/route/target_set.c does it, though not as often: plan's refresh_ms.
 *
 * lexicographic(d) is the rule of Prequal (Wydrowski, Kleinberg, Rumble, Archer: "Load is not what you should
 * balance", NSDI 2024), on what the host itself can see instead of on probes: of d candidates, drawn by weight,
 * the cold one with the lowest latency; where all are hot, the one with the lowest load. Hot is what has more
 * calls in flight than FLEET_HOT_QUANTILE of the set.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FLEET_HOST_H
#define TSIDE_TESTS_SIM_FLEET_HOST_H

#include "lb/p2c.h"

/* 2^-0.25, Prequal's. */
#define FLEET_HOT_QUANTILE 0.84

enum fleet_policy {
    FLEET_RANDOM = 0,
    FLEET_P2C,
    FLEET_LEXICOGRAPHIC_2,
    FLEET_LEXICOGRAPHIC_4,
    FLEET_POLICIES
};

/* One endpoint, as one host sees it. */
struct fleet_view {
    float ewma_us;
    uint32_t at_ms; /* of the last sample */
    uint32_t inflight;
};

struct fleet_host {
    struct fleet_view *views; /* [n] */
    uint32_t n;
    uint32_t hot_above; /* calls in flight */
    struct lb_set_load load;
    double load_ms; /* when it was found; 0: never */
};

const char *fleet_policy_name(enum fleet_policy policy);

/* LB_NONE where nothing is left. The load of the set is refreshed where it is older than refresh_ms. */
uint32_t fleet_host_pick(struct fleet_host *host, enum fleet_policy policy,
                         const struct lb_draw *draw, const struct lb_pick *call, double now_ms,
                         double refresh_ms);
void fleet_host_begun(struct fleet_host *host, uint32_t endpoint);
/* An attempt has ended after so long. */
void fleet_host_ended(struct fleet_host *host, uint32_t endpoint, bool failed, double latency_us,
                      double timeout_us, double now_ms);

#endif
