/*
 * sidecar/reason.c: see sidecar/reason.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/reason.h"

static const char *const reasons[REASON_MAX] = {
#define REASON(id, text, own, test, meaning) text,
#include "sidecar/reason.def"
};

const char *reason_str(enum reason reason)
{
    return (unsigned)reason < REASON_MAX ? reasons[reason] : "?";
}
