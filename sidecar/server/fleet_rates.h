/*
 * sidecar/server/fleet_rates.h: rates that the hosts of a fleet share (config `rate_scope: fleet`).
 *
 * Control thread. Workers count what each tuple is asked for; every FLEET_PERIOD_MS this host tells etcd, learns what
 * the others are asked for, and sets its own part (lb/fleet_share.h). A tuple that begins to be called is told within
 * FLEET_TICK_MS. While etcd does not answer the last part stays; before the first answer, and without etcd, the
 * whole rate holds here.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SERVER_FLEET_RATES_H
#define TSIDE_SIDECAR_SERVER_FLEET_RATES_H

#include "discovery/etcd/etcd_fleet.h"
#include "lb/fleet_share.h"
#include "sidecar/base/bootstrap.h"
#include "sidecar/base/log.h"
#include "sidecar/shared/fleet_stats.h"
#include "sidecar/shared/tuple_state.h"

#define FLEET_PERIOD_MS 5000
#define FLEET_TICK_MS   1000
/* Tuples with such a rate that are called on this host; each beyond has the whole rate. */
#define FLEET_TUPLES_MAX ETCD_FLEET_NAMES_MAX

struct fleet_tuple {
    char *name;              /* as in keys; NULL: nobody has the place */
    struct disc_tuple names; /* point into text */
    char *text;
    struct lb_fleet_member member;
    uint64_t asked; /* of its calls, when they were looked at last */
    double stored;  /* what etcd has; -1: not known */
    uint32_t sent;  /* in the exchange under way: 1 + the place of its answer; 0: not in it */
    bool is_seen;   /* in this look over the table */
    bool is_new;    /* asked for something, and told nothing yet */
};

struct fleet_rates {
    const struct bootstrap *bootstrap;
    struct log *log;
    struct tuple_table *tuples;
    struct etcd_fleet *exchange; /* NULL: no etcd */
    uv_timer_t tick;
    uint64_t random;
    uint64_t looked_ms; /* when demands were taken last */
    uint64_t next_ms;   /* no exchange before, but for new ones */
    bool told_alone;    /* that there is no etcd to share by was logged */
    bool failing;       /* the last exchange failed, which was logged */
    struct fleet_stats stats;
    struct fleet_tuple tuple[FLEET_TUPLES_MAX];
};

/* False: out of memory or descriptors. What is given is borrowed until fleet_rates_close(). */
bool fleet_rates_start(struct fleet_rates *rates, uv_loop_t *loop,
                       const struct bootstrap *bootstrap, struct log *log,
                       struct tuple_table *tuples) __attribute__((warn_unused_result));
/* Handles are gone when the loop has ended. */
void fleet_rates_close(struct fleet_rates *rates);

#endif
