/*
 * sidecar/cli/admin_client.h: one HTTP request to the admin of a running tside.
 *
 * For verbs of the command line: blocking, with a deadline over all of it, one connection a
 * request.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_SIDECAR_CLI_ADMIN_CLIENT_H
#define TSIDE_SIDECAR_CLI_ADMIN_CLIENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#define ADMIN_BODY_MAX_BYTES ((size_t)64 << 20)

struct admin_address {
    bool is_unix;
    char host[256]; /* a name or an address without brackets; unix: the path */
    char port[8];   /* unix: "" */
};

/* "127.0.0.1:9901", "[::1]:9901", "unix:/run/tside/admin.sock" or a path with a leading '/'. */
bool admin_address_parse(const char *text, struct admin_address *ret)
    __attribute__((warn_unused_result));

struct admin_response {
    int status;
    size_t len;
    char *body; /* NUL-terminated behind len; the caller's, to be freed */
};

/*
 * method is "GET" or "POST"; target begins with '/', encoded by the caller; body may be NULL.
 * 0, or a negative errno: -ETIMEDOUT, -ECONNREFUSED, -ENOENT, -EACCES, ...; -EHOSTUNREACH: the name
 * has no address; -EPROTO: what came is no HTTP; -EMSGSIZE: more than body_max.
 */
int admin_request(const struct admin_address *address, const char *method, const char *target,
                  const char *body, uint32_t timeout_ms, size_t body_max,
                  struct admin_response *ret) __attribute__((warn_unused_result));

/* The process that listens at a unix address, in this process's pid namespace. 0: unknown, because
 * the address is TCP, nothing listens, or the process is of another namespace. */
pid_t admin_peer(const struct admin_address *address, uint32_t timeout_ms);

#endif
