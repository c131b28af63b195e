/*
 * sidecar/shared/tuple_residue.c: see sidecar/shared/tuple_residue.h.
 *
 * Buckets of lists; pairs never leave.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/shared/tuple_residue.h"

#include <stdlib.h>

enum { PAIR_TO, PAIR_TO_CLUSTER, PAIR_NAMES };

struct pair {
    struct pair *next;
    struct disc_str name[PAIR_NAMES];
    struct tuple_sums sums;
    char bytes[];
};

struct tuple_residue {
    uint64_t limit;
    uint64_t seed;
    uint64_t n;
    uint64_t mask;
    struct tuple_sums other;
    struct pair *buckets[];
};

struct tuple_residue *tuple_residue_new(uint64_t limit, uint64_t seed)
{
    uint64_t buckets = 16;
    while (buckets < limit && buckets < 65536) {
        buckets *= 2;
    }
    struct tuple_residue *residue =
        calloc(1, sizeof *residue + buckets * sizeof residue->buckets[0]);
    if (residue) {
        residue->limit = limit;
        residue->seed = seed;
        residue->mask = buckets - 1;
    }
    return residue;
}

struct tuple_residue *tuple_residue_free(struct tuple_residue *residue)
{
    for (uint64_t i = 0; residue && i <= residue->mask; i++) {
        struct pair *pair = residue->buckets[i];
        while (pair) {
            struct pair *next = pair->next;
            free(pair);
            pair = next;
        }
    }
    free(residue);
    return NULL;
}

/* The place in its list where the pair is, or is to be. */
static struct pair **find(struct tuple_residue *residue, const struct disc_str name[PAIR_NAMES])
{
    uint64_t hash = disc_names_hash(residue->seed, name, PAIR_NAMES);
    struct pair **link = &residue->buckets[hash & residue->mask];
    while (*link != NULL && !(disc_str_eq((*link)->name[PAIR_TO], name[PAIR_TO]) &&
                              disc_str_eq((*link)->name[PAIR_TO_CLUSTER], name[PAIR_TO_CLUSTER]))) {
        link = &(*link)->next;
    }
    return link;
}

static struct pair *pair_new(const struct disc_str name[PAIR_NAMES])
{
    struct pair *pair = calloc(1, sizeof *pair + disc_names_bytes(name, PAIR_NAMES));
    if (pair != NULL) {
        disc_names_copy(name, PAIR_NAMES, pair->bytes, pair->name);
    }
    return pair;
}

void tuple_residue_add(struct tuple_residue *residue, struct disc_str to,
                       struct disc_str to_cluster, const struct tuple_sums *sums)
{
    if (sums->calls == 0) {
        return;
    }
    const struct disc_str name[PAIR_NAMES] = {to, to_cluster};
    struct pair **link = find(residue, name);
    if (*link == NULL && residue->n < residue->limit) {
        *link = pair_new(name);
        residue->n += *link != NULL;
    }
    struct tuple_sums *into = *link ? &(*link)->sums : &residue->other;
    for (unsigned i = 0; i < REASON_MAX; i++) {
        into->reason[i] += sums->reason[i];
    }
    for (unsigned i = 0; i < TUPLE_BUCKETS; i++) {
        into->bucket[i] += sums->bucket[i];
    }
    for (unsigned i = 0; i < SHADOW_MAX; i++) {
        into->shadowed[i] += sums->shadowed[i];
    }
    into->calls += sums->calls;
    into->sum_us += sums->sum_us;
    into->max_us = sums->max_us > into->max_us ? sums->max_us : into->max_us;
    into->last_call_ms =
        sums->last_call_ms > into->last_call_ms ? sums->last_call_ms : into->last_call_ms;
}

void tuple_residue_each(const struct tuple_residue *residue, tuple_residue_fn fn, void *arg)
{
    for (uint64_t i = 0; i <= residue->mask; i++) {
        for (const struct pair *pair = residue->buckets[i]; pair != NULL; pair = pair->next) {
            fn(arg, pair->name[PAIR_TO], pair->name[PAIR_TO_CLUSTER], &pair->sums);
        }
    }
    if (residue->other.calls > 0) {
        struct disc_str other = disc_str_of("_other", 6);
        fn(arg, other, other, &residue->other);
    }
}
