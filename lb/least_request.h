/*
 * lb/least_request.h: power of two choices over calls in flight, with weights that hold.
 *
 * Two different candidates are drawn by weight (Mitzenmacher, "The Power of Two Choices in
 * Randomized Load Balancing", 2001; Envoy's LEAST_REQUEST). The call goes to the first unless the
 * second, with this call on top, would be no busier than the first is now:
 *     n1 / w1 >= (n2 + 1) / w2
 * Why not simply the smaller n / w, or Envoy's w / (n + 1): both prefer the lighter or the heavier
 * candidate while hardly anything is in flight, and weights of 9:1 are lost. Here an idle set keeps
 * its weights exactly, and one that is busy or has a slow candidate evens out calls in flight per
 * weight. Latency is not looked at: see lb/p2c.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_LEAST_REQUEST_H
#define TSIDE_LB_LEAST_REQUEST_H

#include "lb/weighted_draw.h"

/* LB_NONE where nothing has weight or all that has is excluded. */
uint32_t lb_least_request_pick(const struct lb_draw *draw, const struct lb_pick *pick);

#endif
