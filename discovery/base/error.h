/*
 * discovery/base/error.h: why a key, a value or a line of a file was refused.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_BASE_ERROR_H
#define TSIDE_DISCOVERY_BASE_ERROR_H

struct disc_error {
    char field[64];   /* "pool.max_idle"; "" where no field is to blame */
    char reason[256]; /* "must be 0..100000, is -1" */
};

#endif
