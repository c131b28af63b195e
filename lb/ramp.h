/*
 * lb/ramp.h: what part of its weight a new candidate has.
 *
 * A server that has just begun is slow until its caches, its connections and its compiled code are there. So its
 * weight grows in a straight line, from a tenth to all of it (Envoy's slow start with aggression 1 and
 * min_weight_percent 10). Pure: time is an argument.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_RAMP_H
#define TSIDE_LB_RAMP_H

#include "lb/candidate.h"

#define LB_RAMP_FIRST (LB_SHARE_ALL / 10)

/* The share, LB_RAMP_FIRST to LB_SHARE_ALL, after age_ms of a ramp of ramp_ms. */
static inline uint32_t lb_ramp_share(uint64_t age_ms, uint32_t ramp_ms)
{
    if (age_ms >= ramp_ms) {
        return LB_SHARE_ALL;
    }
    return LB_RAMP_FIRST + (uint32_t)((LB_SHARE_ALL - LB_RAMP_FIRST) * age_ms / ramp_ms);
}

#endif
