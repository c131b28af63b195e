/*
 * sidecar/shared/retry_budget.h: how many calls may be sent again, so that retries do not become the load.
 *
 * So many percent of the successes of the last ten seconds, and ten a second beside them, so that a tuple
 * with few calls may try again, too. After the retry budget of Finagle (com.twitter.finagle.service.RetryBudget);
 * successes stand where Finagle counts all requests: with every call failing only the floor is left.
 *
 * Threads share a budget without a lock. It is never overdrawn; where two draw the last piece at once both
 * may be refused. Time is an argument: microseconds of a clock that all of them share.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_RETRY_BUDGET_H
#define TSIDE_SIDECAR_SHARED_RETRY_BUDGET_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RETRY_BUDGET_SLOTS       10 /* of a second each: those of sidecar/shared/outcome_window.h */
#define RETRY_BUDGET_FLOOR_PER_S 10

/* All zero: nothing was drawn. */
struct retry_budget {
    _Atomic uint64_t floor_full_at;             /* lb/limiter.h */
    _Atomic uint64_t drawn[RETRY_BUDGET_SLOTS]; /* of the share: second, 32 bits | count, 32 */
};

/* One more try: drawn from the share of the successes, else from the floor. False: none is left. */
bool retry_budget_take(struct retry_budget *budget, uint32_t percent, uint64_t successes,
                       uint64_t now_us) __attribute__((warn_unused_result));

#endif
