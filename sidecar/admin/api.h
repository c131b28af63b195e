/*
 * sidecar/admin/api.h: what the api_*.c files share: the admin object, replies, pages of lists.
 *
 * One api_*.c per topic; each handler answers one path (the table is in router.c). All on the
 * control thread.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_ADMIN_API_H
#define TSIDE_SIDECAR_ADMIN_API_H

#include "sidecar/admin/admin.h"
#include "sidecar/admin/http.h"
#include "sidecar/admin/text.h"
#include "sidecar/admin/windows.h"
#include "sidecar/base/listen_socket.h"

#include <jansson.h>

/* One of the two doors: admin.listen (reads only) and admin.socket. */
struct admin_door {
    struct admin *admin;
    struct http_server *server; /* NULL: not open */
    bool local;                 /* the unix socket: everything allowed */
};

struct admin {
    struct admin_context context;
    struct admin_door tcp, local;
    char *const *hosts; /* admin.hosts: SIGHUP changes them */
    size_t hosts_len;
    char address[SOCKET_ADDRESS_TEXT_MAX];
    struct socket_file socket; /* admin.socket as bound */
    struct windows *windows;
    uv_timer_t sample; /* each second: windows */
    uv_timer_t drain;  /* at once, but not inside the handler that asked for it */
    unsigned open;     /* servers and timers not yet closed */
    void (*closed)(void *owner);
    void *closed_owner;
};

/* ---- replies --------------------------------------------------------------------------------- */

/* Takes json (NULL: out of memory, answers 500). */
void api_json(struct http_reply *reply, unsigned status, json_t *json);
void api_error(struct http_reply *reply, unsigned status, const char *code, const char *message,
               const char *hint);
/* Takes the text. */
void api_text(struct http_reply *reply, unsigned status, struct text *text);

/* Sets a member; a NULL value (out of memory) makes the member null. */
void api_set(json_t *object, const char *key, json_t *value);
/* A name as it is shown to people, "-" where unknown. */
json_t *api_name(struct disc_str name);
/* The five names, as members from, from_cluster, to, to_cluster, method. */
void api_set_names(json_t *object, const struct disc_tuple *tuple);
/* A rule's or endpoint's value: JSON as it stands, else a string. */
json_t *api_value(const char *text, size_t len);
/* A string of them: what is not UTF-8 as \xHH. */
json_t *api_bytes(const char *text, size_t len);
/* A monotonic counter as a JSON number. */
json_t *api_number(uint64_t value);

/* ---- pages ----------------------------------------------------------------------------------- */

#define API_LIMIT_DEFAULT 100
#define API_LIMIT_MAX     1000

struct api_page {
    size_t limit;
    char *after; /* the last key of the page before; NULL: the first page */
};

/* From `limit` and `cursor`; false where answered with an error. Else api_page_done() is due. */
bool api_page(const struct http_request *request, struct http_reply *reply, struct api_page *ret)
    __attribute__((warn_unused_result));
void api_page_done(struct api_page *page);
/* {"items": items, "next": the cursor behind that key, or null}; takes items. A cursor is the key
 * in hex: keys may have any bytes, and a cursor goes into a URL as it is. */
void api_list(struct http_reply *reply, json_t *items, const char *next);

/* ---- state ----------------------------------------------------------------------------------- */

uint64_t api_now_ms(const struct admin *admin); /* the loop's clock */
const struct disc_snapshot *api_snapshot(const struct admin *admin);
/* Sum of a metric over the workers. */
uint64_t api_metric(const struct admin *admin, enum metric metric);
struct metric_row {
    const char *kind; /* "counter", "gauge" */
    const char *name;
    const char *labels;
    const char *help;
};
const struct metric_row *api_metric_row(enum metric metric);
/* {generation, revision, source, age_s} of the snapshot in force; null where there is none. */
json_t *api_snapshot_json(const struct admin *admin);
const char *api_origin_str(enum disc_origin origin); /* "file", "disk", "etcd" */

/* ---- handlers -------------------------------------------------------------------------------- */

typedef void (*api_fn)(struct admin *admin, const struct http_request *request,
                       struct http_reply *reply);

void api_index(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_livez(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_readyz(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_metrics(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_info(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_config(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_config_errors(struct admin *admin, const struct http_request *request,
                       struct http_reply *reply);
void api_etcd(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_explain(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_held(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_held_release(struct admin *admin, const struct http_request *request,
                      struct http_reply *reply);
void api_routes(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_breakers(struct admin *admin, const struct http_request *request,
                  struct http_reply *reply);
void api_stats(struct admin *admin, const struct http_request *request, struct http_reply *reply);
void api_drain(struct admin *admin, const struct http_request *request, struct http_reply *reply);

/* The handler of http.h: checks host, door and method, then calls one of the above. */
void api_dispatch(void *door, const struct http_request *request, struct http_reply *reply);

#endif
