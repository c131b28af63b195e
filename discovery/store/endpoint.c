/*
 * discovery/store/endpoint.c: see discovery/store/endpoint.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/store/endpoint.h"

#include "discovery/base/json_value.h"
#include "discovery/base/memory.h"

#include <assert.h>

#define WEIGHT_DEFAULT 10

struct endpoint_shared {
    struct endpoint_table *table;
    uint32_t versions;
    void *state;
    char key[];
};

struct endpoint_version {
    struct disc_endpoint public; /* first: a disc_endpoint is one of these */
    struct endpoint_shared *shared;
    size_t text_len;
    char *text;
};

static bool parse_zone(const json_t *value, struct service_value *ret, struct disc_error *error)
{
    size_t len = json_string_length(value);
    if (!json_is_string(value) || len > DISC_NAME_MAX_BYTES) {
        json_value_wrong(error, "zone", "a string of at most 256 bytes", value);
        return false;
    }
    memcpy(ret->zone, json_string_value(value), len + 1);
    return true;
}

static bool parse_tags(json_t *tags, struct disc_error *error)
{
    const char *name;
    json_t *value;
    if (!json_is_object(tags)) {
        json_value_wrong(error, "tags", "an object of strings", tags);
        return false;
    }
    json_object_foreach(tags, name, value)
    {
        if (!json_is_string(value)) {
            json_value_wrong(error, "tags", "an object of strings", tags);
            return false;
        }
    }
    return true;
}

static bool parse_member(const char *name, json_t *value, struct service_value *ret,
                         struct disc_error *error)
{
    static const char *const known[] = {"weight", "zone", "tags"};
    int64_t weight = 0;
    switch (json_value_index(name, known, 3)) {
    case 0:
        if (!json_value_int(value, "weight", 0, LB_WEIGHT_MAX, &weight, error)) {
            return false;
        }
        ret->weight = (uint32_t)weight;
        return true;
    case 1:
        return parse_zone(value, ret, error);
    case 2:
        return parse_tags(value, error);
    default:
        json_value_unknown(error, name, name, known, 3);
        return false;
    }
}

bool service_value_parse(const char *text, size_t len, struct service_value *ret,
                         struct disc_error *error)
{
    bool ok = true;
    const char *name;
    json_t *value;
    ret->weight = WEIGHT_DEFAULT;
    ret->zone[0] = '\0';
    if (len == 0) {
        return true;
    }
    if (len > DISC_VALUE_MAX_BYTES) {
        json_value_refuse(error, "", "must be at most %d bytes, is %zu", DISC_VALUE_MAX_BYTES, len);
        return false;
    }
    json_t *root = json_value_load(text, len, error);
    if (root == NULL) {
        return false;
    }
    if (!json_is_object(root)) {
        json_value_wrong(error, "", "an object", root);
        ok = false;
    }
    json_object_foreach(root, name, value)
    {
        ok = parse_member(name, value, ret, error);
        if (!ok) {
            break;
        }
    }
    json_decref(root);
    return ok;
}

void endpoint_table_init(struct endpoint_table *table, const struct disc_store_options *options,
                         uint64_t seed)
{
    table->options = options;
    key_index_init(&table->by_key, seed);
}

void endpoint_table_done(struct endpoint_table *table)
{
    assert(table->by_key.n == 0); /* a view outlived the store: its hooks would be gone */
    key_index_done(&table->by_key);
}

/* One block: the version, then its strings. */
static struct endpoint_version *version_new(const char *whole_key,
                                            const struct disc_service_key *key,
                                            const struct service_value *value,
                                            const struct endpoint_source *source)
{
    struct {
        const char *from;
        size_t len;
        char **to;
    } strings[5];
    struct endpoint_version *version;
    size_t size = sizeof *version;
    strings[0].from = whole_key;
    strings[1].from = key->address;
    strings[2].from = key->host;
    strings[3].from = value->zone;
    strings[4].from = source->text;
    for (int i = 0; i < 5; i++) {
        strings[i].len = i < 4 ? strlen(strings[i].from) : source->text_len;
        size += strings[i].len + 1;
    }
    version = memory_zalloc(size);
    strings[0].to = &version->public.key;
    strings[1].to = &version->public.address;
    strings[2].to = &version->public.host;
    strings[3].to = &version->public.zone;
    strings[4].to = &version->text;
    char *at = (char *)(version + 1);
    for (int i = 0; i < 5; i++) {
        memcpy(at, strings[i].from, strings[i].len);
        *strings[i].to = at;
        at += strings[i].len + 1; /* the block came zeroed: NUL stands behind */
    }
    return version;
}

struct disc_endpoint *endpoint_new(struct endpoint_table *table, const char *whole_key,
                                   const struct disc_service_key *key,
                                   const struct service_value *value,
                                   const struct endpoint_source *source)
{
    struct endpoint_version *version = version_new(whole_key, key, value, source);
    struct disc_endpoint *endpoint = &version->public;
    refcount_init(&endpoint->refs);
    endpoint->port = key->port;
    endpoint->weight = value->weight;
    endpoint->layer = source->layer;
    endpoint->mod_revision = source->mod_revision;
    endpoint->lease = source->lease;
    version->text_len = source->text_len;

    struct endpoint_shared *shared = key_index_find(&table->by_key, whole_key);
    if (shared == NULL) {
        size_t len = strlen(whole_key);
        shared = memory_zalloc(sizeof *shared + len + 1);
        memcpy(shared->key, whole_key, len);
        shared->table = table;
        if (table->options->endpoint_attach != NULL) {
            shared->state = memory_check(
                table->options->endpoint_attach(table->options->owner, whole_key, endpoint));
        }
        key_index_insert(&table->by_key, shared->key, shared);
    }
    shared->versions++;
    version->shared = shared;
    endpoint->state = shared->state;
    return endpoint;
}

struct disc_endpoint *endpoint_ref(struct disc_endpoint *endpoint)
{
    refcount_ref(&endpoint->refs);
    return endpoint;
}

struct disc_endpoint *endpoint_unref(struct disc_endpoint *endpoint)
{
    if (endpoint == NULL || !refcount_unref(&endpoint->refs)) {
        return NULL;
    }
    struct endpoint_shared *shared = ((struct endpoint_version *)endpoint)->shared;
    free(endpoint);
    if (--shared->versions == 0) {
        struct endpoint_table *table = shared->table;
        (void)key_index_remove(&table->by_key, shared->key); /* returns what we hold already */
        if (table->options->endpoint_detach != NULL && shared->state != NULL) {
            table->options->endpoint_detach(table->options->owner, shared->state);
        }
        free(shared);
    }
    return NULL;
}

const char *endpoint_text(const struct disc_endpoint *endpoint, size_t *ret_len)
{
    const struct endpoint_version *version = (const struct endpoint_version *)endpoint;
    *ret_len = version->text_len;
    return version->text;
}
