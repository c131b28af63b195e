/*
 * codec/ttheader_edit.h: writes a TTHeader: a proved one with edits, or a fresh one.
 *
 * The header goes into the caller's buffer, whose size is known before; the message is neither copied nor
 * looked at, it follows in a vector of its own. What is not edited stays as it came, in its order: blocks,
 * entries, tokens, padding between blocks. Only the padding at the end is made anew.
 *
 *     if (codec_ttheader_plan(&plan, p, &header, n, edits, &to)) {
 *         uint8_t *out = ...                 plan.bytes of them
 *         codec_ttheader_write(&plan, out);
 *
 * A fresh header has its text keys in front of its numbers, as Kitex writes them.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_TTHEADER_EDIT_H
#define TSIDE_CODEC_TTHEADER_EDIT_H

#include "codec/json_find.h"
#include "codec/ttheader.h"

/* A bit each in a word; those for a fresh header count, too. */
#define CODEC_TTHEADER_EDITS_MAX 64

/*
 * Sets an entry, or removes it. The last entry with that key gets the value where it stands, others with it go,
 * so that no reader can take another one; where there is none, an entry is added to the end of the last block of
 * its kind, or of a new block. All of it is borrowed until the header is written.
 */
struct codec_ttheader_edit {
    const char *key; /* NULL: a number, id */
    size_t key_len;
    uint16_t id;
    const char *value; /* NULL: remove it */
    size_t value_len;
};

/* A list of them, for a fresh header. */
struct codec_ttheader_edits {
    size_t len;
    bool left_out; /* there was no room for one of them */
    struct codec_ttheader_edit at[CODEC_TTHEADER_EDITS_MAX];
};

/* Entries of Extra that are looked at for one header: comparing keys is the square of it. */
#define CODEC_TTHEADER_EXTRA_MAX 256

/*
 * Adds edits that set the entries of Extra whose keys begin with this ("RPC_PERSIST_"): towards a callee that
 * looks for them in the header. What is in the list already wins over Extra, and of two in Extra the last one
 * counts. Those behind the first for which there is no room are left out (edits->left_out), and so is what is
 * too long for a header.
 */
void codec_ttheader_edits_add_extra(struct codec_ttheader_edits *edits, const uint8_t *body,
                                    const struct codec_extra *extra, struct codec_key prefix);

/* Where unescaped strings go; borrowed like the edits' other bytes. */
struct codec_ttheader_room {
    char *p;
    size_t cap;
    size_t len; /* used */
};

/* The same for members of the JSON text in user_extra, behind those of Extra, which win. What the room does not
 * hold is left out, too. */
void codec_ttheader_edits_add_json(struct codec_ttheader_edits *edits, const uint8_t *text,
                                   const struct json_members *members,
                                   struct codec_ttheader_room *room);

struct codec_ttheader_to {
    int32_t sequence;
    uint32_t message_bytes; /* with its own edits */
    bool is_inner_framed;   /* the message's length goes behind the header */
};

/* What codec_ttheader_plan() found out; all but `bytes` is private. */
struct codec_ttheader_plan {
    uint32_t bytes; /* of the header, with the inner length where there is one */
    const uint8_t *p;
    const struct codec_ttheader *header;
    const struct codec_ttheader_edit *edits;
    size_t edits_len;
    struct codec_ttheader_to to;
    uint32_t info_bytes;
    uint64_t added;                              /* edits[i] finds no entry: it adds one */
    uint32_t last_off[CODEC_TTHEADER_EDITS_MAX]; /* of the entry that edits[i] is about */
    struct codec_ttheader_tail {
        uint32_t off;  /* the last block of the kind; 0: a new one (no block stands there) */
        uint16_t adds; /* how many of the edits add here */
    } text, number;
};

/*
 * header is DONE, its bytes at p; the edits' keys differ from each other, and there are at most
 * CODEC_TTHEADER_EDITS_MAX. False where the header could not say its own size, or a key or value its length.
 */
bool codec_ttheader_plan(struct codec_ttheader_plan *plan, const uint8_t *p,
                         const struct codec_ttheader *header, size_t n,
                         const struct codec_ttheader_edit edits[],
                         const struct codec_ttheader_to *to) __attribute__((warn_unused_result));

/* A header of nothing but what these edits add, without flags. */
bool codec_ttheader_plan_fresh(struct codec_ttheader_plan *plan, size_t n,
                               const struct codec_ttheader_edit edits[],
                               const struct codec_ttheader_to *to)
    __attribute__((warn_unused_result));

/* Writes plan->bytes bytes. */
void codec_ttheader_write(const struct codec_ttheader_plan *plan, uint8_t *out);

#endif
