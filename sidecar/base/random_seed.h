/*
 * sidecar/base/random_seed.h: seeds that nobody foresees.
 *
 * Names come from callers and keys from whoever writes them: who knew the seed of a hash table could
 * choose what collides with what. Any thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_RANDOM_SEED_H
#define TSIDE_SIDECAR_BASE_RANDOM_SEED_H

#include <stdint.h>

/* From the kernel. Where it has none yet, early in boot, the clock, the process and its addresses are
 * the best there is: a seed is never waited for. */
uint64_t random_seed(void);

#endif
