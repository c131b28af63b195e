/*
 * tests/sidecar/data/steps.c: see steps.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sidecar/data/steps.h"

#include <stdio.h>

#define MACHINE(name, NAME)                                                                        \
    struct fsm_step __real_##name##_fsm_step(enum name##_state state, enum name##_event event);    \
    struct fsm_step __wrap_##name##_fsm_step(enum name##_state state, enum name##_event event);    \
                                                                                                   \
    static unsigned name##_taken[NAME##_STATE_MAX][NAME##_EVENT_MAX];                              \
                                                                                                   \
    struct fsm_step __wrap_##name##_fsm_step(enum name##_state state, enum name##_event event)     \
    {                                                                                              \
        name##_taken[state][event]++;                                                              \
        return __real_##name##_fsm_step(state, event);                                             \
    }                                                                                              \
                                                                                                   \
    unsigned steps_of_##name(enum name##_state state, enum name##_event event)                     \
    {                                                                                              \
        return name##_taken[state][event];                                                         \
    }                                                                                              \
                                                                                                   \
    unsigned steps_missing_of_##name(void)                                                         \
    {                                                                                              \
        unsigned missing = 0;                                                                      \
        for (enum name##_state s = 0; s < NAME##_STATE_MAX; s++) {                                 \
            for (enum name##_event e = 0; e < NAME##_EVENT_MAX; e++) {                             \
                if (name##_fsm_entry(s, e)->legal && name##_taken[s][e] == 0) {                    \
                    fprintf(stderr, #name ": %s, %s was never taken\n", name##_state_str(s),       \
                            name##_event_str(e));                                                  \
                    missing++;                                                                     \
                }                                                                                  \
            }                                                                                      \
        }                                                                                          \
        return missing;                                                                            \
    }

MACHINE(session, SESSION)
MACHINE(call, CALL)
MACHINE(attempt, ATTEMPT)
MACHINE(upstream, UPSTREAM)
