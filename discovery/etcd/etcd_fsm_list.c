/*
 * discovery/etcd/etcd_fsm_list.c: lists every range in pages, all at the revision of the first
 * page.
 *
 * The pages are kept aside and take effect together. A failure goes on at the same page, at the
 * next endpoint: the revision and the cluster's id keep the pages consistent.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/memory.h"
#include "discovery/etcd/etcd_fsm_internal.h"

static void set_cursor(struct fsm_list *list, const struct etcd_kv *last)
{
    free(list->cursor);
    list->cursor = NULL;
    list->cursor_len = 0;
    if (last != NULL) {
        /* The next key in order is the last one with a NUL behind. */
        list->cursor = memory_text(last->key.p, last->key.len);
        list->cursor_len = last->key.len + 1;
    }
}

static void reset(struct etcd_fsm *fsm)
{
    struct fsm_list *list = &fsm->list;
    set_cursor(list, NULL);
    list->range = 0;
    list->revision = 0;
    list->cluster_id = 0;
    for (int s = 0; s < DISC_SPACES; s++) {
        list->count[s] = list->newest[s] = 0;
    }
    fsm_do(fsm, ETCD_DO_LIST_RESET);
}

static void send_page(struct etcd_fsm *fsm)
{
    const struct fsm_list *list = &fsm->list;
    const struct etcd_range *range = &fsm->ranges->list[list->range];
    struct etcd_range_query query = {
        .key = {range->key, range->key_len},
        .end = {range->end, range->end_len},
        .revision = list->revision,
        .limit = list->page_limit,
    };
    if (list->cursor != NULL) {
        query.key = (struct etcd_bytes){list->cursor, list->cursor_len};
    }
    fsm_send_range(fsm, &query, fsm->timing.page_ms);
}

void fsm_list_resume(struct etcd_fsm *fsm)
{
    fsm_go(fsm, ETCD_STATE_LIST);
    send_page(fsm);
}

void fsm_list_begin(struct etcd_fsm *fsm, enum etcd_relist reason)
{
    if (fsm->opened_ms != 0 && fsm->now_ms - fsm->opened_ms >= fsm->timing.healthy_ms) {
        fsm_healthy(fsm);
    }
    fsm->opened_ms = 0;
    fsm->list.reason = reason;
    fsm->list.has_proof = false;
    fsm->list.restarts = 0;
    fsm->stats.relists[reason]++;
    reset(fsm);
    if (fsm->lists_in_row++ > 0) {
        /* Listing did not help the last time: whatever it is, it is not to become a storm. */
        fsm_back_off(fsm, ETCD_STATE_LIST);
        return;
    }
    fsm_list_resume(fsm);
}

bool fsm_list_is_optional(const struct etcd_fsm *fsm)
{
    return fsm->cluster_id != 0 &&
           (fsm->list.reason == ETCD_RELIST_AUDIT || fsm->list.reason == ETCD_RELIST_LOST ||
            fsm->list.reason == ETCD_RELIST_HOURLY);
}

/* An optional list comes to nothing: another one later. */
static void forget(struct etcd_fsm *fsm)
{
    reset(fsm);
    fsm->list_ms = fsm->now_ms + fsm_jitter(fsm, fsm->timing.list_ms / 12, 20);
}

void fsm_list_fail(struct etcd_fsm *fsm)
{
    if (fsm_list_is_optional(fsm)) {
        forget(fsm);
        fsm_fail(fsm, ETCD_STATE_OPEN);
        return;
    }
    fsm_fail(fsm, ETCD_STATE_LIST);
}

