/*
 * sidecar/shared/tuple_breaker.h: the circuit breaker of one tuple, for all workers, without a lock.
 *
 * Part of struct tuple_state: it outlives every snapshot, and is forgotten with the tuple's entry.
 * Which numbers hold is up to the route of each call. What the words mean: lb/breaker.h.
 *
 *     switch (tuple_breaker_enter(breaker, rule, now_ms)) ...
 *     tuple_breaker_tell(breaker, rule, &told)      how it ended, once, of each call that was let in
 *
 * A probe is told even where it ends without a word about the callee: that gives its slot back.
 * Workers' clocks may differ by some milliseconds: then a call counts in the bucket beside.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_TUPLE_BREAKER_H
#define TSIDE_SIDECAR_SHARED_TUPLE_BREAKER_H

#include "lb/breaker.h"
#include "lb/random.h"

#include <stdatomic.h>

/* All zero: closed, nothing counted. */
struct tuple_breaker {
    _Atomic uint64_t word;
    _Atomic uint32_t in_a_row; /* errors since the last success */
    _Atomic uint64_t cause;    /* of the last opening: errors above, calls below */
    _Atomic uint64_t slots[LB_BREAKER_SLOTS];
};

enum breaker_entry {
    BREAKER_REFUSED = 0,
    BREAKER_PASSED,
    BREAKER_PROBE /* a single call: its end decides */
};

/* Any thread. ask takes nothing. */
enum breaker_entry tuple_breaker_ask(const struct tuple_breaker *breaker,
                                     const struct lb_breaker_rule *rule, uint64_t now_ms);
enum breaker_entry tuple_breaker_enter(struct tuple_breaker *breaker,
                                       const struct lb_breaker_rule *rule, uint64_t now_ms);

/* How a call ended that was let in. */
struct breaker_told {
    enum lb_result result;
    bool is_probe;
    uint64_t began_ms; /* when it was let in, or a little before */
    uint64_t now_ms;
    struct lb_random *random;
};

enum breaker_news { BREAKER_NO_NEWS = 0, BREAKER_OPENED, BREAKER_CLOSED };

/* What it has made of the breaker. */
enum breaker_news tuple_breaker_tell(struct tuple_breaker *breaker,
                                     const struct lb_breaker_rule *rule,
                                     const struct breaker_told *told);

/* What opened it last. */
struct lb_breaker_cause tuple_breaker_cause(const struct tuple_breaker *breaker);

/* What is to be shown of it. */
struct breaker_view {
    const struct tuple_breaker *breaker; /* itself */
    enum lb_breaker_state state;
    bool is_probing;
    struct lb_breaker_counts window; /* the last 10 s, as far as it was closed then */
    uint32_t in_a_row;
};
struct breaker_view tuple_breaker_view(const struct tuple_breaker *breaker, uint64_t now_ms);

#endif
