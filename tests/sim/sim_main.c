/*
 * tests/sim/sim_main.c: the simulator's command line: many seeds, one seed, or a failing one made
 * short.
 *
 *     sim [--seed N] [--runs N] [--seconds N] [--calls N] [--off I,J,...] [--trace]
 *
 * Runs happen in a child: whatever kills it, the seed is known. A seed that fails is shrunk,
 * printed as a script, and with what makes it again.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim.h"
#include "tests/sim/sim_shrink.h"

#include <getopt.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct options {
    uint64_t seed;
    uint64_t runs;    /* 0: until the seconds are over */
    uint64_t seconds; /* 0: no limit */
    uint32_t calls;
    const char *off;
    bool here; /* in this process, for a debugger */
    bool trace;
    bool shrink; /* a seed that fails */
};

static void usage(void)
{
    fputs("sim [--seed N] [--runs N] [--seconds N] [--calls N] [--off I,J,...] [--trace] "
          "[--here] [--no-shrink]\n"
          "  --seed     the first seed; alone, it is the only one\n"
          "  --runs     so many seeds, one after the other\n"
          "  --seconds  stop when so many have passed\n"
          "  --calls    of each caller\n"
          "  --off      items of the plan that do nothing, as a failing seed is printed\n"
          "  --trace    print what happens, a line each\n"
          "  --here     no child process: for a debugger\n",
          stderr);
    exit(2);
}

static struct options parse(int argc, char **argv)
{
    static const struct option longs[] = {{"seed", required_argument, NULL, 's'},
                                          {"runs", required_argument, NULL, 'r'},
                                          {"seconds", required_argument, NULL, 't'},
                                          {"calls", required_argument, NULL, 'c'},
                                          {"off", required_argument, NULL, 'o'},
                                          {"here", no_argument, NULL, 'h'},
                                          {"no-shrink", no_argument, NULL, 'n'},
                                          {"trace", no_argument, NULL, 'x'},
                                          {NULL, 0, NULL, 0}};
    struct options options = {.seed = 1, .shrink = true};
    bool seeded = false;
    int option;
    while ((option = getopt_long(argc, argv, "", longs, NULL)) != -1) {
        switch (option) {
        case 's':
            options.seed = strtoull(optarg, NULL, 10);
            seeded = true;
            break;
        case 'r':
            options.runs = strtoull(optarg, NULL, 10);
            break;
        case 't':
            options.seconds = strtoull(optarg, NULL, 10);
            break;
        case 'c':
            options.calls = (uint32_t)strtoul(optarg, NULL, 10);
            break;
        case 'o':
            options.off = optarg;
            break;
        case 'h':
            options.here = true;
            break;
        case 'n':
            options.shrink = false;
            break;
        case 'x':
            options.trace = true;
            break;
        default:
            usage();
        }
    }
    if (options.runs == 0 && options.seconds == 0) {
        options.runs = seeded ? 1 : 300;
    }
    return options;
}

static uint64_t now_s(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec;
}

static void switch_off(struct sim_plan *plan, const char *items)
{
    char *end;
    while (items && *items) {
        uint32_t item = (uint32_t)strtoul(items, &end, 10);
        if (end == items || item >= sim_plan_items(plan)) {
            usage();
        }
        sim_plan_switch_off(plan, item);
        items = *end == ',' ? end + 1 : end;
    }
}

/* The seeds of this call, in one child. False: one failed; *ret_plan is its plan. */
static bool run_all(const struct options *options, struct sim_plan *ret_plan)
{
    struct sim_shrink_job job = {.first = options->seed,
                                 .runs = options->runs ? options->runs : UINT64_MAX,
                                 .end_s =
                                     options->seconds ? now_s() + options->seconds : UINT64_MAX,
                                 .calls = options->calls};
    struct sim_plan plan;
    if (options->off) {
        sim_plan_make(&plan, options->seed, options->calls);
        switch_off(&plan, options->off);
        job.plan = &plan;
    }
    bool good = options->here ? sim_run_here(&job) : sim_run_child(&job);
    if (!good) {
        sim_plan_make(ret_plan, sim_report->seed, options->calls);
        switch_off(ret_plan, options->off);
    }
    return good;
}

int main(int argc, char **argv)
{
    struct options options = parse(argc, argv);
    struct sim_plan plan;
    sim_report_open();
    sim_report->traced = options.trace;
    bool good = run_all(&options, &plan);
    if (!good) {
        printf("FAILED seed %llu, step %llu, %llu calls so far: %s\n",
               (unsigned long long)sim_report->seed, (unsigned long long)sim_report->step,
               (unsigned long long)(sim_report->calls_total + sim_report->calls),
               sim_report->failed);
        fflush(stdout);
        sim_report->traced = false;
        if (options.shrink) {
            sim_shrink(&plan);
        }
        return SIM_EXIT_FAILED;
    }
    sim_report_print();
    return 0;
}
