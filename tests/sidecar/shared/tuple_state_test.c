/*
 * tests/sidecar/shared/tuple_state_test.c: one entry a tuple, no call lost, however threads race.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/tuple_state.h"

#include "sidecar/shared/counters.h"

#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define HOUR_MS 3600000

struct names {
    char to[32];
    char method[32];
    struct disc_tuple tuple;
};

static const struct disc_tuple *numbered(struct names *names, unsigned i)
{
    snprintf(names->to, sizeof names->to, "service%u", i % 7);
    snprintf(names->method, sizeof names->method, "method%u", i);
    names->tuple.name[DISC_FROM] = disc_str_of("app", 3);
    names->tuple.name[DISC_FROM_CLUSTER] = disc_str_of("default", 7);
    names->tuple.name[DISC_TO] = disc_str_of(names->to, strlen(names->to));
    names->tuple.name[DISC_TO_CLUSTER] = disc_str_of("default", 7);
    names->tuple.name[DISC_METHOD] = disc_str_of(names->method, strlen(names->method));
    return &names->tuple;
}

/* What all entries and residues hold together. */
struct total {
    uint64_t calls;
    uint64_t buckets;
    uint64_t sum_us;
    uint64_t shadowed;
    unsigned entries;
    unsigned other;
};

static void total_add(struct total *total, const struct tuple_sums *sums)
{
    total->calls += sums->calls;
    total->sum_us += sums->sum_us;
    total->shadowed += sums->shadowed[SHADOW_ACCESS];
    for (int i = 0; i < TUPLE_BUCKETS; i++) {
        total->buckets += sums->bucket[i];
    }
}

static bool add_state(void *arg, const struct tuple_state *state)
{
    struct total *total = arg;
    struct tuple_sums sums;
    tuple_state_sum(state, &sums);
    total_add(total, &sums);
    total->entries++;
    total->other +=
        disc_str_eq(tuple_state_names(state)->name[DISC_METHOD], disc_str_of("_other", 6));
    return true;
}

static void add_residue(void *arg, struct disc_str to, struct disc_str to_cluster,
                        const struct tuple_sums *sums)
{
    (void)to;
    (void)to_cluster;
    total_add(arg, sums);
}

static struct total totals(const struct tuple_table *table)
{
    struct total total = {0};
    tuple_table_each(table, add_state, &total);
    tuple_table_each_residue(table, add_residue, &total);
    return total;
}

static void count(struct tuple_state *state, uint32_t worker, uint64_t us, uint64_t now_ms)
{
    tuple_counts_add(tuple_state_counts(state, worker), REASON_OK, us, now_ms);
}

static void test_same_tuple_same_entry(void **state)
{
    (void)state;
    struct names a, b;
    struct tuple_table *table = tuple_table_new(10, 2);
    struct tuple_state *first = tuple_table_get(table, numbered(&a, 1));
    struct tuple_state *second = tuple_table_get(table, numbered(&b, 1));
    struct tuple_state *third = tuple_table_get(table, numbered(&b, 2));
    assert_ptr_equal(first, second);
    assert_ptr_not_equal(first, third);
    assert_true(disc_tuple_eq(tuple_state_names(first), numbered(&a, 1)));
    assert_int_equal(tuple_table_count(table), 2);
    tuple_table_free(table);
}

static void test_long_and_absent_names(void **state)
{
    (void)state;
    static char longest[DISC_NAME_MAX_BYTES];
    memset(longest, 0xff, sizeof longest);
    struct disc_tuple a = {0}, b = {0};
    for (int i = 0; i < DISC_NAMES; i++) {
        a.name[i] = disc_str_of(longest, sizeof longest);
    }
    struct tuple_table *table = tuple_table_new(10, 1);
    struct tuple_state *full = tuple_table_get(table, &a);
    struct tuple_state *none = tuple_table_get(table, &b);
    assert_true(disc_tuple_eq(tuple_state_names(full), &a));
    assert_true(disc_tuple_eq(tuple_state_names(none), &b));
    /* The same bytes, cut elsewhere. */
    a.name[0].len = 255;
    assert_ptr_not_equal(tuple_table_get(table, &a), full);
    assert_int_equal(tuple_table_count(table), 3);
    tuple_table_free(table);
}

