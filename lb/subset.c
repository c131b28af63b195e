/*
 * lb/subset.c: see lb/subset.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "lb/subset.h"

#include <stdlib.h>
#include <string.h>

uint64_t lb_subset_score(uint64_t host, uint64_t endpoint)
{
    uint64_t z = host ^ (endpoint * UINT64_C(0x9e3779b97f4a7c15)); /* the finish is splitmix64's */
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static int higher_first(const void *a, const void *b)
{
    uint64_t x, y;
    memcpy(&x, a, sizeof x);
    memcpy(&y, b, sizeof y);
    return (x < y) - (x > y);
}

uint64_t lb_subset_least(uint64_t scores[], uint32_t n, uint32_t size)
{
    if (n <= size) {
        return 0;
    }
    qsort(scores, n, sizeof scores[0], higher_first);
    return scores[size - 1];
}
