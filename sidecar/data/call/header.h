/*
 * sidecar/data/call/header.h: the TTHeader of a call: what came in it, and what goes out in front of messages.
 *
 * A request's header stands in front of its body, in the same bytes; what is known of it is kept apart, for answers
 * are addressed by it when the request has gone. Headers that go out are blocks of their own: messages are neither
 * copied nor moved for them.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_HEADER_H
#define TSIDE_SIDECAR_DATA_CALL_HEADER_H

#include "sidecar/data/call/call.h"
#include "sidecar/data/call/edits.h"

/* Most calls have none: kept out of the functions that all pass through. */
#define HEADER_APART __attribute__((noinline))

/* Keys that are text, as identify looks for them. */
enum header_text {
    HEADER_TEXT_DEADLINE = 0, /* the listener's deadline.entry */
    HEADER_TEXT_STAMP,
    HEADER_TEXT_RETRY,
    HEADER_TEXTS
};

/* What was found in a frame's header, to be kept by its call; NULL where there is none. False without memory. */
bool header_keep(const struct worker *worker, const struct codec_ttheader *header,
                 struct codec_ttheader **ret) __attribute__((warn_unused_result));

/* While the request's bytes are there; p NULL: absent. */
struct disc_str header_int(const struct call *call, enum codec_ttheader_int which);
void header_texts(const struct call *call, struct disc_str ret[HEADER_TEXTS]) HEADER_APART;

/* A block; NULL without memory, or where it would be too long. */
struct header_out {
    uint8_t *block;
    uint32_t len;
};

/* In front of the request, of which message_len bytes go to the callee. */
struct header_out header_for_callee(const struct attempt *attempt, const struct edits *edits,
                                    uint32_t message_len) HEADER_APART;
/* The callee's header goes to the caller as it came, but for its sequence: then it is part of the message from now
 * on. draining: the caller's connection is to be used no more. */
bool header_passes(const struct call *call, struct message *reply, bool draining);
/* In front of another answer. */
struct header_out header_for_caller(const struct call *call, const struct message *reply,
                                    bool draining) HEADER_APART;

#endif
