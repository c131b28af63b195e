/*
 * sidecar/main.c: the program's entry.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "sidecar/cli/cli.h"

#include <fcntl.h>
#include <stdbool.h>
#include <sysexits.h>
#include <unistd.h>

/* The parent may have closed them: the first file, socket or epoll opened would be standard
 * input, output or error then, and the log would be written into it. */
static bool open_standard_descriptors(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        /* open() takes the lowest free number, which is this one. */
        if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) != fd) {
            return false;
        }
    }
    return true;
}

int main(int argc, char **argv)
{
    return open_standard_descriptors() ? cli_main(argc, argv) : EX_OSERR;
}
