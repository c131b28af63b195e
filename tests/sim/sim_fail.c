/*
 * tests/sim/sim_fail.c: see sim_fail.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_fail.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

struct sim_report *sim_report;

void sim_report_open(void)
{
    void *shared =
        mmap(NULL, sizeof *sim_report, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED) {
        abort();
    }
    sim_report = shared;
}

void sim_report_print(void)
{
    static const char *const texts[SIM_EVENT_MAX] = {
#define SIM_EVENT(id, text) [SIM_EVENT_##id] = text,
#include "tests/sim/sim_event.def"
    };
    printf("%12llu runs\n%12llu steps\n%12llu calls\n", (unsigned long long)sim_report->runs,
           (unsigned long long)sim_report->steps_total,
           (unsigned long long)sim_report->calls_total);
    for (int i = 0; i < SIM_EVENT_MAX; i++) {
        printf("%12llu %s\n", (unsigned long long)sim_report->events[i], texts[i]);
    }
    for (int i = 0; i < REASON_MAX; i++) {
        if (sim_report->reasons[i] > 0) {
            printf("%12llu ended as %s\n", (unsigned long long)sim_report->reasons[i],
                   reason_str((enum reason)i));
        }
    }
}

void sim_trace(const char *format, ...)
{
    va_list args;
    printf("%8llu  ", (unsigned long long)sim_report->step);
    va_start(args, format);
    (void)vprintf(format, args); /* for people */
    va_end(args);
    putchar('\n');
}

_Noreturn void sim_fail(const char *invariant, const char *format, ...)
{
    char text[SIM_FAIL_TEXT_MAX];
    va_list args;
    va_start(args, format);
    (void)vsnprintf(text, sizeof text, format, args); /* for people: may be cut */
    va_end(args);
    (void)snprintf(sim_report->failed, sizeof sim_report->failed, "%s: %.400s", invariant, text);
    (void)fflush(stdout); /* the trace */
    _exit(SIM_EXIT_FAILED);
}
