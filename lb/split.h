/*
 * lb/split.h: the traffic key: which cluster (and zone) a call goes to.
 *
 * Weighted choice by a 64-bit point, either random or the hash of a call's LogID, caller or Extra
 * entry. Weighted rendezvous hashing: point and name give every entry a number, the weight bends
 * it, the smallest wins. One point gives one cluster on every host and at every restart, whatever
 * the order of the entries. More weight for one entry only draws points to it, less only sends
 * points away; between two entries a shift of 10 % moves exactly that share of the points.
 * (Cumulated weights would shift the bounds of all entries between the two: with canary, canary2
 * and default, a larger canary would swap every user of canary2. No rule moves the least for three
 * and more.)
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_SPLIT_H
#define TSIDE_LB_SPLIT_H

#include "lb/random.h"

#include <stdbool.h>
#include <stddef.h>

#define LB_SPLIT_ENTRIES_MAX 64
#define LB_WEIGHT_MAX        1000000

struct lb_split_entry {
    const char *name; /* the cluster as the rule writes it, "default@lf" too; borrowed */
    uint32_t weight;
};

struct lb_split {
    uint32_t n;
    uint64_t total;
    uint32_t weight[LB_SPLIT_ENTRIES_MAX];
    uint64_t name_hash[LB_SPLIT_ENTRIES_MAX];
};

/* Keeps no name. Returns false, and leaves split alone, where n is 0 or above the limit, a weight
 * is above LB_WEIGHT_MAX, or the total is 0. Names must differ. */
bool lb_split_init(struct lb_split *split, const struct lb_split_entry entries[], size_t n)
    __attribute__((warn_unused_result));

/* The entry that owns the point, never one of weight 0; points are uniform 64-bit values. */
uint32_t lb_split_pick(const struct lb_split *split, uint64_t point);

/* A percentage with two decimals (0.01 is the smallest step) against a point: percent_e2 is in
 * hundredths of a percent, 0..10000; 0 never, 10000 always. A larger share hits the same points and
 * more. */
bool lb_share_hit(uint32_t percent_e2, uint64_t point);

#endif
