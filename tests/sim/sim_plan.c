/*
 * tests/sim/sim_plan.c: see sim_plan.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "tests/sim/sim_plan.h"

#include "tests/codec/random.h"

#include <string.h>

/* About so many steps of the scheduler make a call: faults are spread over the run by it. */
#define STEPS_A_CALL 24

static const char *const caller_names[SIM_CALLER_KINDS] = {"polite",  "pipelining",   "flooding",
                                                           "slow",    "half-closing", "vanishing",
                                                           "hostile", "sleeping",     "spraying"};
static const char *const callee_names[SIM_CALLEE_KINDS] = {
    "quick", "slow", "silent", "cutting", "late", "lying", "resetting", "refusing"};
static const char *const fault_names[SIM_FAULT_KINDS] = {"rules", "memory", "jump",
                                                         "stop",  "drain",  "end"};
static const char *const knob_names[SIM_KNOB_MAX] = {
    "partial reads and writes", "several workers", "small limits", "late rules",
    "large messages",           "failing accepts"};

/* Callers and callees of a calm run: nothing that ends a call early. */
static const uint8_t calm_callers[] = {SIM_CALLER_POLITE, SIM_CALLER_PIPELINING, SIM_CALLER_SLOW,
                                       SIM_CALLER_HALF_CLOSING, SIM_CALLER_SPRAYING};
static const uint8_t calm_callees[] = {SIM_CALLEE_QUICK, SIM_CALLEE_SLOW};

/* One of so many kinds, of these in a calm run. */
static struct sim_plan_peer plan_peer(const struct sim_plan *plan, struct random *random,
                                      uint32_t kinds, const uint8_t calm_kinds[], uint32_t calm_len)
{
    uint8_t any = (uint8_t)random_below(random, kinds);
    uint8_t calm = calm_kinds[random_below(random, calm_len)];
    return (struct sim_plan_peer){.kind = plan->calm ? calm : any, .seed = random_next(random)};
}

static void plan_callers(struct sim_plan *plan, struct random *random)
{
    plan->callers_len = 3 + random_below(random, SIM_CALLERS_MAX - 3);
    for (uint32_t i = 0; i < plan->callers_len; i++) {
        plan->callers[i] =
            plan_peer(plan, random, SIM_CALLER_KINDS, calm_callers, sizeof calm_callers);
    }
}

static void plan_callees(struct sim_plan *plan, struct random *random)
{
    plan->callees_len = 2 + random_below(random, SIM_CALLEES_MAX - 1);
    for (uint32_t i = 0; i < plan->callees_len; i++) {
        plan->callees[i] =
            plan_peer(plan, random, SIM_CALLEE_KINDS, calm_callees, sizeof calm_callees);
    }
}

static uint64_t total_steps(const struct sim_plan *plan)
{
    return (uint64_t)plan->callers_len * plan->calls_each * STEPS_A_CALL;
}

static void add_fault(struct sim_plan *plan, struct random *random, enum sim_fault_kind kind)
{
    if (plan->faults_len < SIM_FAULTS_MAX) {
        plan->faults[plan->faults_len++] = (struct sim_plan_fault){
            .kind = (uint8_t)kind,
            .step = 1 + random_next(random) % (total_steps(plan) + 1),
            .number = 1 + random_below(random, 200),
            .run = random_one_in(random, 3) ? 1 + random_below(random, 50) : 1,
        };
    }
}

static void plan_faults(struct sim_plan *plan, struct random *random)
{
    uint32_t rules = random_below(random, 10);
    for (uint32_t i = 0; i < rules; i++) {
        add_fault(plan, random, SIM_FAULT_RULES);
    }
    if (plan->calm) {
        return;
    }
    bool memory = random_one_in(random, 3);
    for (uint32_t i = memory ? 1 + random_below(random, 12) : 0; i > 0; i--) {
        add_fault(plan, random, SIM_FAULT_MEMORY);
    }
    for (uint32_t i = random_below(random, 6); i > 0; i--) {
        add_fault(plan, random, random_one_in(random, 2) ? SIM_FAULT_JUMP : SIM_FAULT_STOP);
    }
    if (random_one_in(random, 3)) {
        add_fault(plan, random, SIM_FAULT_DRAIN);
        if (random_one_in(random, 2)) {
            add_fault(plan, random, SIM_FAULT_END);
        }
    }
}

