/*
 * discovery/file/file_source.c: see discovery/file/file_source.h.
 *
 *     folder event, poll --> look: other state than what was read? --> timer --> still? --> read
 *                                                                        ^________ no __|
 *
 * The small synchronous stat and read of a local file are quicker than a way through the thread
 * pool and back, and leave one state less.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/file/file_source.h"

#include "discovery/base/memory.h"
#include "discovery/base/unix_clock.h"
#include "discovery/file/rules_file.h"

#include <assert.h>
#include <errno.h>
#include <libgen.h>
#include <sys/stat.h>
#include <time.h>

#define FILE_SOURCE_MAGIC 0x66696c65u
#define HANDLES           3
#define FRESH_MS          (FILE_SOURCE_STILL_MS / 2)

/* By which one state of a file differs from another. */
struct file_state {
    bool exists;
    dev_t dev;
    ino_t ino;
    off_t size;
    struct timespec mtime;
    struct timespec ctime;
};

struct file_source {
    uint32_t magic;
    char *path;
    char *folder;
    struct disc_store *store;
    struct file_source_options options;
    struct file_source_stats stats;

    struct file_state read_state; /* as it was when last read */
    struct file_state seen_state; /* as it was when the timer was armed */
    uint64_t waiting_since_ms;    /* of a change that is not read yet */

    uv_fs_event_t events;
    bool watching;
    uv_timer_t poll;
    uv_timer_t still;
    int handles; /* still open */
    void (*closed)(void *owner);
};

static struct file_source *source_of(void *data)
{
    struct file_source *source = data;
    assert(source != NULL && source->magic == FILE_SOURCE_MAGIC);
    return source;
}

static void look_at(const char *path, struct file_state *ret)
{
    struct stat st;
    memset(ret, 0, sizeof *ret);
    if (stat(path, &st) != 0) {
        return;
    }
    ret->exists = true;
    ret->dev = st.st_dev;
    ret->ino = st.st_ino;
    ret->size = st.st_size;
    ret->mtime = st.st_mtim;
    ret->ctime = st.st_ctim;
}

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool same_state(const struct file_state *a, const struct file_state *b)
{
    return a->exists == b->exists && a->dev == b->dev && a->ino == b->ino && a->size == b->size &&
           same_time(a->mtime, b->mtime) && same_time(a->ctime, b->ctime);
}

/* Time stamps come in ticks of some milliseconds: a file that was written just before it was read
 * can be written again without looking any different. */
static bool is_fresh(const struct file_state *state)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now); /* cannot fail on Linux */
    int64_t age_ms = (int64_t)(now.tv_sec - state->ctime.tv_sec) * 1000 +
                     (now.tv_nsec - state->ctime.tv_nsec) / 1000000;
    return state->exists && age_ms < FRESH_MS;
}

static void tell_error(void *arg, const char *finding)
{
    struct file_source *source = source_of(arg);
    if (source->options.on_error != NULL) {
        source->options.on_error(source->options.owner, finding);
    }
}

int file_source_load_now(struct file_source *source)
{
    struct rules_file_report report = {.fn = tell_error, .arg = source, .whole_only = true};
    uint64_t clock_ms = source->options.store_clock_ms != NULL
                            ? source->options.store_clock_ms(source->options.owner)
                            : 0;
    /* Before reading: what changes meanwhile is another state, and read again. */
    look_at(source->path, &source->read_state);
    if (is_fresh(&source->read_state)) {
        source->read_state.size = -1; /* like no file: read again when it is older */
    }
    source->waiting_since_ms = 0;
    int error = rules_file_load(source->path, source->store, unix_ms(), clock_ms, &report);
    source->stats.failing = error != 0;
    if (error != 0) {
        source->stats.errors_total++;
        return error;
    }
    source->stats.loads_total++;
    if (source->options.on_commit != NULL) {
        source->options.on_commit(source->options.owner);
    }
    return 0;
}

