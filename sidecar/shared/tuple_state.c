/*
 * sidecar/shared/tuple_state.c: see sidecar/shared/tuple_state.h.
 *
 * Buckets of linked lists. Workers only ever push at a bucket's head, by a compare-and-swap against
 * the head from which they have searched the whole list: so a tuple that two of them miss at once
 * still gets one entry, and removed entries leave nothing behind (open addressing would need
 * tombstones, and a rebuild that workers had to wait for). The control thread alone removes: it sets
 * the count of an entry from 0 to DEAD, so that nobody can take it up again, then unlinks it. A
 * removed entry keeps its `next`, as a worker may stand on it until every worker has passed an epoch
 * that began after the unlinking.
 *
 *     bucket -> entry -> entry -> NULL         retired -> entry -> entry, freed together
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/tuple_state.h"

#include "sidecar/base/random_seed.h"
#include "sidecar/shared/caller_share.h"
#include "sidecar/shared/counters.h"
#include "sidecar/shared/tuple_residue.h"

#include <assert.h>
#include <stdlib.h>

#define REFS_DEAD UINT32_MAX
/* What tuples beyond the table are limited by: two of them meet seldom, and made-up names gain little. */
#define OTHER_LIMITS 256

/* Those of Prometheus's clients, from 0.5 ms: a hop on the host takes less than their 5 ms. */
const uint64_t tuple_bucket_us[TUPLE_BUCKETS - 1] = {
    500, 1000, 2500, 5000, 10000, 25000, 50000, 100000, 250000, 500000, 1000000, 2500000, 5000000};

struct tuple_state {
    _Atomic uint32_t refs; /* REFS_DEAD: on its way out */
    uint32_t workers;
    _Atomic bool hinted;
    bool is_other;
    uint64_t hash;
    struct tuple_state *_Atomic next; /* in the bucket; written by control once published */
    struct tuple_state *next_retired;
    struct disc_tuple names; /* points behind counts */
    struct tuple_limits limits;
    struct tuple_breaker breaker;
    struct tuple_counts counts[];
};

struct tuple_table {
    uint64_t limit;
    uint32_t workers;
    uint64_t seed; /* names come from callers: their hashes must not be foreseeable */
    struct permits entries;
    _Atomic uint64_t overflow_total;
    struct tuple_state *other;
    struct tuple_limits other_limits[OTHER_LIMITS];
    struct tuple_state *retired; /* control's, likewise below */
    uint64_t retired_until;      /* the epoch that frees them */
    struct tuple_residue *residue;
    uint64_t mask;
    struct tuple_state *_Atomic *buckets;
};

static struct tuple_state *state_new(const struct disc_tuple *tuple, uint32_t workers)
{
    size_t names = disc_names_bytes(tuple->name, DISC_NAMES);
    struct tuple_state *state =
        calloc(1, sizeof *state + workers * sizeof state->counts[0] + names);
    if (!state) {
        return NULL;
    }
    state->workers = workers;
    disc_names_copy(tuple->name, DISC_NAMES, (char *)&state->counts[workers], state->names.name);
    atomic_init(&state->refs, 1);
    return state;
}

static void state_free(struct tuple_state *state)
{
    for (uint32_t i = 0; state && i < state->workers; i++) {
        free(atomic_load_explicit(&state->counts[i].latencies, memory_order_relaxed));
    }
    free(state);
}

struct tuple_table *tuple_table_new(uint64_t limit, uint32_t workers)
{
    struct disc_tuple other;
    for (int i = 0; i < DISC_NAMES; i++) {
        other.name[i] = disc_str_of("_other", 6);
    }
    struct tuple_table *table = calloc(1, sizeof *table);
    if (!table) {
        return NULL;
    }
    table->seed = random_seed();
    table->limit = limit;
    table->workers = workers;
    uint64_t buckets = 16;
    while (buckets < limit && buckets < UINT64_C(1) << 30) {
        buckets *= 2;
    }
    table->mask = buckets - 1;
    table->buckets = calloc(buckets, sizeof table->buckets[0]);
    table->other = state_new(&other, workers);
    table->residue = tuple_residue_new(limit, table->seed);
    if (table->buckets == NULL || table->other == NULL || table->residue == NULL) {
        return tuple_table_free(table);
    }
    table->other->is_other = true;
    return table;
}

static void retired_free(struct tuple_state *list)
{
    while (list) {
        struct tuple_state *next = list->next_retired;
        state_free(list);
        list = next;
    }
}