static void test_counts_and_sums(void **state)
{
    (void)state;
    struct names names;
    struct tuple_table *table = tuple_table_new(10, 2);
    struct tuple_state *entry = tuple_table_get(table, numbered(&names, 1));
    struct tuple_counts *counts = tuple_state_counts(entry, 0);
    tuple_counts_add(counts, REASON_OK, 500, 10);
    tuple_counts_add(counts, REASON_TIMEOUT, 501, 20);
    tuple_counts_add(tuple_state_counts(entry, 1), REASON_OK, 5000001, 15);
    tuple_counts_add_shadowed(counts, 0);
    tuple_counts_add_shadowed(counts, shadow_bit(SHADOW_ACCESS));
    tuple_counts_add_shadowed(tuple_state_counts(entry, 1), shadow_bit(SHADOW_ACCESS));
    counter_own_add(&counts->inflight, 3);
    struct tuple_sums sums;
    tuple_state_sum(entry, &sums);
    assert_int_equal(sums.calls, 3);
    assert_int_equal(sums.reason[REASON_OK], 2);
    assert_int_equal(sums.reason[REASON_TIMEOUT], 1);
    assert_int_equal(sums.bucket[0], 1);
    assert_int_equal(sums.bucket[1], 1);
    assert_int_equal(sums.bucket[TUPLE_BUCKETS - 1], 1);
    assert_int_equal(sums.sum_us, 500 + 501 + 5000001);
    assert_int_equal(sums.max_us, 5000001);
    assert_int_equal(sums.last_call_ms, 20);
    assert_int_equal(sums.inflight, 3);
    assert_int_equal(sums.shadowed[SHADOW_ACCESS], 2);
    tuple_table_free(table);
}

static void test_full_table_shares_other(void **state)
{
    (void)state;
    struct names names;
    struct tuple_table *table = tuple_table_new(5, 1);
    assert_int_equal(totals(table).entries, 0);
    for (unsigned i = 0; i < 20; i++) {
        struct tuple_state *entry = tuple_table_get(table, numbered(&names, i));
        count(entry, 0, 1, 1);
        assert_int_equal(
            disc_str_eq(tuple_state_names(entry)->name[DISC_FROM], disc_str_of("_other", 6)),
            i >= 5);
        tuple_state_unref(entry);
    }
    struct total total = totals(table);
    assert_int_equal(tuple_table_count(table), 5);
    assert_int_equal(tuple_table_overflow_total(table), 15);
    assert_int_equal(total.entries, 6);
    assert_int_equal(total.other, 1);
    assert_int_equal(total.calls, 20);
    tuple_table_free(table);
}

static void test_limit_zero(void **state)
{
    (void)state;
    struct names names;
    struct tuple_table *table = tuple_table_new(0, 1);
    struct tuple_state *entry = tuple_table_get(table, numbered(&names, 1));
    tuple_state_unref(entry);
    assert_int_equal(tuple_table_count(table), 0);
    assert_int_equal(totals(table).other, 1);
    tuple_table_free(table);
}

static void test_expires_idle_and_free_only(void **state)
{
    (void)state;
    struct names names;
    struct tuple_table *table = tuple_table_new(10, 1);
    struct tuple_state *held = tuple_table_get(table, numbered(&names, 0));
    struct tuple_state *idle = tuple_table_get(table, numbered(&names, 1));
    struct tuple_state *busy = tuple_table_get(table, numbered(&names, 2));
    count(held, 0, 1, 1000);
    count(idle, 0, 1, 1000);
    count(busy, 0, 1, 1000 + HOUR_MS);
    tuple_state_unref(idle);
    tuple_state_unref(busy);
    struct epoch epoch = {.workers = 0};
    tuple_table_tidy(table, &epoch, 1000 + HOUR_MS, HOUR_MS);
    assert_int_equal(tuple_table_count(table), 2);
    struct total total = totals(table);
    assert_int_equal(total.entries, 2);
    assert_int_equal(total.calls, 3);
    /* It comes back from zero; the residue has the rest. */
    idle = tuple_table_get(table, numbered(&names, 1));
    count(idle, 0, 1, 2000 + HOUR_MS);
    total = totals(table);
    assert_int_equal(total.entries, 3);
    assert_int_equal(total.calls, 4);
    tuple_table_free(table);
}

static void test_room_after_expiry(void **state)
{
    (void)state;
    struct names names;
    struct epoch epoch = {.workers = 0};
    struct tuple_table *table = tuple_table_new(100, 1);
    for (unsigned round = 0; round < 50; round++) {
        for (unsigned i = 0; i < 100; i++) {
            struct tuple_state *entry = tuple_table_get(table, numbered(&names, 100 * round + i));
            count(entry, 0, 1, 1);
            tuple_state_unref(entry);
        }
        assert_int_equal(tuple_table_count(table), 100);
        tuple_table_tidy(table, &epoch, 10 + HOUR_MS, HOUR_MS);
        assert_int_equal(tuple_table_count(table), 0);
    }
    assert_int_equal(tuple_table_overflow_total(table), 0);
    assert_int_equal(totals(table).calls, 5000);
    tuple_table_free(table);
}

static void count_residue(void *arg, struct disc_str to, struct disc_str to_cluster,
                          const struct tuple_sums *sums)
{
    (void)to_cluster;
    (void)sums;
    unsigned *n = arg;
    n[disc_str_eq(to, disc_str_of("_other", 6))]++;
}