static void plan_knobs(struct sim_plan *plan, struct random *random)
{
    plan->workers = 1 + random_below(random, SIM_WORKERS_MAX);
    plan->knobs[SIM_KNOB_WORKERS] = plan->workers > 1;
    plan->knobs[SIM_KNOB_PARTIAL] = random_one_in(random, 2);
    plan->knobs[SIM_KNOB_LATE_RULES] = random_one_in(random, 8);
    plan->knobs[SIM_KNOB_LARGE_MESSAGES] = random_one_in(random, 3);
    plan->knobs[SIM_KNOB_SMALL_LIMITS] = !plan->calm && random_one_in(random, 3);
    plan->knobs[SIM_KNOB_OPEN_FAILS] = !plan->calm && random_one_in(random, 8);
}

void sim_plan_make(struct sim_plan *plan, uint64_t seed, uint32_t calls_each)
{
    struct random random = {.state = seed * UINT64_C(0x2545f4914f6cdd1d)};
    memset(plan, 0, sizeof *plan);
    plan->seed = seed;
    plan->schedule_seed = random_next(&random);
    plan->calm = random_one_in(&random, 4);
    plan->check_every = random_one_in(&random, 8) ? 1 : 16;
    plan->calls_each = SIM_CALLS_EACH;
    plan_callers(plan, &random);
    plan_callees(plan, &random);
    plan_knobs(plan, &random);
    plan_faults(plan, &random);
    plan->calls_each = calls_each ? calls_each : SIM_CALLS_EACH;
}

/* ---- items ----------------------------------------------------------------------------------- */

uint32_t sim_plan_items(const struct sim_plan *plan)
{
    return plan->callers_len + plan->callees_len + plan->faults_len + SIM_KNOB_MAX;
}

/* The flag that says whether the item is off; of a knob: whether it is on. */
static bool *flag_of(struct sim_plan *plan, uint32_t item, bool *ret_off_means)
{
    *ret_off_means = true;
    if (item < plan->callers_len) {
        return &plan->callers[item].off;
    }
    item -= plan->callers_len;
    if (item < plan->callees_len) {
        return &plan->callees[item].off;
    }
    item -= plan->callees_len;
    if (item < plan->faults_len) {
        return &plan->faults[item].off;
    }
    *ret_off_means = false;
    return &plan->knobs[item - plan->faults_len];
}

bool sim_plan_is_on(const struct sim_plan *plan, uint32_t item)
{
    struct sim_plan copy = *plan;
    bool off_means;
    const bool *flag = flag_of(&copy, item, &off_means);
    return *flag != off_means;
}

void sim_plan_switch_off(struct sim_plan *plan, uint32_t item)
{
    bool off_means;
    bool *flag = flag_of(plan, item, &off_means);
    *flag = off_means;
    plan->workers = plan->knobs[SIM_KNOB_WORKERS] ? plan->workers : 1;
}

/* ---- in words -------------------------------------------------------------------------------- */

const char *sim_fault_str(enum sim_fault_kind kind)
{
    return fault_names[kind];
}

static void print_faults(const struct sim_plan *plan, FILE *out)
{
    for (uint32_t i = 0; i < plan->faults_len; i++) {
        const struct sim_plan_fault *fault = &plan->faults[i];
        if (!fault->off) {
            fprintf(out, "  at step %llu: %s (%u, %u)\n", (unsigned long long)fault->step,
                    fault_names[fault->kind], fault->number, fault->run);
        }
    }
}

void sim_plan_print(const struct sim_plan *plan, FILE *out)
{
    fprintf(out, "  %u workers%s, %u calls each\n", plan->workers, plan->calm ? ", calm" : "",
            plan->calls_each);
    for (uint32_t i = 0; i < plan->callers_len; i++) {
        if (!plan->callers[i].off) {
            fprintf(out, "  caller %u: %s\n", i, caller_names[plan->callers[i].kind]);
        }
    }
    for (uint32_t i = 0; i < plan->callees_len; i++) {
        fprintf(out, "  callee %u: %s\n", i,
                callee_names[plan->callees[i].off ? SIM_CALLEE_QUICK : plan->callees[i].kind]);
    }
    for (int i = 0; i < SIM_KNOB_MAX; i++) {
        if (plan->knobs[i]) {
            fprintf(out, "  %s\n", knob_names[i]);
        }
    }
    print_faults(plan, out);
}
