/*
 * sidecar/data/call/user_extra.c: see user_extra.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/user_extra.h"

#include "sidecar/base/extra_key.h"
#include "sidecar/data/call/call.h"

#include <string.h>

static void want(struct user_extra *extra, enum user_extra_member which, const char *name,
                 size_t len)
{
    struct json_wanted *wanted = &extra->member[which];
    wanted->name = name;
    wanted->name_len = len;
    wanted->found = false;
}

static void want_all(const struct call *call, struct user_extra *extra)
{
    const struct bootstrap_listener *listener = call->request.listener;
    want(extra, USER_EXTRA_DEST_SERVICE, EXTRA_KEY_AND_LEN(EXTRA_KEY_DEST_SERVICE));
    want(extra, USER_EXTRA_DEST_CLUSTER, EXTRA_KEY_AND_LEN(EXTRA_KEY_DEST_CLUSTER));
    want(extra, USER_EXTRA_DEADLINE, listener->deadline_entry, listener->deadline_entry_len);
    want(extra, USER_EXTRA_STAMP, EXTRA_KEY_AND_LEN(EXTRA_KEY_STAMP));
    want(extra, USER_EXTRA_RETRY, EXTRA_KEY_AND_LEN(EXTRA_KEY_RETRY));
}

bool user_extra_read(const struct call *call, struct wire_span text, struct user_extra *ret)
{
    ret->text = text;
    want_all(call, ret);
    return text.len > 0 && json_find(call->request.wire.message.body + text.off, text.len,
                                     USER_EXTRA_MEMBERS, ret->member);
}

static bool find_text(const struct call *call, struct wire_span *ret)
{
    const struct codec_extra *extra = &call->request.base.extra;
    return call->request.message.has_base && extra->present &&
           codec_extra_find(call->request.wire.message.body, extra,
                            EXTRA_KEY_AND_LEN(EXTRA_KEY_USER_EXTRA), ret);
}

bool user_extra_find(const struct call *call, struct user_extra *ret)
{
    struct wire_span text;
    return find_text(call, &text) && user_extra_read(call, text, ret);
}

bool user_extra_has(const struct user_extra *extra, enum user_extra_member which)
{
    return extra->member[which].found;
}

struct disc_str user_extra_value(const struct user_extra *extra, enum user_extra_member which)
{
    const struct json_wanted *wanted = &extra->member[which];
    if (!wanted->found) {
        return (struct disc_str){0};
    }
    return disc_str_of(wanted->value, wanted->too_long ? DISC_NAME_MAX_BYTES + 1 : wanted->len);
}

struct codec_json_member user_extra_place(const struct user_extra *extra,
                                          enum user_extra_member which)
{
    return (struct codec_json_member){.text = extra->text, .raw = extra->member[which].raw};
}

void user_extra_persist(const struct call *call, struct codec_key prefix,
                        struct codec_ttheader_edits *edits, struct codec_ttheader_room *room)
{
    struct json_members members = {.prefix = prefix.name, .prefix_len = prefix.len};
    struct wire_span text;
    if (!find_text(call, &text)) {
        return;
    }
    const uint8_t *p = call->request.wire.message.body + text.off;
    if (json_list(p, text.len, &members)) {
        codec_ttheader_edits_add_json(edits, p, &members, room);
    }
}
