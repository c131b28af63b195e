/*
 * codec/reply_build.c: replies out of templates, by copying around the two places to fill in.
 * SPDX-License-Identifier: Apache-2.0
 */
#include "codec/reply_build.h"

#include <assert.h>
#include <string.h>

/* The template with its text and code filled in. The text's bytes shift what is behind it. */
static size_t fill(const struct codec_template *template, int32_t code, const char *text,
                   size_t text_len, uint8_t *out, size_t cap)
{
    size_t needed = template->len + text_len;
    size_t head = template->text_off + 4;
    size_t code_off = template->code_off + (template->code_off > template->text_off ? text_len : 0);

    if (text_len > INT32_MAX || needed > cap) {
        return needed;
    }
    memcpy(out, template->bytes, head);
    wire_put32(out + template->text_off, (uint32_t)text_len);
    if (text_len > 0) {
        memcpy(out + head, text, text_len);
    }
    memcpy(out + head + text_len, template->bytes + head, template->len - head);
    wire_put32(out + code_off, (uint32_t)code);
    return needed;
}

size_t codec_body_exception(const struct codec_templates *templates, int32_t type, const char *text,
                            size_t text_len, uint8_t *out, size_t cap)
{
    return fill(&templates->exception, type, text, text_len, out, cap);
}

size_t codec_body_base_resp(const struct codec_templates *templates, int32_t code, const char *text,
                            size_t text_len, uint8_t *out, size_t cap)
{
    return fill(&templates->base_resp, code, text, text_len, out, cap);
}

size_t codec_body_void(const struct codec_templates *templates, uint8_t *out, size_t cap)
{
    if (templates->empty.len <= cap) {
        memcpy(out, templates->empty.bytes, templates->empty.len);
    }
    return templates->empty.len;
}

static size_t echoed(size_t name_len)
{
    return name_len < CODEC_REPLY_NAME_MAX_BYTES ? name_len : CODEC_REPLY_NAME_MAX_BYTES;
}

size_t codec_reply_header_size(size_t name_len)
{
    return WIRE_MESSAGE_MIN_BYTES + echoed(name_len);
}

size_t codec_reply_header_write(uint8_t *out, enum wire_message_type type, const uint8_t *name,
                                size_t name_len, int32_t seqid)
{
    size_t cut_len = echoed(name_len);

    wire_put32(out, WIRE_VERSION_1 | type);
    wire_put32(out + 4, (uint32_t)cut_len);
    if (cut_len > 0) {
        memcpy(out + 8, name, cut_len);
    }
    wire_put32(out + 8 + cut_len, (uint32_t)seqid);
    return codec_reply_header_size(name_len);
}
