/*
 * discovery/state/state_saver.c: see discovery/state/state_saver.h.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "discovery/state/state_saver.h"

#include <assert.h>

#include "discovery/base/memory.h"
#include "discovery/base/unix_clock.h"

#define SLICE_US         3000
#define BUILD_SLICE_US   3000
#define SLICE_PAUSE_MS   1
#define RESTARTS_MAX     3  /* then the image is taken in one go */
#define REVISION_PERIODS 12 /* a new revision alone is worth a write after so many periods */
#define CLOCK_EVERY      64 /* keys between two looks at the clock */

struct state_saver {
    struct state_saver_options options;
    struct state_file *file;
    uv_timer_t timer;
    bool dirty;
    bool closing;
    uint64_t due_ms;     /* of the dirty state */
    uint64_t started_ms; /* the last write; 0: none yet */
    struct state_resume resume;
    uint64_t commits;

    struct state_writer *writer; /* an image under way, NULL: none */
    uint64_t writer_commits;     /* the commit it is of */
    uint32_t restarts;
    char *cursor; /* the last whole key in it */

    /* of a slice */
    uint64_t slice_end_ns; /* UINT64_MAX: no limit */
    uint32_t slice_keys;

    struct state_saver_stats stats;
    void (*closed)(void *arg);
    void *closed_arg;
};

static void on_timer(uv_timer_t *timer);

static void arm(struct state_saver *saver, uint64_t at_ms)
{
    uint64_t now_ms = uv_now(saver->options.loop);
    uv_timer_start(&saver->timer, on_timer, at_ms > now_ms ? at_ms - now_ms : 0, 0);
}

static void forget_image(struct state_saver *saver)
{
    saver->writer = state_writer_free(saver->writer);
    free(saver->cursor);
    saver->cursor = NULL;
}

static void begin_image(struct state_saver *saver)
{
    struct state_meta meta = {.resume = saver->resume, .wall_ms = unix_ms()};
    for (int s = 0; s < DISC_SPACES; s++) {
        meta.prefix[s] = saver->options.prefix[s];
    }
    saver->writer = state_writer_new(&meta);
    saver->writer_commits = saver->commits;
}

static void remember(struct state_saver *saver, const struct disc_raw *raw)
{
    const char *prefix = saver->options.prefix[raw->space];
    size_t len = strlen(prefix) + 1 + strlen(raw->key) + 1;
    free(saver->cursor);
    saver->cursor = memory_alloc(len);
    snprintf(saver->cursor, len, "%s/%s", prefix, raw->key);
}

static bool save_key(void *arg, const struct disc_raw *raw)
{
    struct state_saver *saver = arg;
    state_writer_put(saver->writer, raw);
    if (++saver->slice_keys % CLOCK_EVERY != 0 || uv_hrtime() < saver->slice_end_ns) {
        return true;
    }
    remember(saver, raw);
    saver->slice_keys = 0;
    return false;
}

static void finish_close(struct state_saver *saver);

static void on_written(void *arg, int status)
{
    struct state_saver *saver = arg;
    saver->stats.writes += status == 0;
    saver->stats.failures += status != 0;
    if (status == 0) {
        saver->stats.saved_unix_ms = unix_ms();
    } else if (!saver->closing && !saver->dirty) {
        saver->dirty = true;
        saver->due_ms = uv_now(saver->options.loop) + saver->options.period_ms;
    }
    saver->options.saved(saver->options.owner, status);
    if (saver->closing) {
        finish_close(saver);
    } else if (saver->dirty) {
        arm(saver, saver->due_ms);
    }
}

static void write_image(struct state_saver *saver)
{
    char *bytes;
    size_t len;
    state_writer_finish(saver->writer, &bytes, &len);
    saver->writer = NULL;
    forget_image(saver);
    saver->restarts = 0;
    saver->dirty = false;
    saver->stats.bytes = len;
    saver->started_ms = uv_now(saver->options.loop);
    state_file_write(saver->file, bytes, len, on_written, saver);
}

/* One slice of the image; true when it is complete. */
static bool take_slice(struct state_saver *saver, bool whole)
{
    if (saver->writer != NULL && saver->writer_commits != saver->commits) {
        forget_image(saver);
        saver->stats.restarts++;
        saver->restarts++;
    }
    if (saver->writer == NULL) {
        begin_image(saver);
    }
    whole = whole || saver->restarts >= RESTARTS_MAX;
    saver->slice_end_ns = whole ? UINT64_MAX : uv_hrtime() + SLICE_US * 1000ull;
    saver->slice_keys = 1; /* 0 means that the walk was broken off */
    disc_store_each_raw(saver->options.store, DISC_LAYER_ETCD, saver->cursor, save_key, saver);
    return saver->slice_keys != 0;
}

static void on_timer(uv_timer_t *timer)
{
    struct state_saver *saver = timer->data;
    if (state_file_is_busy(saver->file)) {
        return; /* on_written comes back to it */
    }
    /* What is written down must be what was committed: all of it built, nothing half. */
    if (!disc_store_build(saver->options.store, BUILD_SLICE_US) || !take_slice(saver, false)) {
        uv_timer_start(&saver->timer, on_timer, SLICE_PAUSE_MS, 0);
        return;
    }
    write_image(saver);
}

struct state_saver *state_saver_new(const struct state_saver_options *options)
{
    struct state_saver *saver = memory_zalloc(sizeof *saver);
    saver->options = *options;
    saver->file = state_file_new(options->loop, options->dir);
    (void)uv_timer_init(options->loop, &saver->timer); /* always 0 */
    saver->timer.data = saver;
    return saver;
}

void state_saver_changed(struct state_saver *saver, const struct state_resume *resume,
                         bool only_revision)
{
    assert(!saver->closing);
    uint64_t now_ms = uv_now(saver->options.loop);
    uint64_t wait_ms = saver->options.period_ms * (only_revision ? REVISION_PERIODS : 1);
    uint64_t due_ms = saver->started_ms == 0 ? now_ms : saver->started_ms + wait_ms;
    saver->resume = *resume;
    saver->commits++;
    if (!saver->dirty || due_ms < saver->due_ms) {
        saver->dirty = true;
        saver->due_ms = due_ms;
        arm(saver, due_ms);
    }
}

const struct state_saver_stats *state_saver_stats(const struct state_saver *saver)
{
    return &saver->stats;
}

/* ---- the end ------------------------------------------------------------------------------ */

static void on_timer_closed(uv_handle_t *handle)
{
    struct state_saver *saver = handle->data;
    void (*closed)(void *) = saver->closed;
    void *arg = saver->closed_arg;
    forget_image(saver);
    saver->file = state_file_free(saver->file);
    free(saver);
    closed(arg);
}

static void finish_close(struct state_saver *saver)
{
    if (saver->dirty) {
        (void)disc_store_build(saver->options.store, UINT64_MAX); /* no limit: always true */
        (void)take_slice(saver, true);                            /* all in one */
        write_image(saver);
        return; /* on_written comes back, with nothing dirty */
    }
    uv_close((uv_handle_t *)&saver->timer, on_timer_closed);
}

void state_saver_close(struct state_saver *saver, void (*closed)(void *arg), void *arg)
{
    assert(!saver->closing);
    saver->closing = true;
    saver->closed = closed;
    saver->closed_arg = arg;
    uv_timer_stop(&saver->timer);
    if (!state_file_is_busy(saver->file)) {
        finish_close(saver);
    }
}
