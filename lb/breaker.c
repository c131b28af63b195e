/*
 * lb/breaker.c: see lb/breaker.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/breaker.h"

#include "lb/random.h"

#define PROBING         (UINT64_C(1) << 15)
#define SUCCESSES_SHIFT 2
#define SUCCESSES_MASK  UINT64_C(0xff)
/* Of the cooling, each way. */
#define JITTER_PART 5

static uint64_t word_of(enum lb_breaker_state state, uint64_t successes, uint64_t at_ms)
{
    return at_ms << LB_BREAKER_AT_SHIFT | successes << SUCCESSES_SHIFT | (uint64_t)state;
}

static uint64_t successes_of(uint64_t word)
{
    return word >> SUCCESSES_SHIFT & SUCCESSES_MASK;
}

/* ---- the state ------------------------------------------------------------------------------- */

bool lb_breaker_is_probing(uint64_t word)
{
    return (word & PROBING) != 0;
}

bool lb_breaker_probe(uint64_t word, const struct lb_breaker_rule *rule, uint64_t now_ms,
                      uint64_t *ret_word)
{
    if (lb_breaker_is_probing(word) || now_ms < lb_breaker_at_ms(word)) {
        return false;
    }
    uint64_t successes = lb_breaker_state(word) == LB_BREAKER_OPEN ? 0 : successes_of(word);
    *ret_word = word_of(LB_BREAKER_HALF_OPEN, successes, now_ms + rule->probe_ms) | PROBING;
    return true;
}

uint64_t lb_breaker_probed(uint64_t word, const struct lb_breaker_rule *rule, enum lb_result result,
                           uint64_t now_ms, uint64_t random)
{
    switch (result) {
    case LB_RESULT_NONE:
        return word_of(LB_BREAKER_HALF_OPEN, successes_of(word), now_ms);
    case LB_RESULT_SUCCESS:
        if (successes_of(word) + 1 >= rule->successes) {
            return word_of(LB_BREAKER_CLOSED, 0, now_ms);
        }
        return word_of(LB_BREAKER_HALF_OPEN, successes_of(word) + 1, lb_breaker_at_ms(word));
    case LB_RESULT_FAILURE:
    case LB_RESULT_TIMEOUT:
        break;
    }
    return lb_breaker_opened(rule, now_ms, random);
}

uint64_t lb_breaker_opened(const struct lb_breaker_rule *rule, uint64_t now_ms, uint64_t random)
{
    uint64_t part = rule->cooling_ms / JITTER_PART;
    uint64_t cooling_ms = rule->cooling_ms - part + lb_random_scale(random, 2 * part + 1);
    return word_of(LB_BREAKER_OPEN, 0, now_ms + cooling_ms);
}

/* ---- the window ------------------------------------------------------------------------------ */

uint64_t lb_breaker_count(uint64_t slot, uint64_t bucket, enum lb_result result)
{
    uint64_t of_it = lb_breaker_is_of(slot, bucket) ? slot : lb_breaker_slot_word(bucket);
    return of_it + lb_breaker_one(result);
}

void lb_breaker_sum(uint64_t slot, uint64_t bucket, struct lb_breaker_counts *sum)
{
    if (lb_breaker_is_of(slot, bucket)) {
        sum->successes += (uint32_t)(slot >> LB_BREAKER_SUCCESS_SHIFT & 0xfffff);
        sum->failures += (uint32_t)(slot >> LB_BREAKER_FAILURE_SHIFT & 0xffff);
        sum->timeouts += (uint32_t)(slot & 0xffff);
    }
}

bool lb_breaker_trips(const struct lb_breaker_rule *rule, const struct lb_breaker_counts *window,
                      uint32_t in_a_row, struct lb_breaker_cause *ret_cause)
{
    uint32_t errors = window->failures + window->timeouts;
    uint32_t calls = errors + window->successes;
    if (rule->consecutive > 0 && in_a_row >= rule->consecutive) {
        *ret_cause = (struct lb_breaker_cause){in_a_row, in_a_row};
        return true;
    }
    if (calls >= rule->min_calls && errors >= rule->error_rate * calls) {
        *ret_cause = (struct lb_breaker_cause){errors, calls};
        return true;
    }
    return false;
}
