/*
 * lb/breaker.h: a circuit breaker as two kinds of words: its state, and the buckets of its window.
 *
 *     CLOSED --- an error, and the window says so ---> OPEN
 *     OPEN   --- cooling_ms, give or take a fifth ---> HALF_OPEN   by the call that finds it over
 *     HALF_OPEN: one call at a time, a probe, and none before probe_ms after the one before
 *         a probe fails ----------------------------> OPEN
 *         `successes` probes in a row are well -----> CLOSED, with an empty window
 *
 * As in gopkg's cloud/circuitbreaker, which Kitex uses (window of 10 s in buckets of 100 ms, cooling,
 * pace of probes, successes), with four differences. One probe at a time: there each of a crowd that
 * comes at the pace of probes is one, whatever the callee takes for them. A reply to a call that was
 * sent before the last change says nothing of the state now (there a slow timeout reopens). A probe
 * that ends without a word about the callee is no probe: the next call may be one at once. Hosts that
 * opened together do not probe together: the cooling differs by up to a fifth.
 *
 * All of it are functions of words: threads that share a breaker compute the next word here, and put
 * it in place by compare-and-swap (sidecar/shared/tuple_breaker.h). Time is an argument, in
 * milliseconds of a clock that never goes back; randomness too.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_BREAKER_H
#define TSIDE_LB_BREAKER_H

#include <stdbool.h>
#include <stdint.h>

/* What one call says about its callee. */
enum lb_result {
    LB_RESULT_NONE = 0, /* nothing: it never came so far, or was not about the callee */
    LB_RESULT_SUCCESS,
    LB_RESULT_FAILURE,
    LB_RESULT_TIMEOUT /* counts as a failure, and is shown apart */
};

enum lb_breaker_state { LB_BREAKER_CLOSED = 0, LB_BREAKER_OPEN, LB_BREAKER_HALF_OPEN };

#define LB_BREAKER_SUCCESSES_MAX 100

struct lb_breaker_rule {
    double error_rate;    /* opens at this share of errors, 0 to 1 */
    uint32_t min_calls;   /* below so many calls the share opens nothing */
    uint32_t consecutive; /* opens after so many errors in a row; 0: off */
    uint32_t cooling_ms;
    uint32_t probe_ms;
    uint32_t successes; /* 1 to LB_BREAKER_SUCCESSES_MAX */
};

/* ---- the state ------------------------------------------------------------------------------- */

/* at_ms above, then the flag of a probe under way, its successes, the state. A new breaker, closed
 * since ever, is 0. */
#define LB_BREAKER_AT_SHIFT 16

static inline enum lb_breaker_state lb_breaker_state(uint64_t word)
{
    return (enum lb_breaker_state)(word & 3);
}

/* CLOSED: since when. OPEN: until when it cools. HALF_OPEN: when the next probe may begin. */
static inline uint64_t lb_breaker_at_ms(uint64_t word)
{
    return word >> LB_BREAKER_AT_SHIFT;
}

/* Whether a probe is under way. */
bool lb_breaker_is_probing(uint64_t word);

/* Not CLOSED: whether a call may go now, as a probe; *ret_word is the word with its slot taken. */
bool lb_breaker_probe(uint64_t word, const struct lb_breaker_rule *rule, uint64_t now_ms,
                      uint64_t *ret_word) __attribute__((warn_unused_result));

/* A probe has ended so: its slot is free in the word returned. random: any 64 bits. */
uint64_t lb_breaker_probed(uint64_t word, const struct lb_breaker_rule *rule, enum lb_result result,
                           uint64_t now_ms, uint64_t random);

/* The word of a breaker that opens now. */
uint64_t lb_breaker_opened(const struct lb_breaker_rule *rule, uint64_t now_ms, uint64_t random);

/* ---- the window ------------------------------------------------------------------------------ */

#define LB_BREAKER_BUCKET_MS 100
#define LB_BREAKER_BUCKETS   100 /* that make the window */
/* A power of two: bucket number n of all time stands in slot n % LB_BREAKER_SLOTS. */
#define LB_BREAKER_SLOTS 128

/* A slot holds the turn that it is of (12 bits: the same one again after 14 hours, when a tuple that
 * had no call has long been forgotten) and three counts, which no host can fill up in 100 ms. */
#define LB_BREAKER_TURN_SHIFT    52
#define LB_BREAKER_SUCCESS_SHIFT 32
#define LB_BREAKER_FAILURE_SHIFT 16

struct lb_breaker_counts {
    uint32_t successes, failures, timeouts;
};

static inline uint64_t lb_breaker_bucket(uint64_t now_ms)
{
    return now_ms / LB_BREAKER_BUCKET_MS;
}

static inline uint32_t lb_breaker_slot(uint64_t bucket)
{
    return (uint32_t)(bucket % LB_BREAKER_SLOTS);
}

/* The empty slot of that bucket. */
static inline uint64_t lb_breaker_slot_word(uint64_t bucket)
{
    return bucket / LB_BREAKER_SLOTS << LB_BREAKER_TURN_SHIFT;
}

/* Whether what the slot holds is of that bucket. */
static inline bool lb_breaker_is_of(uint64_t slot, uint64_t bucket)
{
    return (slot ^ lb_breaker_slot_word(bucket)) >> LB_BREAKER_TURN_SHIFT == 0;
}

/* What one more such result adds to a slot. */
static inline uint64_t lb_breaker_one(enum lb_result result)
{
    return result == LB_RESULT_SUCCESS   ? UINT64_C(1) << LB_BREAKER_SUCCESS_SHIFT
           : result == LB_RESULT_FAILURE ? UINT64_C(1) << LB_BREAKER_FAILURE_SHIFT
                                         : 1;
}

/* The slot with one more result of that bucket; what it held of another one is gone. */
uint64_t lb_breaker_count(uint64_t slot, uint64_t bucket, enum lb_result result);

/* Adds what the slot holds of that bucket. */
void lb_breaker_sum(uint64_t slot, uint64_t bucket, struct lb_breaker_counts *sum);

/* What opened a breaker: a share of so many calls. */
struct lb_breaker_cause {
    uint32_t errors, calls;
};

/* Whether a closed breaker opens, asked after an error. in_a_row: errors since the last success. */
bool lb_breaker_trips(const struct lb_breaker_rule *rule, const struct lb_breaker_counts *window,
                      uint32_t in_a_row, struct lb_breaker_cause *ret_cause)
    __attribute__((warn_unused_result));

#endif
