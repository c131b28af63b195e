/*
 * sidecar/base/listen_socket.h: one listening socket, TCP or unix, and the file of a unix one.
 *
 * What is made does not block and is closed by exec(). Errors are negative errno.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_BASE_LISTEN_SOCKET_H
#define TSIDE_SIDECAR_BASE_LISTEN_SOCKET_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#define SOCKET_ADDRESS_TEXT_MAX 128 /* a unix path has 107 bytes at most */

union socket_address {
    struct sockaddr any;
    struct sockaddr_in v4;
    struct sockaddr_in6 v6;
    struct sockaddr_un path;
    struct sockaddr_storage room;
};

/* From an IP literal without brackets or, with is_unix, a path. Its length; 0: neither, or too
 * long. */
socklen_t socket_address_of(const char *host, uint16_t port, bool is_unix,
                            union socket_address *ret) __attribute__((warn_unused_result));
bool socket_address_equal(const union socket_address *a, const union socket_address *b);
/* "127.0.0.1:9090", "[::1]:9090", "unix:/run/...". */
void socket_address_print(const union socket_address *address, char *out, size_t cap);

/* Which other sockets may listen on a TCP port. */
enum listen_sharing {
    LISTEN_ALONE, /* none */
    LISTEN_FIRST, /* none yet; then others of this process (LISTEN_NEXT) */
    LISTEN_NEXT
};

/* The descriptor; *address becomes what was bound (port 0: the kernel chooses). -EADDRINUSE where
 * another process listens there, be it with SO_REUSEPORT. */
int listen_socket_tcp(union socket_address *address, socklen_t len, enum listen_sharing sharing,
                      int backlog) __attribute__((warn_unused_result));

/* Whether an error of accept() is of one connection alone and the next may be asked for at once. EAGAIN
 * is not: there is none. Any other comes again at once: out of descriptors or memory, forbidden; the
 * socket stays readable, and whoever does not let it rest spins. */
bool accept_error_is_of_one(int error);

/* The file of a unix socket that was made here; all zero: none. */
struct socket_file {
    dev_t device;
    ino_t inode;
};

/* The descriptor. A file on which no process listens any more is replaced, one that is in use is
 * -EADDRINUSE; the last folder of the path is made where it is missing. mode 0: as umask has it. */
int listen_socket_unix(const char *path, mode_t mode, int backlog, struct socket_file *ret)
    __attribute__((warn_unused_result));
/* Removes it, but not one that another process has put in its place. */
void socket_file_remove(const char *path, const struct socket_file *file);

#endif
