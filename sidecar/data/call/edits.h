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

#include "sidecar/base/decimal.h"
#include "sidecar/data/call/attempt.h"
#include "sidecar/data/call/user_extra.h"

/* An entry to be written, and where the call has it. */
struct edit {
    struct codec_key key;
    struct wire_span in_extra;
    enum user_extra_member in_text;
    uint32_t value_len;
    char value[DECIMAL_MAX_BYTES];
};

/* What this hop has to say, in the message and in a TTHeader alike. */
struct edits {
    unsigned len;
    struct edit at[3];
};
void edits_decide(const struct attempt *attempt, struct edits *ret);

/* Of a message with Base, into attempt->rewrite, which is begun. has_header: a TTHeader goes in front of the message
 * and says it; then what stands in the message is kept true, and nothing is added. */
void edits_write(struct attempt *attempt, const struct edits *edits, bool has_header);

#endif
