/*
 * lb/fleet_share.c: see lb/fleet_share.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/fleet_share.h"

#define HEADROOM  1.1  /* of what was told, where that can be met */
#define TOLERANCE 0.05 /* of what was told: less is no news */
#define LEAST     0.01 /* a second: less is nothing */
#define TOKEN_MAX ((uint64_t)LB_LIMITER_PER_US * 1000000 * 1000)

void lb_fleet_join(struct lb_fleet_member *member, uint32_t per_s)
{
    *member = (struct lb_fleet_member){.per_s = per_s, .share = per_s, .hosts = 1};
}

bool lb_fleet_tell(struct lb_fleet_member *member, double demand)
{
    double tell = demand < LEAST ? 0 : demand;
    double change = tell > member->told ? tell - member->told : member->told - tell;
    if (tell > 0 ? change <= member->told * TOLERANCE : member->told == 0) {
        return false;
    }
    member->told = tell;
    return true;
}

static double smaller(double a, double b)
{
    return a < b ? a : b;
}

/* The level up to which demands are met: with it, all that is met together is per_s. There is more demand than
 * that. */
static double level(double per_s, double own, const double others[], uint32_t n)
{
    double at = per_s / (n + 1.0), before;
    do {
        double met = own <= at ? own : 0;
        uint32_t wanting = own > at;
        for (uint32_t i = 0; i < n; i++) {
            met += others[i] <= at ? others[i] : 0;
            wanting += others[i] > at;
        }
        before = at;
        at = wanting > 0 ? (per_s - met) / wanting : at;
    } while (at > before); /* each round meets at least one demand more */
    return at;
}

void lb_fleet_learn(struct lb_fleet_member *member, const double others[], uint32_t n,
                    uint32_t total)
{
    double sum = member->told;
    uint32_t hosts = total + 1;
    member->hosts = hosts;
    if (n < total || hosts > LB_FLEET_HOSTS_MAX || member->told == 0) {
        member->share = member->per_s / hosts;
        return;
    }
    for (uint32_t i = 0; i < n; i++) {
        sum += others[i];
    }
    member->share = sum > member->per_s ? smaller(member->told * HEADROOM,
                                                  level(member->per_s, member->told, others, n))
                                        : member->told + (member->per_s - sum) / hosts;
}

uint64_t lb_fleet_token(double share)
{
    double token = 1e6 * LB_LIMITER_PER_US / share;
    return token < (double)TOKEN_MAX ? (uint64_t)(token + 0.5) : TOKEN_MAX;
}

struct lb_rate lb_fleet_rate(const struct lb_rate *whole, uint64_t token)
{
    uint64_t least = token > whole->token ? 2 * token : token;
    return (struct lb_rate){.token = token, .depth = whole->depth > least ? whole->depth : least};
}
