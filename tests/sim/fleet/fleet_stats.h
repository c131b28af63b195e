/*
 * tests/sim/fleet/fleet_stats.h: latencies as a histogram with 32 classes to each doubling.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FLEET_STATS_H
#define TSIDE_TESTS_SIM_FLEET_STATS_H

#include <stdint.h>

#define FLEET_CLASSES_PER_DOUBLING 32
#define FLEET_CLASSES              (32 * FLEET_CLASSES_PER_DOUBLING)

/* All zero: empty. */
struct fleet_histogram {
    uint64_t n[FLEET_CLASSES];
    uint64_t total;
};

void fleet_histogram_add(struct fleet_histogram *histogram, double us);
/* In microseconds, right to about 2 %. share is 0 to 1. 0 where nothing was added. */
double fleet_histogram_at(const struct fleet_histogram *histogram, double share);

#endif