struct tuple_table *tuple_table_free(struct tuple_table *table)
{
    if (!table) {
        return NULL;
    }
    for (uint64_t i = 0; table->buckets && i <= table->mask; i++) {
        struct tuple_state *state = atomic_load(&table->buckets[i]);
        while (state) {
            struct tuple_state *next = atomic_load(&state->next);
            state_free(state);
            state = next;
        }
    }
    retired_free(table->retired);
    free(table->buckets);
    state_free(table->other);
    tuple_residue_free(table->residue);
    free(table);
    return NULL;
}

/* ---- workers ------------------------------------------------------------------------------ */

/* False where the entry is dead: the search goes on as if it were another tuple's. */
static bool state_ref(struct tuple_state *state)
{
    uint32_t refs = atomic_load_explicit(&state->refs, memory_order_relaxed);
    do {
        if (refs == REFS_DEAD) {
            return false;
        }
    } while (!atomic_compare_exchange_weak_explicit(&state->refs, &refs, refs + 1,
                                                    memory_order_acq_rel, memory_order_relaxed));
    return true;
}

/* The entry from `from` on, referenced, NULL where there is none. */
static struct tuple_state *find(struct tuple_state *from, uint64_t hash,
                                const struct disc_tuple *tuple)
{
    for (struct tuple_state *state = from; state;
         state = atomic_load_explicit(&state->next, memory_order_acquire)) {
        if (state->hash == hash && disc_tuple_eq(&state->names, tuple) && state_ref(state)) {
            return state;
        }
    }
    return NULL;
}

static struct tuple_state *get_other(struct tuple_table *table)
{
    atomic_fetch_add_explicit(&table->overflow_total, 1, memory_order_relaxed);
    atomic_fetch_add_explicit(&table->other->refs, 1, memory_order_relaxed);
    return table->other;
}

/*
 * The last permit can be with a worker that is about to lose the race for its tuple, or to publish
 * the very entry that is looked for: then "_other" is handed out once too often, which only blurs
 * the labels of a table that is full anyway; no call is lost or counted twice.
 */
struct tuple_state *tuple_table_get(struct tuple_table *table, const struct disc_tuple *tuple)
{
    uint64_t hash = disc_names_hash(table->seed, tuple->name, DISC_NAMES);
    struct tuple_state *_Atomic *bucket = &table->buckets[hash & table->mask];
    struct tuple_state *head = atomic_load_explicit(bucket, memory_order_acquire);
    struct tuple_state *found = find(head, hash, tuple);
    if (found) {
        return found;
    }
    if (!permit_take(&table->entries, 1, table->limit)) {
        return get_other(table);
    }
    struct tuple_state *made = state_new(tuple, table->workers);
    if (!made) {
        permit_give(&table->entries, 1);
        return get_other(table);
    }
    made->hash = hash;
    for (;;) {
        atomic_store_explicit(&made->next, head, memory_order_relaxed);
        if (atomic_compare_exchange_strong_explicit(bucket, &head, made, memory_order_acq_rel,
                                                    memory_order_acquire)) {
            return made;
        }
        found = find(head, hash, tuple);
        if (found) {
            permit_give(&table->entries, 1);
            state_free(made);
            return found;
        }
    }
}

void tuple_state_unref(struct tuple_state *state)
{
    uint32_t before = atomic_fetch_sub_explicit(&state->refs, 1, memory_order_release);
    assert(before != 0 && before != REFS_DEAD);
    (void)before;
}

struct tuple_counts *tuple_state_counts(struct tuple_state *state, uint32_t worker)
{
    assert(worker < state->workers);
    return &state->counts[worker];
}

const struct disc_tuple *tuple_state_names(const struct tuple_state *state)
{
    return &state->names;
}

bool tuple_state_first_hint(struct tuple_state *state)
{
    return !atomic_load_explicit(&state->hinted, memory_order_relaxed) &&
           !atomic_exchange(&state->hinted, true);
}

struct outcome_counts tuple_state_recent(const struct tuple_state *state, uint64_t now_ms)
{
    struct outcome_counts sum = {0};
    for (uint32_t i = 0; i < state->workers; i++) {
        outcome_sum(&state->counts[i].recent, now_ms, &sum);
    }
    return sum;
}

