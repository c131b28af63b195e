/*
 * tests/sidecar/data/session/session_scenarios.h: what the parts of session_test have in common.
 *
 * One binary of several files, so that their scenarios together reach every step of a session.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_SESSION_SESSION_SCENARIOS_H
#define TSIDE_TESTS_SIDECAR_DATA_SESSION_SESSION_SCENARIOS_H

#include "tests/sidecar/data/plane_rig.h"

#define LONG_BYTES 300000 /* above SESSION_UNSENT_HIGH */

/* The session of the last caller is in that state. */
void session_expect(const struct rig *rig, enum session_state state);
/* A caller whose callee answers with so many bytes of which it takes only the first few. */
struct memory_peer *session_not_taking(struct rig *rig, size_t payload);

/* session_pauses.c, session_drains.c: each runs its tests and returns how many have failed. */
int session_pauses(void);
int session_drains(void);

#endif
