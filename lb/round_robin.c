/*
 * lb/round_robin.c: smooth weighted round robin, see lb/round_robin.h.
 *
 * A turned sequence starts from what `start` picks leave behind: by then candidate i has gained
 * start * w[i] and paid the total for each time it was picked, so its current value is that product
 * modulo the total, less one total more for those whose turn came early: as many as make the sum
 * zero, taken in the order of the largest remainders. The algorithm itself now and then decides
 * otherwise, so the first turn may give a candidate one pick more or less than its weight.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/round_robin.h"

#include <assert.h>
#include <stdlib.h>

struct entry {
    int64_t current;
    uint32_t weight;
};

struct lb_round_robin {
    uint64_t total;
    uint32_t n;
    struct entry entries[];
};

struct remainder {
    uint64_t value;
    uint32_t index;
};

static int larger_first(const void *a, const void *b)
{
    const struct remainder *x = a;
    const struct remainder *y = b;

    if (x->value != y->value) {
        return x->value > y->value ? -1 : 1;
    }
    return x->index < y->index ? -1 : 1;
}

/* Weights and n are at most a million, so start * weight is below 10^18, and so is the sum. */
static void turn(struct lb_round_robin *rr, uint64_t start, struct remainder *scratch)
{
    uint64_t sum = 0;

    for (uint32_t i = 0; i < rr->n; i++) {
        uint64_t value = start * rr->entries[i].weight % rr->total;
        rr->entries[i].current = (int64_t)value;
        scratch[i] = (struct remainder){.value = value, .index = i};
        sum += value;
    }
    if (sum == 0) {
        return;
    }
    qsort(scratch, rr->n, sizeof(*scratch), larger_first);
    for (uint64_t i = 0; i < sum / rr->total; i++) {
        rr->entries[scratch[i].index].current -= (int64_t)rr->total;
    }
}

struct lb_round_robin *lb_round_robin_new(const uint32_t weights[], uint32_t n, uint64_t start)
{
    struct lb_round_robin *rr = calloc(1, sizeof(*rr) + n * sizeof(rr->entries[0]));
    struct remainder *scratch = malloc(n * sizeof(*scratch) + 1); /* never NULL for n = 0 */
    if (!rr || !scratch) {
        free(scratch);
        return lb_round_robin_free(rr);
    }

    rr->n = n;
    for (uint32_t i = 0; i < n; i++) {
        rr->entries[i].weight = weights[i];
        rr->total += weights[i];
    }
    if (rr->total > 0) {
        turn(rr, start % rr->total, scratch);
    }
    free(scratch);
    return rr;
}

struct lb_round_robin *lb_round_robin_free(struct lb_round_robin *rr)
{
    free(rr);
    return NULL;
}

/* Takes the sum off the current values, by weight, so that it is zero again. */
static void level(struct lb_round_robin *rr, int64_t sum)
{
    int64_t rest = sum;

    for (uint32_t i = 0; i < rr->n; i++) {
        int64_t part = (int64_t)((__int128)sum * rr->entries[i].weight / (int64_t)rr->total);
        rr->entries[i].current -= part;
        rest -= part;
    }
    for (uint32_t i = 0; rest != 0; i++) { /* less than one for each that has weight */
        if (rr->entries[i].weight > 0) {
            rr->entries[i].current -= rest > 0 ? 1 : -1;
            rest += rest > 0 ? -1 : 1;
        }
    }
}

void lb_round_robin_follow(struct lb_round_robin *rr, const struct lb_round_robin *before,
                           const uint32_t was[])
{
    int64_t sum = 0;

    if (rr->total == 0 || before->total == 0) {
        return;
    }
    for (uint32_t i = 0; i < rr->n; i++) {
        struct entry *entry = &rr->entries[i];
        __int128 owed = was[i] == LB_NONE ? 0 : before->entries[was[i]].current;
        entry->current =
            entry->weight > 0 ? (int64_t)(owed * (int64_t)rr->total / (int64_t)before->total) : 0;
        sum += entry->current;
    }
    level(rr, sum);
}

/* What a turn gives it. Of a share, the fraction is drawn: on average it is exact. */
static int64_t gain(const struct entry *entry, uint32_t index, const struct lb_pick *pick)
{
    if (!pick->share) {
        return entry->weight;
    }
    uint64_t parts = (uint64_t)entry->weight * lb_share_of(pick, index);
    uint64_t drawn = lb_random_scale(lb_random_next(pick->random), LB_SHARE_ALL);
    return (int64_t)((parts + drawn) / LB_SHARE_ALL);
}

/* Excluded candidates neither gain nor pay: they go on from where they were. */
uint32_t lb_round_robin_pick(struct lb_round_robin *rr, const struct lb_pick *pick)
{
    uint32_t best = LB_NONE;
    int64_t total = 0;

    for (uint32_t i = 0; i < rr->n; i++) {
        struct entry *entry = &rr->entries[i];
        if (entry->weight == 0 || lb_is_excluded(pick, i)) {
            continue;
        }
        int64_t more = gain(entry, i, pick);
        entry->current += more;
        total += more;
        if (best == LB_NONE || entry->current > rr->entries[best].current) {
            best = i;
        }
    }
    if (best != LB_NONE) {
        rr->entries[best].current -= total;
    }
    return best;
}

void lb_round_robin_check(const struct lb_round_robin *rr)
{
    int64_t sum = 0;

    for (uint32_t i = 0; i < rr->n; i++) {
        assert(rr->entries[i].weight > 0 || rr->entries[i].current == 0);
        sum += rr->entries[i].current;
    }
    assert(sum == 0);
}
