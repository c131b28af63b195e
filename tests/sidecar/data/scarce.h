/*
 * tests/sidecar/data/scarce.h: memory that runs out where a test wants it to.
 *
 * malloc(), calloc() and realloc() of the code under test go through here (the linker's --wrap). A
 * test lets the n-th of them fail, once, or all from there on; what the test itself allocates is
 * held apart.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIDECAR_DATA_SCARCE_H
#define TSIDE_TESTS_SIDECAR_DATA_SCARCE_H

#include <stdbool.h>

/* From now on the n-th allocation fails, counted from 0, and with `all` those behind it. */
void scarce_begin(unsigned n, bool all);
/* Ends that. How many have failed. */
unsigned scarce_end(void);
/* How many allocations there were since the process began, the test's own not counted. */
unsigned long scarce_count(void);

/* Between these two the test allocates. They nest. */
void scarce_hold(void);
void scarce_release(void);

#endif
