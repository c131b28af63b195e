/*
 * sidecar/admin/api_config.c: /api/v1/config (keys in force) and /api/v1/config/errors.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/api.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- keys in force --------------------------------------------------------------------------- */

struct key {
    char *whole; /* prefix and all */
    json_t *value;
    int64_t mod_revision;
    enum disc_layer layer;
};

/* Keys of one layer that have a good value, up to `limit`, in order. */
struct keys {
    const struct bootstrap *bootstrap;
    enum disc_layer layer;
    size_t limit;
    size_t len;
    struct key *key; /* [limit] */
    bool broken;
};

static char *whole_key(const struct bootstrap *bootstrap, const struct disc_raw *raw)
{
    const char *prefix = raw->space == DISC_SPACE_RULES ? bootstrap->etcd.rules_prefix
                                                        : bootstrap->etcd.services_prefix;
    char *whole = NULL;
    return asprintf(&whole, "%s/%s", prefix, raw->key) < 0 ? NULL : whole;
}

static bool collect_key(void *arg, const struct disc_raw *raw)
{
    struct keys *keys = arg;
    if (keys->len == keys->limit) {
        return false;
    }
    const char *text = raw->rejected ? raw->good_text : raw->text;
    size_t len = raw->rejected ? raw->good_text_len : raw->text_len;
    if (!text) {
        return true;
    }
    struct key *key = &keys->key[keys->len];
    key->whole = whole_key(keys->bootstrap, raw);
    if (!key->whole) {
        keys->broken = true;
        return false;
    }
    key->value = api_value(text, len);
    key->mod_revision = raw->rejected ? raw->good_revision : raw->mod_revision;
    key->layer = keys->layer;
    keys->len++;
    return true;
}

static void keys_done(struct keys *keys)
{
    assert(keys->key || keys->len == 0);
    for (size_t i = 0; i < keys->len; i++) {
        free(keys->key[i].whole);
        json_decref(keys->key[i].value);
    }
    free(keys->key);
}

static json_t *key_json(struct key *key)
{
    json_t *item = json_object();
    api_set(item, "key", api_bytes(key->whole, strlen(key->whole)));
    api_set(item, "value", key->value);
    key->value = NULL;
    api_set(item, "mod_revision", json_integer(key->mod_revision));
    api_set(item, "source", json_string(disc_layer_str(key->layer)));
    return item;
}

/* Both layers in order; where both have a key, etcd's stands. *ret_last is the last key taken where
 * more follow. */
static json_t *merge(struct keys *file, struct keys *etcd, size_t limit, const char **ret_last)
{
    json_t *items = json_array();
    size_t f = 0, e = 0, n = 0;
    const char *last = NULL;
    for (; n < limit && (f < file->len || e < etcd->len); n++) {
        int c = f == file->len   ? 1
                : e == etcd->len ? -1
                                 : strcmp(file->key[f].whole, etcd->key[e].whole);
        struct key *key = c < 0 ? &file->key[f] : &etcd->key[e];
        f += c <= 0;
        e += c >= 0;
        last = key->whole;
        (void)json_array_append_new(items, key_json(key));
    }
    *ret_last = f < file->len || e < etcd->len ? last : NULL;
    return items;
}

void api_config(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    struct api_page page;
    if (!api_page(request, reply, &page)) {
        return;
    }
    struct keys layers[DISC_LAYERS];
    bool broken = false;
    for (int i = 0; i < DISC_LAYERS; i++) {
        layers[i] = (struct keys){
            .bootstrap = admin->context.bootstrap,
            .layer = (enum disc_layer)i,
            .limit = page.limit + 1,
            .key = calloc(page.limit + 1, sizeof(struct key)),
        };
        if (layers[i].key) {
            disc_store_each_raw(admin->context.store, (enum disc_layer)i, page.after, collect_key,
                                &layers[i]);
        }
        broken = broken || !layers[i].key || layers[i].broken;
    }
    if (broken) {
        api_json(reply, 500, NULL);
    } else {
        const char *last = NULL;
        json_t *items =
            merge(&layers[DISC_LAYER_FILE], &layers[DISC_LAYER_ETCD], page.limit, &last);
        api_list(reply, items, last);
    }
    for (int i = 0; i < DISC_LAYERS; i++) {
        keys_done(&layers[i]);
    }
    api_page_done(&page);
}

/* ---- rejected keys --------------------------------------------------------------------------- */

struct rejections {
    size_t limit;
    size_t len;
    json_t *items;
    char *last; /* the key of the last item */
    bool more;
};

static bool add_rejection(void *arg, const struct disc_rejection *rejection)
{
    struct rejections *list = arg;
    if (list->len == list->limit) {
        list->more = true;
        return false;
    }
    json_t *item = json_object();
    const char *field = rejection->field ? rejection->field : "";
    const char *reason = rejection->reason ? rejection->reason : "";
    api_set(item, "key", api_bytes(rejection->key, strlen(rejection->key)));
    api_set(item, "field", api_bytes(field, strlen(field)));
    api_set(item, "reason", api_bytes(reason, strlen(reason)));
    api_set(item, "mod_revision", json_integer(rejection->mod_revision));
    api_set(item, "since", api_number(rejection->since_unix_ms));
    api_set(item, "in_force",
            rejection->in_force ? api_value(rejection->in_force, strlen(rejection->in_force))
                                : json_null());
    (void)json_array_append_new(list->items, item);
    list->len++;
    free(list->last);
    list->last = strdup(rejection->key);
    return true;
}

void api_config_errors(struct admin *admin, const struct http_request *request,
                       struct http_reply *reply)
{
    struct api_page page;
    if (!api_page(request, reply, &page)) {
        return;
    }
    struct rejections list = {.limit = page.limit, .items = json_array()};
    disc_store_each_rejection(admin->context.store, page.after, add_rejection, &list);
    if (list.more && !list.last) {
        json_decref(list.items);
        api_json(reply, 200, NULL);
    } else {
        api_list(reply, list.items, list.more ? list.last : NULL);
    }
    free(list.last);
    api_page_done(&page);
}
