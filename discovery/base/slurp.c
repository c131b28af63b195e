/*
 * discovery/base/slurp.c: see discovery/base/slurp.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/base/slurp.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

int disc_slurp(const char *path, uint64_t max_bytes, char **ret_text, size_t *ret_len)
{
    struct stat st;
    size_t n = 0;
    ssize_t got = 0;
    int error = 0;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK); /* a FIFO must not hold us up */
    if (fd < 0) {
        return -errno;
    }
    if (fstat(fd, &st) != 0) {
        error = -errno;
    } else if (!S_ISREG(st.st_mode)) {
        error = -EINVAL;
    } else if ((uint64_t)st.st_size > max_bytes) {
        error = -EFBIG;
    }
    char *text = error == 0 ? malloc((size_t)st.st_size + 1) : NULL;
    if (error == 0 && text == NULL) {
        error = -ENOMEM;
    }
    while (error == 0 && n < (size_t)st.st_size) {
        got = read(fd, text + n, (size_t)st.st_size - n);
        if (got <= 0) {
            error = got < 0 && errno != EINTR ? -errno : error;
            if (got == 0) {
                break;
            }
            continue;
        }
        n += (size_t)got;
    }
    (void)close(fd); /* was only read */
    if (error != 0) {
        free(text);
        return error;
    }
    text[n] = '\0';
    *ret_text = text;
    *ret_len = n;
    return 0;
}
