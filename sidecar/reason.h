/*
 * sidecar/reason.h: the reasons of reason.def as an enum.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_REASON_H
#define TSIDE_SIDECAR_REASON_H

enum reason {
#define REASON(id, text, own, test, meaning) REASON_##id,
#include "sidecar/reason.def"
    REASON_MAX
};

const char *reason_str(enum reason reason);

#endif
