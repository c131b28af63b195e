/*
 * sidecar/shared/counters.h: numbers that one thread writes and anyone may read.
 *
 * Each worker has one `struct counters` of its own; plain stores by the owner (no locked
 * instruction), relaxed loads by readers.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_COUNTERS_H
#define TSIDE_SIDECAR_SHARED_COUNTERS_H

#include <stdatomic.h>
#include <stdint.h>

enum metric {
#define METRIC(id, kind, name, labels, help) METRIC_##id,
#include "sidecar/base/metric.def"
    METRIC_MAX
};

struct counters {
    _Atomic uint64_t v[METRIC_MAX];
};

/* The owner's thread only. */
static inline void counter_own_add(_Atomic uint64_t *counter, uint64_t n)
{
    uint64_t now = atomic_load_explicit(counter, memory_order_relaxed);
    atomic_store_explicit(counter, now + n, memory_order_relaxed);
}

static inline void counter_add(struct counters *counters, enum metric metric, uint64_t n)
{
    counter_own_add(&counters->v[metric], n);
}

static inline void counter_sub(struct counters *counters, enum metric metric, uint64_t n)
{
    counter_own_add(&counters->v[metric], (uint64_t)0 - n);
}

static inline uint64_t counter_get(const struct counters *counters, enum metric metric)
{
    return atomic_load_explicit(&counters->v[metric], memory_order_relaxed);
}

#endif
