/*
 * sidecar/base/shadow.h: the stages of shadow.def as an enum, and sets of them.
 *
 * A stage in shadow decides as ever; where it would have refused the call it is noted, and the call
 * goes on.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_SHADOW_H
#define TSIDE_SIDECAR_BASE_SHADOW_H

#include <stdint.h>

enum shadow {
    SHADOW_NONE = 0, /* of stages that are never in shadow */
#define SHADOW(id, text) SHADOW_##id,
#include "sidecar/base/shadow.def"
    SHADOW_MAX
};

const char *shadow_str(enum shadow stage);

/* A set of them is a uint32_t. */
static inline uint32_t shadow_bit(enum shadow stage)
{
    return stage == SHADOW_NONE ? 0 : 1u << stage;
}

#endif
