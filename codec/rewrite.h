/*
 * codec/rewrite.h: edits of a frame, as I/O vectors over the original bytes.
 *
 * Which edits there are: docs/specification.md, section 5.
 *
 * The payload is never copied and never moved. Fixed-width fields (frame length, seqid, a count, a
 * value of unchanged width) are overwritten in place; what changes the length becomes a splice:
 * "at offset, drop n bytes, insert these from the scratch". All offsets refer to the frame as it
 * came, so that the same frame can be edited again for a second attempt: begin, the same edits with
 * new values, finish. What was overwritten in place is overwritten once more; nothing is undone.
 *
 *     codec_rewrite_begin(&rw);
 *     codec_rewrite_extra_set(&rw, ...);       any number, in any order, up to the limits
 *     codec_rewrite_log_id_set(&rw, ...);
 *     codec_rewrite_name_strip(&rw, ...);
 *     n = codec_rewrite_finish(&rw, frame, frame_len, seqid, max, iov);
 *
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_REWRITE_H
#define TSIDE_CODEC_REWRITE_H

#include "codec/base.h"

#include <sys/uio.h>

#define CODEC_REWRITE_SPLICES_MAX   8
#define CODEC_REWRITE_IOVS_MAX      (2 * CODEC_REWRITE_SPLICES_MAX + 1)
#define CODEC_REWRITE_SCRATCH_BYTES 256

/* At offset off of the body as it came: these bytes go, those of the scratch come. */
struct codec_splice {
    uint32_t off;
    uint32_t drop_len;
    uint16_t ins_off; /* in the scratch */
    uint16_t ins_len;
    bool is_log_id; /* behind whatever else is put in at the same offset */
};

struct codec_rewrite {
    uint8_t splices_len;
    uint16_t scratch_len;
    bool dropped; /* an edit did not fit (scratch, splices, frame limit) and was left out */
    uint32_t name_prefix_len; /* private, likewise below: of the name's first bytes, which go */
    /* What several entries added to one Extra have in common. */
    uint32_t extra_added;
    uint8_t extra_added_id;   /* of an Extra that is added whole */
    uint16_t extra_count_off; /* of the count of an Extra that is added whole, in the scratch */
    struct codec_splice splices[CODEC_REWRITE_SPLICES_MAX]; /* by offset */
    uint8_t scratch[CODEC_REWRITE_SCRATCH_BYTES];
};

/* extra_id argument of codec_rewrite_extra_set(): where a missing Extra is added. */
#define CODEC_EXTRA_ID_AUTO 0 /* 6 where Base shows a field 4 or a string in field 3, else 3 */

void codec_rewrite_begin(struct codec_rewrite *rewrite);

/*
 * Sets Extra[key] = value: replaces the value of the last entry with that key, adds an entry where
 * there is none, adds Extra (under extra_id) where Base has none. Does nothing where the wanted
 * field id is taken by something else, or is none of those that Extra is looked for under. An
 * empty Extra with type codes 0/0 becomes 11/11. Key and value are copied. body is as it came.
 * A key that is added twice between begin and finish stands twice: the last one counts.
 */
void codec_rewrite_extra_set(struct codec_rewrite *rewrite, const uint8_t *body,
                             const struct codec_base *base, int extra_id, const char *key,
                             size_t key_len, const char *value, size_t value_len);

/* Fills Base.LogID where it is an empty string or absent (and field id 1 is free, also of an Extra
 * that was just added). */
void codec_rewrite_log_id_set(struct codec_rewrite *rewrite, const struct codec_base *base,
                              const char *log_id, size_t len);

/* The message's name loses its first prefix_len bytes ("Service:", its colon included; at most the
 * name's own). It makes the frame shorter and goes in also where codec_rewrite_finish() leaves all
 * else out. At most once between begin and finish, and before the other edits: then it always fits.
 * Nothing where prefix_len is 0. */
void codec_rewrite_name_strip(struct codec_rewrite *rewrite, const struct codec_message *message,
                              uint32_t prefix_len);

/*
 * Lays out the frame with all edits: frame points at the 4-byte length header, followed by the
 * body. Overwrites header, seqid and counts in place, fills iov (pointers into frame and into
 * rewrite->scratch, both must live until it is sent) and returns how many. Edits that would lift
 * the body over max_frame_bytes are left out, all but the name's (rewrite->dropped is set): of an earlier
 * attempt that had room, values of unchanged width and the types of a once empty Extra stay.
 * ret_total is the sum of the vectors' lengths. base may be NULL where the message has none.
 */
size_t codec_rewrite_finish(struct codec_rewrite *rewrite, uint8_t *frame,
                            const struct codec_message *message, const struct codec_base *base,
                            uint32_t body_len, int32_t seqid, uint32_t max_frame_bytes,
                            struct iovec iov[CODEC_REWRITE_IOVS_MAX], size_t *ret_total)
    __attribute__((warn_unused_result));

#endif
