/*
 * tests/codec/naive_ttheader.h: a second reader of TTHeader, as plain as it can be. An oracle for tests.
 *
 * Takes whole headers only and makes a list of everything in them, which a test can also edit by the words of
 * codec/ttheader_edit.h: one entry after the other in an array, no offsets, no plan.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_CODEC_NAIVE_TTHEADER_H
#define TSIDE_TESTS_CODEC_NAIVE_TTHEADER_H

#include "codec/ttheader_edit.h"

#define NAIVE_ITEMS_MAX 8192

struct naive_text {
    const uint8_t *p; /* into the bytes, or the edit's */
    size_t len;
};

enum naive_kind { NAIVE_BLOCK = 0, NAIVE_ENTRY, NAIVE_TOKEN, NAIVE_PADDING };

struct naive_item {
    enum naive_kind kind;
    bool is_text; /* of blocks and entries */
    unsigned id;
    struct naive_text key;
    struct naive_text value;
};

struct naive_ttheader {
    bool ok; /* else nothing below counts */
    unsigned flags;
    int32_t sequence;
    bool is_inner_framed;
    size_t header_len;
    struct naive_text message;
    size_t limited;
    size_t items_len; /* padding at the end is no item */
    struct naive_item items[NAIVE_ITEMS_MAX];
};

/* One header and its payload, to the last byte. */
void naive_ttheader_read(struct naive_ttheader *ret, const uint8_t *p, size_t len,
                         size_t max_bytes);

/* The last entry with that number or key; NULL where there is none. */
const struct naive_text *naive_ttheader_int(const struct naive_ttheader *header, unsigned id);
const struct naive_text *naive_ttheader_text(const struct naive_ttheader *header, const char *key,
                                             size_t key_len);

/* As codec_ttheader_write() should. */
void naive_ttheader_edit(struct naive_ttheader *header, const struct codec_ttheader_edit *edit);

/* Whether everything in the two is the same, and in the same order. */
bool naive_ttheader_same(const struct naive_ttheader *a, const struct naive_ttheader *b);

#endif
