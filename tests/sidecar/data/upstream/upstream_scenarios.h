/*
 * tests/sidecar/data/upstream/upstream_scenarios.h: what the parts of upstream_conn_test have in common.
 *
 * One binary of several files, so that their scenarios together reach every step of a connection.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_UPSTREAM_UPSTREAM_SCENARIOS_H
#define TSIDE_TESTS_SIDECAR_DATA_UPSTREAM_UPSTREAM_SCENARIOS_H

#include "tests/sidecar/data/plane_rig.h"

/* upstream_mux_scenarios.c: runs its tests and returns how many have failed. */
int upstream_mux_scenarios(void);

#endif
