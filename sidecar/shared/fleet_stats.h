/*
 * sidecar/shared/fleet_stats.h: what is counted of rates that hosts share. Control thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_FLEET_STATS_H
#define TSIDE_SIDECAR_SHARED_FLEET_STATS_H

#include <stdint.h>

struct fleet_stats {
    uint64_t tuples;    /* now */
    uint64_t exchanges; /* with etcd */
    uint64_t failures;  /* of them */
    uint64_t told;      /* puts and deletes */
    uint64_t crowded;   /* answers with more hosts than are listened to */
    uint64_t overflow;  /* looks at a tuple for which there was no place */
};

#endif
