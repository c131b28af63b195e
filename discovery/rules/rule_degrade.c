/*
 * discovery/rules/rule_degrade.c: the value of a `degrade` key: a percentage and the reply.
 *
 * The reply's body is encoded here, once: degrading must not cost more than forwarding.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/rules/rule_draft.h"

#include "codec/reply_build.h"
#include "codec/scan.h"
#include "discovery/base/base64.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define DEGRADE_PREFIX     "[tside degraded] "
#define EXCEPTION_INTERNAL 6 /* TApplicationException's INTERNAL_ERROR */

static bool parse_percent(struct rule_draft *draft, const json_t *value, struct disc_error *error)
{
    double percent = json_number_value(value);
    if (!json_is_number(value) || !(percent >= 0 && percent <= 100)) {
        json_value_wrong(error, "percent", "a number 0..100", value);
        return false;
    }
    /* Exact: both sides are the double next to the same decimal fraction, or the value has more
     * than two decimals. */
    double rounded = round(percent * 100);
    if (rounded / 100 != percent) {
        json_value_wrong(error, "percent", "a number 0..100 in steps of 0.01", value);
        return false;
    }
    draft->percent_e2 = (uint32_t)rounded;
    return true;
}

typedef size_t (*body_fn)(const struct codec_templates *templates, int32_t code, const char *text,
                          size_t text_len, uint8_t *out, size_t cap);

static bool no_memory(struct disc_error *error)
{
    json_value_refuse(error, "reply", "out of memory");
    return false;
}

/* Asks for the size, then for the bytes. */
static bool build_body(struct rule_draft *draft, body_fn build,
                       const struct codec_templates *templates, int32_t code, const char *text,
                       size_t text_len, struct disc_error *error)
{
    size_t len = build(templates, code, text, text_len, NULL, 0);
    draft->body = malloc(len > 0 ? len : 1);
    if (draft->body == NULL) {
        return no_memory(error);
    }
    draft->body_len = build(templates, code, text, text_len, draft->body, len);
    return true;
}

static size_t body_void(const struct codec_templates *templates, int32_t code, const char *text,
                        size_t text_len, uint8_t *out, size_t cap)
{
    (void)code;
    (void)text;
    (void)text_len;
    return codec_body_void(templates, out, cap);
}

static bool reply_exception(struct rule_draft *draft, const json_t *value,
                            const struct codec_templates *templates, struct disc_error *error)
{
    const size_t prefix_len = sizeof DEGRADE_PREFIX - 1;
    const char *text = json_string_value(value);
    if (text == NULL) {
        json_value_wrong(error, "reply.exception", "a string", value);
        return false;
    }
    size_t len = prefix_len + json_string_length(value);
    char *message = malloc(len + 1);
    if (message == NULL) {
        return no_memory(error);
    }
    memcpy(message, DEGRADE_PREFIX, prefix_len);
    memcpy(message + prefix_len, text, len - prefix_len + 1);
    draft->reply = DISC_REPLY_EXCEPTION;
    bool ok =
        build_body(draft, codec_body_exception, templates, EXCEPTION_INTERNAL, message, len, error);
    free(message);
    return ok;
}

static bool reply_base_resp(struct rule_draft *draft, const json_t *value,
                            const struct codec_templates *templates, struct disc_error *error)
{
    static const char *const known[] = {"code", "message"};
    const char *name;
    json_t *member;
    json_t *object = (json_t *)(uintptr_t)value; /* jansson's iterators know no const */
    int64_t code = 0;
    const char *message = "";
    size_t message_len = 0;
    bool has_code = false;
    if (!json_is_object(value)) {
        json_value_wrong(error, "reply.base_resp", "an object", value);
        return false;
    }
    json_object_foreach(object, name, member)
    {
        if (strcmp(name, "code") == 0) {
            has_code = true;
            if (!json_value_int(member, "reply.base_resp.code", INT32_MIN, INT32_MAX, &code,
                                error)) {
                return false;
            }
        } else if (strcmp(name, "message") != 0) {
            json_value_unknown(error, "reply.base_resp", name, known, 2);
            return false;
        } else if (!json_is_string(member)) {
            json_value_wrong(error, "reply.base_resp.message", "a string", member);
            return false;
        } else {
            message = json_string_value(member);
            message_len = json_string_length(member);
        }
    }
    if (!has_code) {
        json_value_refuse(error, "reply.base_resp.code", "is missing");
        return false;
    }
    draft->reply = DISC_REPLY_BASE_RESP;
    return build_body(draft, codec_body_base_resp, templates, (int32_t)code, message, message_len,
                      error);
}

