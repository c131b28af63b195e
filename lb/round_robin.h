/*
 * lb/round_robin.h: smooth weighted round robin (nginx's; Igor Sysoev's algorithm).
 *
 * Each pick adds every weight to its current value, takes the largest and takes the total off it:
 * weights 5,1,1 give a a b a c a a. Between two picks the current values sum to zero. One state per
 * worker and set; not thread-safe. O(n) a pick.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_ROUND_ROBIN_H
#define TSIDE_LB_ROUND_ROBIN_H

#include "lb/candidate.h"

#include <stddef.h>

struct lb_round_robin;

/* Copies the weights (at most 1,000,000 of at most 1,000,000). The sequence begins about where
 * `start` picks (any number) lead, so that hosts and workers that start together do not all begin
 * with the same endpoint. NULL when out of memory. */
struct lb_round_robin *lb_round_robin_new(const uint32_t weights[], uint32_t n, uint64_t start)
    __attribute__((warn_unused_result));
struct lb_round_robin *lb_round_robin_free(struct lb_round_robin *rr);

/* Goes on where `before`, of another version of the set, was: candidate i was was[i] there, or is new
 * (LB_NONE). What each was owed, as a share of a turn, is kept; the same set goes on exactly. */
void lb_round_robin_follow(struct lb_round_robin *rr, const struct lb_round_robin *before,
                           const uint32_t was[]);

/* LB_NONE where nothing has weight or all that has is excluded. Draws only where there
 * are shares, asks for no load. */
uint32_t lb_round_robin_pick(struct lb_round_robin *rr, const struct lb_pick *pick);

/* Dies where the current values do not sum to zero. */
void lb_round_robin_check(const struct lb_round_robin *rr);

#endif
