/*
 * discovery/state/state_resume.h: what a later process needs to go on watching where this one
 * stopped.
 *
 * Plain numbers: the state file keeps them beside the keys, the etcd machine makes and takes them.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STATE_STATE_RESUME_H
#define TSIDE_DISCOVERY_STATE_STATE_RESUME_H

#include "discovery/store/store.h"

#define STATE_WATCHES_MAX DISC_SPACES /* a watch covers one space or both */

struct state_resume {
    uint64_t cluster_id; /* 0: nothing is held */
    int64_t seen[STATE_WATCHES_MAX];
    int64_t count[DISC_SPACES]; /* keys of each space, by etcd's word */
    int64_t newest[DISC_SPACES];
};

#endif
