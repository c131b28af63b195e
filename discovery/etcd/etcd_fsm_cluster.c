/*
 * discovery/etcd/etcd_fsm_cluster.c: whose answers count: the known cluster's, by its id.
 *
 * A member that lost its data and was started as a cluster of its own answers at its old address,
 * and so does whatever took over an address. Its revisions and its silence about keys mean nothing.
 * So an address with another cluster's id is passed over like one that is down, for as long as any
 * address has the known cluster. Only where none had it for stranger_ms, with all of them tried, is
 * the stranger believed: it is listed, and what it lacks is held (etcd_fsm_held.c). If the known
 * cluster shows itself before that list is complete, the list is dropped.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_fsm_internal.h"

bool fsm_is_stranger(const struct etcd_fsm *fsm, uint64_t cluster_id)
{
    return fsm->cluster_id != 0 && cluster_id != fsm->cluster_id && cluster_id != fsm->believed_id;
}

void fsm_cluster_known(struct etcd_fsm *fsm, uint64_t cluster_id)
{
    fsm->cluster_id = cluster_id;
    fsm->believed_id = 0;
    fsm->known_ms = fsm->now_ms;
    fsm->tried = 0;
}

static bool is_gone_for_long(const struct etcd_fsm *fsm)
{
    return fsm->now_ms - fsm->known_ms >= fsm->timing.stranger_ms && fsm->tried >= fsm->endpoints;
}

bool fsm_leaves_stranger(struct etcd_fsm *fsm, uint64_t cluster_id)
{
    if (cluster_id == fsm->cluster_id) {
        fsm_cluster_known(fsm, cluster_id);
    }
    if (!fsm_is_stranger(fsm, cluster_id)) {
        return false;
    }
    fsm->stats.strangers++;
    if (is_gone_for_long(fsm)) {
        fsm->believed_id = cluster_id;
        fsm_list_begin(fsm, ETCD_RELIST_CLUSTER);
    } else if (fsm->state == ETCD_STATE_LIST) {
        fsm_list_fail(fsm);
    } else {
        fsm_watch_lost(fsm);
    }
    return true;
}
