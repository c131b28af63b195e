/*
 * lb/ejection.h: the health of one endpoint as one word: in use, or ejected until some time.
 *
 *     UP --- so many failures in a row, and the cluster can spare it ---> OUT
 *     OUT, its time not yet over: gets no call
 *     OUT, its time over: gets one call at a time, a trial
 *         it fails ----> OUT again, for twice as long
 *         it succeeds -> UP
 *
 * Outlier detection as Envoy's and linkerd's (consecutive failures, a time that doubles), with two
 * differences: the time alone does not bring an endpoint back, a call does; and small clusters can
 * eject, too: a share of fewer than one is one, though never the last (Envoy's 10 % of nine are none).
 * An ejection is in a row with the one before unless the endpoint was well for max_ms in between.
 *
 * All of it are functions of a word: threads that share an endpoint compute the next one here, and put
 * it in place by compare-and-swap (sidecar/shared/endpoint_state.h). Time is an argument.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_EJECTION_H
#define TSIDE_LB_EJECTION_H

#include <stdbool.h>
#include <stdint.h>

struct lb_eject_rule {
    uint32_t consecutive; /* failures in a row; 0: nothing is ejected, and nothing stays so */
    uint32_t base_ms;
    uint32_t max_ms;
    uint32_t max_percent; /* of a cluster, 1 to 100 */
};

/* A word: at_ms above, then ejections in a row, the flag of a trial, that of OUT. A new endpoint is 0. */
#define LB_EJECT_OUT      UINT64_C(1)
#define LB_EJECT_TRIAL    UINT64_C(2)
#define LB_EJECT_AT_SHIFT 16

static inline bool lb_eject_is_out(uint64_t word)
{
    return (word & LB_EJECT_OUT) != 0;
}

/* UP: since when. OUT: until when it gets no call. */
static inline uint64_t lb_eject_at_ms(uint64_t word)
{
    return word >> LB_EJECT_AT_SHIFT;
}

/* OUT: whether a trial may begin. */
static inline bool lb_eject_may_try(uint64_t word, uint64_t now_ms)
{
    return (word & LB_EJECT_TRIAL) == 0 && now_ms >= lb_eject_at_ms(word);
}

/* The word of one that is ejected now, whatever it was. */
uint64_t lb_eject(uint64_t word, const struct lb_eject_rule *rule, uint64_t now_ms);
/* The word of one that comes back now. */
uint64_t lb_eject_return(uint64_t word, uint64_t now_ms);
/* How many ejections in a row there were. */
uint32_t lb_eject_times(uint64_t word);

/* How many of a cluster of n may be OUT at once. */
uint32_t lb_eject_allowed(uint32_t n, const struct lb_eject_rule *rule);

#endif
