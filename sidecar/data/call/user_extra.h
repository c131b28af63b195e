/*
 * sidecar/data/call/user_extra.h: the JSON text of Base.Extra["user_extra"], as kite's clients write it: the callee's
 * names, and metainfo that goes along the chain (docs/specification.md, sections 1 and 8).
 *
 * Few calls have one. It is not kept: it is looked for again when the message is sent.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_DATA_CALL_USER_EXTRA_H
#define TSIDE_SIDECAR_DATA_CALL_USER_EXTRA_H

#include "codec/json_find.h"
#include "codec/ttheader_edit.h"
#include "discovery/rules/tuple.h"

struct call;

enum user_extra_member {
    USER_EXTRA_DEST_SERVICE = 0,
    USER_EXTRA_DEST_CLUSTER,
    USER_EXTRA_DEADLINE, /* the listener's deadline.entry */
    USER_EXTRA_STAMP,
    USER_EXTRA_RETRY,
    USER_EXTRA_MEMBERS
};

struct user_extra {
    struct wire_span text; /* in the message */
    struct json_wanted member[USER_EXTRA_MEMBERS];
};

/* Out of the request's text. False, with nothing found, where there is none or it is no JSON object. */
bool user_extra_read(const struct call *call, struct wire_span text, struct user_extra *ret);
/* The same of a call whose Extra was not searched for it just now. */
bool user_extra_find(const struct call *call, struct user_extra *ret)
    __attribute__((warn_unused_result));

/* p NULL: not found. Borrowed; of one that is too long, only the length is true: above that of any name. */
struct disc_str user_extra_value(const struct user_extra *extra, enum user_extra_member which);
bool user_extra_has(const struct user_extra *extra, enum user_extra_member which);
struct codec_json_member user_extra_place(const struct user_extra *extra,
                                          enum user_extra_member which);

/* Members whose names begin with the prefix, as edits of a header; what they borrow is in the message and the room. */
void user_extra_persist(const struct call *call, struct codec_key prefix,
                        struct codec_ttheader_edits *edits, struct codec_ttheader_room *room);

#endif
