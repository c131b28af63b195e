/*
 * sidecar/data/call/edits.c: see edits.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/edits.h"

#include "sidecar/base/extra_key.h"
#include "sidecar/data/call/call.h"
#include "sidecar/data/call/header.h"

static void add(struct edits *edits, struct codec_key key, int64_t value, struct wire_span in_extra,
                enum user_extra_member in_text)
{
    struct edit *edit = &edits->at[edits->len++];
    edit->key = key;
    edit->in_extra = in_extra;
    edit->in_text = in_text;
    edit->value_len = (uint32_t)decimal_write(value, edit->value);
}

void edits_decide(const struct attempt *attempt, struct edits *ret)
{
    const struct call *call = attempt->call;
    const struct bootstrap_listener *listener = call->request.listener;
    ret->len = 0;
    if (listener->deadline_rewrite) {
        add(ret, (struct codec_key){listener->deadline_entry, listener->deadline_entry_len},
            call_remaining_ms(call), call->request.budget_value, USER_EXTRA_DEADLINE);
    }
    if (listener->deadline_rewrite && listener->deadline_shared_clock) {
        add(ret, (struct codec_key){EXTRA_KEY_AND_LEN(EXTRA_KEY_STAMP)},
            (int64_t)(worker_unix_us(call->worker) / 1000), call->request.stamp_value,
            USER_EXTRA_STAMP);
    }
    if (attempt->repeats && listener->deadline_chain_stop) {
        add(ret, (struct codec_key){EXTRA_KEY_AND_LEN(EXTRA_KEY_RETRY)}, 1, (struct wire_span){0},
            USER_EXTRA_RETRY); /* one that came with it is not repeated */
    }
}

static bool is_in_text(const struct call *call, enum user_extra_member which)
{
    return (call->request.in_user_extra >> which & 1) != 0;
}

/* Whether what stands nowhere goes into the text. */
static bool text_has_budget(const struct call *call)
{
    return is_in_text(call, USER_EXTRA_DEADLINE) && !call->request.budget_value.off;
}

static struct codec_entry entry_of(const struct edit *edit)
{
    return (struct codec_entry){.key = edit->key.name,
                                .key_len = edit->key.len,
                                .value = edit->value,
                                .value_len = edit->value_len,
                                .old = edit->in_extra};
}

static void edit_extra(struct attempt *attempt, const struct edit *edit, bool may_add)
{
    const struct call *call = attempt->call;
    const struct codec_entry entry = entry_of(edit);
    bool is_missing = !edit->in_extra.off && !is_in_text(call, edit->in_text);
    if (edit->in_extra.off || (is_missing && may_add)) {
        codec_rewrite_extra_set(&attempt->rewrite, &call->request.base,
                                call->request.listener->extra_id, &entry);
    }
}

static void edit_text(struct attempt *attempt, const struct user_extra *text,
                      const struct edit *edit, bool may_add)
{
    const struct codec_entry entry = entry_of(edit);
    if (user_extra_has(text, edit->in_text)) {
        struct codec_json_member member = user_extra_place(text, edit->in_text);
        codec_rewrite_json_set(&attempt->rewrite, &member, edit->value, edit->value_len);
    } else if (may_add && !edit->in_extra.off) {
        struct codec_json_member budget = user_extra_place(text, USER_EXTRA_DEADLINE);
        codec_rewrite_json_add(&attempt->rewrite, &budget, &entry);
    }
}

static HEADER_APART void edit_user_extra(struct attempt *attempt, const struct edits *edits,
                                         bool may_add)
{
    struct user_extra text;
    if (!user_extra_find(attempt->call, &text)) {
        return;
    }
    for (unsigned i = 0; i < edits->len; i++) {
        edit_text(attempt, &text, &edits->at[i], may_add);
    }
}

static void edit_log_id(struct attempt *attempt)
{
    const struct call *call = attempt->call;
    const struct codec_base *base = &call->request.base;
    if (call->request.log_id_fresh && !(base->has_log_id && base->log_id.len > 0)) {
        codec_rewrite_log_id_set(&attempt->rewrite, base, call->request.log_id,
                                 call->request.log_id_len);
    }
}

void edits_write(struct attempt *attempt, const struct edits *edits, bool has_header)
{
    const struct call *call = attempt->call;
    edit_log_id(attempt);
    for (unsigned i = 0; i < edits->len; i++) {
        edit_extra(attempt, &edits->at[i], !has_header && !text_has_budget(call));
    }
    if (call->request.in_user_extra) {
        edit_user_extra(attempt, edits, !has_header && text_has_budget(call));
    }
}
