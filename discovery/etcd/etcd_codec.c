/*
 * discovery/etcd/etcd_codec.c: see discovery/etcd/etcd_codec.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_codec.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>

#include "discovery/base/base64.h"
#include "discovery/base/memory.h"

/* ---- requests ----------------------------------------------------------------------------- */

#define FIELDS_MAX_BYTES 256 /* everything in a body but the keys */

static char *put_text(char *out, const char *text)
{
    return stpcpy(out, text);
}

static char *put_base64(char *out, const char *name, struct etcd_bytes bytes)
{
    out = put_text(out, name);
    out += base64_encode(bytes.p, bytes.len, out);
    return put_text(out, "\"");
}

char *etcd_range_body(const struct etcd_range_query *query)
{
    size_t room = BASE64_ENCODED(query->key.len) + BASE64_ENCODED(query->end.len);
    char *body = memory_alloc(room + FIELDS_MAX_BYTES);
    char *p = put_base64(body, "{\"key\":\"", query->key);
    if (query->end.len > 0) {
        p = put_base64(p, ",\"range_end\":\"", query->end);
    }
    if (query->revision > 0) {
        p += sprintf(p, ",\"revision\":\"%" PRId64 "\"", query->revision);
    }
    if (query->limit > 0) {
        p += sprintf(p, ",\"limit\":\"%" PRIu32 "\"", query->limit);
    }
    if (query->keys_only) {
        p = put_text(p, ",\"keys_only\":true");
    }
    if (query->newest_first) {
        p = put_text(p, ",\"sort_order\":\"DESCEND\",\"sort_target\":\"MOD\"");
    }
    put_text(p, "}");
    return body;
}

char *etcd_watch_body(const struct etcd_range range[], const int64_t start_revision[], uint32_t n)
{
    size_t room = 1;
    for (uint32_t i = 0; i < n; i++) {
        room += BASE64_ENCODED(range[i].key_len) + BASE64_ENCODED(range[i].end_len);
        room += FIELDS_MAX_BYTES;
    }
    char *body = memory_alloc(room);
    char *p = body;
    for (uint32_t i = 0; i < n; i++) {
        struct etcd_bytes key = {range[i].key, range[i].key_len};
        struct etcd_bytes end = {range[i].end, range[i].end_len};
        p = put_base64(p, "{\"create_request\":{\"key\":\"", key);
        p = put_base64(p, ",\"range_end\":\"", end);
        p += sprintf(p,
                     ",\"start_revision\":\"%" PRId64 "\",\"fragment\":true,"
                     "\"progress_notify\":true,\"watch_id\":\"%" PRIu32 "\"}}",
                     start_revision[i], i + 1);
    }
    *p = '\0';
    return body;
}

/* ---- fields of replies -------------------------------------------------------------------- */

static void set_text(char *out, size_t cap, const char *text)
{
    snprintf(out, cap, "%s", text);
}

/* Absent is 0; false for what is no 64-bit integer. */
static bool get_u64(const json_t *object, const char *name, bool is_signed, uint64_t *ret)
{
    const json_t *field = json_object_get(object, name);
    if (field == NULL) {
        *ret = 0;
        return true;
    }
    if (json_is_integer(field)) {
        *ret = (uint64_t)json_integer_value(field);
        return true;
    }
    const char *text = json_string_value(field);
    if (text == NULL || (text[0] != '-' && (text[0] < '0' || text[0] > '9'))) {
        return false;
    }
    char *end = NULL;
    errno = 0;
    *ret = is_signed ? (uint64_t)strtoll(text, &end, 10) : strtoull(text, &end, 10);
    return errno == 0 && *end == '\0' && (is_signed || text[0] != '-');
}

static bool get_i64(const json_t *object, const char *name, int64_t *ret)
{
    uint64_t value = 0;
    if (!get_u64(object, name, true, &value)) {
        return false;
    }
    *ret = (int64_t)value;
    return true;
}

/* A watch starts at the next one: there must be one. */
static bool is_revision(int64_t revision)
{
    return revision >= 0 && revision < INT64_MAX;
}

static bool get_header(const json_t *reply, struct etcd_header *ret)
{
    const json_t *header = json_object_get(reply, "header");
    return json_is_object(header) && get_u64(header, "cluster_id", false, &ret->cluster_id) &&
           ret->cluster_id != 0 && get_i64(header, "revision", &ret->revision) &&
           is_revision(ret->revision);
}

/* The decoded field at *out, which moves on behind its NUL. A field of n characters needs at most
 * n bytes: two quotes fell away, too. */
static bool get_bytes(const json_t *object, const char *name, char **out, struct etcd_bytes *ret)
{
    const json_t *field = json_object_get(object, name);
    size_t len = 0;
    if (field != NULL && (!json_is_string(field) ||
                          !base64_decode(json_string_value(field), json_string_length(field),
                                         (uint8_t *)*out, &len))) {
        return false;
    }
    ret->p = *out;
    ret->len = len;
    (*out)[len] = '\0';
    *out += len + 1;
    return true;
}

static bool get_kv(const json_t *object, char **out, struct etcd_kv *ret)
{
    *ret = (struct etcd_kv){0};
    return json_is_object(object) && get_bytes(object, "key", out, &ret->key) && ret->key.len > 0 &&
           get_bytes(object, "value", out, &ret->value) &&
           get_i64(object, "create_revision", &ret->create_revision) &&
           get_i64(object, "mod_revision", &ret->mod_revision) && ret->mod_revision > 0 &&
           is_revision(ret->mod_revision) && get_i64(object, "lease", &ret->lease);
}

