/*
 * sidecar/base/fsm.h: a state machine as a table of (state, event) -> (next state, action).
 *
 * FSM_DECLARE and FSM_DEFINE make from three X-macro lists (STATES, EVENTS, ACTIONS) the enums, their
 * names and the lookup. The table lists what is legal; any other pair is excluded by our own invariants,
 * and looking it up dies: that beats mixing up two callers. `fsm_test -p` prints the whole matrix.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_FSM_H
#define TSIDE_SIDECAR_BASE_FSM_H

#include <stdbool.h>
#include <stdint.h>

struct fsm_step {
    bool legal;
    uint8_t next;
    uint8_t action;
};

/* Dies with a message; no byte of a peer leads here. */
_Noreturn void fsm_die(const char *machine, const char *state, const char *event);

#define FSM_DECLARE(name, NAME)                                                                    \
    enum name##_state{NAME##_STATES(FSM_STATE_##NAME##_) NAME##_STATE_MAX};                        \
    enum name##_event{NAME##_EVENTS(FSM_EVENT_##NAME##_) NAME##_EVENT_MAX};                        \
    enum name##_action{NAME##_ACTIONS(FSM_ACTION_##NAME##_) NAME##_ACTION_MAX};                    \
    const char *name##_state_str(enum name##_state state);                                         \
    const char *name##_event_str(enum name##_event event);                                         \
    const char *name##_action_str(enum name##_action action);                                      \
    const struct fsm_step *name##_fsm_entry(enum name##_state state, enum name##_event event);     \
    struct fsm_step name##_fsm_step(enum name##_state state, enum name##_event event);

#define FSM_STATE_CALL_(n)      CALL_STATE_##n,
#define FSM_EVENT_CALL_(n)      CALL_EVENT_##n,
#define FSM_ACTION_CALL_(n)     CALL_ACTION_##n,
#define FSM_STATE_ATTEMPT_(n)   ATTEMPT_STATE_##n,
#define FSM_EVENT_ATTEMPT_(n)   ATTEMPT_EVENT_##n,
#define FSM_ACTION_ATTEMPT_(n)  ATTEMPT_ACTION_##n,
#define FSM_STATE_SESSION_(n)   SESSION_STATE_##n,
#define FSM_EVENT_SESSION_(n)   SESSION_EVENT_##n,
#define FSM_ACTION_SESSION_(n)  SESSION_ACTION_##n,
#define FSM_STATE_UPSTREAM_(n)  UPSTREAM_STATE_##n,
#define FSM_EVENT_UPSTREAM_(n)  UPSTREAM_EVENT_##n,
#define FSM_ACTION_UPSTREAM_(n) UPSTREAM_ACTION_##n,

#define FSM_NAME_(n) #n,

/* table: struct fsm_step [NAME_STATE_MAX][NAME_EVENT_MAX] */
#define FSM_DEFINE(name, NAME, table)                                                              \
    const char *name##_state_str(enum name##_state state)                                          \
    {                                                                                              \
        static const char *const names[] = {NAME##_STATES(FSM_NAME_)};                             \
        return (unsigned)state < NAME##_STATE_MAX ? names[state] : "?";                            \
    }                                                                                              \
    const char *name##_event_str(enum name##_event event)                                          \
    {                                                                                              \
        static const char *const names[] = {NAME##_EVENTS(FSM_NAME_)};                             \
        return (unsigned)event < NAME##_EVENT_MAX ? names[event] : "?";                            \
    }                                                                                              \
    const char *name##_action_str(enum name##_action action)                                       \
    {                                                                                              \
        static const char *const names[] = {NAME##_ACTIONS(FSM_NAME_)};                            \
        return (unsigned)action < NAME##_ACTION_MAX ? names[action] : "?";                         \
    }                                                                                              \
    const struct fsm_step *name##_fsm_entry(enum name##_state state, enum name##_event event)      \
    {                                                                                              \
        return &table[state][event];                                                               \
    }                                                                                              \
    struct fsm_step name##_fsm_step(enum name##_state state, enum name##_event event)              \
    {                                                                                              \
        struct fsm_step step = table[state][event];                                                \
        if (!step.legal) {                                                                         \
            fsm_die(#name, name##_state_str(state), name##_event_str(event));                      \
        }                                                                                          \
        return step;                                                                               \
    }

#endif
