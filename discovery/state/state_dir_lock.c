/*
 * discovery/state/state_dir_lock.c: see discovery/state/state_dir_lock.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/state/state_dir_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "discovery/base/memory.h"

static int64_t read_pid(int fd)
{
    char text[24];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    if (n <= 0) {
        return 0;
    }
    text[n] = '\0';
    return strtoll(text, NULL, 10);
}

/* For people only: what fails here costs a less telling message, later. */
static void write_pid(int fd)
{
    char text[24];
    int n = snprintf(text, sizeof text, "%ld\n", (long)getpid());
    if (ftruncate(fd, 0) == 0) {
        ssize_t written = pwrite(fd, text, (size_t)n, 0);
        (void)written;
    }
}

int state_dir_lock(const char *dir, int *ret_fd, int64_t *ret_pid)
{
    size_t len = strlen(dir) + sizeof "/lock";
    char *path = memory_alloc(len);
    snprintf(path, len, "%s/lock", dir);
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    int error = errno;
    free(path);
    if (fd < 0) {
        return -error;
    }
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
        error = errno;
        *ret_pid = read_pid(fd);
        (void)close(fd); /* nothing was written */
        return -error;
    }
    write_pid(fd);
    *ret_fd = fd;
    return 0;
}

void state_dir_unlock(int fd)
{
    (void)close(fd); /* nothing to be saved */
}
