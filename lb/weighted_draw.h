/*
 * lb/weighted_draw.h: draws an index with probability weight / sum of weights, exactly.
 *
 * Walker's alias method in Vose's integer form: O(n) to build, O(1) a draw, no rounding: a weight
 * of 0 is never drawn. Built once per set of weights, immutable afterwards, freely shared by
 * threads.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_WEIGHTED_DRAW_H
#define TSIDE_LB_WEIGHTED_DRAW_H

#include "lb/candidate.h"

#include <stddef.h>

struct lb_draw;

/* Copies the weights. NULL when out of memory; n may be 0 and all weights 0 (then nothing is ever
 * drawn). Weights are at most 1,000,000, n at most 1,000,000. */
struct lb_draw *lb_draw_new(const uint32_t weights[], uint32_t n)
    __attribute__((warn_unused_result));
struct lb_draw *lb_draw_free(struct lb_draw *draw);

uint32_t lb_draw_count(const struct lb_draw *draw);
uint64_t lb_draw_total_weight(const struct lb_draw *draw);
uint32_t lb_draw_weight(const struct lb_draw *draw, uint32_t index);

/* LB_NONE where the total weight is 0. */
uint32_t lb_draw_pick(const struct lb_draw *draw, struct lb_random *random);

/* By weight among those that are neither excluded nor `except` (LB_NONE: no such one). LB_NONE where
 * none of them has weight. */
uint32_t lb_draw_pick_other(const struct lb_draw *draw, uint32_t except,
                            const struct lb_pick *pick);

/* Two different ones, drawn likewise; returns the first. *ret_second is LB_NONE where there is nothing to
 * choose between: the first has all the weight, or no other is left. */
uint32_t lb_draw_pick_two(const struct lb_draw *draw, const struct lb_pick *pick,
                          uint32_t *ret_second);

/* Dies where some candidate's share of all outcomes is not exactly its weight's. For tests: O(n),
 * and it allocates. */
void lb_draw_check(const struct lb_draw *draw);

#endif
