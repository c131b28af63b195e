/*
 * lb/weighted_draw.c: the alias method in whole numbers, see lb/weighted_draw.h.
 *
 * n columns of height W (the total weight) hold the n * w[i] units of every candidate: a column is
 * filled up to `keep` by its own candidate and from there to W by its alias. A draw is a column and
 * a height below W, so that each candidate has exactly n * w[i] of the n * W equal outcomes.
 * At the limits n * w[i] is 10^12 and n * W is 10^18: both fit into 64 bits.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/weighted_draw.h"

#include <assert.h>
#include <stdlib.h>

#define WEIGHT_MAX      1000000u
#define COUNT_MAX       1000000u
#define DRAWS_MAX       8  /* of excluded candidates, before the set is walked */
#define SHARE_DRAWS_MAX 32 /* where most of the set has a tenth of its weight, 97 % are found so */

struct column {
    uint64_t keep; /* 0 .. total */
    uint32_t alias;
    uint32_t weight;
};

struct lb_draw {
    uint64_t total;
    uint32_t n;
    struct column columns[];
};

/* The candidates whose rest is below the total grow from the front, the others from the back. */
struct piles {
    uint32_t *index;
    uint32_t small, large;
};

static void pile_up(struct piles *piles, uint32_t index, uint64_t rest, uint64_t total)
{
    if (rest < total) {
        piles->index[piles->small++] = index;
    } else {
        piles->index[--piles->large] = index;
    }
}

/* Vose: a small column is topped up from a large one, whose rest may then be small. The rests
 * always sum to total * (columns not yet closed), so the last ones are exactly full. */
static void build(struct lb_draw *draw, struct piles *piles)
{
    struct column *columns = draw->columns;

    for (uint32_t i = 0; i < draw->n; i++) {
        columns[i].keep = (uint64_t)columns[i].weight * draw->n;
        columns[i].alias = i;
        pile_up(piles, i, columns[i].keep, draw->total);
    }
    while (piles->small > 0) {
        uint32_t small = piles->index[--piles->small];
        assert(piles->large < draw->n);
        uint32_t large = piles->index[piles->large++];
        columns[small].alias = large;
        columns[large].keep -= draw->total - columns[small].keep;
        pile_up(piles, large, columns[large].keep, draw->total);
    }
}

struct lb_draw *lb_draw_new(const uint32_t weights[], uint32_t n)
{
    assert(n <= COUNT_MAX);
    struct lb_draw *draw = malloc(sizeof(*draw) + n * sizeof(draw->columns[0]));
    uint32_t *index = malloc(n * sizeof(*index) + 1); /* never NULL for n = 0 */
    if (!draw || !index) {
        free(index);
        return lb_draw_free(draw);
    }

    draw->total = 0;
    draw->n = n;
    for (uint32_t i = 0; i < n; i++) {
        assert(weights[i] <= WEIGHT_MAX);
        draw->columns[i].weight = weights[i];
        draw->total += weights[i];
    }
    if (draw->total > 0) {
        build(draw, &(struct piles){.index = index, .large = n});
    }
    free(index);
    return draw;
}

struct lb_draw *lb_draw_free(struct lb_draw *draw)
{
    free(draw);
    return NULL;
}

uint32_t lb_draw_count(const struct lb_draw *draw)
{
    return draw->n;
}

uint64_t lb_draw_total_weight(const struct lb_draw *draw)
{
    return draw->total;
}

uint32_t lb_draw_weight(const struct lb_draw *draw, uint32_t index)
{
    assert(index < draw->n);
    return draw->columns[index].weight;
}

uint32_t lb_draw_pick(const struct lb_draw *draw, struct lb_random *random)
{
    if (draw->total == 0) {
        return LB_NONE;
    }
    /* Two numbers, not the halves of one: W may need 40 bits, and what is left would be coarse. */
    uint32_t index = (uint32_t)lb_random_scale(lb_random_next(random), draw->n);
    uint64_t height = lb_random_scale(lb_random_next(random), draw->total);
    const struct column *column = &draw->columns[index];
    return height < column->keep ? index : column->alias;
}

/* Whether this candidate may be picked. */
static bool is_left(uint32_t index, uint32_t except, const struct lb_pick *pick)
{
    return index != except && !lb_is_excluded(pick, index);
}

/* By its share of its weight: one that was drawn in vain is drawn again. Exact. */
static bool has_luck(uint32_t index, const struct lb_pick *pick)
{
    return !pick->share ||
           lb_random_scale(lb_random_next(pick->random), LB_SHARE_ALL) < lb_share_of(pick, index);
}

static uint64_t weight_left(const struct lb_draw *draw, uint32_t index, uint32_t except,
                            const struct lb_pick *pick)
{
    return is_left(index, except, pick)
               ? (uint64_t)draw->columns[index].weight * lb_share_of(pick, index)
               : 0;
}

/* By weight among those that remain, by walking the set: exact, and slow only where a set is large
 * and nearly all its weight is excluded. */
static uint32_t walk(const struct lb_draw *draw, uint32_t except, const struct lb_pick *pick)
{
    uint64_t total = 0;

    for (uint32_t i = 0; i < draw->n; i++) {
        total += weight_left(draw, i, except, pick);
    }
    if (total == 0) {
        return LB_NONE;
    }
    uint64_t left = lb_random_scale(lb_random_next(pick->random), total);
    for (uint32_t i = 0;; i++) {
        uint64_t weight = weight_left(draw, i, except, pick);
        if (left < weight) {
            return i;
        }
        left -= weight;
    }
}

uint32_t lb_draw_pick_other(const struct lb_draw *draw, uint32_t except, const struct lb_pick *pick)
{
    int draws = pick->share ? SHARE_DRAWS_MAX : DRAWS_MAX;
    for (int i = 0; i < draws; i++) {
        uint32_t index = lb_draw_pick(draw, pick->random);
        if (index == LB_NONE || (is_left(index, except, pick) && has_luck(index, pick))) {
            return index;
        }
    }
    return walk(draw, except, pick);
}

uint32_t lb_draw_pick_two(const struct lb_draw *draw, const struct lb_pick *pick,
                          uint32_t *ret_second)
{
    uint32_t first = lb_draw_pick_other(draw, LB_NONE, pick);
    bool is_only = first == LB_NONE || lb_draw_weight(draw, first) == draw->total;
    *ret_second = is_only ? LB_NONE : lb_draw_pick_other(draw, first, pick);
    return first;
}

void lb_draw_check(const struct lb_draw *draw)
{
    uint64_t *outcomes = calloc((size_t)draw->n + 1, sizeof(*outcomes));

    assert(outcomes);
    for (uint32_t i = 0; draw->total > 0 && i < draw->n; i++) {
        const struct column *column = &draw->columns[i];
        assert(column->keep <= draw->total && column->alias < draw->n);
        outcomes[i] += column->keep;
        outcomes[column->alias] += draw->total - column->keep;
    }
    for (uint32_t i = 0; i < draw->n; i++) {
        assert(outcomes[i] == (uint64_t)draw->columns[i].weight * draw->n);
    }
    free(outcomes);
}
