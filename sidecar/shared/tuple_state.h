/*
 * sidecar/shared/tuple_state.h: what is counted and limited for one tuple, over all workers.
 *
 * A bounded table that workers add to without a lock when a route is made, and that the control
 * thread reads (/metrics, routes, stats) and tidies: an entry that no route holds and that had no
 * call for an hour leaves. Beyond limits.metric_routes every tuple shares the entry whose five
 * names are "_other", and one of its limits with others of its hash, each call by its own numbers. So
 * names that a caller makes up do not lift what protects a callee. They have no breaker: there the failures
 * of one would shut off the others, and names that a caller makes up would open it.
 *
 *     worker: state = tuple_table_get(table, tuple)   reference taken; never NULL
 *             tuple_counts_add(tuple_state_counts(state, worker), reason, us, now_ms)
 *             tuple_state_unref(state)
 *     control: tuple_table_each(); tuple_table_tidy() now and then
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_TUPLE_STATE_H
#define TSIDE_SIDECAR_SHARED_TUPLE_STATE_H

#include "discovery/rules/tuple.h"
#include "sidecar/base/reason.h"
#include "sidecar/base/shadow.h"
#include "sidecar/shared/epoch.h"
#include "sidecar/shared/latency_window.h"
#include "sidecar/shared/outcome_window.h"
#include "sidecar/shared/tuple_breaker.h"
#include "sidecar/shared/tuple_limits.h"

#include <stdatomic.h>

/* Upper bounds in microseconds of the duration histogram; the last bucket is +Inf. Each bucket
 * counts its own calls alone; /metrics cumulates them. */
#define TUPLE_BUCKETS 14
extern const uint64_t tuple_bucket_us[TUPLE_BUCKETS - 1];

/* One worker's share; only that worker writes. */
struct tuple_counts {
    _Atomic uint64_t reason[REASON_MAX];
    _Atomic uint64_t bucket[TUPLE_BUCKETS];
    _Atomic uint64_t sum_us;
    _Atomic uint64_t max_us;
    _Atomic uint64_t inflight;
    _Atomic uint64_t last_call_ms;
    _Atomic uint64_t shadowed[SHADOW_MAX];      /* calls that the stage would have refused */
    struct outcome_window recent;               /* what callees made of the calls */
    _Atomic(struct latency_window *) latencies; /* NULL: nobody asked for percentiles */
    char pad[64];                               /* keeps two workers' counts off one cache line */
};

struct tuple_state; /* names and one struct tuple_counts per worker */
struct tuple_table;

struct tuple_table *tuple_table_new(uint64_t limit, uint32_t workers)
    __attribute__((warn_unused_result));
struct tuple_table *tuple_table_free(struct tuple_table *table);

/* Any worker. The entry of this tuple, made where it is missing; the "_other" entry where the table
 * is full or memory is short. Takes a reference. */
struct tuple_state *tuple_table_get(struct tuple_table *table, const struct disc_tuple *tuple)
    __attribute__((warn_unused_result));
void tuple_state_unref(struct tuple_state *state);

/* The worker's own counts. */
struct tuple_counts *tuple_state_counts(struct tuple_state *state, uint32_t worker);
const struct disc_tuple *tuple_state_names(const struct tuple_state *state);
/* True for the first who asks, of all workers: for what is said of a tuple once in the process's life. */
bool tuple_state_first_hint(struct tuple_state *state);

/* What became of the tuple's calls within the last ten seconds, on all workers. */
struct outcome_counts tuple_state_recent(const struct tuple_state *state, uint64_t now_ms);
/* The worker's own latencies, which its thread adds to; made at the first asking, kept as long as the entry. NULL
 * without memory. */
struct latency_window *tuple_state_measure(struct tuple_state *state, uint32_t worker);
/* Those of the last minute, on all workers that measure. */
void tuple_state_latencies(const struct tuple_state *state, uint64_t now_ms,
                           struct latency_sum *ret);

/* Counts one finished call. now_ms is the worker's loop time. inflight is left to the caller. */
void tuple_counts_add(struct tuple_counts *counts, enum reason reason, uint64_t us,
                      uint64_t now_ms);
/* The same of each stage in the set (shadow_bit()) that would have refused it. */
void tuple_counts_add_shadowed(struct tuple_counts *counts, uint32_t shadowed);

/* Sums over the workers; control thread. */
struct tuple_sums {
    uint64_t reason[REASON_MAX];
    uint64_t bucket[TUPLE_BUCKETS];
    uint64_t sum_us;
    uint64_t max_us;
    uint64_t inflight;
    uint64_t last_call_ms;
    uint64_t shadowed[SHADOW_MAX];
    uint64_t calls; /* all reasons */
};
void tuple_state_sum(const struct tuple_state *state, struct tuple_sums *ret);

/* Every entry, "_other" too once it was needed, until fn returns false. */
typedef bool (*tuple_fn)(void *arg, const struct tuple_state *state);
void tuple_table_each(const struct tuple_table *table, tuple_fn fn, void *arg);

/* Counts of entries that have left, per (to, to_cluster), so that what is shown so never goes back. As
 * many pairs as the table holds tuples; those beyond are summed up under "_other". */
typedef void (*tuple_residue_fn)(void *arg, struct disc_str to, struct disc_str to_cluster,
                                 const struct tuple_sums *sums);
void tuple_table_each_residue(const struct tuple_table *table, tuple_residue_fn fn, void *arg);

/* What limits the calls of this tuple, given the entry that they are counted in. Lives as long as that. */
struct tuple_limits *tuple_table_limits(struct tuple_table *table, struct tuple_state *state,
                                        const struct disc_tuple *tuple);
/* Its circuit breaker; NULL of "_other". Lives as long as the entry. */
struct tuple_breaker *tuple_state_breaker(struct tuple_state *state);
/* How that is now; false where there is none. */
bool tuple_state_breaker_view(const struct tuple_state *state, uint64_t now_ms,
                              struct breaker_view *ret);
/* The place of a From in struct caller_share. */
uint32_t tuple_table_caller_slot(const struct tuple_table *table, struct disc_str from);
/* Whether its limits are shared with tuples that may have none. */
bool tuple_state_is_other(const struct tuple_state *state);

/* The entry that calls of this tuple meet, "_other" where it would be that one; NULL where none of its calls
 * was ever seen. Borrowed until the next tuple_table_tidy(). */
struct tuple_state *tuple_table_peek(const struct tuple_table *table,
                                     const struct disc_tuple *tuple);

/* Entries in the table, "_other" not among them. */
uint64_t tuple_table_count(const struct tuple_table *table);
uint64_t tuple_table_overflow_total(const struct tuple_table *table); /* gets that met "_other" */

/* Control thread, now and then: frees the entries that have left and that no worker can stand on any
 * more, then takes out those that nobody holds and that had no call for idle_ms. While some that have
 * left wait for a worker, no others leave: a worker that stands still costs one table's memory, not
 * more. now_ms is loop time; epoch is the one that the workers pass. */
void tuple_table_tidy(struct tuple_table *table, struct epoch *epoch, uint64_t now_ms,
                      uint64_t idle_ms);

#endif
