/*
 * sidecar/base/random_seed.c: see random_seed.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/random_seed.h"

#include <sys/random.h>
#include <time.h>
#include <unistd.h>

uint64_t random_seed(void)
{
    uint64_t seed = 0;
    if (getrandom(&seed, sizeof seed, GRND_NONBLOCK) == sizeof seed) {
        return seed;
    }
    struct timespec now = {0};
    (void)clock_gettime(CLOCK_MONOTONIC, &now); /* a clock that every kernel has */
    return (uint64_t)now.tv_nsec ^ (uint64_t)getpid() << 32 ^ (uint64_t)(uintptr_t)&seed << 8;
}
