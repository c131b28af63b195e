/*
 * discovery/etcd/etcd_fsm_held.c: etcd has no key of a space while we hold some.
 *
 * An empty answer never clears (contract, section 4.1), so a list cannot tell us anything then. Two
 * cases:
 *
 * The deletes are on their way. An operator deleted everything, and etcd needs many seconds to send a
 * revision of a hundred thousand keys. The audit sees the count of 0 long before; a list now would be
 * empty, be held, and move `seen` behind the deletes, which would never come again. So the audit does
 * not list: it reopens the stream, which may be stuck, at most once in a delay that grows, since etcd
 * begins such a revision anew for each stream; and never while changes come in. Likewise a list that
 * was made out of mere caution and finds the space empty is forgotten. (etcd 3.4 can lose the deletes,
 * too: those of the very revision that was compacted. Then this lasts until a put shows it.)
 *
 * An empty list was believed as little (a rebuilt cluster answers just so), or the deletes are lost:
 * the space is held. From then on what etcd counts and what we hold are different things, and no count
 * shows it. So it is remembered, on disk, too, and the first key that etcd has there, seen as a put
 * or in an audit's count, makes a full list: then the map is etcd's again.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_fsm_internal.h"

/* ---- lists -------------------------------------------------------------------------------- */

bool fsm_held_forgets_list(const struct etcd_fsm *fsm)
{
    const struct fsm_list *list = &fsm->list;
    if (!fsm_list_is_optional(fsm) || list->has_proof || list->cluster_id != fsm->cluster_id ||
        list->revision < fsm_revision(fsm)) {
        return false;
    }
    for (int s = 0; s < DISC_SPACES; s++) {
        if (list->count[s] == 0 && fsm->tally[s].count > 0) {
            return true;
        }
    }
    return false;
}

void fsm_held_after_list(struct etcd_fsm *fsm)
{
    for (int s = 0; s < DISC_SPACES; s++) {
        bool had_keys = fsm->tally[s].count > 0 || fsm->is_held[s];
        fsm->is_held[s] = had_keys && fsm->list.count[s] == 0;
    }
    fsm_held_await_no_more(fsm);
}

/* ---- changes ------------------------------------------------------------------------------ */

void fsm_held_after_changes(struct etcd_fsm *fsm)
{
    for (int s = 0; s < DISC_SPACES; s++) {
        fsm->awaits[s] = fsm->awaits[s] && fsm->tally[s].count > 0;
    }
}

/* The put of a later revision than an audit that found no key: the deletes before it never came. */
static bool shows_lost(const struct etcd_fsm *fsm, const struct etcd_kv *kv, enum disc_space space)
{
    return fsm->awaits[space] &&
           kv->mod_revision > fsm->audit.answer[fsm->ranges->list_of[space]].at;
}

bool fsm_held_is_put(const struct etcd_fsm *fsm, const struct etcd_kvs *events, int64_t above)
{
    for (size_t i = 0; i < events->n; i++) {
        const struct etcd_kv *kv = &events->kv[i];
        enum disc_space space;
        struct etcd_bytes rest;
        if (!kv->deleted && kv->mod_revision > above &&
            etcd_ranges_locate(fsm->ranges, kv->key, &space, &rest) &&
            (fsm->is_held[space] || shows_lost(fsm, kv, space))) {
            return true;
        }
    }
    return false;
}

/* ---- audits ------------------------------------------------------------------------------- */

bool fsm_held_is_refilled(const struct etcd_fsm *fsm)
{
    for (int s = 0; s < DISC_SPACES; s++) {
        uint32_t range = fsm->ranges->list_of[s];
        int64_t known = 0; /* of the range, by etcd's word */
        for (int other = 0; other < DISC_SPACES; other++) {
            known += fsm->ranges->list_of[other] == range ? fsm->tally[other].count : 0;
        }
        if (fsm->is_held[s] &&
            (fsm->tally[s].count > 0 || (known == 0 && fsm->audit.answer[range].count > 0))) {
            return true;
        }
    }
    return false;
}

bool fsm_held_takes_gap(struct etcd_fsm *fsm, uint32_t range)
{
    int64_t at = fsm->audit.answer[range].at;
    if (fsm->audit.answer[range].count > 0) {
        return false;
    }
    for (int s = 0; s < DISC_SPACES; s++) {
        if (fsm->ranges->list_of[s] == range && fsm->tally[s].newest > at) {
            return false; /* it changed since: a list may find something */
        }
    }
    for (int s = 0; s < DISC_SPACES; s++) {
        if (fsm->ranges->list_of[s] == range && fsm->tally[s].count > 0) {
            fsm->is_held[s] = true;
            etcd_tally_set(&fsm->tally[s], 0, at);
        }
    }
    return true;
}

void fsm_held_await_no_more(struct etcd_fsm *fsm)
{
    fsm->reopen_wait_ms = 0;
    for (int s = 0; s < DISC_SPACES; s++) {
        fsm->awaits[s] = false;
    }
}

void fsm_held_await(struct etcd_fsm *fsm)
{
    uint64_t wait = fsm->reopen_wait_ms > 0 ? fsm->reopen_wait_ms : ETCD_REOPEN_MIN_MS;
    uint64_t due_ms = fsm->reopen_wait_ms > 0 ? fsm->reopen_ms : fsm->now_ms;
    for (int s = 0; s < DISC_SPACES; s++) {
        fsm->awaits[s] =
            fsm->tally[s].count > 0 && fsm->audit.answer[fsm->ranges->list_of[s]].count == 0;
    }
    if (fsm->changes_ms > 0 && fsm->changes_ms + wait > due_ms) {
        due_ms = fsm->changes_ms + wait;
    }
    if (fsm->now_ms >= due_ms) {
        fsm->reopen_ms = fsm->now_ms + wait;
        fsm->reopen_wait_ms = 2 * wait < ETCD_REOPEN_MAX_MS ? 2 * wait : ETCD_REOPEN_MAX_MS;
        fsm->audit_ms = fsm->reopen_ms;
        fsm->stats.stalls++;
        fsm_watch_lost(fsm);
        return;
    }
    if (fsm->audit_ms > due_ms) {
        fsm->audit_ms = due_ms;
    }
    fsm_go(fsm, ETCD_STATE_WATCH);
}
