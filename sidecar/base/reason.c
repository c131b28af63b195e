/*
 * sidecar/base/reason.c: see sidecar/base/reason.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/reason.h"

static const char *const reasons[REASON_MAX] = {
#define REASON(id, text, own, test, meaning) text,
#include "sidecar/base/reason.def"
};

const char *reason_str(enum reason reason)
{
    return (unsigned)reason < REASON_MAX ? reasons[reason] : "?";
}
