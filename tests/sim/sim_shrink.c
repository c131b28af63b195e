/*
 * tests/sim/sim_shrink.c: see sim_shrink.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_shrink.h"

#include "codec/templates.h"
#include "tests/sim/sim.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static uint64_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static void run_one(const struct sim_plan *plan, const struct codec_templates *templates)
{
    (void)alarm(SIM_RUN_SECONDS);
    sim_run(plan, templates);
    (void)alarm(0);
}

bool sim_run_here(const struct sim_shrink_job *job)
{
    struct codec_templates *templates = codec_templates_new();
    struct sim_plan plan;
    if (job->plan) {
        run_one(job->plan, templates);
    }
    for (uint64_t i = 0; !job->plan && i < job->runs && now_s() < job->end_s; i++) {
        sim_plan_make(&plan, job->first + i, job->calls);
        run_one(&plan, templates);
    }
    codec_templates_free(templates);
    return true;
}

/* How the child died, where no invariant says so. */
static void note_death(int status)
{
    if (sim_report->failed[0] != '\0') {
        return;
    }
    if (WIFSIGNALED(status)) {
        (void)snprintf(sim_report->failed, sizeof sim_report->failed, "%s",
                       WTERMSIG(status) == SIGABRT   ? "assert"
                       : WTERMSIG(status) == SIGALRM ? "hang"
                                                     : strsignal(WTERMSIG(status)));
    } else {
        (void)snprintf(sim_report->failed, sizeof sim_report->failed, "exit code %d",
                       WEXITSTATUS(status));
    }
}

bool sim_run_child(const struct sim_shrink_job *job)
{
    int status = 0;
    (void)fflush(NULL);
    pid_t child = fork();
    if (child == 0) {
        exit(sim_run_here(job) ? 0 : SIM_EXIT_FAILED);
    }
    if (child < 0 || waitpid(child, &status, 0) != child) {
        abort();
    }
    if (status != 0) {
        note_death(status);
    }
    return status == 0;
}

/* ---- shrinking ------------------------------------------------------------------------------- */

static bool still_fails(const struct sim_plan *plan)
{
    const struct sim_shrink_job job = {.runs = 1, .plan = plan};
    return !sim_run_child(&job);
}

/* Tries to switch off the items from..from+n-1. True: it still fails, and *plan is so. */
static bool try_without(struct sim_plan *plan, uint32_t from, uint32_t n)
{
    struct sim_plan less = *plan;
    bool changed = false;
    for (uint32_t i = from; i < from + n && i < sim_plan_items(plan); i++) {
        changed = changed || sim_plan_is_on(plan, i);
        sim_plan_switch_off(&less, i);
    }
    if (changed && still_fails(&less)) {
        *plan = less;
        return true;
    }
    return false;
}

static void switch_items_off(struct sim_plan *plan)
{
    for (uint32_t n = sim_plan_items(plan) / 2; n > 0; n /= 2) {
        for (uint32_t from = 0; from < sim_plan_items(plan); from += n) {
            (void)try_without(plan, from, n);
        }
    }
}

static void make_fewer_calls(struct sim_plan *plan)
{
    for (uint32_t calls = plan->calls_each / 2; calls > 0; calls /= 2) {
        struct sim_plan less = *plan;
        less.calls_each = calls;
        if (still_fails(&less)) {
            *plan = less;
        }
    }
}

static void print_again(const struct sim_plan *plan)
{
    bool first = true;
    printf("again: ./dev sim --seed %llu --calls %u", (unsigned long long)plan->seed,
           plan->calls_each);
    for (uint32_t i = 0; i < sim_plan_items(plan); i++) {
        if (!sim_plan_is_on(plan, i)) {
            printf("%s%u", first ? " --off " : ",", i);
            first = false;
        }
    }
    printf("\n");
}

/* What children say on the way is the same over and over. */
static void silence(int *ret_saved)
{
    int null = open("/dev/null", O_WRONLY | O_CLOEXEC);
    *ret_saved = dup(STDERR_FILENO);
    (void)dup2(null, STDERR_FILENO); /* louder without, not wrong */
    (void)close(null);
}

void sim_shrink(const struct sim_plan *plan)
{
    struct sim_plan least = *plan;
    int saved;
    silence(&saved);
    make_fewer_calls(&least);
    switch_items_off(&least);
    make_fewer_calls(&least);
    bool fails = still_fails(&least); /* once more, for the report */
    (void)dup2(saved, STDERR_FILENO);
    (void)close(saved);
    printf("shrunk to step %llu, %llu calls: %s\n", (unsigned long long)sim_report->step,
           (unsigned long long)sim_report->calls, fails ? sim_report->failed : "fails no more");
    sim_plan_print(&least, stdout);
    print_again(&least);
}
