/*
 * codec/reply_build.h: replies that tside makes itself, from templates.
 *
 * A reply is a message: header (type, bare method name, the caller's seqid), body. What a framing puts in
 * front of it is not made here. Bodies that never change (configured degrade replies) are built once per
 * rule; codec_reply_header_write() puts the header in front. An exception's text is made per call.
 * SPDX-License-Identifier: Apache-2.0
 */
#ifndef TSIDE_CODEC_REPLY_BUILD_H
#define TSIDE_CODEC_REPLY_BUILD_H

#include "codec/templates.h"
#include "codec/wire.h"

/* A message name in an answer is echoed up to this many bytes: the longest that is routable. */
#define CODEC_REPLY_NAME_MAX_BYTES WIRE_NAME_MAX_BYTES

/*
 * Bodies. Each writes to out (cap bytes there) and returns the length it needs; where that is more
 * than cap nothing is written, so that a first call with cap 0 returns the size.
 */
size_t codec_body_exception(const struct codec_templates *templates, int32_t type, const char *text,
                            size_t text_len, uint8_t *out, size_t cap);
size_t codec_body_base_resp(const struct codec_templates *templates, int32_t code, const char *text,
                            size_t text_len, uint8_t *out, size_t cap);
size_t codec_body_void(const struct codec_templates *templates, uint8_t *out, size_t cap);

/* The header in front of a body: 12 bytes and the name (cut at the limit above). */
size_t codec_reply_header_size(size_t name_len);

/* Writes type, name and seqid; out has codec_reply_header_size(name_len) bytes. Returns the number written;
 * the body's bytes follow directly. */
size_t codec_reply_header_write(uint8_t *out, enum wire_message_type type, const uint8_t *name,
                                size_t name_len, int32_t seqid);

#endif
