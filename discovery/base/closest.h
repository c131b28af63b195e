/*
 * discovery/base/closest.h: the name that was meant where another was written.
 *
 * For rules, the bootstrap file and the verbs of the command line.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_CLOSEST_H
#define TSIDE_DISCOVERY_BASE_CLOSEST_H

#include <stddef.h>

/* Of n names the one at most two typing errors (Levenshtein) away from name; NULL: none. */
const char *disc_closest(const char *name, const char *const known[], size_t n);

#endif
