/*
 * upstream_scenarios.c: see upstream_scenarios.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/upstream/upstream_scenarios.h"

void scenario_callers(struct rig *rig, struct memory_peer *callers[], int32_t seqids[], int n)
{
    for (int i = 0; i < n; i++) {
        callers[i] = rig_caller(rig, 0);
        rig_call(callers[i], "M", i + 1);
        rig_rest(rig);
        seqids[i] = rig_expect_call(rig_callee(rig, 0), "M");
    }
}

struct memory_peer *scenario_served(struct rig *rig)
{
    struct memory_peer *caller = rig_calling(rig);
    rig_serve_call(rig, caller, "M", 1);
    return caller;
}

void scenario_call(struct rig *rig, struct memory_peer *caller, int32_t seqid)
{
    rig_call(caller, "M", seqid);
    rig_rest(rig);
    rig_serve_call(rig, caller, "M", seqid);
}
