/*
 * sidecar/base/reason.h: the reasons of reason.def as an enum.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_REASON_H
#define TSIDE_SIDECAR_BASE_REASON_H

enum reason {
#define REASON(id, text, own, test, meaning) REASON_##id,
#include "sidecar/base/reason.def"
    REASON_MAX
};

const char *reason_str(enum reason reason);

#endif
