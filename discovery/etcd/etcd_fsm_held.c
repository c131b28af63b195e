/*
 * discovery/etcd/etcd_fsm_held.c: what etcd has no more, though nobody deleted it as far as we saw.
 *
 * A list that lacks keys is an operator's word only where it is of the cluster that is known, and
 * not older than what was seen of it. A stranger's cluster, an etcd that was wiped or set back, or
 * an empty space (a rebuilt cluster answers just so) says nothing: what such a list lacks is held,
 * key by key, by the store, on disk too. From then on etcd's counts and the store's differ; the
 * tallies are etcd's word, so that audits compare like with like.
 *
 * That a space is empty may also mean that its deletes are on their way. An operator deleted
 * everything, and etcd needs many seconds to send a revision of a hundred thousand keys. The audit
 * sees the count of 0 long before; a list now would be empty, hold everything, and move `seen`
 * behind the deletes, which would never come again. So the audit does not list: it reopens the
 * stream, which may be stuck, at most once in a delay that grows, since etcd begins such a revision
 * anew for each stream; and never while changes come in. Likewise a list that was made out of mere
 * caution and finds the space empty is forgotten. (etcd 3.4 can lose the deletes, too: those of the
 * very revision that was compacted. Then this lasts until a put shows it.)
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

void fsm_held_judge_list(struct etcd_fsm *fsm, bool ret_hold[DISC_SPACES])
{
    const struct fsm_list *list = &fsm->list;
    /* An etcd that was set back may have overtaken us again before its list was complete. */
    bool is_word = list->cluster_id == fsm->cluster_id && list->revision >= fsm_revision(fsm) &&
                   list->reason != ETCD_RELIST_REGRESSED;
    for (int s = 0; s < DISC_SPACES; s++) {
        ret_hold[s] = fsm->cluster_id != 0 && (!is_word || list->count[s] == 0);
        fsm->stats.empty_lists += list->count[s] == 0 && fsm->tally[s].count > 0;
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

bool fsm_held_shows_lost(struct etcd_fsm *fsm, const struct etcd_kvs *events, int64_t above)
{
    for (size_t i = 0; i < events->n; i++) {
        const struct etcd_kv *kv = &events->kv[i];
        enum disc_space space;
        struct etcd_bytes rest;
        if (!kv->deleted && kv->mod_revision > above &&
            etcd_ranges_locate(fsm->ranges, kv->key, &space, &rest) && shows_lost(fsm, kv, space)) {
            return true;
        }
    }
    return false;
}

/* ---- audits ------------------------------------------------------------------------------- */

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
