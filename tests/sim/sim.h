/*
 * tests/sim/sim.h: one run of the call path: real workers between callers and callees in memory.
 *
 *     sim_plan     what a seed means           sim_run      the scheduler: who acts next
 *     sim_worker   a worker in virtual time    sim_caller, sim_callee   the peers
 *     transport_memory, sim_link               bytes between them
 *     sim_world    rules and endpoints         sim_alloc    memory that runs out
 *     sim_oracle   what each call may become   sim_ledger   what objects and counts must agree on
 *
 * One process, one thread, no socket, no clock: the same seed is the same run.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_SIM_H
#define TSIDE_TESTS_SIM_SIM_H

#include "tests/sim/sim_alloc.h"
#include "tests/sim/sim_callee.h"
#include "tests/sim/sim_caller.h"
#include "tests/sim/sim_fail.h"
#include "tests/sim/sim_link.h"
#include "tests/sim/sim_oracle.h"
#include "tests/sim/sim_plan.h"
#include "tests/sim/sim_worker.h"
#include "tests/sim/sim_world.h"

#define SIM_START_US UINT64_C(1000000000)       /* of the monotonic clock */
#define SIM_UNIX_US  UINT64_C(1700000000000000) /* what the wall clock is ahead of it */

#define SIM_FRAME_BYTES_MAX 200000 /* limits.frame_bytes */

struct sim {
    const struct sim_plan *plan;
    struct random random; /* the scheduler's */
    uint64_t clock_us;
    uint64_t stopped_us; /* until then the workers stand still */
    uint64_t steps;
    uint32_t links_made;
    struct bootstrap bootstrap;
    struct worker_env env;
    struct sim_worker workers[SIM_WORKERS_MAX];
    struct sim_world world;
    struct sim_caller callers[SIM_CALLERS_MAX];
    struct sim_callee callees[SIM_CALLEES_MAX];
    struct sim_oracle oracle;
    bool draining; /* the workers were told so */
    bool ending;
};

/* Runs the plan. Where an invariant breaks it does not return (sim_fail.h). */
void sim_run(const struct sim_plan *plan, const struct codec_templates *templates);

/* Whether this accepted connection is to fail at once. */
bool sim_open_fails(struct sim_link *link);

#endif
