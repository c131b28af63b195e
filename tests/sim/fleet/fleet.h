/*
 * tests/sim/fleet/fleet.h: what the program `fleet` can be asked for (docs/balancing.md). Each prints
 * tables, and returns false where a figure is not within what is promised.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FLEET_H
#define TSIDE_TESTS_SIM_FLEET_H

#include <stdbool.h>

/* Policies side by side, over situations, with few hosts and with many. quick: a moment of it, for sanitizers. */
bool fleet_balance(bool quick);

#endif
