/*
 * discovery/file/file_source.h: the rules file, watched: an edit takes effect within a second.
 *
 * Control thread. Watches the file's folder (editors rename, Kubernetes swaps the symlink `..data`)
 * and, because a file may be changed behind a symlink or on a file system without events, asks for
 * its state twice a second. A change is read once the file has been still for FILE_SOURCE_STILL_MS,
 * so that a file half written is not taken for a short one. A file that is gone or does not parse
 * as a whole changes nothing.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_FILE_FILE_SOURCE_H
#define TSIDE_DISCOVERY_FILE_FILE_SOURCE_H

#include "discovery/store/store.h"

#include <uv.h>

#define FILE_SOURCE_POLL_MS  500
#define FILE_SOURCE_STILL_MS 50
#define FILE_SOURCE_WAIT_MS  400 /* a file that is written without a pause is read after all */

struct file_source_options {
    /* A commit was made: disc_store_build() is due. */
    void (*on_commit)(void *owner);
    /* "file:line:col: message" of what spoils the whole file; once per change of the file
     * (twice where it was read in the moment of the change). */
    void (*on_error)(void *owner, const char *message);
    uint64_t (*store_clock_ms)(void *owner); /* for disc_store_commit() */
    void *owner;
};

struct file_source_stats {
    uint64_t loads_total; /* that took effect */
    uint64_t errors_total;
    bool failing; /* the file as it is now is not in force */
};

struct file_source;

/* path is copied; loop and store are borrowed until the close callback. Reads nothing yet; NULL out
 * of memory or where the loop refuses handles. */
struct file_source *file_source_new(uv_loop_t *loop, const char *path, struct disc_store *store,
                                    const struct file_source_options *options);

/* Reads the file now, changed or not: at start, on SIGHUP. 0 or a negative errno, as
 * rules_file_load(). */
int file_source_load_now(struct file_source *source);

void file_source_stats(const struct file_source *source, struct file_source_stats *ret);

/* Frees it once the loop has let go of its handles, then calls done (may be NULL). No hook is
 * called any more. */
void file_source_close(struct file_source *source, void (*done)(void *owner));

#endif
