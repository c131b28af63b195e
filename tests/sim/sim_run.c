/*
 * tests/sim/sim_run.c: one run: who acts next, and what is looked at in between; see sim.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/plane.h"
#include "sidecar/shared/tuple_state.h"
#include "tests/sim/sim.h"
#include "tests/sim/sim_ledger.h"

#include <string.h>

#define STEPS_MAX          4000000 /* no run takes so many: it has come to a standstill */
#define STEP_US            30      /* at most, that one step takes */
#define PAUSE_ONE_IN       400     /* steps: some milliseconds pass */
#define PAUSE_MS           3
#define CONTROL_EVERY      128 /* steps between two looks of the control thread */
#define JUMP_MS            20000
#define FAIL_OPEN_ONE_IN   10
#define MEMORY_HEALS_AFTER 3000 /* steps */

#define SEED_WORLD  UINT64_C(0x9d2c5680)
#define SEED_WORKER UINT64_C(0xefc60000)

/* ---- the host -------------------------------------------------------------------------------- */

static char empty[] = "";
static char listen_text[] = "memory";
static char entry[] = "RPC_PERSIST_DDL_REMAIN_TIME";

static struct bootstrap_listener listener(bool any_order)
{
    return (struct bootstrap_listener){
        .listen = listen_text,
        .host = listen_text,
        .caller_service = empty,
        .caller_cluster = empty,
        .callee_service = empty,
        .callee_cluster = empty,
        .any_order = any_order,
        .accept = LISTENER_ACCEPT_FRAMED | LISTENER_ACCEPT_UNFRAMED | LISTENER_ACCEPT_TTHEADER,
        .fill_log_id = true,
        .deadline_entry = entry,
        .deadline_entry_len = sizeof entry - 1,
        .deadline_rewrite = true,
        .deadline_chain_stop = true,
    };
}

static void fill_bootstrap(struct sim *sim)
{
    struct bootstrap *bootstrap = &sim->bootstrap;
    bool small = sim->plan->knobs[SIM_KNOB_SMALL_LIMITS];
    bootstrap->workers = sim->plan->workers;
    bootstrap->listeners_len = 2;
    bootstrap->listeners[0] = listener(false);
    bootstrap->listeners[1] = listener(true);
    bootstrap->limits.frame_bytes = SIM_FRAME_BYTES_MAX;
    bootstrap->limits.connections = small ? 6 : 1000;
    bootstrap->limits.upstream_connections = 1000;
    bootstrap->limits.calls = small ? 12 : 1000;
    bootstrap->limits.buffered_bytes = small ? 600000 : 100000000;
    bootstrap->limits.pipelined_calls = small ? 4 : 32;
    bootstrap->limits.metric_routes = small ? 6 : 100;
    bootstrap->limits.tuples = small ? 6 : 100;
    bootstrap->timeouts.frame_timeout_ms = 2000;
    bootstrap->timeouts.idle_ms = sim->plan->calm ? 0 : small ? 300 : 3000;
    bootstrap->timeouts.write_stall_ms = 2000;
    bootstrap->timeouts.drain_timeout_ms = 25000;
}

static void notify_control(void *owner)
{
    (void)owner; /* the control thread looks every CONTROL_EVERY steps */
}

bool sim_open_fails(struct sim_link *link)
{
    return link->home->sim->plan->knobs[SIM_KNOB_OPEN_FAILS] &&
           random_one_in(&link->random, FAIL_OPEN_ONE_IN);
}

static void open_run(struct sim *sim, const struct codec_templates *templates)
{
    const struct sim_plan *plan = sim->plan;
    sim->random.state = plan->schedule_seed;
    sim->clock_us = SIM_START_US;
    fill_bootstrap(sim);
    sim->env = (struct worker_env){
        .bootstrap = &sim->bootstrap,
        .drain_timeout_ms = sim->bootstrap.timeouts.drain_timeout_ms,
        .templates = templates,
        .tuples = tuple_table_new(sim->bootstrap.limits.metric_routes, plan->workers),
        .workers_len = plan->workers,
        .notify_control = notify_control,
        .owner = sim,
    };
    for (uint32_t i = 0; i < plan->workers; i++) {
        sim_worker_open(&sim->workers[i], sim, i, plan->schedule_seed ^ (SEED_WORKER + i));
    }
    sim_oracle_open(sim);
    for (uint32_t i = 0; i < plan->callers_len; i++) {
        sim_caller_open(&sim->callers[i], sim, i);
    }
    for (uint32_t i = 0; i < plan->callees_len; i++) {
        sim_callee_open(&sim->callees[i], sim, i);
    }
    sim_world_open(sim, templates, plan->seed ^ SEED_WORLD);
    if (!plan->knobs[SIM_KNOB_LATE_RULES]) {
        sim_world_offer(&sim->world);
    }
}

