/*
 * sidecar/base/listen_socket.c: see listen_socket.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/base/listen_socket.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define SOCKET_FLAGS   (SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC)
#define DIRECTORY_MODE 0755

/* ---- addresses ----------------------------------------------------------------------------- */

socklen_t socket_address_of(const char *host, uint16_t port, bool is_unix,
                            union socket_address *ret)
{
    memset(ret, 0, sizeof *ret);
    if (is_unix) {
        ret->path.sun_family = AF_UNIX;
        int n = snprintf(ret->path.sun_path, sizeof ret->path.sun_path, "%s", host);
        return n > 0 && (size_t)n < sizeof ret->path.sun_path ? sizeof ret->path : 0;
    }
    if (inet_pton(AF_INET, host, &ret->v4.sin_addr) == 1) {
        ret->v4.sin_family = AF_INET;
        ret->v4.sin_port = htons(port);
        return sizeof ret->v4;
    }
    ret->v6.sin6_family = AF_INET6;
    ret->v6.sin6_port = htons(port);
    return inet_pton(AF_INET6, host, &ret->v6.sin6_addr) == 1 ? sizeof ret->v6 : 0;
}

bool socket_address_equal(const union socket_address *a, const union socket_address *b)
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

void socket_address_print(const union socket_address *address, char *out, size_t cap)
{
    char host[INET6_ADDRSTRLEN] = "?";
    if (address->any.sa_family == AF_UNIX) {
        snprintf(out, cap, "unix:%s", address->path.sun_path);
    } else if (address->any.sa_family == AF_INET6) {
        inet_ntop(AF_INET6, &address->v6.sin6_addr, host, sizeof host);
        snprintf(out, cap, "[%s]:%u", host, ntohs(address->v6.sin6_port));
    } else {
        inet_ntop(AF_INET, &address->v4.sin_addr, host, sizeof host);
        snprintf(out, cap, "%s:%u", host, ntohs(address->v4.sin_port));
    }
}

/* ---- TCP ----------------------------------------------------------------------------------- */

static int close_failed(int fd)
{
    int error = -errno;
    close(fd);
    return error;
}

int listen_socket_tcp(union socket_address *address, socklen_t len, enum listen_sharing sharing,
                      int backlog)
{
    int on = 1;
    int fd = socket(address->any.sa_family, SOCKET_FLAGS, 0);
    if (fd < 0) {
        return -errno;
    }
    /* REUSEADDR: a restart does not wait for TIME_WAIT; a socket that listens keeps its port. */
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) != 0) {
        return close_failed(fd);
    }
    /* A port that is bound with REUSEPORT is shared with every process of this user that sets it,
     * too. So the first socket binds without, and sets it for the next ones when the port is its
     * own. */
    if (sharing == LISTEN_NEXT && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        return close_failed(fd);
    }
    if (bind(fd, &address->any, len) != 0) {
        return close_failed(fd);
    }
    if (sharing == LISTEN_FIRST && setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on) != 0) {
        return close_failed(fd);
    }
    if (listen(fd, backlog) != 0 || getsockname(fd, &address->any, &len) != 0) {
        return close_failed(fd);
    }
    return fd;
}

/* ---- unix ---------------------------------------------------------------------------------- */

/* Removes the file of a socket on which no process listens. 0 or -errno. */
static int remove_stale(const union socket_address *address)
{
    struct stat st;
    if (lstat(address->path.sun_path, &st) != 0) {
        return errno == ENOENT ? 0 : -errno;
    }
    if (!S_ISSOCK(st.st_mode)) {
        return -EEXIST;
    }
    int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
    if (fd < 0) {
        return -errno;
    }
    int error = connect(fd, &address->any, sizeof address->path) != 0 ? errno : 0;
    close(fd);
    if (error != ECONNREFUSED) { /* busy, of another type, not permitted: it is in use */
        return -EADDRINUSE;
    }
    return unlink(address->path.sun_path) != 0 ? -errno : 0;
}

bool accept_error_is_of_one(int error)
{
    switch (error) {
    case EINTR:
    case ECONNABORTED: /* gone while it waited; the others: Linux hands over the error that it had */
    case EPROTO:
    case ENOPROTOOPT:
    case ENETDOWN:
    case ENETUNREACH:
    case EHOSTDOWN:
    case EHOSTUNREACH:
    case ENONET:
        return true;
    default:
        return false;
    }
}

static void make_directory_of(const char *path)
{
    char directory[sizeof(struct sockaddr_un)];
    const char *slash = strrchr(path, '/');
    if (slash && slash != path) {
        snprintf(directory, sizeof directory, "%.*s", (int)(slash - path), path);
        (void)mkdir(directory, DIRECTORY_MODE); /* mostly it is there; else bind() fails */
    }
}

static int note_file(const char *path, struct socket_file *ret)
{
    struct stat st;
    if (lstat(path, &st) != 0) {
        return -errno;
    }
    *ret = (struct socket_file){.device = st.st_dev, .inode = st.st_ino};
    return 0;
}

int listen_socket_unix(const char *path, mode_t mode, int backlog, struct socket_file *ret)
{
    union socket_address address;
    *ret = (struct socket_file){0};
    if (socket_address_of(path, 0, true, &address) == 0) {
        return -ENAMETOOLONG;
    }
    int error = remove_stale(&address);
    if (error) {
        return error;
    }
    make_directory_of(path);
    int fd = socket(AF_UNIX, SOCKET_FLAGS, 0);
    if (fd < 0) {
        return -errno;
    }
    /* The mode of the descriptor bounds that of the file from its first moment (Linux); the chmod()
     * undoes a umask that took more. */
    if ((mode && fchmod(fd, mode) != 0) || bind(fd, &address.any, sizeof address.path) != 0) {
        return close_failed(fd);
    }
    error = note_file(path, ret);
    if (!error && ((mode && chmod(path, mode) != 0) || listen(fd, backlog) != 0)) {
        error = -errno;
    }
    if (error) {
        socket_file_remove(path, ret);
        close(fd);
        return error;
    }
    return fd;
}

void socket_file_remove(const char *path, const struct socket_file *file)
{
    struct socket_file found = {0};
    if (file->inode && note_file(path, &found) == 0 && found.inode == file->inode &&
        found.device == file->device) {
        (void)unlink(path); /* one that is left over is replaced at the next start */
    }
}