static void test_residue_is_bounded(void **state)
{
    (void)state;
    struct names names;
    struct epoch epoch = {.workers = 0};
    struct tuple_table *table = tuple_table_new(3, 1);
    for (unsigned i = 0; i < 7; i++) { /* seven services */
        struct tuple_state *entry = tuple_table_get(table, numbered(&names, i));
        count(entry, 0, 1, 1);
        tuple_counts_add_shadowed(tuple_state_counts(entry, 0), shadow_bit(SHADOW_ACCESS));
        tuple_state_unref(entry);
        tuple_table_tidy(table, &epoch, 10 + HOUR_MS, HOUR_MS);
    }
    unsigned n[2] = {0, 0};
    tuple_table_each_residue(table, count_residue, n);
    assert_int_equal(n[0], 3);
    assert_int_equal(n[1], 1);
    assert_int_equal(totals(table).calls, 7);
    assert_int_equal(totals(table).shadowed, 7);
    tuple_table_free(table);
}

/* What has left stays in memory, and no more leaves, until every worker has passed once since. */
static void test_leaving_waits_for_every_worker(void **state)
{
    (void)state;
    struct names names;
    struct epoch epoch = {.workers = 2};
    struct tuple_table *table = tuple_table_new(10, 2);
    struct tuple_state *first = tuple_table_get(table, numbered(&names, 1));
    tuple_state_unref(first);
    epoch_pass(&epoch, 0);
    epoch_pass(&epoch, 1);
    tuple_table_tidy(table, &epoch, HOUR_MS, HOUR_MS);
    assert_int_equal(tuple_table_count(table), 0);

    tuple_state_unref(tuple_table_get(table, numbered(&names, 2)));
    epoch_pass(&epoch, 0); /* worker 1 may still stand on the first */
    tuple_table_tidy(table, &epoch, HOUR_MS, HOUR_MS);
    assert_int_equal(tuple_table_count(table), 1);
    assert_true(disc_tuple_eq(tuple_state_names(first), numbered(&names, 1)));

    epoch_pass(&epoch, 1);
    tuple_table_tidy(table, &epoch, HOUR_MS, HOUR_MS);
    assert_int_equal(tuple_table_count(table), 0);
    tuple_table_free(table);
}

/* ---- threads ------------------------------------------------------------------------------ */

#define THREADS 4
#define ROUNDS  20000
#define TUPLES  40

struct race {
    struct tuple_table *table;
    struct epoch epoch;
    _Atomic uint32_t running;
    _Atomic uint32_t next_worker;
    _Atomic uint32_t wrong;
};

/* A worker: holds an entry, counts on it, lets it go, and passes the epoch between two calls. */
static void *worker(void *arg)
{
    struct race *race = arg;
    uint32_t me = atomic_fetch_add(&race->next_worker, 1);
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct names names;
        const struct disc_tuple *tuple = numbered(&names, (round * (me + 1)) % TUPLES);
        struct tuple_state *entry = tuple_table_get(race->table, tuple);
        const struct disc_tuple *got = tuple_state_names(entry);
        if (!disc_tuple_eq(got, tuple) &&
            !disc_str_eq(got->name[DISC_METHOD], disc_str_of("_other", 6))) {
            atomic_fetch_add(&race->wrong, 1);
        }
        count(entry, me, 3, 1);
        tuple_state_unref(entry);
        epoch_pass(&race->epoch, me);
    }
    atomic_fetch_sub(&race->running, 1);
    return NULL;
}

static bool check_unique(void *arg, const struct tuple_state *state)
{
    unsigned char *seen = arg;
    const struct disc_str method = tuple_state_names(state)->name[DISC_METHOD];
    char text[32] = "";
    memcpy(text, method.p, method.len);
    if (strcmp(text, "_other") != 0) {
        seen[strtoul(text + strlen("method"), NULL, 10)]++;
    }
    return true;
}

static void control(struct race *race, uint64_t limit)
{
    while (atomic_load(&race->running) > 0) {
        tuple_table_tidy(race->table, &race->epoch, 10, 5);
        unsigned char seen[TUPLES] = {0};
        tuple_table_each(race->table, check_unique, seen);
        for (int i = 0; i < TUPLES; i++) {
            assert_true(seen[i] <= 1);
        }
        assert_true(tuple_table_count(race->table) <= limit);
        sched_yield();
    }
}

