/*
 * sidecar/sockets.c: see sockets.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/sockets.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */
#define LISTEN_BACKLOG   4096

union address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un path;
    struct sockaddr_storage room;
};

void listen_sockets_close(struct listen_sockets *sockets)
{
    for (uint32_t i = 0; i < sockets->n; i++) {
        close(sockets->fds[i]);
    }
    sockets->n = 0;
}

void listen_sockets_unlink(const struct bootstrap_listener *listener,
                           const struct listen_sockets *sockets)
{
    if (listener->is_unix && sockets->address[0] && !sockets->inherited) {
        (void)unlink(listener->host); /* somebody may have been there before us */
    }
}

static bool fail(char *error, size_t cap, const char *listen, const char *what)
{
    snprintf(error, cap, "%s: %s: %s", listen, what, strerror(errno));
    return false;
}

static socklen_t address_of(const struct bootstrap_listener *listener, uint16_t port,
                            union address *ret)
{
    memset(ret, 0, sizeof *ret);
    if (listener->is_unix) {
        ret->path.sun_family = AF_UNIX;
        snprintf(ret->path.sun_path, sizeof ret->path.sun_path, "%s", listener->host);
        return sizeof ret->path;
    }
    if (inet_pton(AF_INET, listener->host, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(port);
        return sizeof ret->v4;
    }
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = htons(port);
    return inet_pton(AF_INET6, listener->host, &ret->v6.sin6_addr) == 1 ? sizeof ret->v6 : 0;
}

static uint16_t port_of(const union address *address)
{
    return ntohs(address->any.sa_family == AF_INET6 ? address->v6.sin6_port : address->v4.sin_port);
}

/* What the log and /api/v1/info show: "127.0.0.1:9090", "[::1]:9090", "unix:/run/...". */
static void print_address(const union address *address, char *out, size_t cap)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->any.sa_family == AF_UNIX) {
        snprintf(out, cap, "unix:%s", address->path.sun_path);
    } else if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof host);
        snprintf(out, cap, "[%s]:%u", host, port_of(address));
    } else {
        inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof host);
        snprintf(out, cap, "%s:%u", host, port_of(address));
    }
}

static bool same_address(const union address *a, const union address *b)
{
    if (a->any.sa_family != b->any.sa_family) {
        return false;
    }
    switch (a->any.sa_family) {
    case AF_UNIX:
        return strcmp(a->path.sun_path, b->path.sun_path) == 0;
    case AF_INET6:
        return a->v6.sin6_port == b->v6.sin6_port &&
               memcmp(&a->v6.sin6_addr, &b->v6.sin6_addr, sizeof a->v6.sin6_addr) == 0;
    default:
        return a->v4.sin_port == b->v4.sin_port && a->v4.sin_addr.s_addr == b->v4.sin_addr.s_addr;
    }
}

/* The inherited socket that is bound to this address, -1 where there is none. */
static int find_inherited(const union address *wanted)
{
    const char *pid = getenv("LISTEN_PID");
    const char *count = getenv("LISTEN_FDS");
    if (!count || (pid && strtol(pid, NULL, 10) != (long)getpid())) {
        return -1;
    }
    int end = LISTEN_FDS_START + (int)strtol(count, NULL, 10);
    for (int fd = LISTEN_FDS_START; fd < end; fd++) {
        union address bound;
        socklen_t len = sizeof bound;
        memset(&bound, 0, sizeof bound);
        if (getsockname(fd, &bound.any, &len) == 0 && same_address(&bound, wanted)) {
            return fd;
        }
    }
    return -1;
}

/* One socket for all: the others get duplicates. */
static bool share(int fd, uint32_t workers, struct listen_sockets *ret)
{
    ret->fds[ret->n++] = fd;
    while (ret->n < workers) {
        int copy = dup(fd);
        if (copy < 0) {
            return false;
        }
        ret->fds[ret->n++] = copy;
    }
    return true;
}

/* A socket file that nobody listens on is left over; one that somebody does is not ours. */
static bool remove_stale(const union address *address)
{
    struct stat st;
    if (lstat(address->path.sun_path, &st) != 0) {
        return true;
    }
    if (!S_ISSOCK(st.st_mode)) {
        errno = EEXIST;
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    bool alive = fd >= 0 && connect(fd, &address->any, sizeof address->path) == 0;
    if (fd >= 0) {
        close(fd);
    }
    if (alive) {
        errno = EADDRINUSE;
        return false;
    }
    return unlink(address->path.sun_path) == 0;
}

static bool open_unix(const struct bootstrap_listener *listener, uint32_t workers,
                      const union address *address, struct listen_sockets *ret)
{
    if (!remove_stale(address)) {
        return false;
    }
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return false;
    }
    if (bind(fd, &address->any, sizeof address->path) != 0 ||
        (listener->mode && chmod(listener->host, listener->mode) != 0)) {
        int saved = errno;
        close(fd);
        errno = saved;
        return false;
    }
    return share(fd, workers, ret);
}

static int open_tcp(union address *address, socklen_t len)
{
    int on = 1;
    int fd = socket(address->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        return -1;
    }
    /* Listening at once, so that a port in use is known now. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0 ||
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0 ||
        bind(fd, &address->any, len) != 0 || listen(fd, LISTEN_BACKLOG) != 0 ||
        getsockname(fd, &address->any, &len) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

static bool open_tcps(uint32_t workers, union address *address, socklen_t len,
                      struct listen_sockets *ret)
{
    while (ret->n < workers) {
        int fd = open_tcp(address, len); /* the first fixes the port */
        if (fd < 0) {
            return false;
        }
        ret->fds[ret->n++] = fd;
    }
    return true;
}

bool listen_sockets_open(const struct bootstrap_listener *listener, uint32_t workers,
                         struct listen_sockets *ret, char *error, size_t error_cap)
{
    union address address;
    socklen_t len = address_of(listener, listener->port, &address);
    memset(ret, 0, sizeof *ret);
    if (len == 0) {
        errno = EINVAL;
        return fail(error, error_cap, listener->listen, "not an address");
    }
    int inherited = find_inherited(&address);
    bool opened;
    if (inherited >= 0) {
        ret->inherited = true;
        opened = share(inherited, workers, ret);
    } else if (listener->is_unix) {
        opened = open_unix(listener, workers, &address, ret);
    } else {
        opened = open_tcps(workers, &address, len, ret);
    }
    if (!opened) {
        fail(error, error_cap, listener->listen, "cannot listen");
        listen_sockets_close(ret);
        return false;
    }
    print_address(&address, ret->address, sizeof ret->address);
    return true;
}

void notify_service_manager(const char *state)
{
    const char *path = getenv("NOTIFY_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    if (!path || (path[0] != '/' && path[0] != '@') || strlen(path) >= sizeof address.sun_path) {
        return;
    }
    socklen_t len = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
    memcpy(address.sun_path, path, strlen(path));
    if (path[0] == '@') {
        address.sun_path[0] = '\0'; /* the abstract namespace */
    }
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (fd >= 0) {
        /* Nothing can be done about a manager that does not listen. */
        (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
        close(fd);
    }
}
