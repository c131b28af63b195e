/*
 * sidecar/shared/latency_window.c: see sidecar/shared/latency_window.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/latency_window.h"

/* Up to SUB microseconds one bucket each; above, SUB buckets for each doubling. */
#define SUB_BITS 3
#define SUB      (1u << SUB_BITS)

static unsigned bucket_of(uint64_t us)
{
    if (us < SUB) {
        return (unsigned)us;
    }
    unsigned shift = 63 - (unsigned)__builtin_clzll(us) - SUB_BITS;
    unsigned bucket = (shift << SUB_BITS) + (unsigned)(us >> shift);
    return bucket < LATENCY_BUCKETS ? bucket : LATENCY_BUCKETS - 1;
}

/* The largest value that goes into the bucket. */
static uint64_t bound_of(unsigned bucket)
{
    if (bucket < SUB) {
        return bucket;
    }
    unsigned shift = (bucket >> SUB_BITS) - 1;
    uint64_t mantissa = SUB + (bucket & (SUB - 1));
    return ((mantissa + 1) << shift) - 1;
}

static uint32_t number_at(uint64_t now_ms)
{
    return (uint32_t)(now_ms / LATENCY_SLOT_MS) + 1;
}

static void begin(struct latency_slot *slot, uint32_t number)
{
    for (unsigned i = 0; i < LATENCY_BUCKETS; i++) {
        atomic_store_explicit(&slot->count[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&slot->number, number, memory_order_release);
}

void latency_add(struct latency_window *window, uint64_t us, uint64_t now_ms)
{
    uint32_t number = number_at(now_ms);
    struct latency_slot *slot = &window->slot[number % LATENCY_SLOTS];
    if (atomic_load_explicit(&slot->number, memory_order_relaxed) != number) {
        begin(slot, number);
    }
    _Atomic uint32_t *count = &slot->count[bucket_of(us)];
    uint32_t n = atomic_load_explicit(count, memory_order_relaxed);
    atomic_store_explicit(count, n + 1, memory_order_relaxed);
}

void latency_sum(const struct latency_window *window, uint64_t now_ms, struct latency_sum *sum)
{
    uint32_t last = number_at(now_ms);
    for (unsigned i = 0; i < LATENCY_SLOTS; i++) {
        const struct latency_slot *slot = &window->slot[i];
        uint32_t number = atomic_load_explicit(&slot->number, memory_order_acquire);
        if (number == 0 || last - number >= LATENCY_SLOTS) {
            continue;
        }
        for (unsigned k = 0; k < LATENCY_BUCKETS; k++) {
            uint32_t n = atomic_load_explicit(&slot->count[k], memory_order_relaxed);
            sum->count[k] += n;
            sum->samples += n;
        }
    }
}

uint64_t latency_percentile(const struct latency_sum *sum, unsigned percent)
{
    uint64_t wanted = (sum->samples * percent + 99) / 100;
    uint64_t seen = 0;
    for (unsigned i = 0; i < LATENCY_BUCKETS && wanted > 0; i++) {
        seen += sum->count[i];
        if (seen >= wanted) {
            return bound_of(i);
        }
    }
    return 0;
}
