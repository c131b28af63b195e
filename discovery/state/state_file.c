/*
 * discovery/state/state_file.c: see discovery/state/state_file.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/state/state_file.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "discovery/base/memory.h"
#include "discovery/base/slurp.h"

#define FILE_MAX_BYTES (4ull << 30)

enum generation { GENERATION_NEWEST = 0, GENERATION_TMP, GENERATION_OLD, GENERATIONS };

static char *path_of(const char *dir, enum generation generation)
{
    static const char *const names[GENERATIONS] = {"etcd.state", "etcd.state.tmp", "etcd.state.1"};
    size_t len = strlen(dir) + 1 + strlen(names[generation]) + 1;
    char *path = memory_alloc(len);
    snprintf(path, len, "%s/%s", dir, names[generation]);
    return path;
}

/* ---- reading ------------------------------------------------------------------------------ */

bool state_file_load(const char *dir, const char *const prefix[DISC_SPACES], state_key_fn fn,
                     state_report_fn report, void *arg, struct state_meta *ret_meta)
{
    bool loaded = false;
    for (int g = 0; g < GENERATIONS && !loaded; g++) {
        char *path = path_of(dir, (enum generation)g);
        char *bytes = NULL;
        size_t len = 0;
        int error = disc_slurp(path, FILE_MAX_BYTES, &bytes, &len);
        const char *wrong = error == -EINVAL ? "it is not a regular file"
                            : error != 0     ? strerror(-error)
                                         : state_image_read(bytes, len, prefix, fn, arg, ret_meta);
        loaded = wrong == NULL;
        /* A .tmp that is cut short is what any crash leaves behind: not worth a word. */
        if (!loaded && error != -ENOENT && g != GENERATION_TMP) {
            report(arg, path, wrong);
        }
        free(bytes);
        free(path);
    }
    return loaded;
}

/* ---- writing ------------------------------------------------------------------------------ */

enum step {
    STEP_NONE = 0,
    STEP_OPEN,
    STEP_WRITE,
    STEP_SYNC,
    STEP_CLOSE,
    STEP_KEEP_OLD,
    STEP_REPLACE,
    STEP_OPEN_DIR,
    STEP_SYNC_DIR,
    STEP_CLOSE_DIR
};

struct state_file {
    uv_loop_t *loop;
    char *dir;
    char *path[GENERATIONS];
    uv_fs_t req;
    enum step step;
    uv_file fd; /* of the file, then of the directory; -1: none */
    char *bytes;
    size_t len;
    size_t written;
    void (*done)(void *arg, int status);
    void *arg;
};

struct state_file *state_file_new(uv_loop_t *loop, const char *dir)
{
    struct state_file *file = memory_zalloc(sizeof *file);
    file->loop = loop;
    file->dir = memory_text(dir, strlen(dir));
    file->fd = -1;
    for (int g = 0; g < GENERATIONS; g++) {
        file->path[g] = path_of(dir, (enum generation)g);
    }
    return file;
}

struct state_file *state_file_free(struct state_file *file)
{
    if (file != NULL) {
        assert(file->step == STEP_NONE);
        for (int g = 0; g < GENERATIONS; g++) {
            free(file->path[g]);
        }
        free(file->dir);
        free(file);
    }
    return NULL;
}

bool state_file_is_busy(const struct state_file *file)
{
    return file->step != STEP_NONE;
}

static void finish(struct state_file *file, int status)
{
    uv_fs_t req;
    if (file->fd >= 0) {
        (void)uv_fs_close(NULL, &req, file->fd, NULL); /* failed already */
        file->fd = -1;
    }
    if (status != 0 && file->step > STEP_OPEN && file->step <= STEP_CLOSE) {
        /* Not whole: of use to nobody, and where the disk is full its room is. Later it is whole,
         * and perhaps the only newest one. */
        (void)uv_fs_unlink(NULL, &req, file->path[GENERATION_TMP], NULL); /* the next try cuts it */
    }
    free(file->bytes);
    file->bytes = NULL;
    file->step = STEP_NONE;
    file->done(file->arg, status);
}

static void on_step(uv_fs_t *req);

static int begin_step(struct state_file *file)
{
    uv_loop_t *loop = file->loop;
    uv_fs_t *req = &file->req;
    const char *tmp = file->path[GENERATION_TMP];
    const char *newest = file->path[GENERATION_NEWEST];
    uv_buf_t buf;
    switch (file->step) {
    case STEP_OPEN:
        return uv_fs_open(loop, req, tmp, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW,
                          0600, on_step);
    case STEP_WRITE:
        buf.base = file->bytes + file->written;
        buf.len = file->len - file->written;
        return uv_fs_write(loop, req, file->fd, &buf, 1, -1, on_step);
    case STEP_SYNC:
    case STEP_SYNC_DIR:
        return uv_fs_fsync(loop, req, file->fd, on_step);
    case STEP_CLOSE:
    case STEP_CLOSE_DIR:
        return uv_fs_close(loop, req, file->fd, on_step);
    case STEP_KEEP_OLD:
        return uv_fs_rename(loop, req, newest, file->path[GENERATION_OLD], on_step);
    case STEP_REPLACE:
        return uv_fs_rename(loop, req, tmp, newest, on_step);
    case STEP_OPEN_DIR:
        return uv_fs_open(loop, req, file->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0, on_step);
    case STEP_NONE:
        break;
    }
    return -EINVAL;
}

static void go(struct state_file *file, enum step step)
{
    file->step = step;
    file->req.data = file;
    int error = begin_step(file);
    if (error != 0) {
        finish(file, error);
    }
}

/* What the step that just ended leaves to be done. */
static enum step next_step(struct state_file *file, ssize_t result)
{
    switch (file->step) {
    case STEP_OPEN:
    case STEP_OPEN_DIR:
        file->fd = (uv_file)result;
        break;
    case STEP_WRITE:
        file->written += (size_t)result;
        if (file->written < file->len) {
            return STEP_WRITE;
        }
        break;
    case STEP_CLOSE_DIR:
        file->fd = -1;
        return STEP_NONE;
    case STEP_CLOSE:
        file->fd = -1;
        break;
    default:
        break;
    }
    return file->step + 1;
}

static void on_step(uv_fs_t *req)
{
    struct state_file *file = req->data;
    ssize_t result = req->result;
    uv_fs_req_cleanup(req);
    if (result == -ENOENT && file->step == STEP_KEEP_OLD) {
        result = 0; /* the first state of this directory */
    }
    if (result < 0 || (result == 0 && file->step == STEP_WRITE)) {
        finish(file, result < 0 ? (int)result : -EIO);
        return;
    }
    enum step next = next_step(file, result);
    if (next == STEP_NONE) {
        finish(file, 0);
    } else {
        go(file, next);
    }
}

void state_file_write(struct state_file *file, char *bytes, size_t len,
                      void (*done)(void *arg, int status), void *arg)
{
    assert(file->step == STEP_NONE && len > 0);
    file->bytes = bytes;
    file->len = len;
    file->written = 0;
    file->done = done;
    file->arg = arg;
    go(file, STEP_OPEN);
}
