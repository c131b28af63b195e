/*
 * sidecar/data/call/identify.c: who calls whom: the five names (docs/specification.md, section 1).
 *
 * Each name comes from the first place that has it; "" and "-" count as absent. The names are borrowed
 * from the frame, the listener's configuration, or the unescaped JSON in struct identity.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/extra_key.h"
#include "sidecar/data/call/header.h"

#include <string.h>

/* Some 30,000 years: more than any timeout, and no sum with a clock overflows. */
#define MS_MAX INT64_C(999999999999999)

enum extra_key {
    EXTRA_CLUSTER = 0,
    EXTRA_DEST_SERVICE,
    EXTRA_DEST_CLUSTER,
    EXTRA_USER_EXTRA,
    EXTRA_DEADLINE,
    EXTRA_STAMP,
    EXTRA_KEYS
};

/* What one pass over Extra found. */
struct extras {
    struct disc_str value[EXTRA_KEYS];
    struct wire_span user_extra;
    struct disc_str user_service; /* in it; likewise cluster */
    struct disc_str user_cluster;
};

static bool is_absent(struct disc_str s)
{
    return s.len == 0 || (s.len == 1 && s.p[0] == '-');
}

static struct disc_str first_of(struct disc_str a, struct disc_str b)
{
    return is_absent(a) ? (is_absent(b) ? (struct disc_str){0} : b) : a;
}

/* What the message says, else what the listener's configuration says, else the default. */
static struct disc_str name_or(struct disc_str a, const char *configured, struct disc_str otherwise)
{
    if (!is_absent(a)) {
        return a; /* the usual case */
    }
    if (configured[0] == '\0') {
        return otherwise;
    }
    return first_of(disc_str_of_z(configured), otherwise);
}

static struct disc_str str_of_span(const uint8_t *body, struct wire_span span)
{
    return disc_str_of((const char *)body + span.off, span.len);
}

static void find_extras(struct call *call, const uint8_t *body, struct extras *ret)
{
    const struct bootstrap_listener *listener = call->request.listener;
    const struct codec_key keys[EXTRA_KEYS] = {
        [EXTRA_CLUSTER] = {EXTRA_KEY_AND_LEN(EXTRA_KEY_CLUSTER)},
        [EXTRA_DEST_SERVICE] = {EXTRA_KEY_AND_LEN(EXTRA_KEY_DEST_SERVICE)},
        [EXTRA_DEST_CLUSTER] = {EXTRA_KEY_AND_LEN(EXTRA_KEY_DEST_CLUSTER)},
        [EXTRA_USER_EXTRA] = {EXTRA_KEY_AND_LEN(EXTRA_KEY_USER_EXTRA)},
        [EXTRA_DEADLINE] = {listener->deadline_entry, listener->deadline_entry_len},
        [EXTRA_STAMP] = {EXTRA_KEY_AND_LEN(EXTRA_KEY_STAMP)},
    };
    struct wire_span spans[EXTRA_KEYS];
    memset(ret, 0, sizeof *ret);
    if (!call->request.message.has_base || !call->request.base.extra.present) {
        return;
    }
    codec_extra_find_many(body, &call->request.base.extra, EXTRA_KEYS, keys, spans);
    call->request.budget_value = spans[EXTRA_DEADLINE];
    call->request.stamp_value = spans[EXTRA_STAMP];
    ret->user_extra = spans[EXTRA_USER_EXTRA];
    for (int i = 0; i < EXTRA_KEYS; i++) {
        if (spans[i].off) {
            ret->value[i] = str_of_span(body, spans[i]);
        }
    }
}

/* A decimal number, with whatever zeros in front, at most MS_MAX; -1 where it is none (then it counts
 * as absent). */
static int64_t parse_ms(struct disc_str s)
{
    int64_t n = 0;
    if (s.len == 0) {
        return -1;
    }
    for (uint32_t i = 0; i < s.len; i++) {
        if (s.p[i] < '0' || s.p[i] > '9') {
            return -1;
        }
        n = n * 10 + (s.p[i] - '0');
        n = n < MS_MAX ? n : MS_MAX;
    }
    return n;
}

static int64_t unix_ms(const struct call *call)
{
    return (int64_t)(worker_unix_us(call->worker) / 1000);
}

/* The one that is there, the smaller of two. */
static int64_t tighter(int64_t a, int64_t b)
{
    return a < 0 || (b >= 0 && b < a) ? b : a;
}

