/*
 * sidecar/admin/api.c: what the api_*.c files share; see sidecar/admin/api.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/api.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static const char oom_text[] = "{\"error\":{\"code\":\"internal\",\"message\":\"out of memory\","
                               "\"hint\":\"\"}}\n";

void api_json(struct http_reply *reply, unsigned status, json_t *json)
{
    struct text text = {0};
    char *dump = json ? json_dumps(json, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
    json_decref(json);
    if (dump) {
        text_str(&text, dump);
        text_str(&text, "\n");
        free(dump);
    } else {
        status = 500;
        text_str(&text, oom_text);
    }
    reply->status = status;
    reply->content_type = "application/json";
    reply->body = text_take(&text, &reply->body_len);
}

void api_error(struct http_reply *reply, unsigned status, const char *code, const char *message,
               const char *hint)
{
    api_json(
        reply, status,
        json_pack("{s:{s:s,s:s,s:s}}", "error", "code", code, "message", message, "hint", hint));
}

void api_text(struct http_reply *reply, unsigned status, struct text *text)
{
    reply->body = text_take(text, &reply->body_len);
    reply->status = reply->body ? status : 500;
    reply->content_type = "text/plain; charset=utf-8";
}

void api_set(json_t *object, const char *key, json_t *value)
{
    /* Fails without memory only: a member less, never a broken document. */
    (void)json_object_set_new(object, key, value ? value : json_null());
}

json_t *api_name(struct disc_str name)
{
    char shown[4 * DISC_NAME_MAX_BYTES + 1];
    if (name.len == 0) {
        return json_string("-");
    }
    size_t len = disc_name_display(name, shown, sizeof shown);
    return json_stringn(shown, len);
}

void api_set_names(json_t *object, const struct disc_tuple *tuple)
{
    static const char *const keys[DISC_NAMES] = {"from", "from_cluster", "to", "to_cluster",
                                                 "method"};
    for (int i = 0; i < DISC_NAMES; i++) {
        api_set(object, keys[i], api_name(tuple->name[i]));
    }
}

json_t *api_bytes(const char *text, size_t len)
{
    size_t cap = 4 * len + 1;
    char *shown = malloc(cap);
    if (!shown) {
        return NULL;
    }
    len = disc_name_display(disc_str_of(text, len), shown, cap);
    json_t *json = json_stringn(shown, len);
    free(shown);
    return json;
}

json_t *api_value(const char *text, size_t len)
{
    json_t *value = json_loadb(text, len, JSON_DECODE_ANY | JSON_ALLOW_NUL, NULL);
    return value ? value : api_bytes(text, len);
}

json_t *api_number(uint64_t value)
{
    return json_integer((json_int_t)value);
}

static const char hex_digits[] = "0123456789abcdef";

/* NULL without memory. */
static char *cursor_of(const char *key)
{
    size_t len = strlen(key);
    char *cursor = malloc(2 * len + 1);
    if (cursor) {
        for (size_t i = 0; i < len; i++) {
            cursor[2 * i] = hex_digits[(unsigned char)key[i] >> 4];
            cursor[2 * i + 1] = hex_digits[key[i] & 15];
        }
        cursor[2 * len] = '\0';
    }
    return cursor;
}

/* NULL where it is no cursor, or without memory. */
static char *key_of_cursor(const char *cursor)
{
    size_t len = strlen(cursor) / 2;
    char *key = malloc(len + 1);
    for (size_t i = 0; key && i < len; i++) {
        const char *high = strchr(hex_digits, cursor[2 * i]);
        const char *low = strchr(hex_digits, cursor[2 * i + 1]);
        if (!high || !low || (high == low && high == hex_digits)) { /* keys have no NUL */
            free(key);
            return NULL;
        }
        key[i] = (char)((high - hex_digits) << 4 | (low - hex_digits));
    }
    if (key) {
        key[len] = '\0';
    }
    return key;
}

bool api_page(const struct http_request *request, struct http_reply *reply, struct api_page *ret)
{
    const char *limit = http_query(request, "limit", NULL);
    const char *cursor = http_query(request, "cursor", NULL);
    ret->limit = API_LIMIT_DEFAULT;
    ret->after = NULL;
    if (limit) {
        char *end = NULL;
        errno = 0;
        unsigned long n = strtoul(limit, &end, 10);
        if (errno || end == limit || *end || limit[0] == '-' || n < 1 || n > API_LIMIT_MAX) {
            api_error(reply, 400, "bad_request", "limit must be 1..1000", "");
            return false;
        }
        ret->limit = n;
    }
    if (cursor) {
        ret->after = strlen(cursor) % 2 == 0 ? key_of_cursor(cursor) : NULL;
        if (!ret->after) {
            api_error(reply, 400, "bad_request", "cursor must be the next of a page before", "");
            return false;
        }
    }
    return true;
}

void api_page_done(struct api_page *page)
{
    free(page->after);
    page->after = NULL;
}

void api_list(struct http_reply *reply, json_t *items, const char *next)
{
    char *cursor = next ? cursor_of(next) : NULL;
    json_t *list =
        next && !cursor ? NULL : json_object(); /* a list that only seems to end is worse */
    if (list) {
        api_set(list, "items", items);
        api_set(list, "next", cursor ? json_string(cursor) : json_null());
    } else {
        json_decref(items);
    }
    free(cursor);
    api_json(reply, 200, list);
}

uint64_t api_now_ms(const struct admin *admin)
{
    return uv_now(admin->context.loop);
}

const struct disc_snapshot *api_snapshot(const struct admin *admin)
{
    return admin->context.snapshot(admin->context.owner);
}

uint64_t api_metric(const struct admin *admin, enum metric metric)
{
    uint64_t sum = 0;
    for (uint32_t i = 0; i < admin->context.workers; i++) {
        sum += counter_get(admin->context.worker_counters[i], metric);
    }
    return sum;
}

#define KIND_COUNTER "counter"
#define KIND_GAUGE   "gauge"

const struct metric_row *api_metric_row(enum metric metric)
{
    static const struct metric_row rows[METRIC_MAX] = {
#define METRIC(id, kind, name, labels, help) {KIND_##kind, name, labels, help},
#include "sidecar/base/metric.def"
    };
    return &rows[metric];
}

const char *api_origin_str(enum disc_origin origin)
{
    switch (origin) {
    case DISC_ORIGIN_DISK:
        return "disk";
    case DISC_ORIGIN_ETCD:
        return "etcd";
    case DISC_ORIGIN_NONE:
        break;
    }
    return "file";
}

json_t *api_snapshot_json(const struct admin *admin)
{
    const struct disc_snapshot *snapshot = api_snapshot(admin);
    if (!snapshot) {
        return json_null();
    }
    uint64_t now_ms = api_now_ms(admin), built_ms = disc_snapshot_built_ms(snapshot);
    return json_pack("{s:I,s:I,s:s,s:f}", "generation",
                     (json_int_t)disc_snapshot_generation(snapshot), "revision",
                     (json_int_t)disc_snapshot_revision(snapshot), "source",
                     api_origin_str(disc_snapshot_origin(snapshot)), "age_s",
                     now_ms > built_ms ? (double)(now_ms - built_ms) / 1000 : 0.0);
}
