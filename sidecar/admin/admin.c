/*
 * sidecar/admin/admin.c: opens the two doors, samples once a second, closes both.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/admin.h"

#include "sidecar/admin/api.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG     128
#define CONNECTIONS 56 /* per door, beside the reserve of http.h */
#define TIMEOUT_S   10
#define REQUEST_MS  30000
#define SAMPLE_MS   1000
#define SOCKET_MODE 0660

/* ---- doors ----------------------------------------------------------------------------------- */

/* Serves on fd, which is closed on failure, and logs where. 0 or -errno. */
static int door_open(struct admin *admin, struct admin_door *door, const char *where, int fd)
{
    door->admin = admin;
    door->server = http_server_new(&(struct http_options){
        .loop = admin->context.loop,
        .fd = fd,
        .connections = CONNECTIONS,
        .timeout_s = TIMEOUT_S,
        .request_ms = REQUEST_MS,
        .handler = api_dispatch,
        .owner = door,
    });
    if (!door->server) {
        close(fd);
        return -ENOMEM;
    }
    admin->open++;
    struct log *log = admin->context.log;
    struct log_line line;
    if (log_begin(log, &line, LOG_INFO, "admin", "admin_listening", "admin is listening")) {
        log_str(&line, "address", where);
        log_end(log, &line);
    }
    return 0;
}

static int open_tcp(struct admin *admin)
{
    const struct bootstrap *bootstrap = admin->context.bootstrap;
    union socket_address address;
    socklen_t len =
        socket_address_of(bootstrap->admin.host, bootstrap->admin.port, false, &address);
    int fd = len ? listen_socket_tcp(&address, len, LISTEN_ALONE, BACKLOG) : -EINVAL;
    if (fd < 0) {
        return fd;
    }
    socket_address_print(&address, admin->address, sizeof admin->address);
    return door_open(admin, &admin->tcp, admin->address, fd);
}

static int open_socket(struct admin *admin)
{
    const char *path = admin->context.bootstrap->admin.socket;
    int fd = listen_socket_unix(path, SOCKET_MODE, BACKLOG, &admin->socket);
    admin->local.local = true;
    return fd < 0 ? fd : door_open(admin, &admin->local, path, fd);
}

static int doors_open(struct admin *admin, char *error, size_t error_cap)
{
    const struct bootstrap *bootstrap = admin->context.bootstrap;
    int r = bootstrap->admin.listen ? open_tcp(admin) : 0;
    if (r) {
        snprintf(error, error_cap, "admin.listen %s: %s", bootstrap->admin.listen, strerror(-r));
        return r;
    }
    r = bootstrap->admin.socket ? open_socket(admin) : 0;
    if (r) {
        snprintf(error, error_cap, "admin.socket %s: %s", bootstrap->admin.socket, strerror(-r));
    }
    return r;
}

/* ---- life ------------------------------------------------------------------------------------ */

static void on_sample(uv_timer_t *timer)
{
    struct admin *admin = timer->data;
    windows_sample(admin->windows, admin->context.tuples, api_now_ms(admin));
}

int admin_new(const struct admin_context *context, struct admin **ret, char *error,
              size_t error_cap)
{
    struct admin *admin = calloc(1, sizeof *admin);
    struct windows *windows = windows_new();
    if (!admin || !windows) {
        free(admin);
        windows_free(windows);
        snprintf(error, error_cap, "out of memory");
        return -ENOMEM;
    }
    admin->context = *context;
    admin_set_hosts(admin, context->bootstrap->admin.hosts, context->bootstrap->admin.hosts_len);
    admin->windows = windows;
    uv_timer_init(context->loop, &admin->sample);
    uv_timer_init(context->loop, &admin->drain);
    admin->sample.data = admin->drain.data = admin;
    admin->open = 2;
    int r = doors_open(admin, error, error_cap);
    if (r) {
        admin_close(admin, NULL, NULL);
        return r;
    }
    uv_timer_start(&admin->sample, on_sample, SAMPLE_MS, SAMPLE_MS);
    *ret = admin;
    return 0;
}

const char *admin_address(const struct admin *admin)
{
    return admin->address;
}

void admin_set_hosts(struct admin *admin, char *const hosts[], size_t hosts_len)
{
    admin->hosts = hosts;
    admin->hosts_len = hosts_len;
}

static void on_closed(void *arg)
{
    struct admin *admin = arg;
    if (--admin->open > 0) {
        return;
    }
    if (admin->closed) {
        admin->closed(admin->closed_owner);
    }
    windows_free(admin->windows);
    free(admin);
}

static void on_timer_closed(uv_handle_t *handle)
{
    on_closed(handle->data);
}

void admin_close(struct admin *admin, void (*closed)(void *owner), void *owner)
{
    admin->closed = closed;
    admin->closed_owner = owner;
    socket_file_remove(admin->context.bootstrap->admin.socket, &admin->socket);
    uv_close((uv_handle_t *)&admin->sample, on_timer_closed);
    uv_close((uv_handle_t *)&admin->drain, on_timer_closed);
    if (admin->tcp.server) {
        http_server_close(admin->tcp.server, on_closed, admin);
    }
    if (admin->local.server) {
        http_server_close(admin->local.server, on_closed, admin);
    }
}
