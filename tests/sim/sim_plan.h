/*
 * tests/sim/sim_plan.h: what a seed means: who calls, who is called, and what goes wrong when.
 *
 * A plan is a list of items, each of which can be switched off by its number without changing what
 * the others do, for every peer and the scheduler draw from a seed of their own. That is what
 * makes a failing seed shrink (sim_shrink.h).
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_PLAN_H
#define TSIDE_TESTS_SIM_PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#define SIM_WORKERS_MAX 3
#define SIM_CALLERS_MAX 24
#define SIM_CALLEES_MAX 6
#define SIM_FAULTS_MAX  32
#define SIM_ITEMS_MAX   (SIM_CALLERS_MAX + SIM_CALLEES_MAX + SIM_FAULTS_MAX + SIM_KNOB_MAX)
#define SIM_CALLS_EACH  64 /* calls of a caller, where nothing else is said */

enum sim_caller_kind {
    SIM_CALLER_POLITE = 0, /* one call at a time, waits for each reply */
    SIM_CALLER_PIPELINING,
    SIM_CALLER_FLOODING, /* pipelines beyond the limit, with large messages */
    SIM_CALLER_SLOW,     /* writes and reads a few bytes at a time */
    SIM_CALLER_HALF_CLOSING,
    SIM_CALLER_VANISHING,
    SIM_CALLER_HOSTILE,  /* damaged messages, broken streams */
    SIM_CALLER_SLEEPING, /* pipelines and does not take its replies for long */
    SIM_CALLER_SPRAYING, /* oneway messages, among calls */
    SIM_CALLER_KINDS
};

enum sim_callee_kind {
    SIM_CALLEE_QUICK = 0,
    SIM_CALLEE_SLOW,      /* takes its time, takes few bytes */
    SIM_CALLEE_SILENT,    /* often never answers */
    SIM_CALLEE_CUTTING,   /* ends connections within replies, or behind them */
    SIM_CALLEE_LATE,      /* answers about when the time is up */
    SIM_CALLEE_LYING,     /* answers what was not asked */
    SIM_CALLEE_RESETTING, /* resets connections at any time */
    SIM_CALLEE_REFUSING,  /* cannot be connected to: at once, later, or never */
    SIM_CALLEE_KINDS
};

enum sim_fault_kind {
    SIM_FAULT_RULES = 0, /* another set of rules comes */
    SIM_FAULT_MEMORY,    /* some allocations fail */
    SIM_FAULT_JUMP,      /* the host stands still for a while: a suspended machine */
    SIM_FAULT_STOP,      /* tside does, and its peers go on: a stopped process */
    SIM_FAULT_DRAIN,
    SIM_FAULT_END,
    SIM_FAULT_KINDS
};

enum sim_knob {
    SIM_KNOB_PARTIAL = 0,    /* reads and writes end at any byte */
    SIM_KNOB_WORKERS,        /* more than one */
    SIM_KNOB_SMALL_LIMITS,   /* limits of the host that are hit */
    SIM_KNOB_LATE_RULES,     /* the first rules come after the first calls */
    SIM_KNOB_LARGE_MESSAGES, /* some are beyond what a turn reads */
    SIM_KNOB_OPEN_FAILS,     /* accepted connections fail at once, now and then */
    SIM_KNOB_MAX
};

struct sim_plan_peer {
    uint8_t kind;
    bool off; /* a caller: calls nobody; a callee: is a quick one */
    uint64_t seed;
};

struct sim_plan_fault {
    uint8_t kind;
    bool off;
    uint64_t step; /* when */
    uint32_t number;
    uint32_t run;
};

struct sim_plan {
    uint64_t seed;
    uint64_t schedule_seed;
    uint32_t calls_each;  /* of one caller */
    uint32_t check_every; /* steps between two looks at every object */
    bool calm;            /* nothing goes wrong: accounts must agree to the call */
    bool knobs[SIM_KNOB_MAX];
    uint32_t workers;
    uint32_t callers_len, callees_len, faults_len;
    struct sim_plan_peer callers[SIM_CALLERS_MAX];
    struct sim_plan_peer callees[SIM_CALLEES_MAX];
    struct sim_plan_fault faults[SIM_FAULTS_MAX];
};

/* The plan of this seed; calls_each 0: as usual. */
void sim_plan_make(struct sim_plan *plan, uint64_t seed, uint32_t calls_each);

/* Items are counted: callers, callees, faults, knobs. */
uint32_t sim_plan_items(const struct sim_plan *plan);
/* Whether the item does anything. */
bool sim_plan_is_on(const struct sim_plan *plan, uint32_t item);
void sim_plan_switch_off(struct sim_plan *plan, uint32_t item);

const char *sim_fault_str(enum sim_fault_kind kind);

/* What is on, a line each: the script of a failing seed. */
void sim_plan_print(const struct sim_plan *plan, FILE *out);

#endif