/* The names and metainfo in the JSON text of user_extra; what Extra itself says of the budget comes before that. */
static HEADER_APART void find_user_extra(struct call *call, struct user_extra *text,
                                         struct extras *extras)
{
    if (!user_extra_read(call, extras->user_extra, text)) {
        return;
    }
    for (int i = 0; i < 2; i++) {
        enum user_extra_member which = i == 0 ? USER_EXTRA_DEADLINE : USER_EXTRA_STAMP;
        call->request.in_user_extra |= (uint8_t)(user_extra_has(text, which) << which);
        if (parse_ms(extras->value[EXTRA_DEADLINE + i]) < 0) {
            extras->value[EXTRA_DEADLINE + i] = user_extra_value(text, which);
        }
    }
    call->request.is_repeated |= user_extra_has(text, USER_EXTRA_RETRY);
    extras->user_service = user_extra_value(text, USER_EXTRA_DEST_SERVICE);
    extras->user_cluster = user_extra_value(text, USER_EXTRA_DEST_CLUSTER);
}

/* What a TTHeader says of the budget comes before what Extra says; the next two are for both. */
static HEADER_APART void find_in_header(struct call *call, struct extras *extras)
{
    struct disc_str texts[HEADER_TEXTS];
    header_texts(call, texts);
    for (int i = 0; i < 2; i++) {
        if (texts[i].p) {
            extras->value[EXTRA_DEADLINE + i] = texts[i];
        }
    }
    call->request.is_repeated |= texts[HEADER_TEXT_RETRY].p != NULL;
}

/* The budget that arrived; where clocks are shared, less what passed since the stamp. */
static void read_budget(struct call *call, const struct extras *extras)
{
    if (call->budget.is_read) {
        return; /* it waited for rules; what passed meanwhile is counted from arrived_ms */
    }
    call->budget.is_read = true;
    call->budget.came_ms = parse_ms(extras->value[EXTRA_DEADLINE]);
    if (call->request.header) {
        int64_t timeout_ms = parse_ms(header_int(call, CODEC_TTHEADER_INT_RPC_TIMEOUT));
        call->budget.came_ms = tighter(call->budget.came_ms, timeout_ms);
    }
    call->budget.stamp_age_ms = 0;
    if (call->budget.came_ms > 0 && call->request.listener->deadline_shared_clock) {
        int64_t stamp = parse_ms(extras->value[EXTRA_STAMP]);
        int64_t age = stamp > 0 ? unix_ms(call) - stamp : 0;
        call->budget.stamp_age_ms = age > 0 ? age : 0;
    }
}

/* 32 hexadecimal digits: 48 bits of time, then chance; fit for a trace id, too. */
static void fresh_log_id(struct call *call)
{
    static const char digits[] = "0123456789abcdef";
    uint64_t word[2] = {(uint64_t)unix_ms(call) << 16 |
                            (lb_random_next(&call->worker->random) & 0xffff),
                        lb_random_next(&call->worker->random)};
    for (int i = 0; i < CALL_FRESH_LOG_ID_LEN; i++) {
        call->request.log_id[i] = digits[word[i / 16] >> (60 - 4 * (i % 16)) & 15];
    }
    call->request.log_id_len = CALL_FRESH_LOG_ID_LEN;
    call->request.log_id_fresh = true;
}

static void keep_log_id(struct call *call, struct disc_str log_id)
{
    uint32_t len = log_id.len < CALL_LOG_ID_MAX_BYTES ? log_id.len : CALL_LOG_ID_MAX_BYTES;
    call->request.log_id_len = (uint8_t)len;
    memcpy(call->request.log_id, log_id.p, len);
}

static void read_log_id(struct call *call, const uint8_t *body)
{
    const struct codec_base *base = &call->request.base;
    bool has_base = call->request.message.has_base;
    struct disc_str log_id = {0};
    if (call->request.log_id_len > 0 || (!has_base && !call->request.header)) {
        return; /* found before, or nowhere to look */
    }
    if (call->request.header) {
        log_id = header_int(call, CODEC_TTHEADER_INT_LOG_ID);
    }
    if (log_id.len == 0 && has_base && base->has_log_id) {
        log_id = str_of_span(body, base->log_id);
    }
    if (log_id.len > 0) {
        keep_log_id(call, log_id);
    } else if (call->request.listener->fill_log_id &&
               (call->request.header || base->types[1] != WIRE_MAP)) {
        fresh_log_id(call);
    }
}

