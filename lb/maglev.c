/*
 * lb/maglev.c: see lb/maglev.h.
 *
 * Turns are kept in a calendar: a list of candidates per round. The heaviest candidate has a turn in
 * each round, and each turn is at least one step of its permutation: behind as many rounds as there
 * are slots every slot is taken, whatever the weights.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/maglev.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS LB_MAGLEV_SLOTS
#define FREE  UINT16_MAX
/* Slots looked at in one turn: TRIES_MIN, and of so many more the heaviest candidate's share of the
 * weight: where one has much of the table, the others meet its slots again and again. */
#define TRIES_MIN   4
#define TRIES_SHARE 500
#define JUMPS_MAX   64 /* past excluded candidates, before the table is walked */

struct lb_maglev {
    bool empty;            /* no candidate has weight */
    uint16_t slots[SLOTS]; /* a candidate's index */
};

/* A candidate while the table is filled. */
struct claim {
    uint32_t next_slot; /* the permutation so far */
    uint32_t skip;
    uint32_t turns;
    uint32_t following; /* in the list of its next turn's round */
};

struct filling {
    struct lb_maglev *maglev;
    const uint32_t *weights;
    uint32_t heaviest;
    uint32_t tries; /* slots looked at in one turn */
    uint32_t left;  /* free slots */
    struct claim *claims;
    uint32_t first[SLOTS]; /* by round; LB_NONE: none */
};

/* The finaliser of splitmix64. Part of what all hosts must agree on: never change it. */
static uint64_t mix(uint64_t z)
{
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* Puts the candidate on the list of its next turn; behind the last round it has no more. */
static void enlist(struct filling *filling, uint32_t index)
{
    struct claim *claim = &filling->claims[index];
    uint64_t round = (uint64_t)claim->turns * filling->heaviest / filling->weights[index];

    if (round < SLOTS) {
        claim->following = filling->first[round];
        filling->first[round] = index;
    }
}

/* The number of slots is a prime: every skip below it meets each slot once. */
static uint32_t step(struct claim *claim)
{
    uint32_t slot = claim->next_slot;
    uint32_t next = slot + claim->skip;
    claim->next_slot = next < SLOTS ? next : next - SLOTS;
    return slot;
}

/* The first turn goes on until it has a slot, so that every candidate has one. */
static void take_turn(struct filling *filling, uint32_t index)
{
    struct claim *claim = &filling->claims[index];
    uint16_t *slots = filling->maglev->slots;
    uint32_t slot = step(claim);

    for (uint32_t i = 1; slots[slot] != FREE && (i < filling->tries || claim->turns == 0); i++) {
        slot = step(claim);
    }
    if (slots[slot] == FREE) {
        slots[slot] = (uint16_t)index;
        filling->left--;
    }
    claim->turns++;
}

static void fill(struct filling *filling)
{
    for (uint32_t round = 0; round < SLOTS && filling->left > 0; round++) {
        uint32_t index = filling->first[round];
        while (index != LB_NONE && filling->left > 0) {
            uint32_t following = filling->claims[index].following;
            take_turn(filling, index);
            enlist(filling, index);
            index = following;
        }
    }
}

static void prepare(struct filling *filling, const uint64_t names[], uint32_t n)
{
    uint64_t total = 0;

    memset(filling->first, 0xff, sizeof filling->first);
    for (uint32_t i = 0; i < n; i++) {
        total += filling->weights[i];
        if (filling->weights[i] > filling->heaviest) {
            filling->heaviest = filling->weights[i];
        }
    }
    filling->tries = TRIES_MIN;
    if (total > 0) {
        filling->tries += (uint32_t)((uint64_t)filling->heaviest * TRIES_SHARE / total);
    }
    for (uint32_t i = 0; i < n; i++) {
        filling->claims[i].next_slot = (uint32_t)(mix(names[i]) % SLOTS);
        filling->claims[i].skip = (uint32_t)(mix(~names[i]) % (SLOTS - 1)) + 1;
        if (filling->weights[i] > 0) {
            enlist(filling, i);
        }
    }
}

struct lb_maglev *lb_maglev_new(const uint64_t names[], const uint32_t weights[], uint32_t n)
{
    struct lb_maglev *maglev = malloc(sizeof *maglev);
    struct filling *filling = malloc(sizeof *filling);
    struct claim *claims = calloc((size_t)n + 1, sizeof *claims);

    if (maglev && filling && claims) {
        memset(maglev, 0xff, sizeof *maglev); /* every slot is free */
        *filling = (struct filling){maglev, weights, .left = SLOTS, .claims = claims};
        prepare(filling, names, n < LB_MAGLEV_MAX ? n : LB_MAGLEV_MAX);
        fill(filling);
        maglev->empty = filling->left > 0;
    } else {
        maglev = lb_maglev_free(maglev);
    }
    free(claims);
    free(filling);
    return maglev;
}

struct lb_maglev *lb_maglev_free(struct lb_maglev *maglev)
{
    free(maglev);
    return NULL;
}

uint32_t lb_maglev_pick(const struct lb_maglev *maglev, uint64_t key, const struct lb_pick *pick)
{
    uint32_t slot = (uint32_t)lb_random_scale(key, SLOTS);

    for (uint32_t i = 0; i < JUMPS_MAX + SLOTS && !maglev->empty; i++) {
        uint32_t index = maglev->slots[slot];
        if (!lb_is_excluded(pick, index)) {
            return index;
        }
        if (i < JUMPS_MAX) {
            slot = (uint32_t)lb_random_scale(mix(key + i + 1), SLOTS);
        } else {
            slot = slot + 1 < SLOTS ? slot + 1 : 0;
        }
    }
    return LB_NONE;
}

uint32_t lb_maglev_slots(const struct lb_maglev *maglev, uint32_t index)
{
    uint32_t n = 0;

    for (uint32_t i = 0; i < SLOTS && !maglev->empty; i++) {
        n += maglev->slots[i] == index;
    }
    return n;
}
