/*
 * discovery/etcd/etcd_fsm_audit.c: is the stream alive, and does it bring everything?
 *
 * A probe is one linearizable read of one key on another connection: it proves a process, a leader
 * and a quorum, and costs etcd the same with ten keys or a million. It is sent after every few
 * seconds of silence, and before an audit or a list that falls into such: whatever is under way
 * when a member stops, it is found within 10 s (docs/specification.md, section 4). If the cluster's
 * revision moved on meanwhile, an audit follows.
 *
 * An audit asks each range for its count and its newest key, which costs etcd a walk over the
 * range. It runs once a minute, and between probes at a pace that the number of keys sets. Where
 * its answer agrees with ours, everything up to the answer's revision has been seen, so the resume
 * point keeps ahead of compaction though nobody writes below our prefixes. Where it disagrees, the
 * changes may be under way: the same answer is compared once more a second later. Then the stream
 * is reopened (it may be stuck) or, where etcd's own word has a gap, everything is listed. Where
 * etcd has no key left, a list would come too early (etcd_fsm_held.c).
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_fsm_internal.h"

#define AUDIT_KEYS_PER_MS 1 /* an audit after a probe comes at most once in so many ms */

void fsm_alive(struct etcd_fsm *fsm)
{
    fsm->alive_ms = fsm->now_ms;
    fsm->probe_ms = fsm->now_ms + fsm_jitter(fsm, fsm->timing.quiet_ms, 20);
}

void fsm_audit_soon(struct etcd_fsm *fsm)
{
    fsm->audit_ms = fsm->now_ms + fsm->timing.doubt_ms;
}

/* False: the cluster is another one, or went back in time; the stream is being left. */
static bool is_ours(struct etcd_fsm *fsm, const struct etcd_header *header)
{
    if (fsm_leaves_stranger(fsm, header->cluster_id)) {
        return false;
    }
    /* The watch may have overtaken the answer; but a linearizable read sees all that had been
     * delivered when it was asked for. */
    if (header->revision < fsm->asked_revision) {
        fsm_list_begin(fsm, ETCD_RELIST_REGRESSED);
        return false;
    }
    return true;
}

static void audit_next(struct etcd_fsm *fsm)
{
    const struct etcd_range *range = &fsm->ranges->list[fsm->audit.range];
    const struct etcd_range_query query = {
        .key = {range->key, range->key_len},
        .end = {range->end, range->end_len},
        .limit = 1,
        .keys_only = true,
        .newest_first = true,
    };
    fsm_go(fsm, ETCD_STATE_AUDIT);
    fsm_send_range(fsm, &query, fsm->timing.page_ms);
}

static void audit_begin(struct etcd_fsm *fsm)
{
    fsm->audit = (struct fsm_audit){0};
    fsm->audited_ms = fsm->now_ms;
    fsm->audit_ms = fsm->now_ms + fsm_jitter(fsm, fsm->timing.audit_ms, 10);
    audit_next(fsm);
}

static void probe_begin(struct etcd_fsm *fsm)
{
    const struct etcd_range *range = &fsm->ranges->list[0];
    const struct etcd_range_query query = {
        .key = {range->key, range->key_len}, .limit = 1, .keys_only = true};
    fsm->stats.probes++;
    fsm_go(fsm, ETCD_STATE_PROBE);
    fsm_send_range(fsm, &query, fsm->timing.probe_ms);
}

/* A request that may take its whole time, and the probe after it, would find a dead member too
 * late. */
static bool is_quiet_for_long(const struct etcd_fsm *fsm)
{
    uint64_t found_ms = fsm->now_ms + fsm->timing.page_ms + fsm->timing.probe_ms;
    return found_ms > fsm->alive_ms + fsm->timing.found_ms;
}

void fsm_watch_timer(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    bool list_is_due = fsm->now_ms >= fsm->list_ms;
    bool audit_is_due = fsm->now_ms >= fsm->audit_ms;
    bool is_quiet = is_quiet_for_long(fsm);
    if (list_is_due && !is_quiet) {
        fsm_list_begin(fsm, ETCD_RELIST_HOURLY);
    } else if (audit_is_due && !is_quiet) {
        audit_begin(fsm);
    } else if (list_is_due || audit_is_due || fsm->now_ms >= fsm->probe_ms) {
        probe_begin(fsm); /* its answer comes back here, to what is due */
    }
}

/* ---- probe -------------------------------------------------------------------------------- */

/* An audit's cost grows with the keys: so does the time between two. */
static bool may_audit(const struct etcd_fsm *fsm)
{
    uint64_t keys = 0;
    for (int s = 0; s < DISC_SPACES; s++) {
        keys += fsm->tally[s].count > 0 ? (uint64_t)fsm->tally[s].count : 0;
    }
    return fsm->audited_ms == 0 || fsm->now_ms - fsm->audited_ms >= keys / AUDIT_KEYS_PER_MS;
}

void fsm_probe_ok(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    if (!is_ours(fsm, &input->range->header)) {
        return;
    }
    fsm_alive(fsm);
    if (input->range->header.revision > fsm_revision(fsm) && may_audit(fsm)) {
        fsm->audit_ms = fsm->now_ms;
    }
    if (input->range->header.revision == fsm_revision(fsm)) {
        fsm->synced_ms = fsm->now_ms;
    }
    fsm_go(fsm, ETCD_STATE_WATCH);
    fsm_watch_timer(fsm, input); /* what is due */
}

void fsm_probe_failed(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    fsm->stats.probe_failures++;
    fsm_watch_lost(fsm);
}

