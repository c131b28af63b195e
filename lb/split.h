/*
 * lb/split.h: the traffic key: which cluster (and zone) a call goes to.
 *
 * Weighted choice by a 64-bit point, either random or the hash of a call's LogID, caller or Extra
 * entry. Entries are kept in a fixed order (bytewise by name), so that one point gives one cluster
 * on every host and at every restart, and so that moving weight from one cluster to another moves
 * only that share of the points.
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
    uint64_t upto[LB_SPLIT_ENTRIES_MAX]; /* cumulated weight, ascending; entry i owns
                                            [upto[i-1], upto[i]) of the total */
};

/* Entries must come sorted bytewise by name (the rule parser sorts them). Returns false where n is
 * 0 or above the limit, or the total is 0. */
bool lb_split_init(struct lb_split *split, const struct lb_split_entry entries[], size_t n);

/* The entry that owns the point; points are uniform 64-bit values. */
uint32_t lb_split_pick(const struct lb_split *split, uint64_t point);

/* A percentage with two decimals (0.01 is the smallest step) against a point: percent_e2 is in
 * hundredths of a percent, 0..10000; 0 never, 10000 always. */
bool lb_share_hit(uint32_t percent_e2, uint64_t point);

#endif