struct latency_window *tuple_state_measure(struct tuple_state *state, uint32_t worker)
{
    assert(worker < state->workers);
    struct tuple_counts *counts = &state->counts[worker];
    struct latency_window *window = atomic_load_explicit(&counts->latencies, memory_order_relaxed);
    if (!window) {
        window = calloc(1, sizeof *window);
        atomic_store_explicit(&counts->latencies, window, memory_order_release);
    }
    return window;
}

void tuple_state_latencies(const struct tuple_state *state, uint64_t now_ms,
                           struct latency_sum *ret)
{
    *ret = (struct latency_sum){0};
    for (uint32_t i = 0; i < state->workers; i++) {
        const struct latency_window *window =
            atomic_load_explicit(&state->counts[i].latencies, memory_order_acquire);
        if (window) {
            latency_sum(window, now_ms, ret);
        }
    }
}

void tuple_counts_add(struct tuple_counts *counts, enum reason reason, uint64_t us, uint64_t now_ms)
{
    unsigned bucket = 0;
    while (bucket < TUPLE_BUCKETS - 1 && us > tuple_bucket_us[bucket]) {
        bucket++;
    }
    counter_own_add(&counts->reason[reason], 1);
    counter_own_add(&counts->bucket[bucket], 1);
    counter_own_add(&counts->sum_us, us);
    if (us > atomic_load_explicit(&counts->max_us, memory_order_relaxed)) {
        atomic_store_explicit(&counts->max_us, us, memory_order_relaxed);
    }
    atomic_store_explicit(&counts->last_call_ms, now_ms, memory_order_relaxed);
}

void tuple_counts_add_shadowed(struct tuple_counts *counts, uint32_t shadowed)
{
    for (; shadowed != 0; shadowed &= shadowed - 1) {
        counter_own_add(&counts->shadowed[__builtin_ctz(shadowed)], 1);
    }
}

/* ---- control ------------------------------------------------------------------------------ */

static uint64_t load(const _Atomic uint64_t *p)
{
    return atomic_load_explicit(p, memory_order_relaxed);
}

void tuple_state_sum(const struct tuple_state *state, struct tuple_sums *ret)
{
    struct tuple_sums sums = {0};
    for (uint32_t w = 0; w < state->workers; w++) {
        const struct tuple_counts *counts = &state->counts[w];
        for (unsigned i = 0; i < REASON_MAX; i++) {
            uint64_t n = load(&counts->reason[i]);
            sums.reason[i] += n;
            sums.calls += n;
        }
        for (unsigned i = 0; i < TUPLE_BUCKETS; i++) {
            sums.bucket[i] += load(&counts->bucket[i]);
        }
        for (unsigned i = 0; i < SHADOW_MAX; i++) {
            sums.shadowed[i] += load(&counts->shadowed[i]);
        }
        uint64_t max_us = load(&counts->max_us);
        uint64_t last_ms = load(&counts->last_call_ms);
        sums.sum_us += load(&counts->sum_us);
        sums.inflight += load(&counts->inflight);
        sums.max_us = max_us > sums.max_us ? max_us : sums.max_us;
        sums.last_call_ms = last_ms > sums.last_call_ms ? last_ms : sums.last_call_ms;
    }
    *ret = sums;
}

void tuple_table_each(const struct tuple_table *table, tuple_fn fn, void *arg)
{
    for (uint64_t i = 0; i <= table->mask; i++) {
        const struct tuple_state *state =
            atomic_load_explicit(&table->buckets[i], memory_order_acquire);
        for (; state; state = atomic_load_explicit(&state->next, memory_order_relaxed)) {
            if (!fn(arg, state)) {
                return;
            }
        }
    }
    if (tuple_table_overflow_total(table) > 0) {
        (void)fn(arg, table->other); /* the last one: nothing left to stop */
    }
}

void tuple_table_each_residue(const struct tuple_table *table, tuple_residue_fn fn, void *arg)
{
    tuple_residue_each(table->residue, fn, arg);
}

bool tuple_state_is_other(const struct tuple_state *state)
{
    return state->is_other;
}

struct tuple_limits *tuple_table_limits(struct tuple_table *table, struct tuple_state *state,
                                        const struct disc_tuple *tuple)
{
    if (state != table->other) {
        return &state->limits;
    }
    uint64_t hash = disc_names_hash(table->seed, tuple->name, DISC_NAMES);
    return &table->other_limits[hash % OTHER_LIMITS];
}

struct tuple_breaker *tuple_state_breaker(struct tuple_state *state)
{
    return state->is_other ? NULL : &state->breaker;
}

