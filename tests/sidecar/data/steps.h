/*
 * tests/sidecar/data/steps.h: which steps the four machines of the call path have taken.
 *
 * Every look-up in their tables is counted (the linker's --wrap), so that a test binary can prove
 * that its scenarios reach each legal pair by what a peer, a timer or the worker did, not by the
 * table alone.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_STEPS_H
#define TSIDE_TESTS_SIDECAR_DATA_STEPS_H

#include "sidecar/data/call/attempt_fsm.h"
#include "sidecar/data/call/call_fsm.h"
#include "sidecar/data/session/session_fsm.h"
#include "sidecar/data/upstream/upstream_fsm.h"

unsigned steps_of_session(enum session_state state, enum session_event event);
unsigned steps_of_call(enum call_state state, enum call_event event);
unsigned steps_of_attempt(enum attempt_state state, enum attempt_event event);
unsigned steps_of_upstream(enum upstream_state state, enum upstream_event event);

/* How many legal pairs were never taken; each is printed. */
unsigned steps_missing_of_session(void);
unsigned steps_missing_of_call(void);
unsigned steps_missing_of_attempt(void);
unsigned steps_missing_of_upstream(void);

#endif
