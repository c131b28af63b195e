/*
 * fleet_rate.c: hosts that share a rate through etcd (config rate_scope: fleet): how near they come to it.
 *
 * The parts are computed by lb/fleet_share.h, and tokens taken by lb/limiter.h, as in the product; who tells what and
 * when is that of sidecar/server/fleet_rates.c: a look a second, an exchange every five seconds, or when a host begins
 * to be asked, and a second behind that. etcd is a table of what hosts have told, forgotten 15 s after the last exchange of its host.
 *
 * Calls come evenly at each host. What passes is compared, over windows of 10 s, with what a limiter that saw all
 * hosts would let pass.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/fleet_share.h"
#include "lb/random.h"
#include "tests/sim/fleet/fleet.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define RATE      1000
#define LENGTH_S  600
#define PERIOD_MS 5000
#define JITTER_MS 1000
#define LOOK_MS   1000
#define TTL_MS    15000
#define STEP_MS   10
#define WINDOW_S  10
#define HOSTS_MAX 120

struct situation {
    const char *name;
    uint32_t hosts;
    double demand; /* of the fleet, in rates */
    enum shape { SHAPE_EVEN, SHAPE_UNEVEN, SHAPE_MOVING, SHAPE_COMING, SHAPE_NONE } shape;
    bool outage;                  /* of etcd, from 200 s to 320 s */
    double most_over, most_under; /* promised, of what may pass, on average */
};

struct host {
    struct lb_fleet_member member;
    bool is_here;   /* has been asked */
    uint64_t token; /* 0: the whole rate */
    uint64_t full_at;
    uint64_t asked, asked_before;
    uint64_t looked_ms, next_ms, tick_ms;
    double due;             /* part of a call */
    double told;            /* what etcd has */
    uint64_t told_until_ms; /* and until when; 0: nothing */
};

struct fleet {
    const struct situation *situation;
    struct lb_random random;
    uint64_t now_ms;
    uint64_t writes;
    struct host hosts[HOSTS_MAX];
};

static uint32_t below(struct fleet *fleet, uint32_t n)
{
    return (uint32_t)((lb_random_next(&fleet->random) >> 33) % n);
}

/* What a host is asked for, as a share of the fleet's. */
static double share_of(const struct fleet *fleet, uint32_t i)
{
    uint32_t n = fleet->situation->hosts;
    uint64_t s = fleet->now_ms / 1000;
    double sum = 0;
    switch (fleet->situation->shape) {
    case SHAPE_UNEVEN: /* the k-th has a k-th of the first one's */
        for (uint32_t k = 0; k < n; k++) {
            sum += 1.0 / (k + 1);
        }
        return 1.0 / (i + 1) / sum;
    case SHAPE_MOVING: /* half of it comes at one host, another one every minute */
        return 0.5 / n + (i == s / 60 % n ? 0.5 : 0);
    case SHAPE_COMING: /* a tenth of the hosts sleeps, in turns of a minute */
        return i % 10 == s / 60 % 10 ? 0 : 1.0 / n;
    default:
        return 1.0 / n;
    }
}

static bool etcd_answers(const struct fleet *fleet)
{
    return !fleet->situation->outage || fleet->now_ms < 200000 || fleet->now_ms >= 320000;
}

static void learn(struct fleet *fleet, struct host *host)
{
    double others[LB_FLEET_HOSTS_MAX];
    uint32_t n = 0, total = 0;
    for (uint32_t i = 0; i < fleet->situation->hosts; i++) {
        const struct host *other = &fleet->hosts[i];
        if (other == host || other->told_until_ms <= fleet->now_ms) {
            continue;
        }
        total++;
        if (n < LB_FLEET_HOSTS_MAX) {
            others[n++] = other->told;
        }
    }
    lb_fleet_learn(&host->member, others, n, total);
    host->token = host->member.share >= RATE ? 0 : lb_fleet_token(host->member.share);
}

static void exchange(struct fleet *fleet, struct host *host, bool is_new)
{
    double passed_s = (double)(fleet->now_ms - host->looked_ms) / 1000;
    double demand = (double)(host->asked - host->asked_before) / (passed_s < 1 ? 1 : passed_s);
    (void)lb_fleet_tell(&host->member, demand);
    host->asked_before = host->asked;
    host->looked_ms = fleet->now_ms;
    host->next_ms = is_new ? fleet->now_ms + LOOK_MS
                           : fleet->now_ms + PERIOD_MS - JITTER_MS / 2 + below(fleet, JITTER_MS);
    bool is_stored = host->told_until_ms > fleet->now_ms;
    bool tells = host->member.told != (is_stored ? host->told : 0);
    if (!etcd_answers(fleet) || (!tells && host->member.told == 0)) {
        return;
    }
    fleet->writes += tells;
    host->told = host->member.told;
    host->told_until_ms = host->told > 0 ? fleet->now_ms + TTL_MS : 0;
    learn(fleet, host);
}

static void look(struct fleet *fleet, struct host *host)
{
    host->tick_ms += LOOK_MS;
    bool is_new = host->member.told == 0 && host->asked > host->asked_before;
    if (!host->is_here && host->asked > 0) {
        lb_fleet_join(&host->member, RATE);
        host->is_here = true;
    }
    if (host->is_here && (is_new || fleet->now_ms >= host->next_ms)) {
        exchange(fleet, host, is_new);
    }
}