/* An event {"type", "kv"}: PUT is the type that is left out. */
static bool get_event(const json_t *object, char **out, struct etcd_kv *ret)
{
    if (!get_kv(json_object_get(object, "kv"), out, ret)) {
        return false;
    }
    const json_t *type = json_object_get(object, "type");
    const char *name = json_string_value(type);
    if (type == NULL || (name != NULL && strcmp(name, "PUT") == 0)) {
        return true;
    }
    ret->deleted = name != NULL && strcmp(name, "DELETE") == 0;
    return ret->deleted;
}

static bool get_kvs(const json_t *list, size_t text_len,
                    bool (*get)(const json_t *, char **, struct etcd_kv *), struct etcd_kvs *ret)
{
    size_t n = json_array_size(list);
    if (list != NULL && !json_is_array(list)) {
        return false;
    }
    if (n == 0) {
        return true;
    }
    /* One byte more a field that is absent altogether. */
    char *out = memory_alloc(text_len + 2 * n);
    struct etcd_kvs kvs = {n, memory_array(n, sizeof *kvs.kv), out};
    for (size_t i = 0; i < n; i++) {
        if (!get(json_array_get(list, i), &out, &kvs.kv[i])) {
            etcd_kvs_done(&kvs);
            return false;
        }
    }
    *ret = kvs;
    return true;
}

void etcd_kvs_done(struct etcd_kvs *kvs)
{
    free(kvs->kv);
    free(kvs->bytes);
    *kvs = (struct etcd_kvs){0};
}

/* ---- replies ------------------------------------------------------------------------------ */

/*
 * Four forms: {"error": TEXT, "message": TEXT, "code": N} and {"code": N, "message": TEXT} for one
 * reply; {"error": {"grpc_code": N, "message": TEXT, ...}} and {"error": {"code": N, "message":
 * TEXT}} within a stream.
 */
static bool get_error(const json_t *root, struct etcd_error *ret)
{
    const json_t *error = json_object_get(root, "error");
    const json_t *holder = json_is_object(error) ? error : root;
    if (error == NULL && json_object_get(root, "code") == NULL) {
        return false;
    }
    int64_t code = 0;
    if (!get_i64(holder, json_object_get(holder, "grpc_code") != NULL ? "grpc_code" : "code",
                 &code) ||
        code < 0 || code > 1000) {
        code = ETCD_CODE_UNKNOWN;
    }
    const char *text = json_string_value(json_object_get(holder, "message"));
    if (text == NULL) {
        text = json_string_value(error);
    }
    ret->code = (int)code;
    set_text(ret->text, sizeof ret->text, text != NULL ? text : "an error without a message");
    return true;
}

static enum etcd_parsed bad(struct etcd_error *ret_error, const char *text)
{
    ret_error->code = ETCD_CODE_NONE;
    set_text(ret_error->text, sizeof ret_error->text, text);
    return ETCD_PARSED_BAD;
}

/* NULL where *ret_parsed says it all; otherwise the caller's reference. */
static json_t *load(const char *text, size_t len, enum etcd_parsed *ret_parsed,
                    struct etcd_error *ret_error)
{
    json_error_t why;
    json_t *root = json_loadb(text, len, JSON_ALLOW_NUL, &why);
    if (json_is_object(root) && !get_error(root, ret_error)) {
        return root;
    }
    *ret_parsed = json_is_object(root) ? ETCD_PARSED_ERROR
                                       : bad(ret_error, root != NULL ? "no JSON object" : why.text);
    json_decref(root);
    return NULL;
}

static bool get_range_reply(const json_t *root, size_t len, struct etcd_range_reply *ret)
{
    const json_t *more = json_object_get(root, "more");
    ret->more = json_is_true(more);
    return get_header(root, &ret->header) && ret->header.revision > 0 &&
           (more == NULL || json_is_boolean(more)) && get_i64(root, "count", &ret->count) &&
           get_kvs(json_object_get(root, "kvs"), len, get_kv, &ret->kvs);
}

enum etcd_parsed etcd_range_parse(const char *text, size_t len, struct etcd_range_reply *ret,
                                  struct etcd_error *ret_error)
{
    enum etcd_parsed parsed = ETCD_PARSED_OK;
    json_t *root = load(text, len, &parsed, ret_error);
    if (root == NULL) {
        return parsed;
    }
    struct etcd_range_reply reply = {0};
    if (get_range_reply(root, len, &reply)) {
        *ret = reply;
    } else {
        parsed = bad(ret_error, "no reply to a range request");
    }
    json_decref(root);
    return parsed;
}

static bool get_watch_message(const json_t *result, size_t len, struct etcd_watch_message *ret)
{
    const char *reason = json_string_value(json_object_get(result, "cancel_reason"));
    ret->created = json_is_true(json_object_get(result, "created"));
    ret->canceled = json_is_true(json_object_get(result, "canceled"));
    ret->fragment = json_is_true(json_object_get(result, "fragment"));
    set_text(ret->cancel_reason, sizeof ret->cancel_reason, reason != NULL ? reason : "");
    return json_is_object(result) && get_header(result, &ret->header) &&
           get_i64(result, "watch_id", &ret->watch_id) &&
           get_i64(result, "compact_revision", &ret->compact_revision) &&
           get_kvs(json_object_get(result, "events"), len, get_event, &ret->events);
}

enum etcd_parsed etcd_watch_parse(const char *text, size_t len, struct etcd_watch_message *ret,
                                  struct etcd_error *ret_error)
{
    enum etcd_parsed parsed = ETCD_PARSED_OK;
    json_t *root = load(text, len, &parsed, ret_error);
    if (root == NULL) {
        return parsed;
    }
    struct etcd_watch_message message = {0};
    if (get_watch_message(json_object_get(root, "result"), len, &message)) {
        *ret = message;
    } else {
        parsed = bad(ret_error, "no message of a watch");
    }
    json_decref(root);
    return parsed;
}
