/*
 * sidecar/server/sockets.c: see sockets.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/sockets.h"

#include "sidecar/server/service_manager.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_BACKLOG 4096

void listen_sockets_close(const struct bootstrap_listener *listener, struct listen_sockets *sockets)
{
    while (sockets->n > 0) {
        close(sockets->fds[--sockets->n]);
    }
    socket_file_remove(listener->host, &sockets->file);
    sockets->file = (struct socket_file){0};
}

/* One socket for all: the others get duplicates. 0 or -errno. */
static int share(int fd, uint32_t workers, struct listen_sockets *ret)
{
    while (fd >= 0) {
        ret->fds[ret->n++] = fd;
        if (ret->n == workers) {
            return 0;
        }
        fd = fcntl(ret->fds[0], F_DUPFD_CLOEXEC, 0);
    }
    return -errno;
}

static int open_unix(const struct bootstrap_listener *listener, uint32_t workers,
                     struct listen_sockets *ret)
{
    int fd = listen_socket_unix(listener->host, listener->mode, LISTEN_BACKLOG, &ret->file);
    return fd < 0 ? fd : share(fd, workers, ret);
}

static int open_tcp(uint32_t workers, union socket_address *address, socklen_t len,
                    struct listen_sockets *ret)
{
    while (ret->n < workers) {
        int fd = listen_socket_tcp(address, len, ret->n == 0 ? LISTEN_FIRST : LISTEN_NEXT,
                                   LISTEN_BACKLOG); /* the first fixes the port */
        if (fd < 0) {
            return fd;
        }
        ret->fds[ret->n++] = fd;
    }
    return 0;
}

int listen_sockets_open(const struct bootstrap_listener *listener, uint32_t workers,
                        struct listen_sockets *ret)
{
    union socket_address address;
    socklen_t len = socket_address_of(listener->host, listener->port, listener->is_unix, &address);
    memset(ret, 0, sizeof *ret);
    if (len == 0) {
        return -EINVAL;
    }
    int inherited = service_manager_socket(&address);
    int r;
    if (inherited >= 0) {
        r = share(inherited, workers, ret);
    } else if (listener->is_unix) {
        r = open_unix(listener, workers, ret);
    } else {
        r = open_tcp(workers, &address, len, ret);
    }
    if (r) {
        listen_sockets_close(listener, ret);
        return r;
    }
    socket_address_print(&address, ret->address, sizeof ret->address);
    return 0;
}
