/*
 * tests/codec/glib_reader.h: libthrift_c_glib as the authority on what bytes mean.
 *
 * For bytes that our scanner has accepted only: the library hangs or crashes on others. Reads from
 * the caller's memory through a transport of its own (no copy, no waiting for more bytes), finds
 * Base as docs/specification.md, section 1, has it, with nothing but the library's reads and skips.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_TESTS_CODEC_GLIB_READER_H
#define TSIDE_TESTS_CODEC_GLIB_READER_H

#include "codec/wire.h"

#include <stdbool.h>
#include <thrift/c_glib/protocol/thrift_protocol.h>

struct glib_text {
    bool found;
    char *p; /* NULL where it is empty */
    uint32_t len;
};

struct glib_base {
    struct glib_text log_id;
    struct glib_text caller;
    int16_t extra_id; /* 0: no Extra */
    uint32_t entries_len;
    struct glib_text *keys;
    struct glib_text *values;
};

struct glib_view {
    uint8_t type;
    int32_t seqid;
    char *name;
    bool has_base; /* requests: Base, replies: BaseResp */
    struct wire_span base_span;
    struct glib_base base;
};

struct glib_reader;

struct glib_reader *glib_reader_new(void);
struct glib_reader *glib_reader_free(struct glib_reader *reader);

/* False where the library refuses, or reads fewer or more bytes than there are. */
bool glib_read_message(struct glib_reader *reader, const uint8_t *body, size_t len,
                       struct glib_view *ret);
void glib_view_done(struct glib_view *view);

/* A protocol that reads these bytes, for generated types. */
ThriftProtocol *glib_reader_at(struct glib_reader *reader, const uint8_t *p, size_t len);

/* How many bytes are not read yet. */
size_t glib_reader_left(const struct glib_reader *reader);

bool glib_text_is(const struct glib_text *text, const void *p, size_t len);

#endif
