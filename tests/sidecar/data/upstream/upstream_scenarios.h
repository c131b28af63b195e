/*
 * tests/sidecar/data/upstream/upstream_scenarios.h: what the parts of upstream_conn_test have in common.
 *
 * One binary of several files, so that their scenarios together reach every step of a connection.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_UPSTREAM_UPSTREAM_SCENARIOS_H
#define TSIDE_TESTS_SIDECAR_DATA_UPSTREAM_UPSTREAM_SCENARIOS_H

#include "tests/sidecar/data/plane_rig.h"

/* Each runs its file's tests and returns how many have failed. */
int upstream_mux_scenarios(void);
int upstream_pipeline_scenarios(void);

/* n callers whose calls "M", with seqids from 1, the first connection has got under the seqids. */
void scenario_callers(struct rig *rig, struct memory_peer *callers[], int32_t seqids[], int n);
/* The caller of a connection that has served a call. */
struct memory_peer *scenario_served(struct rig *rig);
/* One more call "M" of it, served by the first connection. */
void scenario_call(struct rig *rig, struct memory_peer *caller, int32_t seqid);

#endif
