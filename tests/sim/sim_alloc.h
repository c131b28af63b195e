/*
 * tests/sim/sim_alloc.h: memory that runs out at the n-th allocation of the code under test.
 *
 * The linker wraps malloc, calloc, realloc and aligned_alloc (--wrap). Allocations fail only
 * between sim_alloc_enter() and sim_alloc_leave(), which stand around worker code; what the
 * simulator itself needs comes from sim_take(), which never fails.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_SIM_ALLOC_H
#define TSIDE_TESTS_SIM_ALLOC_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

void sim_alloc_enter(void);
void sim_alloc_leave(void);

/* From the n-th allocation on (1: the next), `run` of them fail. */
void sim_alloc_fail(uint32_t n, uint32_t run);
/* None fails any more. */
void sim_alloc_heal(void);

/* Zeroed memory of the simulator. */
void *sim_take(size_t bytes);
void *sim_retake(void *p, size_t bytes);
void sim_give(void *p);

#endif
