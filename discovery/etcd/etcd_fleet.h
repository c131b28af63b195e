/*
 * discovery/etcd/etcd_fleet.h: hosts tell each other through etcd how much they are asked for.
 *
 *     <prefix>/<name>/<host>      value: calls per second, a JSON number; under the host's lease
 *
 * An exchange is one transaction: what this host has to tell, and for each name what all have told. Keys are under
 * a lease that each exchange keeps alive, so that a host that is gone is forgotten within ETCD_FLEET_TTL_S.
 * Control thread. One exchange at a time; an etcd that does not answer is passed over for the next one.
 *
 *     fleet = etcd_fleet_new(&options);
 *     etcd_fleet_exchange(fleet, items, n, done, arg);     done comes from the loop, once
 *     etcd_fleet_close(fleet, closed, arg);                no done any more
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_ETCD_ETCD_FLEET_H
#define TSIDE_DISCOVERY_ETCD_ETCD_FLEET_H

#include "discovery/etcd/etcd_fleet_codec.h"

#include <uv.h>

#define ETCD_FLEET_TTL_S       15
#define ETCD_FLEET_DEADLINE_MS 3000
typedef void (*etcd_fleet_done_fn)(void *arg, enum etcd_fleet_result result,
                                   const struct etcd_fleet_others others[]);

struct etcd_fleet_options { /* strings are copied */
    uv_loop_t *loop;
    const char *const *endpoints; /* "http://127.0.0.1:2379" */
    uint32_t endpoints_n;
    const char *prefix;
    const char *host; /* no slash in it; no other process may have it */
};

struct etcd_fleet;

/* NULL where libcurl cannot be set up. */
struct etcd_fleet *etcd_fleet_new(const struct etcd_fleet_options *options);
/* At most ETCD_FLEET_NAMES_MAX items; names are borrowed until this returns. */
void etcd_fleet_exchange(struct etcd_fleet *fleet, const struct etcd_fleet_item items[], uint32_t n,
                         etcd_fleet_done_fn done, void *arg);
bool etcd_fleet_is_busy(const struct etcd_fleet *fleet);
/* Why the last exchange that failed did; "" if none has. */
const char *etcd_fleet_error(const struct etcd_fleet *fleet);
void etcd_fleet_close(struct etcd_fleet *fleet, void (*closed)(void *arg), void *arg);

#endif