/* ---- faults ---------------------------------------------------------------------------------- */

static void want_phase(struct sim *sim, enum worker_phase phase)
{
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        worker_want_phase(sim->workers[i].worker, phase);
    }
}

static void stop_callers(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->callers_len; i++) {
        sim_caller_stop(&sim->callers[i]);
    }
}

static void drain(struct sim *sim)
{
    sim->draining = true;
    sim_world_offer(&sim->world); /* where they were to come late: now is the time */
    want_phase(sim, WORKER_DRAINING);
    sim_count(SIM_EVENT_DRAIN);
}

static void run_fault(struct sim *sim, const struct sim_plan_fault *fault)
{
    SIM_TRACE("fault: %s", sim_fault_str((enum sim_fault_kind)fault->kind));
    switch ((enum sim_fault_kind)fault->kind) {
    case SIM_FAULT_RULES:
        sim_world_change(&sim->world);
        break;
    case SIM_FAULT_MEMORY:
        sim->oracle.happened.memory_failed = true;
        sim_alloc_fail(fault->number, fault->run);
        break;
    case SIM_FAULT_JUMP:
        sim->clock_us += random_below(&sim->random, JUMP_MS) * UINT64_C(1000);
        sim_count(SIM_EVENT_JUMP);
        break;
    case SIM_FAULT_STOP:
        sim->stopped_us = sim->clock_us + random_below(&sim->random, JUMP_MS) * UINT64_C(1000);
        sim_count(SIM_EVENT_STOP);
        break;
    case SIM_FAULT_DRAIN:
        drain(sim);
        break;
    case SIM_FAULT_END:
        sim->ending = true;
        want_phase(sim, WORKER_ENDING);
        sim_count(SIM_EVENT_END);
        break;
    case SIM_FAULT_KINDS:
        break;
    }
}

static void run_faults(struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->faults_len; i++) {
        const struct sim_plan_fault *fault = &sim->plan->faults[i];
        if (!fault->off && fault->step == sim->steps) {
            run_fault(sim, fault);
        }
        if (fault->kind == SIM_FAULT_MEMORY && fault->step + MEMORY_HEALS_AFTER == sim->steps) {
            sim_alloc_heal();
        }
    }
}

/* ---- the scheduler --------------------------------------------------------------------------- */

#define ACTORS_MAX (SIM_WORKERS_MAX + SIM_CALLERS_MAX + SIM_CALLEES_MAX)

static bool is_stopped(const struct sim *sim)
{
    return sim->clock_us < sim->stopped_us;
}

/* Who can act: workers, callers, callees, by their numbers in this order. */
static uint32_t find_actors(const struct sim *sim, uint8_t actors[ACTORS_MAX])
{
    uint32_t n = 0;
    for (uint32_t i = 0; i < sim->plan->workers && !is_stopped(sim); i++) {
        if (sim_worker_can_run(&sim->workers[i])) {
            actors[n++] = (uint8_t)i;
        }
    }
    for (uint32_t i = 0; i < sim->plan->callers_len; i++) {
        if (sim_caller_can_act(&sim->callers[i])) {
            actors[n++] = (uint8_t)(SIM_WORKERS_MAX + i);
        }
    }
    for (uint32_t i = 0; i < sim->plan->callees_len; i++) {
        if (sim_callee_can_act(&sim->callees[i])) {
            actors[n++] = (uint8_t)(SIM_WORKERS_MAX + SIM_CALLERS_MAX + i);
        }
    }
    return n;
}

