/*
 * fsm_test.c: the four tables of the data plane, pair by pair; printed where an argument is given.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/attempt_fsm.h"
#include "sidecar/data/call/call_fsm.h"
#include "sidecar/data/session/session_fsm.h"
#include "sidecar/data/upstream/upstream_fsm.h"

#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
/* cmocka wants some of the above first */
#include <cmocka.h>

#define STATES_MAX 16

/* One table, whatever its enums are called. */
struct machine {
    const char *name;
    unsigned states, events, actions;
    unsigned first, last; /* where it begins, and where it ends */
    const char *(*state_str)(unsigned state);
    const char *(*event_str)(unsigned event);
    const char *(*action_str)(unsigned action);
    const struct fsm_step *(*entry)(unsigned state, unsigned event);
    struct fsm_step (*step)(unsigned state, unsigned event);
};

#define MACHINE(name, NAME)                                                                        \
    static const char *name##_state_text(unsigned state)                                           \
    {                                                                                              \
        return name##_state_str((enum name##_state)state);                                         \
    }                                                                                              \
    static const char *name##_event_text(unsigned event)                                           \
    {                                                                                              \
        return name##_event_str((enum name##_event)event);                                         \
    }                                                                                              \
    static const char *name##_action_text(unsigned action)                                         \
    {                                                                                              \
        return name##_action_str((enum name##_action)action);                                      \
    }                                                                                              \
    static const struct fsm_step *name##_entry(unsigned state, unsigned event)                     \
    {                                                                                              \
        return name##_fsm_entry((enum name##_state)state, (enum name##_event)event);               \
    }                                                                                              \
    static struct fsm_step name##_step(unsigned state, unsigned event)                             \
    {                                                                                              \
        return name##_fsm_step((enum name##_state)state, (enum name##_event)event);                \
    }

MACHINE(call, CALL)
MACHINE(attempt, ATTEMPT)
MACHINE(session, SESSION)
MACHINE(upstream, UPSTREAM)

#define MACHINE_ROW(name, NAME, begins, ends)                                                      \
    {                                                                                              \
#name, NAME##_STATE_MAX, NAME##_EVENT_MAX, NAME##_ACTION_MAX, NAME##_STATE_##begins,       \
            NAME##_STATE_##ends, name##_state_text, name##_event_text, name##_action_text,         \
            name##_entry, name##_step                                                              \
    }

static const struct machine machines[] = {
    MACHINE_ROW(call, CALL, NEW, DONE),
    MACHINE_ROW(attempt, ATTEMPT, PICKED, DONE),
    MACHINE_ROW(session, SESSION, OPEN, CLOSED),
    MACHINE_ROW(upstream, UPSTREAM, CONNECTING, CLOSED),
};
#define MACHINES (sizeof machines / sizeof machines[0])

#define fail_pair(m, state, event, text)                                                           \
    fail_msg("%s: %s, %s: %s", (m)->name, (m)->state_str(state), (m)->event_str(event), text)

/* ---- the tests ----------------------------------------------------------------------------- */

static void test_every_step_is_in_range(void **arg)
{
    (void)arg;
    for (const struct machine *m = machines; m < machines + MACHINES; m++) {
        assert_true(m->states <= STATES_MAX);
        for (unsigned s = 0; s < m->states; s++) {
            for (unsigned e = 0; e < m->events; e++) {
                const struct fsm_step *step = m->entry(s, e);
                if (!step->legal) {
                    continue;
                }
                if (step->next >= m->states || step->action >= m->actions) {
                    fail_pair(m, s, e, "leads nowhere");
                }
                struct fsm_step taken = m->step(s, e);
                assert_memory_equal(&taken, step, sizeof taken);
            }
        }
    }
}

static void test_names(void **arg)
{
    (void)arg;
    for (const struct machine *m = machines; m < machines + MACHINES; m++) {
        assert_string_equal(m->state_str(m->states), "?");
        assert_string_equal(m->event_str(m->events), "?");
        assert_string_equal(m->action_str(m->actions), "?");
        assert_string_not_equal(m->state_str(m->states - 1), "?");
        assert_string_not_equal(m->event_str(m->events - 1), "?");
        assert_string_equal(m->action_str(0), "NONE");
    }
    assert_string_equal(call_state_str(CALL_STATE_WAIT_RULES), "WAIT_RULES");
    assert_string_equal(attempt_state_str(ATTEMPT_STATE_SENDING), "SENDING");
    assert_string_equal(session_event_str(SESSION_EVENT_STALLED), "STALLED");
    assert_string_equal(upstream_action_str(UPSTREAM_ACTION_CLOSE_BAD), "CLOSE_BAD");
}

