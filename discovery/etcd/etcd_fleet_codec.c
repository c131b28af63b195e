/*
 * discovery/etcd/etcd_fleet_codec.c: see discovery/etcd/etcd_fleet_codec.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_fleet_codec.h"

#include "discovery/base/base64.h"
#include "discovery/base/memory.h"

#include <inttypes.h>
#include <jansson.h>
#include <math.h>

#define KEY_MAX_BYTES  8192
#define CODE_NOT_FOUND 5 /* gRPC's: "requested lease not found" */
#define DEMAND_MAX     1e9

/* ---- bodies ---------------------------------------------------------------------------------- */

static json_t *base64(const char *text)
{
    size_t len = strlen(text);
    char *encoded = memory_alloc(BASE64_ENCODED(len) + 1);
    encoded[base64_encode(text, len, encoded)] = '\0';
    json_t *json = memory_check(json_string(encoded));
    free(encoded);
    return json;
}

static json_t *int64_text(int64_t n)
{
    char text[24];
    snprintf(text, sizeof text, "%" PRId64, n);
    return memory_check(json_string(text));
}

static char *dump(json_t *json)
{
    char *text = memory_check(json_dumps(json, JSON_COMPACT));
    json_decref(json);
    return text;
}

char *etcd_fleet_grant_body(int64_t ttl_s)
{
    return dump(memory_check(json_pack("{s:o}", "TTL", int64_text(ttl_s))));
}

char *etcd_fleet_keepalive_body(int64_t lease)
{
    return dump(memory_check(json_pack("{s:o}", "ID", int64_text(lease))));
}

static json_t *tell(const char *key, int64_t lease, double demand)
{
    char value[32];
    snprintf(value, sizeof value, "%.2f", demand);
    if (demand == 0) {
        return json_pack("{s:{s:o}}", "request_delete_range", "key", base64(key));
    }
    return json_pack("{s:{s:o,s:o,s:o}}", "request_put", "key", base64(key), "value", base64(value),
                     "lease", int64_text(lease));
}

/* All keys of a name: what follows "<prefix>/<name>/", whose last byte plus one ends the range. Any member's answer
 * will do. */
static json_t *ask(char *key, size_t len)
{
    json_t *from = base64(key);
    key[len - 1]++;
    return json_pack("{s:{s:o,s:o,s:i,s:b}}", "request_range", "key", from, "range_end",
                     base64(key), "limit", ETCD_FLEET_HOSTS_MAX + 1, "serializable", 1);
}

static void append(json_t *list, json_t *item)
{
    memory_check(item);
    if (json_array_append_new(list, item)) {
        memory_check(NULL);
    }
}

char *etcd_fleet_txn_body(const char *prefix, const char *host, int64_t lease,
                          const struct etcd_fleet_item items[], uint32_t n)
{
    json_t *list = memory_check(json_array());
    for (uint32_t i = 0; i < n; i++) {
        char key[KEY_MAX_BYTES];
        snprintf(key, sizeof key, "%s/%s/%s", prefix, items[i].name, host);
        if (items[i].tells) {
            append(list, tell(key, lease, items[i].demand));
        }
        int len = snprintf(key, sizeof key, "%s/%s/", prefix, items[i].name);
        append(list, ask(key, (size_t)len < sizeof key ? (size_t)len : sizeof key - 1));
    }
    return dump(memory_check(json_pack("{s:o}", "success", list)));
}

/* ---- replies --------------------------------------------------------------------------------- */

static int64_t int64_of(const json_t *value)
{
    return json_is_integer(value)  ? json_integer_value(value)
           : json_is_string(value) ? strtoll(json_string_value(value), NULL, 10)
                                   : 0;
}

static json_t *load(const char *text, size_t len)
{
    return json_loadb(text, len, JSON_DISABLE_EOF_CHECK, NULL);
}

int64_t etcd_fleet_grant_parse(const char *text, size_t len)
{
    json_t *json = load(text, len);
    int64_t lease = int64_of(json_object_get(json, "ID"));
    json_decref(json);
    return lease > 0 ? lease : -1;
}

