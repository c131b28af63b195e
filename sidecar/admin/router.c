/*
 * sidecar/admin/router.c: which handler answers which path, and through which door.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/router.h"

#include "discovery/base/address.h"
#include "sidecar/admin/api.h"

#include <string.h>
#include <strings.h>

struct path {
    const char *path;
    bool post;
    bool probe;     /* answered from the reserve, too */
    api_fn handler; /* NULL: specified, not built yet */
};

static const struct path paths[] = {
    {"/", false, false, api_index},
    {"/livez", false, true, api_livez},
    {"/readyz", false, true, api_readyz},
    {"/metrics", false, false, api_metrics},
    {"/api/v1/info", false, false, api_info},
    {"/api/v1/routes", false, false, api_routes},
    {"/api/v1/breakers", false, false, api_breakers},
    {"/api/v1/explain", false, false, api_explain},
    {"/api/v1/config", false, false, api_config},
    {"/api/v1/config/errors", false, false, api_config_errors},
    {"/api/v1/etcd", false, false, api_etcd},
    {"/api/v1/held", false, false, api_held},
    {"/api/v1/held/release", true, false, api_held_release},
    {"/api/v1/stats", false, false, api_stats},
    {"/api/v1/drain", true, false, api_drain},
    {"/api/v1/endpoints", false, false, NULL},
    {"/api/v1/pools", false, false, NULL},
    {"/api/v1/events", false, false, NULL},
    {"/api/v1/recent", false, false, NULL},
    {"/api/v1/connections", false, false, NULL},
    {"/api/v1/log", true, false, NULL},
    {"/api/v1/overrides", true, false, NULL},
};

#define PATHS (sizeof paths / sizeof paths[0])

/* ---- the Host header ------------------------------------------------------------------------- */

/* The length of the host in "host", "host:port", "[v6]" or "[v6]:port"; 0 where it is none. */
static size_t host_len(const char *host)
{
    const char *end = strchr(host, ':');
    if (host[0] == '[') {
        end = strchr(host, ']');
        if (!end) {
            return 0;
        }
        end++;
    }
    size_t len = end ? (size_t)(end - host) : strlen(host);
    if (host[len] == ':') {
        const char *port = host + len + 1;
        if (strspn(port, "0123456789") != strlen(port)) {
            return 0;
        }
    } else if (host[len] != '\0') {
        return 0;
    }
    return len;
}

static bool is_ip(const char *host, size_t len)
{
    struct address address;
    return address_parse_host(host, len, &address) == ADDRESS_GOOD && address.kind != ADDRESS_NAME;
}

static bool is_name(const char *host, size_t len, const char *name)
{
    return strlen(name) == len && strncasecmp(host, name, len) == 0;
}

bool router_host_allowed(const char *host, char *const hosts[], size_t hosts_len)
{
    size_t len = host ? host_len(host) : 0;
    if (len == 0) {
        return false;
    }
    if (is_ip(host, len) || is_name(host, len, "localhost")) {
        return true;
    }
    for (size_t i = 0; i < hosts_len; i++) {
        if (is_name(host, len, hosts[i])) {
            return true;
        }
    }
    return false;
}

/* ---- dispatch -------------------------------------------------------------------------------- */

static const struct path *path_find(const char *path)
{
    for (size_t i = 0; i < PATHS; i++) {
        if (strcmp(paths[i].path, path) == 0) {
            return &paths[i];
        }
    }
    return NULL;
}

/* Whether the method fits; else answers 405. */
static bool check_method(const struct path *path, const struct admin_door *door,
                         const struct http_request *request, struct http_reply *reply)
{
    bool reads = request->method == HTTP_GET || request->method == HTTP_HEAD;
    if (path->post ? request->method == HTTP_POST && door->local : reads) {
        return true;
    }
    if (path->post && !door->local) {
        api_error(reply, 405, "method_not_allowed", "this address only reads",
                  "POST to the unix socket admin.socket");
        reply->allow = "GET, HEAD"; /* what this address allows at all */
        return false;
    }
    api_error(reply, 405, "method_not_allowed", "the method does not fit this path",
              path->post ? "use POST" : "use GET");
    reply->allow = path->post ? "POST" : "GET, HEAD";
    return false;
}

void api_dispatch(void *arg, const struct http_request *request, struct http_reply *reply)
{
    const struct admin_door *door = arg;
    const struct admin *admin = door->admin;
    if (!door->local && !router_host_allowed(request->host, admin->hosts, admin->hosts_len)) {
        api_error(reply, 403, "forbidden_host", "the Host header is not one of this sidecar's",
                  "use an IP address or localhost, or list the name in admin.hosts");
        return;
    }
    const struct path *path = path_find(request->path);
    if (request->reserve && !(path && path->probe)) {
        api_error(reply, 503, "busy", "every admin connection is taken",
                  "only /livez and /readyz answer now");
    } else if (!path) {
        api_error(reply, 404, "not_found", "no such path", "GET / lists the paths");
    } else if (check_method(path, door, request, reply)) {
        if (path->handler) {
            path->handler(door->admin, request, reply);
        } else {
            api_error(reply, 501, "not_yet", "not yet: this path is planned but not built",
                      "GET / lists what is");
        }
    }
}

/* The list of paths; the dashboard will stand here. */
void api_index(struct admin *admin, const struct http_request *request, struct http_reply *reply)
{
    struct text text = {0};
    text_printf(&text, "tside %s on %s\n\n", TSIDE_VERSION, admin->context.bootstrap->node_name);
    for (size_t i = 0; i < PATHS; i++) {
        text_printf(&text, "%-4s  %s%s\n", paths[i].post ? "POST" : "GET", paths[i].path,
                    paths[i].handler ? "" : "  (not yet)");
    }
    api_text(reply, 200, &text);
}
