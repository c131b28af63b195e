/*
 * sidecar/data/call/account.c: a call is counted, measured and logged in one place, once.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/log.h"
#include "sidecar/data/call/call.h"
#include "sidecar/shared/record.h"

#include <inttypes.h>
#include <string.h>

/* Failures are always logged, up to so many a second and worker, and counted above that; successes by
 * access_log's share. */
#define LOGGED_FAILURES_PER_S 100
/* Timeouts of a method that was never answered before the log names it; and how much of its tuple. */
#define NEVER_ANSWERED_CALLS 3
#define HINT_TUPLE_BYTES     200

static bool wants_record(struct call *call)
{
    struct worker *worker = call->worker;
    if (call->outcome.reason == REASON_OK) {
        double share = call->plan.route ? call->plan.route->config.access_log : 0;
        /* 53 random bits, so that share 1 is always and share 0 never. */
        return share > 0 && (double)(lb_random_next(&worker->random) >> 11) * 0x1p-53 < share;
    }
    uint64_t second = worker_now_ms(worker) / 1000;
    if (second != worker->log_window_s) {
        worker->log_window_s = second;
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
    strings[RECORD_LOG_ID] = disc_str_of(call->request.log_id, call->request.log_id_len);
    for (int i = 0; i < DISC_NAMES; i++) {
        strings[RECORD_FROM + i] = tuple->name[i];
    }
    strings[RECORD_UPSTREAM] =
        disc_str_of_z(call->outcome.endpoint ? call->outcome.endpoint->address : NULL);
    strings[RECORD_CLUSTER] = call->plan.cluster;
    const struct route *route = call->plan.route;
    strings[RECORD_RULE_TRAFFIC] =
        disc_str_of_z(route && route->traffic ? route->traffic->key : NULL);
    strings[RECORD_RULE_CONFIG] =
        disc_str_of_z(route && route->config_rule ? route->config_rule->key : NULL);
}

static uint64_t bytes_out(const struct call *call, const struct disc_tuple *tuple)
{
    const struct message *reply = &call->outcome.reply;
    if (call->request.wire.oneway || call->outcome.reason == REASON_DOWNSTREAM_GONE) {
        return 0;
    }
    size_t head = call->caller ? call->caller->framing->head_bytes : 0;
    return head + (reply->body ? reply->len : answer_size(call, tuple));
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
        .reason = call->outcome.reason,
        .ts_unix_us = worker_unix_us(worker),
        .total_us = total_us,
        .upstream_us = call->outcome.upstream_us,
        .deadline_ms = call->budget.total_ms,
        .left_ms = (int64_t)(call->budget.deadline_ms - worker_now_ms(worker)),
        .bytes_in = call->request.bytes,
        .bytes_out = bytes_out(call, tuple),
        .attempts = call->tries,
        .shadowed = call->plan.shadowed,
    };
    char *p = record->strings;
    for (int i = 0; i < RECORD_STRINGS; i++) {
        record->len[i] = (uint16_t)strings[i].len;
        memcpy(p, strings[i].len ? strings[i].p : "", strings[i].len);
        p += strings[i].len;
    }
    ring_commit(&worker->ring, (uint32_t)len);
    worker_notify_control(worker);
}

/* Whether this worker has seen the method's calls end by a timeout alone, and often enough. */
static bool was_never_answered(const struct tuple_counts *counts)
{
    uint64_t answered = 0;
    const enum reason answers[] = {REASON_OK, REASON_APP_EXCEPTION, REASON_APP_FAILURE};
    for (size_t i = 0; i < sizeof answers / sizeof answers[0]; i++) {
        answered += atomic_load_explicit(&counts->reason[answers[i]], memory_order_relaxed);
    }
    return answered == 0 && atomic_load_explicit(&counts->reason[REASON_TIMEOUT],
                                                 memory_order_relaxed) >= NEVER_ANSWERED_CALLS;
}

/* Some clients send oneway methods as CALL to this day (docs/attach.md): each then lasts until its deadline. */
static void hint_at_oneway(struct call *call)
{
    const struct route *route = call->plan.route;
    const struct endpoint_state *endpoint = call->outcome.endpoint;
    char tuple[DISC_TUPLE_ENCODED_MAX_BYTES];
    if (!endpoint || !atomic_load_explicit(&endpoint->has_answered, memory_order_relaxed) ||
        !was_never_answered(route->counts) || !tuple_state_first_hint(route->state)) {
        return;
    }
    size_t len = disc_tuple_encode(&route->tuple, tuple, sizeof tuple);
    len = len < HINT_TUPLE_BYTES ? len : HINT_TUPLE_BYTES;
    worker_log(
        call->worker, LOG_WARN, "call", "never_answered",
        "%.*s: no call was ever answered, others of this callee are: of a oneway method that "
        "its client sends as CALL, \"oneway\": true in `config` is the cure",
        (int)len, tuple);
}

