/*
 * tests/sim/fleet/fleet_stats.c: see fleet_stats.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/fleet/fleet_stats.h"

#include <math.h>

void fleet_histogram_add(struct fleet_histogram *histogram, double us)
{
    double class = us > 1 ? log2(us) * FLEET_CLASSES_PER_DOUBLING : 0;
    uint32_t i = class < FLEET_CLASSES - 1 ? (uint32_t) class : FLEET_CLASSES - 1;
    histogram->n[i]++;
    histogram->total++;
}

double fleet_histogram_at(const struct fleet_histogram *histogram, double share)
{
    uint64_t seen = 0;
    uint64_t wanted = (uint64_t)ceil((double)histogram->total * share);
    for (uint32_t i = 0; i < FLEET_CLASSES && histogram->total > 0; i++) {
        seen += histogram->n[i];
        if (seen >= wanted) {
            return exp2((i + 0.5) / FLEET_CLASSES_PER_DOUBLING);
        }
    }
    return 0;
}
