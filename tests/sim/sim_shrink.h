/*
 * tests/sim/sim_shrink.h: runs in child processes, and failing ones made short.
 *
 * A plan is shrunk by switching its items off, large groups first, and by making fewer calls, for
 * as long as it still fails, in whatever way. What is left is printed as a script.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_SHRINK_H
#define TSIDE_TESTS_SIM_SHRINK_H

#include "tests/sim/sim_plan.h"

/* What to run: seeds from first on, or this plan alone. */
struct sim_shrink_job {
    uint64_t first;
    uint64_t runs;
    uint64_t end_s; /* of the monotonic clock */
    uint32_t calls; /* of each caller; 0: as usual */
    const struct sim_plan *plan;
};

/* False: a run failed; sim_report says which, and how. */
bool sim_run_child(const struct sim_shrink_job *job);
/* The same in this process: where a run fails it does not return. */
bool sim_run_here(const struct sim_shrink_job *job);

/* The plan fails: prints a shorter one that does, too. */
void sim_shrink(const struct sim_plan *plan);

#endif
