/*
 * discovery/etcd/etcd_fsm_watch.c: the stream: asking for it, what it brings, how it ends.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/memory.h"
#include "discovery/etcd/etcd_fsm_internal.h"

void fsm_watch_open(struct etcd_fsm *fsm)
{
    if (fsm->watch_open) {
        fsm->watch_open = false;
        fsm_do(fsm, ETCD_DO_CANCEL_WATCH);
    }
    fsm_go(fsm, ETCD_STATE_OPEN);
    fsm->created = 0;
    fsm->opened_ms = 0;
    fsm->wake_ms = fsm->now_ms + fsm->timing.open_ms;
    /* Half a revision of the last stream comes again, whole. */
    fsm_do(fsm, ETCD_DO_CHANGES_DROP);
    struct etcd_action *action = fsm_do(fsm, ETCD_DO_WATCH);
    for (uint32_t w = 0; w < ETCD_RANGES_MAX; w++) {
        fsm->pending[w] = (struct fsm_pending){0};
        action->revision[w] = fsm->seen[w] + 1;
    }
    fsm->watch_open = true;
}

void fsm_watch_lost(struct etcd_fsm *fsm)
{
    bool was_good = fsm->opened_ms != 0 && fsm->now_ms - fsm->opened_ms >= fsm->timing.healthy_ms;
    fsm->opened_ms = 0;
    if (was_good) {
        fsm_healthy(fsm);
        fsm_next_endpoint(fsm);
        fsm_watch_open(fsm);
        return;
    }
    fsm_fail(fsm, ETCD_STATE_OPEN);
}

/* The watch a message belongs to; false: it was no message of ours, the stream is being left. */
static bool message_watch(struct etcd_fsm *fsm, const struct etcd_input *input, uint32_t *ret_w)
{
    const struct etcd_watch_message *message = input->watch;
    fsm->stats.messages++;
    if (fsm_leaves_stranger(fsm, message->header.cluster_id)) {
        return false;
    }
    if (message->watch_id < 1 || message->watch_id > fsm->ranges->watches) {
        fsm_watch_bad(fsm, input);
        return false;
    }
    *ret_w = (uint32_t)message->watch_id - 1;
    return true;
}

/* created, and yet behind what we hold: a member that lags, or a cluster out of a backup. Only a
 * list, which a lagging member cannot answer, tells them apart: after the others were asked. */
static void lagging(struct etcd_fsm *fsm)
{
    fsm->stats.lagging++;
    if (++fsm->lagging >= fsm->endpoints) {
        fsm->lagging = 0;
        fsm_list_begin(fsm, ETCD_RELIST_REGRESSED);
        return;
    }
    fsm_next_endpoint(fsm);
    fsm_watch_open(fsm);
}

void fsm_watch_created(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    uint32_t w = 0;
    if (!message_watch(fsm, input, &w)) {
        return;
    }
    if (input->watch->header.revision < fsm->seen[w]) {
        lagging(fsm);
        return;
    }
    fsm->created |= 1u << w;
    if (fsm->created + 1 < 1u << fsm->ranges->watches) {
        return;
    }
    fsm->stats.streams++;
    fsm->lagging = 0;
    fsm->opened_ms = fsm->now_ms;
    if (fsm->list_ms == UINT64_MAX) { /* never listed: the state came from disk */
        fsm->list_ms = fsm->now_ms + fsm_jitter(fsm, fsm->timing.list_ms, 20);
    }
    fsm_go(fsm, ETCD_STATE_WATCH);
    fsm_alive(fsm);
}

/* ---- what it brings ----------------------------------------------------------------------- */

static void flush_pending(struct etcd_fsm *fsm, struct fsm_pending *pending)
{
    for (int s = 0; s < DISC_SPACES; s++) {
        if (pending->touched[s]) {
            etcd_tally_add(&fsm->tally[s], pending->revision, pending->delta[s]);
        }
    }
    *pending = (struct fsm_pending){0};
}

static void count_event(struct etcd_fsm *fsm, uint32_t w, const struct etcd_kv *kv, int64_t through)
{
    struct fsm_pending *pending = &fsm->pending[w];
    enum disc_space space;
    struct etcd_bytes rest;
    int64_t delta = kv->deleted ? -1 : kv->create_revision == kv->mod_revision ? 1 : 0;
    fsm->stats.events++;
    if (pending->revision != 0 && kv->mod_revision > pending->revision) {
        flush_pending(fsm, pending);
    }
    if (!etcd_ranges_locate(fsm->ranges, kv->key, &space, &rest)) {
        return;
    }
    if (kv->mod_revision <= through && pending->revision == 0) {
        etcd_tally_add(&fsm->tally[space], kv->mod_revision, delta);
        return;
    }
    pending->revision = kv->mod_revision;
    pending->touched[space] = true;
    pending->delta[space] += delta;
}

