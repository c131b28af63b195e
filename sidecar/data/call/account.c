/*
 * sidecar/data/call/account.c: a call is counted, measured and logged in one place, once.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/call.h"
#include "sidecar/data/upstream/upstream_conn.h"
#include "sidecar/shared/record.h"

#include <string.h>

/* Failures are always logged, up to so many a second and worker, and counted above that; successes by
 * access_log's share. */
#define LOGGED_FAILURES_PER_S 100

static bool wants_record(struct call *call)
{
    struct worker *worker = call->worker;
    if (call->reason == REASON_OK) {
        double share = call->route ? call->route->config.access_log : 0;
        /* 53 random bits, so that share 1 is always and share 0 never. */
        return share > 0 && (double)(lb_random_next(&worker->random) >> 11) * 0x1p-53 < share;
    }
    uint64_t second = worker_now_ms(worker) / 1000;
    if (second != worker->log_window_ms) {
        worker->log_window_ms = second;
        worker->log_in_window = 0;
    }
    if (worker->log_in_window >= LOGGED_FAILURES_PER_S) {
        counter_add(&worker->counters, METRIC_CALLS_UNLOGGED, 1);
        return false;
    }
    worker->log_in_window++;
    return true;
}

static void gather_strings(const struct call *call, const struct disc_tuple *tuple,
                           struct disc_str strings[RECORD_STRINGS])
{
    strings[RECORD_LOG_ID] = disc_str_of(call->log_id, call->log_id_len);
    for (int i = 0; i < DISC_NAMES; i++) {
        strings[RECORD_FROM + i] = tuple->name[i];
    }
    strings[RECORD_UPSTREAM] =
        disc_str_of_z(call->attempt.endpoint ? call->attempt.endpoint->address : NULL);
    strings[RECORD_CLUSTER] = call->cluster;
    const struct route *route = call->route;
    strings[RECORD_RULE_TRAFFIC] =
        disc_str_of_z(route && route->traffic ? route->traffic->key : NULL);
    strings[RECORD_RULE_CONFIG] =
        disc_str_of_z(route && route->config_rule ? route->config_rule->key : NULL);
}

static uint64_t bytes_out(const struct call *call, const struct disc_tuple *tuple)
{
    if (call->oneway || call->reason == REASON_DOWNSTREAM_GONE) {
        return 0;
    }
    return call->reply ? call->reply_len : answer_size(call, tuple);
}

static void write_record(struct call *call, const struct disc_tuple *tuple, uint64_t total_us)
{
    struct worker *worker = call->worker;
    struct disc_str strings[RECORD_STRINGS];
    size_t len = sizeof(struct record_call);

    gather_strings(call, tuple, strings);
    for (int i = 0; i < RECORD_STRINGS; i++) {
        strings[i].len = strings[i].len < RECORD_STRING_MAX ? strings[i].len : RECORD_STRING_MAX;
        len += strings[i].len;
    }
    struct record_call *record = ring_reserve(&worker->ring, (uint32_t)len);
    if (!record) {
        counter_add(&worker->counters, METRIC_LOG_DROPPED, 1);
        return;
    }
    *record = (struct record_call){
        .type = RECORD_CALL,
        .reason = call->reason,
        .ts_unix_us = worker_unix_us(),
        .total_us = total_us,
        .upstream_us = call->upstream_us,
        .deadline_ms = call->budget_ms,
        .left_ms = (int64_t)(call->deadline_ms - worker_now_ms(worker)),
        .bytes_in = call->frame_len,
        .bytes_out = bytes_out(call, tuple),
        .attempts = call->tries,
    };
    char *p = record->strings;
    for (int i = 0; i < RECORD_STRINGS; i++) {
        record->len[i] = (uint16_t)strings[i].len;
        memcpy(p, strings[i].len ? strings[i].p : "", strings[i].len);
        p += strings[i].len;
    }
    ring_commit(&worker->ring, (uint32_t)len);
    worker->env->notify_control(worker->env->owner);
}

void account_call(struct call *call)
{
    if (call->accounted) {
        return;
    }
    call->accounted = true;
    struct tuple_counts *counts = call->route->counts;
    uint64_t total_us = worker_now_us() - call->start_us;
    counter_own_add(&counts->inflight, (uint64_t)-1);
    tuple_counts_add(counts, call->reason, total_us, worker_now_ms(call->worker));
    if (wants_record(call)) {
        write_record(call, &call->route->tuple, total_us);
    }
}

void account_unrouted(struct call *call, const struct disc_tuple *tuple)
{
    struct worker *worker = call->worker;
    call->accounted = true;
    uint64_t total_us = worker_now_us() - call->start_us;
    struct tuple_state *state = tuple_table_get(worker->env->tuples, tuple);
    tuple_counts_add(tuple_state_counts(state, worker->index), call->reason, total_us,
                     worker_now_ms(worker));
    tuple_state_unref(state);
    if (wants_record(call)) {
        write_record(call, tuple, total_us);
    }
}
