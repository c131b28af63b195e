/*
 * chi_square.h: are these counts what these weights promise?
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_LB_CHI_SQUARE_H
#define TSIDE_TESTS_LB_CHI_SQUARE_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>

/* How many standard deviations chi-square is above what chance gives: beyond 4 is no chance. What
 * has weight 0 must have the count 0: else HUGE_VAL. */
static inline double chi_square_sigmas(const uint64_t counts[], const uint32_t weights[], size_t n)
{
    double total = 0, drawn = 0, chi = 0, freedom = -1;

    for (size_t i = 0; i < n; i++) {
        total += weights[i];
        drawn += (double)counts[i];
    }
    for (size_t i = 0; i < n; i++) {
        if (weights[i] == 0) {
            if (counts[i]) {
                return HUGE_VAL;
            }
            continue;
        }
        double expected = drawn * weights[i] / total;
        chi += ((double)counts[i] - expected) * ((double)counts[i] - expected) / expected;
        freedom++;
    }
    return freedom > 0 ? (chi - freedom) / sqrt(2 * freedom) : 0;
}

#endif