/* reach[a][b]: some events lead from a to b. */
static void find_reach(const struct machine *m, bool reach[STATES_MAX][STATES_MAX])
{
    for (unsigned s = 0; s < m->states; s++) {
        reach[s][s] = true;
        for (unsigned e = 0; e < m->events; e++) {
            if (m->entry(s, e)->legal) {
                reach[s][m->entry(s, e)->next] = true;
            }
        }
    }
    for (unsigned k = 0; k < m->states; k++) {
        for (unsigned a = 0; a < m->states; a++) {
            for (unsigned b = 0; b < m->states; b++) {
                reach[a][b] |= reach[a][k] && reach[k][b];
            }
        }
    }
}

static void test_every_state_is_reached_and_left(void **arg)
{
    (void)arg;
    for (const struct machine *m = machines; m < machines + MACHINES; m++) {
        bool reach[STATES_MAX][STATES_MAX] = {{false}};
        find_reach(m, reach);
        for (unsigned s = 0; s < m->states; s++) {
            if (!reach[m->first][s]) {
                fail_msg("%s: no way from %s to %s", m->name, m->state_str(m->first),
                         m->state_str(s));
            }
            if (!reach[s][m->last]) {
                fail_msg("%s: no end from %s", m->name, m->state_str(s));
            }
            if (s != m->last && reach[m->last][s]) {
                fail_msg("%s: %s leads back to %s", m->name, m->state_str(m->last),
                         m->state_str(s));
            }
        }
    }
}

/* An event that no state takes, or an action that none asks for, is a leftover. */
static void test_nothing_is_left_over(void **arg)
{
    (void)arg;
    for (const struct machine *m = machines; m < machines + MACHINES; m++) {
        bool asked[64] = {false};
        assert_true(m->actions <= 64);
        for (unsigned e = 0; e < m->events; e++) {
            bool taken = false;
            for (unsigned s = 0; s < m->states; s++) {
                const struct fsm_step *step = m->entry(s, e);
                taken |= step->legal;
                asked[step->legal ? step->action : 0] = true;
            }
            if (!taken) {
                fail_msg("%s: no state takes %s", m->name, m->event_str(e));
            }
        }
        for (unsigned a = 1; a < m->actions; a++) { /* NONE may be unused */
            if (!asked[a]) {
                fail_msg("%s: no pair asks for %s", m->name, m->action_str(a));
            }
        }
    }
}

/* What has ended gets no event: whatever sends one must not find it. */
static void test_final_states_take_nothing(void **arg)
{
    (void)arg;
    for (const struct machine *m = machines; m < machines + MACHINES; m++) {
        for (unsigned e = 0; e < m->events; e++) {
            if (m->entry(m->last, e)->legal) {
                fail_pair(m, m->last, e, "is legal");
            }
        }
    }
}

/* Whether the lookup dies by abort(), in a child of ours. */
static bool dies(const struct machine *m, unsigned state, unsigned event)
{
    const struct rlimit none = {0, 0};
    int status;
    fflush(stdout);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        signal(SIGABRT, SIG_DFL); /* cmocka may have its own */
        (void)setrlimit(RLIMIT_CORE, &none);
        if (!freopen("/dev/null", "w", stderr)) {
            _exit(2);
        }
        (void)m->step(state, event);
        _exit(0);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFSIGNALED(status) && WTERMSIG(status) == SIGABRT;
}

static void test_illegal_pairs_die(void **arg)
{
    (void)arg;
    for (const struct machine *m = machines; m < machines + MACHINES; m++) {
        for (unsigned s = 0; s < m->states; s++) {
            for (unsigned e = 0; e < m->events; e++) {
                if (!m->entry(s, e)->legal && !dies(m, s, e)) {
                    fail_pair(m, s, e, "was looked up and nothing died");
                }
            }
        }
    }
}

/* ---- printing ------------------------------------------------------------------------------ */

static void print_machine(const struct machine *m)
{
    printf("%s: from %s to %s\n", m->name, m->state_str(m->first), m->state_str(m->last));
    for (unsigned s = 0; s < m->states; s++) {
        printf("\n  %s\n", m->state_str(s));
        unsigned illegal = 0;
        for (unsigned e = 0; e < m->events; e++) {
            const struct fsm_step *step = m->entry(s, e);
            if (step->legal) {
                printf("    %-16s -> %-14s %s\n", m->event_str(e), m->state_str(step->next),
                       step->action ? m->action_str(step->action) : "");
            } else {
                illegal++;
            }
        }
        const char *lead = "    illegal:";
        for (unsigned e = 0; illegal > 0 && e < m->events; e++) {
            if (!m->entry(s, e)->legal) {
                printf("%s %s", lead, m->event_str(e));
                lead = "";
            }
        }
        printf("%s", illegal > 0 ? "\n" : "");
    }
    printf("\n");
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_step_is_in_range),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_every_state_is_reached_and_left),
        cmocka_unit_test(test_nothing_is_left_over),
        cmocka_unit_test(test_final_states_take_nothing),
        cmocka_unit_test(test_illegal_pairs_die),
    };
    (void)argv;
    if (argc > 1) {
        for (const struct machine *m = machines; m < machines + MACHINES; m++) {
            print_machine(m);
        }
        return 0;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