static void finish(struct etcd_fsm *fsm)
{
    struct fsm_list *list = &fsm->list;
    if (fsm_held_forgets_list(fsm)) {
        forget(fsm);
        fsm_audit_soon(fsm);
        fsm_watch_open(fsm);
        return;
    }
    if (fsm->cluster_id != 0 && fsm->cluster_id != list->cluster_id) {
        fsm->stats.cluster_changes++;
    } else if (fsm->cluster_id != 0 && list->revision < fsm_revision(fsm)) {
        fsm->stats.regressions++; /* a linearizable list: this is the cluster's truth now */
    }
    bool hold[DISC_SPACES];
    fsm_held_judge_list(fsm, hold);
    fsm_cluster_known(fsm, list->cluster_id);
    for (uint32_t i = 0; i < ETCD_RANGES_MAX; i++) {
        fsm->seen[i] = list->revision;
        fsm->pending[i] = (struct fsm_pending){0};
    }
    for (int s = 0; s < DISC_SPACES; s++) {
        etcd_tally_set(&fsm->tally[s], list->count[s], list->newest[s]);
    }
    fsm->stats.lists++;
    fsm->round = 0;
    fsm->lagging = 0;
    fsm->stalled = false;
    fsm->synced_ms = fsm->now_ms;
    /* At most hourly: never sooner than list_ms. */
    uint64_t quarter = fsm->timing.list_ms / 4;
    fsm->list_ms = fsm->now_ms + fsm->timing.list_ms +
                   lb_random_scale(lb_random_next(&fsm->random), quarter + 1);
    fsm->audit_ms = fsm->now_ms + fsm_jitter(fsm, fsm->timing.audit_ms, 10);
    set_cursor(list, NULL);
    struct etcd_action *commit = fsm_do(fsm, ETCD_DO_LIST_COMMIT);
    commit->revision[0] = list->revision;
    memcpy(commit->hold, hold, sizeof hold);
    fsm_watch_open(fsm);
}

static void adapt_limit(struct fsm_list *list, size_t bytes)
{
    if (bytes > ETCD_PAGE_BYTES) {
        list->page_limit = list->page_limit > 1 ? list->page_limit / 2 : 1;
    } else if (bytes < ETCD_PAGE_BYTES / 4 && list->page_limit < list->page_limit_max) {
        list->page_limit *= 2;
        if (list->page_limit > list->page_limit_max) {
            list->page_limit = list->page_limit_max;
        }
    }
}

static void keep_page(struct etcd_fsm *fsm, const struct etcd_range_reply *reply)
{
    struct fsm_list *list = &fsm->list;
    for (size_t i = 0; i < reply->kvs.n; i++) {
        const struct etcd_kv *kv = &reply->kvs.kv[i];
        enum disc_space space;
        struct etcd_bytes rest;
        if (!etcd_ranges_locate(fsm->ranges, kv->key, &space, &rest)) {
            continue; /* not what was asked for */
        }
        list->count[space]++;
        if (kv->mod_revision > list->newest[space]) {
            list->newest[space] = kv->mod_revision;
        }
    }
    fsm->stats.pages++;
    fsm_do(fsm, ETCD_DO_LIST_PAGE);
}

void fsm_list_page(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    struct fsm_list *list = &fsm->list;
    const struct etcd_range_reply *reply = input->range;
    if (fsm_leaves_stranger(fsm, reply->header.cluster_id)) {
        return;
    }
    if (list->reason == ETCD_RELIST_CLUSTER && reply->header.cluster_id == fsm->cluster_id) {
        reset(fsm); /* the known cluster is back: no list is needed */
        fsm_watch_open(fsm);
        return;
    }
    if (list->revision == 0) {
        list->revision = reply->header.revision;
        list->cluster_id = reply->header.cluster_id;
    }
    if (reply->header.cluster_id != list->cluster_id || (reply->more && reply->kvs.n == 0)) {
        reset(fsm); /* two clusters behind the addresses, or nonsense: never mix */
        fsm_list_fail(fsm);
        return;
    }
    keep_page(fsm, reply);
    adapt_limit(list, input->range_bytes);
    set_cursor(list, reply->more ? &reply->kvs.kv[reply->kvs.n - 1] : NULL);
    if (!reply->more && ++list->range == fsm->ranges->lists) {
        finish(fsm);
        return;
    }
    send_page(fsm);
}

void fsm_list_failed(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    const struct etcd_error *error = input->error;
    if (error != NULL && error->code == ETCD_CODE_OUT_OF_RANGE &&
        strstr(error->text, "compacted") != NULL) {
        reset(fsm);
        if (fsm->list.restarts++ == 0) {
            send_page(fsm);
            return;
        }
    }
    if (error != NULL && fsm_is_refusal(error->code, error->text)) {
        fsm_back_off_longest(fsm, ETCD_STATE_LIST);
        return;
    }
    fsm_list_fail(fsm);
}

void fsm_list_too_large(struct etcd_fsm *fsm, const struct etcd_input *input)
{
    if (fsm->list.page_limit == 1) {
        fsm_list_fail(fsm);
        return;
    }
    fsm->list.page_limit = fsm->list.page_limit > 4 ? fsm->list.page_limit / 4 : 1;
    send_page(fsm);
}
