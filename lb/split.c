/*
 * lb/split.c: weighted rendezvous hashing, see lb/split.h.
 *
 * With u uniform in (0, 1), -ln(u) / w is the waiting time for an event of rate w, and of several
 * such clocks number i rings first with probability w[i] / sum of w. No entry's clock depends on
 * another's name or weight; that is the stability.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/split.h"

#include <assert.h>
#include <math.h>

/* The finaliser of splitmix64: every bit of the input reaches every bit of the result. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* FNV-1a, mixed. Part of what all hosts must agree on: never change it. */
static uint64_t hash_name(const char *name)
{
    uint64_t hash = 0xcbf29ce484222325u;

    for (; *name; name++) {
        hash = (hash ^ (uint8_t)*name) * 0x100000001b3u;
    }
    return mix(hash);
}

bool lb_split_init(struct lb_split *split, const struct lb_split_entry entries[], size_t n)
{
    uint64_t total = 0;

    if (n > LB_SPLIT_ENTRIES_MAX) {
        return false;
    }
    for (size_t i = 0; i < n; i++) {
        if (entries[i].weight > LB_WEIGHT_MAX) {
            return false;
        }
        total += entries[i].weight;
    }
    if (total == 0) {
        return false;
    }
    split->n = (uint32_t)n;
    split->total = total;
    for (size_t i = 0; i < n; i++) {
        split->weight[i] = entries[i].weight;
        split->name_hash[i] = hash_name(entries[i].name);
    }
    return true;
}

static double ring_time(uint64_t hash, uint32_t weight)
{
    double u = ((double)(hash >> 11) + 0.5) * 0x1p-53; /* never 0, never 1 */
    return -log(u) / weight;
}

uint32_t lb_split_pick(const struct lb_split *split, uint64_t point)
{
    double first_time = HUGE_VAL;
    uint32_t first = 0;

    for (uint32_t i = 0; i < split->n; i++) {
        if (split->weight[i] == split->total) {
            return i; /* the usual rule has one cluster */
        }
        if (split->weight[i] == 0) {
            continue;
        }
        double time = ring_time(mix(mix(point) ^ split->name_hash[i]), split->weight[i]);
        if (time < first_time) {
            first_time = time;
            first = i;
        }
    }
    assert(split->weight[first] > 0);
    return first;
}

bool lb_share_hit(uint32_t percent_e2, uint64_t point)
{
    return lb_random_scale(point, 10000) < percent_e2;
}
