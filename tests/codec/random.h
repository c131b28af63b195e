/*
 * tests/codec/random.h: a seeded generator for tests, the same numbers on every host.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_CODEC_RANDOM_H
#define TSIDE_TESTS_CODEC_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

/* splitmix64 */
static inline uint64_t random_next(struct random *random)
{
    uint64_t z = random->state += 0x9e3779b97f4a7c15u;

    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

/* From 0 up to, not including, n (at least 1). */
static inline uint32_t random_below(struct random *random, uint32_t n)
{
    return (uint32_t)((random_next(random) >> 32) * n >> 32);
}

static inline bool random_one_in(struct random *random, uint32_t n)
{
    return random_below(random, n) == 0;
}

#endif
