/*
 * sidecar/data/call/hedge.h: a second attempt while the first is unanswered (config `hedge_after_ms`).
 *
 * The first of the two that is answered wins; the other one ends by the rule of its connection's mode. A
 * hedge is for idempotent calls alone, is drawn from the budget of retries, goes to another endpoint, and
 * comes once in a call. The delay counts from the moment at which the callee has the request.
 *
 * "p95" and "p99" are of the tuple's latencies on this host within the last minute. What is measured is each
 * call's first attempt; one that is overtaken counts with the time it has had, else its tail would be missing
 * and the delay would shrink with each hedge. After "The Tail at Scale" (Dean, Barroso; CACM 2013).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_HEDGE_H
#define TSIDE_SIDECAR_DATA_CALL_HEDGE_H

#include "sidecar/data/call/attempt.h"

/* Samples below which a percentile says nothing. */
#define HEDGE_SAMPLES_MIN 100
/* A tuple of whose calls more than so many percent fail needs no more load. */
#define HEDGE_FAILED_MAX_PERCENT 10
/* How old a percentile may be. */
#define HEDGE_DELAY_REFRESH_MS 1000

/* Whether the rules let a hedge come, and none has yet. */
bool hedge_may_come(const struct call *call);
/* After how many milliseconds; 0: none comes. */
uint32_t hedge_delay_ms(const struct call *call);
/* It is due: whether it may begin. Its piece of the budget is drawn then. */
bool hedge_take(const struct call *call) __attribute__((warn_unused_result));
/* An attempt of a route that measures ends after so long: part of what the percentiles are made from. */
void hedge_learn(const struct attempt *attempt, enum attempt_result result, uint64_t us);

#endif
