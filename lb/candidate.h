/*
 * lb/candidate.h: the plain types in which balancing gets its endpoints.
 *
 * A policy never sees an endpoint: it sees indices 0..n-1, their weights (fixed while a set lives)
 * and, through one function pointer, their load as of now.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_CANDIDATE_H
#define TSIDE_LB_CANDIDATE_H

#include "lb/random.h"

#include <stdbool.h>
#include <stdint.h>

#define LB_NONE UINT32_MAX /* no candidate: the set is empty, drained or wholly excluded */

struct lb_load {
    double ewma_us;    /* peak EWMA of the latency; 0: never answered yet */
    uint32_t inflight; /* calls in flight, this host's */
};

/* Load of candidate `index` now. owner is what the policy was handed. */
typedef struct lb_load (*lb_load_fn)(const void *owner, uint32_t index);

/* Candidates that may not be picked again (already tried by this call). At most this many. */
#define LB_EXCLUDE_MAX 8
struct lb_exclude {
    uint32_t n;
    uint32_t index[LB_EXCLUDE_MAX];
};

#define LB_SHARE_ALL UINT32_C(65536) /* all of its weight */

/* What a policy may ask while it picks: about the call, and about the candidates as of now. */
struct lb_pick {
    const struct lb_exclude *exclude;                  /* NULL: none */
    struct lb_random *random;                          /* NULL where the policy draws nothing */
    lb_load_fn load;                                   /* NULL where the policy asks for no load */
    const void *owner;                                 /* handed to load and is_out */
    bool (*is_out)(const void *owner, uint32_t index); /* passed over, too; NULL: none is */
    /* Of LB_SHARE_ALL, what part of its weight it has now, at least 1; the same in all of a pick. NULL: all. Where
     * it is set, random is, too. */
    uint32_t (*share)(const void *owner, uint32_t index);
};

/* Whether the candidate may not be picked. */
static inline bool lb_is_excluded(const struct lb_pick *pick, uint32_t index)
{
    const struct lb_exclude *exclude = pick->exclude;
    for (uint32_t i = 0; exclude && i < exclude->n; i++) {
        if (exclude->index[i] == index) {
            return true;
        }
    }
    return pick->is_out && pick->is_out(pick->owner, index);
}

/* That part. */
static inline uint32_t lb_share_of(const struct lb_pick *pick, uint32_t index)
{
    return pick->share ? pick->share(pick->owner, index) : LB_SHARE_ALL;
}

#endif