static void run_race(uint64_t limit)
{
    struct race race = {
        .table = tuple_table_new(limit, THREADS), .epoch.workers = THREADS, .running = THREADS};
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, worker, &race), 0);
    }
    control(&race, limit);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    for (uint32_t i = 0; i < THREADS; i++) {
        epoch_pass(&race.epoch, i);
    }
    struct total total = totals(race.table);
    assert_int_equal(race.wrong, 0);
    assert_int_equal(total.calls, THREADS * ROUNDS);
    assert_int_equal(total.buckets, THREADS * ROUNDS);
    assert_int_equal(total.sum_us, 3 * THREADS * ROUNDS);
    tuple_table_tidy(race.table, &race.epoch, 10, 5);
    assert_int_equal(tuple_table_count(race.table), 0);
    assert_int_equal(totals(race.table).calls, THREADS * ROUNDS);
    tuple_table_free(race.table);
}

static void test_threads_with_room(void **state)
{
    (void)state;
    run_race(TUPLES);
}

static void test_threads_beyond_the_limit(void **state)
{
    (void)state;
    run_race(TUPLES / 4);
}

/* Callers of one tuple, each with its own look-up, within one limit. */
#define LIMIT 3

struct crowd {
    struct tuple_table *table;
    _Atomic uint32_t inside;
    _Atomic uint32_t most;
    _Atomic uint32_t refused;
};

static void *visitor(void *arg)
{
    struct crowd *crowd = arg;
    struct names names;
    for (unsigned round = 0; round < ROUNDS; round++) {
        struct tuple_state *entry = tuple_table_get(crowd->table, numbered(&names, 1));
        struct permits *calls = &tuple_table_limits(crowd->table, entry, &names.tuple)->calls;
        if (permit_take(calls, 1, LIMIT)) {
            uint32_t inside = atomic_fetch_add(&crowd->inside, 1) + 1;
            uint32_t most = atomic_load(&crowd->most);
            while (inside > most && !atomic_compare_exchange_weak(&crowd->most, &most, inside)) {
            }
            sched_yield();
            atomic_fetch_sub(&crowd->inside, 1);
            permit_give(calls, 1);
        } else {
            atomic_fetch_add(&crowd->refused, 1);
        }
        tuple_state_unref(entry);
    }
    return NULL;
}

/* Never one too many inside, and every permit is back in the end. */
static void test_threads_within_a_limit(void **state)
{
    struct crowd crowd = {.table = tuple_table_new(10, 1)};
    pthread_t threads[2 * LIMIT];
    struct names names;
    (void)state;
    for (int i = 0; i < 2 * LIMIT; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, visitor, &crowd), 0);
    }
    for (int i = 0; i < 2 * LIMIT; i++) {
        pthread_join(threads[i], NULL);
    }
    assert_in_range(crowd.most, 1, LIMIT);
    assert_true(crowd.refused < 2 * LIMIT * ROUNDS);
    struct tuple_state *entry = tuple_table_peek(crowd.table, numbered(&names, 1));
    assert_int_equal(permit_taken(&tuple_table_limits(crowd.table, entry, &names.tuple)->calls), 0);
    tuple_table_free(crowd.table);
}

/* Tuples beyond the table have limits by their hash: the same for all that share an entry, however many. */
static void test_limits_beyond_the_table(void **state)
{
    struct names names;
    struct tuple_table *table = tuple_table_new(1, 1);
    struct tuple_limits *seen[1000];
    unsigned different = 0;
    (void)state;
    assert_null(tuple_table_peek(table, numbered(&names, 1)));
    struct tuple_state *own = tuple_table_get(table, numbered(&names, 1));
    assert_false(tuple_state_is_other(own));
    assert_ptr_equal(tuple_table_peek(table, &names.tuple), own);
    for (unsigned i = 0; i < 1000; i++) {
        struct tuple_state *other = tuple_table_get(table, numbered(&names, 2 + i));
        assert_true(tuple_state_is_other(other));
        assert_ptr_equal(tuple_table_peek(table, &names.tuple), other);
        seen[i] = tuple_table_limits(table, other, &names.tuple);
        assert_ptr_equal(seen[i], tuple_table_limits(table, other, &names.tuple));
        unsigned k = 0;
        while (k < i && seen[k] != seen[i]) {
            k++;
        }
        different += k == i;
        tuple_state_unref(other);
    }
    assert_in_range(different, 200, 256);
    tuple_state_unref(own);
    tuple_table_free(table);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_same_tuple_same_entry),
        cmocka_unit_test(test_long_and_absent_names),
        cmocka_unit_test(test_counts_and_sums),
        cmocka_unit_test(test_full_table_shares_other),
        cmocka_unit_test(test_limit_zero),
        cmocka_unit_test(test_expires_idle_and_free_only),
        cmocka_unit_test(test_room_after_expiry),
        cmocka_unit_test(test_residue_is_bounded),
        cmocka_unit_test(test_leaving_waits_for_every_worker),
        cmocka_unit_test(test_threads_with_room),
        cmocka_unit_test(test_threads_beyond_the_limit),
        cmocka_unit_test(test_threads_within_a_limit),
        cmocka_unit_test(test_limits_beyond_the_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