static bool reply_void(struct rule_draft *draft, const json_t *value,
                       const struct codec_templates *templates, struct disc_error *error)
{
    if (!json_is_true(value)) {
        json_value_wrong(error, "reply.void", "true", value);
        return false;
    }
    draft->reply = DISC_REPLY_VOID;
    return build_body(draft, body_void, templates, 0, "", 0, error);
}

static bool reply_result(struct rule_draft *draft, const json_t *value,
                         const struct codec_templates *templates, struct disc_error *error)
{
    struct codec_scan scan;
    const char *text = json_string_value(value);
    size_t text_len = json_string_length(value);
    (void)templates;
    draft->body = text != NULL ? malloc(BASE64_DECODED_MAX(text_len) + 1) : NULL;
    if (text != NULL && draft->body == NULL) {
        return no_memory(error);
    }
    if (text == NULL || !base64_decode(text, text_len, draft->body, &draft->body_len)) {
        json_value_wrong(error, "reply.result", "the base64 text of a result struct", value);
        return false;
    }
    codec_scan_begin(&scan, CODEC_SCAN_STRUCT, (uint32_t)draft->body_len);
    enum codec_scan_status status;
    do {
        status = codec_scan_run(&scan, draft->body, draft->body_len, DISC_VALUE_MAX_BYTES);
    } while (status == CODEC_SCAN_YIELD);
    if (status != CODEC_SCAN_DONE) {
        json_value_refuse(error, "reply.result", "is not one well-formed struct: %s at byte %u",
                          status == CODEC_SCAN_BAD ? codec_error_str(scan.error)
                                                   : codec_error_str(CODEC_ERROR_CUT),
                          scan.error_off);
        return false;
    }
    draft->reply = DISC_REPLY_RESULT;
    return true;
}

static bool parse_reply(struct rule_draft *draft, const json_t *reply,
                        const struct codec_templates *templates, struct disc_error *error)
{
    static const char *const known[] = {"exception", "base_resp", "void", "result"};
    static bool (*const parse[])(struct rule_draft *, const json_t *,
                                 const struct codec_templates *, struct disc_error *) = {
        reply_exception, reply_base_resp, reply_void, reply_result};
    json_t *object = (json_t *)(uintptr_t)reply;
    if (!json_is_object(reply)) {
        json_value_wrong(error, "reply", "an object", reply);
        return false;
    }
    void *only = json_object_iter(object);
    for (size_t i = 0; only != NULL && i < sizeof known / sizeof known[0]; i++) {
        if (strcmp(json_object_iter_key(only), known[i]) != 0) {
            continue;
        }
        if (json_object_size(reply) != 1) {
            break;
        }
        return parse[i](draft, json_object_iter_value(only), templates, error);
    }
    if (only != NULL && json_object_size(reply) == 1) {
        json_value_unknown(error, "reply", json_object_iter_key(only), known, 4);
    } else {
        json_value_wrong(error, "reply", "one of exception, base_resp, void and result", reply);
    }
    return false;
}

bool rule_draft_degrade(struct rule_draft *draft, const json_t *root,
                        const struct codec_templates *templates, struct disc_error *error)
{
    static const char *const known[] = {"percent", "by", "reply"};
    const char *name;
    json_t *value;
    json_t *object = (json_t *)(uintptr_t)root;
    if (!json_is_object(root)) {
        if (!json_is_number(root)) {
            json_value_wrong(error, "", "a number 0..100 or an object", root);
            return false;
        }
        return rule_draft_by(&draft->by, NULL, error) && parse_percent(draft, root, error);
    }
    json_object_foreach(object, name, value)
    {
        if (json_value_index(name, known, 3) < 0) {
            json_value_unknown(error, name, name, known, 3);
            return false;
        }
    }
    const json_t *percent = json_object_get(root, "percent");
    const json_t *reply = json_object_get(root, "reply");
    if (percent == NULL) {
        json_value_refuse(error, "percent", "is missing");
        return false;
    }
    return parse_percent(draft, percent, error) &&
           rule_draft_by(&draft->by, json_object_get(root, "by"), error) &&
           (reply == NULL || parse_reply(draft, reply, templates, error));
}
