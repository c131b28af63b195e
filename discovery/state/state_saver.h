/*
 * discovery/state/state_saver.h: when and how the store's etcd layer gets to disk.
 *
 * At most once in a period after changes, once more at the end. The image is taken in slices of a
 * few milliseconds while the store stands still; a commit in between starts it over, so that the
 * image is of one revision, whole transactions and all.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STATE_STATE_SAVER_H
#define TSIDE_DISCOVERY_STATE_STATE_SAVER_H

#include <uv.h>

#include "discovery/state/state_file.h"

struct state_saver_options {
    uv_loop_t *loop;
    struct disc_store *store; /* borrowed; must live until closed */
    const char *dir;
    const char *const *prefix; /* [DISC_SPACES], borrowed */
    uint64_t period_ms;
    /* A write has ended: 0 or a negative errno. */
    void (*saved)(void *owner, int status);
    void *owner;
};

struct state_saver_stats {
    uint64_t writes;
    uint64_t failures;
    uint64_t restarts;      /* images begun anew because the store moved on */
    uint64_t bytes;         /* of the last one */
    uint64_t saved_unix_ms; /* when the last one was; 0: none */
};

struct state_saver;

struct state_saver *state_saver_new(const struct state_saver_options *options);
/* A commit has been made and `resume` belongs to it. Changes of nothing but the revision can wait.
 * */
void state_saver_changed(struct state_saver *saver, const struct state_resume *resume,
                         bool only_revision);
const struct state_saver_stats *state_saver_stats(const struct state_saver *saver);
/* Saves what is unsaved, then frees; closed comes from the loop. */
void state_saver_close(struct state_saver *saver, void (*closed)(void *arg), void *arg);

#endif