int64_t etcd_fleet_keepalive_parse(const char *text, size_t len)
{
    json_t *json = load(text, len);
    const json_t *result = json_object_get(json, "result");
    int64_t lease = json_is_object(result) ? int64_of(json_object_get(result, "ID")) : -1;
    bool lives = int64_of(json_object_get(result, "TTL")) > 0; /* absent: etcd does not know it */
    json_decref(json);
    return lives || lease < 0 ? lease : 0;
}

/* Text that was base64; false where it was none, or is too long. */
static bool decode(const json_t *value, char *out, size_t cap)
{
    size_t len = json_string_length(value);
    size_t n = 0;
    if (!json_is_string(value) || BASE64_DECODED_MAX(len) >= cap ||
        !base64_decode(json_string_value(value), len, (uint8_t *)out, &n)) {
        return false;
    }
    out[n] = '\0';
    return strlen(out) == n;
}

static bool is_own(const char *key, const char *host)
{
    const char *slash = strrchr(key, '/');
    return slash && strcmp(slash + 1, host) == 0;
}

/* What one host has told. What is no number is a host all the same. */
static void take_kv(const json_t *kv, const char *host, struct etcd_fleet_others *ret)
{
    char key[KEY_MAX_BYTES], value[64], *end;
    if (!decode(json_object_get(kv, "key"), key, sizeof key)) {
        return;
    }
    if (is_own(key, host)) {
        ret->total--;
        return;
    }
    if (!decode(json_object_get(kv, "value"), value, sizeof value)) {
        return;
    }
    double demand = strtod(value, &end);
    bool good =
        end != value && *end == '\0' && isfinite(demand) && demand > 0 && demand <= DEMAND_MAX;
    if (good && ret->n < ETCD_FLEET_HOSTS_MAX) {
        ret->demand[ret->n++] = demand;
    }
}

static void take_range(const json_t *range, const char *host, struct etcd_fleet_others *ret)
{
    const json_t *kvs = json_object_get(range, "kvs");
    int64_t count = int64_of(json_object_get(range, "count"));
    size_t i;
    json_t *kv;
    ret->n = 0;
    ret->total = count > 0 && count < UINT32_MAX ? (uint32_t)count : 0;
    if (ret->total < json_array_size(kvs)) {
        ret->total = (uint32_t)json_array_size(kvs);
    }
    json_array_foreach((json_t *)(uintptr_t)kvs, i, kv)
    {
        take_kv(kv, host, ret);
    }
}

static enum etcd_fleet_result failure_of(const json_t *json)
{
    bool lost = int64_of(json_object_get(json, "code")) == CODE_NOT_FOUND;
    return lost ? ETCD_FLEET_LOST : ETCD_FLEET_FAILED;
}

static enum etcd_fleet_result read_txn(const json_t *json, const char *host, const bool tells[],
                                       uint32_t n, struct etcd_fleet_others ret[])
{
    const json_t *responses = json_object_get(json, "responses");
    size_t at = 0;
    if (!json_is_true(json_object_get(json, "succeeded")) || !json_is_array(responses)) {
        return failure_of(json);
    }
    for (uint32_t i = 0; i < n; i++) {
        at += tells[i];
        const json_t *response = json_array_get(responses, at++);
        const json_t *range = json_object_get(response, "response_range");
        if (!json_is_object(range)) {
            return ETCD_FLEET_FAILED;
        }
        take_range(range, host, &ret[i]);
    }
    return ETCD_FLEET_OK;
}

enum etcd_fleet_result etcd_fleet_txn_parse(const char *text, size_t len, const char *host,
                                            const bool tells[], uint32_t n,
                                            struct etcd_fleet_others ret[])
{
    json_t *json = load(text, len);
    enum etcd_fleet_result result = json ? read_txn(json, host, tells, n, ret) : ETCD_FLEET_FAILED;
    json_decref(json);
    return result;
}
