/*
 * tests/sim/sim_worker.h: a worker of the product, driven in virtual time, one phase of its turn
 * at a step.
 *
 * The order of a turn is libuv's (sidecar/data/loop/uv_driver.c): timers, what spins, the flush,
 * the poll with its callbacks in any order, the flush, what has closed. Between two steps anything
 * else may happen: other workers, peers, the clock.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_WORKER_H
#define TSIDE_TESTS_SIM_WORKER_H

#include "sidecar/data/loop/worker.h"
#include "tests/codec/random.h"

struct sim;
struct sim_link;

enum sim_phase {
    SIM_PHASE_TIMERS = 0,
    SIM_PHASE_SPIN,
    SIM_PHASE_BEFORE_POLL,
    SIM_PHASE_POLL, /* waits here until there is something to do */
    SIM_PHASE_AFTER_POLL,
    SIM_PHASE_CLOSE,
    SIM_PHASE_ENDED
};

struct sim_worker {
    struct sim *sim;
    struct worker *worker;
    struct list links; /* sim_link.in_worker */
    enum sim_phase phase;
    uint64_t loop_ms;  /* the loop's time: of the turn's begin, then of the poll */
    uint64_t armed_ms; /* what the loop's one timer is set for; UINT64_MAX: off */
    bool polled;       /* something happened in this poll */
    bool spins;
    bool woken;      /* mail */
    bool closed;     /* the worker has ended: the loop ends with the last link */
    bool timers_ran; /* in this turn, and were not put off: what was due has fired */
};

extern const struct worker_driver sim_driver;

/* Makes the worker. */
void sim_worker_open(struct sim_worker *home, struct sim *sim, uint32_t index, uint64_t seed);
/* When the peers have left. */
void sim_worker_free(struct sim_worker *home);

bool sim_worker_can_run(const struct sim_worker *home);
/* One phase, or one callback of the poll. */
void sim_worker_step(struct sim_worker *home);
/* When it can run next, if nobody else does anything: UINT64_MAX: never. */
uint64_t sim_worker_next_us(const struct sim_worker *home);

#endif
