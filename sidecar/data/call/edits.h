/*
 * sidecar/data/call/edits.h: what docs/specification.md, section 5, writes into the message that is passed on: LogID,
 * what is left of the budget, the stamp, the marker of a retry.
 *
 * Each is written where it was found, in Extra or in the JSON text of user_extra; one that stands nowhere is added
 * beside the budget, to Extra where that stands nowhere either.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_EDITS_H
#define TSIDE_SIDECAR_DATA_CALL_EDITS_H

#include "sidecar/data/call/attempt.h"

/* Into attempt->rewrite, which is begun. has_header: a TTHeader goes in front of the message and says it; then what
 * stands in the message is kept true, and nothing is added. */
void edits_add(struct attempt *attempt, bool has_header);

#endif
