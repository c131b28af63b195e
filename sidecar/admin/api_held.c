/*
 * sidecar/admin/api_held.c: /api/v1/held: keys in force that etcd lost without a delete, and their
 * release, which is the word that they wait for.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/etcd/etcd_io.h"
#include "sidecar/admin/api.h"

#include <stdlib.h>
#include <string.h>

struct held {
    size_t limit;
    size_t len;
    json_t *items;
    char *last; /* the key of the last item */
    bool more;
};

static bool add_held(void *arg, const char *whole_key)
{
    struct held *list = arg;
    if (list->len == list->limit) {
        list->more = true;
        return false;
    }
    json_t *item = json_object();
    api_set(item, "key", api_bytes(whole_key, strlen(whole_key)));
    (void)json_array_append_new(list->items, item);
    list->len++;
    free(list->last);
    list->last = strdup(whole_key);
    return true;
}

void api_held(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    struct api_page page;
    if (!api_page(request, reply, &page)) {
        return;
    }
    struct held list = {.limit = page.limit, .items = json_array()};
    disc_store_each_held(admin->context.store, page.after, add_held, &list);
    api_list(reply, list.items, list.more ? list.last : NULL);
    free(list.last);
    api_page_done(&page);
}

void api_held_release(struct admin *admin, const struct http_request *request,
                      struct http_reply *reply)
{
    const char *key = http_query(request, "key", NULL);
    if (!key) {
        api_error(reply, 400, "bad_request", "key is missing",
                  "POST /api/v1/held/release?key=/tside/rules/...");
        return;
    }
    if (!admin->context.etcd || !etcd_io_release(admin->context.etcd, key)) {
        api_error(reply, 404, "not_held", "no such key is held", "GET /api/v1/held lists them");
        return;
    }
    log_printf(admin->context.log, LOG_INFO, "admin", "held_released", "%s is no longer held", key);
    api_json(reply, 200, json_pack("{s:o}", "released", api_bytes(key, strlen(key))));
}
