/*
 * sidecar/shared/tuple_limits.h: what bounds the calls of one tuple, exactly, over all workers.
 *
 * Part of struct tuple_state, so that it outlives every snapshot; which numbers hold is up to the
 * route of each call.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_SHARED_TUPLE_LIMITS_H
#define TSIDE_SIDECAR_SHARED_TUPLE_LIMITS_H

#include "sidecar/shared/permit.h"

struct tuple_limits {
    char pad[64]; /* every call writes what is next, other tuples' look-ups read what is before */
    struct permits calls; /* under way */
    char pad_behind[64];
};

#endif