/* Splits "Service:method" at the first colon. */
static void split_name(const struct call *call, struct disc_str *ret_service,
                       struct disc_str *ret_method)
{
    struct disc_str name = str_of_span(call->request.wire.message.body, call->request.message.name);
    const char *colon = memchr(name.p, ':', name.len);
    *ret_service = (struct disc_str){0};
    *ret_method = name;
    if (colon) {
        *ret_service = disc_str_of(name.p, (size_t)(colon - name.p));
        *ret_method = disc_str_of(colon + 1, name.len - ret_service->len - 1);
    }
}

struct disc_str call_bare_name(const struct call *call)
{
    struct disc_str service, method;
    split_name(call, &service, &method);
    method.len = method.len < DISC_NAME_MAX_BYTES ? method.len : DISC_NAME_MAX_BYTES;
    return method;
}

struct disc_str call_method(const struct call *call)
{
    return first_of(call_bare_name(call), (struct disc_str){0});
}

static bool check_lengths(const struct disc_tuple *tuple, const char **ret_error)
{
    static const char *const errors[DISC_NAMES] = {
        "From is longer than 256 bytes", "FromCluster is longer than 256 bytes",
        "To is longer than 256 bytes", "ToCluster is longer than 256 bytes",
        "the method's name is longer than 256 bytes"};
    for (int i = 0; i < DISC_NAMES; i++) {
        if (tuple->name[i].len > DISC_NAME_MAX_BYTES) {
            *ret_error = errors[i];
            return false;
        }
    }
    return true;
}

/* For the reply, which may come under the name as sent, when the request's bytes have gone. Without memory,
 * and of a prefix that is too long to be a name, only the bare name is recognised. */
static void keep_prefix(struct call *call, struct disc_str prefix)
{
    char *room = call->request.prefix;
    if (!prefix.p || prefix.len > WIRE_NAME_MAX_BYTES || call->request.wire.prefix.p) {
        return;
    }
    if (prefix.len > CALL_PREFIX_INLINE_LEN) {
        room = call->request.prefix_block = buffers_alloc(&call->worker->buffers, prefix.len);
    }
    if (room) {
        memcpy(room, prefix.p, prefix.len);
        call->request.wire.prefix = disc_str_of(room, prefix.len);
    }
}

bool identify(struct call *call, struct identity *ret, const char **ret_error)
{
    const struct bootstrap_listener *listener = call->request.listener;
    const uint8_t *body = call->request.wire.message.body;
    const struct disc_str default_cluster = disc_str_of("default", 7);
    struct disc_str *name = ret->tuple.name;
    struct disc_str prefix, method;
    struct extras extras;

    find_extras(call, body, &extras);
    if (extras.user_extra.len > 0) {
        find_user_extra(call, &ret->user_extra, &extras);
    }
    if (call->request.header) {
        find_in_header(call, &extras);
    }
    split_name(call, &prefix, &method);
    read_budget(call, &extras);
    read_log_id(call, body);

    struct disc_str caller = {0};
    if (call->request.message.has_base && call->request.base.has_caller) {
        caller = str_of_span(body, call->request.base.caller);
    }
    struct disc_str cluster = extras.value[EXTRA_CLUSTER];
    struct disc_str service = extras.value[EXTRA_DEST_SERVICE];
    struct disc_str dest_cluster = extras.value[EXTRA_DEST_CLUSTER];
    if (call->request.header) {
        caller = first_of(header_int(call, CODEC_TTHEADER_INT_FROM_SERVICE), caller);
        cluster = first_of(header_int(call, CODEC_TTHEADER_INT_FROM_CLUSTER), cluster);
        service = first_of(header_int(call, CODEC_TTHEADER_INT_TO_SERVICE), service);
        dest_cluster = first_of(header_int(call, CODEC_TTHEADER_INT_TO_CLUSTER), dest_cluster);
    }
    name[DISC_FROM] = name_or(caller, listener->caller_service, disc_str_of("none", 4));
    name[DISC_FROM_CLUSTER] = name_or(cluster, listener->caller_cluster, default_cluster);
    name[DISC_TO] = name_or(first_of(first_of(service, extras.user_service), prefix),
                            listener->callee_service, (struct disc_str){0});
    name[DISC_TO_CLUSTER] = name_or(first_of(dest_cluster, extras.user_cluster),
                                    listener->callee_cluster, default_cluster);
    name[DISC_METHOD] = first_of(method, (struct disc_str){0});

    if (!check_lengths(&ret->tuple, ret_error)) {
        return false;
    }
    if (name[DISC_METHOD].len == 0) {
        *ret_error = "the message has no method name";
        return false;
    }
    keep_prefix(call, prefix);
    return true;
}
