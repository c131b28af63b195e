/*
 * sidecar/shared/latency_window.h: the latencies of the last minute, for their percentiles.
 *
 * Slots of ten seconds with logarithmic buckets, eight for each doubling: a percentile is at most 9 % above
 * the true one, never below. One thread adds; any thread sums, and may miss what is added meanwhile. Time is
 * an argument.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LATENCY_WINDOW_H
#define TSIDE_LATENCY_WINDOW_H

#include <stdatomic.h>
#include <stdint.h>

#define LATENCY_SLOTS   7 /* the one at hand, and six that are whole */
#define LATENCY_SLOT_MS 10000
#define LATENCY_BUCKETS 200 /* up to 2^27 us, which are two minutes; the last one holds all above */

struct latency_slot {
    _Atomic uint32_t number; /* of its ten seconds, plus 1; 0: never used */
    _Atomic uint32_t count[LATENCY_BUCKETS];
};

/* All zero: nothing was added. */
struct latency_window {
    struct latency_slot slot[LATENCY_SLOTS];
};

struct latency_sum {
    uint64_t samples;
    uint64_t count[LATENCY_BUCKETS];
};

void latency_add(struct latency_window *window, uint64_t us, uint64_t now_ms);
/* Adds what the window holds. */
void latency_sum(const struct latency_window *window, uint64_t now_ms, struct latency_sum *sum);
/* The least of the upper bounds, in microseconds, that this share of the samples stays within. 0 without samples. */
uint64_t latency_percentile(const struct latency_sum *sum, unsigned percent);

#endif
