/*
 * sidecar/server/service_manager.c: see service_manager.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/server/service_manager.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LISTEN_FDS_START 3 /* sd_listen_fds(3) */

/* The number in a variable of the environment; -1: none. */
static long number_of(const char *variable)
{
    const char *text = getenv(variable);
    char *end;
    if (!text || !*text) {
        return -1;
    }
    long number = strtol(text, &end, 10);
    return *end == '\0' ? number : -1;
}

static bool is_stream(int fd)
{
    int type = 0;
    socklen_t len = sizeof type;
    return getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &len) == 0 && type == SOCK_STREAM;
}

int service_manager_socket(const union socket_address *address)
{
    long count = number_of("LISTEN_FDS");
    if (number_of("LISTEN_PID") != (long)getpid()) {
        return -1;
    }
    for (int i = 0; i < count && i < SERVICE_MANAGER_FDS_MAX; i++) {
        union socket_address bound;
        socklen_t len = sizeof bound;
        memset(&bound, 0, sizeof bound);
        if (getsockname(LISTEN_FDS_START + i, &bound.any, &len) == 0 &&
            socket_address_equal(&bound, address) && is_stream(LISTEN_FDS_START + i)) {
            return LISTEN_FDS_START + i;
        }
    }
    return -1;
}

void service_manager_notify(const char *state)
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
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0) {
        /* Nothing can be done about a manager that does not listen. */
        (void)sendto(fd, state, strlen(state), MSG_NOSIGNAL, (struct sockaddr *)&address, len);
        close(fd);
    }
}