static bool in_order(const struct etcd_kvs *events)
{
    for (size_t i = 1; i < events->n; i++) {
        if (events->kv[i].mod_revision < events->kv[i - 1].mod_revision) {
            return false;
        }
    }
    return true;
}

void fsm_watch_changes(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    const struct etcd_kvs *events = &input->watch->events;
    uint32_t w = 0;
    if (!message_watch(fsm, input, &w)) {
        return;
    }
    if (!in_order(events)) {
        fsm_watch_bad(fsm, input);
        return;
    }
    /* With more fragments to come the last revision may be half here. */
    int64_t through = events->kv[events->n - 1].mod_revision - (input->watch->fragment ? 1 : 0);
    if (through < fsm->seen[w]) {
        through = fsm->seen[w];
    }
    bool lost = fsm_held_shows_lost(fsm, events, fsm->seen[w]);
    struct etcd_action *action = fsm_do(fsm, ETCD_DO_CHANGES);
    action->watch = w;
    action->revision[0] = fsm->seen[w];
    action->revision[1] = through;
    for (size_t i = 0; i < events->n; i++) {
        if (events->kv[i].mod_revision <= fsm->seen[w]) {
            fsm->stats.duplicates++;
        } else {
            count_event(fsm, w, &events->kv[i], through);
        }
    }
    if (fsm->pending[w].revision != 0 && fsm->pending[w].revision <= through) {
        flush_pending(fsm, &fsm->pending[w]);
    }
    fsm->seen[w] = through;
    fsm->synced_ms = fsm->now_ms;
    fsm->changes_ms = fsm->now_ms;
    fsm_held_after_changes(fsm);
    if (lost) {
        fsm_list_begin(fsm, ETCD_RELIST_LOST);
    }
}

void fsm_watch_progress(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    uint32_t w = 0;
    if (!message_watch(fsm, input, &w)) {
        return;
    }
    int64_t revision = input->watch->header.revision;
    if (revision < fsm->seen[w]) {
        fsm_list_begin(fsm, ETCD_RELIST_REGRESSED);
        return;
    }
    /* The hasleader header makes a member without a leader end the stream: this is a proof. */
    fsm->synced_ms = fsm->now_ms;
    if (fsm->pending[w].revision != 0) {
        return;
    }
    int64_t before = fsm_revision(fsm);
    fsm->seen[w] = revision;
    if (fsm_revision(fsm) > before) {
        fsm_do(fsm, ETCD_DO_REVISION);
    }
}

void fsm_watch_bytes(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    if (fsm->state != ETCD_STATE_OPEN) {
        fsm_alive(fsm);
    }
}

/* ---- how it ends -------------------------------------------------------------------------- */

void fsm_watch_canceled(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    const struct etcd_watch_message *message = input->watch;
    fsm->stats.messages++;
    if (message->header.cluster_id != 0 && fsm_leaves_stranger(fsm, message->header.cluster_id)) {
        return;
    }
    /* etcd leaves the HTTP stream open for ever: every way from here closes it. */
    if (message->compact_revision > 0) {
        fsm_list_begin(fsm, ETCD_RELIST_COMPACTED);
    } else if (fsm_is_refusal(ETCD_CODE_NONE, message->cancel_reason)) {
        fsm_back_off_longest(fsm, ETCD_STATE_OPEN);
    } else {
        fsm_list_begin(fsm, ETCD_RELIST_CANCELED);
    }
}

void fsm_watch_ended(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    if (input->error != NULL && fsm_is_refusal(input->error->code, input->error->text)) {
        fsm_back_off_longest(fsm, ETCD_STATE_OPEN);
        return;
    }
    fsm_watch_lost(fsm);
}

void fsm_watch_bad(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    fsm->stats.bad_messages++;
    fsm_list_begin(fsm, ETCD_RELIST_BAD_MESSAGE);
}

void fsm_open_late(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    if (fsm->now_ms >= fsm->wake_ms) {
        fsm_watch_lost(fsm);
    }
}
