/*
 * tests/sim/sim_world.h: rules and endpoints, in the real store, and their snapshots.
 *
 * What the control thread does in the process: it changes keys, offers snapshots, frees old ones,
 * reads the rings. Endpoint states are kept to the end of the run, to be looked at when all is
 * quiet.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_WORLD_H
#define TSIDE_TESTS_SIM_WORLD_H

#include "discovery/store/store.h"
#include "sidecar/server/snapshots.h"
#include "sidecar/shared/endpoint_state.h"
#include "tests/codec/random.h"
#include "tests/sim/sim_framing.h"

#define SIM_ENDPOINTS_MAX  256 /* states made in a run: an endpoint that comes again gets another */
#define SIM_SERVICES       2
#define SIM_TIMEOUT_MIN_MS 20 /* no timeout of the rules is shorter; receive_timeout_ms neither */

struct sim;

struct sim_world {
    struct sim *sim;
    struct disc_store *store;
    struct snapshots snapshots;
    bool offered;
    int64_t revision;
    struct random random;
    uint32_t states_len;
    struct endpoint_state *states[SIM_ENDPOINTS_MAX]; /* counted */

    /* What the rules have been at any time of the run. */
    uint32_t timeout_max_ms;
    uint32_t max_connections;
    uint32_t max_waiting;
    uint32_t max_idle;
    uint32_t mode_taste; /* which service has which pool.mode */
    bool in_order;       /* where calls share connections it is pipeline, else mux */
    uint32_t eject_percent;
    bool clusters_changed; /* one that is ejected may have been out of its cluster meanwhile */
    bool denied, degraded, lost_endpoints, limited, breakers;
    struct {
        bool idempotent;
        bool mux;                 /* calls may share connections */
        enum sim_framing framing; /* its callees' */
        uint32_t sent_max;        /* times that a call may be sent: first, retries and hedge */
        uint32_t calls_max;       /* max_concurrency; UINT32_MAX: there was none for a while */
    } service[SIM_SERVICES];
};

void sim_world_open(struct sim *sim, const struct codec_templates *templates, uint64_t seed);
/* Offers the newest snapshot, and every one from now on. */
void sim_world_offer(struct sim_world *world);
/* Another set of rules, from the world's own seed. */
void sim_world_change(struct sim_world *world);
/* Frees what no worker holds any more. */
void sim_world_reclaim(struct sim_world *world);
/* When the workers have been freed. */
void sim_world_close(struct sim_world *world);

#define SIM_CLUSTERS (SIM_SERVICES + 1)
/* Which of the clusters a callee is in. */
uint32_t sim_world_cluster(uint32_t callee);

/* "svc.0", "svc.1". */
const char *sim_service_name(uint32_t service);

#endif