static void on_still(uv_timer_t *timer);

static void wait_until_still(struct file_source *source, const struct file_state *state)
{
    source->seen_state = *state;
    /* Cannot fail: the timer is open and has a callback. */
    (void)uv_timer_start(&source->still, on_still, FILE_SOURCE_STILL_MS, 0);
}

/* Something may have changed. */
static void look(struct file_source *source)
{
    struct file_state state;
    look_at(source->path, &state);
    if (source->waiting_since_ms != 0 || same_state(&state, &source->read_state)) {
        return;
    }
    source->waiting_since_ms = uv_now(source->poll.loop) + 1; /* never 0 */
    wait_until_still(source, &state);
}

static void on_still(uv_timer_t *timer)
{
    struct file_source *source = source_of(timer->data);
    struct file_state state;
    uint64_t waited_ms = uv_now(timer->loop) + 1 - source->waiting_since_ms;
    look_at(source->path, &state);
    if (!same_state(&state, &source->seen_state) && waited_ms < FILE_SOURCE_WAIT_MS) {
        wait_until_still(source, &state);
        return;
    }
    (void)file_source_load_now(source); /* reports and counts an error itself */
}

static void watch(struct file_source *source);

static void on_event(uv_fs_event_t *handle, const char *name, int events, int status)
{
    struct file_source *source = source_of(handle->data);
    (void)name; /* of a symlink perhaps: any change in the folder may be ours */
    (void)events;
    if (status != 0) {
        source->watching = false; /* the poll goes on, and tries to watch again */
        (void)uv_fs_event_stop(handle);
        return;
    }
    look(source);
}

static void watch(struct file_source *source)
{
    if (!source->watching) {
        source->watching = uv_fs_event_start(&source->events, on_event, source->folder, 0) == 0;
    }
}

static void on_poll(uv_timer_t *timer)
{
    struct file_source *source = source_of(timer->data);
    watch(source);
    look(source);
}

struct file_source *file_source_new(uv_loop_t *loop, const char *path, struct disc_store *store,
                                    const struct file_source_options *options)
{
    struct file_source *source = memory_zalloc(sizeof *source);
    if (uv_fs_event_init(loop, &source->events) != 0) {
        free(source);
        return NULL;
    }
    (void)uv_timer_init(loop, &source->poll); /* these two cannot fail */
    (void)uv_timer_init(loop, &source->still);
    source->handles = HANDLES;
    source->magic = FILE_SOURCE_MAGIC;
    source->events.data = source->poll.data = source->still.data = source;
    source->path = memory_text(path, strlen(path));
    char *copy = memory_text(path, strlen(path));
    const char *folder = dirname(copy); /* points into copy or at "." */
    source->folder = memory_text(folder, strlen(folder));
    free(copy);
    source->store = store;
    source->options = *options;
    look_at(source->path, &source->read_state);
    watch(source);
    (void)uv_timer_start(&source->poll, on_poll, FILE_SOURCE_POLL_MS, FILE_SOURCE_POLL_MS);
    return source;
}

void file_source_stats(const struct file_source *source, struct file_source_stats *ret)
{
    *ret = source->stats;
}

static void on_closed(uv_handle_t *handle)
{
    struct file_source *source = source_of(handle->data);
    if (--source->handles > 0) {
        return;
    }
    void (*closed)(void *owner) = source->closed;
    void *owner = source->options.owner;
    source->magic = 0;
    free(source->path);
    free(source->folder);
    free(source);
    if (closed != NULL) {
        closed(owner);
    }
}

void file_source_close(struct file_source *source, void (*done)(void *owner))
{
    if (source == NULL) {
        return;
    }
    source->closed = done;
    uv_close((uv_handle_t *)&source->events, on_closed);
    uv_close((uv_handle_t *)&source->poll, on_closed);
    uv_close((uv_handle_t *)&source->still, on_closed);
}
