/*
 * sidecar/admin/admin.c: opens the two doors, samples once a second, closes both.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/admin/admin.h"

#include "sidecar/admin/api.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG      128
#define CONNECTIONS  56 /* per door, beside the reserve of http.h */
#define TIMEOUT_S    10
#define SAMPLE_MS    1000
#define SOCKET_MODE  0660
#define SOCKET_FLAGS (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un un;
};

/* ---- listening sockets ------------------------------------------------------------------------- */

/* Either returns the descriptor or negative errno. */
static int bind_and_listen(int fd, const union address *address, socklen_t len)
{
    if (fd < 0) {
        return -errno;
    }
    if (bind(fd, &address->any, len) || listen(fd, BACKLOG)) {
        int err = -errno;
        close(fd);
        return err;
    }
    return fd;
}

static int listen_tcp(const char *host, uint16_t port)
{
    union address address = {0};
    socklen_t len = 0;
    if (inet_pton(AF_INET, host, &address.v4.sin_addr) == 1) {
        address.v4.sin_family = AF_INET;
        address.v4.sin_port = htons(port);
        len = sizeof address.v4;
    } else if (inet_pton(AF_INET6, host, &address.v6.sin6_addr) == 1) {
        address.v6.sin6_family = AF_INET6;
        address.v6.sin6_port = htons(port);
        len = sizeof address.v6;
    } else {
        return -EINVAL;
    }
    int fd = socket(address.any.sa_family, SOCKET_FLAGS, 0);
    int on = 1;
    if (fd >= 0) { /* without it a restart waits for TIME_WAIT: worth trying, not worth failing */
        (void)setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    return bind_and_listen(fd, &address, len);
}

static void tcp_address(int fd, char *out, size_t cap)
{
    union address address = {0};
    socklen_t len = sizeof address;
    char host[INET6_ADDRSTRLEN] = "";
    if (getsockname(fd, &address.any, &len)) {
        return;
    }
    if (address.any.sa_family == AF_INET) {
        inet_ntop(AF_INET, &address.v4.sin_addr, host, sizeof host);
        snprintf(out, cap, "%s:%u", host, ntohs(address.v4.sin_port));
    } else {
        inet_ntop(AF_INET6, &address.v6.sin6_addr, host, sizeof host);
        snprintf(out, cap, "[%s]:%u", host, ntohs(address.v6.sin6_port));
    }
}

/* Takes the path of a socket that nobody listens on away; -EADDRINUSE where somebody does. */
static int remove_stale(const union address *address)
{
    struct stat st;
    if (lstat(address->un.sun_path, &st)) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
    if (fd < 0) {
        return -errno;
    }
    int err = connect(fd, &address->any, sizeof address->un) ? errno : 0;
    close(fd);
    if (err != ECONNREFUSED) {
        return -EADDRINUSE;
    }
    return unlink(address->un.sun_path) ? -errno : 0;
}

static int listen_unix(const char *path, ino_t *ret_inode)
{
    union address address = {0};
    struct stat st;
    address.un.sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address.un.sun_path) {
        return -ENAMETOOLONG;
    }
    strcpy(address.un.sun_path, path);
    int err = remove_stale(&address);
    if (err) {
        return err;
    }
    int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
    /* The mode of the descriptor bounds that of the file from its first moment (Linux); the chmod
     * below undoes a umask that took more. */
    if (fd >= 0 && fchmod(fd, SOCKET_MODE)) {
        err = -errno;
        close(fd);
        return err;
    }
    fd = bind_and_listen(fd, &address, sizeof address.un);
    if (fd >= 0 && (chmod(path, SOCKET_MODE) || stat(path, &st))) {
        err = -errno;
        close(fd);
        return err;
    }
    if (fd >= 0) {
        *ret_inode = st.st_ino;
    }
    return fd;
}

/* ---- doors ------------------------------------------------------------------------------------- */

/* Logs where it is open, or why not. */
static bool door_open(struct admin *admin, struct admin_door *door, const char *where, int fd)
{
    struct log *log = admin->context.log;
    if (fd < 0) {
        log_printf(log, LOG_ERROR, "admin", "listen_failed", "cannot listen on %s: %s", where,
                   strerror(-fd));
        return false;
    }
    door->admin = admin;
    door->server = http_server_new(&(struct http_options){
        .loop = admin->context.loop,
        .fd = fd,
        .connections = CONNECTIONS,
        .timeout_s = TIMEOUT_S,
        .handler = api_dispatch,
        .owner = door,
    });
    if (!door->server) {
        close(fd);
        log_printf(log, LOG_ERROR, "admin", "listen_failed", "cannot serve HTTP on %s", where);
        return false;
    }
    admin->open++;
    struct log_line line;
    if (log_begin(log, &line, LOG_INFO, "admin", "admin_listening", "admin is listening")) {
        log_str(&line, "address", where);
        log_end(log, &line);
    }
    return true;
}

static bool doors_open(struct admin *admin)
{
    const struct bootstrap *bootstrap = admin->context.bootstrap;
    if (bootstrap->admin.listen) {
        int fd = listen_tcp(bootstrap->admin.host, bootstrap->admin.port);
        if (fd >= 0) {
            tcp_address(fd, admin->address, sizeof admin->address);
        }
        const char *where = fd >= 0 ? admin->address : bootstrap->admin.listen;
        if (!door_open(admin, &admin->tcp, where, fd)) {
            return false;
        }
    }
    admin->local.local = true;
    return !bootstrap->admin.socket ||
           door_open(admin, &admin->local, bootstrap->admin.socket,
                     listen_unix(bootstrap->admin.socket, &admin->socket_inode));
}

/* Leaves a socket alone that another process has put in the place of ours. */
static void socket_remove(const struct admin *admin)
{
    struct stat st;
    const char *path = admin->context.bootstrap->admin.socket;
    if (admin->socket_inode && lstat(path, &st) == 0 && st.st_ino == admin->socket_inode) {
        (void)unlink(path); /* a stale one is removed at the next start */
    }
}

/* ---- life -------------------------------------------------------------------------------------- */

static void on_sample(uv_timer_t *timer)
{
    struct admin *admin = timer->data;
    windows_sample(admin->windows, admin->context.tuples, api_now_ms(admin));
}

struct admin *admin_new(const struct admin_context *context)
{
    struct admin *admin = calloc(1, sizeof *admin);
    struct windows *windows = windows_new();
    if (!admin || !windows) {
        free(admin);
        windows_free(windows);
        return NULL;
    }
    admin->context = *context;
    admin_set_hosts(admin, context->bootstrap->admin.hosts, context->bootstrap->admin.hosts_len);
    admin->windows = windows;
    uv_timer_init(context->loop, &admin->sample);
    uv_timer_init(context->loop, &admin->drain);
    admin->sample.data = admin->drain.data = admin;
    admin->open = 2;
    if (!doors_open(admin)) {
        admin_close(admin, NULL, NULL);
        return NULL;
    }
    uv_timer_start(&admin->sample, on_sample, SAMPLE_MS, SAMPLE_MS);
    return admin;
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
    socket_remove(admin);
    uv_close((uv_handle_t *)&admin->sample, on_timer_closed);
    uv_close((uv_handle_t *)&admin->drain, on_timer_closed);
    if (admin->tcp.server) {
        http_server_close(admin->tcp.server, on_closed, admin);
    }
    if (admin->local.server) {
        http_server_close(admin->local.server, on_closed, admin);
    }
}
