/*
 * tests/sim/sim_ledger.h: what the counts that all workers share must agree on, between any two
 * steps.
 *
 * Each permit that is taken is held by an object that can be found, and no limit is passed by one.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_LEDGER_H
#define TSIDE_TESTS_SIM_LEDGER_H

struct sim;

void sim_ledger_check(const struct sim *sim);
/* All workers have stopped: every count is back. */
void sim_ledger_check_end(const struct sim *sim);

#endif
