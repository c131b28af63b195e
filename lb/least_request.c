/*
 * lb/least_request.c: see lb/least_request.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/least_request.h"

/* Whether `other`, with one call more, would be no busier than `index`: cross-multiplied. */
static bool is_busier(const struct lb_draw *draw, const struct lb_pick *pick, uint32_t index,
                      uint32_t other)
{
    uint64_t weight = (uint64_t)lb_draw_weight(draw, index) * lb_share_of(pick, index);
    uint64_t others_weight = (uint64_t)lb_draw_weight(draw, other) * lb_share_of(pick, other);
    uint64_t inflight = pick->load(pick->owner, index).inflight;
    uint64_t others_inflight = (uint64_t)pick->load(pick->owner, other).inflight + 1;

    if (inflight == 1 && weight < others_weight) {
        return false;
    }
    return inflight * others_weight >= others_inflight * weight;
}

uint32_t lb_least_request_pick(const struct lb_draw *draw, const struct lb_pick *pick)
{
    uint32_t second;
    uint32_t first = lb_draw_pick_two(draw, pick, &second);
    return second != LB_NONE && is_busier(draw, pick, first, second) ? second : first;
}
