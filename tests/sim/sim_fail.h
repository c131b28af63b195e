/*
 * tests/sim/sim_fail.h: where a run stands, what it has seen, and how it fails.
 *
 * Runs happen in a child process; what is here lies in memory that it shares with its parent, so
 * that the seed is known however the child dies: by a broken invariant, an assert, a signal, a
 * sanitizer.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_FAIL_H
#define TSIDE_TESTS_SIM_FAIL_H

#include "sidecar/base/reason.h"

#include <stdbool.h>
#include <stdint.h>

#define SIM_EXIT_FAILED   3
#define SIM_FAIL_TEXT_MAX 512
#define SIM_RUN_SECONDS   120 /* a run that takes longer hangs */

enum sim_event {
#define SIM_EVENT(id, text) SIM_EVENT_##id,
#include "tests/sim/sim_event.def"
    SIM_EVENT_MAX
};

struct sim_report {
    /* The run at hand. */
    uint64_t seed;
    uint64_t step;
    uint64_t calls;
    char failed[SIM_FAIL_TEXT_MAX]; /* which invariant, and how; empty: none */
    bool traced;                    /* what happens is printed, a line each */
    /* Over all runs. */
    uint64_t runs;
    uint64_t calls_total;
    uint64_t steps_total;
    uint64_t events[SIM_EVENT_MAX];
    uint64_t reasons[REASON_MAX];
};

/* Of the process: a failure is noticed deep in the product's stack, where no context is at hand. */
extern struct sim_report *sim_report;

/* Maps the report. */
void sim_report_open(void);
void sim_report_print(void);

static inline void sim_count(enum sim_event event)
{
    sim_report->events[event]++;
}

static inline uint64_t sim_counted(enum sim_event event)
{
    return sim_report->events[event];
}

/* A line of the trace. */
#define SIM_TRACE(...)                                                                             \
    do {                                                                                           \
        if (sim_report->traced) {                                                                  \
            sim_trace(__VA_ARGS__);                                                                \
        }                                                                                          \
    } while (0)
void sim_trace(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The run has broken this invariant. */
_Noreturn void sim_fail(const char *invariant, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#define SIM_CHECK(holds, invariant, ...)                                                           \
    do {                                                                                           \
        if (!(holds)) {                                                                            \
            sim_fail(invariant, __VA_ARGS__);                                                      \
        }                                                                                          \
    } while (0)

#endif
