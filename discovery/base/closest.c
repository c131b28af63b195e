/*
 * discovery/base/closest.c: see discovery/base/closest.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/closest.h"

#include <string.h>

#define CLOSEST_MAX 2  /* typing errors */
#define WORD_MAX    64 /* longer words have no suggestion */

/* Levenshtein's distance, by rows. */
static size_t distance(const char *a, size_t a_len, const char *b, size_t b_len)
{
    size_t row[WORD_MAX + 1];
    for (size_t j = 0; j <= b_len; j++) {
        row[j] = j;
    }
    for (size_t i = 1; i <= a_len; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b_len; j++) {
            size_t best = diagonal + (a[i - 1] != b[j - 1]);
            diagonal = row[j];
            best = row[j] + 1 < best ? row[j] + 1 : best;
            row[j] = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
        }
    }
    return row[b_len];
}

const char *disc_closest(const char *name, const char *const known[], size_t n)
{
    const char *closest = NULL;
    size_t closest_distance = CLOSEST_MAX + 1;
    size_t len = strlen(name);
    for (size_t i = 0; len <= WORD_MAX && i < n; i++) {
        size_t known_len = strlen(known[i]);
        if (known_len > WORD_MAX) {
            continue;
        }
        size_t d = distance(name, len, known[i], known_len);
        /* A word of two letters is two errors away from any other. */
        if (d < closest_distance && d < known_len && d < len) {
            closest = known[i];
            closest_distance = d;
        }
    }
    return closest;
}
