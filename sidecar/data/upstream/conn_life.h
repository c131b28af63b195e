/*
 * sidecar/data/upstream/conn_life.h: for how many calls, and for how long, a connection serves. Pure.
 *
 * pool.mode short ends it behind one call; pool.max_calls and pool.max_age_ms end it up to a tenth early. How
 * much of that is the connection's own, drawn at its birth: those that were made together do not go
 * together. The rules are those of the tuple that asks, and may be others with each call.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_UPSTREAM_CONN_LIFE_H
#define TSIDE_SIDECAR_DATA_UPSTREAM_CONN_LIFE_H

#include "sidecar/data/route/route.h"

struct conn_life {
    uint64_t born_ms;
    uint32_t calls; /* that it was given to */
    uint32_t early; /* how much of the tenth, of 2^32 */
};

/* What the connection makes of a limit. A limit of up to ten stays what it is. */
static inline uint32_t conn_life_limit(const struct conn_life *life, uint32_t limit)
{
    return limit - (uint32_t)(((uint64_t)limit * life->early >> 32) / 10);
}

/* When its age ends it; UINT64_MAX: never. */
static inline uint64_t conn_life_end_ms(const struct conn_life *life,
                                        const struct route_pool *rules)
{
    return rules->max_age_ms ? life->born_ms + conn_life_limit(life, rules->max_age_ms)
                             : UINT64_MAX;
}

/* Whether no call is to be given to it any more. */
static inline bool conn_life_is_over(const struct conn_life *life, const struct route_pool *rules,
                                     uint64_t now_ms)
{
    uint32_t max_calls = rules->mode == DISC_POOL_MODE_SHORT ? 1 : rules->max_calls;
    return (max_calls && life->calls >= conn_life_limit(life, max_calls)) ||
           now_ms >= conn_life_end_ms(life, rules);
}

#endif
