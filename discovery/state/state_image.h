/*
 * discovery/state/state_image.h: the last good state of the etcd layer as one file's bytes.
 *
 * Pure. Two lines for people (`head -2`), then records, then the number of keys and an XXH3-128 of
 * all before it:
 *
 *     tside-state 1
 *     {"cluster_id": "...", "rules_prefix": ..., "seen": [...], ..., "wall_ms": ...}
 *     'K' flags space 0, lengths of key, text, good text (u32), mod_revision, lease, good_revision
 *         (i64), key, text, good text                                   little-endian, once per key
 *     'E' keys (u64) digest (16 bytes)
 *
 * Values are bytes that did not parse as often as not: no JSON for them. A key whose newest value
 * was refused has two texts, the one in force ("good") and the refused one. A flag marks what is
 * held.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_DISCOVERY_STATE_STATE_IMAGE_H
#define TSIDE_DISCOVERY_STATE_STATE_IMAGE_H

#include "discovery/state/state_resume.h"

struct state_meta {
    struct state_resume resume; /* where to resume */
    const char *prefix[DISC_SPACES];
    uint64_t wall_ms; /* unix time of the writing */
    uint64_t keys;    /* reading only */
};

struct state_writer;

struct state_writer *state_writer_new(const struct state_meta *meta);
void state_writer_put(struct state_writer *writer, const struct disc_raw *raw);
/* Frees the writer; *ret_bytes is the caller's. */
void state_writer_finish(struct state_writer *writer, char **ret_bytes, size_t *ret_len);
struct state_writer *state_writer_free(struct state_writer *writer); /* NULL */

/*
 * Checks everything before the first record is handed out: fn sees all keys or none. NULL, or what
 * is wrong (static text). Texts handed to fn are borrowed for the call and NUL-terminated nowhere
 * but key. ret_meta->prefix is not filled: it is compared with `prefix`, a state of other prefixes
 * is refused. fn NULL: check only.
 */
typedef void (*state_key_fn)(void *arg, const struct disc_raw *raw);
const char *state_image_read(const char *bytes, size_t len, const char *const prefix[DISC_SPACES],
                             state_key_fn fn, void *arg, struct state_meta *ret_meta);

#endif
