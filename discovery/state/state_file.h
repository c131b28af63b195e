/*
 * discovery/state/state_file.h: replaces the state on disk atomically, without blocking the loop;
 * reads it at start.
 *
 *     state_dir/etcd.state        the newest generation
 *     state_dir/etcd.state.1      the one before
 *     state_dir/etcd.state.tmp    being written; complete for a moment, between two renames
 *
 * Writing: .tmp, fsync, state -> .1, .tmp -> state, fsync of the directory. Whatever step the power
 * fails in, one of the three is whole, and its checksum says so.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STATE_STATE_FILE_H
#define TSIDE_DISCOVERY_STATE_STATE_FILE_H

#include <uv.h>

#include "discovery/state/state_image.h"

/* What came of the attempt at one generation, for the log; text is static or strerror's. */
typedef void (*state_report_fn)(void *arg, const char *path, const char *text);

/*
 * Blocking: before the loop runs. fn gets every key of the newest whole generation; true then.
 * Files that are not there are not reported, unreadable ones are passed over. Never fails the
 * start.
 */
bool state_file_load(const char *dir, const char *const prefix[DISC_SPACES], state_key_fn fn,
                     state_report_fn report, void *arg, struct state_meta *ret_meta);

struct state_file;

struct state_file *state_file_new(uv_loop_t *loop, const char *dir);

/* bytes are taken. One write at a time; done comes from the loop with 0 or a negative errno. */
void state_file_write(struct state_file *file, char *bytes, size_t len,
                      void (*done)(void *arg, int status), void *arg);
bool state_file_is_busy(const struct state_file *file);

/* Not while busy. */
struct state_file *state_file_free(struct state_file *file); /* NULL */

#endif
