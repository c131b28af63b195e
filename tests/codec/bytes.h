/*
 * tests/codec/bytes.h: a growing run of bytes and the writers of Thrift's binary encoding.
 *
 * Writes anything, also what is wrong: the tests need that. Dies when memory runs out.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_CODEC_BYTES_H
#define TSIDE_TESTS_CODEC_BYTES_H

#include "codec/wire.h"

#include <stdbool.h>

struct bytes {
    uint8_t *p;
    size_t len;
    size_t cap;
};

void bytes_done(struct bytes *b);

void bytes_put(struct bytes *b, const void *p, size_t len);
void bytes_put8(struct bytes *b, uint8_t v);
void bytes_put16(struct bytes *b, uint16_t v);
void bytes_put32(struct bytes *b, uint32_t v);
void bytes_put64(struct bytes *b, uint64_t v);

/* A length and the bytes. */
void bytes_put_string(struct bytes *b, const void *p, size_t len);
void bytes_put_text(struct bytes *b, const char *text);

void bytes_put_header(struct bytes *b, enum wire_message_type type, const char *name,
                      int32_t seqid);
void bytes_put_field(struct bytes *b, uint8_t type, int16_t id);
void bytes_put_string_field(struct bytes *b, int16_t id, const char *text);
void bytes_put_map(struct bytes *b, uint8_t key, uint8_t value, uint32_t n);

/* Drops drop bytes at off and puts len others there. */
void bytes_splice(struct bytes *b, size_t off, size_t drop, const void *p, size_t len);

/* "0a 0B0c": hex digits, blanks are skipped. */
void bytes_put_hex(struct bytes *b, const char *hex);

#endif
