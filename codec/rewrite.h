/*
 * codec/rewrite.h: the edits of docs/specification.md, section 5, as I/O vectors over the original bytes.
 *
 * The payload is never copied, moved or written to: several attempts of one call may have the same bytes
 * in their queues at once, each with edits of its own. Every edit is a splice: "at offset, drop n bytes,
 * insert these from the scratch". All offsets refer to the body as it came.
 *
 *     codec_rewrite_begin(&rw);
 *     codec_rewrite_extra_set(&rw, ...);       any number, in any order, up to the limits
 *     codec_rewrite_log_id_set(&rw, ...);
 *     n = codec_rewrite_finish(&rw, body, body_len, &message, &to, iov, &len);
 *     head_write(iov[0].iov_base, len);        the framing's own bytes, to.head_bytes of them
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_REWRITE_H
#define TSIDE_CODEC_REWRITE_H

#include "codec/base.h"

#include <sys/uio.h>

#define CODEC_REWRITE_SPLICES_MAX   8
#define CODEC_REWRITE_IOVS_MAX      (2 * CODEC_REWRITE_SPLICES_MAX + 4)
#define CODEC_REWRITE_SCRATCH_BYTES 248
#define CODEC_REWRITE_HEAD_MAX      8 /* bytes that a framing puts in front of a message */
/* The rest of the scratch is the edits'. */
#define CODEC_REWRITE_EDITS_BYTES                                                                  \
    (CODEC_REWRITE_SCRATCH_BYTES - CODEC_REWRITE_HEAD_MAX - WIRE_MESSAGE_MIN_BYTES)

/* At offset off of the body as it came: these bytes go, those of the scratch come. */
struct codec_splice {
    uint32_t off;
    uint32_t drop_len;
    uint16_t ins_off; /* in the scratch */
    uint16_t ins_len : 14;
    uint16_t is_log_id : 1;   /* behind what else is put in at the same offset */
    uint16_t is_addition : 1; /* entries of Extra */
};

struct codec_rewrite {
    uint8_t splices_len;
    uint16_t scratch_len;
    bool dropped; /* an edit did not fit (scratch, splices, frame limit) and was left out */
    /* Private: behind the new length of a JSON text, in the scratch; 0: none is edited. */
    uint16_t json_len_end;
    /* Private: what several entries added to one Extra have in common. */
    uint32_t extra_added;
    uint8_t extra_added_id;   /* of an Extra that is added whole */
    uint16_t extra_count_off; /* of Extra's new count, in the scratch */
    struct codec_splice splices[CODEC_REWRITE_SPLICES_MAX]; /* by offset */
    uint8_t scratch[CODEC_REWRITE_SCRATCH_BYTES];
};

/* extra_id argument of codec_rewrite_extra_set(): where a missing Extra is added. */
#define CODEC_EXTRA_ID_AUTO 0 /* 6 where Base shows a field 4 or a string in field 3, else 3 */

void codec_rewrite_begin(struct codec_rewrite *rewrite);

/* An entry of Extra, and where codec_extra_find() found the value that it has (off 0: it has none). */
struct codec_entry {
    const char *key;
    size_t key_len;
    const char *value;
    size_t value_len;
    struct wire_span old;
};

/*
 * Sets Extra[key] = value: replaces the value of the last entry with that key, adds an entry where
 * there is none, adds Extra (under extra_id) where Base has none. Does nothing where the wanted
 * field id is taken by something else, or is none of those that Extra is looked for under. An
 * empty Extra with type codes 0/0 becomes 11/11. Key and value are copied.
 * A key that is added twice between begin and finish stands twice: the last one counts.
 */
void codec_rewrite_extra_set(struct codec_rewrite *rewrite, const struct codec_base *base,
                             int extra_id, const struct codec_entry *entry);

/* Fills Base.LogID where it is an empty string or absent (and field id 1 is free, also of an Extra
 * that was just added). */
void codec_rewrite_log_id_set(struct codec_rewrite *rewrite, const struct codec_base *base,
                              const char *log_id, size_t len);

/* A string member of a JSON text that is itself a string of the message: `text` in the body (without its
 * length), and in it the value with its quotes, as json_find() says. */
struct codec_json_member {
    struct wire_span text;
    struct wire_span raw;
};

/*
 * Replaces that value, quoted here; a value that is no UTF-8 is left out (rewrite->dropped). Of the members of one
 * text each can be set, of two texts only those of the first. Key and text stay as they are otherwise.
 */
void codec_rewrite_json_set(struct codec_rewrite *rewrite, const struct codec_json_member *member,
                            const char *value, size_t len);

/* Adds a member behind that one, which stays: `,"key":"value"`. */
void codec_rewrite_json_add(struct codec_rewrite *rewrite, const struct codec_json_member *behind,
                            const struct codec_entry *entry);

struct codec_rewrite_to {
    int32_t seqid;
    uint32_t max_bytes; /* of the body */
    uint16_t name_skip; /* bytes of the name's front that go ("Service:", its colon included) */
    uint8_t head_bytes; /* left free in front of it, at most CODEC_REWRITE_HEAD_MAX */
};

/*
 * Lays out the message with all edits and this seqid: fills iov (pointers into body, which is only read,
 * and into rewrite->scratch; both must stay until it is sent) and returns how many. iov[0] begins with
 * head_bytes bytes that the caller fills. Edits that would lift the body over max_bytes are left out, all
 * of them but the name's and the seqid (rewrite->dropped is set). *ret_len is the body's new length, the head not counted.
 */
size_t codec_rewrite_finish(struct codec_rewrite *rewrite, const uint8_t *body, uint32_t body_len,
                            const struct codec_message *message, const struct codec_rewrite_to *to,
                            struct iovec iov[CODEC_REWRITE_IOVS_MAX], uint32_t *ret_len);

#endif
