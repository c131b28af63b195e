/*
 * lb/maglev.h: consistent hashing: the same key goes to the same candidate from every host.
 *
 * Maglev's table (Eisenbud et al., "Maglev: A Fast and Reliable Software Network Load Balancer",
 * NSDI 2016, section 3.4): each candidate has a permutation of the slots of its own, made from its
 * name; in turn, each takes the first slot of its permutation that is still free. A key is a slot.
 * With weights a candidate's k-th turn comes in round k * heaviest / weight: what weighs half has
 * every second turn.
 *
 * One thing differs: a turn that meets too many taken slots is lost. As published, each leaver makes
 * the others find other slots free, and more so in large sets: with 65537 slots the keys that moved
 * when one of n left were, times n, 1.03 of 10, 1.6 of 100, 2.9 of 200 and 7 of 1000. With lost turns
 * it stays below 2: 1.03, 1.4, 1.6 and 1.8. The price is evenness, which was exact: the shares of 100
 * equals differ by 4 %, those of 1000 by 20 %. tests/lb/maglev_test.c prints and checks all this.
 *
 * The table has one size for all sets: keys are mapped to slots by it, and one that hung on the
 * number of candidates would move all keys whenever that passed a bound. It is 128 KiB.
 *
 * Built once per set, in some milliseconds; immutable afterwards, freely shared by threads.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_MAGLEV_H
#define TSIDE_LB_MAGLEV_H

#include "lb/candidate.h"

#define LB_MAGLEV_SLOTS 65537 /* a prime, as the permutations need */
#define LB_MAGLEV_MAX   65000 /* candidates; those beyond get no key */

struct lb_maglev;

/* names: a 64-bit hash of each candidate's name, the same on every host. Copies what it needs. The
 * order matters where two want a slot in the same round: it must be the same on every host, too. A
 * weight of 0 gets no slot. NULL when out of memory. */
struct lb_maglev *lb_maglev_new(const uint64_t names[], const uint32_t weights[], uint32_t n)
    __attribute__((warn_unused_result));
struct lb_maglev *lb_maglev_free(struct lb_maglev *maglev);

/* The candidate of this key, a uniform 64-bit value: a hash. Where it is excluded, the key is hashed
 * on to other slots: one key always goes the same way, and all keys of one candidate spread over the
 * others by their shares. LB_NONE where nothing is left. Draws nothing, asks
 * for no load. */
uint32_t lb_maglev_pick(const struct lb_maglev *maglev, uint64_t key, const struct lb_pick *pick);

/* How many slots the candidate has: its share of all keys. For tests. */
uint32_t lb_maglev_slots(const struct lb_maglev *maglev, uint32_t index);

#endif
