/*
 * tests/sim/fleet/fleet_chain.c: how often the last of four hops is called while its service fails.
 *
 * app -> tside -> app -> tside -> app -> tside -> app -> tside -> app: each tside tries again once, an exception of
 * an idempotent method. The budget is the product's; the decision is that of sidecar/data/call/retry.c: no retry
 * of a call that came marked, one attempt more at most, and a piece of the budget. An application passes a failure
 * and the mark on. A call takes no time; calls come evenly.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/random.h"
#include "sidecar/shared/outcome_window.h"
#include "sidecar/shared/retry_budget.h"
#include "tests/sim/fleet/fleet.h"

#include <stdio.h>

#define HOPS           4
#define CALLS_PER_S    1000
#define LENGTH_S       60
#define WARM_S         15 /* the window is full, and the floor's first second spent */
#define BUDGET_PERCENT 20
/* Attempts at the last hop per call, beside the floors: while everything fails; and at any time, as each hop's budget
 * is a share of the successes that it sees: 1.2 to the power of four. */
#define BOUND_ALL_FAIL 1.3
#define BOUND          2.08

struct rules {
    bool budget, chain_stop;
};

struct hop {
    struct retry_budget budget;
    struct outcome_window recent;
    uint64_t attempts;
};

struct chain {
    struct rules rules;
    double fails; /* of the last application's answers */
    struct lb_random random;
    uint64_t now_us;
    struct hop hops[HOPS];
    bool marked[HOPS]; /* the call that the hop has under way */
    uint64_t attempts_at_warm[HOPS];
};

static bool last_app_answers(struct chain *chain)
{
    return (double)(lb_random_next(&chain->random) >> 11) * 0x1p-53 >= chain->fails;
}

static bool may_try_again(struct chain *chain, int at)
{
    struct hop *hop = &chain->hops[at];
    struct outcome_counts recent = {0};
    if (chain->rules.chain_stop && chain->marked[at]) {
        return false;
    }
    outcome_sum(&hop->recent, chain->now_us / 1000, &recent);
    return !chain->rules.budget ||
           retry_budget_take(&hop->budget, BUDGET_PERCENT, recent.ok, chain->now_us);
}

/* One call from the first hop to the last and back: hop `at` is where it is, tries[at] its attempts there. True:
 * it was answered. */
static bool call(struct chain *chain)
{
    int tries[HOPS] = {0};
    int at = 0;
    bool good = false;
    chain->marked[0] = false;
    for (;;) {
        chain->hops[at].attempts++;
        tries[at]++;
        if (at + 1 < HOPS) { /* the application behind this hop calls on */
            chain->marked[at + 1] = chain->marked[at] || tries[at] > 1;
            tries[++at] = 0;
            continue;
        }
        good = last_app_answers(chain);
        while (good || tries[at] > 1 || !may_try_again(chain, at)) {
            outcome_add(&chain->hops[at].recent, good, chain->now_us / 1000);
            if (at-- == 0) {
                return good;
            }
        }
    }
}

static double run(struct rules rules, double fails)
{
    struct chain chain = {.rules = rules, .fails = fails};
    uint64_t calls = 0;
    lb_random_init(&chain.random, 1);
    for (uint64_t i = 0; i < (uint64_t)CALLS_PER_S * LENGTH_S; i++) {
        chain.now_us = i * 1000000 / CALLS_PER_S;
        if (chain.now_us < WARM_S * UINT64_C(1000000)) {
            (void)call(&chain);
            chain.attempts_at_warm[HOPS - 1] = chain.hops[HOPS - 1].attempts;
        } else {
            (void)call(&chain);
            calls++;
        }
    }
    return (double)(chain.hops[HOPS - 1].attempts - chain.attempts_at_warm[HOPS - 1]) /
           (double)calls;
}

bool fleet_chain(void)
{
    static const double FAILS[] = {1, 0.9, 0.5, 0.2, 0.05};
    static const struct rules RULES[] = {
        {true, true}, {true, false}, {false, true}, {false, false}};
    /* Each hop's ten a second beside the budget's share. */
    const double floor = (double)HOPS * RETRY_BUDGET_FLOOR_PER_S / CALLS_PER_S;
    bool good = true;
    printf("| the last one fails | budget, chain stop | budget | chain stop | neither |\n"
           "| --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof FAILS / sizeof FAILS[0]; i++) {
        printf("| %.0f %% ", FAILS[i] * 100);
        for (int k = 0; k < 4; k++) {
            double times = run(RULES[k], FAILS[i]);
            printf("| %.2f ", times);
            good = good && (k > 0 || times <= (i == 0 ? BOUND_ALL_FAIL : BOUND) + floor);
        }
        printf("|\n");
    }
    return good;
}
