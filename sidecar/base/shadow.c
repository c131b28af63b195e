/*
 * sidecar/base/shadow.c: see sidecar/base/shadow.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/shadow.h"

_Static_assert(SHADOW_MAX <= 32, "a bit each in a set");

const char *shadow_str(enum shadow stage)
{
    static const char *const texts[SHADOW_MAX] = {
        "none",
#define SHADOW(id, text) text,
#include "sidecar/base/shadow.def"
    };
    return (unsigned)stage < SHADOW_MAX ? texts[stage] : "?";
}
