/*
 * sidecar/data/route/ejection.h: which endpoints of a set get no calls for a while (config `eject`).
 *
 * What is known of an endpoint is its state's, for all workers; how many of them a cluster can spare is asked of
 * a set, when one is to go. A pick looks at the endpoint that it has found, and only where that one is out at the
 * others: as long as nothing is ejected that costs one branch. The stage balance takes the slot of a trial, the
 * attempt holds it.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_ROUTE_EJECTION_H
#define TSIDE_SIDECAR_DATA_ROUTE_EJECTION_H

#include "sidecar/data/route/target_set.h"

/* Whether the endpoint is ejected: it gets no call, or those alone that are trials. state may be NULL. */
static inline bool ejection_is_out(const struct endpoint_state *state)
{
    return state && lb_eject_is_out(endpoint_health(state));
}
/* Out, and not to be tried either, now. */
bool ejection_is_barred(const struct endpoint_state *state, uint64_t now_ms);

/* Whether less than half of the set is well: then calls go to all of it. As of some milliseconds ago. */
bool ejection_fails_open(struct target_set *set, uint64_t now_ms);
/* How many of it are out now; exact, by walking it. */
uint32_t ejection_count(const struct target_set *set);

enum ejection_news { EJECTION_NO_NEWS = 0, EJECTION_OUT, EJECTION_BACK };

/* How a call to an endpoint of the set ended. */
struct ejection_told {
    enum lb_result result;
    bool is_trial; /* its slot is given back */
    uint64_t now_ms;
};

/* The same of a success that was no trial: most of what is told. */
static inline void ejection_tell_success(struct endpoint_state *state)
{
    if (atomic_load_explicit(&state->failures, memory_order_relaxed) != 0) {
        atomic_store_explicit(&state->failures, 0, memory_order_relaxed);
    }
}

enum ejection_news ejection_tell(struct target_set *set, uint32_t index,
                                 const struct lb_eject_rule *rule,
                                 const struct ejection_told *told);

#endif
