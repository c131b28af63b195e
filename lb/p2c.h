/*
 * lb/p2c.h: power of two choices over peak EWMA, with weights that hold and failures that count.
 *
 * Two different candidates are drawn by weight; the first is kept unless its score exceeds four
 * times max(the second's score, the set's median EWMA):
 *     score = ewma * (1 + max(0, n - e - 3 * sqrt(e + 1)))
 * n: the candidate's calls in flight, e: the set's, times weight / total weight. A candidate
 * without an EWMA counts as the median. Why this and not the published forms: dividing the latency
 * by the weight, or forcing the better of two, breaks the weights (9:1 becomes 99:1 or 51:49); a
 * veto that needs a factor of four, and a load that counts only beyond chance, leave them alone
 * while all are well. tests/lb/p2c_sim_test.c holds it to that.
 *
 * The EWMA (Finagle's PeakEwma.scala): a slower sample replaces it at once, faster ones pull it
 * down with a time constant of LB_EWMA_TAU_MS. A failure is recorded as max(latency, timeout,
 * 2 * ewma), clamped to LB_FAILURE_CLAMP times the set's median: else a fast-failing endpoint would
 * draw traffic to itself, and a slow timeout would bar it for minutes. A value that is not
 * refreshed fades with the same time constant (lb_ewma_now()), so that a barred endpoint is tried
 * again.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_P2C_H
#define TSIDE_LB_P2C_H

#include "lb/candidate.h"
#include "lb/weighted_draw.h"

/* With two times, as first simulated, the noise of a busy host bars a healthy endpoint for seconds:
 * its share, measured with weights of 9:1, was anything from 36 to 97 %. Four keeps the weights,
 * and still bars an endpoint that is twenty times slower, or fails (LB_FAILURE_CLAMP). */
#define LB_VETO_FACTOR 4.0
/* Latencies below this are all the same: one hiccup of the host among calls of 0.1 ms must not bar
 * an endpoint, which then gets no calls that could clear it. */
#define LB_FLOOR_US      1000.0
#define LB_EWMA_TAU_MS   10000
#define LB_FAILURE_CLAMP 20
/* A faster answer pulls the EWMA down by a hundredth at least, however soon it came: at a thousand
 * calls a second the time constant alone would keep every peak for seconds, and the endpoint with
 * most of the calls has most of the peaks: measured, weights of 9:1 became 3:1. */
#define LB_EWMA_KEPT_MAX 0.99
#define LB_SAMPLE_MAX_US 30e6 /* where all endpoints fail there is no median to clamp to */

/* The set as a whole, as of about now; kept by the owner (a median may be some calls old). */
struct lb_set_load {
    uint64_t inflight;
    double median_ewma_us; /* 0: nothing measured yet */
};

/* Asked only where two candidates are compared. owner is pick's. */
typedef const struct lb_set_load *(*lb_set_load_fn)(const void *owner);

/* LB_NONE where nothing has weight or all that has is excluded. */
uint32_t lb_p2c_pick(const struct lb_draw *draw, lb_set_load_fn set_load,
                     const struct lb_pick *pick);

/* The EWMA after one more sample; ewma_us: as the last one left it, not faded, 0 means none yet.
 * elapsed_ms since the last sample. */
double lb_ewma_next(double ewma_us, double sample_us, double elapsed_ms);

/* What an EWMA is worth idle_ms after its last sample: the value for struct lb_load. */
double lb_ewma_now(double ewma_us, double idle_ms);

/* What an answered call is recorded as: its latency, but at most LB_STEP_MAX times the EWMA so far.
 * One slow answer is noise and must not move traffic; a second one is news. */
#define LB_STEP_MAX 1.9
double lb_success_sample(double latency_us, double ewma_us);

/* What a failed call is recorded as. median_us 0: max(latency, timeout). */
double lb_failure_sample(double latency_us, double timeout_us, double ewma_us, double median_us);

#endif
