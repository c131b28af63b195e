/*
 * tests/sim/fleet/fleet.h: what the program `fleet` can be asked for (docs/balancing.md, docs/fleet.md). Each prints
 * tables, and returns false where a figure is not within what is promised.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FLEET_H
#define TSIDE_TESTS_SIM_FLEET_H

#include <stdbool.h>

/* Policies side by side, over situations, with few hosts and with many. quick: a moment of it, for sanitizers. */
bool fleet_balance(bool quick);
/* Retries along a chain of four hops whose last application fails. */
bool fleet_chain(void);
/* Hosts that share a rate: how near they come to it, and what that costs etcd. */
bool fleet_rate(void);
/* An hour of a fleet. quick: a hundredth of its hosts, a twentieth of the
 * services. series: a file for plot.py, or NULL. */
bool fleet_hour(bool quick, const char *series);

#endif