static uint64_t earlier(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

/* Nobody can act: the clock goes on to when somebody can. */
static void wait_for_next(struct sim *sim)
{
    uint64_t next = is_stopped(sim) ? sim->stopped_us : UINT64_MAX;
    for (uint32_t i = 0; i < sim->plan->workers && !is_stopped(sim); i++) {
        next = earlier(next, sim_worker_next_us(&sim->workers[i]));
    }
    for (uint32_t i = 0; i < sim->plan->callers_len; i++) {
        next = earlier(next, sim_caller_next_us(&sim->callers[i]));
    }
    for (uint32_t i = 0; i < sim->plan->callees_len; i++) {
        next = earlier(next, sim_callee_next_us(&sim->callees[i]));
    }
    SIM_CHECK(next != UINT64_MAX, "liveness", "nothing will ever happen again");
    sim->clock_us = next > sim->clock_us ? next : sim->clock_us;
}

static void check_worker(const struct sim *sim, const struct sim_worker *home)
{
    plane_check(home->worker);
    sim_ledger_check(sim);
}

static void run_worker(struct sim *sim, struct sim_worker *home)
{
    sim_worker_step(home);
    if (sim->steps % sim->plan->check_every == 0) {
        check_worker(sim, home);
    }
}

static void run_actor(struct sim *sim, uint32_t actor)
{
    if (actor < SIM_WORKERS_MAX) {
        run_worker(sim, &sim->workers[actor]);
    } else if (actor < SIM_WORKERS_MAX + SIM_CALLERS_MAX) {
        sim_caller_act(&sim->callers[actor - SIM_WORKERS_MAX]);
    } else {
        sim_callee_act(&sim->callees[actor - SIM_WORKERS_MAX - SIM_CALLERS_MAX]);
    }
}

static void pass_time(struct sim *sim)
{
    sim->clock_us += random_below(&sim->random, STEP_US);
    if (random_one_in(&sim->random, PAUSE_ONE_IN)) {
        sim->clock_us += random_below(&sim->random, PAUSE_MS * 1000);
    }
}

static void run_control(struct sim *sim)
{
    sim_oracle_read_rings(&sim->oracle);
    sim_world_reclaim(&sim->world);
    if (!sim->world.offered && sim->oracle.calls_len > 20) {
        sim_world_offer(&sim->world);
    }
}

static void step(struct sim *sim)
{
    uint8_t actors[ACTORS_MAX];
    sim->steps++;
    sim_report->step = sim->steps;
    SIM_CHECK(sim->steps < STEPS_MAX, "liveness", "the run does not come to its end");
    run_faults(sim);
    pass_time(sim);
    uint32_t n = find_actors(sim, actors);
    if (n == 0) {
        wait_for_next(sim);
    } else {
        run_actor(sim, actors[random_below(&sim->random, n)]);
    }
    if (sim->steps % CONTROL_EVERY == 0) {
        run_control(sim);
    }
}

/* ---- the end --------------------------------------------------------------------------------- */

static bool callers_are_done(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->callers_len; i++) {
        if (!sim_caller_is_done(&sim->callers[i])) {
            return false;
        }
    }
    return true;
}

static bool workers_have_ended(const struct sim *sim)
{
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        if (sim->workers[i].phase != SIM_PHASE_ENDED) {
            return false;
        }
    }
    return true;
}

static void run_to_end(struct sim *sim)
{
    while (!callers_are_done(sim) && !workers_have_ended(sim)) {
        step(sim);
    }
    sim_alloc_heal();
    stop_callers(sim);
    if (!sim->draining) {
        drain(sim);
    }
    while (!workers_have_ended(sim)) {
        step(sim);
    }
}

static void close_run(struct sim *sim)
{
    sim_oracle_check_end(&sim->oracle);
    sim_ledger_check_end(sim);
    for (uint32_t i = 0; i < sim->plan->callers_len; i++) {
        sim_caller_done(&sim->callers[i]);
    }
    for (uint32_t i = 0; i < sim->plan->callees_len; i++) {
        sim_callee_done(&sim->callees[i]);
    }
    for (uint32_t i = 0; i < sim->plan->workers; i++) {
        sim_worker_free(&sim->workers[i]);
    }
    sim_world_close(&sim->world);
    tuple_table_free(sim->env.tuples);
    sim_oracle_close(&sim->oracle);
}

void sim_run(const struct sim_plan *plan, const struct codec_templates *templates)
{
    struct sim *sim = sim_take(sizeof *sim);
    sim->plan = plan;
    sim_report->seed = plan->seed;
    sim_report->failed[0] = '\0';
    sim_alloc_heal(); /* what the run before had armed */
    open_run(sim, templates);
    run_to_end(sim);
    close_run(sim);
    sim_report->runs++;
    sim_report->calls_total += sim->oracle.calls_len;
    sim_report->steps_total += sim->steps;
    sim_give(sim);
}
