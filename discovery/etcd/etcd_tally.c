/*
 * discovery/etcd/etcd_tally.c: see discovery/etcd/etcd_tally.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_tally.h"

void etcd_tally_set(struct etcd_tally *tally, int64_t count, int64_t newest)
{
    *tally = (struct etcd_tally){.count = count, .newest = newest, .n = 1};
    tally->log[0].revision = newest;
    tally->log[0].count = count;
}

void etcd_tally_add(struct etcd_tally *tally, int64_t revision, int64_t delta)
{
    tally->count += delta;
    if (revision != tally->newest || tally->n == 0) {
        tally->head = (tally->head + 1) % ETCD_TALLY_LOG;
        tally->n += tally->n < ETCD_TALLY_LOG;
        tally->newest = revision;
    }
    tally->log[tally->head].revision = revision;
    tally->log[tally->head].count = tally->count;
}

bool etcd_tally_at(const struct etcd_tally *tally, int64_t revision, int64_t *ret_count,
                   int64_t *ret_newest)
{
    for (uint32_t i = 0; i < tally->n; i++) {
        uint32_t at = (tally->head + ETCD_TALLY_LOG - i) % ETCD_TALLY_LOG;
        if (tally->log[at].revision <= revision) {
            *ret_count = tally->log[at].count;
            *ret_newest = tally->log[at].revision;
            return true;
        }
    }
    return false;
}