/* What the call says about its callee: what its last attempt said, unless it ended by something else. Of what
 * tside refused itself, what the caller caused, and a pool whose limits were in the way nothing is said: they
 * would only be refused by another name, and longer. */
static enum lb_result result_of(const struct call *call)
{
    switch ((enum reason)call->outcome.reason) {
    case REASON_DOWNSTREAM_GONE:
    case REASON_POOL_EXHAUSTED:
    case REASON_NO_ENDPOINT:
    case REASON_DRAINING:
    case REASON_INTERNAL:
        return LB_RESULT_NONE;
    default:
        return (enum lb_result)call->result;
    }
}

static void tell_breaker_news(const struct call *call, enum breaker_news news)
{
    const struct route *route = call->plan.route;
    struct lb_breaker_cause cause = tuple_breaker_cause(route->breaker);
    char tuple[DISC_TUPLE_ENCODED_MAX_BYTES];
    size_t len = disc_tuple_encode(&route->tuple, tuple, sizeof tuple);
    int shown = (int)(len < HINT_TUPLE_BYTES ? len : HINT_TUPLE_BYTES);
    if (news == BREAKER_CLOSED) {
        worker_log(call->worker, LOG_INFO, "call", "breaker_closed", "%.*s: its breaker is closed",
                   shown, tuple);
        return;
    }
    counter_add(&call->worker->counters, METRIC_BREAKER_OPENED, 1);
    worker_log(call->worker, LOG_WARN, "call", "breaker_opened",
               "%.*s: its breaker is open: %" PRIu32 " of %" PRIu32 " calls failed", shown, tuple,
               cause.errors, cause.calls);
}

/* What budgets of retries are made from, and what stops hedges. */
static void note_result(const struct call *call, enum lb_result result)
{
    if (result != LB_RESULT_NONE) {
        outcome_add(&call->plan.route->counts->recent, result == LB_RESULT_SUCCESS,
                    worker_now_ms(call->worker));
    }
}

static void tell_breaker(const struct call *call, uint32_t taken, enum lb_result result)
{
    const struct route *route = call->plan.route;
    const struct breaker_told told = {.result = result,
                                      .is_probe = (taken & STAGE_PROBE) != 0,
                                      .began_ms = call->budget.arrived_ms,
                                      .now_ms = worker_now_ms(call->worker),
                                      .random = &call->worker->random};
    enum breaker_news news = tuple_breaker_tell(route->breaker, &route->config.breaker, &told);
    if (news != BREAKER_NO_NEWS) {
        tell_breaker_news(call, news);
    }
}

void account_stages(struct call *call)
{
    uint32_t taken = call->plan.taken;
    if (taken == 0) {
        return;
    }
    enum lb_result result = result_of(call);
    note_result(call, result);
    call->plan.taken = 0;
    stages_give(call->plan.route, taken);
    if (taken & STAGE_TELLS) {
        tell_breaker(call, taken, result);
    }
    if (taken & STAGE_TRIAL) { /* no attempt was made that would have held it */
        endpoint_trial_give(call->plan.set->endpoints[call->plan.target]);
    }
}

void account_call(struct call *call)
{
    if (call->outcome.accounted) {
        return;
    }
    call->outcome.accounted = true;
    struct tuple_counts *counts = call->plan.route->counts;
    uint64_t total_us = worker_now_us(call->worker) - call->budget.start_us;
    tuple_counts_add(counts, call->outcome.reason, total_us, worker_now_ms(call->worker));
    tuple_counts_add_shadowed(counts, call->plan.shadowed);
    if (call->outcome.reason == REASON_TIMEOUT) {
        hint_at_oneway(call);
    }
    if (wants_record(call)) {
        write_record(call, &call->plan.route->tuple, total_us);
    }
}

void account_unrouted(struct call *call, const struct disc_tuple *tuple)
{
    struct worker *worker = call->worker;
    call->outcome.accounted = true;
    uint64_t total_us = worker_now_us(call->worker) - call->budget.start_us;
    struct tuple_state *state = tuple_table_get(worker->env->tuples, tuple);
    tuple_counts_add(tuple_state_counts(state, worker->index), call->outcome.reason, total_us,
                     worker_now_ms(worker));
    tuple_state_unref(state);
    if (wants_record(call)) {
        write_record(call, tuple, total_us);
    }
}
