/*
 * sidecar/shared/tuple_breaker.c: see sidecar/shared/tuple_breaker.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/tuple_breaker.h"

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

static bool swap(_Atomic uint64_t *p, uint64_t *seen, uint64_t next)
{
    return atomic_compare_exchange_weak_explicit(p, seen, next, memory_order_relaxed,
                                                 memory_order_relaxed);
}

/* ---- coming in ------------------------------------------------------------------------------- */

enum breaker_entry tuple_breaker_ask(const struct tuple_breaker *breaker,
                                     const struct lb_breaker_rule *rule, uint64_t now_ms)
{
    uint64_t word = load(&breaker->word), next;
    if (lb_breaker_state(word) == LB_BREAKER_CLOSED) {
        return BREAKER_PASSED;
    }
    return lb_breaker_probe(word, rule, now_ms, &next) ? BREAKER_PROBE : BREAKER_REFUSED;
}

enum breaker_entry tuple_breaker_enter(struct tuple_breaker *breaker,
                                       const struct lb_breaker_rule *rule, uint64_t now_ms)
{
    uint64_t word = load(&breaker->word), next;
    do {
        if (lb_breaker_state(word) == LB_BREAKER_CLOSED) {
            return BREAKER_PASSED;
        }
        if (!lb_breaker_probe(word, rule, now_ms, &next)) {
            return BREAKER_REFUSED;
        }
    } while (!swap(&breaker->word, &word, next));
    return BREAKER_PROBE;
}

/* ---- the window ------------------------------------------------------------------------------ */

static void count(struct tuple_breaker *breaker, uint64_t now_ms, enum lb_result result)
{
    uint64_t bucket = lb_breaker_bucket(now_ms);
    _Atomic uint64_t *slot = &breaker->slots[lb_breaker_slot(bucket)];
    uint64_t seen = load(slot);
    if (lb_breaker_is_of(seen, bucket)) {
        /* The slot is this bucket's for as long as any clock is near it. */
        atomic_fetch_add_explicit(slot, lb_breaker_one(result), memory_order_relaxed);
        return;
    }
    while (!swap(slot, &seen, lb_breaker_count(seen, bucket, result))) {
    }
}

static struct lb_breaker_counts window_of(const struct tuple_breaker *breaker, uint64_t now_ms)
{
    struct lb_breaker_counts sum = {0};
    uint64_t bucket = lb_breaker_bucket(now_ms);
    for (uint64_t i = 0; i < LB_BREAKER_BUCKETS && i <= bucket; i++) {
        lb_breaker_sum(load(&breaker->slots[lb_breaker_slot(bucket - i)]), bucket - i, &sum);
    }
    return sum;
}

static void empty_window(struct tuple_breaker *breaker)
{
    for (uint32_t i = 0; i < LB_BREAKER_SLOTS; i++) {
        atomic_store_explicit(&breaker->slots[i], 0, memory_order_relaxed);
    }
    atomic_store_explicit(&breaker->in_a_row, 0, memory_order_relaxed);
}

/* ---- the end of a call ----------------------------------------------------------------------- */

/* Of several threads that find it tripped one opens it. */
static enum breaker_news open_now(struct tuple_breaker *breaker, const struct lb_breaker_rule *rule,
                                  const struct breaker_told *told, struct lb_breaker_cause cause)
{
    uint64_t word = load(&breaker->word);
    uint64_t next = lb_breaker_opened(rule, told->now_ms, lb_random_next(told->random));
    atomic_store_explicit(&breaker->cause, (uint64_t)cause.errors << 32 | cause.calls,
                          memory_order_relaxed);
    do {
        if (lb_breaker_state(word) != LB_BREAKER_CLOSED) {
            return BREAKER_NO_NEWS;
        }
    } while (!swap(&breaker->word, &word, next));
    return BREAKER_OPENED;
}

static enum breaker_news count_error(struct tuple_breaker *breaker,
                                     const struct lb_breaker_rule *rule,
                                     const struct breaker_told *told)
{
    struct lb_breaker_cause cause;
    uint32_t in_a_row = atomic_fetch_add_explicit(&breaker->in_a_row, 1, memory_order_relaxed) + 1;
    count(breaker, told->now_ms, told->result);
    struct lb_breaker_counts window = window_of(breaker, told->now_ms);
    return lb_breaker_trips(rule, &window, in_a_row, &cause) ? open_now(breaker, rule, told, cause)
                                                             : BREAKER_NO_NEWS;
}

/* The state is the probe's alone to change while it is under way. */
static enum breaker_news end_probe(struct tuple_breaker *breaker,
                                   const struct lb_breaker_rule *rule,
                                   const struct breaker_told *told)
{
    uint64_t next = lb_breaker_probed(load(&breaker->word), rule, told->result, told->now_ms,
                                      lb_random_next(told->random));
    enum lb_breaker_state state = lb_breaker_state(next);
    if (state == LB_BREAKER_CLOSED) {
        empty_window(breaker);
    }
    atomic_store_explicit(&breaker->word, next, memory_order_release);
    return state == LB_BREAKER_CLOSED ? BREAKER_CLOSED
           : state == LB_BREAKER_OPEN ? BREAKER_OPENED
                                      : BREAKER_NO_NEWS;
}

/* Nothing that began before the last change counts. */
static bool is_news(const struct tuple_breaker *breaker, const struct breaker_told *told)
{
    uint64_t word = load(&breaker->word);
    return lb_breaker_state(word) == LB_BREAKER_CLOSED &&
           told->began_ms >= lb_breaker_at_ms(word) && told->result != LB_RESULT_NONE;
}

enum breaker_news tuple_breaker_tell(struct tuple_breaker *breaker,
                                     const struct lb_breaker_rule *rule,
                                     const struct breaker_told *told)
{
    if (told->is_probe) {
        return end_probe(breaker, rule, told);
    }
    if (!is_news(breaker, told)) {
        return BREAKER_NO_NEWS;
    }
    if (told->result != LB_RESULT_SUCCESS) {
        return count_error(breaker, rule, told);
    }
    count(breaker, told->now_ms, LB_RESULT_SUCCESS);
    if (atomic_load_explicit(&breaker->in_a_row, memory_order_relaxed) != 0) {
        atomic_store_explicit(&breaker->in_a_row, 0, memory_order_relaxed);
    }
    return BREAKER_NO_NEWS;
}

/* ---- looking at it --------------------------------------------------------------------------- */

struct lb_breaker_cause tuple_breaker_cause(const struct tuple_breaker *breaker)
{
    uint64_t cause = load(&breaker->cause);
    return (struct lb_breaker_cause){(uint32_t)(cause >> 32), (uint32_t)cause};
}

struct breaker_view tuple_breaker_view(const struct tuple_breaker *breaker, uint64_t now_ms)
{
    uint64_t word = load(&breaker->word);
    return (struct breaker_view){
        .breaker = breaker,
        .state = lb_breaker_state(word),
        .is_probing = lb_breaker_is_probing(word),
        .window = window_of(breaker, now_ms),
        .in_a_row = atomic_load_explicit(&breaker->in_a_row, memory_order_relaxed),
    };
}