bool tuple_state_breaker_view(const struct tuple_state *state, uint64_t now_ms,
                              struct breaker_view *ret)
{
    if (!state->is_other) {
        *ret = tuple_breaker_view(&state->breaker, now_ms);
    }
    return !state->is_other;
}

uint32_t tuple_table_caller_slot(const struct tuple_table *table, struct disc_str from)
{
    return (uint32_t)(disc_names_hash(table->seed, &from, 1) % CALLER_SLOTS);
}

static struct tuple_state *load_state(struct tuple_state *_Atomic *at)
{
    return atomic_load_explicit(at, memory_order_acquire);
}

struct tuple_state *tuple_table_peek(const struct tuple_table *table,
                                     const struct disc_tuple *tuple)
{
    uint64_t hash = disc_names_hash(table->seed, tuple->name, DISC_NAMES);
    struct tuple_state *state = load_state(&table->buckets[hash & table->mask]);
    while (state && (state->hash != hash || !disc_tuple_eq(&state->names, tuple))) {
        state = load_state(&state->next);
    }
    if (!state && tuple_table_count(table) >= table->limit) {
        return table->other;
    }
    return state;
}

uint64_t tuple_table_count(const struct tuple_table *table)
{
    return permit_taken(&table->entries);
}

uint64_t tuple_table_overflow_total(const struct tuple_table *table)
{
    return load(&table->overflow_total);
}

/* Takes a dead entry out of its bucket, while workers may push in front of it. */
static void unlink_state(struct tuple_state *_Atomic *bucket, struct tuple_state *state)
{
    struct tuple_state *next = atomic_load_explicit(&state->next, memory_order_relaxed);
    struct tuple_state *head = state;
    if (atomic_compare_exchange_strong_explicit(bucket, &head, next, memory_order_acq_rel,
                                                memory_order_acquire)) {
        return;
    }
    struct tuple_state *before = head;
    for (;;) {
        struct tuple_state *after = atomic_load_explicit(&before->next, memory_order_acquire);
        if (after == state) {
            break;
        }
        before = after;
    }
    atomic_store_explicit(&before->next, next, memory_order_release);
}

static bool is_idle(const struct tuple_state *state, uint64_t now_ms, uint64_t idle_ms)
{
    if (atomic_load_explicit(&state->refs, memory_order_relaxed) != 0) {
        return false;
    }
    for (uint32_t w = 0; w < state->workers; w++) {
        uint64_t last_ms = load(&state->counts[w].last_call_ms);
        /* A worker's clock may be ahead of the control thread's. */
        if (last_ms != 0 && (last_ms > now_ms || now_ms - last_ms < idle_ms)) {
            return false;
        }
    }
    return true;
}

static void retire(struct tuple_table *table, struct tuple_state *_Atomic *bucket,
                   struct tuple_state *state)
{
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    tuple_residue_add(table->residue, state->names.name[DISC_TO],
                      state->names.name[DISC_TO_CLUSTER], &sums);
    unlink_state(bucket, state);
    permit_give(&table->entries, 1);
    state->next_retired = table->retired;
    table->retired = state;
}

static void retire_idle(struct tuple_table *table, uint64_t now_ms, uint64_t idle_ms)
{
    for (uint64_t i = 0; i <= table->mask; i++) {
        struct tuple_state *_Atomic *bucket = &table->buckets[i];
        struct tuple_state *state = atomic_load_explicit(bucket, memory_order_acquire);
        while (state) {
            struct tuple_state *next = atomic_load_explicit(&state->next, memory_order_relaxed);
            uint32_t none = 0;
            /* Acquire: what its last holder counted is seen by the sum. */
            if (is_idle(state, now_ms, idle_ms) &&
                atomic_compare_exchange_strong_explicit(
                    &state->refs, &none, REFS_DEAD, memory_order_acquire, memory_order_relaxed)) {
                retire(table, bucket, state);
            }
            state = next;
        }
    }
}

void tuple_table_tidy(struct tuple_table *table, struct epoch *epoch, uint64_t now_ms,
                      uint64_t idle_ms)
{
    if (table->retired != NULL && !epoch_passed(epoch, table->retired_until)) {
        return;
    }
    retired_free(table->retired);
    table->retired = NULL;
    retire_idle(table, now_ms, idle_ms);
    if (table->retired != NULL) {
        table->retired_until = epoch_advance(epoch);
    }
}
