/*
 * discovery/etcd/etcd_fsm_endpoints.c: which endpoint is tried next, while they come and go.
 *
 * The order is shuffled once, so that a fleet spreads. New endpoints come in at random places;
 * those that stay keep theirs. An endpoint that is gone is left at once where it is only being
 * tried; a stream's endpoint is not taken away while it answers (etcd_endpoints.h).
 * SPDX-License-Identifier: Apache-2.0
 */
#include <assert.h>

#include "discovery/etcd/etcd_fsm_internal.h"

static void insert(struct etcd_fsm *fsm, uint32_t endpoint)
{
    uint32_t n = fsm->endpoints;
    uint32_t at = (uint32_t)lb_random_scale(lb_random_next(&fsm->random), n + 1);
    memmove(&fsm->order[at + 1], &fsm->order[at], (n - at) * sizeof fsm->order[0]);
    fsm->order[at] = endpoint;
    fsm->at += n > 0 && at <= fsm->at;
    fsm->endpoints++;
}

void fsm_endpoints_init(struct etcd_fsm *fsm, uint32_t n)
{
    for (uint32_t i = 0; i < n; i++) {
        insert(fsm, i);
    }
    fsm->at = 0;
}

void fsm_next_endpoint(struct etcd_fsm *fsm)
{
    fsm->at = (fsm->at + 1) % fsm->endpoints;
    fsm->tried++;
}

static bool is_among(const uint32_t list[], uint32_t n, uint32_t endpoint)
{
    for (uint32_t i = 0; i < n; i++) {
        if (list[i] == endpoint) {
            return true;
        }
    }
    return false;
}

/* The current one stays current, or the first one behind it that is left. */
static void keep_only(struct etcd_fsm *fsm, const uint32_t list[], uint32_t n)
{
    uint32_t kept = 0;
    uint32_t at = 0;
    for (uint32_t i = 0; i < fsm->endpoints; i++) {
        if (i == fsm->at) {
            at = kept;
        }
        if (is_among(list, n, fsm->order[i])) {
            fsm->order[kept++] = fsm->order[i];
        }
    }
    fsm->endpoints = kept;
    fsm->at = kept > 0 ? at % kept : 0;
}

void fsm_endpoints_change(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    uint32_t current = fsm->order[fsm->at];
    uint32_t n = input->endpoints_n;
    assert(n > 0 && n <= ETCD_ENDPOINTS_MAX);
    keep_only(fsm, input->endpoints, n);
    bool has_new = fsm->endpoints < n;
    for (uint32_t i = 0; i < n; i++) {
        if (!is_among(fsm->order, fsm->endpoints, input->endpoints[i])) {
            insert(fsm, input->endpoints[i]);
        }
    }
    bool is_gone = fsm->order[fsm->at] != current;
    if (has_new) {
        fsm->round = 0; /* there is something to try before the next backoff */
    }
    if ((is_gone && fsm->state == ETCD_STATE_LIST) ||
        (has_new && fsm->state == ETCD_STATE_LIST_WAIT)) {
        fsm_list_resume(fsm);
    } else if ((is_gone && fsm->state == ETCD_STATE_OPEN) ||
               (has_new && fsm->state == ETCD_STATE_OPEN_WAIT)) {
        fsm_watch_open(fsm);
    }
}
