/*
 * sidecar/data/call/header.c: see header.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/data/call/header.h"

#include "codec/ttheader_edit.h"
#include "sidecar/base/extra_key.h"
#include "sidecar/data/route/route.h"

#include <string.h>

#define PERSIST "RPC_PERSIST_"
/* Of metainfo out of the JSON text of user_extra; what is above it is left out and counted. */
#define PERSIST_TEXT_BYTES 8192

/* ---- what came ------------------------------------------------------------------------------- */

bool header_keep(const struct worker *worker, const struct codec_ttheader *header,
                 struct codec_ttheader **ret)
{
    *ret = header ? buffers_copy(&worker->buffers, header, sizeof *header) : NULL;
    return !header || *ret;
}

/* Where the request's header begins. */
static const uint8_t *begin_of(const struct call *call)
{
    const struct message *message = &call->request.wire.message;
    return message->body - message->head_room;
}

static struct disc_str str_at(const uint8_t *p, struct wire_span span)
{
    return span.off ? disc_str_of((const char *)p + span.off, span.len) : (struct disc_str){0};
}

struct disc_str header_int(const struct call *call, enum codec_ttheader_int which)
{
    const struct codec_ttheader *header = call->request.header;
    return header ? str_at(begin_of(call), header->ints[which]) : (struct disc_str){0};
}

void header_texts(const struct call *call, struct disc_str ret[HEADER_TEXTS])
{
    const struct bootstrap_listener *listener = call->request.listener;
    const struct codec_key keys[HEADER_TEXTS] = {
        [HEADER_TEXT_DEADLINE] = {listener->deadline_entry, listener->deadline_entry_len},
        [HEADER_TEXT_STAMP] = {EXTRA_KEY_AND_LEN(EXTRA_KEY_STAMP)},
        [HEADER_TEXT_RETRY] = {EXTRA_KEY_AND_LEN(EXTRA_KEY_RETRY)},
    };
    struct wire_span spans[HEADER_TEXTS];
    codec_ttheader_find_many(begin_of(call), call->request.header, HEADER_TEXTS, keys, spans);
    for (int i = 0; i < HEADER_TEXTS; i++) {
        ret[i] = str_at(begin_of(call), spans[i]);
    }
}

/* ---- edits ----------------------------------------------------------------------------------- */

static void set_int(struct codec_ttheader_edits *list, uint16_t id, struct disc_str value)
{
    if (value.len > 0) {
        list->at[list->len++] =
            (struct codec_ttheader_edit){.id = id, .value = value.p, .value_len = value.len};
    }
}

/* In every header; what is left of the budget also under its number. */
static void begin(struct codec_ttheader_edits *list, const struct edits *edits)
{
    list->len = 0;
    list->left_out = false;
    for (unsigned i = 0; i < edits->len; i++) {
        const struct edit *edit = &edits->at[i];
        if (edit->in_text == USER_EXTRA_DEADLINE) {
            set_int(list, CODEC_TTHEADER_KEY_RPC_TIMEOUT,
                    disc_str_of(edit->value, edit->value_len));
        }
        list->at[list->len++] = (struct codec_ttheader_edit){.key = edit->key.name,
                                                             .key_len = edit->key.len,
                                                             .value = edit->value,
                                                             .value_len = edit->value_len};
    }
}

static void set_names(struct codec_ttheader_edits *list, const struct call *call)
{
    const struct disc_str *name = call->plan.route->tuple.name;
    bool is_known = !disc_str_eq(name[DISC_FROM], disc_str_of("none", 4));
    set_int(list, CODEC_TTHEADER_KEY_LOG_ID,
            disc_str_of(call->request.log_id, call->request.log_id_len));
    set_int(list, CODEC_TTHEADER_KEY_FROM_SERVICE,
            is_known ? name[DISC_FROM] : (struct disc_str){0});
    set_int(list, CODEC_TTHEADER_KEY_FROM_CLUSTER, name[DISC_FROM_CLUSTER]);
    set_int(list, CODEC_TTHEADER_KEY_TO_SERVICE, name[DISC_TO]);
    set_int(list, CODEC_TTHEADER_KEY_TO_CLUSTER, call->plan.cluster);
}

static struct disc_str message_type(uint8_t type)
{
    static const char digits[] = "0123456789";
    return disc_str_of(digits + type, 1);
}

/* ---- towards the callee ---------------------------------------------------------------------- */

static struct header_out write_out(const struct call *call, const struct codec_ttheader_plan *plan)
{
    struct header_out out = {.block = buffers_alloc(&call->worker->buffers, plan->bytes),
                             .len = plan->bytes};
    if (out.block) {
        codec_ttheader_write(plan, out.block);
    }
    return out;
}

