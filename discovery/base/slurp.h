/*
 * discovery/base/slurp.h: a whole file in memory.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_SLURP_H
#define TSIDE_DISCOVERY_BASE_SLURP_H

#include <stddef.h>
#include <stdint.h>

/* The bytes of a regular file, with a NUL behind: 0 and *ret_text (free() it), or a negative errno
 * (-EFBIG: more than max_bytes, -EINVAL: no regular file). Of a file that shrinks meanwhile, what
 * is left; what is appended comes with the next change. */
int disc_slurp(const char *path, uint64_t max_bytes, char **ret_text, size_t *ret_len);

#endif
