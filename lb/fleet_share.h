/*
 * lb/fleet_share.h: one host's part of a rate that the hosts of a fleet share (config `rate_scope: fleet`).
 *
 * Each host tells the others how many calls a second it is asked for, and all compute the same parts from the
 * same numbers: max-min fairness by water filling (Bertsekas and Gallager, Data Networks, section 6.5.2). Who asks
 * for less than an equal part gets what it asks for; what that leaves over is shared by those who want more. Where
 * all ask for less than there is, the rest is spread equally, for a demand that grows.
 *
 *     lb_fleet_join(&member, per_s);
 *     if (lb_fleet_tell(&member, demand))  the others are to know member.told; 0: nothing any more
 *     lb_fleet_learn(&member, others, n, total);   member.share
 *
 * Who gets what it asks for may take a tenth more, so that its part is not outgrown at once. What is told changes only
 * where the demand has changed by more than a twentieth. Demands and shares are in calls per second.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_FLEET_SHARE_H
#define TSIDE_LB_FLEET_SHARE_H

#include "lb/limiter.h"

#define LB_FLEET_HOSTS_MAX 100 /* above: each gets an equal part */

struct lb_fleet_member {
    double per_s; /* of the whole fleet */
    double told;  /* what the others know; 0: that this host asks for nothing */
    double share;
    uint32_t hosts; /* that asked for something when it learned last, this one among them */
};

/* Until it learns of others, it has all. */
void lb_fleet_join(struct lb_fleet_member *member, uint32_t per_s);
/* Whether what was told is no longer so. */
bool lb_fleet_tell(struct lb_fleet_member *member, double demand);
/* n demands that others have told, of `total` hosts that have told one beside this one. */
void lb_fleet_learn(struct lb_fleet_member *member, const double others[], uint32_t n,
                    uint32_t total);

/* The bucket of a share of the rate: as deep in time as the whole rate's, but no less than two tokens: one that holds
 * a single one loses what comes while it is full. */
struct lb_rate lb_fleet_rate(const struct lb_rate *whole, uint64_t token);
/* The time that brings one token at so many a second. */
uint64_t lb_fleet_token(double share);

#endif
