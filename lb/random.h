/*
 * lb/random.h: the random numbers of balancing: seeded state as an argument, no clock, no kernel.
 *
 * xoshiro256** of Blackman and Vigna (prng.di.unimi.it), seeded by splitmix64. Not for secrets.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_LB_RANDOM_H
#define TSIDE_LB_RANDOM_H

#include <stdint.h>

struct lb_random {
    uint64_t s[4];
};

void lb_random_init(struct lb_random *random, uint64_t seed);
uint64_t lb_random_next(struct lb_random *random);

/* Uniform in [0, bound); bound 0 gives 0. Without modulo bias that matters (128-bit multiply). */
static inline uint64_t lb_random_scale(uint64_t point, uint64_t bound)
{
    return (uint64_t)(((unsigned __int128)point * bound) >> 64);
}

#endif