/* The calls of a step; returns how many pass. */
static uint32_t call(struct fleet *fleet, struct host *host, double demand)
{
    const struct lb_rate whole = lb_rate_of(RATE, 0);
    uint32_t passed = 0;
    host->due += demand * STEP_MS / 1000;
    for (; host->due >= 1; host->due--) {
        struct lb_rate rate = host->token > 0 ? lb_fleet_rate(&whole, host->token) : whole;
        host->asked++;
        passed += lb_limiter_take(host->full_at, &rate, fleet->now_ms * 1000 + 1, &host->full_at);
    }
    return passed;
}

static uint32_t step(struct fleet *fleet)
{
    const struct situation *situation = fleet->situation;
    uint32_t passed = 0;
    for (uint32_t i = 0; i < situation->hosts; i++) {
        struct host *host = &fleet->hosts[i];
        passed += call(fleet, host, share_of(fleet, i) * situation->demand * RATE);
        if (situation->shape != SHAPE_NONE && fleet->now_ms >= host->tick_ms) {
            look(fleet, host);
        }
    }
    fleet->now_ms += STEP_MS;
    return passed;
}

static double larger(double a, double b)
{
    return a > b ? a : b;
}

/* What a limiter that saw all hosts would let pass in a second. */
static double ideal(const struct fleet *fleet)
{
    double sum = 0;
    for (uint32_t i = 0; i < fleet->situation->hosts; i++) {
        sum += share_of(fleet, i) * fleet->situation->demand * RATE;
    }
    return sum < RATE ? sum : RATE;
}

struct outcome {
    double over, under;           /* on average, of what may pass */
    double most_over, most_under; /* in one window */
    double writes_per_s;
};

static struct outcome run(const struct situation *situation)
{
    struct outcome ret = {0};
    struct fleet *fleet = calloc(1, sizeof *fleet);
    fleet->situation = situation;
    lb_random_init(&fleet->random, 7);
    for (uint32_t i = 0; i < situation->hosts; i++) {
        fleet->hosts[i].tick_ms = below(fleet, LOOK_MS);
        fleet->hosts[i].due = below(fleet, 1000) / 1000.0; /* not all in one step */
    }
    for (uint32_t w = 0; w < LENGTH_S / WINDOW_S; w++) {
        double passed = 0, may = 0;
        for (uint32_t i = 0; i < WINDOW_S * 1000 / STEP_MS; i++) {
            may += ideal(fleet) * STEP_MS / 1000;
            passed += step(fleet);
        }
        ret.over += larger(passed / may - 1, 0) * WINDOW_S / LENGTH_S;
        ret.under += larger(1 - passed / may, 0) * WINDOW_S / LENGTH_S;
        ret.most_over = larger(ret.most_over, passed / may - 1);
        ret.most_under = larger(ret.most_under, 1 - passed / may);
    }
    ret.writes_per_s = (double)fleet->writes / LENGTH_S;
    free(fleet);
    return ret;
}

bool fleet_rate(void)
{
    static const struct situation situations[] = {
        {"even, twice the rate", 10, 2, SHAPE_EVEN, false, 0.02, 0.02},
        {"even, twice the rate", 100, 2, SHAPE_EVEN, false, 0.02, 0.02},
        {"even, half of the rate", 100, 0.5, SHAPE_EVEN, false, 0.02, 0.02},
        {"uneven, twice the rate", 10, 2, SHAPE_UNEVEN, false, 0.02, 0.02},
        {"uneven, twice the rate", 100, 2, SHAPE_UNEVEN, false, 0.02, 0.02},
        {"half of it moves, twice", 10, 2, SHAPE_MOVING, false, 0.02, 0.02},
        {"half of it moves, twice", 100, 2, SHAPE_MOVING, false, 0.02, 0.02},
        {"a tenth comes and goes", 100, 2, SHAPE_COMING, false, 0.02, 0.02},
        {"etcd is down for 120 s", 10, 2, SHAPE_EVEN, true, 0.02, 0.02},
        {"half moves, etcd down", 10, 2, SHAPE_MOVING, true, 0.02, 0.02},
        {"120 hosts: equal parts", 120, 2, SHAPE_EVEN, false, 0.02, 0.02},
        {"nothing is shared", 10, 2, SHAPE_NONE, false, 1.1, 0.02},
    };
    bool good = true;
    printf("hosts share %d calls a second for %d s; windows of %d s\n", RATE, LENGTH_S, WINDOW_S);
    printf("| demand | hosts | over %% | under %% | worst window over %% | under %% | writes/s |\n"
           "| --- | --- | --- | --- | --- | --- | --- |\n");
    for (size_t i = 0; i < sizeof situations / sizeof situations[0]; i++) {
        const struct situation *situation = &situations[i];
        struct outcome outcome = run(situation);
        bool holds = outcome.over <= situation->most_over && outcome.under <= situation->most_under;
        printf("| %s | %u | %.2f | %.2f | %.1f | %.1f | %.2f |%s\n", situation->name,
               situation->hosts, 100 * outcome.over, 100 * outcome.under, 100 * outcome.most_over,
               100 * outcome.most_under, outcome.writes_per_s, holds ? "" : " NOT AS PROMISED");
        good = good && holds;
    }
    return good;
}