/* The header that came, with what this hop has to say. */
static struct header_out pass_on(const struct attempt *attempt, const struct edits *edits,
                                 const struct codec_ttheader_to *to)
{
    const struct call *call = attempt->call;
    struct codec_ttheader_plan plan;
    struct codec_ttheader_edits list;
    const struct disc_str method = call->plan.route->tuple.name[DISC_METHOD];
    begin(&list, edits);
    if (!disc_str_eq(header_int(call, CODEC_TTHEADER_INT_TO_METHOD), method)) {
        set_int(&list, CODEC_TTHEADER_KEY_TO_METHOD, method);
    }
    if (call->request.log_id_fresh) {
        set_int(&list, CODEC_TTHEADER_KEY_LOG_ID,
                disc_str_of(call->request.log_id, call->request.log_id_len));
    }
    const uint8_t *p = begin_of(call);
    const struct codec_ttheader *header = call->request.header;
    bool fits = codec_ttheader_plan(&plan, p, header, list.len, list.at, to);
    counter_add(&call->worker->counters, METRIC_EDITS_DROPPED, !fits);
    /* One that has no room for more goes as it came. */
    fits = fits || codec_ttheader_plan(&plan, p, header, 0, NULL, to);
    return fits ? write_out(call, &plan) : (struct header_out){0};
}

/* Of a caller without one: the names, and what is to reach all hops. */
static struct header_out make(const struct attempt *attempt, const struct edits *edits,
                              const struct codec_ttheader_to *to)
{
    const struct call *call = attempt->call;
    const struct codec_key persist = {PERSIST, sizeof PERSIST - 1};
    char unescaped[PERSIST_TEXT_BYTES];
    struct codec_ttheader_room room = {.p = unescaped, .cap = sizeof unescaped};
    struct codec_ttheader_plan plan;
    struct codec_ttheader_edits list;
    begin(&list, edits);
    set_names(&list, call);
    set_int(&list, CODEC_TTHEADER_KEY_TO_METHOD, call->plan.route->tuple.name[DISC_METHOD]);
    set_int(&list, CODEC_TTHEADER_KEY_MESSAGE_TYPE, message_type(call->request.message.type));
    size_t own = list.len;
    if (call->request.message.has_base && call->request.base.extra.present) {
        codec_ttheader_edits_add_extra(&list, call->request.wire.message.body,
                                       &call->request.base.extra, persist);
        user_extra_persist(call, persist, &list, &room);
    }
    bool fits = codec_ttheader_plan_fresh(&plan, list.len, list.at, to);
    counter_add(&call->worker->counters, METRIC_EDITS_DROPPED, list.left_out || !fits);
    fits = fits || codec_ttheader_plan_fresh(&plan, own, list.at, to);
    return fits ? write_out(call, &plan) : (struct header_out){0};
}

struct header_out header_for_callee(const struct attempt *attempt, const struct edits *edits,
                                    uint32_t message_len)
{
    const struct route_config *config = &attempt->call->plan.route->config;
    const struct codec_ttheader_to to = {
        .sequence = attempt->lease.seqid,
        .message_bytes = message_len,
        .is_inner_framed = config->pool.framing == DISC_POOL_FRAMING_TTHEADER_FRAMED,
    };
    return attempt->call->request.header ? pass_on(attempt, edits, &to) : make(attempt, edits, &to);
}

/* ---- towards the caller ---------------------------------------------------------------------- */

bool header_passes(const struct call *call, struct message *reply, bool draining)
{
    const struct codec_ttheader *asked = call->request.header;
    uint8_t *p = reply->body - reply->head_room;
    if (!call->outcome.has_header || call->outcome.says_end || draining ||
        asked->is_inner_framed != codec_ttheader_is_inner_framed(p, reply->head_room)) {
        return false;
    }
    codec_ttheader_set_sequence(p, asked->sequence);
    reply->body = p;
    reply->len += reply->head_room;
    reply->head_room = 0;
    return true;
}

/* The callee's header, without what is about its own connection. */
static bool plan_reply(struct codec_ttheader_plan *plan, struct codec_ttheader *header,
                       const struct message *reply, const struct codec_ttheader_to *to,
                       struct codec_ttheader_edit *edit)
{
    const uint8_t *p = reply->body - reply->head_room;
    codec_ttheader_begin(header, reply->len);
    return codec_ttheader_run(header, p, (size_t)reply->head_room + reply->len) ==
               CODEC_TTHEADER_DONE &&
           codec_ttheader_plan(plan, p, header, 1, edit, to);
}

struct header_out header_for_caller(const struct call *call, const struct message *reply,
                                    bool draining)
{
    const struct codec_ttheader *asked = call->request.header;
    const struct codec_ttheader_to to = {.sequence = asked->sequence,
                                         .message_bytes = reply->len,
                                         .is_inner_framed = asked->is_inner_framed};
    struct codec_ttheader_edit edits[2] = {
        {.key = CODEC_TTHEADER_TEXT_RESET,
         .key_len = sizeof CODEC_TTHEADER_TEXT_RESET - 1,
         .value = draining ? "1" : NULL,
         .value_len = draining},
    };
    struct codec_ttheader_plan plan;
    struct codec_ttheader header;
    if (call->outcome.has_header && plan_reply(&plan, &header, reply, &to, edits)) {
        return write_out(call, &plan);
    }
    struct disc_str type = message_type(reply->body[3]);
    edits[1] = (struct codec_ttheader_edit){
        .id = CODEC_TTHEADER_KEY_MESSAGE_TYPE, .value = type.p, .value_len = type.len};
    bool fits =
        codec_ttheader_plan_fresh(&plan, draining ? 2 : 1, draining ? edits : edits + 1, &to);
    return fits ? write_out(call, &plan) : (struct header_out){0};
}
