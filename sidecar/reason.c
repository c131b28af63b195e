/*
 * sidecar/reason.c: see sidecar/reason.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/reason.h"

static const struct {
    const char *text;
    bool own;
} reasons[REASON_MAX] = {
#define REASON(id, text, own, test, meaning) {text, own},
#include "sidecar/reason.def"
};

const char *reason_str(enum reason reason)
{
    return (unsigned)reason < REASON_MAX ? reasons[reason].text : "?";
}

bool reason_is_own(enum reason reason)
{
    return (unsigned)reason < REASON_MAX && reasons[reason].own;
}
