/*
 * sidecar/reason.h: the reasons of reason.def as an enum.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_REASON_H
#define TSIDE_SIDECAR_REASON_H

#include <stdbool.h>

enum reason {
#define REASON(id, text, own, test, meaning) REASON_##id,
#include "sidecar/reason.def"
    REASON_MAX
};

const char *reason_str(enum reason reason);
/* Whether tside makes the answer itself. */
bool reason_is_own(enum reason reason);

#endif