/* ---- audit -------------------------------------------------------------------------------- */

enum verdict { VERDICT_EQUAL = 0, VERDICT_UNKNOWN, VERDICT_BEHIND, VERDICT_GAP };

/* What we know of a listed range at a revision: of all its spaces. False where that is forgotten.
 * */
static bool range_at(const struct etcd_fsm *fsm, uint32_t range, int64_t revision,
                     int64_t *ret_count, int64_t *ret_newest)
{
    *ret_count = *ret_newest = 0;
    for (int s = 0; s < DISC_SPACES; s++) {
        int64_t count = 0;
        int64_t newest = 0;
        if (fsm->ranges->list_of[s] != range) {
            continue;
        }
        if (!etcd_tally_at(&fsm->tally[s], revision, &count, &newest)) {
            return false;
        }
        *ret_count += count;
        *ret_newest = newest > *ret_newest ? newest : *ret_newest;
    }
    return true;
}

static enum verdict judge(const struct etcd_fsm *fsm, uint32_t range)
{
    int64_t at = fsm->audit.answer[range].at;
    bool seen = fsm->seen[fsm->ranges->watch_of[range]] >= at;
    int64_t count = 0;
    int64_t newest = 0;
    if (!range_at(fsm, range, seen ? at : INT64_MAX, &count, &newest)) {
        return VERDICT_UNKNOWN; /* a busy range: too much has happened since */
    }
    if (count == fsm->audit.answer[range].count && fsm->audit.answer[range].newest <= newest) {
        return VERDICT_EQUAL;
    }
    return seen ? VERDICT_GAP : VERDICT_BEHIND;
}

/* Everything up to the answers' revision has been seen. */
static void raise_seen(struct etcd_fsm *fsm)
{
    int64_t before = fsm_revision(fsm);
    for (uint32_t w = 0; w < fsm->ranges->watches; w++) {
        int64_t at = INT64_MAX;
        for (uint32_t i = 0; i < fsm->ranges->lists; i++) {
            if (fsm->ranges->watch_of[i] == w && fsm->audit.answer[i].at < at) {
                at = fsm->audit.answer[i].at;
            }
        }
        if (at > fsm->seen[w] && fsm->pending[w].revision == 0) {
            fsm->seen[w] = at;
        }
    }
    if (fsm_revision(fsm) > before) {
        fsm_do(fsm, ETCD_DO_REVISION);
    }
}

static void doubt(struct etcd_fsm *fsm)
{
    fsm->stats.audit_doubts++;
    fsm_go(fsm, ETCD_STATE_DOUBT);
    fsm->wake_ms = fsm->now_ms + fsm->timing.doubt_ms;
}

/* All answers agree with ours, as far as is known. */
static void agree(struct etcd_fsm *fsm, enum verdict worst)
{
    if (worst == VERDICT_EQUAL) {
        fsm->stalled = false;
        fsm->synced_ms = fsm->now_ms;
        raise_seen(fsm);
    }
    fsm_go(fsm, ETCD_STATE_WATCH);
}

/* Some range is behind: its changes may be under way, or the stream is stuck, or it was not that.
 * */
static void catch_up(struct etcd_fsm *fsm, bool is_final, bool is_emptied)
{
    if (!is_final) {
        doubt(fsm);
    } else if (is_emptied) {
        fsm_held_await(fsm);
    } else if (fsm->stalled) {
        fsm_list_begin(fsm, ETCD_RELIST_AUDIT);
    } else {
        fsm->stalled = true;
        fsm->stats.stalls++;
        fsm_audit_soon(fsm);
        fsm_watch_lost(fsm);
    }
}

static void conclude(struct etcd_fsm *fsm, bool is_final)
{
    enum verdict worst = VERDICT_EQUAL;
    bool is_emptied = false; /* a range is behind, and etcd has no key of it */
    for (uint32_t i = 0; i < fsm->ranges->lists; i++) {
        enum verdict verdict = judge(fsm, i);
        is_emptied = is_emptied || (verdict == VERDICT_BEHIND && fsm->audit.answer[i].count == 0);
        worst = verdict > worst ? verdict : worst;
    }
    if (!is_emptied) {
        fsm_held_await_no_more(fsm);
    }
    if (worst < VERDICT_BEHIND) {
        agree(fsm, worst);
    } else if (worst == VERDICT_GAP && !is_emptied) {
        fsm_list_begin(fsm, ETCD_RELIST_AUDIT);
        fsm->list.has_proof = true;
    } else {
        catch_up(fsm, is_final, is_emptied);
    }
}

void fsm_audit_ok(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    const struct etcd_range_reply *reply = input->range;
    uint32_t i = fsm->audit.range;
    if (!is_ours(fsm, &reply->header)) {
        return;
    }
    fsm_alive(fsm);
    fsm->audit.answer[i].at = reply->header.revision;
    fsm->audit.answer[i].count = reply->count;
    fsm->audit.answer[i].newest = reply->kvs.n > 0 ? reply->kvs.kv[0].mod_revision : 0;
    if (++fsm->audit.range < fsm->ranges->lists) {
        audit_next(fsm);
        return;
    }
    fsm->stats.audits++;
    conclude(fsm, false);
}

void fsm_audit_failed(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    /* It may merely be slow where there are many keys. Whether the member lives at all is the
     * probe's question: ask it now. */
    fsm_go(fsm, ETCD_STATE_WATCH);
    fsm->probe_ms = fsm->now_ms;
}

void fsm_doubt_over(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    if (fsm->now_ms >= fsm->wake_ms) {
        conclude(fsm, true);
    }
}
